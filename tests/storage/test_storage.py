"""Storage: each scan once, whatever comes twice, and the proof of what is there."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from edge.errors import StorageError
from edge.messages import Health, Scan, Status
from edge.storage.rows import Report, SetAside, UnitScans
from edge.storage.set_aside import SET_ASIDE_ROWS
from edge.storage.storage import Storage
from tests.fakes import a_health, a_scan, a_status, came

NOW = "2021-07-02T01:30:05.000Z"


def of(scan: Scan, unit: str = "cong-1") -> UnitScans:
    return came("pleiku", unit, scan)


def by(message: Status | Health, unit: str = "cong-1", *, retained: bool = False) -> list[Report]:
    return [Report("pleiku", unit, message, retained)]


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


def test_a_batch_that_fails_leaves_nothing(storage: Storage) -> None:
    with storage.database.writing() as connection:
        connection.execute(text("DROP TABLE set_aside"))

    with pytest.raises(StorageError, match="cannot store a batch"):
        storage.store([of(a_scan(1))], NOW, [SetAside("t", "r", b"x")])

    assert storage.count() == 0
    assert storage.units() == []


def test_a_late_will_does_not_end_a_newer_session(storage: Storage) -> None:
    storage.store_reports(by(a_status(state="online", birth=8)), NOW)

    storage.store_reports(by(a_status(state="offline", birth=7)), NOW)
    assert storage.units()[0].state == "online"

    storage.store_reports(by(a_status(state="offline", birth=8)), NOW)
    assert storage.units()[0].state == "offline"


def test_health_and_status_may_come_before_any_scan(storage: Storage) -> None:
    storage.store_reports(by(a_health()), NOW)
    storage.store_reports(by(a_status(state="online", birth=1)), NOW)
    storage.store([of(a_scan(1))], NOW)

    (row,) = storage.units()
    assert (row.state, row.scans, row.last_scan) == ("online", 1, NOW)


def test_what_is_set_aside_is_bounded_and_text(storage: Storage) -> None:
    hostile = "edge/v1/x/'; DROP TABLE scan; --/scan"
    messages = [SetAside(hostile, "not JSON", b"\x00" * 5000)] * (SET_ASIDE_ROWS + 50)

    storage.store([], NOW, messages)

    assert len(storage.set_asides(2 * SET_ASIDE_ROWS)) == SET_ASIDE_ROWS
    assert storage.set_asides(1) == [(NOW, hostile, "not JSON", 5000)]


def test_hostile_text_stays_text(storage: Storage) -> None:
    storage.store([of(a_scan(1, trip="t-1"), unit="x'--")], NOW)

    assert storage.units()[0].unit == "x'--"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "storage.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(StorageError, match=r"storage\.db: cannot open"):
        Storage(tmp_path / "storage.db")
    with pytest.raises(StorageError, match="cannot open"):
        Storage(tmp_path / "missing" / "storage.db")


def test_a_committed_batch_survives_a_kill(database_url: str) -> None:
    code = """
import os, signal, sys
from edge.storage.storage import Storage
from tests.fakes import a_scan, came
storage = Storage(sys.argv[1])
storage.store([came("a", "u", *map(a_scan, range(1, 101)))], "now")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, database_url], check=False)

    storage = Storage(database_url)
    assert storage.count() == 100
    storage.close()


def put(storage: Storage, *seqs: int, unit: str = "cong-1", now: str = NOW) -> None:
    storage.store([of(a_scan(seq), unit) for seq in seqs], now)


def test_doubles_are_counted_for_their_unit_and_never_as_repeats(storage: Storage) -> None:
    first, second = a_scan(1), a_scan(1)
    storage.store([of(first), of(second), of(a_scan(1), "cong-2")], NOW)
    storage.store([of(first), of(a_scan(2)), of(a_scan(2)), of(second)], NOW)

    one, two = storage.units()
    assert (one.doubles, one.repeats, one.doubled) == (2, 2, NOW)
    assert (two.doubles, two.repeats, two.doubled) == (0, 0, None)
    assert storage.count() == 5


def test_doubles_survive_a_restart(storage: Storage, database_url: str) -> None:
    put(storage, 1)
    put(storage, 1)
    storage.close()

    again = Storage(database_url)
    assert again.units()[0].doubles == 1
    again.close()


def test_a_unit_that_was_set_up_anew_begins_an_epoch_and_is_followed(storage: Storage) -> None:
    old, new = "a" * 16, "b" * 16
    storage.store_reports(by(a_status(epoch=old, birth=9_000_001)), "2021-07-01T00:00:00.000Z")
    storage.store([of(a_scan(1, old)), of(a_scan(2, old))], "2021-07-01T00:00:00.000Z")

    storage.store_reports(by(a_status(epoch=new, boot="c" * 32, place="cho-2")), NOW)
    storage.store([of(a_scan(1, new))], NOW)

    (row,) = storage.units()
    assert (row.epoch, row.place, row.state) == (new, "cho-2", "online")
    assert list(row.held) == [old, new]
    assert row.begun[new] == NOW
    assert (row.doubles, row.takeovers, row.gaps) == (0, 0, [])

    # The last will of the old life comes late.
    storage.store_reports(by(a_status(epoch=old, birth=9_000_001, state="offline")), NOW)
    assert storage.units()[0].state == "online"


