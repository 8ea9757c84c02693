"""A day is gone from every question at once, and soon from the disk, while storage is in use."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from edge.errors import StorageBusy
from edge.storage import erasing, gone
from edge.storage.erasing import SLICES_A_WRITE_BACK
from edge.storage.rows import SetAside, UnitScans
from edge.storage.storage import Storage
from tests.fakes import a_scan, came
from tests.postgresql import PostgresqlServer
from tests.storage.parts import erase, expire

OLD, NEW = "2021-06-10", "2021-07-02"
NOW = f"{NEW}T09:00:00.000Z"
#: What stands in every box of the old day.
MARK = b"niem phong cu"
FRAME_BYTES = 8192 + 24


def scans(day: str, count: int, first: int = 1, unit: str = "cong-cu") -> list[UnitScans]:
    """Scans of *day*, each with a box of the size of a real one."""
    return [
        came(
            "pleiku",
            unit,
            a_scan(
                seq,
                at=f"{day}T0{seq % 10}:00:00.000Z",
                clock="ntp",
                place=f"cho-{seq % 7}",
                sealed=MARK + seq.to_bytes(355, "big") if day == OLD else bytes(368),
            ),
        )
        for seq in range(first, first + count)
    ]


def log_pages(file: Path) -> int:
    return Path(f"{file}-wal").stat().st_size // FRAME_BYTES


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def pages(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


def check_whole(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a storage in SQLite is, with nothing beside it."""
    (tmp_path / "centre").mkdir()
    return tmp_path / "centre" / "storage.db"


def test_a_day_is_gone_at_once_and_counted_when_it_is_erased(storage: Storage) -> None:
    storage.store(scans(OLD, 30), f"{OLD}T10:00:00.000Z", [SetAside("edge/v1/x", "no", b"x")])
    storage.store(scans(NEW, 5, 31), NOW)

    assert storage.expire("2021-06-20", NOW) == [OLD]

    assert storage.days() == [NEW]
    assert storage.count() == 5
    (noted,) = erase(storage)
    assert (noted.days, noted.scans, noted.set_aside) == ([OLD], 30, 1)
    assert (noted.began, noted.before_day) == (NOW, "2021-06-20")
    assert erase(storage) == [], "each is told once"
    assert storage.count() == 5
    assert storage.units()[0].gaps == []


