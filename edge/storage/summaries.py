"""How many scans there are by place, unit, direction, day and quarter of an hour, kept exactly.

They are changed in the transaction that brings scans or dates them, so they are always what a count
of the rows would say; and they stay when the rows expire.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from edge.storage.writing import Writing

#: Vietnam has had one time zone, and no summer time, since 1975.
LOCAL = timedelta(hours=7)
#: So much of a time says its minute: "2021-07-02T17:31".
MINUTE = 16
#: So many minutes are remembered with the quarter they belong to.
CACHED_MINUTES = 10_000

_Quarter = tuple[str, str, str, str, int]  # day, place, unit, direction, quarter


class Summaries:
    """The changes that one transaction makes to the counts, written at its end."""

    def __init__(self, minutes: dict[str, tuple[str, int]]) -> None:
        """*minutes*: a memory of `local_quarter`, shared by transactions."""
        self._minutes = minutes
        self._scans: Counter[_Quarter] = Counter()
        self._unsynced: Counter[_Quarter] = Counter()

    def add(
        self,
        place: str,
        unit: str,
        direction: str,
        time: str,
        *,
        scans: int,
        unsynced: int = 0,
    ) -> None:
        """Count *scans* at *time*, or in that minute; the time of *unsynced* is not certain."""
        minute = time[:MINUTE]
        found = self._minutes.get(minute)
        if found is None:
            if len(self._minutes) >= CACHED_MINUTES:
                self._minutes.clear()
            found = self._minutes[minute] = local_quarter(minute)
        key = (found[0], place, unit, direction, found[1])
        self._scans[key] += scans
        if unsynced:
            self._unsynced[key] += unsynced

    def write(self, writing: Writing) -> None:
        """Change the tables. Rows are changed in one order, so that nobody waits in a circle."""
        quarters = [
            (*key, self._scans[key], self._unsynced[key])
            for key in sorted(self._scans)
            if self._scans[key] or self._unsynced[key]
        ]
        days: dict[tuple[str, str, str, str], list[int]] = {}
        for date, place, unit, direction, _, scans, unsynced in quarters:
            day = days.setdefault((date, place, unit, direction), [0, 0])
            day[0] += scans
            day[1] += unsynced
        self._add(writing, "scans_by_quarter", {"quarter": int}, quarters)
        self._add(writing, "scans_by_day", {}, [(*key, *counts) for key, counts in days.items()])

    @staticmethod
    def _add(
        writing: Writing, table: str, finer: dict[str, type[int]], rows: list[tuple[Any, ...]]
    ) -> None:
        if not rows:
            return
        key: dict[str, Any] = {"day": str, "place": str, "unit": str, "direction": str, **finer}
        given = writing.database.given(**key, scans=int, unsynced=int)
        writing.change_at_end(
            f"INSERT INTO {table} ({', '.join(key)}, scans, unsynced)"
            f" SELECT {', '.join(key)}, scans, unsynced FROM {given} g WHERE true"
            f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET"
            f" scans = {table}.scans + excluded.scans,"
            f" unsynced = {table}.unsynced + excluded.unsynced",
            rows,
        )


def local_quarter(time: str) -> tuple[str, int]:
    """The day and the quarter of an hour, 0 to 95, of Vietnam's clock at *time* (UTC text).

    >>> local_quarter("2021-07-02T17:31:00.000Z")
    ('2021-07-03', 2)
    """
    moment = datetime.fromisoformat(time)
    try:
        moment += LOCAL
    except OverflowError:
        # The last hours of the year 9999, by a clock that is wrong anyway.
        moment = moment.replace(hour=23)
    return moment.date().isoformat(), moment.hour * 4 + moment.minute // 15
