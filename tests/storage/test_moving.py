"""All that a storage in SQLite holds is moved into a PostgreSQL, whole or not at all."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.collector.__main__ import main
from edge.errors import StorageBusy, StorageError
from edge.storage.control import Control
from edge.storage.database import Database
from edge.storage.keeping import Keeping
from edge.storage.moving import move
from edge.storage.rows import Report, SetAside, UnitScans
from edge.storage.storage import Storage
from tests.fakes import a_scan, a_status, came
from tests.postgresql import PostgresqlServer

DAYS = ("2021-07-01", "2021-07-02")
NOW = "2021-07-02T09:00:00.000Z"
LATER = "2021-07-02T10:00:00.000Z"
KNOWN = "a" * 32
TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
)


@pytest.fixture
def target(postgresql_server: PostgresqlServer) -> Iterator[str]:
    url = postgresql_server.new_database()
    yield url
    postgresql_server.drop_database(url)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A storage of which every table holds something, also what engines may spell apart."""
    path = tmp_path / "storage.db"
    with closing(Storage(path)) as storage:
        scans = [
            of_unit(1, at=f"{DAYS[0]}T08:00:00.000Z"),
            of_unit(2, at=f"{DAYS[1]}T08:00:00.000Z", id=KNOWN),
            of_unit(3, clock="none"),
        ]
        # The fifth is missing, and the sixth came with two ids.
        scans += [of_unit(4), of_unit(6), of_unit(6)]
        aside = SetAside("edge/v1/pleiku/x\x1b/scan", "not\tJSON\n", b"\x00\xff'")
        storage.store(scans, NOW, [aside])
        storage.store_reports([Report("pleiku", "cong-1", a_status())], NOW)
        Control(storage.database)
        Keeping(storage.database)
        storage.database.migrate("edge.storage.places")
        storage.database.migrate("edge.dashboard")
        fill(storage.database)
    return path


def of_unit(seq: int, **changes: object) -> UnitScans:
    fields: dict[str, Any] = {"at": NOW, "clock": "ntp"} | changes
    return came("pleiku", "cong-1", a_scan(seq, **fields))


def fill(database: Database) -> None:
    """Put two rows into whatever table is still empty, but for what is only there while erasing."""
    with database.writing() as connection:
        for table in connection.exec_driver_sql(TABLES).scalars().all():
            if table == "gone" or connection.exec_driver_sql(f"SELECT 1 FROM {table}").first():
                continue
            columns = connection.exec_driver_sql(f"PRAGMA table_info({table})").all()
            for number in (1, 2):
                row = tuple(
                    a_value(column.type, number)
                    if column.notnull or column.pk or number == 1
                    else None
                    for column in columns
                )
                marks = ", ".join("?" * len(row))
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", row)


def a_value(kind: str, number: int) -> object:
    """Something of *kind* that an engine may spell in its own way."""
    if kind == "TEXT":
        return f'Chợ "Mẫu"\t\\N {{}}\n{number}'
    return {"INTEGER": (1 << 40) + number, "BLOB": b"\x00\x01\xff%d" % number}[kind]


def everything(database: Database, like: dict[str, Any] | None = None) -> dict[str, Any]:
    """Every row of every table; of PostgreSQL of those tables and columns that *like* has."""
    found: dict[str, Any] = {}
    with database.reading() as connection:
        tables = like or dict.fromkeys(connection.exec_driver_sql(TABLES).scalars().all())
        for table in tables:
            if like:
                columns = like[table][0]
            else:
                infos = connection.exec_driver_sql(f"PRAGMA table_info({table})").all()
                columns = [column.name for column in infos]
            rows = connection.exec_driver_sql(f"SELECT {', '.join(columns)} FROM {table}").all()
            found[table] = columns, sorted((tuple(row) for row in rows), key=repr)
    return found


def move_it(source: Path, target: str, tell: Any = lambda _: None) -> None:
    with closing(Database(str(source))) as old, closing(Database(target)) as new:
        move(old, new, tell)


def test_every_row_of_every_table_is_moved(source: Path, target: str) -> None:
    with closing(Database(str(source))) as database:
        before = everything(database)
    empty = [table for table, (_, rows) in before.items() if not rows]
    assert empty == ["gone"]

    with closing(Database(str(source))) as old, closing(Database(target)) as new:
        moved = move(old, new, lambda _: None)
        after = everything(new, before)

    assert moved.scans == 6
    # How far PostgreSQL's own numbers of transactions are behind is its affair.
    del before["feed"], after["feed"]
    assert after == before


