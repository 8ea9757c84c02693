"""What it costs the desk to open and index a scan, on SQLite and PostgreSQL.

    python -m tests.bench.desk [--scans N] [--filled N] [--batch N] [--engine sqlite|postgresql]
                               [--quick]

Processor time of this process a scan, by part, and how many a second one core takes: of scans as
they arrive, and of a day's backlog, in which a person comes several times in a batch. `--filled`
puts so many sightings into the index before, by `tests.bench.trace`. PostgreSQL's own time is on
another core and not counted; the wall clock is given beside.
"""

import argparse
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.clock import utc_text
from edge.identity import Identity
from edge.sealing import Opener, Sealer
from edge.storage.database import Database
from edge.tracing.index import Index
from edge.tracing.indexer import Indexer
from edge.tracing.keys import KeyRing
from edge.tracing.places import Places
from tests import postgresql
from tests.bench.trace import fill
from tests.postgresql import PostgresqlServer
from tests.tracing.desk import TOKENS, at

PRIVATE = bytes(range(32))


@dataclass(frozen=True)
class Fed:
    position: int
    id: str
    unit: str
    place: str
    direction: str
    trip: str
    document: str
    time: str
    time_quality: str
    received: str
    key: str
    sealed: bytes


def sealed_scans(count: int, people: int, places: int, seed: int) -> list[Fed]:
    """Scans of invented people, in and out by turns, over one day."""
    rng = random.Random(seed)
    sealer = Sealer(Opener(PRIVATE).public_key)
    inside: set[int] = set()
    scans = []
    for position in range(1, count + 1):
        person = rng.randrange(people)
        inside ^= {person}
        scan = uuid.UUID(int=rng.getrandbits(128)).hex
        identity = Identity(
            pin=f"0641{person:08}",
            qid=f"16990000{person:010}" if rng.random() < 0.3 else "",
            name="TRAN THI MAU",
            birth_year=1950 + person % 60,
        )
        moment = utc_text((at("06:00", 25) + position * 50_000_000 // count) / 1000)
        place = person % places
        scans.append(
            Fed(
                position,
                scan,
                f"u-{place}",
                f"noi-{place}",
                "in" if person in inside else "out",
                "",
                "cccd",
                moment,
                "synced",
                moment,
                sealer.key_id,
                sealer.seal(identity, scan),
            )
        )
    return scans


@contextmanager
def databases(engines: list[str]) -> Iterator[list[tuple[str, str]]]:
    """(engine, URL) of a new database of each kind that can be had here."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        Path(folder).chmod(0o755)
        found = []
        server = None
        if "sqlite" in engines:
            found.append(("sqlite", f"sqlite:///{folder}/index.db"))
        if "postgresql" in engines and postgresql.is_installed():
            server = PostgresqlServer(Path(folder) / "server")
            server.start()
            found.append(("postgresql", server.new_database()))
        try:
            yield found
        finally:
            if server is not None:
                server.stop()


def main(args: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scans", type=int, default=30_000)
    parser.add_argument("--filled", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--engine", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(args)
    count = 600 if options.quick else options.scans
    print("| engine | sightings before | scans | open, µs | all, CPU µs | scans/s, CPU | wall |")
    print("|---|---|---|---|---|---|---|")
    scans = {
        "a day's backlog": sealed_scans(count, count // 4, 200, 1),
        "as they arrive": sealed_scans(count, count * 4, 2000, 2),
    }
    with databases(options.engine or ["sqlite", "postgresql"]) as found:
        for engine, url in found:
            database = Database(url)
            database.migrate("edge.tracing")
            if options.filled:
                fill(database, options.filled, seed=1)
            for name, batch in scans.items():
                print(_measure(engine, database, name, batch, options), flush=True)
            database.close()
    return 0


def _measure(
    engine: str, database: Database, name: str, scans: list[Fed], options: argparse.Namespace
) -> str:
    # Each feed begins at 1, and the index remembers how far it came.
    Index(database, Places()).add([], "0")
    indexer = Indexer(
        lambda after, limit: scans[after : after + limit],
        Index(database, Places()),
        KeyRing([PRIVATE]),
        TOKENS,
        lambda: None,
        newest=lambda: len(scans),
        batch_scans=options.batch,
    )
    began = time.process_time()
    for scan in scans:
        indexer.open(scan, None)
    opened = time.process_time() - began
    began, wall = time.process_time(), time.perf_counter()
    while indexer.step():
        pass
    took, wall = time.process_time() - began, time.perf_counter() - wall
    each = took / len(scans)
    return (
        f"| {engine} | {options.filled} | {len(scans)}, {name} | {opened / len(scans) * 1e6:.0f}"
        f" | {each * 1e6:.0f} | {1 / each:.0f} | {len(scans) / wall:.0f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
