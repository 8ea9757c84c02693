"""How many scans there were in each quarter of an hour at all places together, kept for a while.

The counts of thousands of places for a day are hundreds of thousands of rows. They are added up
beside the pages, every few seconds, so that nobody who opens a page waits for it.
"""

from datetime import date, timedelta

from edge.clock import Clock
from edge.dashboard.local_time import local_day
from edge.storage import counts
from edge.storage.counts import Count
from edge.storage.database import Database

#: Today's sums are made anew this often; those of yesterday, which only late scans change, rarely.
TODAY_S = 15.0
YESTERDAY_S = 600.0


class Totals:
    """The sums of today and yesterday. For any thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        #: Of a day: when they were made, and the 96 counts. Replaced as a whole, never changed.
        self._kept: dict[date, tuple[float, list[Count]]] = {}

    def step(self) -> None:
        """Make anew what is old. Raises StorageError."""
        today = local_day(self._clock.now().at)
        for day, every_s in ((today, TODAY_S), (today - timedelta(days=1), YESTERDAY_S)):
            made = self._kept.get(day, (None, []))[0]
            if made is None or self._clock.monotonic() - made >= every_s:
                self._make(day)
        self._kept = {day: kept for day, kept in self._kept.items() if (today - day).days <= 1}

    def quarters(self, day: date) -> list[Count]:
        """The counts of the 96 quarters of *day*, today's some seconds old."""
        kept = self._kept.get(day)
        return kept[1] if kept is not None else self._make(day)

    def _make(self, day: date) -> list[Count]:
        began = self._clock.monotonic()
        with self._database.reading() as connection:
            found = counts.by_quarter(connection, day)
        self._kept = self._kept | {day: (began, found)}
        return found
