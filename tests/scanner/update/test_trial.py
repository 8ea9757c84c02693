"""A trial ends with software that scans, whatever the new one is and whenever the power goes."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import UpdateError
from edge.scanner.update import trial
from edge.scanner.update.record import HELD, NEW, RESCUE, Record, record_file
from edge.scanner.update.trial import MOST_STARTS, TRIAL_S, Busy, Seen, Trial
from tests.fakes import FakeClock

OLD, GOOD, NEWER = "1.0", "1.1", "1.2"


class PowerCut(Exception):
    """The machine is off."""


class FakeUnit:
    """A machine with a dpkg and a scanner, whose power can be cut at any step."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.installed = OLD
        #: Whether the package is whole.
        self.whole = True
        self.broken: set[str] = set()
        #: Versions without frames.
        self.blind: set[str] = set()
        self.ending: set[str] = set()
        #: After so long a version does nothing but end.
        self.ends_after_s: dict[str, float] = {}
        #: For how long after its start each version that tells it lacks its broker.
        self.offline_s: dict[str, float] = {}
        self.refused = ""
        self.busy = False
        self.cleaned = 0
        self.restarted_at = 0.0
        self.steps_left = 10_000

    def step(self) -> None:
        """Something happens; the power may go."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise PowerCut

    def install(self, packages: list[Path]) -> str:
        """See Machine."""
        self.step()
        if not packages:
            return "its package is gone"
        if self.busy:
            raise Busy("another dpkg has been at work for 300 s")
        if self.refused and GOOD in packages[0].name:
            return self.refused
        self.whole = False
        self.step()
        self.installed, self.whole = packages[0].name.split("_")[1], True
        self.restarted_at = self.clock.monotonic()
        self.step()
        return ""

    def seen(self) -> Seen:
        """See Machine."""
        self.step()
        for_s = self.clock.monotonic() - self.restarted_at
        if for_s > self.ends_after_s.get(self.installed, math.inf):
            return Seen(active=False, ends=3)
        if self.installed in self.ending:
            return Seen(active=False, ends=int(for_s / 3))
        if for_s < 5 or not self.whole or self.installed in self.broken:
            return Seen(active=False, ends=0)
        frames = 0 if self.installed in self.blind else int(for_s * 10)
        off_s = self.offline_s.get(self.installed)
        connected = None if off_s is None else for_s >= off_s
        return Seen(True, 0, 7, self.installed, frames, connected)

    def clean(self) -> None:
        """See Machine."""
        self.step()
        self.cleaned += 1

    def pause(self, seconds: float) -> None:
        """Time passes."""
        self.step()
        self.clock.advance(seconds)


class Bench:
    """A folder of updates with a trial that is about to begin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.unit = FakeUnit(self.clock)
        self.ready = 0
        for part, version in ((HELD, OLD), (NEW, GOOD)):
            (folder / part).mkdir()
            (folder / part / f"edge-scanner_{version}_all.deb").write_bytes(b"")
        first = Record(phase="installing", version=GOOD, before=OLD, boot=self.clock.boot)
        record_file(folder).write(first)

    def go_on(self) -> None:
        """As its service does at each start."""

        def ready() -> None:
            # The scanner may start: the package must be whole then, or it was in this boot.
            self.ready += 1

        Trial(self.folder, self.unit, self.clock, ready, self.unit.pause).go_on()

    def record(self) -> Record:
        return record_file(self.folder).read()

    def ended(self) -> str:
        record = self.record()
        assert record.phase == "idle"
        assert record.last is not None
        assert record.last.version == GOOD
        return record.last.state

    def held(self) -> list[str]:
        return [path.name.split("_")[1] for path in (self.folder / HELD).iterdir()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_version_that_scans_stays_and_is_what_is_gone_back_to_next(bench: Bench) -> None:
    bench.go_on()

    assert bench.ended() == "installed"
    assert bench.unit.installed == GOOD
    assert bench.held() == [GOOD]
    assert bench.unit.cleaned
    assert bench.ready


@pytest.mark.parametrize("fault", ["broken", "blind", "ending"])
def test_a_version_that_does_not_scan_is_taken_back_within_two_minutes(
    bench: Bench, fault: str
) -> None:
    getattr(bench.unit, fault).add(GOOD)
    began = bench.clock.monotonic()

    bench.go_on()

    assert bench.ended() == "rolled_back"
    assert bench.clock.monotonic() - began <= TRIAL_S + 1
    assert bench.unit.installed == OLD
    assert bench.held() == [OLD]
    assert GOOD in bench.record().failed


def test_a_unit_that_saw_nothing_before_may_see_nothing_afterwards(bench: Bench) -> None:
    bench.unit.blind |= {GOOD, OLD}
    record = bench.record()
    record.needs_frames = False
    record_file(bench.folder).write(record)

    bench.go_on()

    assert bench.ended() == "installed"


def had_its_broker(bench: Bench, **offline_s: float) -> None:
    """It was connected before; *offline_s*: for how long OLD and GOOD are not after a start."""
    record = bench.record()
    record.needs_broker = True
    record_file(bench.folder).write(record)
    bench.unit.offline_s = {{"old": OLD, "good": GOOD}[name]: s for name, s in offline_s.items()}


def test_a_version_that_scans_and_never_connects_is_taken_back_where_the_one_before_does(
    bench: Bench,
) -> None:
    had_its_broker(bench, good=math.inf, old=20.0)

    bench.go_on()

    why = "it scans, but had no connection to its broker within 300 s; 1.0 has one again"
    record = bench.record()
    assert bench.ended() == "rolled_back"
    assert bench.unit.installed == OLD
    assert bench.held() == [OLD]
    assert record.failed == {}
    assert record.last is not None
    assert record.last.reason == f"{why}, so it is tried once more"

    tried_once_more(bench)

    assert (bench.ended(), bench.unit.installed) == ("rolled_back", OLD)
    assert bench.record().failed == {GOOD: why}


def tried_once_more(bench: Bench) -> None:
    """It is begun anew, as at the next look."""
    package = bench.folder / NEW / f"edge-scanner_{GOOD}_all.deb"
    package.write_bytes(b"")
    record = bench.record()
    record.phase, record.needs_broker, record.lacks_broker = "installing", True, False
    record_file(bench.folder).write(record)
    bench.go_on()


def test_a_network_that_comes_back_with_the_version_of_before_is_no_versions_fault(
    bench: Bench,
) -> None:
    had_its_broker(bench, good=math.inf, old=20.0)
    bench.go_on()

    bench.unit.offline_s[GOOD] = 20.0
    tried_once_more(bench)

    assert (bench.ended(), bench.unit.installed) == ("installed", GOOD)


def test_a_network_that_is_down_is_no_versions_fault(bench: Bench) -> None:
    had_its_broker(bench, good=math.inf, old=math.inf)

    bench.go_on()

    record = bench.record()
    assert bench.ended() == "rolled_back"
    assert bench.unit.installed == OLD
    assert (record.failed, record.unsure) == ({}, GOOD)
    assert record.last is not None
    assert record.last.reason.endswith("; nor has 1.0, so it is tried again")


@pytest.mark.parametrize("offline_s", [200.0, 299.0])
def test_a_network_takes_longer_than_a_camera(bench: Bench, offline_s: float) -> None:
    had_its_broker(bench, good=offline_s, old=0.0)

    bench.go_on()

    assert bench.ended() == "installed"


def test_a_version_that_does_not_tell_of_its_broker_is_judged_by_frames(bench: Bench) -> None:
    had_its_broker(bench, old=0.0)

    bench.go_on()

    assert bench.ended() == "installed"


def test_without_a_broker_before_none_is_wanted_afterwards(bench: Bench) -> None:
    bench.unit.offline_s = {GOOD: math.inf, OLD: math.inf}

    bench.go_on()

    assert bench.ended() == "installed"


def test_what_ends_while_its_broker_is_waited_for_is_taken_back_for_that(bench: Bench) -> None:
    had_its_broker(bench, good=math.inf, old=0.0)
    bench.unit.ends_after_s[GOOD] = 150.0

    bench.go_on()

    assert bench.ended() == "rolled_back"
    assert bench.record().failed == {GOOD: "it ended by itself 3 times"}


@pytest.mark.parametrize("old", [0.0, math.inf])
def test_the_power_may_go_at_any_step_of_looking_for_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: float
) -> None:
    monkeypatch.setattr(trial, "LOOK_S", 60.0)

    def look(bench: Bench) -> None:
        assert (bench.ended(), bench.unit.installed) == ("rolled_back", OLD)
        assert (GOOD in bench.record().failed) == (old == 0.0)

    def prepare(bench: Bench) -> None:
        had_its_broker(bench, good=math.inf, old=old)
        record = bench.record()
        record.lacked = GOOD
        record_file(bench.folder).write(record)

    assert cut_everywhere(tmp_path, prepare, look) > 20


