"""How fast the collector stores what waits at the broker, beside what the engine alone can do.

    python -m tests.bench.collect [--scans N] [--rounds R] [--units U] [--run L] [--alone]
                                  [--engines sqlite postgresql]

The same scans each time, from U units in runs of L (a backlog comes in runs, live scans singly),
each run in as few messages as a unit makes of it, or with --alone one scan to a message:

raw        the engine's own batch insert of the rows into the day's table with all its indexes:
           executemany on SQLite, binary COPY on PostgreSQL, and nothing else
store      Storage.store: rows, numbers, units, counts, feed
collector  the whole: a backlog at a NATS server, decoded, stored, acknowledged and confirmed, until
           the broker has taken all of it
single     Storage.store, one scan to a transaction

In the first three so many scans go into a transaction as a collector with a backlog puts into one.
That makes raw faster too; COPY of text, by which it was measured before, is slower than of binary.

All run in turn in one process; ratios are of the medians of the rounds.
"""

import argparse
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from edge.clock import SystemClock, utc_text
from edge.collector.connecting import subscriptions
from edge.collector.service import Collector
from edge.collector.settings import CollectorSettings
from edge.collector.signers import Signers
from edge.demo.broker import NatsBroker
from edge.garbage import look_for_garbage_rarely
from edge.messages import Scan, fit_together, scans_message
from edge.mqtt import BrokerSettings, Connection
from edge.sealing import open_signer
from edge.sessions import Sessions
from edge.storage.days import table_of
from edge.storage.prepared import COLUMNS as OF_A_SCAN
from edge.storage.rows import UnitScans
from edge.storage.storage import Storage
from edge.storage.writing import TYPES
from edge.topics import topic
from edge.unit_settings import PublisherSettings
from tests.postgresql import PostgresqlServer

