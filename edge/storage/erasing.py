"""What is erased from storage beside whole days: messages set aside, one person's identities."""

from collections.abc import Sequence

from sqlalchemy import text

from edge.storage.database import Database
from edge.storage.days import UNDATED, table_of


def count_before(database: Database, days: Sequence[str], before: str) -> int:
    """How many scans `Storage.expire` would drop: those of *days*, and undated ones of before."""
    with database.reading("count expired scans") as connection:
        counts = [
            connection.execute(text(f"SELECT count(*) FROM {table_of(day)}")).scalar_one()
            for day in days
        ]
        undated = connection.execute(
            text(f"SELECT count(*) FROM {table_of(UNDATED)} WHERE received < :before"),
            {"before": before},
        ).scalar_one()
    return int(sum(counts) + undated)


def forget_set_aside(database: Database, before: str) -> int:
    """Erase messages that were set aside before the day *before*; gives how many."""
    with database.writing("erase messages set aside") as connection:
        return connection.execute(
            text("DELETE FROM set_aside WHERE received < :before"), {"before": before}
        ).rowcount


def forget_identities(
    database: Database, days: Sequence[str], scans: Sequence[tuple[str, str, str]]
) -> int:
    """Erase the sealed identity of each scan, by (id, place, time); gives how many had one.

    The scan itself stays: it was counted and confirmed, and is of nobody then. *days*: of which
    there are tables. The time of one without a day may have been corrected since it was asked for.
    """
    erased = 0
    with database.writing("erase identities") as connection:
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
    return erased
