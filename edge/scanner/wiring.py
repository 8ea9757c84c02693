"""`edge-scanner wiring`: draws, as SVG, how a unit's parts are wired to the pins in its settings.

The header's pins are as Raspberry Pi documents them; the drawing looks at the board with the header
at its top right, so that the pin with the square pad, 1, is at the upper left.
"""

import argparse
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from edge import config
from edge.broker import BrokerSettings
from edge.errors import ConfigError
from edge.scanner.settings import ScannerSettings, UnsetSettings
from edge.scanner.setup import SETTINGS

#: The BCM number of each place in the header, 1 to 40; a text where it is none.
HEADER: tuple[int | str, ...] = (
    *("3V3", "5V", 2, "5V", 3, "GND", 4, 14, "GND", 15),
    *(17, 18, 27, "GND", 22, 23, "3V3", 24, 10, "GND"),
    *(9, 25, 11, 8, "GND", 7, 0, 1, 5, "GND"),
    *(6, 12, 13, "GND", 19, 16, 26, 20, "GND", 21),
)
#: The serial line on the header; a receiver's wires are crossed: its TX goes to our RXD.
SERIAL = ("/dev/serial0", "/dev/ttyAMA0", "/dev/ttyS0")
_ROW, _TOP, _LEFT = 26, 70, 390
_WIDTH, _HEIGHT = 900, 640


@dataclass(frozen=True)
class Part:
    """One part, on one pin."""

    pin: int
    key: str
    vi: str
    en: str
    through: str
    colour: str


def parts(settings: UnsetSettings) -> list[Part]:
    """The parts that *settings* name. Raises ConfigError where two have one pin."""
    light = "330 Ω → GND"
    its = settings.indicator
    found = [
        Part(its.green_pin, "indicator.green_pin", "đèn xanh", "green light", light, "#1a9641"),
        Part(its.yellow_pin, "indicator.yellow_pin", "đèn vàng", "yellow light", light, "#d9a400"),
        Part(its.red_pin, "indicator.red_pin", "đèn đỏ", "red light", light, "#d7191c"),
        Part(
            its.buzzer_pin,
            "indicator.buzzer_pin",
            "còi thụ động",
            "passive buzzer",
            "1 kΩ → NPN → 5 V",
            "#2b6cb0",
        ),
    ]
    if settings.setup.button_pin >= 0:
        pin = settings.setup.button_pin
        found.append(
            Part(pin, "setup.button_pin", "nút cài đặt", "set-up button", "→ GND", "#0f766e")
        )
    if its.kind != "gpio":
        found = []
    if settings.camera.lamp_pin >= 0:
        through = "MOSFET → 5 V"
        pin = settings.camera.lamp_pin
        found.append(
            Part(pin, "camera.lamp_pin", "đèn chiếu đêm", "night lamp", through, "#805ad5")
        )
    if settings.vehicle.ignition_pin >= 0:
        found.append(
            Part(
                settings.vehicle.ignition_pin,
                "vehicle.ignition_pin",
                "dây khóa điện",
                "ignition line",
                "optocoupler → 3V3",
                "#4a5568",
            )
        )
    if settings.gps.source in SERIAL:
        wires = ((15, "dây TX của GPS", "GPS, its TX"), (14, "dây RX của GPS", "GPS, its RX"))
        for pin, vi, en in wires:
            found.append(Part(pin, "gps.source", vi, en, "3,3 V", "#b7791f"))
    taken: dict[int, Part] = {}
    for part in found:
        if part.pin in taken:
            other = taken[part.pin].key
            raise ConfigError(f"{part.key} and {other} are both pin {part.pin}; each needs its own")
        taken[part.pin] = part
    return found


