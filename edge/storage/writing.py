"""One transaction that writes, and what the parts of storage share while it lasts."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy

from edge.storage.database import Database, pack

#: PostgreSQL's number of a transaction, times this, is the first number of a scan in it.
NUMBERS_A_TRANSACTION = 1 << 24


class Writing:
    """A transaction under way."""

    def __init__(self, database: Database, connection: sqlalchemy.Connection, now: str) -> None:
        self.database = database
        self.connection = connection
        #: When what it brings was received.
        self.now = now
        self._next: int | None = None

    def ask(self, sql: str, given: Sequence[Sequence[object]] = (), **values: object) -> list[Any]:
        """The rows of *sql*; *given* are those of its `Database.given`."""
        return list(self._execute(sql, given, values).fetchall())

    def change(self, sql: str, given: Sequence[Sequence[object]] = (), **values: object) -> int:
        """Do *sql*; gives how many rows it changed."""
        return int(self._execute(sql, given, values).rowcount)

    def new_numbers(self, count: int) -> range:
        """*count* numbers above those of every transaction that ended before this one began."""
        if self.database.engine == "sqlite":
            (last,) = self.ask("UPDATE feed SET last = last + :count RETURNING last", count=count)[
                0
            ]
            return range(last - count + 1, last + 1)
        if self._next is None:
            (transaction,) = self.ask(
                "SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT) + ahead FROM feed"
            )[0]
            self._next = int(transaction) * NUMBERS_A_TRANSACTION
        first, self._next = self._next, self._next + count
        return range(first, self._next)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Put *rows* into *table* by the fastest way that the engine has."""
        driver: Any = self.connection.connection.driver_connection
        names = ", ".join(columns)
        if self.database.engine == "sqlite":
            marks = ", ".join("?" * len(columns))
            driver.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
            return
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def _execute(
        self, sql: str, given: Sequence[Sequence[object]], values: dict[str, object]
    ) -> sqlalchemy.CursorResult[Any]:
        if given:
            values["given"] = pack(given)
        return self.connection.execute(sqlalchemy.text(sql), values)
