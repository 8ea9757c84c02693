"""A batch of scans made ready as they come in, so that the transaction that stores it is short.

A collector does it while the engine works for the batch before. The database is asked for nothing,
but once for the days there are, if a scan is of one that can hardly be.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby, repeat
from operator import attrgetter, itemgetter
from typing import Any

from edge.messages import Scan
from edge.ranges import Ranges, ranges_of
from edge.storage.days import UNDATED, Days
from edge.storage.held import Arrived
from edge.storage.rows import UnitScans
from edge.storage.summaries import MINUTE

#: The columns of a row that a scan says itself.
_SAID = (
    "at",
    "place",
    "direction",
    "epoch",
    "seq",
    "id",
    "trip",
    "document",
    "boot",
    "uptime_ms",
    "clock",
    "key",
    "sealed",
)
#: The columns of a `Row`; a row in a table has its number besides.
COLUMNS = ("unit", "area", "received", *_SAID, "time", "time_quality")

Row = tuple[Any, ...]
Counted = Counter[tuple[str, str, str, str, str]]  # minute, time quality, unit, place, direction

_said_by = attrgetter(*_SAID, "at")
_seq_of, _epoch_of, _boot_of = attrgetter("seq"), attrgetter("epoch"), attrgetter("boot")
_AT_SECONDS = MINUTE + 1


def column(*names: str) -> "itemgetter[Any]":
    """Picks the columns *names* out of a `Row`."""
    return itemgetter(*map(COLUMNS.index, names))


_place_of, _direction_of = column("place"), column("direction")
_when = column("at", "clock")
_kind_of = column("time", "time_quality", "unit", "place", "direction")


class Prepared:
    """Scans that came in together, with what can be said before it is known which of them are new.

    Nearly always all are, and each has a time of its own that counts; for then it is all there.
    """

    def __init__(self, days: Days, received: str) -> None:
        """None yet; they come in at *received*."""
        self.received = received
        self.came: list[UnitScans] = []
        #: The row of each, as if its own time counted.
        self.rows: list[Row] = []
        #: The day of each; `UNDATED` of one whose own time does not count.
        self.days: list[str] = []
        #: How many rows there are of each kind, as if the time of each counted.
        self.counted: Counted = Counter()
        #: (unit, boot) of each.
        self.boots: set[tuple[str, str]] = set()
        self._numbers: defaultdict[tuple[str, str], Ranges] = defaultdict(Ranges)
        self._days = days
        self._day_of_minute = {UNDATED: UNDATED}

    def add(self, came: UnitScans) -> None:
        """These belong to it too."""
        area, unit, scans = came
        head, tail = (unit, area, self.received), ("synced",)
        rows = [head + said + tail for said in map(_said_by, scans)]
        minutes = [
            # Here nothing relies on the contract, which lets moments alone through: no second 60.
            at[:MINUTE] if clock != "none" and at[_AT_SECONDS] < "6" else UNDATED
            for at, clock in map(_when, rows)
        ]
        for minute in set(minutes) - self._day_of_minute.keys():
            self._day_of_minute[minute] = self._day_of(minute)
        self.came.append(came)
        self.rows += rows
        self.days += map(self._day_of_minute.__getitem__, minutes)
        places, directions = map(_place_of, rows), map(_direction_of, rows)
        self.counted.update(zip(minutes, repeat("synced"), repeat(unit), places, directions))
        for epoch, run in groupby(scans, _epoch_of):
            self._numbers[unit, epoch].update(ranges_of(sorted(set(map(_seq_of, run)))))
        self.boots.update((unit, boot) for boot in set(map(_boot_of, scans)))

    @property
    def arrived(self) -> Arrived:
        """Their numbers."""
        return {key: list(ranges) for key, ranges in self._numbers.items()}

    @property
    def all_dated(self) -> bool:
        """Whether each has a day."""
        return UNDATED not in self.days

    def scans(self) -> Iterator[tuple[str, Scan]]:
        """(unit, scan) of each, in the order of the rows."""
        for _, unit, scans in self.came:
            for scan in scans:
                yield unit, scan

    def _day_of(self, minute: str) -> str:
        """Only a time that is one has a day; there is no 30 February."""
        start = f"{minute}:00.000Z"
        return self._days.day_of(start, self.received) if is_time(start) else UNDATED


def count(rows: Iterable[Row]) -> Counted:
    """How many of *rows* there are of each kind."""
    return Counter((time[:MINUTE], *kind) for time, *kind in map(_kind_of, rows))


def is_time(text: str) -> bool:
    """Whether there is a moment of that name."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