COLUMNS = ("number", *OF_A_SCAN)
#: As a collector has it by itself.
BATCH = CollectorSettings().batch_scans
#: As a unit sends them that has more than one.
SCANS_A_MESSAGE = PublisherSettings().scans_a_message
#: So many transactions of one scan are timed.
SINGLES = 200
#: So many messages bare paho receives.
BARE = 20_000
#: The table that tells what else the machine has to do is emptied at so many rows.
CONTROL_ROWS = 100_000
#: 08:00 of yesterday in Vietnam. A collector puts scans of long ago into the table of those without
#: a day, which has two indexes more than the one that raw fills.
START = (int(time.time()) // 86_400 - 1) * 86_400 + 3600
NOW = utc_text(START + 36_000)
#: As a server is set up that has this to do; nothing that gives up a commit.
SERVER = ("shared_buffers=512MB", "max_wal_size=4GB", "checkpoint_timeout=15min")


class Figure:
    """What one way took, per scan."""

    def __init__(self, scans: int) -> None:
        self._scans = scans
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> tuple[float, float]:
        """Scans a second, and microseconds of this process's CPU for each."""
        took_s, cpu_s = time.perf_counter() - self._began, time.process_time() - self._cpu
        return self._scans / took_s, 1e6 * cpu_s / self._scans


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    # So many that it hardly counts how long it takes to connect.
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--run", type=int, default=20)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgresql"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        compare(folder, options)
    return 0


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Each way beside the others, on each engine."""
    known = known_units(options.units)
    came = make_scans(random.Random(1), options.scans, options.units, options.run)
    sent = messages(came, 1 if options.alone else SCANS_A_MESSAGE)
    # As the collector does it, but before: what is made here is no part of one.
    look_for_garbage_rarely()
    print("| engine | way | scans/s | of raw | CPU us a scan, ours | spread of scans/s |")
    print("|---|---|---|---|---|---|")
    alone = messages(came, 1)[:BARE]
    bare = [bare_paho(folder / f"paho{n}", alone) for n in range(options.rounds)]
    for engine in options.engines:
        ways: dict[str, list[tuple[float, float]]] = {}
        for turn in range(options.rounds):
            for way in (raw, store, single):
                with new_storage(folder / f"{engine}-{way.__name__}-{turn}", engine) as url:
                    ways.setdefault(way.__name__, []).append(way(url, known, came))
            with new_storage(folder / f"{engine}-collector-{turn}", engine) as url:
                ways.setdefault("collector", []).append(
                    collect(url, known, options.scans, sent, folder)
                )
        of_raw = statistics.median(rate for rate, _ in ways["raw"])
        for way_name, figures in ways.items():
            line(engine, way_name, figures, of_raw)
    line("none", "bare paho receives, acknowledges and forgets", bare, 0)


def line(engine: str, way: str, figures: Sequence[tuple[float, float]], of_raw: float) -> None:
    """One line of the table."""
    rates = [rate for rate, _ in figures]
    rate, cpu = statistics.median(rates), statistics.median(cpu for _, cpu in figures)
    share = f"{rate / of_raw:.0%}" if of_raw else ""
    spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
    print(f"| {engine} | {way} | {rate:,.0f} | {share} | {cpu:.1f} | {spread} |", flush=True)


def make_scans(
    chance: random.Random,
    count: int,
    units: int,
    run: int,
    *,
    at: float = START,
    seqs: list[int] | None = None,
) -> list[UnitScans]:
    """*count* scans of *units*, in runs of *run* from one unit."""
    # The number 1 of each stands for what storage has of it already.
    seqs = [1] * units if seqs is None else seqs
    came: list[UnitScans] = []
    for start in range(0, count, run):
        unit, now = chance.randrange(units), utc_text(at + start / 1000)
        numbers = range(seqs[unit] + 1, seqs[unit] + 1 + min(run, count - start))
        seqs[unit] = numbers[-1]
        came.append(of_unit(unit, [make_scan(chance, unit, seq, now) for seq in numbers]))
    return came


def of_unit(unit: int, scans: Sequence[Scan]) -> UnitScans:
    return UnitScans("bench", f"cong-{unit}", scans)


def make_scan(chance: random.Random, unit: int, seq: int, at: str) -> Scan:
    """The scan *seq* of *unit*, with a box as large as a real one."""
    return Scan(
        id=chance.randbytes(16).hex(),
        epoch=f"{unit:016x}",
        seq=seq,
        place=f"cho-{unit // 4}",
        direction="in",
        document="cccd",
        at=at,
        boot=f"{unit:032x}",
        uptime_ms=seq * 1000,
        clock="ntp",
        key="0" * 8,
        sealed=chance.randbytes(368),
    )


def known_units(units: int) -> list[UnitScans]:
    """What storage has already, of each unit: a unit is new once in its life."""
    chance = random.Random(2)
    return [of_unit(unit, [make_scan(chance, unit, 1, utc_text(START))]) for unit in range(units)]


def count_of(came: Iterable[UnitScans]) -> int:
    """How many scans that is."""
    return sum(len(scans) for _, _, scans in came)


def batches(came: Sequence[UnitScans], size: int = BATCH) -> Iterator[list[UnitScans]]:
    """What *came*, in batches of *size* scans, or a few more."""
    batch: list[UnitScans] = []
    count = 0
    for each in came:
        batch.append(each)
        count += len(each.scans)
        if count >= size:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


@contextmanager
def new_storage(folder: Path, engine: str, settings: tuple[str, ...] = SERVER) -> Iterator[str]:
    """Where an empty storage is; *settings* of PostgreSQL."""
    if engine == "sqlite":
        folder.mkdir()
        yield str(folder / "storage.db")
        return
    server = PostgresqlServer(folder, settings)
    try:
        yield server.new_database()
    finally:
        server.stop()


def store(url: str, known: Sequence[UnitScans], came: Sequence[UnitScans]) -> tuple[float, float]:
    """What storage alone takes."""
    storage = Storage(url)
    storage.store(known, NOW)
    in_batches = list(batches(came))
    figure = Figure(count_of(came))
    for batch in in_batches:
        storage.store(batch, NOW)
    result = figure.end()
    assert storage.count() == count_of(known) + count_of(came)
    storage.close()
    return result


def single(url: str, known: Sequence[UnitScans], came: Sequence[UnitScans]) -> tuple[float, float]:
    """What a transaction for each scan takes."""
    storage = Storage(url)
    storage.store(known, NOW)
    figure = Figure(SINGLES)
    for area, unit, scan in islice(one_by_one(came), SINGLES):
        storage.store([UnitScans(area, unit, [scan])], NOW)
    result = figure.end()
    storage.close()
    return result


def raw(url: str, known: Sequence[UnitScans], came: Sequence[UnitScans]) -> tuple[float, float]:
    """What the engine alone takes for the rows."""
    rows = rows_to_insert(came, 10**6)
    with inserting(url, known) as engine:
        figure = Figure(len(rows))
        for start in range(0, len(rows), BATCH):
            engine.insert(rows[start : start + BATCH])
        return figure.end()


class Inserts(Protocol):
    """The engine's own batch insert into one day's table, and nothing else."""

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """One transaction."""

    def clear(self) -> None:
        """Take all rows out again."""


@contextmanager
def inserting(url: str, known: Sequence[UnitScans]) -> Iterator[Inserts]:
    """The table of the day of *known*, with these in it, as a new storage makes it."""
    storage = Storage(url)
    storage.store(known, NOW)
    table = table_of(known[0].scans[0].at[:10])
    inserts: SqliteInserts | PostgresqlInserts
    if storage.database.engine == "sqlite":
        with storage.database.reading() as connection:
            settings: Any = connection.connection.driver_connection
            kept = {
                name: settings.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("synchronous", "cache_size", "wal_autocheckpoint")
            }
        inserts = SqliteInserts(url, table, kept)
    else:
        inserts = PostgresqlInserts(url, table)
    storage.close()
    try:
        yield inserts
    finally:
        inserts.close()


class SqliteInserts:
    """By executemany."""

    def __init__(self, path: str, table: str, settings: dict[str, Any]) -> None:
        self._table = table
        self._db = sqlite3.connect(path, isolation_level=None)
        for name, value in settings.items():
            self._db.execute(f"PRAGMA {name} = {value}")

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        names, marks = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(f"INSERT INTO {self._table} ({names}) VALUES ({marks})", rows)
        self._db.execute("COMMIT")

    def clear(self) -> None:
        self._db.execute(f"DELETE FROM {self._table}")

    def close(self) -> None:
        self._db.close()


class PostgresqlInserts:
    """By COPY."""

    def __init__(self, url: str, table: str) -> None:
        self._table = table
        self._server = psycopg.connect(url)

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        command = f"COPY {self._table} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
        with self._server.cursor() as cursor, cursor.copy(command) as copy:
            copy.set_types([TYPES[type(value)] for value in rows[0]])
            for row in rows:
                copy.write_row(row)
        self._server.commit()

    def clear(self) -> None:
        self._server.execute(f"TRUNCATE {self._table}")
        self._server.commit()

    def close(self) -> None:
        self._server.close()


def one_by_one(came: Iterable[UnitScans]) -> Iterator[tuple[str, str, Scan]]:
    """(area, unit, scan) of each."""
    for area, unit, scans in came:
        for scan in scans:
            yield area, unit, scan


def rows_to_insert(came: Iterable[UnitScans], first: int) -> list[tuple[Any, ...]]:
    """The rows of *came*, by `COLUMNS`, numbered from *first*."""
    rows = []
    for number, (area, unit, scan) in enumerate(one_by_one(came), start=first):
        values = {name: getattr(scan, name, None) for name in COLUMNS} | {
            "number": number,
            "unit": unit,
            "area": area,
            "time": scan.at,
            "time_quality": "synced",
            "received": NOW,
        }
        rows.append(tuple(values[name] for name in COLUMNS))
    return rows


def messages(came: Iterable[UnitScans], most: int) -> list[tuple[str, bytes]]:
    """(topic, payload) of the messages by which units send what *came*, up to *most* in each."""
    sent: list[tuple[str, bytes]] = []
    for area, unit, scans in came:
        waiting = [scan.encode() for scan in scans]
        while waiting:
            count = fit_together(waiting[:most])
            sent.append((topic(area, unit, "scan"), scans_message(waiting[:count])))
            del waiting[:count]
    return sent


def collect(
    url: str,
    known: Sequence[UnitScans],
    scans: int,
    sent: Sequence[tuple[str, bytes]],
    folder: Path,
) -> tuple[float, float]:
    """What the whole collector takes for a backlog of *scans* in the messages *sent*."""
    topics = subscriptions(["bench"])
    with backlog(Path(tempfile.mkdtemp(dir=folder)), {"collector": topics}, sent) as broker:
        storage = Storage(url)
        storage.store(known, NOW)
        connection = connection_to(broker, "collector", topics)
        key = open_signer(folder / "receipts.key")
        collector = Collector(
            connection, storage, SystemClock(), batch_scans=BATCH, signers=Signers(key)
        )
        figure = Figure(scans)
        collect_all(collector, connection, scans)
        result = figure.end()
        collector.close()
        connection.disconnect(2.0)
        storage.close()
    return result


def collect_all(collector: Collector, connection: Connection | Sessions, scans: int) -> None:
    """Until so many *scans* are stored, and the broker has all that is to be said of them."""
    while collector.totals.stored < scans:
        collector.step(1.0)
    # Of a confirmation a broker says nothing. What comes behind all of them it acknowledges.
    connection.publish(topic("bench", "nobody", "again"), b"")
    while connection.in_flight:
        collector.step(1.0)


def bare_paho(folder: Path, sent: Sequence[tuple[str, bytes]]) -> tuple[float, float]:
    """What paho alone takes to receive and acknowledge the messages *sent*."""
    folder.mkdir()
    with backlog(folder, {"bare": subscriptions(["bench"])}, sent) as broker:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, "bare", clean_session=False, manual_ack=True
        )
        received = [0]

        def acknowledge(_: paho.Client, __: object, message: paho.MQTTMessage) -> None:
            received[0] += 1
            client.ack(message.mid, message.qos)

        client.on_message = acknowledge
        client.connect("127.0.0.1", broker.port)
        figure = Figure(len(sent))
        while received[0] < len(sent):
            client.loop(1.0)
        result = figure.end()
        client.disconnect()
    return result


@contextmanager
def backlog(
    folder: Path, sessions: Mapping[str, Sequence[str]], sent: Sequence[tuple[str, bytes]]
) -> Iterator[NatsBroker]:
    """A broker that holds the messages *sent* for *sessions*, each with its subscriptions."""
    broker = NatsBroker(folder)
    try:
        for name, topics in sessions.items():
            session = connection_to(broker, name, topics)
            while not session.connected:
                session.step(0.1)
            session.disconnect(2.0)
        sender = Connection(BrokerSettings(url=broker.url), folder, "sender", SystemClock())
        while not sender.connected:
            sender.step(0.1)
        for where, payload in sent:
            while sender.in_flight >= 100:
                sender.step(1.0)
            sender.publish(where, payload)
        sender.disconnect(30.0)
        yield broker
    finally:
        broker.stop()


def connection_to(broker: NatsBroker, name: str, topics: Sequence[str]) -> Connection:
    """The connection of a session that the broker keeps."""
    return Connection(
        BrokerSettings(url=broker.url),
        Path(),
        name,
        SystemClock(),
        subscriptions=topics,
        persistent=True,
    )


if __name__ == "__main__":
    sys.exit(main())
