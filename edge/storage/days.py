"""The tables of scans, one for each day: made when a day is first seen, gone when it expires."""

import logging
import re
from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta

import sqlalchemy

from edge.storage import gone
from edge.storage.database import TABLES_LOCK, Database
from edge.storage.writing import Writing

log = logging.getLogger(__name__)

#: The day of scans that have none.
UNDATED = ""
#: A clock that says a day further away than these from when its scan came in is wrong. So there can
#: never be more tables than SQLite can put into one view.
OLDEST = timedelta(days=400)
NEWEST = timedelta(days=2)

_TABLE = re.compile(r"scan_(\d{4})(\d{2})(\d{2})")


def table_of(day: str) -> str:
    """The table of *day*: `scan_20210702`, or that of scans without a day."""
    return f"scan_{day.replace('-', '')}" if day else "scan_undated"


class Days:
    """Which days have a table. For one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[str] = set()
        #: Whether every day that has a table is among them.
        self._knows_all = False

    def day_of(self, at: str, now: str) -> str:
        """In which day's table a scan belongs whose clock said *at*, and which came in at *now*.

        A scan that is sent again much later may have had a day when it first came, or none yet.
        """
        day = at[:10]
        if day in self._known or can_be(at, now):
            return day
        if not self._knows_all:
            # Before a restart, or before the clock was put right, it may have had a table.
            self._know(set(self.days()))
        return day if day in self._known else UNDATED

    def make(self, days: Iterable[str]) -> None:
        """See that each of *days* has its table. Raises StorageError."""
        missing = sorted(set(days) - self._known - {UNDATED})
        if not missing:
            return
        with self._database.writing("make a day's table") as connection:
            _lock(self._database, connection)
            there = days_there(self._database, connection)
            for day in missing:
                if day not in there:
                    _make(self._database, connection, day)
                    log.info("made the table of %s", day)
            self._show(connection)
        self._know(there | set(missing))

    def expire(self, before: str, now: str, *, steady: bool = True) -> list[str]:
        """Take the days before the day *before* away from every question; gives which.

        With them goes a day that is in the future at *now*, once that was noticed before *before*;
        but not where *now* is not *steady*: by a clock that is years behind every day is of the
        future, and all were noticed long ago once it is set to another wrong year.
        They are erased later, by `Erasing`. Raises StorageError; StorageBusy if somebody in
        PostgreSQL has been reading for long, and does not let go.
        """
        with self._database.writing("take expired days away") as connection:
            _lock(self._database, connection)
            self._database.be_impatient(connection)
            there = days_there(self._database, connection)
            expired = sorted(day for day in there if day < before)
            if steady:
                expired += _over_though_ahead(connection, there, before, now)
            if expired:
                if self._database.engine == "sqlite":
                    # It must not name what is no longer there.
                    connection.exec_driver_sql("DROP VIEW scan")
                gone.take_away(
                    self._database, connection, [(table_of(day), day) for day in expired]
                )
                self._show(connection)
            _note_expired(connection, expired, before, now)
        self._know(there - set(expired))
        return expired

    def days(self) -> list[str]:
        """The days that have a table, the oldest first. Raises StorageError."""
        with self._database.reading() as connection:
            return sorted(days_there(self._database, connection))

    def forget(self) -> None:
        """Look everything up anew."""
        self._known, self._knows_all = set(), False

    def _know(self, all_days: set[str]) -> None:
        self._known, self._knows_all = all_days, True

    def _show(self, connection: sqlalchemy.Connection) -> None:
        """Let the view `scan` show every day's table; in PostgreSQL they are its partitions."""
        if self._database.engine == "sqlite":
            days = [UNDATED, *sorted(days_there(self._database, connection))]
            parts = [f"SELECT '{day}' AS day, * FROM {table_of(day)}" for day in days]
            connection.exec_driver_sql("DROP VIEW IF EXISTS scan")
            connection.exec_driver_sql(f"CREATE VIEW scan AS {' UNION ALL '.join(parts)}")


def expired_among(writing: Writing, days: Collection[str]) -> set[str]:
    """Which of *days* were taken away at some time; they may have a table again since."""
    if not days:
        return set()
    return {
        day
        for (day,) in writing.ask(
            f"SELECT e.day FROM {writing.database.given(day=str)} g"
            " JOIN expired_day e ON e.day = g.day",
            [(day,) for day in sorted(days)],
        )
    }


def can_be(at: str, now: str) -> bool:
    """Whether a clock that says *at* of what came in at *now* may be right."""
    try:
        ago = datetime.fromisoformat(now) - datetime.fromisoformat(at)
    except ValueError:
        return False
    return -NEWEST <= ago <= OLDEST


def _lock(database: Database, connection: sqlalchemy.Connection) -> None:
    if database.engine == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TABLES_LOCK})")


def _over_though_ahead(
    connection: sqlalchemy.Connection, there: set[str], before: str, now: str
) -> list[str]:
    """Those days of the future that were noticed before *before*; notes which there are."""
    last = (datetime.fromisoformat(now) + NEWEST).date().isoformat()
    ahead = {day for day in there if day > last}
    rows = connection.execute(sqlalchemy.text("SELECT day, noticed FROM day_ahead"))
    noticed = {row.day: row.noticed for row in rows}
    over = sorted(day for day in ahead if noticed.get(day, now) < before)
    if done := noticed.keys() - (ahead - set(over)):
        connection.execute(
            sqlalchemy.text("DELETE FROM day_ahead WHERE day = :day"),
            [{"day": day} for day in done],
        )
    if new := ahead - noticed.keys():
        connection.execute(
            sqlalchemy.text("INSERT INTO day_ahead (day, noticed) VALUES (:day, :now)"),
            [{"day": day, "now": now} for day in new],
        )
    return over


def _note_expired(
    connection: sqlalchemy.Connection, expired: list[str], before: str, now: str
) -> None:
    if expired:
        connection.execute(
            sqlalchemy.text("INSERT INTO expired_day (day) VALUES (:day) ON CONFLICT DO NOTHING"),
            [{"day": day} for day in expired],
        )
    connection.execute(
        sqlalchemy.text(
            # One of the future is of a wrong clock, and says nothing once that was put right.
            "UPDATE feed SET expired_before = :before"
            " WHERE expired_before < :before OR expired_before > :today"
        ),
        {"before": before, "today": now[:10]},
    )


def days_there(database: Database, connection: sqlalchemy.Connection) -> set[str]:
    """The days that have a table, as *connection* sees them."""
    names = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if database.engine == "sqlite"
        else "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'scan'::regclass"
    ).scalars()
    found = (_TABLE.fullmatch(name) for name in names)
    return {"-".join(match.groups()) for match in found if match}


def _make(database: Database, connection: sqlalchemy.Connection, day: str) -> None:
    date.fromisoformat(day)  # it becomes part of the SQL
    table = table_of(day)
    if database.engine == "sqlite":
        pattern = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'scan_undated'"
            " AND name LIKE 'scan\\_undated%' ESCAPE '\\' ORDER BY type DESC"
        ).scalars()
        for sql in list(pattern):
            connection.exec_driver_sql(sql.replace("scan_undated", table))
        return
    # Made beside and then attached: PARTITION OF would wait for everybody who reads.
    connection.exec_driver_sql(
        f"CREATE TABLE {table} (LIKE scan INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    )
    connection.exec_driver_sql(f"ALTER TABLE {table} ALTER day SET DEFAULT '{day}'")
    connection.exec_driver_sql(f"ALTER TABLE scan ATTACH PARTITION {table} FOR VALUES IN ('{day}')")
