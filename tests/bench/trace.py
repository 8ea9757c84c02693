"""How fast the overlap question is answered as the index grows, on SQLite and PostgreSQL.

    python -m tests.bench.trace [--scans N ...] [--persons N] [--engine sqlite|postgresql] [--quick]

Fills an index with so many scans of 21 days, from a seed: people who each come by some 60 times,
places of very different size. Then asks who overlapped one person over 21 days, of persons drawn by
chance, and gives the median and 95th percentile of the wall time, and how many contacts there were.
10,000,000 scans take some minutes to fill and 3 GB.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator

from sqlalchemy import text

from edge.storage.database import Database
from edge.tracing.places import DAY, HOUR, MINUTE, Places
from edge.tracing.questions import Questions
from tests.tracing.desk import at

DAYS = 21
SCANS_A_PERSON = 60
CHUNK = 100_000


def fill(database: Database, scans: int, seed: int) -> int:
    """Put *scans* sightings and their visits into an empty index; gives how many persons."""
    people = max(10, scans // SCANS_A_PERSON)
    places = max(20, scans // 5000)
    with database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM visit")
        connection.execute(
            text("INSERT INTO name (number, name) VALUES (:number, :name)"),
            [{"number": 1000 + n, "name": f"noi-{n}"} for n in range(places)],
        )
    _indexes(database, make=False)
    for chunk in _chunks(_visits(people, places, scans // 2, seed)):
        _put(database, chunk)
    _indexes(database, make=True)
    return people


def _visits(
    people: int, places: int, count: int, seed: int
) -> Iterator[tuple[int, int, int, int, bytes, bytes]]:
    """(person, place, start, end, entry, exit): people come by day, most to the larger places."""
    rng = random.Random(seed)
    first = at("00:00", 1)
    for number in range(0, 2 * count, 2):
        # A third of all visits are to a tenth of the places.
        place = int(places * rng.random() ** 2)
        start = first + rng.randrange(DAYS) * DAY + int(rng.triangular(5, 21, 9) * HOUR)
        end = start + rng.randrange(5, 120) * MINUTE
        yield (
            1 + rng.randrange(people),
            1000 + place,
            start,
            end,
            # In order, so that a large table is filled in minutes.
            number.to_bytes(16),
            (number + 1).to_bytes(16),
        )


def _chunks(
    visits: Iterator[tuple[int, int, int, int, bytes, bytes]],
) -> Iterator[list[tuple[int, int, int, int, bytes, bytes]]]:
    chunk = []
    for visit in visits:
        chunk.append(visit)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


_VISIT = "person, place, trip, start, finish, start_bound, end_bound, entry_scan, exit_scan"
_SIGHTING = "scan, person, time, place, unit, trip, direction, quality, received, document"


def _put(database: Database, visits: list[tuple[int, int, int, int, bytes, bytes]]) -> None:
    stays = [
        (person, place, "", start, end, 0, 0, entry, exit_)
        for person, place, start, end, entry, exit_ in visits
    ]
    seen = [
        (scan, person, time_, place, place, "", direction, 0, time_, "cccd")
        for person, place, start, end, entry, exit_ in visits
        for scan, time_, direction in ((entry, start, 0), (exit_, end, 1))
    ]
    with database.writing() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if database.engine == "postgresql":
            for table, columns, rows in (("visit", _VISIT, stays), ("sighting", _SIGHTING, seen)):
                with driver.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
        else:
            driver.executemany(f"INSERT INTO visit ({_VISIT}) VALUES (?,?,?,?,?,?,?,?,?)", stays)
            # In order of its key, as the table is kept by it.
            driver.executemany(
                f"INSERT INTO sighting ({_SIGHTING}) VALUES (?,?,?,?,?,?,?,?,?,?)", sorted(seen)
            )


_INDEXES = {
    "visit_person": "visit (person, start)",
    "visit_place": "visit (place, start, finish, person)",
    "sighting_person": "sighting (person, time)",
    "sighting_place": "sighting (place, time, direction, quality)",
    "sighting_time": "sighting (time)",
}


def _indexes(database: Database, *, make: bool) -> None:
    for name, what in _INDEXES.items():
        with database.writing() as connection:
            connection.exec_driver_sql(
                f"CREATE INDEX {name} ON {what}" if make else f"DROP INDEX {name}"
            )
    if make:
        with database.writing() as connection:
            connection.exec_driver_sql("ANALYZE")


def main(args: list[str] | None = None) -> int:
    """Print the table."""
    from tests.bench.desk import databases

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scans", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--persons", type=int, default=100)
    parser.add_argument("--engine", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(args)
    sizes, asked = ([20_000], 5) if options.quick else (options.scans, options.persons)
    print("| engine | scans | contacts, median | overlap, 21 days: median ms | p95 ms | most ms |")
    print("|---|---|---|---|---|---|")
    for engine in options.engine or ["sqlite", "postgresql"]:
        for scans in sizes:
            with databases([engine]) as found:
                for _, url in found:
                    database = Database(url)
                    database.migrate("edge.tracing")
                    people = fill(database, scans, seed=1)
                    print(_measure(engine, database, scans, people, asked), flush=True)
                    database.close()
    return 0


def _measure(engine: str, database: Database, scans: int, people: int, asked: int) -> str:
    questions = Questions(database, Places())
    rng = random.Random(2)
    times, contacts = [], []
    for _ in range(asked):
        person = 1 + rng.randrange(people)
        began = time.perf_counter()
        found = questions.overlaps(person, at("00:00", 1), at("00:00", 1) + DAYS * DAY)
        times.append((time.perf_counter() - began) * 1000)
        contacts.append(len(found))
    times.sort()
    return (
        f"| {engine} | {scans} | {statistics.median(contacts):.0f} | {statistics.median(times):.1f}"
        f" | {times[int(len(times) * 0.95)]:.1f} | {times[-1]:.1f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
