"""New scans, and scans whose time was corrected, in the order in which they became so.

Each row has a number above those of every transaction that ended before its own began. Of what
still runs, numbers may appear late and below what can be seen already; so nothing is given from the
lowest number on that any running transaction may have.
"""

import sqlalchemy

from edge.storage.database import Database
from edge.storage.rows import FeedRow
from edge.storage.writing import NUMBERS_A_TRANSACTION

_COLUMNS = (
    "number, id, unit, area, place, direction, trip, document, epoch, seq, at, boot, uptime_ms,"
    " clock, time, time_quality, received, key, sealed"
)


def read(database: Database, after: int, limit: int) -> list[FeedRow]:
    """Up to *limit* rows that come after the position *after*; 0 is the beginning."""
    with database.reading() as connection:
        rows = connection.execute(
            sqlalchemy.text(
                f"SELECT {_COLUMNS} FROM scan WHERE number > :after AND number < :horizon"
                " ORDER BY number LIMIT :limit"
            ),
            {"after": after, "horizon": _horizon(database, connection), "limit": limit},
        )
        return [FeedRow(*row) for row in rows]


def newest(database: Database) -> int:
    """No row has a number above this, which never falls while *database* is what it was.

    Whoever has read beyond it has read another one: this was put back from a backup since.
    """
    with database.reading() as connection:
        if database.engine == "sqlite":
            last = connection.exec_driver_sql("SELECT last FROM feed").scalar_one()
            return int(last)
        return _horizon(database, connection)


def keep_growing(database: Database) -> None:
    """See that new numbers are above those there are, on whichever server the tables are now."""
    if database.engine != "postgresql":
        return
    with database.writing("number new scans") as connection:
        # Of one server, every row that can be seen is of a transaction below the next one.
        connection.exec_driver_sql(
            f"""
            UPDATE feed SET ahead = newest.number - newest.next + 1
            FROM (
                SELECT (SELECT max(number) FROM scan) / {NUMBERS_A_TRANSACTION} AS number,
                       CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT) AS next
            ) AS newest
            WHERE newest.number >= newest.next + ahead
            """
        )


def _horizon(database: Database, connection: sqlalchemy.Connection) -> int:
    if database.engine == "sqlite":
        # One writes at a time: what can be seen is complete.
        return 1 << 62
    oldest: int = connection.exec_driver_sql(
        "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) + ahead"
        " FROM feed"
    ).scalar_one()
    return oldest * NUMBERS_A_TRANSACTION
