"""Charts as shapes for a template: bars up for what goes in, down for what goes out.

Drawn on the server, as SVG within the page: nothing to load, sharp on any screen, and read by a
screen reader as the table that stands beside each. A direction is told by up and down, and a
comparison by a line, so that colour is never needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.storage.counts import Count

WIDTH, HEIGHT = 480, 190
_LEFT, _BOTTOM = 54, 20


@dataclass(frozen=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """A word under the bars, or a number beside them."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Tick:
    """A value beside its line; pages write it in their language."""

    x: float
    y: float
    text_y: float
    value: int


@dataclass(frozen=True)
class Chart:
    """All shapes of a chart."""

    width: int
    height: int
    zero: float  #: where the line between in and out runs
    left: int
    ins: list[Bar]
    outs: list[Bar]
    before: str  #: points of the line of an earlier time; "" for none
    labels: list[Label]
    ticks: list[Tick]
    either: bool  #: whether what goes up counts scans of unknown direction too


def chart(counts: Sequence[Count], labels: Sequence[str], before: Sequence[Count] = ()) -> Chart:
    """Bars of *counts*, one for each; *before* is drawn as a line above them.

    *labels* has a text for each bar, "" for most. Scans of both directions go up with those in.
    """
    ups = [count.into + count.both for count in counts]
    downs = [count.out for count in counts]
    earlier = [count.into + count.both for count in before]
    top, bottom = _round_up(max([*ups, *earlier, 1])), _round_up(max([*downs, 0]))
    room = HEIGHT - _BOTTOM - 8
    scale = room / (top + bottom)
    zero = 8 + top * scale
    step = (WIDTH - _LEFT) / max(1, len(counts))
    gap = min(2.0, step / 5)

    def bar(number: int, value: int, up: bool) -> Bar:
        height = value * scale
        y = zero - height if up else zero
        return Bar(_LEFT + number * step + gap / 2, y, step - gap, height)

    points = " ".join(
        f"{_LEFT + (number + 0.5) * step:.1f},{zero - value * scale:.1f}"
        for number, value in enumerate(earlier)
    )
    return Chart(
        WIDTH,
        HEIGHT,
        zero,
        _LEFT,
        [bar(number, value, True) for number, value in enumerate(ups) if value],
        [bar(number, value, False) for number, value in enumerate(downs) if value],
        points,
        [
            Label(_LEFT + (number + 0.5) * step, HEIGHT - 4, label)
            for number, label in enumerate(labels)
            if label
        ],
        _ticks(top, bottom, zero, scale),
        any(count.both for count in (*counts, *before)),
    )


def _ticks(top: int, bottom: int, zero: float, scale: float) -> list[Tick]:
    values = [top, top // 2 if top > 1 else 0, 0]
    ticks = [
        Tick(_LEFT - 6, zero - value * scale, zero - value * scale + 4, value)
        for value in dict.fromkeys(values)
    ]
    if bottom:
        # Above its line, below which the labels are.
        y = zero + bottom * scale
        ticks.append(Tick(_LEFT - 6, y, y - 2, bottom))
    return ticks


def _round_up(value: int) -> int:
    """The next number that is easy to read: 1, 2, 3, 4, 6, 8, 10, 15, 20, 30, ..."""
    if not value:
        return 0
    size = 1
    while value > 10 * size:
        size *= 10
    steps = (1, 1.5, 2, 3, 4, 6, 8, 10) if size > 1 else (1, 2, 3, 4, 6, 8, 10)
    return next(int(step * size) for step in steps if step * size >= value)
