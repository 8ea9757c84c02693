"""Whether storing gets slower as rows grow, and what it takes to drop a day of them.

    python -m tests.bench.grow [--sizes 0 1 5 10 25 50] [--window N] [--batch N] [--units U]
                               [--run L] [--keep-free GB] [--engines sqlite postgresql]

At each of the sizes, in millions of rows, N scans go in by Storage.store, and beside them a tenth
as many by the engine's own insert into a table that stays small: that tells what else the machine
had to do. In between, the engine itself makes the rows, 2.4 million a day and as wide as real ones,
in the same tables with all their indexes, counts and numbers: in an hour it would be the same by
Storage.store. A whole day's indexes are built when its rows are in; those of the day that is being
stored into grow with its rows. It stops where less than GB of the disk would be left free.

At the end a day is dropped, and erased slice by slice as the collector does between its batches.
"""

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import Connection, text

from edge.clock import utc_seconds, utc_text
from edge.storage.database import Database, pack
from edge.storage.days import table_of
from edge.storage.erasing import Erasure
from edge.storage.rows import UnitScans
from edge.storage.storage import Storage
from edge.storage.writing import Writing
from tests.bench.collect import (
    CONTROL_ROWS,
    Inserts,
    batches,
    count_of,
    inserting,
    known_units,
    make_scans,
    new_storage,
    rows_to_insert,
)

FIRST_DAY = date(2021, 7, 2)
ROWS_A_DAY = 2_400_000
#: So many rows are made in one transaction in the day that is being stored into.
ROWS_AT_ONCE = 100_000
#: What is made by the server itself it need not write to its log as well.
SERVER = (
    "shared_buffers=512MB",
    "max_wal_size=1GB",
    "checkpoint_timeout=15min",
    "wal_level=minimal",
    "max_wal_senders=0",
    "maintenance_work_mem=512MB",
)


