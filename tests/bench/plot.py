"""The plot: what share each reader reads, against what a frame costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 900, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 40, 70, 70
#: Drawn so many times larger, and shrunk, for smooth lines.
_FINER = 3

_INK, _PALE = (40, 40, 40), (225, 225, 225)
_OURS, _OTHERS = (60, 60, 210), (170, 110, 50)
_TICKS_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Dot:
    """One reader: its read rate in percent, and its cost of a frame."""

    name: str
    percent: float
    ms: float
    is_ours: bool


def write_plot(path: Path, panels: Sequence[tuple[str, Sequence[Dot]]]) -> None:
    """Write each panel, its title and its dots, below the other into one picture."""
    drawn = [_panel(title, dots) for title, dots in panels]
    path.write_bytes(cv2.imencode(".png", np.vstack(drawn))[1].tobytes())


def _panel(title: str, dots: Sequence[Dot]) -> Any:
    sheet = np.full((HEIGHT * _FINER, WIDTH * _FINER, 3), 255, np.uint8)
    low_ms, high_ms = _range([dot.ms for dot in dots])
    lowest = 10 * math.floor(min([*(dot.percent for dot in dots), 89]) / 10)

    def to_x(ms: float) -> float:
        share = math.log(ms / low_ms) / math.log(high_ms / low_ms)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def to_y(percent: float) -> float:
        return HEIGHT - _BOTTOM - (percent - lowest) / (100 - lowest) * (HEIGHT - _TOP - _BOTTOM)

    for ms in _TICKS_MS:
        if low_ms <= ms <= high_ms:
            _line(sheet, (to_x(ms), to_y(lowest)), (to_x(ms), to_y(100)))
            _text(sheet, f"{ms:g}", to_x(ms) - 10, HEIGHT - _BOTTOM + 24)
    for percent in range(lowest, 101, 10):
        _line(sheet, (to_x(low_ms), to_y(percent)), (to_x(high_ms), to_y(percent)))
        _text(sheet, f"{percent}", _LEFT - 44, to_y(percent) + 5)
    _text(sheet, title, _LEFT, 36, 0.75)
    _text(sheet, "CPU ms a frame with a code, mean", _LEFT, HEIGHT - 18)
    _text(sheet, "read, %", 12, _TOP - 16)
    places = [(to_x(dot.ms), to_y(dot.percent)) for dot in dots]
    for dot, at in zip(dots, places, strict=True):
        colour = _OURS if dot.is_ours else _OTHERS
        cv2.circle(sheet, _point(*at), 8 * _FINER, colour, -1, cv2.LINE_AA)
        _text(sheet, _label(dot), *_beside(_label(dot), at, places), 0.55, colour)
    return cv2.resize(sheet, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def _range(costs: Sequence[float]) -> tuple[float, float]:
    low = max([ms for ms in _TICKS_MS if ms <= min(costs)], default=_TICKS_MS[0])
    high = min([ms for ms in _TICKS_MS if ms > max(costs)], default=_TICKS_MS[-1])
    return min(low, min(costs)), max(high, max(costs))


def _label(dot: Dot) -> str:
    return f"{dot.name} {dot.percent:.0f}"


def _beside(
    label: str, at: tuple[float, float], places: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Where *label* goes: to the right of its dot, to its left where there is no room."""
    x, y = at
    room = 11 * len(label) + 14
    taken = any(0 < other - x < room and abs(height - y) < 24 for other, height in places)
    return (x - room if taken or x + room > WIDTH else x + 14), y + 5


def _line(sheet: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    cv2.line(sheet, _point(*start), _point(*end), _PALE, _FINER, cv2.LINE_AA)


def _text(
    sheet: Any,
    text: str,
    x: float,
    y: float,
    size: float = 0.5,
    colour: tuple[int, int, int] = _INK,
) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(sheet, text, _point(x, y), font, size * _FINER, colour, _FINER, cv2.LINE_AA)


def _point(x: float, y: float) -> tuple[int, int]:
    return round(x * _FINER), round(y * _FINER)