def test_it_goes_on_as_if_nothing_had_been(source: Path, target: str) -> None:
    with closing(Storage(source)) as storage:
        read = storage.feed(0, 4)[-1].position
        rest = storage.feed(read, 100)
        units = storage.units()

    move_it(source, target)

    with closing(Storage(target)) as storage:
        assert storage.units() == units
        assert storage.feed(read, 100) == rest
        assert storage.store([of_unit(2, id=KNOWN, at=f"{DAYS[1]}T08:00:00.000Z")], LATER) == 0
        assert storage.store([of_unit(5), of_unit(7)], LATER) == 2
        assert [row.seq for row in storage.feed(rest[-1].position, 100)] == [5, 7]
        # Tables that number their rows go on after their last.
        storage.store([], LATER, [SetAside("t", "again", b"x")])
        assert storage.set_asides()[0][2] == "again"
        assert storage.units()[0].gaps == []


def test_text_that_postgresql_cannot_hold_stops_nothing(source: Path, target: str) -> None:
    with closing(Storage(source)) as storage, storage.database.writing() as connection:
        connection.exec_driver_sql("UPDATE set_aside SET reason = 'a' || char(0) || 'b'")

    move_it(source, target)

    with closing(Storage(target)) as storage:
        assert storage.set_asides()[0][2] == "a\ufffdb"


def test_nobody_opens_the_old_one_any_more(source: Path, target: str) -> None:
    move_it(source, target)

    with pytest.raises(StorageError, match="was moved to a PostgreSQL; name that"):
        Storage(source)


def test_a_storage_that_is_in_use_is_not_moved(source: Path, target: str) -> None:
    with closing(Storage(source)) as collector:
        with pytest.raises(StorageBusy, match="somebody has it open; stop"):
            move_it(source, target)
        assert collector.store([of_unit(8)], LATER) == 1

    with closing(Storage(target)) as storage:
        assert storage.count() == 0


def test_what_was_cut_off_changes_nothing_and_is_done_again(source: Path, target: str) -> None:
    told = []

    def cut(line: str) -> None:
        told.append(line)
        if line.startswith("unit:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move_it(source, target, cut)

    assert any(line.startswith("scan_2021") for line in told), "it was well under way"
    with closing(Storage(target)) as storage:
        assert (storage.count(), storage.units()) == (0, [])
    with closing(Storage(source)) as storage:
        assert storage.store([of_unit(9)], LATER) == 1
    move_it(source, target)
    with closing(Storage(target)) as storage:
        assert storage.count() == 7


def test_nothing_is_added_to_what_is_not_empty(source: Path, target: str) -> None:
    with closing(Storage(target)) as storage:
        storage.store([came("pleiku", "cong-2", a_scan(1, at=NOW, clock="ntp"))], NOW)

    with pytest.raises(StorageError, match="something in it already"):
        move_it(source, target)

    with closing(Storage(target)) as storage:
        assert [row.unit for row in storage.units()] == ["cong-2"]
    with closing(Storage(source)) as storage:
        assert storage.count() == 6


def test_a_day_that_is_being_erased_is_waited_for(source: Path, target: str) -> None:
    with closing(Storage(source)) as storage:
        storage.expire(DAYS[1], NOW)

    with pytest.raises(StorageError, match="still being erased"):
        move_it(source, target)


def test_only_sqlite_is_moved_and_only_to_postgresql(source: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="only SQLite can be moved, and only to PostgreSQL"):
        move_it(source, str(tmp_path / "other.db"))


def test_the_command_says_what_is_to_be_done_then(
    source: Path, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "collector.toml"
    config.write_text(f'[storage]\nurl = "{source}"\n')
    command = ["--config", str(config), "move", target]

    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out.startswith("6 scans and all else")
    assert "storage.url in collector.toml, dashboard.toml and trace.toml" in told.out
    assert "scan_20210701: 1 rows" in told.err

    assert main(command) == 1
    assert "was moved to a PostgreSQL" in capsys.readouterr().err
    config.write_text(f'[storage]\nurl = "{target}"\n')
    assert main(["--config", str(config), "audit", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["unit"] == "cong-1"
