"""The rows behind a count: the scans of one place in some local days and quarters of an hour.

Read a page at a time, by key and not by number, so that the last page of a day of a full storage
costs what the first does. No identity is read: what is sealed stays where it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from msgspec import Struct
from sqlalchemy import Connection, bindparam, text

from edge.clock import utc_seconds, utc_text
from edge.storage.counts import DIRECTIONS, QUARTERS
from edge.storage.database import Database
from edge.storage.days import UNDATED, days_there, table_of
from edge.storage.summaries import LOCAL

_QUARTER_S = 900
#: So many rows are read at once where all are.
AT_ONCE = 2000

#: Where a page ends: the time of its last row, and that row's number.
Key = tuple[str, int]


@dataclass(frozen=True)
class Chosen:
    """Which scans: as the counts have them, which is by the best time that is known."""

    place: str
    first: date  #: local days, both included
    last: date
    #: Of each of these days, the quarters of an hour from *since* up to, not including, *until*.
    since: int = 0
    until: int = QUARTERS
    unit: str = ""  #: "" for all
    directions: tuple[str, ...] = DIRECTIONS

    def spans(self) -> Iterator[tuple[str, str]]:
        """(from, before) of each stretch of time, in UTC, in order."""
        if (self.since, self.until) == (0, QUARTERS):
            yield moment_of(self.first, 0), moment_of(self.last, QUARTERS)
            return
        for number in range((self.last - self.first).days + 1):
            day = self.first + timedelta(days=number)
            yield moment_of(day, self.since), moment_of(day, self.until)


class ScanRow(Struct, frozen=True):
    """A scan, and nothing of who passed."""

    number: int
    unit: str
    epoch: str
    seq: int  #: the unit's own number within its epoch
    direction: str
    trip: str
    document: str
    clock: str  #: what had set the unit's clock when it scanned
    time: str  #: UTC, the best that is known
    time_quality: str  #: "synced", "corrected" or "unsynced"
    received: str  #: when it became a row and so was confirmed, UTC

    @property
    def key(self) -> Key:
        """Where to go on after it."""
        return self.time, self.number


_COLUMNS = (
    "number, unit, epoch, seq, direction, trip, document, clock, time, time_quality, received"
)


def read(
    database: Database,
    connection: Connection,
    chosen: Chosen,
    after: Key | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> list[ScanRow]:
    """Up to *limit* rows by time, those that come *after* a key; None begins with the first.

    Raises StorageError.
    """
    order = _Order(newest_first, after)
    days = sorted(days_there(database, connection), reverse=newest_first)
    spans = list(chosen.spans())
    found: list[ScanRow] = []
    for since, before in reversed(spans) if newest_first else spans:
        if order.is_past(since, before):
            continue
        # A row of a day's table has the day of its time; one of no day may have any time.
        of_span = [day for day in days if since[:10] <= day <= before[:10]]
        dated: list[ScanRow] = []
        for day in of_span:
            if len(found) + len(dated) >= limit:
                break
            dated += _in_table(connection, table_of(day), chosen, (since, before), order, limit)
        undated = _in_table(connection, table_of(UNDATED), chosen, (since, before), order, limit)
        found += sorted([*dated, *undated], key=lambda row: row.key, reverse=newest_first)
        if len(found) >= limit:
            return found[:limit]
    return found


def everything(database: Database, chosen: Chosen) -> Iterator[ScanRow]:
    """All rows, the oldest first; never all of them in memory. Raises StorageError."""
    after = None
    while True:
        with database.reading("list scans") as connection:
            rows = read(database, connection, chosen, after, AT_ONCE)
        yield from rows
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].key


@dataclass(frozen=True)
class _Order:
    """Which way rows run, and after which one."""

    newest_first: bool
    after: Key | None

    def is_past(self, since: str, before: str) -> bool:
        """Whether all from *since* until *before* came already."""
        if self.after is None:
            return False
        return self.after[0] < since if self.newest_first else before <= self.after[0]

    def among(self, since: str, before: str) -> tuple[str, dict[str, object]]:
        """What holds for the rows to come of such a span, as SQL and its values.

        One limit on each side: an index is entered by one alone.
        """
        if self.after is None or not since <= self.after[0] < before:
            return "time >= :since AND time < :before", {"since": since, "before": before}
        time, number = self.after
        if self.newest_first:
            return (
                "time >= :since AND time <= :time AND (time < :time OR number < :number)",
                {"since": since, "time": time, "number": number},
            )
        return (
            "time >= :time AND time < :before AND (time > :time OR number > :number)",
            {"before": before, "time": time, "number": number},
        )

    def by(self) -> str:
        """The rest of ORDER BY."""
        return "time DESC, number DESC" if self.newest_first else "time, number"


def _in_table(
    connection: Connection,
    table: str,
    chosen: Chosen,
    span: tuple[str, str],
    order: _Order,
    limit: int,
) -> list[ScanRow]:
    among, values = order.among(*span)
    where = f"place = :place AND {among}"
    if chosen.unit:
        where += " AND unit = :unit"
        values["unit"] = chosen.unit
    statement = text(
        f"SELECT {_COLUMNS} FROM {table} WHERE {where} AND direction IN :directions"
        f" ORDER BY {order.by()} LIMIT :limit"
    )
    values |= {"place": chosen.place, "directions": chosen.directions, "limit": limit}
    rows = connection.execute(
        statement.bindparams(bindparam("directions", expanding=True)),
        values,
    )
    return [ScanRow(*row) for row in rows]


def moment_of(day: date, quarter: int) -> str:
    """When *quarter* of the local *day* begins, in UTC; the one after the last is midnight."""
    midnight = utc_seconds(f"{day}T00:00:00+00:00") - LOCAL.total_seconds()
    return utc_text(midnight + quarter * _QUARTER_S)
