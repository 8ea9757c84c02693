"""How much more two collectors store than one, each with its areas, into one PostgreSQL.

    python -m tests.bench.collectors [--scans N] [--rounds R]

The same backlog each time, half of it in each of two areas, at a NATS server; each collector has a
session for each of its areas, as such a server needs. Broker, database and collectors share the
cores they are given: one collector of both areas on one core, one on two cores, two on two cores.
All in turn; ratios are of the medians of the rounds.
"""

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.collector.connecting import REPORTS, connect, sessions, subscriptions
from edge.collector.service import Collector
from edge.collector.settings import CollectorSettings
from edge.collector.signers import Signers
from edge.garbage import look_for_garbage_rarely
from edge.sealing import open_signer
from edge.storage.rows import UnitScans
from edge.storage.storage import Storage
from tests.bench.collect import (
    NOW,
    SCANS_A_MESSAGE,
    backlog,
    collect_all,
    count_of,
    known_units,
    make_scans,
    messages,
    new_storage,
)

AREAS = ("one", "two")
UNITS = 1000
#: (areas of each collector, cores)
WAYS: dict[str, tuple[list[tuple[str, ...]], int]] = {
    "one collector, one core": ([AREAS], 1),
    "one collector, two cores": ([AREAS], 2),
    "two collectors, two cores": ([AREAS[:1], AREAS[1:]], 2),
}


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=160_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    came = [_in_its_area(each) for each in make_scans(random.Random(1), options.scans, UNITS, 20)]
    rates: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for way, (areas, count) in WAYS.items():
            # What is started inherits it.
            os.sched_setaffinity(0, cores[:count])
            rates.setdefault(way, []).append(rate(came, areas))
            os.sched_setaffinity(0, cores)
    first = statistics.median(next(iter(rates.values())))
    print("| | scans/s | of the first | spread |\n|---|---|---|---|")
    for way, found in rates.items():
        median = statistics.median(found)
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        print(f"| {way} | {median:,.0f} | {median / first:.2f} | {spread} |", flush=True)
    return 0


def rate(came: list[UnitScans], areas: list[tuple[str, ...]]) -> float:
    """Scans a second, with a collector for each of *areas*."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sent = messages(came, SCANS_A_MESSAGE)
        listening = {}
        for number, its in enumerate(areas):
            settings = _settings(number, its, "mqtt://127.0.0.1")
            first, *others = sessions(settings)
            listening[first] = subscriptions(its, REPORTS)
            for name, area in zip(others, its, strict=True):
                listening[name] = subscriptions([area], ["scan"])
        with (
            new_storage(folder / "postgresql", "postgresql") as url,
            backlog(folder / "broker", listening, sent) as broker,
        ):
            storage = Storage(url)
            known = [_in_its_area(each) for each in known_units(UNITS)]
            storage.store(known, NOW)
            both = multiprocessing.get_context("spawn").Barrier(len(areas) + 1)
            collecting = [
                multiprocessing.get_context("spawn").Process(
                    target=collect,
                    args=(
                        folder,
                        _settings(number, its, broker.url),
                        url,
                        count_of(each for each in came if each.area in its),
                        both,
                    ),
                )
                for number, its in enumerate(areas)
            ]
            for process in collecting:
                process.start()
            both.wait()
            began = time.perf_counter()
            both.wait()
            took_s = time.perf_counter() - began
            for process in collecting:
                process.join()
            assert storage.count() == count_of(came) + count_of(known)
            storage.close()
    return count_of(came) / took_s


def collect(
    folder: Path,
    settings: CollectorSettings,
    storage_url: str,
    scans: int,
    both: Barrier,
) -> None:
    """One collector, until it has stored and confirmed so many scans."""
    storage, clock = Storage(storage_url), SystemClock()
    connection = connect(settings, folder, clock)
    key = open_signer(folder / f"{settings.id}.key")
    collector = Collector(
        connection, storage, clock, batch_scans=settings.batch_scans, signers=Signers(key)
    )
    look_for_garbage_rarely()
    both.wait()
    collect_all(collector, connection, scans)
    both.wait()
    collector.close()
    connection.disconnect(2.0)
    storage.close()


def _settings(number: int, areas: tuple[str, ...], broker: str) -> CollectorSettings:
    return CollectorSettings(
        id=f"collector-{number}",
        areas=areas,
        sessions="each",
        broker=BrokerSettings(url=broker),
    )


def _in_its_area(came: UnitScans) -> UnitScans:
    number = int(came.unit.rpartition("-")[2])
    return came._replace(area=AREAS[number % 2])


if __name__ == "__main__":
    sys.exit(main())