@dataclass
class Grown:
    """A storage that grows, day by day."""

    storage: Storage
    units: int
    run: int
    seqs: list[int]
    rows: int = 0

    @property
    def at_s(self) -> float:
        """When the next row is scanned, in seconds since 1970."""
        return utc_seconds(f"{FIRST_DAY}T00:00:00.000Z") + self.rows * 86_400 / ROWS_A_DAY

    @property
    def day(self) -> date:
        return FIRST_DAY + timedelta(days=self.rows // ROWS_A_DAY)

    @property
    def left_of_day(self) -> int:
        return ROWS_A_DAY - self.rows % ROWS_A_DAY


def main() -> int:
    """Measure, and print a table for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0, 1, 5, 10, 25, 50])
    parser.add_argument("--window", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--run", type=int, default=20)
    parser.add_argument("--keep-free", type=float, default=12.0)
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgresql"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for engine in options.engines:
            grow(folder, engine, options)
    return 0


def grow(folder: Path, engine: str, options: argparse.Namespace) -> None:
    """Store at each size, and drop a day at the end."""
    with (
        new_storage(folder / f"{engine}-grow", engine, SERVER) as url,
        new_storage(folder / f"{engine}-control", engine, SERVER) as control_url,
        inserting(control_url, known_units(1)) as control,
    ):
        grown = Grown(Storage(url), options.units, options.run, [1] * options.units)
        chance = random.Random(1)
        first = 0.0
        print(f"| {engine}: rows | scans/s | of the first | CPU us a scan | raw | of raw |")
        print("|---|---|---|---|---|---|", flush=True)
        # Each unit is new once in its life; that is not what is measured.
        grown.storage.store(known_units(options.units), utc_text(grown.at_s))
        for size in options.sizes:
            enough = fill(grown, int(size * 1_000_000), folder, options.keep_free)
            settle(grown.storage.database)
            before = grown.rows
            rate, raw_rate, cpu_us = window(grown, control, chance, options)
            first = first or rate
            print(
                f"| {before:,} | {rate:,.0f} | {rate / first:.0%} | {cpu_us:.1f}"
                f" | {raw_rate:,.0f} | {rate / raw_rate:.0%} |",
                flush=True,
            )
            if not enough:
                print(f"\nno more: {options.keep_free:.0f} GB of the disk are to stay free")
                break
        drop(grown.storage)
        grown.storage.close()


def window(
    grown: Grown, control: Inserts, chance: random.Random, options: argparse.Namespace
) -> tuple[float, float, float]:
    """Scans a second, rows a second of the engine alone, and our CPU, microseconds a scan."""
    busy_s = cpu_s = control_s = 0.0
    stored = controlled = 0
    control.clear()
    while stored < options.window:
        took_s, used_s, came = store(grown, chance, options.batch * 20, options.batch)
        busy_s, cpu_s, stored = busy_s + took_s, cpu_s + used_s, stored + count_of(came)
        in_control = controlled % CONTROL_ROWS
        rows = rows_to_insert(came, 10**6 + in_control)[: options.batch * 2]
        began = time.perf_counter()
        for start in range(0, len(rows), options.batch):
            control.insert(rows[start : start + options.batch])
        control_s += time.perf_counter() - began
        controlled += len(rows)
        if controlled % CONTROL_ROWS == 0:
            control.clear()
    return stored / busy_s, controlled / control_s, 1e6 * cpu_s / stored


def store(
    grown: Grown, chance: random.Random, count: int, size: int
) -> tuple[float, float, list[UnitScans]]:
    """Store *count* new scans, *size* to a transaction; gives the seconds, our CPU's, and them."""
    at = grown.at_s
    came = make_scans(chance, count, grown.units, grown.run, at=at, seqs=grown.seqs)
    began, cpu = time.perf_counter(), time.process_time()
    for batch in batches(came, size):
        grown.storage.store(batch, utc_text(at + 600))
    grown.rows += count
    return time.perf_counter() - began, time.process_time() - cpu, came


def fill(grown: Grown, until: int, folder: Path, keep_free_gb: float) -> bool:
    """Make rows until there are so many; whether the disk had room for them."""
    block = grown.units * grown.run
    while until - grown.rows >= block:
        if shutil.disk_usage(folder).free < keep_free_gb * 1e9 + ROWS_A_DAY * 1000:
            return False
        count = min(until - grown.rows, grown.left_of_day)
        whole = count == ROWS_A_DAY
        if not whole:
            count = min(count, ROWS_AT_ONCE)
        count = max(count // block, 1) * block
        make_rows(grown, count, whole=whole)
    return True


def make_rows(grown: Grown, count: int, *, whole: bool) -> None:
    """Let the engine make *count* rows of this day, its *whole* day or some more of it."""
    database, day = grown.storage.database, grown.day.isoformat()
    table = table_of(day)
    grown.storage._days.make([day])  # as the first scan of a day does
    with database.writing("make rows") as connection:
        build = take_off_indexes(database, connection, table) if whole else []
        values = {
            "given": pack(list(enumerate(grown.seqs))),
            "first": Writing(database, connection, "").new_numbers(count)[0],
            "count": count,
            "run": grown.run,
            "units": grown.units,
            "at": grown.at_s,
            "step": 86_400 / ROWS_A_DAY,
            "received": utc_text(grown.at_s + 600),
            "sealed": random.Random(3).randbytes(368),
        }
        rows = f"INSERT INTO {table} ({MADE}) {rows_of(database)}"
        connection.execute(text(rows), values)
        for statement in build:
            connection.exec_driver_sql(statement)
        key = "day, place, unit, direction"
        for counts in (
            counts_of(database, "scans_by_day", key),
            counts_of(database, "scans_by_quarter", f"{key}, quarter"),
        ):
            connection.execute(text(counts), values)
        each = count // grown.units
        connection.execute(text("UPDATE held SET last = last + :each"), {"each": each})
        connection.execute(text("UPDATE unit SET synced = synced + :each"), {"each": each})
    grown.seqs = [seq + each for seq in grown.seqs]
    grown.rows += count


def take_off_indexes(database: Database, connection: Connection, table: str) -> list[str]:
    """Take the indexes off the empty *table*; gives what builds them again."""
    if database.engine == "sqlite":
        found = connection.exec_driver_sql(
            f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = '{table}'"
        ).all()
        for name, _ in found:
            connection.exec_driver_sql(f"DROP INDEX {name}")
        return [sql for _, sql in found]
    connection.exec_driver_sql(f"ALTER TABLE scan DETACH PARTITION {table}")
    # A table that is emptied in a transaction is written to no log in it.
    connection.exec_driver_sql(f"TRUNCATE {table}")
    ((key, columns),) = connection.exec_driver_sql(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE conrelid = '{table}'::regclass AND contype = 'p'"
    ).all()
    connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {key}")
    indexes = connection.exec_driver_sql(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename = '{table}'"
    ).all()
    for name, _ in indexes:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    day = connection.exec_driver_sql(
        "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute"
        " ON attrelid = adrelid AND attnum = adnum"
        f" WHERE adrelid = '{table}'::regclass AND attname = 'day'"
    ).scalar_one()
    return [
        f"ALTER TABLE {table} ADD CONSTRAINT {key} {columns}",
        *(sql for _, sql in indexes),
        f"ALTER TABLE scan ATTACH PARTITION {table} FOR VALUES IN ({day})",
    ]


def settle(database: Database) -> None:
    """Let the engine write down what it still has to."""
    if database.engine == "postgresql":
        with database.writing("settle") as connection:
            connection.exec_driver_sql("CHECKPOINT")
        return
    with closing(sqlite3.connect(database.name)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def drop(storage: Storage) -> None:
    """How long the oldest day takes to be gone, and how long anybody has to wait for it."""
    days = storage.days()
    if len(days) < 2:
        return
    began = time.perf_counter()
    storage.expire(days[1], f"{days[1]}T00:00:00.000Z")
    away_ms = 1e3 * (time.perf_counter() - began)
    slices = []
    done: list[Erasure] = []
    cpu, began = time.process_time(), time.perf_counter()
    while not done:
        at = time.perf_counter()
        storage.erasing.step(lambda _, erasure: done.append(erasure))
        slices.append(1e3 * (time.perf_counter() - at))
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    slices.sort()
    print(
        f"\none day of {len(days)}, {done[0].scans:,} scans: taken away in {away_ms:.0f} ms, then"
        f" erased in {len(slices)} slices of {slices[len(slices) // 2]:.1f} ms (median),"
        f" {slices[int(len(slices) * 0.99)]:.0f} ms (99 %), {slices[-1]:.0f} ms (longest);"
        f" {took_s:.1f} s in all, {cpu_s:.1f} s of our CPU\n",
        flush=True,
    )


@dataclass(frozen=True)
class Words:
    """What the engines spell differently in what makes rows."""

    series: str  #: of k, from 0
    hexadecimal: str  #: of the unit's number
    id: str
    time: str
    quarters: str  #: whole quarters of an hour since 1970
    day: str  #: of those


WORDS = {
    "sqlite": Words(
        series="(WITH RECURSIVE s(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM s"
        " WHERE k + 1 < :count) SELECT k FROM s) AS s",
        hexadecimal="printf('%0{digits}x', given.number)",
        id="lower(hex(randomblob(16)))",
        time="strftime('%Y-%m-%dT%H\\:%M\\:%fZ', :at + k * :step, 'unixepoch')",
        quarters="CAST((:at + 25200 + k * :step) / 900 AS INTEGER)",
        day="date(q / 96 * 86400, 'unixepoch')",
    ),
    "postgresql": Words(
        series="generate_series(0, CAST(:count AS BIGINT) - 1) AS k",
        hexadecimal="lpad(to_hex(given.number), {digits}, '0')",
        id="md5(CAST(:first + k AS TEXT))",
        time="to_char(to_timestamp(:at + k * :step) AT TIME ZONE 'UTC',"
        ' \'YYYY-MM-DD"T"HH24\\:MI\\:SS.MS"Z"\')',
        quarters="CAST(floor((:at + 25200 + k * :step) / 900) AS INTEGER)",
        day="to_char(DATE '1970-01-01' + q / 96, 'YYYY-MM-DD')",
    ),
}


#: The columns of `rows_of`.
MADE = (
    "number, unit, epoch, seq, id, area, place, direction, trip, document, at, boot, uptime_ms,"
    " clock, time, time_quality, received, key, sealed"
)


def rows_of(database: Database) -> str:
    """The rows of what `make_scan` makes, as wide, in runs of one unit each."""
    words = WORDS[database.engine]
    return f"""
        WITH g AS MATERIALIZED (
            SELECT given.number, seq, 'cong-' || given.number AS unit,
                   {words.hexadecimal.format(digits=16)} AS epoch,
                   {words.hexadecimal.format(digits=32)} AS boot,
                   'cho-' || given.number / 4 AS place
            FROM {database.given(number=int, seq=int)} given
        ), made AS (
            SELECT k, {words.id} AS id, {words.time} AS time FROM {words.series} LIMIT :count
        )
        SELECT :first + k, g.unit, g.epoch, g.seq + k / (:run * :units) * :run + k % :run + 1,
               made.id, 'bench', g.place, 'in', '', 'cccd', made.time, g.boot, k * 1000, 'ntp',
               made.time, 'synced', :received, '00000000', :sealed
        FROM made CROSS JOIN g WHERE g.number = k / :run % :units
    """


def counts_of(database: Database, table: str, key: str) -> str:
    """Adds these rows to the counts in *table*, whose *key* is these columns."""
    words = WORDS[database.engine]
    return f"""
        INSERT INTO {table} ({key}, scans, unsynced)
        SELECT {key}, sum(n), 0
        FROM (SELECT {words.day} AS day, 'cho-' || number / 4 AS place, 'cong-' || number AS unit,
                     'in' AS direction, q % 96 AS quarter, n
              FROM (SELECT {words.quarters} AS q, k / :run % :units AS number, count(*) AS n
                    FROM {words.series} GROUP BY 1, 2) AS made) AS named
        WHERE true GROUP BY {key}
        ON CONFLICT ({key}) DO UPDATE SET scans = {table}.scans + excluded.scans
    """


if __name__ == "__main__":
    sys.exit(main())
