"""Storage: each scan once, whatever comes twice, and the proof of what is there."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import StorageError
from edge.messages import Scan, Status
from edge.storage.storage import SET_ASIDE_ROWS, SetAside, Storage, StoredScan
from tests.fakes import a_health, a_scan

NOW = "2021-07-02T01:30:05.000Z"


def of(scan: Scan, unit: str = "cong-1") -> StoredScan:
    return StoredScan("pleiku", unit, scan)


def a_status(state: str, birth: int) -> Status:
    return Status(
        state=state,  # type: ignore[arg-type]
        birth=birth,
        place="cho-1",
        direction="in",
        software="0.1.0",
        epoch="e" * 16,
        boot="b" * 32,
    )


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path / "storage.db")
    yield opened
    opened.close()


def test_a_scan_that_comes_twice_is_one_row(storage: Storage) -> None:
    scans = [of(a_scan(seq)) for seq in range(1, 6)]

    assert storage.store(scans, NOW) == 5
    assert storage.store(scans, NOW) == 0
    assert storage.store([*scans[:2], of(a_scan(6)), *scans[:1]], NOW) == 1

    assert storage.count() == 6
    (row,) = storage.units()
    assert row.scans == 6
    assert row.repeats == 5 + 3


def test_a_scan_twice_in_one_batch_is_one_row(storage: Storage) -> None:
    scan = of(a_scan(1))

    assert storage.store([scan, scan], NOW) == 1
    assert storage.count() == 1


def test_gaps_of_a_unit_are_known_and_close(storage: Storage) -> None:
    scans = [of(a_scan(seq)) for seq in range(1, 11)]
    storage.store([scans[1], scans[2], scans[6]], NOW)

    (row,) = storage.units()
    assert [(first, last) for _, first, last in row.gaps] == [(1, 1), (4, 6)]

    storage.store(scans, NOW)
    (row,) = storage.units()
    assert row.gaps == []
    assert row.scans == 10


def test_epochs_of_a_unit_do_not_meet(storage: Storage) -> None:
    storage.store([of(a_scan(1, "a" * 16)), of(a_scan(1, "b" * 16))], NOW)

    (row,) = storage.units()
    assert set(row.held) == {"a" * 16, "b" * 16}
    assert storage.count() == 2


def test_two_units_under_one_name_are_both_kept_and_noticed(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.store([of(a_scan(1))], NOW)
    storage.store([of(a_scan(1))], NOW)

    assert storage.count() == 2
    assert "two units run under one name (cong-1)" in caplog.text


def test_a_batch_that_fails_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "storage.db")
    other.execute("DROP TABLE set_aside")
    other.commit()

    with pytest.raises(StorageError, match="cannot store a batch"):
        storage.store([of(a_scan(1))], NOW, [SetAside("t", "r", b"x")])

    assert storage.count() == 0
    assert storage.units() == []


def test_a_late_will_does_not_end_a_newer_session(storage: Storage) -> None:
    storage.store_status("pleiku", "cong-1", a_status("online", 8), NOW)

    storage.store_status("pleiku", "cong-1", a_status("offline", 7), NOW)
    assert storage.units()[0].state == "online"

    storage.store_status("pleiku", "cong-1", a_status("offline", 8), NOW)
    assert storage.units()[0].state == "offline"


def test_health_and_status_may_come_before_any_scan(storage: Storage) -> None:
    storage.store_health("pleiku", "cong-1", a_health(), NOW)
    storage.store_status("pleiku", "cong-1", a_status("online", 1), NOW)
    storage.store([of(a_scan(1))], NOW)

    (row,) = storage.units()
    assert (row.state, row.scans, row.last_scan) == ("online", 1, NOW)


def test_what_is_set_aside_is_bounded_and_text(storage: Storage) -> None:
    hostile = "edge/v1/x/'; DROP TABLE scan; --/scan"
    messages = [SetAside(hostile, "not JSON", b"\x00" * 5000)] * (SET_ASIDE_ROWS + 50)

    storage.store([], NOW, messages)

    assert storage.count_set_aside() == SET_ASIDE_ROWS
    assert storage.set_asides(1) == [(NOW, hostile, "not JSON", 5000)]


def test_hostile_text_stays_text(storage: Storage) -> None:
    storage.store([of(a_scan(1, trip="t-1"), unit="x'--")], NOW)

    assert storage.units()[0].unit == "x'--"


def test_tables_of_the_future_are_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "storage.db")
    db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(StorageError, match="update the software"):
        Storage(tmp_path / "storage.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "storage.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(StorageError, match=r"storage\.db: cannot open"):
        Storage(tmp_path / "storage.db")
    with pytest.raises(StorageError, match="cannot open"):
        Storage(tmp_path / "missing" / "storage.db")


def test_a_committed_batch_survives_a_kill(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from edge.storage.storage import Storage, StoredScan
from tests.fakes import a_scan
storage = Storage(Path(sys.argv[1]))
storage.store([StoredScan("a", "u", a_scan(seq)) for seq in range(1, 101)], "now")
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "storage.db"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)

    storage = Storage(path)
    assert storage.count() == 100
    storage.close()
