"""What a unit cannot deliver within the retention is erased, with a receipt, by a set clock."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.chain import entries, verify
from edge.clock import Moment, utc_text
from edge.scanner.outbox import Outbox
from edge.scanner.retention import RECEIPTS, Retention
from tests.fakes import FakeClock, a_scan

NOW = 1_625_189_400 + 1000  # where FakeClock begins
DAY = 86_400


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox", max_bytes=10**9, keep_free_bytes=0) as outbox:
        yield outbox


def put(outbox: Outbox, days_ago: float, clock: str = "ntp", boot: str = "a" * 32) -> None:
    at = utc_text(NOW - days_ago * DAY)
    outbox.put(a_scan(outbox.next_seq, outbox.epoch, at=at, clock=clock, boot=boot))


def erase(outbox: Outbox, folder: Path, *, synchronized: bool = True) -> list[int]:
    clock = FakeClock()
    clock.synchronized = synchronized
    Retention(outbox, folder, clock, days=21).step()
    return [scan.seq for scan in outbox.oldest(100)]


def test_scans_past_their_time_are_erased_with_a_receipt(outbox: Outbox, tmp_path: Path) -> None:
    for days_ago in (30, 22, 20, 1):
        put(outbox, days_ago)

    assert erase(outbox, tmp_path) == [3, 4]
    (receipt,) = entries(tmp_path / RECEIPTS)
    assert receipt.facts["ranges"] == [[1, 2]]
    assert receipt.facts["scans"] == 2
    assert erase(outbox, tmp_path) == [3, 4]
    assert verify(tmp_path / RECEIPTS).entries == 1


def test_a_scan_without_a_time_goes_with_a_later_one_and_not_before(
    outbox: Outbox, tmp_path: Path
) -> None:
    put(outbox, 18_000, "none")
    assert erase(outbox, tmp_path) == [1]
    put(outbox, 25)
    put(outbox, 18_000, "none")

    assert erase(outbox, tmp_path) == [3]


def test_one_scan_with_a_wrong_clock_takes_none_of_the_days_before_along(
    outbox: Outbox, tmp_path: Path
) -> None:
    put(outbox, 25)
    put(outbox, 3)
    put(outbox, 18_000, "none")
    # A new hardware clock was put in, and begins with the year of its maker.
    put(outbox, 7_000, "rtc")
    put(outbox, 1)

    assert erase(outbox, tmp_path) == [2, 3, 4, 5]


def test_a_scan_of_the_future_keeps_none_of_the_old(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, -400, "rtc")
    put(outbox, 25)
    put(outbox, 1)

    assert erase(outbox, tmp_path) == [3]


def test_receipts_that_a_card_has_spoilt_keep_no_scan_for_ever(
    outbox: Outbox, tmp_path: Path
) -> None:
    put(outbox, 30)
    erase(outbox, tmp_path)
    spoilt = b"\0" * 300 + b"\n"
    (tmp_path / RECEIPTS).write_bytes(spoilt)
    put(outbox, 25)
    put(outbox, 1)

    assert erase(outbox, tmp_path) == [3]
    assert (tmp_path / f"{RECEIPTS}.damaged").read_bytes() == spoilt
    (receipt,) = entries(tmp_path / RECEIPTS)
    assert receipt.facts["ranges"] == [[2, 2]]


def test_a_unit_whose_clock_is_not_set_erases_nothing(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, 30)

    assert erase(outbox, tmp_path, synchronized=False) == [1]
    assert not (tmp_path / RECEIPTS).exists()


class HardwareClock(FakeClock):
    """A unit without a network, whose hardware clock is so many days ahead."""

    def __init__(self, days: float) -> None:
        super().__init__()
        self._ahead_s = days * DAY

    def now(self) -> Moment:
        at = utc_text(NOW + self._ahead_s)
        return Moment(at=at, boot=self.boot, uptime_ms=1000, clock="rtc")


@pytest.mark.parametrize("clock", ["ntp", "rtc"])
def test_a_hardware_clock_that_is_years_ahead_erases_nothing(
    outbox: Outbox, tmp_path: Path, clock: str
) -> None:
    for days_ago in (3, 2, 1):
        put(outbox, days_ago, clock)
    put(outbox, 18_000, "none")

    Retention(outbox, tmp_path, HardwareClock(5 * 365), days=21).step()
    assert [scan.seq for scan in outbox.oldest(100)] == [1, 2, 3, 4]
    # One that is right does.
    Retention(outbox, tmp_path, HardwareClock(20), days=21).step()
    assert [scan.seq for scan in outbox.oldest(100)] == [3, 4]


def test_what_waited_for_a_better_clock_is_erased_by_it(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, 200)
    put(outbox, 1)
    Retention(outbox, tmp_path, HardwareClock(0), days=21).step()
    assert [scan.seq for scan in outbox.oldest(100)] == [1, 2]

    assert erase(outbox, tmp_path) == [2]


@pytest.mark.parametrize("clock", ["rtc", "ntp", "none"])
def test_scans_of_this_boot_are_as_old_as_it_is_whatever_a_clock_says(
    outbox: Outbox, tmp_path: Path, clock: str
) -> None:
    # A hardware clock that was a month behind until the network set it, or a step into a year to
    # come: what was made minutes ago is not past its time.
    unit = FakeClock()
    put(outbox, 40)
    put(outbox, 30, clock, boot=unit.boot)
    put(outbox, 29, "ntp")

    assert erase(outbox, tmp_path) == [2, 3]
    unit.synchronized = True
    unit.advance(22 * DAY)
    Retention(outbox, tmp_path, unit, days=21).step()
    assert outbox.pending == 0


def test_a_long_backlog_is_erased_in_parts(outbox: Outbox, tmp_path: Path) -> None:
    for _ in range(1500):
        put(outbox, 30)
    put(outbox, 1)

    assert erase(outbox, tmp_path) == [1501]
    assert sum(entry.facts["scans"] for entry in entries(tmp_path / RECEIPTS)) == 1500
