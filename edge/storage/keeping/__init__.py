"""For how long scans are kept: what is wished for, what collectors do, what was erased and when.

A collector obeys the shorter of its own file and the wish: nobody at a page can make it keep
anything for longer than whoever runs it has said.
"""

from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import Connection, text

from edge.errors import StorageError
from edge.storage.database import Database

#: In days; the same bounds as in collector.toml.
SHORTEST, LONGEST = 14, 30
PACKAGE = "edge.storage.keeping"


@dataclass(frozen=True)
class Wish:
    """For how long somebody wished scans to be kept, in days; 0 takes an earlier wish back."""

    days: int
    set_by: str
    set_at: str


@dataclass(frozen=True)
class Done:
    """What a collector does."""

    collector: str
    own_days: int  #: as its file says
    days: int  #: as it does; 0 if it erases nothing
    seen: str  #: when it last said so


@dataclass(frozen=True)
class Erased:
    """What a collector erased in one go."""

    at: str
    collector: str
    before_day: str
    scans: int
    set_aside: int


class Keeping:
    """These tables. For any thread."""

    def __init__(self, database: Database) -> None:
        """The tables in *database*, made if need be. Raises StorageError."""
        self._database = database
        database.migrate(PACKAGE)

    def wish(self, days: int, who: str, now: str) -> None:
        """From now on *days* are wished for; 0 for what the collectors' files say.

        Raises StorageError outside of the bounds.
        """
        if days and not SHORTEST <= days <= LONGEST:
            raise StorageError(f"scans are kept for {SHORTEST} to {LONGEST} days, not {days}")
        self._write(
            "INSERT INTO keeping_wish (days, set_by, set_at) VALUES (:days, :who, :now)",
            days=days,
            who=who,
            now=now,
        )

    def wished(self) -> int:
        """The days that are wished for; 0 for none."""
        with self._database.reading() as connection:
            found = wishes(connection, 1)
        return found[0].days if found else 0

    def note_done(self, collector: str, own_days: int, days: int, now: str) -> None:
        """*collector* says what it does."""
        self._write(
            "INSERT INTO keeping_done (collector, own_days, days, seen)"
            " VALUES (:collector, :own_days, :days, :now) ON CONFLICT (collector) DO UPDATE SET"
            " own_days = excluded.own_days, days = excluded.days, seen = excluded.seen",
            collector=collector,
            own_days=own_days,
            days=days,
            now=now,
        )

    def _write(self, sql: str, **values: object) -> None:
        with self._database.writing("note for how long scans are kept") as connection:
            connection.execute(sqlalchemy.text(sql), values)


def note_erased(connection: Connection, erased: Erased) -> None:
    """A collector has erased something."""
    connection.execute(
        text(
            "INSERT INTO keeping_erased (at, collector, before_day, scans, set_aside)"
            " VALUES (:at, :collector, :before_day, :scans, :set_aside)"
        ),
        vars(erased),
    )


def wishes(connection: Connection, most: int) -> list[Wish]:
    """The newest wishes, the newest first."""
    rows = connection.execute(
        text("SELECT days, set_by, set_at FROM keeping_wish ORDER BY number DESC LIMIT :most"),
        {"most": most},
    )
    return [Wish(*row) for row in rows]


def done(connection: Connection) -> list[Done]:
    """What each collector does, by name."""
    rows = connection.execute(
        text("SELECT collector, own_days, days, seen FROM keeping_done ORDER BY collector")
    )
    return [Done(*row) for row in rows]


def erasures(connection: Connection, most: int) -> list[Erased]:
    """What was erased last, the newest first."""
    rows = connection.execute(
        text(
            "SELECT at, collector, before_day, scans, set_aside FROM keeping_erased"
            " ORDER BY number DESC LIMIT :most"
        ),
        {"most": most},
    )
    return [Erased(*row) for row in rows]
