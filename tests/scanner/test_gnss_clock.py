"""The clock by a GPS receiver: the scanner asks, and a service sets it that believes little."""

import json
import os
from pathlib import Path

import pytest

from edge.clock import Moment, utc_seconds, utc_text
from edge.errors import ConfigError
from edge.scanner.__main__ import main
from edge.scanner.clock_setting import YEARS_S, set_clock
from edge.scanner.gnss_clock import ASK_S, CLOCK, FIXES, GnssClock
from edge.scanner.gps import Fix
from edge.scanner.update.record import Record, record_file
from tests.fakes import FakeClock


class Machine:
    """A machine whose clock is an hour behind, with a folder under /run."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.clock.wrong_by_s = -3600.0
        self.request = folder / CLOCK
        self.synchronized, self.mark = folder / "ntp", folder / "gnss" / "synchronized"
        self.updates = folder / "edge-update"
        self.updates.mkdir()
        self.gnss = GnssClock(self.clock, folder)
        self.set_to: list[float] = []
        self.software = self.true() - 30 * 86_400

    def true(self) -> float:
        return 1_625_189_400 + self.clock.seconds

    def fixes(self, count: int, off_s: float = 0.0) -> None:
        for _ in range(count):
            moment = self.clock.now()
            self.gnss.fix(Fix(self.true() + off_s, moment.uptime_ms, 14.0, 108.0))
            self.clock.advance(1.0)

    def set(self) -> str:
        return set_clock(
            self.clock,
            request=self.request,
            synchronized=self.synchronized,
            mark=self.mark,
            updates=self.updates,
            software=self.software,
            set_time=self.set_to.append,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_clock_that_nothing_has_set_is_set_by_gps_and_all_can_see_it(machine: Machine) -> None:
    machine.fixes(FIXES - 1)
    assert not machine.request.exists()
    machine.fixes(1)
    assert machine.request.stat().st_mode & 0o777 == 0o644
    assert "off by -3600.0 s" in machine.set()

    assert machine.set_to == [pytest.approx(machine.true(), abs=0.01)]
    assert machine.mark.exists()


def test_a_clock_that_is_right_already_is_marked_and_not_touched(machine: Machine) -> None:
    machine.clock.wrong_by_s = 0.3
    machine.fixes(FIXES)
    machine.set()

    assert machine.set_to == []
    assert machine.mark.exists()


def test_where_a_time_server_has_set_the_clock_nothing_is_asked_or_done(machine: Machine) -> None:
    machine.clock.synchronized = True
    machine.fixes(2 * FIXES, off_s=50.0)
    assert not machine.request.exists()

    machine.clock.synchronized = False
    machine.fixes(FIXES)
    machine.synchronized.touch()
    with pytest.raises(ConfigError, match="a time server"):
        machine.set()
    assert not machine.mark.exists()


def test_fixes_that_do_not_agree_set_nothing(machine: Machine) -> None:
    for number in range(5 * FIXES):
        machine.fixes(1, off_s=10.0 * (number % 2))

    assert not machine.request.exists()


def test_it_is_asked_for_again_only_after_a_while(machine: Machine) -> None:
    machine.fixes(FIXES)
    machine.request.unlink()
    machine.fixes(int(ASK_S) - FIXES)
    assert not machine.request.exists()
    machine.fixes(FIXES + 1)

    assert machine.request.exists()


def test_a_clock_that_gps_has_set_and_that_ran_away_is_set_again(machine: Machine) -> None:
    class ByGps(FakeClock):
        def now(self) -> Moment:
            moment = super().now()
            return Moment(moment.at, moment.boot, moment.uptime_ms, "gnss")

    machine.clock = ByGps()
    machine.gnss = GnssClock(machine.clock, machine.request.parent)
    machine.clock.wrong_by_s = 0.4
    machine.fixes(FIXES)
    assert not machine.request.exists()
    machine.clock.wrong_by_s = 2.0
    machine.fixes(1)

    assert machine.request.exists()


@pytest.mark.parametrize("years", [-1, -19.6, YEARS_S / (365 * 86_400) + 1])
def test_a_receiver_whose_weeks_began_anew_is_not_believed(machine: Machine, years: float) -> None:
    machine.fixes(FIXES, off_s=years * 365 * 86_400)

    with pytest.raises(ConfigError, match="time that cannot be"):
        machine.set()
    assert machine.set_to == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"boot":"' + b"c" * 32 + b'","offset_ms":1625189400000}',
        b'{"boot":"' + b"b" * 32 + b'","offset_ms":"now"}',
        b"[" * 5000,
        b"\xff",
    ],
)
def test_what_the_scanner_cannot_have_asked_is_refused(machine: Machine, content: bytes) -> None:
    machine.request.write_bytes(content)

    with pytest.raises(ConfigError):
        machine.set()
    assert machine.set_to == []


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_root_neither_follows_nor_waits_for_what_stands_in_the_requests_place(
    machine: Machine, kind: str
) -> None:
    # One that was taken over would have root read without end, or wait.
    if kind == "link":
        machine.request.symlink_to("/dev/zero")
    else:
        os.mkfifo(machine.request)

    with pytest.raises(ConfigError, match="nobody asks"):
        machine.set()


def test_the_clock_is_not_set_to_before_what_the_office_has_signed(machine: Machine) -> None:
    record_file(machine.updates).write(Record(signed_at=machine.true() - 3600))
    machine.fixes(FIXES, off_s=-2 * 86_400)
    with pytest.raises(ConfigError, match="time that cannot be"):
        machine.set()
    assert machine.set_to == []

    machine.gnss = GnssClock(machine.clock, machine.request.parent)
    machine.fixes(FIXES)
    machine.set()
    assert machine.set_to == [pytest.approx(machine.true(), abs=0.01)]


def test_nobody_asked(machine: Machine) -> None:
    with pytest.raises(ConfigError, match="nobody asks"):
        machine.set()


def test_the_request_says_when_the_boot_began(machine: Machine) -> None:
    machine.fixes(FIXES)
    asked = json.loads(machine.request.read_bytes())

    began = utc_seconds("2021-07-02T01:30:00.000Z")
    assert utc_text(asked["offset_ms"] / 1000) == utc_text(began)


@pytest.mark.parametrize(
    ("gps", "heard"), [("", False), ('[gps]\nsource = "/dev/serial0"\n', True)]
)
def test_a_scanner_without_a_receiver_cannot_have_the_clock_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gps: str, heard: bool
) -> None:
    own = tmp_path / "scanner.toml"
    own.write_text(
        '[unit]\nid = "xe-1"\narea = "pleiku"\nplace = "xe-1"\ndirection = "both"\n'
        f'tracing_key_file = "tracing.pub"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n{gps}'
        f'[outbox]\nfolder = "{tmp_path}"\n'
    )

    assert main(["clock", "--config", str(own)]) == 1

    said = capsys.readouterr().err
    # Nobody has asked here, so that is as far as it comes.
    assert ("nobody asks for the clock" in said) == heard
    assert ("no GPS receiver" in said) != heard
