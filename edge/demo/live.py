"""The table of scans as they arrive, and the totals at the end. Never what a code said.

It knows only the contract: it listens to what units send and to what the collector confirms.
"""

import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TextIO

from edge.errors import BadMessage, BadTopic
from edge.messages import Confirmed, Health, Scan, Status, read_scans
from edge.mqtt import Received
from edge.topics import parse

#: Viet Nam keeps one time all year.
HO_CHI_MINH = timezone(timedelta(hours=7))

DIRECTIONS = {"in": "vào / in", "out": "ra / out", "both": "vào-ra / both"}
DOCUMENTS = {
    "qrqg": "mã QR cá nhân / personal code",
    "cccd": "CCCD / ID card",
    "can_cuoc": "Căn cước / ID card 2024",
    "bhyt": "thẻ BHYT / health insurance",
}
REFUSALS = {
    "payment": "mã thanh toán / payment",
    "health_certificate": "chứng nhận sức khỏe / health certificate",
    "place_code": "mã địa điểm / place code",
    "foreign": "mã khác / foreign code",
    "unknown": "không rõ / unknown",
}
COLUMNS = ("giờ/time", "thiết bị/unit", "nơi/place", "hướng/direction", "giấy tờ/document", "")
WIDTHS = (12, 14, 10, 16, 31, 22)


@dataclass
class _Row:
    number: int
    cells: tuple[str, ...]
    confirmed: bool = False


class LiveTable:
    """Rows for scans; each turns from sent to confirmed."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._rewrite = self._out.isatty()
        self._rows: dict[tuple[str, str, int], _Row] = {}
        self._printed = 0
        self._health: dict[str, Health] = {}
        #: Whether the unit has said goodbye.
        self.stopped = False
        self._line(self._format(COLUMNS))

    def take(self, message: Received) -> None:
        """Show what *message* tells. Anything else than our contract is passed over."""
        try:
            topic = parse(message.topic)
            if topic.channel == "scan":
                for scan in read_scans(message.payload)[0]:
                    self._sent(topic.unit, scan)
            elif topic.channel == "confirmed":
                self._confirmed(topic.unit, Confirmed.decode(message.payload))
            elif topic.channel == "health":
                self._measured(topic.unit, Health.decode(message.payload))
            elif topic.channel == "status" and not message.retain:
                self.stopped = Status.decode(message.payload).state == "stopped"
        except (BadMessage, BadTopic):
            # The collector sets it aside with its reason; here it would only be in the way.
            return

    def health(self) -> Health | None:
        """The last health of the unit, if there was one."""
        return next(iter(self._health.values()), None)

    def confirmed(self) -> int:
        """How many of the scans seen here are confirmed."""
        return sum(row.confirmed for row in self._rows.values())

    def _sent(self, unit: str, scan: Scan) -> None:
        key = (unit, scan.epoch, scan.seq)
        if key in self._rows:
            return
        at = datetime.fromisoformat(scan.at).astimezone(HO_CHI_MINH)
        cells = (
            f"{at:%H:%M:%S}",
            unit,
            scan.place,
            DIRECTIONS[scan.direction],
            DOCUMENTS[scan.document],
        )
        self._rows[key] = _Row(self._printed, cells)
        self._line(self._format((*cells, "đã gửi / sent")))

    def _confirmed(self, unit: str, message: Confirmed) -> None:
        for confirmed in message.ranges:
            for seq in range(confirmed.first, confirmed.last + 1):
                row = self._rows.get((unit, message.epoch, seq))
                if row is not None and not row.confirmed:
                    row.confirmed = True
                    self._show_confirmed(row)

    def _show_confirmed(self, row: _Row) -> None:
        text = self._format((*row.cells, "đã lưu / confirmed"))
        up = self._printed - row.number
        if not self._rewrite:
            self._line(text)
        elif up <= 20:
            self._out.write(f"\x1b[{up}A\r\x1b[2K{text}\x1b[{up}B\r")
            self._out.flush()

    def _measured(self, unit: str, health: Health) -> None:
        before = self._health.get(unit)
        for kind, count in sorted(health.refused.items()):
            new = count - (before.refused.get(kind, 0) if before else 0)
            if new > 0:
                what = REFUSALS.get(kind, kind)
                self._line(
                    f"{'':{WIDTHS[0]}} {unit:<{WIDTHS[1]}} từ chối / refused: {what} ({new})"
                )
        self._health[unit] = health

    def _format(self, cells: tuple[str, ...]) -> str:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=False))
        return " ".join(padded).rstrip()

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()
        self._printed += 1
