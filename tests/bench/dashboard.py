"""How fast the pages answer over a province of units and the counts of many scans.

    python -m tests.bench.dashboard [--units N] [--days D] [--scans S] [--rounds R] [--quick]

A seeded generator fills storage with what the collector would have left there: units, a register,
the counts of scans by quarter of an hour and by day, and the scans themselves of one whole day.
(No page asks for those but the list of scans, of one place; each day has a table of its own.)
Then every page is asked for, in turn, by an operator who sees everything, through the whole
application but for the socket; for each the median and the 95th percentile are printed, and
the processor time, which other work on the machine does not change.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import text
from starlette.testclient import TestClient

from edge.clock import utc_seconds, utc_text
from edge.dashboard.alarm_rules import Finding
from edge.dashboard.local_time import local_day
from edge.garbage import look_for_garbage_rarely
from edge.register import KINDS, TWO_LEVELS_FROM, AdminArea, Place, Register, Vehicle
from edge.storage.days import Days, table_of
from edge.storage.places import keep_register, note_heard
from tests.dashboard.parts import Deployment
from tests.fakes import a_health

SEED = 144
#: Quarters of an hour in which a place is open: from five to eighteen.
OPEN = range(20, 72)


def main(args: list[str] | None = None) -> int:
    """Fill, measure, and print a table; 1 if a page is slower than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=5_000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--scans", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="300 units, 7 days, 3 rounds")
    options = parser.parse_args(args)
    if options.quick:
        options.units, options.days, options.scans, options.rounds = 300, 7, 400_000, 3
    # As the service does.
    look_for_garbage_rarely()
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        deployment = Deployment(Path(folder))
        # Noon of the day whose counts are the last.
        deployment.clock.seconds = 1_798_000_000 - 1_625_189_400
        began = time.monotonic()
        scans = fill(deployment, options.units, options.days, options.scans)
        took = time.monotonic() - began
        print(
            f"{options.units} units, {scans} scans in {options.days} days, filled in {took:.0f} s"
        )
        slow = measure(deployment, options.rounds)
        deployment.close()
    return 1 if slow else 0


