"""The unit's boots: a scan from before the clock was set gets its true time, even much later."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from edge.clock import utc_text
from edge.messages import ClockSource
from edge.scanner.boots import KEEP_BOOTS, RETRY_MS, Boots
from tests.fakes import FakeClock, a_scan


def a_clock() -> FakeClock:
    """As after a night without power: the time at which the unit was last on."""
    clock = FakeClock(boot="a" * 32)
    clock.wrong_by_s = -36_000.0
    return clock


def scanned(clock: FakeClock) -> dict[str, Any]:
    now = clock.now()
    return {"at": now.at, "boot": now.boot, "uptime_ms": now.uptime_ms, "clock": now.clock}


def true_time(clock: FakeClock) -> str:
    return utc_text(1_625_189_400 + clock.seconds)


def test_a_scan_from_before_the_clock_was_set_is_dated_afterwards(tmp_path: Path) -> None:
    clock, boots = a_clock(), Boots(tmp_path / "boots.json")
    scan, made = a_scan(**scanned(clock)), true_time(clock)
    boots.note(clock.now())
    assert boots.corrected(scan) is None

    clock.advance(600)
    clock.synchronized = True
    boots.note(clock.now())

    assert boots.corrected(scan) == made
    assert scan.at != made


def test_a_scan_whose_clock_knew_is_not_corrected(tmp_path: Path) -> None:
    clock, boots = a_clock(), Boots(tmp_path / "boots.json")
    clock.synchronized = True
    boots.note(clock.now())

    assert boots.corrected(a_scan(**scanned(clock))) is None


def test_boots_are_remembered_over_power_cuts(tmp_path: Path) -> None:
    clock, boots = a_clock(), Boots(tmp_path / "boots.json")
    scan, made = a_scan(**scanned(clock)), true_time(clock)
    clock.synchronized = True
    boots.note(clock.now())

    clock.boot_again("b" * 32)
    later = Boots(tmp_path / "boots.json")
    unknown = a_scan(**scanned(clock))

    assert later.corrected(scan) == made
    assert later.corrected(unknown) is None


def test_the_file_is_written_once_a_boot(tmp_path: Path) -> None:
    clock, path = a_clock(), tmp_path / "boots.json"
    boots = Boots(path)
    for _ in range(5):
        boots.note(clock.now())
    assert not path.exists()

    clock.synchronized = True
    boots.note(clock.now())
    written = path.stat().st_ino
    for _ in range(100):
        clock.advance(60)
        boots.note(clock.now())

    assert path.stat().st_ino == written


def test_a_better_source_takes_the_place_of_a_worse_one(tmp_path: Path) -> None:
    clock, path = a_clock(), tmp_path / "boots.json"
    boots = Boots(path)
    scan, made = a_scan(**scanned(clock)), true_time(clock)
    by_rtc = FakeClock(boot=clock.boot)
    by_rtc.wrong_by_s = -7.0
    boots.note(replace(by_rtc.now(), clock="rtc"))
    assert boots.corrected(scan) != made

    clock.synchronized = True
    boots.note(clock.now())
    boots.note(replace(by_rtc.now(), clock="rtc"))

    assert boots.corrected(scan) == made
    assert Boots(path).corrected(scan) == made
    assert len(Boots(path)) == 1


@pytest.mark.parametrize(("worse", "better"), list(combinations(["rtc", "gnss", "ntp"], 2)))
def test_each_source_dates_scans_until_a_better_one_does(
    tmp_path: Path, worse: ClockSource, better: ClockSource
) -> None:
    clock, boots = a_clock(), Boots(tmp_path / "boots.json")
    scan, made = a_scan(**scanned(clock)), true_time(clock)
    off = FakeClock(boot=clock.boot)
    off.wrong_by_s = -7.0
    boots.note(replace(off.now(), clock="none"))
    assert boots.corrected(scan) is None

    boots.note(replace(off.now(), clock=worse))
    by_worse = boots.corrected(scan)
    clock.synchronized = True
    boots.note(replace(clock.now(), clock=better))
    boots.note(replace(off.now(), clock=worse))

    assert by_worse not in (None, made)
    assert boots.corrected(scan) == made


def test_only_the_last_boots_are_kept(tmp_path: Path) -> None:
    clock, boots = a_clock(), Boots(tmp_path / "boots.json")
    scans = []
    for number in range(KEEP_BOOTS + 10):
        clock.boot_again(f"{number:032x}")
        scans.append(a_scan(**scanned(clock)))
        clock.synchronized = True
        boots.note(clock.now())
        clock.advance(60)

    for held in (boots, Boots(tmp_path / "boots.json")):
        assert len(held) == KEEP_BOOTS
        assert [held.corrected(scan) is None for scan in scans] == [
            number < 10 for number in range(KEEP_BOOTS + 10)
        ]
    assert (tmp_path / "boots.json").stat().st_size < 50_000


def test_a_power_cut_at_any_point_of_a_write_leaves_what_was(tmp_path: Path) -> None:
    clock, path = a_clock(), tmp_path / "boots.json"
    scan = a_scan(**scanned(clock))
    clock.synchronized = True
    Boots(path).note(clock.now())
    before = path.read_bytes()
    clock.boot_again("b" * 32)
    clock.synchronized = True
    Boots(path).note(clock.now())
    after = path.read_bytes()

    # Until it is renamed, the new file is there in part or whole, beside the old one.
    for end in range(len(after) + 1):
        path.write_bytes(before)
        (tmp_path / "boots.json.new").write_bytes(after[:end])
        boots = Boots(path)
        assert boots.corrected(scan) is not None
        assert len(boots) == 1
    boots.note(clock.now())
    assert len(Boots(path)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\x00" * 4096,
        b"\xff\xfe",
        b'{"_default": 7}',
        b'{"_default": {"x": {}}}',
        b'{"_default": {"1": {"number": 1}}}',
        b'{"_default": {"1": {"number": 1, "boot": "x", "offset_ms": 1, "source": "ntp"}}}',
    ],
)
def test_a_damaged_file_is_set_aside_and_begun_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "boots.json"
    path.write_bytes(content)
    clock = a_clock()
    scan = a_scan(**scanned(clock))

    boots = Boots(path)
    clock.synchronized = True
    boots.note(clock.now())

    assert boots.corrected(scan) is not None
    assert Boots(path).corrected(scan) is not None
    assert (tmp_path / "boots.json.damaged").read_bytes() == content
    assert "set aside" in caplog.text


def test_a_disk_that_fails_stops_no_scan_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    clock, boots = a_clock(), Boots(folder / "boots.json")
    scan = a_scan(**scanned(clock))
    clock.synchronized = True
    for _ in range(10):
        boots.note(clock.now())

    assert boots.corrected(scan) is not None
    assert caplog.text.count("cannot be written") == 1

    folder.mkdir()
    clock.advance(RETRY_MS / 1000)
    boots.note(clock.now())
    assert Boots(folder / "boots.json").corrected(scan) is not None


def test_a_clock_that_claims_nonsense_is_not_believed(tmp_path: Path) -> None:
    clock, boots = a_clock(), Boots(tmp_path / "boots.json")
    moment = replace(clock.now(), clock="ntp", at="1970-01-01T00:00:05.000Z")
    boots.note(moment)

    assert len(boots) == 0
