"""Scans of persons who were erased at their wish: none comes back into the index.

Storage has them, without their day being over, until the order to erase their sealed identities was
followed there; and would give them again, as after a late correction of their time, or when all of
storage is gone through anew. So their ids are kept until storage has dropped the scans themselves.
The order is made of them, as often as it is asked for: the file that it is written to may be lost.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, text

from edge.storage.database import Database
from edge.tracing.listed import rows_of
from edge.tracing.places import DAY

#: Storage keeps no scan for longer, and so neither does this.
KEEP_MS = 31 * DAY

#: (id, place, time) of each scan, as `edge-collector erase` takes it.
Order = tuple[tuple[str, str, str], ...]


def note_erased(
    database: Database, request: int, scans: Sequence[tuple[str, str, str]], now: int
) -> None:
    """Note that *scans*, (id, place, time), are erased by *request*, before they are."""
    if not scans:
        return
    with database.writing("note who is erased") as connection:
        connection.execute(
            text(
                "INSERT INTO erased_scan (scan, request, place, time, erased)"
                " VALUES (:scan, :request, :place, :time, :now) ON CONFLICT DO NOTHING"
            ),
            [
                {
                    "scan": bytes.fromhex(scan),
                    "request": request,
                    "place": place,
                    "time": time,
                    "now": now,
                }
                for scan, place, time in scans
            ],
        )


def order_of(database: Database, request: int) -> Order:
    """The scans that *request* erased, as long as storage may have them."""
    with database.reading("read what was erased") as connection:
        return tuple(
            (bytes(row.scan).hex(), row.place, row.time)
            for row in connection.execute(
                text(
                    "SELECT scan, place, time FROM erased_scan WHERE request = :request"
                    " ORDER BY time DESC, scan"
                ),
                {"request": request},
            )
        )


def erased_among(connection: Connection, scans: Sequence[bytes]) -> Collection[bytes]:
    """Which of *scans*, by their ids, were erased."""
    # Nearly always there are none at all.
    if connection.execute(text("SELECT 1 FROM erased_scan LIMIT 1")).first() is None:
        return ()
    sql = "SELECT scan FROM erased_scan WHERE scan IN :list"
    return {bytes(row.scan) for row in rows_of(connection, sql, scans)}


def forget_erased(connection: Connection, before: int) -> None:
    """Forget what was erased before *before*, milliseconds since 1970."""
    connection.execute(text("DELETE FROM erased_scan WHERE erased < :before"), {"before": before})
