"""The database of one deployment, SQLite or PostgreSQL: opened, written, read, brought up to date.

SQLAlchemy Core over sqlite3 or psycopg 3. Whoever asks a question writes its SQL, which runs on
both engines; what differs between them is hidden here. A transaction that has ended survives a
power cut.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
import sqlalchemy
from psycopg.types.string import BytesBinaryDumper
from sqlalchemy.exc import SQLAlchemyError

from edge.errors import ConfigError, StorageBusy, StorageConflict, StorageError
from edge.storage.changes import Engine, changes_of

#: How long to wait for another process that writes, in seconds.
BUSY_S = 30.0
#: How long PostgreSQL may take to answer when it is connected to, in seconds.
CONNECT_S = 10
#: A connection to PostgreSQL that says nothing for so long is given up, in seconds.
SILENT_S = 30
#: SQLite keeps so much of a database in memory, in KiB. The last page of every unit's index is
#: written to all the time, and must be among it.
CACHE_KIB = 131_072
#: So many pages gather in the log before SQLite moves them into the file; 16,000 are 128 MiB.
CHECKPOINT_PAGES = 16_000
#: What drops a table in PostgreSQL waits no longer for those who read it, in milliseconds: whoever
#: comes after it waits as well.
DROP_WAIT_MS = 200
#: Stands in the head of an SQLite file from which everything was moved (`user_version`).
MOVED = 1
#: What is held in PostgreSQL while tables are made or changed.
TABLES_LOCK = 0x65646765


class Database:
    """One database. May be used by several threads; each `with` has a connection of its own."""

    def __init__(self, url: str, password: str = "", *, make: bool = True) -> None:
        """Open *url*: a file, `sqlite:///<file>`, or `postgresql://user@host,host:port/name`.

        A missing file is made, unless not *make*. Several hosts are those of one cluster, of which
        the one that can be written to is used. Raises ConfigError, or StorageError that says what
        to do.
        """
        self.engine: Engine
        #: Where its file is, if it has one.
        self.folder: Path | None = None
        if path := _sqlite_path(url):
            self.engine, self.name, self.folder = "sqlite", str(path), path.parent
            if not make and not path.exists():
                raise StorageError(
                    f"{path}: there is no storage; check storage.url, or start the collector,"
                    " which makes it"
                )
            self._pool = sqlalchemy.create_engine(
                sqlalchemy.URL.create("sqlite", database=str(path)),
                connect_args={"isolation_level": None, "timeout": BUSY_S},
                hide_parameters=True,
            )
            sqlalchemy.event.listen(self._pool, "connect", _set_up_sqlite)
            sqlalchemy.event.listen(self._pool, "begin", _begin_sqlite)
        else:
            self.engine, self.name = "postgresql", _name(url)
            self._pool = sqlalchemy.create_engine(
                "postgresql+psycopg://",
                creator=lambda: _connect_postgresql(url, password),
                hide_parameters=True,
            )
        with self.reading("open the storage") as connection:
            if self.engine == "sqlite" and _is_moved(connection):
                raise StorageError(
                    f"{self.name}: all of it was moved to a PostgreSQL; name that in storage.url"
                )

    @contextmanager
    def writing(self, what: str = "write") -> Iterator[sqlalchemy.Connection]:
        """One transaction: all of it is kept when this ends, or nothing if it raises.

        On SQLite it is the only one that writes; on PostgreSQL others may. *what* says in the error
        what could not be done. Raises StorageError.
        """
        with self._errors(what), self._pool.connect() as connection:
            connection = connection.execution_options(edge_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self, what: str = "read") -> Iterator[sqlalchemy.Connection]:
        """Questions that all see the same moment. Raises StorageError."""
        with self._errors(what), self._pool.connect() as connection:
            if self.engine == "postgresql":
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                yield connection

    def migrate(self, package: str) -> None:
        """Bring the tables of *package* to its newest change; several may do so at once.

        Its folder `schema/` has numbered files: `0001_scans.sql` for both engines, or one each,
        `0001_scans.sqlite.sql` and `0001_scans.postgresql.sql`. Each is applied once and never
        edited after a release. A file for both is written in SQLite's words; see changes.py.
        Raises StorageError, also for tables that are from the future.
        """
        changes = changes_of(package, self.engine)
        with self.writing("change the tables") as connection:
            if self.engine == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TABLES_LOCK})")
            connection.exec_driver_sql(
                "CREATE TABLE IF NOT EXISTS schema_change ("
                " package VARCHAR(100) NOT NULL, number INTEGER NOT NULL,"
                " PRIMARY KEY (package, number))"
            )
            done = connection.scalar(
                sqlalchemy.text(
                    "SELECT coalesce(max(number), 0) FROM schema_change WHERE package = :package"
                ),
                {"package": package},
            )
            if done > len(changes):
                raise StorageError(
                    f"{self.name}: its tables of {package} are of version {done}, newer than this"
                    f" software knows ({len(changes)}); update the software"
                )
            for number, sql in enumerate(changes[done:], start=done + 1):
                self._apply(connection, sql)
                connection.execute(
                    sqlalchemy.text("INSERT INTO schema_change VALUES (:package, :number)"),
                    {"package": package, "number": number},
                )

    def given(self, **columns: type[str] | type[int]) -> str:
        """A table of the rows handed in as the parameter `given`, to stand behind FROM or JOIN.

            f"SELECT g.unit FROM {database.given(unit=str, seq=int)} g", {"given": pack(rows)}

        One statement so takes any number of rows, in one turn over the network.
        """
        pick = "json_extract(value, '$[{}]')"
        if self.engine == "postgresql":
            pick = "CAST(value ->> {} AS {})"
        picked = ", ".join(
            f"{pick.format(place, 'BIGINT' if kind is int else 'TEXT')}"
            f"{_BY_BYTES if kind is str and self.engine == 'postgresql' else ''} AS {name}"
            for place, (name, kind) in enumerate(columns.items())
        )
        rows = "json_each(:given)"
        if self.engine == "postgresql":
            rows = "json_array_elements(CAST(:given AS json)) AS value"
        return f"(SELECT {picked} FROM {rows})"

    def be_impatient(self, connection: sqlalchemy.Connection) -> None:
        """Let this transaction fail rather than wait for somebody who reads what it drops.

        In PostgreSQL all others would wait behind it. It raises StorageBusy then.
        """
        if self.engine == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{DROP_WAIT_MS}ms'")

    @contextmanager
    def overwriting(self, what: str) -> Iterator[sqlalchemy.Connection]:
        """As `writing`, for what erases: whatever becomes free in SQLite's file is overwritten.

        In the file it is so once `write_back` has nothing left to do.
        """
        with self.writing(what) as connection:
            if self.engine == "postgresql":
                yield connection
                return
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("PRAGMA secure_delete = FAST")

    def write_back(self, *, all_of_it: bool = False, wait_s: float = 0.0) -> int:
        """Move what SQLite's log holds into the file; gives how many of its pages could not be.

        Others may read and write meanwhile. What somebody reads from before cannot be moved yet.
        *all_of_it*: also empty the log, for which nobody may read; they are waited for up to
        *wait_s*. Nothing to do in PostgreSQL. Raises StorageError.
        """
        if self.engine == "postgresql":
            return 0
        with self._errors("write back its log"):
            pooled = self._pool.raw_connection()
            try:
                driver: Any = pooled.driver_connection
                driver.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
                mode = "TRUNCATE" if all_of_it else "PASSIVE"
                busy, pages, moved = driver.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
                driver.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
            finally:
                pooled.close()
        return max(int(busy and all_of_it), int(pages - moved))

    def copy_into(self, file: Path) -> None:
        """Write all that SQLite holds at this moment into *file*, which is empty or not there.

        Others read and write meanwhile; free pages are left out. Raises StorageError.
        """
        with self._errors("copy it"):
            pooled = self._pool.raw_connection()
            try:
                driver: Any = pooled.driver_connection
                driver.execute("VACUUM INTO ?", [str(file)])
            finally:
                pooled.close()

    @contextmanager
    def alone(self, what: str) -> Iterator[Any]:
        """As `writing`, of SQLite, while nobody else has it open: a connection of the driver's own.

        Raises StorageBusy if somebody has. Whoever comes meanwhile waits.
        """
        self.close()
        connection = sqlite3.connect(self.name, isolation_level=None, timeout=1.0)
        with self._errors(what), closing(connection):
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as err:
                raise StorageBusy(
                    f"{self.name}: cannot {what}: somebody has it open; stop the collector, the"
                    " dashboard and the tracing desk first: units keep their scans meanwhile"
                ) from err
            yield connection
            connection.execute("COMMIT")

    def close(self) -> None:
        """Give the connections back."""
        self._pool.dispose()

    def _apply(self, connection: sqlalchemy.Connection, sql: str) -> None:
        if self.engine == "postgresql":
            connection.exec_driver_sql(sql)
            return
        for statement in _statements(sql):
            connection.exec_driver_sql(statement)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as err:
            cause = getattr(err, "orig", None) or err
            kind: type[StorageError]
            kind = StorageConflict if isinstance(cause, _CONFLICTS) else StorageError
            if isinstance(cause, psycopg.errors.LockNotAvailable):
                kind = StorageBusy
            raise kind(f"{self.name}: cannot {what}: {_reason(cause)}") from err


_BY_BYTES = ' COLLATE "C"'
_CONFLICTS = (
    sqlite3.IntegrityError,
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


def pack(rows: Sequence[Sequence[object]]) -> str:
    """*rows* of text and whole numbers as the parameter of `Database.given`."""
    return msgspec.json.encode(rows).decode()


def _reason(cause: Exception) -> str:
    """One line that says what is wrong, without the statement and what was in it."""
    reason = " ".join(str(cause).split())
    if isinstance(cause, psycopg.Error) and cause.diag.message_primary:
        reason = cause.diag.message_primary
    if (
        isinstance(cause, psycopg.errors.DiskFull)
        or getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    ):
        reason += "; make room there: until then nothing is kept and units keep their scans"
    return reason


# SQLite


def _sqlite_path(url: str) -> Path | None:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return Path(rest[1:])
    if scheme in ("postgresql", "postgresql+psycopg"):
        return None
    # Before the @ there may be a password.
    shown = f"{scheme}://{rest.rpartition('@')[2]}"
    raise ConfigError(
        f"a storage cannot be {shown!r}; it must be a file, sqlite:///file or"
        " postgresql://user@host/name"
    )


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Of a new file only. A row takes nearly 1 kB: larger pages leave less of them unused.
    connection.execute("PRAGMA page_size = 8192")
    _use_wal(connection)
    # FULL, not NORMAL: what is confirmed must survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    # What is erased on purpose is overwritten, see `overwriting`; else only where it costs nothing.
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def _use_wal(connection: sqlite3.Connection) -> None:
    # Two that open a new file at once both switch it, and SQLite lets neither wait for it.
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _is_moved(connection: sqlalchemy.Connection) -> bool:
    return bool(connection.exec_driver_sql("PRAGMA user_version").scalar_one() == MOVED)


def _begin_sqlite(connection: sqlalchemy.Connection) -> None:
    # Whoever will write says so at once: to become a writer halfway may fail without a wait.
    writes = connection.get_execution_options().get("edge_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


# PostgreSQL


def _connect_postgresql(url: str, password: str) -> psycopg.Connection[Any]:
    wanted = url.replace("postgresql+psycopg://", "postgresql://", 1)
    extra: dict[str, Any] = {"password": password} if password else {}
    # What the URL says itself comes first.
    for key, value in (
        ("target_session_attrs", "read-write"),
        ("connect_timeout", CONNECT_S),
        ("tcp_user_timeout", SILENT_S * 1000),
        ("application_name", "edge"),
    ):
        if f"{key}=" not in wanted:
            extra[key] = value
    connection = psycopg.connect(wanted, **extra)
    # Of the two that psycopg has for bytes the one in C, instead of that of DB-API's Binary.
    connection.adapters.register_dumper(bytes, BytesBinaryDumper)
    return connection


def _name(url: str) -> str:
    """*url* without its user and password, for errors and logs."""
    parts = urlsplit(url)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _statements(sql: str) -> Iterator[str]:
    """The statements of *sql*, one at a time: a script would end the transaction it runs in."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