def drawing(settings: UnsetSettings) -> str:
    """The drawing, as SVG. Raises ConfigError where two parts have one pin."""
    name = settings.unit.id if isinstance(settings, ScannerSettings) else "default"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="DejaVu Sans, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(30, 30, f"{name}: sơ đồ đấu dây / wiring", size=18),
        _text(30, 50, "Rút nguồn trước khi đấu. / Pull the power before wiring."),
        f'<rect x="{_LEFT - 60}" y="{_TOP - 8}" width="190" height="{20 * _ROW + 8}" rx="6"'
        ' fill="#e8f5e9" stroke="#2e7d32"/>',
    ]
    for place, what in enumerate(HEADER, start=1):
        x, y = _place(place)
        shape = (
            f'<rect x="{x - 6}" y="{y - 6}" width="12" height="12"'
            if place == 1
            else f'<circle cx="{x}" cy="{y}" r="6"'
        )
        lines.append(f'{shape} fill="{_fill(what)}" stroke="#555"/>')
        name = what if isinstance(what, str) else f"GPIO{what}"
        side = (x - 12, "end") if place % 2 else (x + 12, "start")
        lines.append(_text(side[0], y + 4, f"{place}", anchor=side[1], size=10))
        if not isinstance(what, str) and what not in {part.pin for part in parts(settings)}:
            continue
        far = (x - 34, "end") if place % 2 else (x + 34, "start")
        lines.append(_text(far[0], y - 3, name, anchor=far[1], size=11))
    for number, part in enumerate(parts(settings)):
        lines += _wired(part, number)
    lines.append(
        _text(
            30, _HEIGHT - 20, "GND: chân / pins 6, 9, 14, 20, 25, 30, 34, 39 - nối chung / common"
        )
    )
    return "\n".join([*lines, "</svg>", ""])


def add_command(commands: Any, also: argparse.ArgumentParser) -> None:
    """Add `wiring` to *commands*, with the options of *also*."""
    commands.add_parser(
        "wiring",
        parents=[also],
        help="draw how lights and buzzer are wired to the pins: SVG / sơ đồ đấu dây",
    )


def run(options: argparse.Namespace) -> int:
    """`edge-scanner wiring`; gives the exit code."""
    sys.stdout.write(drawing(_settings(options.config)))
    return 0


def _settings(path: Path) -> UnsetSettings:
    """Those in *path*; by default those of a unit to be, as on the bench, before it has a card."""
    if path == Path("/", SETTINGS) and not path.exists():
        print(
            f"không có {path}: vẽ theo chân mặc định / there is no {path}: the default pins",
            file=sys.stderr,
        )
        return UnsetSettings(broker=BrokerSettings())
    table = config.read(path)
    kind = ScannerSettings if "unit" in table else UnsetSettings
    return config.check(table, kind, str(path))


def _wired(part: Part, number: int) -> list[str]:
    place = HEADER.index(part.pin) + 1
    x, y = _place(place)
    left = place % 2 == 1
    box_x, box_y = (20 if left else 630), 90 + number * 95
    end_x = box_x + 255 if left else box_x
    middle = box_y + 32
    bend = end_x + 12 + 6 * number if left else end_x - 12 - 6 * number
    return [
        f'<path d="M{x},{y} H{bend} V{middle} H{end_x}"'
        f' fill="none" stroke="{part.colour}" stroke-width="3" stroke-opacity="0.7"/>',
        f'<rect x="{box_x}" y="{box_y}" width="255" height="64" rx="6" fill="white"'
        f' stroke="{part.colour}" stroke-width="2"/>',
        _text(box_x + 10, box_y + 19, f"{part.vi} / {part.en}"),
        _text(
            box_x + 10, box_y + 37, f"GPIO{part.pin}, chân / pin {place} → {part.through}", size=11
        ),
        _text(box_x + 10, box_y + 54, part.key, size=10),
    ]


def _place(place: int) -> tuple[int, int]:
    row, column = divmod(place - 1, 2)
    return _LEFT + 30 * column + 20, _TOP + row * _ROW + 12


def _fill(what: int | str) -> str:
    return {"GND": "#333", "5V": "#e53e3e", "3V3": "#ed8936"}.get(str(what), "#f6e05e")


def _text(x: int, y: int, text: str, *, anchor: str = "start", size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
