"""Stores scans, each once, and answers questions about them. On SQLite.

A batch is one transaction. When `store` returns, its rows survive a power cut; only then may a scan
be confirmed to its unit.
"""

import hashlib
import logging
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import resources
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from edge.clock import LONGEST_UPTIME_MS, TRUST, boot_offset_ms, boot_time
from edge.errors import StorageError
from edge.messages import Health, Status
from edge.ranges import Ranges, ranges_of
from edge.storage.rows import Gap, Report, SetAside, StoredScan, UnitRow

log = logging.getLogger(__name__)

#: Of a message set aside, this much is kept; of all of them, this many.
SET_ASIDE_BYTES = 1024
SET_ASIDE_ROWS = 10_000
#: Two units under one name are noticed if both announced themselves within so many sessions.
KEEP_SESSIONS = 20
#: So many boots are remembered in memory, to save asking for them.
CACHED_BOOTS = 100_000
#: Of a boot that only a unit's own correction tells of; what that trusted is not said.
OF_THE_UNIT = "unit"

#: How long to wait for another process that writes, in seconds.
BUSY_S = 30.0


class Storage:
    """The tables of one deployment. One object, one connection, one thread."""

    def __init__(self, path: Path) -> None:
        """Open *path*, making it if need be. Raises StorageError that says what to do."""
        self._path = path
        self._boots: dict[tuple[str, str], tuple[int, str]] = {}
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
            # Of a new file only. A row takes nearly 1 kB: larger pages leave less of them unused.
            self._db.execute("PRAGMA page_size = 8192")
            self._use_wal()
            # FULL, not NORMAL: what is confirmed must survive a power cut.
            self._db.execute("PRAGMA synchronous = FULL")
            self._migrate()
        except sqlite3.Error as err:
            raise StorageError(f"{path}: cannot open the storage: {err}") from err

    def store(
        self,
        scans: Sequence[StoredScan],
        received: str,
        set_aside: Sequence[SetAside] = (),
        *,
        by_hand: bool = False,
    ) -> int:
        """Keep a batch in one transaction; gives how many scans were new.

        Scans that are rows already are harmless. *by_hand*: they did not come from the unit itself,
        which so was not seen. Raises StorageError, and keeps nothing of the batch, if the database
        cannot.
        """
        try:
            with self._transaction():
                self._learn_boots(scans, received)
                tally = self._insert(scans, received)
                tally.numbers = self._hold(scans, received)
                self._note_units(scans, tally, received, by_hand)
                self._insert_set_aside(set_aside, received)
        except sqlite3.Error as err:
            raise StorageError(f"{self._path}: cannot store a batch: {err}") from err
        if doubled := tally.doubled():
            log.warning(
                "%d scans carry numbers that are rows already under other ids: two units run"
                " under one name (%s)",
                sum(doubled.values()),
                ", ".join(sorted(doubled)),
            )
        return tally.total()

    def store_reports(self, reports: Sequence[Report], received: str) -> None:
        """Keep what units said of themselves, in one transaction. Raises StorageError."""
        try:
            with self._transaction():
                for report in reports:
                    self._note_unit(report, received)
                    message = report.message
                    self._learn_boot(
                        report.unit,
                        message.boot,
                        message.clock,
                        boot_offset_ms(message.at, message.uptime_ms),
                        received,
                    )
        except sqlite3.Error as err:
            raise StorageError(f"{self._path}: cannot store reports: {err}") from err

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
        begun: dict[str, dict[str, str]] = {}
        for unit, epoch, first, last, since in self._ask(
            "SELECT unit, epoch, first, last,"
            " min(since) OVER (PARTITION BY unit, epoch) AS begun FROM held"
            " ORDER BY unit, begun, epoch, first"
        ):
            held.setdefault(unit, {}).setdefault(epoch, Ranges()).add(first, last)
            begun.setdefault(unit, {})[epoch] = since
        return [
            UnitRow(*[*row, held.get(row[0], {}), begun.get(row[0], {})])
            for row in self._ask(
                "SELECT unit, area, state, epoch, place, direction, last_scan, seen, synced,"
                " corrected, unsynced, repeats, doubles, doubled, takeovers, taken_over"
                " FROM unit ORDER BY unit"
            )
        ]

    def gaps_to_ask_for(self, known_before: str) -> list[Gap]:
        """Gaps known since before *known_before*, of units that may be there and still have them.

        Of a unit that has announced another epoch since, the gaps of the old one are final.
        """
        return [
            Gap(*row)
            for row in self._ask(
                """
                SELECT unit.area, gap.unit, gap.epoch, gap.first, gap.last, gap.since
                FROM (SELECT unit, epoch, since, first - 1 AS last,
                             lag(last, 1, 0) OVER (PARTITION BY unit, epoch ORDER BY first) + 1
                             AS first
                      FROM held) AS gap
                JOIN unit ON unit.unit = gap.unit
                WHERE gap.first <= gap.last AND gap.since <= ?
                  AND unit.state NOT IN ('stopped', 'offline') AND unit.epoch IN ('', gap.epoch)
                ORDER BY gap.unit, gap.epoch, gap.first
                """,
                (known_before,),
            )
        ]

    def times(self, unit: str) -> list[tuple[int, str, str, str]]:
        """(seq, at, time, time_quality) of each scan of *unit*."""
        return self._ask(
            "SELECT seq, at, time, time_quality FROM scan WHERE unit = ? ORDER BY epoch, seq, id",
            (unit,),
        )

    def unit_key(self, unit: str) -> bytes | None:
        """The public key by which bundles of *unit* are verified, if one was ever kept."""
        rows = self._ask("SELECT key FROM unit WHERE unit = ?", (unit,))
        return rows[0][0] if rows else None

    def keep_unit_key(self, area: str, unit: str, key: bytes) -> None:
        """From now on verify bundles of *unit* by *key*."""
        try:
            with self._transaction():
                self._db.execute(
                    "INSERT INTO unit (unit, area, key) VALUES (:unit, :area, :key)"
                    " ON CONFLICT (unit) DO UPDATE SET key = :key",
                    {"unit": unit, "area": area, "key": key},
                )
        except sqlite3.Error as err:
            raise StorageError(f"{self._path}: cannot keep a unit's key: {err}") from err

    def close(self) -> None:
        """Give the database back."""
        self._db.close()

    # Scans

    def _insert(self, scans: Sequence[StoredScan], received: str) -> "_Tally":
        (newest,) = self._db.execute("SELECT max(rowid) FROM scan").fetchone()
        before = self._db.total_changes
        rows = self._rows(scans, received)
        self._db.executemany(
            """
            INSERT INTO scan (unit, epoch, seq, id, area, place, direction, trip, document,
                              at, boot, uptime_ms, clock, time, time_quality, received, key, sealed)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT DO NOTHING
            """,
            rows,
        )
        if self._db.total_changes - before == len(rows):
            return _Tally(Counter(map(itemgetter(0, 14), rows)))
        # Some came again. Which are new is asked for only then.
        return _Tally(
            Counter(
                {
                    (unit, quality): count
                    for unit, quality, count in self._db.execute(
                        "SELECT unit, time_quality, count(*) FROM scan WHERE rowid > ?"
                        " GROUP BY unit, time_quality",
                        (newest or 0,),
                    )
                }
            )
        )

    def _rows(self, scans: Sequence[StoredScan], received: str) -> list[tuple[Any, ...]]:
        rows = []
        for stored in scans:
            scan = stored.scan
            if scan.clock != "none" and _is_time(scan.at):
                time, quality = scan.at, "synced"
            else:
                time, quality = self._best_time(stored, received)
            rows.append(
                (
                    stored.unit,
                    scan.epoch,
                    scan.seq,
                    scan.id,
                    stored.area,
                    scan.place,
                    scan.direction,
                    scan.trip,
                    scan.document,
                    scan.at,
                    scan.boot,
                    scan.uptime_ms,
                    scan.clock,
                    time,
                    quality,
                    received,
                    scan.key,
                    scan.sealed,
                )
            )
        return rows

    def _best_time(self, stored: StoredScan, received: str) -> tuple[str, str]:
        """When a scan was made whose clock did not know, and the quality of that."""
        scan = stored.scan
        if scan.corrected is not None and _is_time(scan.corrected):
            return scan.corrected, "corrected"
        boot = self._boots.get((stored.unit, scan.boot))
        time = boot_time(boot[0], scan.uptime_ms) if boot else None
        if time is not None:
            return time, "corrected"
        return (scan.at if _is_time(scan.at) else received), "unsynced"

    # Boots

    def _learn_boots(self, scans: Sequence[StoredScan], received: str) -> None:
        """Have in memory what is known of the boots of *scans*, and learn what they tell."""
        if len(self._boots) >= CACHED_BOOTS:
            self._boots.clear()
        seen: set[tuple[str, str, bool]] = set()
        for stored in scans:
            scan = stored.scan
            tells = scan.clock != "none" or scan.corrected is not None
            key = (stored.unit, scan.boot, tells)
            if key in seen:
                continue
            seen.add(key)
            known = self._boots.get(key[:2]) or self._recall_boot(stored.unit, scan.boot)
            if tells and known is None:
                source = scan.clock if scan.clock != "none" else OF_THE_UNIT
                at = scan.at if scan.clock != "none" else scan.corrected
                offset_ms = boot_offset_ms(at or "", scan.uptime_ms)
                self._learn_boot(stored.unit, scan.boot, source, offset_ms, received)

    def _learn_boot(
        self, unit: str, boot: str, source: str, offset_ms: int | None, received: str
    ) -> None:
        """Keep when a boot began, if that is new or better known, and correct its scans."""
        if offset_ms is None or not _trust(source):
            return
        known = self._boots.get((unit, boot)) or self._recall_boot(unit, boot)
        if known is not None and _trust(source) <= _trust(known[1]):
            return
        self._db.execute(
            "INSERT OR REPLACE INTO boot (unit, boot, offset_ms, source, received)"
            " VALUES (?, ?, ?, ?, ?)",
            (unit, boot, offset_ms, source, received),
        )
        self._cache_boot(unit, boot, offset_ms, source)
        corrected = self._db.execute(
            """
            UPDATE scan
            SET time = strftime('%Y-%m-%dT%H:%M:%fZ', (? + uptime_ms) / 1000.0, 'unixepoch'),
                time_quality = 'corrected'
            WHERE unit = ? AND boot = ? AND time_quality = 'unsynced'
              AND clock = 'none' AND uptime_ms <= ?
            """,
            (offset_ms, unit, boot, LONGEST_UPTIME_MS),
        ).rowcount
        if corrected:
            log.info("%s: the time of %d scans is known now", unit, corrected)
            self._db.execute(
                "UPDATE unit SET corrected = corrected + ?, unsynced = unsynced - ? WHERE unit = ?",
                (corrected, corrected, unit),
            )

    def _recall_boot(self, unit: str, boot: str) -> tuple[int, str] | None:
        found = self._db.execute(
            "SELECT offset_ms, source FROM boot WHERE unit = ? AND boot = ?", (unit, boot)
        ).fetchone()
        if found is None:
            # Not remembered: another process may learn it at any moment.
            return None
        self._cache_boot(unit, boot, *found)
        return int(found[0]), str(found[1])

    def _cache_boot(self, unit: str, boot: str, offset_ms: int, source: str) -> None:
        self._boots[unit, boot] = (offset_ms, source)

    # Numbers held

    def _hold(self, scans: Sequence[StoredScan], received: str) -> Counter[str]:
        """Note the numbers of *scans* as held; gives how many were new, per unit."""
        numbers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        for stored in scans:
            scan = stored.scan
            numbers[stored.unit, scan.epoch].add(scan.seq)
        new: Counter[str] = Counter()
        for (unit, epoch), seqs in numbers.items():
            for first, last in ranges_of(sorted(seqs)):
                new[unit] += self._hold_range(unit, epoch, first, last, received)
        return new

    def _hold_range(self, unit: str, epoch: str, first: int, last: int, received: str) -> int:
        # Whatever it overlaps or touches becomes one row with it.
        neighbours = self._db.execute(
            "SELECT first, last, since FROM held"
            " WHERE unit = ? AND epoch = ? AND first <= ? AND last >= ? ORDER BY first",
            (unit, epoch, last + 1, first - 1),
        ).fetchall()
        low = min([first, *(start for start, _, _ in neighbours)])
        high = max([last, *(end for _, end, _ in neighbours)])
        if len(neighbours) == 1 and neighbours[0][:2] == (low, high):
            return 0
        # The gap below has been known since the first number above it came.
        since = neighbours[0][2] if neighbours else self._known_since(unit, epoch, last, received)
        self._db.executemany(
            "DELETE FROM held WHERE unit = ? AND epoch = ? AND first = ?",
            [(unit, epoch, start) for start, _, _ in neighbours],
        )
        self._db.execute(
            "INSERT INTO held (unit, epoch, first, last, since) VALUES (?, ?, ?, ?, ?)",
            (unit, epoch, low, high, since),
        )
        already = sum(int(end) - int(start) + 1 for start, end, _ in neighbours)
        return int(high) - int(low) + 1 - already

    def _known_since(self, unit: str, epoch: str, last: int, received: str) -> str:
        above = self._db.execute(
            "SELECT since FROM held WHERE unit = ? AND epoch = ? AND first > ?"
            " ORDER BY first LIMIT 1",
            (unit, epoch, last),
        ).fetchone()
        return str(above[0]) if above else received

    # Units

    def _note_units(
        self, scans: Sequence[StoredScan], tally: "_Tally", received: str, by_hand: bool
    ) -> None:
        counts = Counter(map(attrgetter("unit"), scans))
        areas = {stored.unit: stored.area for stored in scans}
        self._db.executemany(
            """
            INSERT INTO unit (unit, area, last_scan, seen, synced, corrected, unsynced,
                              repeats, doubles, doubled)
            VALUES (:unit, :area, :now, :seen, :synced, :corrected, :unsynced,
                    :repeats, :doubles, iif(:doubles, :now, NULL))
            ON CONFLICT (unit) DO UPDATE SET
                last_scan = :now, seen = coalesce(:seen, seen), synced = synced + :synced,
                corrected = corrected + :corrected, unsynced = unsynced + :unsynced,
                repeats = repeats + :repeats, doubles = doubles + :doubles,
                doubled = iif(:doubles, :now, doubled)
            """,
            [
                {
                    "unit": unit,
                    "area": areas[unit],
                    "now": received,
                    "seen": None if by_hand else received,
                    "synced": tally.rows[unit, "synced"],
                    "corrected": tally.rows[unit, "corrected"],
                    "unsynced": tally.rows[unit, "unsynced"],
                    "repeats": count - tally.of(unit),
                    "doubles": tally.of(unit) - tally.numbers[unit],
                }
                for unit, count in counts.items()
            ],
        )

    def _note_unit(self, report: Report, received: str) -> None:
        message, values = report.message, {"unit": report.unit, "area": report.area}
        from_itself = not (isinstance(message, Status) and message.state == "offline")
        self._db.execute(
            "INSERT INTO unit (unit, area, seen) VALUES (:unit, :area, :seen)"
            " ON CONFLICT (unit) DO UPDATE SET seen = coalesce(:seen, seen)",
            values | {"seen": received if from_itself and not report.retained else None},
        )
        if isinstance(message, Health):
            self._db.execute(
                "UPDATE unit SET health = :health WHERE unit = :unit",
                values | {"health": message.encode().decode()},
            )
        elif self._is_news(report.unit, message, received):
            self._db.execute(
                """
                UPDATE unit SET area = :area, state = :state, epoch = :epoch, boot = :boot,
                    birth = :birth, place = :place, direction = :direction, software = :software
                WHERE unit = :unit
                """,
                values
                | {
                    "state": message.state,
                    "epoch": message.epoch,
                    "boot": message.boot,
                    "birth": message.birth,
                    "place": message.place,
                    "direction": message.direction,
                    "software": message.software,
                },
            )

    def _is_news(self, unit: str, status: Status, received: str) -> bool:
        """Whether *status* tells how the unit is, or is of a session that has been followed."""
        session = self._db.execute(
            "SELECT birth, turn FROM session WHERE unit = ? AND epoch = ? AND boot = ?",
            (unit, status.epoch, status.boot),
        ).fetchone()
        if status.state == "online":
            # What a broker delivers twice is none; births grow within an epoch's boot.
            if session is not None and status.birth <= session[0]:
                return False
            self._announced(unit, status, session, received)
            return True
        epoch, birth = self._db.execute(
            "SELECT epoch, birth FROM unit WHERE unit = ?", (unit,)
        ).fetchone()
        # Births of different epochs cannot be compared; a known one has been followed by this.
        return bool(status.birth >= birth if status.epoch == epoch else session is None)

    def _announced(
        self, unit: str, status: Status, session: tuple[int, int] | None, received: str
    ) -> None:
        """Note an announcement. A boot that is back after another one is of another machine."""
        (turn,) = self._db.execute(
            "SELECT coalesce(max(turn), 0) FROM session WHERE unit = ?", (unit,)
        ).fetchone()
        if session is not None and session[1] != turn:
            self._db.execute(
                "UPDATE unit SET takeovers = takeovers + 1, taken_over = ? WHERE unit = ?",
                (received, unit),
            )
            log.warning("%s: an earlier boot is back: two units run under one name", unit)
        self._db.execute(
            """
            INSERT INTO session (unit, epoch, boot, birth, since, turn)
            VALUES (:unit, :epoch, :boot, :birth, :now, :turn)
            ON CONFLICT (unit, epoch, boot) DO UPDATE SET birth = :birth, turn = :turn
            """,
            {
                "unit": unit,
                "epoch": status.epoch,
                "boot": status.boot,
                "birth": status.birth,
                "now": received,
                "turn": turn + 1,
            },
        )
        self._db.execute(
            "DELETE FROM session WHERE unit = :unit AND turn < (SELECT min(turn) FROM (SELECT turn"
            " FROM session WHERE unit = :unit ORDER BY turn DESC LIMIT :keep))",
            {"unit": unit, "keep": KEEP_SESSIONS},
        )

    # What could not be read

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

    # The database

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
            # It may hold what was to be written.
            self._boots.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _migrate(self) -> None:
        """Bring the tables to the newest number. Raises StorageError for ones from the future."""
        changes = _changes()
        if self._version() > len(changes):
            raise StorageError(
                f"{self._path}: its tables are of version {self._version()}, newer than this"
                f" software knows ({len(changes)}); update the software"
            )
        if self._version() == len(changes):
            return
        with self._transaction():
            # Asked again under the lock: another process may have been quicker.
            for sql in changes[self._version() :]:
                for statement in _statements(sql):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {len(changes)}")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _use_wal(self) -> None:
        # Two that open a new file at once both switch it, and SQLite lets neither wait for it.
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


class _Tally:
    """What a batch brought that was not there."""

    def __init__(self, rows: Counter[tuple[str, str]]) -> None:
        #: New rows, by unit and quality of time.
        self.rows = rows
        #: Numbers newly held, by unit.
        self.numbers: Counter[str] = Counter()

    def of(self, unit: str) -> int:
        """New rows of *unit*."""
        return sum(self.rows[unit, quality] for quality in ("synced", "corrected", "unsynced"))

    def total(self) -> int:
        """New rows of all units."""
        return self.rows.total()

    def doubled(self) -> dict[str, int]:
        """How many rows have a number that others have too, by unit."""
        if self.rows.total() == self.numbers.total():
            return {}
        more = {unit: self.of(unit) - self.numbers[unit] for unit, _ in self.rows}
        return {unit: count for unit, count in more.items() if count}


def _is_time(text: str) -> bool:
    # The contract looks at the form alone; there is no 30 February.
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _trust(source: str) -> int:
    return TRUST.get(source, 1)


def _statements(sql: str) -> Iterator[str]:
    """The statements of *sql*, one at a time: a script would end the transaction it runs in."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _changes() -> list[str]:
    folder = resources.files("edge.storage") / "schema"
    files = sorted((file for file in folder.iterdir()), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".sql")]
