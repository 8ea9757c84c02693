"""The feed of new and corrected scans: each once, in order, whoever commits late."""

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from edge.messages import Scan
from edge.storage import feed
from edge.storage.rows import FeedRow, Report
from edge.storage.storage import Storage
from edge.storage.writing import Writing
from tests.fakes import a_health, a_scan, came
from tests.storage.parts import expire

NOW = "2021-07-02T09:00:00.000Z"


def put(storage: Storage, *scans: Scan, unit: str = "cong-1") -> None:
    storage.store([came("pleiku", unit, scan) for scan in scans], NOW)


def follow(storage: Storage, after: int = 0, limit: int = 7) -> tuple[list[FeedRow], int]:
    rows: list[FeedRow] = []
    while page := storage.feed(after, limit):
        rows += page
        after = page[-1].position
    return rows, after


def test_scans_come_as_they_were_stored_and_each_once(storage: Storage) -> None:
    scans = [
        a_scan(n, clock=["ntp", "none"][n % 2], at=f"2021-07-{1 + n % 3:02}T01:00:00.000Z")
        for n in range(1, 31)
    ]
    for start in range(0, 30, 6):
        put(storage, *scans[start : start + 6])
    put(storage, *scans[:10])

    rows, position = follow(storage)

    assert [row.seq for row in rows] == list(range(1, 31))
    assert [(row.id, row.sealed, row.at) for row in rows] == [
        (scan.id, scan.sealed, scan.at) for scan in scans
    ]
    assert storage.feed(position, 7) == []
    put(storage, a_scan(31))
    assert [row.seq for row in storage.feed(position, 7)] == [31]


def test_no_row_is_above_the_newest_number_which_never_falls(storage: Storage) -> None:
    before = feed.newest(storage.database)
    for day in range(1, 4):
        put(storage, a_scan(day, clock="ntp", at=f"2021-07-{day:02}T01:00:00.000Z"))
        _, position = follow(storage)
        newest = feed.newest(storage.database)
        assert position <= newest
        assert before <= newest
        before = newest
    # Not even where the rows that came last are dropped.
    expire(storage, "2021-07-09")
    assert follow(storage)[0] == []
    assert feed.newest(storage.database) >= before


def test_a_corrected_time_comes_once_more(storage: Storage) -> None:
    put(storage, *(a_scan(n, uptime_ms=n * 1000) for n in (1, 2)), a_scan(3, boot="c" * 32))
    _, position = follow(storage)

    health = a_health(at="2021-07-02T01:00:40.000Z", uptime_ms=40_000, clock="ntp")
    storage.store_reports([Report("pleiku", "cong-1", health)], NOW)

    rows, _ = follow(storage, position)
    assert [(row.seq, row.time, row.time_quality) for row in rows] == [
        (1, "2021-07-02T01:00:01.000Z", "corrected"),
        (2, "2021-07-02T01:00:02.000Z", "corrected"),
    ]
    # From the beginning each comes once, as it is now.
    assert sorted(row.seq for row in follow(storage)[0]) == [1, 2, 3]


@pytest.fixture
def concurrent(postgresql_server: Any) -> Iterator[str]:
    url = postgresql_server.new_database()
    yield url
    postgresql_server.drop_database(url)


def test_what_commits_late_is_waited_for(concurrent: str) -> None:
    early, late = Storage(concurrent), Storage(concurrent)
    put(early, a_scan(1), unit="cong-0")

    # It has its number, but is not done, when a later one is.
    with late.database.writing() as connection:
        Writing(late.database, connection, NOW).new_numbers(1)
        put(early, a_scan(1), unit="cong-1")
        rows, position = follow(early)
        assert [row.unit for row in rows] == ["cong-0"]

    rows, _ = follow(early, position)
    assert [row.unit for row in rows] == ["cong-1"]
    early.close()
    late.close()


def test_a_reader_of_many_writers_misses_nothing_and_sees_nothing_twice(concurrent: str) -> None:
    writers, batches = 4, 25

    def write(name: int) -> None:
        storage, chance = Storage(concurrent), random.Random(name)
        seq = 0
        for _ in range(batches):
            scans = [a_scan(seq + n + 1) for n in range(chance.randrange(1, 30))]
            seq += len(scans)
            put(storage, *scans, unit=f"cong-{name}")
        storage.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    reader = Storage(concurrent)
    for thread in threads:
        thread.start()
    seen: list[FeedRow] = []
    position = 0
    while any(thread.is_alive() for thread in threads):
        rows, position = follow(reader, position, limit=20)
        seen += rows
    seen += follow(reader, position)[0]

    numbers = reader.scan_numbers()
    assert sorted((row.unit, row.epoch, row.seq, row.id) for row in seen) == numbers
    for name in range(writers):
        of_one = [row.seq for row in seen if row.unit == f"cong-{name}"]
        assert of_one == sorted(of_one)
    reader.close()


def test_numbers_go_on_growing_on_another_server(concurrent: str) -> None:
    storage = Storage(concurrent)
    put(storage, a_scan(1))
    # As if these tables had come from a server that has done far more.
    with storage.database.writing() as connection:
        connection.execute(text("UPDATE scan SET number = number + :far"), {"far": 10**15})
    storage.close()

    moved = Storage(concurrent)
    rows, position = follow(moved)
    assert [row.seq for row in rows] == [1]
    put(moved, a_scan(2))
    feed.keep_growing(moved.database)
    put(moved, a_scan(3))

    assert [row.seq for row in follow(moved, position)[0]] == [2, 3]
    moved.close()