def test_what_dpkg_does_not_take_is_taken_back(bench: Bench) -> None:
    bench.unit.refused = "dpkg: depends on what is not there"

    bench.go_on()

    assert bench.ended() == "rolled_back"
    assert bench.record().failed == {GOOD: "dpkg: depends on what is not there"}


def test_without_its_old_package_it_goes_on_trying_to_go_back(bench: Bench) -> None:
    bench.unit.broken.add(GOOD)
    (bench.folder / HELD / f"edge-scanner_{OLD}_all.deb").rename(bench.folder / "kept")

    with pytest.raises(UpdateError, match="its package is gone"):
        bench.go_on()

    record = bench.record()
    assert record.phase == "back"
    # The centre hears of it meanwhile.
    assert record.last is not None
    assert (record.last.version, record.last.state) == (GOOD, "failed")
    assert f"cannot go back to {OLD}" in record.last.reason
    (bench.folder / "kept").rename(bench.folder / HELD / f"edge-scanner_{OLD}_all.deb")
    bench.go_on()
    assert bench.ended() == "rolled_back"


def stuck(bench: Bench) -> None:
    """Let a version fail whose way back is lost."""
    bench.unit.broken.add(GOOD)
    (bench.folder / HELD / f"edge-scanner_{OLD}_all.deb").unlink()
    with pytest.raises(UpdateError, match="its package is gone"):
        bench.go_on()
    assert bench.record().stuck


