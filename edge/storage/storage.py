"""Stores scans, each once, and answers questions about them. On SQLite.

A batch is one transaction. When `store` returns, its rows survive a power cut; only then may a scan
be confirmed to its unit.
"""

import hashlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edge.errors import StorageError
from edge.messages import Health, Scan, Status
from edge.ranges import Ranges, ranges_of

log = logging.getLogger(__name__)

#: Of a message set aside, this much is kept; of all of them, this many.
SET_ASIDE_BYTES = 1024
SET_ASIDE_ROWS = 10_000


@dataclass(frozen=True)
class StoredScan:
    """A scan as it came in: from which unit of which area."""

    area: str
    unit: str
    scan: Scan


@dataclass(frozen=True)
class SetAside:
    """A message that could not be read, and why."""

    topic: str
    reason: str
    payload: bytes


@dataclass(frozen=True)
class UnitRow:
    """What storage knows of a unit."""

    unit: str
    area: str
    state: str
    place: str
    direction: str
    last_scan: str | None
    repeats: int
    #: Numbers held, per epoch.
    held: dict[str, Ranges]

    @property
    def scans(self) -> int:
        """How many numbers of this unit are rows."""
        return sum(len(ranges) for ranges in self.held.values())

    @property
    def gaps(self) -> list[tuple[str, int, int]]:
        """(epoch, first, last) of numbers that are missing below the highest one held."""
        return [
            (epoch, first, last)
            for epoch, ranges in self.held.items()
            for first, last in ranges.gaps(1, max(last for _, last in ranges))
        ]