def test_a_day_is_counted_slice_by_slice(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for what in ("ROWS_A_SLICE", "ENTRIES_A_SLICE", "COUNTED_A_SLICE"):
        monkeypatch.setattr(gone, what, 7)
    monkeypatch.setattr(erasing, "ROWS_A_SLICE", 7)
    undated = [came("pleiku", "cong-2", a_scan(seq, at=NOW, clock="none")) for seq in range(1, 23)]
    storage.store([*scans(OLD, 35), *undated], f"{OLD}T10:00:00.000Z")
    storage.store(scans("2021-06-11", 16, 36), f"{OLD}T10:00:00.000Z")

    storage.expire("2021-06-20", NOW)
    (noted,) = erase(storage)

    assert (noted.scans, noted.days) == (35 + 22 + 16, [OLD, "2021-06-11"])
    assert storage.count() == 0


def test_a_scan_of_a_day_that_is_being_erased_is_kept_until_it_expires_too(
    storage: Storage,
) -> None:
    storage.store(scans(OLD, 20), NOW)
    storage.expire("2021-06-20", NOW)
    storage.store(scans(OLD, 3, 21), NOW)
    assert storage.count() == 3

    storage.expire("2021-06-20", NOW)
    (noted,) = erase(storage)

    assert (noted.scans, noted.days) == (23, [OLD])
    assert storage.count() == 0


def test_a_day_too_far_ahead_erases_nothing_that_comes_after_it_was_put_right(
    storage: Storage,
) -> None:
    """As by a clock of the centre that was years ahead, or by a typing error in retention.days."""
    expire(storage, "2031-07-02")
    undated = came("pleiku", "cong-2", a_scan(1, at=NOW, clock="none"))
    storage.store([undated], NOW, [SetAside("edge/v1/x", "no", b"x")])

    expire(storage, "2021-06-20")

    assert storage.count() == 1
    assert len(storage.set_asides()) == 1


def test_two_that_erase_count_each_scan_once(storage: Storage, database_url: str) -> None:
    other = Storage(database_url)
    storage.store(scans(OLD, 25), NOW)
    storage.expire("2021-06-20", NOW)
    other.expire("2021-06-20", NOW)
    noted: list[Any] = []
    working = [storage, other]
    while working:
        working = [each for each in working if each.erasing.step(lambda _, e: noted.append(e))]

    assert [erasure.scans for erasure in noted] == [25]
    other.close()


def test_what_takes_a_day_away_does_not_grow_with_the_day(file: Path) -> None:
    grew = []
    for count in (10, 5000):
        storage = Storage(file)
        storage.store(scans(OLD, count), NOW)
        storage.database.write_back(all_of_it=True)
        storage.expire("2021-06-20", NOW)
        grew.append(log_pages(file))
        check_whole(file)
        erase(storage)
        storage.close()
        for each in file.parent.iterdir():
            each.unlink()

    assert grew[1] == grew[0] <= 20


def test_no_slice_writes_more_than_some_hundred_pages(file: Path) -> None:
    storage = Storage(file)
    storage.store(scans(OLD, 9000), NOW)
    storage.store(scans(NEW, 10, 9001), NOW)
    storage.database.write_back(all_of_it=True)
    storage.expire("2021-06-20", NOW)
    grew, slices = 0, 0
    more = True
    while more:
        before = log_pages(file)
        more = storage.erasing.step(lambda *_: None)
        slices += 1
        # The log begins anew after it was moved.
        grew = max(grew, log_pages(file) - before)

    assert 50 < grew <= 400
    assert slices > 9000 / gone.ROWS_A_SLICE
    check_whole(file)
    storage.close()


def test_what_is_erased_is_in_no_page_and_no_log(file: Path) -> None:
    storage = Storage(file)
    storage.store([*scans(OLD, 3000)], NOW)
    # Somewhere else it would have to be found as well.
    assert content(file.parent).count(MARK) >= 3000
    storage.store(scans(NEW, 50, 3001, unit="cong-moi"), NOW)
    page_count = pages(file)

    expire(storage, "2021-06-20")

    left = content(file.parent)
    assert MARK not in left
    assert left.count(b"cong-moi") > 50
    # Nothing of when and where either, but for the counts, which are of nobody.
    assert f"{OLD}T0".encode() not in left
    # What is free is used again, and the file does not grow.
    storage.store(scans(NEW, 3000, 4001), NOW)
    assert pages(file) <= page_count + 2
    storage.close()


def test_identities_erased_by_an_order_are_in_no_page_and_no_log(file: Path) -> None:
    storage = Storage(file)
    stored = scans(OLD, 40)
    storage.store(stored, NOW)
    wanted = [(scan.id, scan.place, scan.at) for each in stored for scan in each.scans]

    assert erasing.forget_identities(storage.database, storage.days(), wanted) == 40
    assert storage.database.write_back(all_of_it=True) == 0

    assert MARK not in content(file.parent)
    assert storage.count() == 40
    storage.close()


def test_what_came_in_while_the_clock_was_years_ahead_goes_in_due_time(storage: Storage) -> None:
    wrong, aside = "2031-03-01T09:00:00.000Z", [SetAside("edge/v1/x", "no", b"x")]
    storage.store(scans(NEW, 700), wrong, aside)
    storage.expire("2021-06-20", NOW, settled=True)
    assert erase(storage) == [], "nothing is past its time, as far as anybody knows"
    assert storage.count() == 700

    storage.expire("2021-07-02", "2021-07-23T09:00:00.000Z", settled=True)
    assert erase(storage) == []
    storage.expire("2021-07-03", "2021-07-24T09:00:00.000Z", settled=True)
    (noted,) = erase(storage)

    assert (noted.scans, noted.set_aside, storage.count()) == (700, 1, 0)


def test_by_a_clock_that_is_behind_the_present_is_no_future(storage: Storage) -> None:
    scan = came("pleiku", "cong-1", a_scan(1, clock="none"))
    storage.store([scan], NOW, [SetAside("edge/v1/x", "no", b"x")])
    storage.expire("2000-12-11", "2001-01-01T09:00:00.000Z")
    erase(storage)

    storage.expire("2021-06-20", NOW, settled=True)
    assert erase(storage) == []
    assert storage.count() == 1


def test_an_erasure_that_began_in_the_future_takes_nothing_more_with_it(storage: Storage) -> None:
    storage.expire("2031-03-01", "2031-03-22T09:00:00.000Z")
    storage.store([came("pleiku", "cong-1", a_scan(1, clock="none"))], NOW)

    storage.expire("2021-06-20", NOW)
    erase(storage)

    assert storage.count() == 1


def test_power_may_go_at_any_moment_of_an_erasure(file: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gone, "ROWS_A_SLICE", 30)
        storage = Storage(file)
        storage.store(scans(OLD, 60), NOW)
        storage.store(scans(NEW, 5, 61), NOW)
        statements, cuts = 0, []

        def cut(*_: object) -> None:
            nonlocal statements
            statements += 1
            # All that takes the day away, and enough of each slice.
            if statements <= 20 or statements % 9 == 0:
                cuts.append(tmp_path / f"cut-{statements}")
                shutil.copytree(file.parent, cuts[-1])

        sqlalchemy.event.listen(storage.database._pool, "before_cursor_execute", cut)
        storage.expire("2021-06-20", NOW)
        told = erase(storage)
        sqlalchemy.event.remove(storage.database._pool, "before_cursor_execute", cut)
        storage.close()

        assert len(cuts) > 25
        assert [erasure.scans for erasure in told] == [60]
        for folder in cuts:
            after = Storage(folder / file.name)
            assert after.count() in (5, 65), "a day is there whole or not at all"
            # The next look, after the start.
            after.expire("2021-06-20", NOW)
            noted = erase(after)
            assert [erasure.scans for erasure in noted] in ([60], []), "nothing is counted twice"
            assert after.count() == 5
            check_whole(folder / file.name)
            after.close()
            assert MARK not in content(folder)
            shutil.rmtree(folder)


KILLED = """
import sys
from edge.storage import gone
from edge.storage.storage import Storage
gone.ROWS_A_SLICE = gone.ENTRIES_A_SLICE = 1
storage = Storage(sys.argv[1])
storage.expire("2021-06-20", "2021-07-02T09:00:00.000Z")
while storage.erasing.step(lambda *_: None):
    print("slice", flush=True)
"""


def test_a_process_that_is_killed_while_it_erases_leaves_a_whole_storage(file: Path) -> None:
    storage = Storage(file)
    storage.store(scans(OLD, 2000), NOW)
    storage.store(scans(NEW, 5, 2001), NOW)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file)], stdout=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    for _ in range(30):
        assert process.stdout.readline() == b"slice\n"
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()

    check_whole(file)
    assert storage.count() == 5
    (noted,) = erase(storage)
    assert noted.scans == 2000
    assert MARK not in content(file.parent)
    storage.close()


