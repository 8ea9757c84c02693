"""Erases, a slice at a time, what storage has held for its time, and one person's identities.

Between two slices others write and read, and whoever erases may be killed: what is erased, and how
much of it, stands in the tables with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from edge.errors import StorageBusy
from edge.storage.ahead import ahead_of
from edge.storage.database import CHECKPOINT_PAGES, Database
from edge.storage.days import UNDATED, table_of
from edge.storage.gone import Slices

#: So many rows that are of no day's table are erased in one transaction.
ROWS_A_SLICE = 500
#: After so many slices what they wrote is moved from SQLite's log to its place.
SLICES_A_WRITE_BACK = 8
#: For so long those who read are waited for before SQLite's log is emptied, in seconds.
EMPTYING_S = 0.2
#: With more pages in the log that cannot be moved, since somebody reads from before them, nothing
#: is erased: the log would only grow.
MOST_IN_LOG = 4 * CHECKPOINT_PAGES


@dataclass(frozen=True)
class Erasure:
    """What was taken away and is erased."""

    began: str  #: when it was taken away
    before_day: str
    days: list[str]
    scans: int  #: erased so far
    set_aside: int
    last: int  #: the number of what was taken away last


class Erasing:
    """Erases what is past its time. For one thread; several processes may do so at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slices = Slices(database)
        self._unwritten = 0
        #: Nothing was found any more; it remains to move it from the log, and to look once more.
        self._nothing_left = False
        #: What time it surely is, if that is known.
        self._settled_at = ""

    def begin(self, before_day: str, now: str, *, settled: bool = False) -> None:
        """From now on erase what `Days.expire` has taken away, and what else is of before.

        *settled*: it is *now* indeed, and not only no earlier; what came in at a later time then
        came in while the clock was ahead, and is kept from now on.
        """
        self._settled_at = now if settled else ""
        with self._database.writing("begin to erase") as connection:
            connection.execute(
                text(
                    # Of an erasure that has ended nothing stays: else a clock that once ran ahead,
                    # or a number of days that was too small, would erase what comes in for good.
                    # Nor does anything of one that began in the future.
                    "UPDATE erasing SET"
                    " before_day = CASE WHEN began = '' OR began > :ahead OR before_day < :before"
                    " THEN :before ELSE before_day END,"
                    " began = CASE WHEN began = '' OR began > :ahead THEN :now ELSE began END"
                ),
                {"before": before_day, "now": now, "ahead": ahead_of(now)},
            )

    def step(self, note: Callable[[Connection, Erasure], None]) -> bool:
        """Erase one slice, or be done; whether there is more to do.

        *note* is called when all is erased, from the file too, and was something: within the
        transaction that ends it. Raises StorageError; StorageBusy while somebody reads who has to
        end first.
        """
        if self._nothing_left or self._unwritten >= SLICES_A_WRITE_BACK:
            self._write_back()
        self._unwritten += 1
        with self._database.overwriting("erase") as connection:
            self._database.be_impatient(connection)
            under_way = _under_way(self._database, connection)
            if not under_way.began:
                return False
            if self._erase_slice(connection, under_way):
                self._nothing_left = False
                return True
            if under_way.days or under_way.scans or under_way.set_aside:
                if not self._nothing_left:
                    self._nothing_left = True
                    return True
                note(connection, under_way)
            # In PostgreSQL another collector may have taken more away meanwhile.
            connection.execute(
                text("DELETE FROM gone WHERE number <= :last"), {"last": under_way.last}
            )
            connection.execute(text("UPDATE erasing SET began = '', scans = 0, set_aside = 0"))
        self._nothing_left = False
        return False

    def _write_back(self) -> None:
        stuck, most = self._database.write_back(), MOST_IN_LOG
        if self._nothing_left:
            # Nobody writes while it waits; of little that is left, as it was moved just now.
            stuck, most = self._database.write_back(all_of_it=True, wait_s=EMPTYING_S), 0
        if stuck > most:
            raise StorageBusy(
                f"{self._database.name}: cannot erase: somebody reads what was there before"
            )
        self._unwritten = 0

    def _erase_slice(self, connection: Connection, under_way: Erasure) -> bool:
        """Erase something; whether there was anything."""
        scans = self._slices.erase(connection)
        if scans is not None:
            _count(connection, "scans", scans)
            return True
        for table, when, key, counter in _BESIDE:
            erased = connection.execute(
                text(
                    f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table}"
                    f" WHERE {when} < :before LIMIT {ROWS_A_SLICE})"
                ),
                {"before": under_way.before_day},
            ).rowcount
            if erased:
                _count(connection, counter, erased)
                return True
        return bool(self._settled_at) and _receive_now(connection, self._settled_at)


#: What is erased beside whole days: table, when its rows are of, their key, and as what they count.
_BESIDE = (
    (table_of(UNDATED), "received", "number", "scans"),
    ("set_aside", "received", "number", "set_aside"),
    ("stop", "since", "unit, since", ""),
)


def _receive_now(connection: Connection, now: str) -> bool:
    """Let what came in while the clock was ahead have come in at *now*; whether anything did.

    Else it would be kept until that day comes. By a clock that is behind, which calls the present
    the future, all would be too old once it is right.
    """
    return any(
        connection.execute(
            text(
                f"UPDATE {table} SET received = :now WHERE number IN"
                f" (SELECT number FROM {table} WHERE received > :ahead LIMIT {ROWS_A_SLICE})"
            ),
            {"now": now, "ahead": ahead_of(now)},
        ).rowcount
        for table in (table_of(UNDATED), "set_aside")
    )


def _count(connection: Connection, what: str, erased: int) -> None:
    if what and erased:
        connection.execute(
            text(f"UPDATE erasing SET {what} = {what} + :erased"), {"erased": erased}
        )


def _under_way(database: Database, connection: Connection) -> Erasure:
    # Of several collectors one erases at a time.
    lock = " FOR UPDATE" if database.engine == "postgresql" else ""
    row = connection.execute(
        text(f"SELECT began, before_day, scans, set_aside FROM erasing{lock}")
    ).one()
    gone = connection.execute(text("SELECT number, day FROM gone ORDER BY number")).all()
    days = sorted({each.day for each in gone})
    last = gone[-1].number if gone else 0
    return Erasure(row.began, row.before_day, days, row.scans, row.set_aside, last)


def is_under_way(connection: Connection) -> bool:
    """Whether something was taken away that is not all erased yet."""
    return bool(connection.execute(text("SELECT count(*) FROM gone")).scalar_one())


def forget_identities(
    database: Database,
    days: Sequence[str],
    scans: Sequence[tuple[str, str, str]],
    note: Callable[[Connection, int], None] = lambda connection, erased: None,
) -> int:
    """Erase the sealed identity of each scan, by (id, place, time); gives how many had one.

    The scan itself stays: it was counted and confirmed, and is of nobody then. *days*: of which
    there are tables. The time of one without a day may have been corrected since it was asked for.
    *note* is told how many, within the transaction that erases them.
    """
    erased = 0
    with database.overwriting("erase identities") as connection:
        for scan, place, time in scans:
            for day in {UNDATED, time[:10]} & {UNDATED, *days}:
                erased += connection.execute(
                    text(
                        f"UPDATE {table_of(day)} SET sealed = :nothing"
                        " WHERE place = :place AND id = :id AND sealed <> :nothing"
                        f"{' AND time = :time' if day else ''}"
                    ),
                    {"nothing": b"", "place": place, "time": time, "id": scan},
                ).rowcount
        note(connection, erased)
    return erased