def helped(bench: Bench, version: str) -> None:
    """Root has found *version* for it."""
    (bench.folder / RESCUE).mkdir()
    (bench.folder / RESCUE / f"edge-scanner_{version}_all.deb").write_bytes(b"")


def test_the_lost_package_of_before_is_gone_back_to_once_it_is_found(bench: Bench) -> None:
    stuck(bench)
    helped(bench, OLD)

    bench.go_on()

    assert bench.ended() == "rolled_back"
    assert bench.unit.installed == OLD
    assert bench.held() == [OLD]
    assert not (bench.folder / RESCUE).exists()


def test_a_newer_version_is_the_way_on_where_there_is_none_back(bench: Bench) -> None:
    stuck(bench)
    helped(bench, NEWER)

    bench.go_on()

    record = bench.record()
    assert (record.phase, record.failed) == ("idle", {GOOD: "not scanning within 120 s"})
    assert record.last is not None
    assert (record.last.version, record.last.state) == (NEWER, "installed")
    assert bench.unit.installed == NEWER
    assert bench.held() == [NEWER]


def test_a_way_on_that_scans_is_taken_though_the_network_is_down(bench: Bench) -> None:
    had_its_broker(bench, good=math.inf, old=math.inf)
    bench.unit.offline_s[NEWER] = math.inf
    stuck(bench)
    helped(bench, NEWER)

    bench.go_on()

    assert (bench.record().phase, bench.unit.installed) == ("idle", NEWER)


def test_a_way_on_that_is_no_good_either_waits_for_the_next(bench: Bench) -> None:
    stuck(bench)
    bench.unit.ending.add(NEWER)
    helped(bench, NEWER)
    with pytest.raises(UpdateError, match="its package is gone"):
        bench.go_on()
    record = bench.record()
    assert record.stuck
    assert set(record.failed) == {GOOD, NEWER}
    assert record.last is not None
    assert record.last.version == NEWER

    helped(bench, "1.3")
    bench.go_on()

    assert bench.unit.installed == "1.3"
    assert bench.record().phase == "idle"


def test_a_way_on_is_not_left_half_way_for_another_dpkg(bench: Bench) -> None:
    stuck(bench)
    helped(bench, NEWER)
    bench.unit.busy = True
    with pytest.raises(Busy):
        bench.go_on()
    assert bench.record().phase == "installing"

    bench.unit.busy = False
    bench.go_on()
    assert bench.unit.installed == NEWER