def test_nothing_is_told_to_be_erased_while_somebody_reads_what_was_there(file: Path) -> None:
    storage = Storage(file)
    storage.store(scans(OLD, 50), NOW)
    with storage.database.reading() as connection:
        seen = sqlalchemy.text("SELECT count(*) FROM scan")
        assert connection.scalar(seen) == 50
        storage.expire("2021-06-20", NOW)
        with pytest.raises(StorageBusy, match="somebody reads"):
            erase(storage)
        assert connection.scalar(seen) == 50, "who reads goes on"
        # Others store meanwhile.
        storage.store(scans(NEW, 5, 51), NOW)

    (noted,) = erase(storage)

    assert noted.scans == 50
    assert MARK not in content(file.parent)
    storage.close()


def test_the_log_does_not_grow_without_end_under_a_long_reader(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gone, "ROWS_A_SLICE", 20)
    monkeypatch.setattr(erasing, "MOST_IN_LOG", 40)
    storage = Storage(file)
    storage.store(scans(OLD, 2000), NOW)
    storage.database.write_back(all_of_it=True)
    storage.expire("2021-06-20", NOW)
    with storage.database.reading() as connection:
        connection.scalar(sqlalchemy.text("SELECT count(*) FROM unit"))
        for _ in range(3):
            with pytest.raises(StorageBusy):
                erase(storage)
        # Some slices at most were written before it was noticed.
        assert log_pages(file) < 40 + 60 * (SLICES_A_WRITE_BACK + 1)
    assert erase(storage)[0].scans == 2000
    storage.close()


def test_postgresql_waits_for_no_long_reader_and_nobody_waits_behind_it(
    postgresql_server: PostgresqlServer,
) -> None:
    url = postgresql_server.new_database()
    storage = Storage(url)
    storage.store(scans(OLD, 50), NOW)
    with storage.database.reading() as connection:
        # As pg_dump does, for hours.
        assert connection.scalar(sqlalchemy.text("SELECT count(*) FROM scan")) == 50
        with pytest.raises(StorageBusy, match="lock timeout"):
            storage.expire("2021-06-20", NOW)
        storage.store(scans(NEW, 5, 51), NOW)

    assert storage.expire("2021-06-20", NOW) == [OLD]
    assert erase(storage)[0].scans == 50
    assert storage.count() == 5
    storage.close()
    postgresql_server.drop_database(url)


def test_a_day_that_is_taken_away_while_another_erasure_ends_is_told_with_the_next(
    postgresql_server: PostgresqlServer,
) -> None:
    url = postgresql_server.new_database()
    one, other = Storage(url), Storage(url)
    one.store(scans(OLD, 30), NOW)
    one.store(scans("2021-06-25", 20, 31), NOW)
    one.expire("2021-06-20", NOW)
    noted: list[erasing.Erasure] = []

    def note(_: object, erasure: erasing.Erasure) -> None:
        noted.append(erasure)
        # The look of another collector, at this very moment; it then waits until this one ends.
        assert other._days.expire("2021-06-28", NOW) == ["2021-06-25"]

    while one.erasing.step(note):
        pass
    other.erasing.begin("2021-06-28", NOW)
    noted += erase(other)

    assert [(each.days, each.scans) for each in noted] == [([OLD], 30), (["2021-06-25"], 20)]
    one.close()
    other.close()
    postgresql_server.drop_database(url)
