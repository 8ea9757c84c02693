"""Where sealed identities are found again for a release: in storage, or held by a case."""

from collections.abc import Sequence

from sqlalchemy import text

from edge.storage.database import Database
from edge.tracing.listed import rows_of


class StoredBoxes:
    """The sealed boxes of scans."""

    def __init__(self, storage: Database, index: Database) -> None:
        """*storage* is read only; *index* has what cases hold past its time there."""
        self._storage = storage
        self._index = index

    def sealed(self, scans: Sequence[tuple[str, str, str]]) -> dict[str, tuple[str, bytes]]:
        """(key, sealed) of each scan that is still there, by its id; asked by (id, place, time)."""
        with self._index.reading("look for held scans") as connection:
            found = {
                str(row.scan): (str(row.key), bytes(row.sealed))
                for row in rows_of(
                    connection,
                    "SELECT scan, key, sealed FROM held_scan WHERE scan IN :list",
                    [scan for scan, _, _ in scans],
                )
            }
        with self._storage.reading("look for sealed identities") as connection:
            for scan, place, time in scans:
                if scan in found:
                    continue
                # Storage has an index of places and times, and none of ids.
                row = connection.execute(
                    text(
                        "SELECT key, sealed FROM scan"
                        " WHERE place = :place AND time = :time AND id = :id"
                    ),
                    {"place": place, "time": time, "id": scan},
                ).first()
                if row is not None and row.sealed:
                    found[scan] = (str(row.key), bytes(row.sealed))
        return found

    def hold(self, case: str, scans: Sequence[tuple[str, str, str, int]]) -> int:
        """Copy the boxes of *scans*, (id, place, time, person), as *case* holds them; how many."""
        boxes = self.sealed([(scan, place, time) for scan, place, time, _ in scans])
        rows = [
            {"case": case, "scan": scan, "person": person, "key": key, "sealed": sealed}
            for scan, _, _, person in scans
            if scan in boxes
            for key, sealed in [boxes[scan]]
        ]
        if rows:
            with self._index.writing("hold scans") as connection:
                connection.execute(
                    text(
                        "INSERT INTO held_scan (case_id, scan, person, key, sealed)"
                        " VALUES (:case, :scan, :person, :key, :sealed) ON CONFLICT DO NOTHING"
                    ),
                    rows,
                )
        return len(rows)
