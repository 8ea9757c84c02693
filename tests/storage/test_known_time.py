"""By which time is erased: what each kind of machine at the centre knows, and what it does not."""

import random

import pytest

from edge.clock import Moment, Source, utc_seconds, utc_text
from edge.storage.keeping.known_time import ASTRAY_S, OFF_S, Known, KnownTime, known_times
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.fakes import a_health, a_scan, came

DAY, HOUR, YEAR = 86_400.0, 3600.0, 365 * 86_400.0
#: What time it is in truth when a test begins.
TRUE = utc_seconds("2021-07-02T01:00:00.000Z")


class Machine:
    """A machine of the centre: its clock, what has set it, and when it is on."""

    def __init__(self, storage: Storage, source: Source, name: str = "collector") -> None:
        self.time = KnownTime(storage.database, name)
        self.storage, self.source, self.name = storage, source, name
        self.true, self.ahead_s = TRUE, 0.0
        self.boots, self.on_for_s = 1, 60.0

    def goes_on(self, seconds: float) -> None:
        self.true += seconds
        self.on_for_s += seconds

    def is_off(self, seconds: float, *, ahead_s: float | None = None) -> None:
        """It is switched on again after *seconds*, with a clock that is so much ahead then."""
        self.true += seconds
        self.boots, self.on_for_s = self.boots + 1, 20.0
        if ahead_s is not None:
            self.ahead_s = ahead_s

    def moment(self) -> Moment:
        return Moment(
            at=utc_text(self.true + self.ahead_s),
            boot=f"{self.boots:032x}",
            uptime_ms=round(self.on_for_s * 1000),
            clock=self.source,
        )

    def look(self) -> Known:
        return self.time.look(self.moment())

    def erases_by(self) -> float:
        """By which time, in seconds after the truth; it looks first."""
        return utc_seconds(self.look().erases_by) - self.true

    def hears(self, unit: str, off_s: float = 0.0, clock: str = "ntp") -> None:
        """A unit says how it is, by a clock that is off by so much."""
        health = a_health(at=utc_text(self.true + off_s), clock=clock)
        self.storage.store_reports([Report("pleiku", unit, health)], self.moment().at)


def test_a_clock_that_a_time_server_or_a_receiver_has_set_is_believed_wherever_it_goes(
    storage: Storage,
) -> None:
    for source in ("ntp", "gnss"):
        machine = Machine(storage, source, name=source)
        for off_s in (0.0, 90 * DAY, 3 * YEAR):
            machine.is_off(off_s)
            assert machine.erases_by() == 0
            assert machine.look().trouble == ""
        # Also back, where it was wrong before.
        machine.true -= YEAR
        assert machine.erases_by() == 0


def test_a_market_without_a_network_erases_in_due_time_by_its_hardware_clock(
    storage: Storage,
) -> None:
    pc = Machine(storage, "rtc")
    pc.look()
    for day in range(90):
        # Off at night, and for a week at Tết.
        pc.is_off(12 * HOUR if day != 40 else OFF_S - 3 * HOUR)
        for _ in range(6):
            assert pc.erases_by() == 0
            pc.goes_on(2 * HOUR)
    assert pc.look().trouble == ""


@pytest.mark.parametrize("jump_s", [OFF_S + HOUR, 30 * DAY, 10 * YEAR])
def test_a_hardware_clock_that_is_far_ahead_takes_nothing_with_it(
    storage: Storage, jump_s: float
) -> None:
    pc = Machine(storage, "rtc")
    pc.look()
    pc.goes_on(HOUR)
    pc.look()
    pc.is_off(HOUR, ahead_s=jump_s)

    known = pc.look()
    assert (known.trouble, known.held_back) == ("ahead", True)
    # Days still go, by what is known: an hour late for each that it was off, and never early.
    for _ in range(48):
        assert pc.erases_by() == pytest.approx(-HOUR, abs=1)
        pc.goes_on(HOUR)
    pc.look()
    pc.is_off(HOUR)
    assert pc.erases_by() == pytest.approx(-2 * HOUR, abs=1)

    # Put right by somebody who sets the clock, or by a time server.
    pc.ahead_s = 0.0
    assert pc.look().trouble == ""
    assert pc.erases_by() == 0


def test_a_person_vouches_after_a_long_pause(storage: Storage) -> None:
    pc = Machine(storage, "rtc")
    pc.look()
    pc.is_off(20 * DAY)
    known = pc.look()
    assert known.trouble == "ahead"
    assert "20 ngày" in known.says[0]
    assert "20 days ahead" in known.says[1]

    pc.time.vouch(pc.moment())

    assert pc.look().vouched == "person"
    assert pc.erases_by() == 0
    pc.goes_on(HOUR)
    assert pc.erases_by() == 0


def test_a_machine_without_any_clock_erases_nothing_until_something_vouches(
    storage: Storage,
) -> None:
    # A Pi without a network, a container, a machine in a cloud that something else keeps in time.
    pi = Machine(storage, "none")
    for ahead_s in (0.0, -3 * YEAR, 3 * YEAR):
        pi.ahead_s = ahead_s
        known = pi.look()
        assert (known.erases_by, known.trouble, known.held_back) == ("", "nobody", True)
    assert known.says[1].startswith("nothing has set")

    pi.ahead_s = 0.0
    pi.time.vouch(pi.moment())
    # From then on it goes on, also with the time that systemd has kept over a restart.
    for _ in range(100):
        pi.goes_on(DAY)
        assert pi.erases_by() == 0
    pi.is_off(DAY, ahead_s=-DAY)
    assert pi.erases_by() == -DAY
    pi.ahead_s = 5 * YEAR
    assert pi.erases_by() == pytest.approx(-DAY, abs=60)


