"""What a machine knows of the time, and what it does not claim to know."""

import os
import time
from pathlib import Path

import pytest

from edge.clock import (
    LONGEST_UPTIME_MS,
    MOVED_S,
    RTC_AGREES_S,
    TRUST,
    SystemClock,
    boot_offset_ms,
    boot_time,
    utc_seconds,
    utc_text,
)


class Machine:
    """The files by which a kernel and systemd say what set the clock."""

    def __init__(self, folder: Path) -> None:
        self.synchronized = folder / "synchronized"
        self.gnss = folder / "gnss"
        self.rtc = folder / "rtc0"
        self.rtc.mkdir()
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("ed76b09e-ae33-483d-a47b-b7d70fe3a49d\n")

    def has_rtc(self, hctosys: str, behind_s: float = 0.0) -> None:
        (self.rtc / "hctosys").write_text(f"{hctosys}\n")
        (self.rtc / "since_epoch").write_text(f"{int(time.time() - behind_s)}\n")

    def clock(self) -> SystemClock:
        return SystemClock(self.synchronized, self.rtc, self.boot_id, self.gnss)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_clock_that_nothing_has_set_says_so(machine: Machine) -> None:
    moment = machine.clock().now()

    assert moment.clock == "none"
    assert moment.boot == "ed76b09eae33483da47bb7d70fe3a49d"
    assert abs(utc_seconds(moment.at) - time.time()) < 60


def test_a_synchronisation_is_noticed_while_the_service_runs(machine: Machine) -> None:
    clock = machine.clock()
    assert clock.now().clock == "none"

    machine.synchronized.touch()

    assert clock.now().clock == "ntp"


def test_a_clock_that_is_being_set_vouches_for_no_time_from_before(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, right = machine.clock(), 1_625_189_400.0
    wall = [9.0]

    def time_just_before_it_is_set() -> float:
        said, wall[0] = wall[0], right
        if said != right:
            machine.synchronized.touch()
            os.utime(machine.synchronized, (right, right))
        return said

    monkeypatch.setattr("edge.clock.time.time", time_just_before_it_is_set)
    moment = clock.now()

    assert moment.clock == "none" or moment.at == "2021-07-02T01:30:00.000Z"
    assert (clock.now().clock, clock.now().at) == ("ntp", "2021-07-02T01:30:00.000Z")


def test_a_hardware_clock_that_set_ours_is_named(machine: Machine) -> None:
    machine.has_rtc("1")
    assert machine.clock().now().clock == "rtc"

    machine.synchronized.touch()
    assert machine.clock().now().clock == "ntp"


def test_of_several_sources_the_one_to_believe_most_is_named(machine: Machine) -> None:
    machine.has_rtc("1")
    clock = machine.clock()
    seen = [clock.now().clock]
    for file in (machine.gnss, machine.synchronized):
        file.touch()
        seen.append(clock.now().clock)
    machine.synchronized.unlink()
    seen.append(clock.now().clock)

    assert seen == ["rtc", "gnss", "ntp", "gnss"]
    assert sorted(TRUST, key=TRUST.__getitem__) == ["none", "rtc", "gnss", "ntp"]


@pytest.mark.parametrize("moved", ["ahead", "back"])
def test_a_clock_that_was_moved_after_a_time_server_had_set_it_is_not_the_servers(
    machine: Machine, moved: str
) -> None:
    machine.has_rtc("1")
    clock = machine.clock()
    on_for_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    for mark, source in ((machine.gnss, "gnss"), (machine.synchronized, "ntp")):
        mark.touch()
        assert clock.now().clock == source
        # As the clock sees it, that was long before this boot, or is yet to come.
        off_s = on_for_s + MOVED_S + 600 if moved == "ahead" else -MOVED_S - 600
        os.utime(mark, (time.time() - off_s,) * 2)
        assert clock.now().clock == "rtc"
        # It is set again.
        mark.touch()
        assert clock.now().clock == source
        mark.unlink()


def test_the_mark_of_a_time_server_may_be_as_old_as_the_boot(machine: Machine) -> None:
    machine.synchronized.touch()
    os.utime(machine.synchronized, (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + 1,) * 2)

    assert machine.clock().now().clock == "ntp"


@pytest.mark.parametrize(
    ("hctosys", "behind_s"),
    [("0", 0.0), ("", 0.0), ("1", 50 * 365 * 86_400.0), ("1", RTC_AGREES_S + 60)],
)
def test_a_hardware_clock_that_did_not_set_ours_is_not_believed(
    machine: Machine, hctosys: str, behind_s: float
) -> None:
    # Without a battery it begins at 1970, and systemd moves our clock to when we were last on.
    machine.has_rtc(hctosys, behind_s)

    assert machine.clock().now().clock == "none"


def test_the_moment_of_every_boot_is_cheap(machine: Machine) -> None:
    clock = machine.clock()
    began = time.process_time()
    for _ in range(1000):
        clock.now()

    assert time.process_time() - began < 0.25


def test_the_beginning_of_a_boot_tells_the_time_of_each_moment_in_it() -> None:
    offset = boot_offset_ms("2021-07-02T01:30:00.000Z", 60_000)

    assert offset is not None
    assert boot_time(offset, 0) == "2021-07-02T01:29:00.000Z"
    assert boot_time(offset, 61_001) == "2021-07-02T01:30:01.001Z"


@pytest.mark.parametrize(
    ("at", "uptime_ms"),
    [
        ("2021-02-30T01:30:00.000Z", 0),
        ("0000-01-01T00:00:00.000Z", 0),
        ("9999-12-31T23:59:59.999Z", 0),
        ("1970-01-01T00:00:01.000Z", 2000),
        ("2021-07-02T01:30:00.000Z", 2**53),
    ],
)
def test_a_boot_that_cannot_have_been_is_not_believed(at: str, uptime_ms: int) -> None:
    assert boot_offset_ms(at, uptime_ms) is None
    assert boot_time(1_625_189_400_000, LONGEST_UPTIME_MS + 1) is None


def test_text_and_seconds_come_back_as_they_went() -> None:
    for ms in (0, 1, 999, 1_625_189_400_123, 4_102_444_799_999):
        assert round(utc_seconds(utc_text(ms / 1000)) * 1000) == ms