class Storage:
    """The tables of one deployment. One object, one connection, one thread."""

    def __init__(self, path: Path) -> None:
        """Open *path*, making it if need be. Raises StorageError that says what to do."""
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._db.execute("PRAGMA journal_mode = WAL")
            # FULL, not NORMAL: what is confirmed must survive a power cut.
            self._db.execute("PRAGMA synchronous = FULL")
            self._migrate()
        except sqlite3.Error as err:
            raise StorageError(f"{path}: cannot open the storage: {err}") from err

    def store(
        self, scans: Sequence[StoredScan], received: str, set_aside: Sequence[SetAside] = ()
    ) -> int:
        """Keep a batch in one transaction; gives how many scans were new.

        Scans that are rows already are harmless. Raises StorageError, and keeps nothing of the
        batch, if the database cannot.
        """
        try:
            with self._transaction():
                new = self._insert(scans, received)
                held = self._hold(scans)
                self._note_units(scans, held, received)
                self._insert_set_aside(set_aside, received)
        except sqlite3.Error as err:
            raise StorageError(f"{self._path}: cannot store a batch: {err}") from err
        if new > held.total():
            log.warning(
                "%d scans carry numbers that are rows already under other ids: two units run"
                " under one name (%s)",
                new - held.total(),
                ", ".join(sorted({unit for unit, _ in held})),
            )
        return new

    def store_status(self, area: str, unit: str, status: Status, received: str) -> None:
        """Keep a unit's status, unless it is of an earlier session than the one known."""
        self._write(
            """
            INSERT INTO unit (unit, area, state, birth, place, direction, software, changed)
            VALUES (:unit, :area, :state, :birth, :place, :direction, :software, :received)
            ON CONFLICT (unit) DO UPDATE SET
                area = :area, state = :state, birth = :birth, place = :place,
                direction = :direction, software = :software, changed = :received
            WHERE :birth >= unit.birth
            """,
            {
                "unit": unit,
                "area": area,
                "state": status.state,
                "birth": status.birth,
                "place": status.place,
                "direction": status.direction,
                "software": status.software,
                "received": received,
            },
        )

    def store_health(self, area: str, unit: str, health: Health, received: str) -> None:
        """Keep a unit's latest health."""
        self._write(
            """
            INSERT INTO unit (unit, area, changed, health)
            VALUES (:unit, :area, :received, :health)
            ON CONFLICT (unit) DO UPDATE SET health = :health, changed = :received
            """,
            {
                "unit": unit,
                "area": area,
                "received": received,
                "health": health.encode().decode(),
            },
        )

    def count(self) -> int:
        """How many scans are rows."""
        return int(self._ask("SELECT count(*) FROM scan")[0][0])

    def count_set_aside(self) -> int:
        """How many messages were set aside."""
        return int(self._ask("SELECT count(*) FROM set_aside")[0][0])

    def scan_numbers(self) -> list[tuple[str, str, int, str]]:
        """(unit, epoch, seq, id) of every scan, in that order."""
        return self._ask("SELECT unit, epoch, seq, id FROM scan ORDER BY unit, epoch, seq, id")

    def sealed(self) -> list[tuple[str, str, bytes]]:
        """(id, key, sealed) of every scan."""
        return self._ask("SELECT id, key, sealed FROM scan ORDER BY unit, epoch, seq")

    def set_asides(self, limit: int = 100) -> list[tuple[str, str, str, int]]:
        """(received, topic, reason, bytes) of what was set aside, newest first."""
        return self._ask(
            "SELECT received, topic, reason, bytes FROM set_aside ORDER BY number DESC LIMIT ?",
            (limit,),
        )

    def units(self) -> list[UnitRow]:
        """Every unit that was ever heard of, by name."""
        held: dict[str, dict[str, Ranges]] = {}
        for unit, epoch, first, last in self._ask("SELECT unit, epoch, first, last FROM held"):
            held.setdefault(unit, {}).setdefault(epoch, Ranges()).add(first, last)
        return [
            UnitRow(unit, area, state, place, direction, last, repeats, held.get(unit, {}))
            for unit, area, state, place, direction, last, repeats in self._ask(
                "SELECT unit, area, state, place, direction, last_scan, repeats"
                " FROM unit ORDER BY unit"
            )
        ]

    def close(self) -> None:
        """Give the database back."""
        self._db.close()

    # Below: how

    def _insert(self, scans: Sequence[StoredScan], received: str) -> int:
        before = self._db.total_changes
        self._db.executemany(
            """
            INSERT INTO scan (unit, epoch, seq, id, area, place, direction, trip, document,
                              at, boot, uptime_ms, clock, received, key, sealed)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT DO NOTHING
            """,
            [
                (
                    stored.unit,
                    stored.scan.epoch,
                    stored.scan.seq,
                    stored.scan.id,
                    stored.area,
                    stored.scan.place,
                    stored.scan.direction,
                    stored.scan.trip,
                    stored.scan.document,
                    stored.scan.at,
                    stored.scan.boot,
                    stored.scan.uptime_ms,
                    stored.scan.clock,
                    received,
                    stored.scan.key,
                    stored.scan.sealed,
                )
                for stored in scans
            ],
        )
        return self._db.total_changes - before

    def _hold(self, scans: Sequence[StoredScan]) -> Counter[tuple[str, str]]:
        """Note the numbers of *scans* as held; gives how many were new, per unit and epoch."""
        numbers: dict[tuple[str, str], set[int]] = {}
        for stored in scans:
            numbers.setdefault((stored.unit, stored.scan.epoch), set()).add(stored.scan.seq)
        new: Counter[tuple[str, str]] = Counter()
        for (unit, epoch), seqs in numbers.items():
            for first, last in ranges_of(sorted(seqs)):
                new[unit, epoch] += self._hold_range(unit, epoch, first, last)
        return new

    def _hold_range(self, unit: str, epoch: str, first: int, last: int) -> int:
        # Whatever it overlaps or touches becomes one row with it.
        neighbours = self._db.execute(
            "SELECT first, last FROM held"
            " WHERE unit = ? AND epoch = ? AND first <= ? AND last >= ?",
            (unit, epoch, last + 1, first - 1),
        ).fetchall()
        low = min([first, *(start for start, _ in neighbours)])
        high = max([last, *(end for _, end in neighbours)])
        if neighbours == [(low, high)]:
            return 0
        self._db.executemany(
            "DELETE FROM held WHERE unit = ? AND epoch = ? AND first = ?",
            [(unit, epoch, start) for start, _ in neighbours],
        )
        self._db.execute(
            "INSERT INTO held (unit, epoch, first, last) VALUES (?, ?, ?, ?)",
            (unit, epoch, low, high),
        )
        already = sum(int(end) - int(start) + 1 for start, end in neighbours)
        return int(high) - int(low) + 1 - already

    def _note_units(
        self, scans: Sequence[StoredScan], new: Counter[tuple[str, str]], received: str
    ) -> None:
        counts = Counter((stored.unit, stored.area) for stored in scans)
        fresh: Counter[str] = Counter()
        for (unit, _), count in new.items():
            fresh[unit] += count
        self._db.executemany(
            """
            INSERT INTO unit (unit, area, last_scan, changed, repeats)
            VALUES (:unit, :area, :now, :now, :repeats)
            ON CONFLICT (unit) DO UPDATE SET last_scan = :now, repeats = repeats + :repeats
            """,
            [
                {"unit": unit, "area": area, "now": received, "repeats": max(0, n - fresh[unit])}
                for (unit, area), n in counts.items()
            ],
        )

    def _insert_set_aside(self, messages: Iterable[SetAside], received: str) -> None:
        rows = [
            (
                received,
                message.topic,
                message.reason,
                len(message.payload),
                hashlib.sha256(message.payload).hexdigest(),
                message.payload[:SET_ASIDE_BYTES],
            )
            for message in messages
        ]
        if not rows:
            return
        self._db.executemany(
            "INSERT INTO set_aside (received, topic, reason, bytes, sha256, head)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        # Bounded, so that nobody fills the disk with nonsense: the oldest go.
        self._db.execute(
            "DELETE FROM set_aside WHERE number <= (SELECT max(number) FROM set_aside) - ?",
            (SET_ASIDE_ROWS,),
        )

    def _write(self, sql: str, values: dict[str, object]) -> None:
        try:
            with self._transaction():
                self._db.execute(sql, values)
        except sqlite3.Error as err:
            raise StorageError(f"{self._path}: cannot write: {err}") from err

    def _ask(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as err:
            raise StorageError(f"{self._path}: cannot read: {err}") from err

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _migrate(self) -> None:
        """Bring the tables to the newest number. Raises StorageError for ones from the future."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        changes = _changes()
        if version > len(changes):
            raise StorageError(
                f"{self._path}: its tables are of version {version}, newer than this software"
                f" knows ({len(changes)}); update the software"
            )
        for number, sql in enumerate(changes[version:], start=version + 1):
            self._db.executescript(f"BEGIN; {sql}; PRAGMA user_version = {number}; COMMIT;")


def _changes() -> list[str]:
    folder = resources.files("edge.storage") / "schema"
    files = sorted((file for file in folder.iterdir()), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".sql")]