def fill(deployment: Deployment, units: int, days: int, scans: int) -> int:
    """Put units, register and counts into storage; gives how many scans they tell of."""
    random, now = Random(SEED), deployment.clock.now().at
    today = date.fromisoformat(utc_text(deployment.clock.seconds + 1_625_189_400 + 25_200)[:10])
    keep_register(
        deployment.database, Register(places=tuple(_places(random, units))), now, remove=True
    )
    with deployment.database.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO unit (unit, area, state, place, direction, software, last_scan, seen,"
                " synced, health) VALUES (:unit, 'bench', :state, :place, :direction, '0.1.0',"
                " :now, :seen, :scans, :health)"
            ),
            [_unit(random, number, now, scans // units) for number in range(units)],
        )
    # One in ten has nothing on a day.
    mean = scans / (units * days * len(OPEN) * 0.9)
    total = 0
    for back in range(days - 1, -1, -1):
        day = (today - timedelta(days=back)).isoformat()
        quarters = _fill_day(deployment, random, units, day, mean)
        if back == 1:
            _fill_rows(deployment, random, quarters)
        total += sum(row[5] for row in quarters)
    note_heard(deployment.database, now)
    for number in range(0, units, 50):
        deployment.parts.alarms.begin(
            Finding("unit-offline", f"u-{number:05}", f"p-{number:05}"), now
        )
    deployment.parts.reporting.step()
    return total


#: Day, place, unit, direction, quarter, scans, unsynced.
_Quarter = tuple[str, str, str, str, int, int, int]


def _fill_day(
    deployment: Deployment, random: Random, units: int, day: str, mean: float
) -> list[_Quarter]:
    quarters: list[_Quarter] = []
    days = []
    for number in range(units):
        if random.random() < 0.1:
            continue
        names = _names(number)
        key = (day, names["place"], names["unit"], names["direction"])
        counts = [int(random.random() * 2 * mean + 0.5) for _ in OPEN]
        quarters += [
            (day, key[1], key[2], key[3], quarter, count, 0)
            for quarter, count in zip(OPEN, counts, strict=True)
            if count
        ]
        days.append((*key, sum(counts), 0))
    with deployment.database.writing() as connection:
        driver: Any = connection.connection.driver_connection
        driver.executemany("INSERT INTO scans_by_quarter VALUES (?, ?, ?, ?, ?, ?, ?)", quarters)
        driver.executemany("INSERT INTO scans_by_day VALUES (?, ?, ?, ?, ?, ?)", days)
    return quarters


def _fill_rows(deployment: Deployment, random: Random, quarters: list[_Quarter]) -> None:
    """The scans that the counts of a day tell of, as they would have come in."""
    (day,) = {row[0] for row in quarters}
    midnight = utc_seconds(f"{day}T00:00:00+07:00")
    sealed, seq = bytes(200), 0
    # The local day begins in one day of UTC and ends in the next.
    Days(deployment.database).make({utc_text(midnight)[:10], utc_text(midnight + 86_399)[:10]})
    with deployment.database.writing() as connection:
        driver: Any = connection.connection.driver_connection
        for _, place, unit, direction, quarter, count, _ in quarters:
            tables: dict[str, list[tuple[object, ...]]] = {}
            for _ in range(count):
                seq += 1
                at = utc_text(midnight + 900 * (quarter + random.random()))
                name = f"{random.getrandbits(128):032x}"
                row = (seq, unit, "0" * 16, seq, name, "bench", place, direction, "", "cccd", at)
                tables.setdefault(at[:10], []).append(
                    (*row, "0" * 32, seq, "ntp", at, "synced", at, "0" * 8, sealed)
                )
            for of, rows in tables.items():
                marks = ", ".join("?" * len(rows[0]))
                driver.executemany(f"INSERT INTO {table_of(of)} VALUES ({marks})", rows)


def measure(deployment: Deployment, rounds: int) -> list[str]:
    """Print a line for each page; gives those that are too slow."""
    client = TestClient(deployment.application.asgi(), follow_redirects=False)
    client.cookies.set("edge-session", deployment.session("operator"))
    paths = [
        "/",
        "/?find=cho 7",
        "/places/p-00007",
        "/scans?place=p-00007&first={yesterday}&last={yesterday}",
        "/scans?place=p-00007&first={month}&last={yesterday}&since=40&until=41",
        "/scans?place=p-00007&first={yesterday}&last={yesterday}&after={yesterday}T09:00:00.000Z~1",
        "/scans/csv?place=p-00007&first={yesterday}&last={yesterday}",
        "/scans?first={yesterday}&last={yesterday}",
        "/scans?first={yesterday}&last={yesterday}&since=40&until=44",
        "/scans?unit=u-00007&first={yesterday}&last={yesterday}",
        "/units",
        "/units?sort=pending&find=u-0",
        "/units/u-00007",
        "/alarms",
        *(f"/coverage?by={by}" for by in ("commune", "province", "sector", "body")),
        "/coverage?by=commune&period=week",
        "/coverage/places?by=commune&which=silent",
        "/areas",
        "/reports",
        "/reports/daily/{day}/pdf",
        "/set-up",
        "/people",
        "/account",
    ]
    today = local_day(deployment.clock.now().at)
    days = {
        "{day}": max(report.last for report in deployment.parts.reporting.kept()),
        "{yesterday}": today - timedelta(days=1),
        "{month}": today - timedelta(days=27),
    }
    taken: dict[str, list[float]] = {path: [] for path in paths}
    work: dict[str, list[float]] = {path: [] for path in paths}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for path in paths:
            # A page that somebody opens now and then: nothing of it is still at hand by a limit.
            deployment.clock.advance(1)
            began, worked = time.perf_counter(), time.process_time()
            asked = path
            for name, day in days.items():
                asked = asked.replace(name, day.isoformat())
            answer = client.get(asked)
            taken[path].append(time.perf_counter() - began)
            work[path].append(time.process_time() - worked)
            assert answer.status_code == 200, path
            sizes[path] = int(answer.headers.get("content-length", len(answer.content)))
    print("| page | median ms | p95 ms | of processor ms | kB on the wire |\n|---|---|---|---|---|")
    slow = []
    for path, times in taken.items():
        median, p95 = statistics.median(times), sorted(times)[int(0.95 * (len(times) - 1))]
        figures = [1000 * seconds for seconds in (median, p95, statistics.median(work[path]))]
        columns = " | ".join(f"{figure:.0f}" for figure in figures)
        print(f"| `{path}` | {columns} | {sizes[path] / 1000:.1f} |", flush=True)
        if median > 0.3 or p95 > 1.0:
            slow.append(path)
    print("slower than 300 ms at the median or 1 s at p95:", ", ".join(slow) or "none")
    return slow


def _places(random: Random, units: int) -> Iterator[Place]:
    kinds = sorted(KINDS)
    for number in range(units):
        kind = "market" if number % 3 else kinds[number % len(kinds)]
        commune = f"Xã {number % 135}"
        yield Place(
            id=f"p-{number:05}",
            name=f"Chợ {number}",
            kind=kind,
            body=f"UBND xã {number % 135}",
            admin=(
                AdminArea(
                    since=date(2020, 1, 1),
                    until=date(2025, 6, 30),
                    province="Gia Lai",
                    district=f"Huyện {number % 17}",
                    commune=commune,
                ),
                AdminArea(since=TWO_LEVELS_FROM, province="Gia Lai", commune=commune),
            ),
            vehicle=Vehicle(plate=f"81B-{number:05}") if kind == "vehicle" else None,
        )


def _names(number: int) -> dict[str, str]:
    direction = "in" if number % 2 else "out"
    return {"unit": f"u-{number:05}", "place": f"p-{number:05}", "direction": direction}


def _unit(random: Random, number: int, now: str, scans: int) -> dict[str, object]:
    state = "offline" if random.random() < 0.03 else "online"
    health = a_health(
        clock="ntp", pending=random.randrange(50), accepted=scans, hours_left=900.0, fill=0.1
    )
    encoded = {"state": state, "now": now, "seen": now, "scans": scans}
    return _names(number) | encoded | {"health": health.encode().decode()}


if __name__ == "__main__":
    sys.exit(main())