def test_two_units_that_take_over_from_each_other_are_noticed(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    # A copied card: the same epoch, the same births, but two machines and so two boots.
    def online(boot: str, birth: int) -> int:
        storage.store_reports(by(a_status(boot=boot * 32, birth=birth)), NOW)
        return storage.units()[0].takeovers

    assert online("a", 1) == 0
    assert online("b", 1) == 0
    assert online("a", 2) == 1
    assert online("b", 2) == 2
    assert online("b", 3) == 2
    assert storage.units()[0].taken_over == NOW
    assert "two units run under one name" in caplog.text


def test_two_units_with_epochs_of_their_own_are_noticed_on_one_machine_too(
    storage: Storage,
) -> None:
    for birth in (1, 2):
        for epoch in ("a", "b"):
            storage.store_reports(by(a_status(epoch=epoch * 16, birth=birth)), NOW)

    assert storage.units()[0].takeovers == 2


def test_restarts_and_messages_that_a_broker_delivers_twice_are_no_second_unit(
    storage: Storage,
) -> None:
    life = [a_status(boot=f"{n:032x}", birth=n * 1_000_000 + s) for n in range(50) for s in (1, 2)]
    for message in life:
        storage.store_reports(by(message), NOW)
    for message in life[-4:]:
        storage.store_reports(by(message) + by(message, retained=True), NOW)

    assert storage.units()[0].takeovers == 0


def test_a_unit_is_seen_when_it_speaks_and_not_when_others_speak_of_it(storage: Storage) -> None:
    def seen() -> str | None:
        return storage.units()[0].seen

    storage.store_reports(by(a_status(), retained=True), "1")
    assert seen() is None
    storage.store([of(a_scan(1))], "2", by_hand=True)
    assert (seen(), storage.units()[0].last_scan) == (None, "2")
    storage.store_reports(by(a_health()), "3")
    storage.store_reports(by(a_status(state="offline", birth=2)), "4")
    assert (seen(), storage.units()[0].state) == ("3", "offline")
    storage.store([of(a_scan(2))], "5")
    assert seen() == "5"


def test_the_age_of_a_gap_is_that_of_the_first_scan_above_it(storage: Storage) -> None:
    def gaps(before: str) -> list[tuple[int, int, str]]:
        return [(gap.first, gap.last, gap.since) for gap in storage.gaps_to_ask_for(before)]

    put(storage, 1, 2, now="10")
    put(storage, 8, now="20")
    assert gaps("19") == []
    assert gaps("20") == [(3, 7, "20")]

    put(storage, 5, now="30")
    assert gaps("20") == [(3, 4, "20"), (6, 7, "20")]
    put(storage, 9, 4, 6, now="40")
    assert gaps("99") == [(3, 3, "20"), (7, 7, "20")]
    put(storage, 3, 7, now="50")
    assert gaps("99") == []


def test_only_units_that_can_still_have_a_scan_are_asked(storage: Storage) -> None:
    put(storage, 3)
    put(storage, 3, unit="cong-2")
    put(storage, 3, unit="cong-3")
    storage.store_reports(by(a_status(state="offline"), "cong-2"), NOW)
    storage.store_reports(by(a_status(epoch="f" * 16), "cong-3"), NOW)

    assert [gap.unit for gap in storage.gaps_to_ask_for(NOW)] == ["cong-1"]


def test_the_key_of_a_unit_is_kept(storage: Storage) -> None:
    assert storage.unit_key("cong-1") is None
    storage.keep_unit_key("pleiku", "cong-1", b"k" * 32)
    put(storage, 1)
    assert storage.unit_key("cong-1") == b"k" * 32
    storage.keep_unit_key("pleiku", "cong-1", b"n" * 32)
    assert storage.unit_key("cong-1") == b"n" * 32


def test_random_arrivals_leave_the_numbers_held_exactly(storage: Storage) -> None:
    chance = random.Random(12)
    scans = [a_scan(seq) for seq in range(1, 301)]
    sent: list[Scan] = []
    for _ in range(60):
        batch = chance.sample(scans, chance.randrange(1, 12))
        sent += batch
        storage.store([of(scan) for scan in batch], NOW)

    (row,) = storage.units()
    there = {scan.seq for scan in sent}
    assert {n for first, last in row.held["e" * 16] for n in range(first, last + 1)} == there
    assert row.repeats == len(sent) - len(there)
    assert {n for _, first, last in row.gaps for n in range(first, last + 1)} == set(
        range(1, max(there))
    ) - there


def test_two_processes_may_open_a_new_storage_at_once(database_url: str) -> None:
    code = (
        "import sys; from edge.storage.storage import Storage;"
        "sys.stdin.read(1); Storage(sys.argv[1]).close()"
    )
    opening = [
        subprocess.Popen([sys.executable, "-c", code, database_url], stdin=subprocess.PIPE)
        for _ in range(3)
    ]
    # All have Python and our modules loaded by the time the last is told to go on.
    for process in opening:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.close()

    assert [process.wait(60) for process in opening] == [0, 0, 0]
