"""One transaction that writes, and what the parts of storage share while it lasts.

Statements go straight to the driver beneath SQLAlchemy, whose own share would be as large as that
of all the work that a batch is beside its rows.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

import sqlalchemy

from edge.storage.database import Database, pack

#: PostgreSQL's number of a transaction, times this, is the first number of a scan in it.
NUMBERS_A_TRANSACTION = 1 << 24
#: What PostgreSQL calls the types of the values of a row.
TYPES = {int: "int8", str: "text", bytes: "bytea"}

#: SQL, the rows of its `Database.given`, and its other values.
Question = tuple[str, Sequence[Sequence[object]], dict[str, object]]

#: Has a call done in which the engine alone works, and returns when it is. It may have it done by
#: another thread, and see to something else meanwhile.
AwaitEngine = Callable[[Callable[[], None]], None]


def call_here(call: Callable[[], None]) -> None:
    """Wait for the engine and do nothing else."""
    call()


class Writing:
    """A transaction under way."""

    def __init__(
        self,
        database: Database,
        connection: sqlalchemy.Connection,
        now: str,
        await_engine: AwaitEngine = call_here,
    ) -> None:
        """*now*: when what is written came in."""
        self.database = database
        #: When what it brings was received.
        self.now = now
        self._await_engine = await_engine
        self._driver: Any = connection.connection.driver_connection
        self._next: int | None = None
        self._later: list[tuple[str, dict[str, object]]] = []

    def ask(
        self, sql: str, given: Sequence[Sequence[object]] = (), **values: object
    ) -> list[tuple[Any, ...]]:
        """The rows of *sql*; *given* are those of its `Database.given`."""
        rows: list[tuple[Any, ...]] = self._execute(sql, given, values).fetchall()
        return rows

    def ask_together(self, *questions: Question) -> list[list[tuple[Any, ...]]]:
        """The rows of each question, asked one after the other: in one turn over the network."""
        if self.database.engine == "sqlite":
            return [self._execute(*question).fetchall() for question in questions]
        with self._driver.pipeline():
            cursors = [self._execute(*question) for question in questions]
            return [cursor.fetchall() for cursor in cursors]

    def change(self, sql: str, given: Sequence[Sequence[object]] = (), **values: object) -> None:
        """Do *sql*."""
        self._execute(sql, given, values)

    def change_at_end(
        self, sql: str, given: Sequence[Sequence[object]] = (), **values: object
    ) -> None:
        """Do *sql* in `finish`; nothing in this transaction may ask for what it changes."""
        if given:
            values["given"] = pack(given)
        self._later.append((sql, values))

    def finish(self) -> None:
        """Do what was left for the end, and commit."""
        self._await_engine(self._finish_alone)

    def _finish_alone(self) -> None:
        if self.database.engine == "sqlite":
            for sql, values in self._later:
                self._driver.execute(sql, values)
            self._driver.commit()
            return
        # All in one turn over the network.
        with self._driver.pipeline():
            for sql, values in self._later:
                self._driver.execute(_in_percent(sql), values)
            self._driver.commit()

    def new_numbers(self, count: int) -> range:
        """*count* numbers above those of every transaction that ended before this one began."""
        if self.database.engine == "sqlite":
            raised = "UPDATE feed SET last = last + :count RETURNING last"
            (last,) = self.ask(raised, count=count)[0]
            return range(last - count + 1, last + 1)
        if self._next is None:
            (transaction,) = self.ask(
                "SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT) + ahead FROM feed"
            )[0]
            self._next = int(transaction) * NUMBERS_A_TRANSACTION
        first, self._next = self._next, self._next + count
        return range(first, self._next)

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Put *rows*, at least one, into *table* by the engine's fastest way; nothing is NULL."""
        if self.database.engine == "sqlite":
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            # Not as the engine's own work: between rows it takes Python's lock.
            self._driver.executemany(statement, rows)
            return
        command = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with ExitStack() as copying:
            cursor = copying.enter_context(self._driver.cursor())
            copy = copying.enter_context(cursor.copy(command))
            # As text it would take us twice as long.
            rows = iter(rows)
            first = next(rows)
            copy.set_types([TYPES[type(value)] for value in first])
            copy.write_row(first)
            for row in rows:
                copy.write_row(row)
            self._await_engine(copying.close)

    def _execute(
        self, sql: str, given: Sequence[Sequence[object]], values: dict[str, object]
    ) -> Any:
        if given:
            values = values | {"given": pack(given)}
        if self.database.engine == "postgresql":
            sql = _in_percent(sql)
        return self._driver.execute(sql, values)


@lru_cache(maxsize=200)
def _in_percent(sql: str) -> str:
    """*sql* with its :names as psycopg writes them."""
    return re.sub(r":(\w+)", r"%(\1)s", sql)
