"""Days that are taken away from every question in milliseconds, and erased in slices after that.

To drop a day's table at once takes as long as to read it: SQLite looks at each page to give it
back, a second for each GB in memory and more on a disk, and all that while nobody else writes. So a
day only gets another name at first.

In SQLite its indexes become tables too, WITHOUT ROWID, which are kept in the very same form; so
each slice goes through one of them in the order in which it lies, and touches few pages. An index
that stayed one would be changed all over by each slice of its table. Pages that become free are
overwritten. In PostgreSQL the rows of a day are counted in slices, and its files then removed.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, text

from edge.storage.database import Database

#: So many rows of a day, or entries of what was an index, are erased in one transaction of SQLite:
#: some 250 pages of 8 KiB, of which each is written to the log and later to its place.
ROWS_A_SLICE, ENTRIES_A_SLICE = 2_000, 10_000
#: So many are counted in one go in PostgreSQL.
COUNTED_A_SLICE = 50_000


def take_away(
    database: Database, connection: Connection, tables: Iterable[tuple[str, str]]
) -> None:
    """Give each of *tables*, with the day whose it is, another name.

    In SQLite nothing may name them meanwhile: the view is made anew after it.
    """
    for table, day in tables:
        number = connection.execute(
            text(
                "INSERT INTO gone (number, day) SELECT coalesce(max(number), 0) + 1, :day FROM gone"
                " RETURNING number"
            ),
            {"day": day},
        ).scalar_one()
        if database.engine == "postgresql":
            connection.exec_driver_sql(f"ALTER TABLE scan DETACH PARTITION {table}")
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO gone_{number}")
        else:
            _rename(connection, table, f"gone_{number}")


class Slices:
    """Erases what was taken away, a slice at a time. For one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: In PostgreSQL, by the oid of a table: up to which number its rows are counted, and how
        #: many they are.
        self._counted: dict[int, tuple[int, int]] = {}

    def erase(self, connection: Connection) -> int | None:
        """Erase one slice; gives how many scans are gone with it, None if there is nothing.

        Raises StorageError; in PostgreSQL also if somebody still reads the table to be removed.
        """
        if self._database.engine == "sqlite":
            return _erase_slice(connection)
        return self._count_slice(connection)

    def _count_slice(self, connection: Connection) -> int | None:
        found = connection.exec_driver_sql(
            "SELECT oid, relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^gone_[0-9]+$'"
            " AND pg_table_is_visible(oid) ORDER BY oid LIMIT 1"
        ).one_or_none()
        if found is None:
            return None
        oid, table = found
        after, counted = self._counted.get(oid, (0, 0))
        rows, last = connection.execute(
            text(
                "SELECT count(*), max(number) FROM (SELECT number FROM"
                f" {table} WHERE number > :after ORDER BY number LIMIT :rows) AS slice"
            ),
            {"after": after, "rows": COUNTED_A_SLICE},
        ).one()
        self._counted[oid] = (last or after, counted + rows)
        if rows == COUNTED_A_SLICE:
            return 0
        connection.exec_driver_sql(f"DROP TABLE {table}")
        del self._counted[oid]
        return int(counted + rows)


# SQLite


def _rename(connection: Connection, table: str, name: str) -> None:
    """Let *table* be *name*, and its indexes tables *name*_1, *name*_2, ... of their own."""
    parts = connection.execute(
        text(
            "SELECT name, type, sql FROM sqlite_master WHERE tbl_name = :table ORDER BY type DESC"
        ),
        {"table": table},
    ).all()
    changes = []
    for place, (old, kind, sql) in enumerate(parts):
        new = name
        if kind == "table":
            sql = sql.replace(table, name)
        else:
            new = f"{name}_{place}"
            indexed = connection.execute(
                text("SELECT name FROM pragma_index_info(:index) ORDER BY seqno"), {"index": old}
            ).scalars()
            columns = ", ".join([*indexed, "number"])
            sql = f"CREATE TABLE {new} ({columns}, PRIMARY KEY ({columns})) WITHOUT ROWID"
        changes.append({"old": old, "new": new, "sql": sql})
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    try:
        connection.execute(
            text(
                "UPDATE sqlite_master SET type = 'table', name = :new, tbl_name = :new, sql = :sql"
                " WHERE name = :old"
            ),
            changes,
        )
    finally:
        # Read anew by this connection now, and by others as the view is made anew.
        connection.exec_driver_sql("PRAGMA writable_schema = RESET")


def _erase_slice(connection: Connection) -> int | None:
    table = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'gone_[0-9]*'"
        " ORDER BY rootpage LIMIT 1"
    ).scalar_one_or_none()
    if table is None:
        return None
    columns = list(
        connection.execute(
            text("SELECT name FROM pragma_table_info(:table) WHERE pk > 0 ORDER BY pk"),
            {"table": table},
        ).scalars()
    )
    is_rows = columns == ["number"]
    key = ", ".join(columns)
    last = connection.execute(
        text(f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 OFFSET :rows"),
        {"rows": (ROWS_A_SLICE if is_rows else ENTRIES_A_SLICE) - 1},
    ).one_or_none()
    if last is None:
        # The last few, and then the page they were on.
        erased = connection.exec_driver_sql(f"DELETE FROM {table}").rowcount
        connection.exec_driver_sql(f"DROP TABLE {table}")
    else:
        names = [f"last_{place}" for place in range(len(columns))]
        erased = connection.execute(
            text(
                f"DELETE FROM {table} WHERE ({key}) <= ({', '.join(f':{name}' for name in names)})"
            ),
            dict(zip(names, last, strict=True)),
        ).rowcount
    return int(erased) if is_rows else 0