def test_a_virtual_machine_that_was_stopped_is_late_and_never_early(storage: Storage) -> None:
    vm = Machine(storage, "ntp")
    vm.look()
    # Its host stops it for three days; the clock goes on where it was, and the mark is too old.
    vm.true += 3 * DAY
    vm.ahead_s, vm.source = -3 * DAY, "rtc"
    vm.on_for_s += HOUR
    assert vm.erases_by() <= -3 * DAY
    vm.ahead_s = 0.0
    assert vm.erases_by() == 0
    assert vm.look().trouble == ""


def test_a_clock_that_falls_behind_is_told_and_what_was_vouched_for_is_remembered(
    storage: Storage,
) -> None:
    pc = Machine(storage, "ntp")
    pc.look()
    pc.source = "none"
    pc.is_off(HOUR, ahead_s=-20 * YEAR)
    known = pc.look()
    assert (known.trouble, known.held_back) == ("behind", False)
    assert pc.erases_by() == -20 * YEAR, "late, for want of anything better"
    # Whoever sets the clock by hand need not vouch for it.
    pc.ahead_s = 0.0
    assert pc.erases_by() == 0
    # And one that is set wrongly by hand is none to go by.
    pc.ahead_s = YEAR
    assert pc.erases_by() <= 0


def test_a_wrong_clock_that_nobody_ever_vouched_for_is_not_remembered(storage: Storage) -> None:
    pc = Machine(storage, "rtc")
    pc.ahead_s = 10 * YEAR
    pc.look()
    # Somebody sees it and sets it; later it is wrong again, by less.
    pc.ahead_s = 0.0
    assert pc.erases_by() == 0
    # Which of the two times was right nobody has said yet, and so it stays told.
    assert (pc.look().trouble, pc.look().settled) == ("behind", False)
    pc.is_off(HOUR, ahead_s=2 * YEAR)
    assert pc.erases_by() <= 0
    pc.ahead_s = 0.0
    pc.time.vouch(pc.moment())
    assert (pc.look().trouble, pc.look().settled) == ("", True)


def test_units_with_clocks_of_their_own_are_believed_before_a_new_machine_is(
    storage: Storage,
) -> None:
    pc = Machine(storage, "rtc")
    pc.ahead_s = 100 * DAY
    pc.look()
    pc.hears("cong-1")
    pc.hears("cong-2", off_s=-300.0, clock="rtc")
    pc.hears("cong-3", off_s=3 * YEAR, clock="gnss")
    pc.hears("cong-4", off_s=-YEAR, clock="none")
    pc.goes_on(60)
    known = pc.look()
    assert known.trouble == "units"
    assert "100 days earlier" in known.says[1]
    assert -ASTRAY_S < pc.erases_by() <= 0

    # They are off at night; what they said goes on.
    pc.goes_on(8 * HOUR)
    assert pc.look().trouble == "units"
    pc.is_off(8 * HOUR)
    assert pc.erases_by() <= 0

    # Unless a person knows better.
    pc.ahead_s = 0.0
    pc.hears("cong-1", off_s=-5 * DAY)
    assert pc.look().trouble == "units"
    pc.time.vouch(pc.moment())
    assert pc.look().trouble == ""


def test_one_unit_among_many_moves_nothing(storage: Storage) -> None:
    pc = Machine(storage, "rtc")
    pc.look()
    for number in range(10):
        pc.hears(f"cong-{number}")
    for off_s in (-YEAR, YEAR):
        pc.hears("bi-cuop", off_s=off_s)
        pc.goes_on(10)
        assert pc.look().trouble == ""
        assert pc.erases_by() == 0


def test_an_update_goes_by_when_something_came_in_last(storage: Storage) -> None:
    pc = Machine(storage, "rtc")
    storage.store([came("pleiku", "cong-1", a_scan(1, clock="none"))], pc.moment().at)
    pc.is_off(HOUR, ahead_s=YEAR)

    known = pc.look()

    assert known.trouble == "ahead"
    assert pc.erases_by() <= 0


def test_each_collector_knows_for_itself(storage: Storage) -> None:
    right, wrong = Machine(storage, "ntp", "a"), Machine(storage, "rtc", "b")
    wrong.look()
    wrong.is_off(0, ahead_s=YEAR)

    assert right.erases_by() == 0
    assert wrong.erases_by() == pytest.approx(0, abs=60)
    with storage.database.reading() as connection:
        assert [(k.collector, k.trouble) for k in known_times(connection)] == [
            ("a", ""),
            ("b", "ahead"),
        ]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_clock_does_it_gains_no_more_than_a_week_at_a_time(
    storage: Storage, seed: int
) -> None:
    chance = random.Random(seed)
    machine = Machine(storage, "ntp")
    machine.look()
    most_early = 0.0
    for _ in range(150):
        machine.source = chance.choice(["rtc", "none", "rtc", "ntp"])
        if machine.source == "ntp":
            machine.ahead_s = most_early = 0.0
        what = chance.random()
        if what < 0.5:
            machine.goes_on(chance.uniform(60, 5 * DAY))
        elif what < 0.8:
            machine.is_off(chance.uniform(60, 20 * DAY))
        elif machine.source != "ntp":
            # It comes up with a time that has nothing to do with the true one.
            machine.is_off(60, ahead_s=chance.uniform(-YEAR, YEAR))
        early = machine.erases_by()
        assert early <= most_early + OFF_S
        most_early = max(most_early, early)