@pytest.mark.parametrize("version", [OLD, NEWER])
def test_the_power_may_go_at_any_step_of_being_helped(tmp_path: Path, version: str) -> None:
    def prepare(bench: Bench) -> None:
        stuck(bench)
        helped(bench, version)

    def look(bench: Bench) -> None:
        assert bench.record().phase == "idle"
        assert bench.unit.installed == version

    assert cut_everywhere(tmp_path, prepare, look) > 3


def cut_everywhere(
    tmp_path: Path, prepare: Callable[[Bench], None], look: Callable[[Bench], None]
) -> int:
    """Cut the power at each step, let it go on, and look; gives how many steps there were."""
    for cut_at in range(10_000):
        folder = tmp_path / str(cut_at)
        folder.mkdir()
        bench = Bench(folder)
        prepare(bench)
        bench.unit.steps_left = cut_at
        try:
            bench.go_on()
        except PowerCut:
            bench.clock.boot_again(f"{cut_at:032x}")
            bench.unit.restarted_at = bench.clock.monotonic()
            bench.unit.steps_left = 10_000
            bench.go_on()
            look(bench)
            assert bench.unit.whole
            assert bench.held() == [bench.unit.installed]
        else:
            return cut_at
    raise AssertionError("it never ends")


def test_the_power_may_go_at_any_step_of_a_good_version(tmp_path: Path) -> None:
    def look(bench: Bench) -> None:
        assert (bench.ended(), bench.unit.installed) == ("installed", GOOD)

    assert cut_everywhere(tmp_path, lambda bench: None, look) > 10


def test_the_power_may_go_at_any_step_of_going_back(tmp_path: Path) -> None:
    def ends_at_once(bench: Bench) -> None:
        bench.unit.ending.add(GOOD)

    def look(bench: Bench) -> None:
        assert (bench.ended(), bench.unit.installed) == ("rolled_back", OLD)

    assert cut_everywhere(tmp_path, ends_at_once, look) > 10


def test_the_scanner_waits_for_a_whole_package_after_a_power_cut(bench: Bench) -> None:
    bench.unit.steps_left = 1  # dpkg has begun
    with pytest.raises(PowerCut):
        bench.go_on()
    assert not bench.unit.whole
    bench.clock.boot_again("c" * 32)
    bench.unit.steps_left = 10_000
    whole: list[bool] = []

    Trial(
        bench.folder,
        bench.unit,
        bench.clock,
        lambda: whole.append(bench.unit.whole),
        bench.unit.pause,
    ).go_on()

    assert whole
    assert all(whole)


def cut_short(bench: Bench) -> None:
    """Let the power go at each start of a trial, until it is given up."""
    record = bench.record()
    record.phase, record.version, record.starts = "installing", GOOD, 0
    record_file(bench.folder).write(record)
    for number in range(MOST_STARTS):
        bench.unit.steps_left = 1
        with pytest.raises(PowerCut):
            bench.go_on()
        bench.clock.boot_again(f"{number:032x}")
    bench.unit.steps_left = 10_000
    bench.go_on()


def test_a_version_during_which_the_power_always_goes_has_a_second_trial(bench: Bench) -> None:
    cut_short(bench)
    assert bench.ended() == "rolled_back"
    assert not bench.record().failed

    cut_short(bench)
    assert bench.ended() == "rolled_back"
    assert "cut short" in bench.record().failed[GOOD]


def test_while_another_dpkg_is_at_work_it_waits_and_nothing_has_failed(bench: Bench) -> None:
    bench.unit.busy = True

    bench.go_on()

    assert bench.ended() == "waiting"
    assert not bench.record().failed
    assert bench.unit.installed == OLD
    assert bench.ready
    assert bench.unit.cleaned


def test_half_of_a_version_is_not_left_for_another_dpkg(bench: Bench) -> None:
    bench.unit.steps_left = 1
    with pytest.raises(PowerCut):
        bench.go_on()
    bench.unit.steps_left, bench.unit.busy = 10_000, True
    for _ in range(2 * MOST_STARTS):
        with pytest.raises(Busy):
            bench.go_on()
        assert bench.record().phase == "installing"

    bench.unit.busy = False
    bench.go_on()
    assert bench.ended() == "installed"


def test_another_package_that_lies_there_is_not_gone_back_to(bench: Bench) -> None:
    bench.unit.broken.add(GOOD)
    (bench.folder / HELD / "edge-scanner_0.9_all.deb").write_bytes(b"")

    bench.go_on()

    assert bench.unit.installed == OLD
