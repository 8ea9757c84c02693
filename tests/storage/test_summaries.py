"""The counts by day and quarter of an hour are always what a count of the rows would be."""

import random
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from edge.clock import utc_text
from edge.messages import Scan
from edge.storage.rows import Report, UnitScans
from edge.storage.storage import Storage
from edge.storage.summaries import local_quarter
from tests.fakes import a_health, a_scan, came

NOW = "2021-07-02T09:00:00.000Z"
START = 1_625_187_600


def check(storage: Storage) -> None:
    """Count the rows anew and compare."""
    quarters: Counter[tuple[Any, ...]] = Counter()
    days: Counter[tuple[Any, ...]] = Counter()
    with storage.database.reading() as connection:
        for place, unit, direction, time, quality in connection.execute(
            text("SELECT place, unit, direction, time, time_quality FROM scan")
        ):
            day, quarter = local_quarter(time)
            for name in ("scans", "unsynced")[: 1 + (quality == "unsynced")]:
                quarters[day, place, unit, direction, quarter, name] += 1
                days[day, place, unit, direction, name] += 1
        by_quarter = connection.execute(text("SELECT * FROM scans_by_quarter")).mappings()
        found = Counter(
            {
                (r["day"], r["place"], r["unit"], r["direction"], r["quarter"], name): r[name]
                for r in by_quarter
                for name in ("scans", "unsynced")
            }
        )
        by_day = connection.execute(text("SELECT * FROM scans_by_day")).mappings()
        found_days = Counter(
            {
                (r["day"], r["place"], r["unit"], r["direction"], name): r[name]
                for r in by_day
                for name in ("scans", "unsynced")
            }
        )
    assert +found == quarters
    assert +found_days == days
    assert min([0, *found.values(), *found_days.values()]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_rows_whatever_comes(storage: Storage, seed: int) -> None:
    chance = random.Random(seed)
    sent: list[UnitScans] = []
    for turn in range(30):
        batch = [random_scan(chance, len(sent) + n + 1) for n in range(chance.randrange(1, 20))]
        sent += batch
        storage.store([*batch, *chance.sample(sent, min(5, len(sent)))], NOW)
        if turn % 3 == 2:
            storage.store_reports([random_report(chance) for _ in range(3)], NOW)
    check(storage)


def random_scan(chance: random.Random, seq: int) -> UnitScans:
    uptime_ms = chance.randrange(3 * 86_400_000)
    scan = a_scan(
        seq,
        place=f"cho-{chance.randrange(3)}",
        direction=chance.choice(["in", "out"]),
        at=utc_text(START + chance.randrange(3 * 86_400)),
        boot=f"{chance.randrange(6):032x}",
        uptime_ms=uptime_ms,
        clock=chance.choice(["ntp", "none", "none", "rtc"]),
    )
    return came("pleiku", f"cong-{chance.randrange(3)}", scan)


def random_report(chance: random.Random) -> Report:
    health = a_health(
        at=utc_text(START + chance.randrange(3 * 86_400)),
        boot=f"{chance.randrange(6):032x}",
        uptime_ms=chance.randrange(86_400_000),
        clock=chance.choice(["ntp", "rtc", "gnss"]),
    )
    return Report("pleiku", f"cong-{chance.randrange(3)}", health)


def test_a_correction_moves_counts_from_one_day_to_another(storage: Storage) -> None:
    scan = a_scan(1, at="2021-07-01T10:00:00.000Z", uptime_ms=60_000)
    storage.store([came("pleiku", "cong-1", scan)], NOW)

    health = a_health(at="2021-07-02T18:00:00.000Z", uptime_ms=0, clock="ntp")
    storage.store_reports([Report("pleiku", "cong-1", health)], NOW)

    with storage.database.reading() as connection:
        rows = connection.execute(text("SELECT day, scans, unsynced FROM scans_by_day")).fetchall()
    assert sorted(tuple(row) for row in rows) == [("2021-07-01", 0, 0), ("2021-07-03", 1, 0)]
    check(storage)


@pytest.mark.parametrize(
    ("time", "quarter"),
    [
        ("2021-07-02T16:59:59.999Z", ("2021-07-02", 95)),
        ("2021-07-02T17:00:00.000Z", ("2021-07-03", 0)),
        ("2021-12-31T20:16:00.000Z", ("2022-01-01", 13)),
        ("9999-12-31T23:59:59.999Z", ("9999-12-31", 95)),
    ],
)
def test_the_day_is_that_of_vietnam(time: str, quarter: tuple[str, int]) -> None:
    assert local_quarter(time) == quarter


def test_a_batch_that_fails_counts_nothing(storage: Storage) -> None:
    scan: Scan = a_scan(1, clock="ntp")

    def fail() -> None:
        with storage._writing("fail", NOW) as (_, summaries):
            summaries.add(scan.place, "cong-1", scan.direction, scan.at, scans=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    check(storage)
