"""Moves all that a storage in SQLite holds into an empty PostgreSQL.

One transaction on each side: it is there whole or not at all. Scans keep their numbers, so whoever
reads the feed goes on where it was; new ones get numbers above them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.errors import StorageError
from edge.storage import feed
from edge.storage.database import MOVED, Database
from edge.storage.days import UNDATED, Days, table_of

#: So many rows are read at once.
ROWS_A_TURN = 5_000
#: What `Database.migrate` has written itself.
CHANGES = "schema_change"


@dataclass(frozen=True)
class Moved:
    """What was moved."""

    tables: int
    rows: int
    scans: int


def move(source: Database, target: Database, tell: Callable[[str], None]) -> Moved:
    """Move everything. From then on nobody can open *source*, which keeps what it has.

    Nobody else may have *source* open; it is closed by this. *tell* is told of each table. Raises
    StorageError; then nothing has changed, but that *target* has its tables.
    """
    if source.engine != "sqlite" or target.engine != "postgresql":
        raise StorageError(
            f"{source.name} to {target.name}: only SQLite can be moved, and only to PostgreSQL;"
            " from one PostgreSQL to another pg_dump and pg_restore do it"
        )
    scans = _make_tables(source, target)
    rows: dict[str, int] = {}
    with source.alone("move it") as old:
        with target.writing("move everything into it") as connection:
            new: Any = connection.connection.driver_connection
            columns = _columns(new)
            for table in _tables(source.name, old):
                if table not in columns:
                    raise StorageError(
                        f"{target.name}: it has no table {table}, of which {source.name} has one"
                        " since a moment ago; once more"
                    )
                rows[table] = _move(old, new, table, columns[table], target.name)
                if rows[table]:
                    tell(f"{table}: {rows[table]} rows")
            _go_on_counting(old, new)
            new.execute("ANALYZE")
        # Were this cut off here: nothing has come into the source since, and the target, which is
        # not empty any more, can be made anew.
        old.execute(f"PRAGMA user_version = {MOVED}")
    feed.keep_growing(target)
    return Moved(len(rows), sum(rows.values()), sum(rows[table] for table in scans))


def _make_tables(source: Database, target: Database) -> list[str]:
    """See that both have the newest tables, of all roles that have any; gives those of scans."""
    with source.reading() as connection:
        packages = set(connection.exec_driver_sql(f"SELECT package FROM {CHANGES}").scalars())
    for package in sorted(packages):
        source.migrate(package)
        target.migrate(package)
    days = Days(source).days()
    Days(target).make(days)
    return [table_of(day) for day in (UNDATED, *days)]


def _tables(file: str, old: Any) -> list[str]:
    found = old.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    tables = [name for (name,) in found if name != CHANGES and not name.startswith("sqlite_")]
    if old.execute("SELECT 1 FROM gone UNION SELECT 1 FROM erasing WHERE began != ''").fetchone():
        raise StorageError(
            f"{file}: a day that is past its time is still being erased; let the collector run"
            " until its log says that it is"
        )
    return tables


def _columns(new: Any) -> dict[str, dict[str, str]]:
    """The columns of each table of the target, with their types."""
    found = new.execute(
        "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid"
        " WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
        " AND c.relnamespace = current_schema()::regnamespace ORDER BY a.attrelid, a.attnum"
    )
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in found.fetchall():
        columns.setdefault(table, {})[column] = kind
    return columns


def _move(old: Any, new: Any, table: str, theirs: dict[str, str], target: str) -> int:
    """Put the rows of *table* into the target's; gives how many there are."""
    # Of which there are many, and no message with a NUL is read as one.
    of_scans = table.startswith("scan_")
    columns = [name for _, name, *_ in old.execute(f"PRAGMA table_info({table})")]
    if "only_row" in theirs:
        # Made together with its table.
        new.execute(f"DELETE FROM {table}")
    if new.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
        raise StorageError(
            f"{target}: there is something in it already ({table}), and this wants an empty one; if"
            " no collector has used it yet: dropdb, createdb, and once more"
        )
    names = ", ".join(columns)
    rows = old.execute(f"SELECT {names} FROM {table} ORDER BY {_order(old, table)}")
    with new.cursor() as cursor:
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([theirs[name] for name in columns])
            while some := rows.fetchmany(ROWS_A_TURN):
                for row in some:
                    copy.write_row(row if of_scans else _without_nul(row))
        moved = int(cursor.rowcount)
    (there,) = old.execute(f"SELECT count(*) FROM {table}").fetchone()
    if moved != there:
        raise StorageError(f"{target}: {moved} of {there} rows of {table} came in; once more")
    return moved


def _without_nul(row: tuple[object, ...]) -> tuple[object, ...]:
    """*row* as PostgreSQL takes it, whose text cannot hold the character."""
    return tuple(cell.replace("\0", "\ufffd") if isinstance(cell, str) else cell for cell in row)


def _order(old: Any, table: str) -> str:
    """The order in which the rows of *table* lie: that of its key."""
    keys = [(place, name) for _, name, *_, place in old.execute(f"PRAGMA table_info({table})")]
    return ", ".join(name for place, name in sorted(keys) if place)


def _go_on_counting(old: Any, new: Any) -> None:
    """Let new rows have numbers above those that there ever were."""
    for table, last in old.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
        new.execute(
            "SELECT setval(pg_get_serial_sequence(%s, 'number'), %s)", (table, max(1, last))
        )
