"""What was noted while a clock of the centre was ahead, put right once it is right again.

A time that has not come yet is of no use: a unit would count as heard until that year, and a gap
would be too young to be asked for. For all we know it is of now.
"""

import logging

from sqlalchemy import text

from edge.clock import utc_seconds, utc_text
from edge.storage.database import Database
from edge.storage.days import NEWEST

log = logging.getLogger(__name__)

#: Times that something goes by later, by their tables. Others only say when something was.
_TIMES = {"unit": ("last_scan", "seen", "doubled", "taken_over"), "held": ("since",)}


def ahead_of(now: str) -> str:
    """What says a time after this, at *now*, was noted by a clock that was ahead."""
    return utc_text(utc_seconds(now) + NEWEST.total_seconds())


def put_right(database: Database, now: str) -> int:
    """Let what was noted as of the future be of *now*; gives how many times that was.

    It must be settled that it is *now*. Raises StorageError.
    """
    count = 0
    with database.writing("put times right") as connection:
        for table, columns in _TIMES.items():
            for column in columns:
                count += connection.execute(
                    text(f"UPDATE {table} SET {column} = :now WHERE {column} > :ahead"),
                    {"now": now, "ahead": ahead_of(now)},
                ).rowcount
    if count:
        log.warning("%d times were noted by a clock that was ahead, and are put right", count)
    return count
