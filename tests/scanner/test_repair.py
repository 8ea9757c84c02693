"""The ladder by which a unit mends its camera, and what it remembers of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.errors import CameraError, CameraHung, EndOfFrames
from edge.scanner import power
from edge.scanner.decoder import Frame
from edge.scanner.frozen import FROZEN_S
from edge.scanner.repair import (
    HUNG_AT_OPENING,
    LEISURE_S,
    LEISURE_TRIES,
    WELL_S,
    Ladder,
    MendedCamera,
)
from tests.fakes import FakeClock, a_ladder

FRAME = np.zeros((9, 16), np.uint8)


class Loose:
    """A camera with a loose cable: what happens at each capture is the test's."""

    def __init__(self) -> None:
        self.works = True
        self.hangs = False
        self.opened = 0
        self.closed = 0
        self.opens = True
        self.frame: Callable[[], Frame] = lambda: FRAME

    def open(self) -> "Loose":
        if not self.opens:
            raise CameraError("no camera")
        self.opened += 1
        return self

    def capture(self) -> Frame:
        if not self.works:
            raise CameraError("no frame")
        return self.frame()

    def close(self) -> None:
        self.closed += 1
        if self.hangs:
            raise CameraHung("it does not stop")


class Unit:
    """The processes of a unit, one after the other, as systemd starts them."""

    def __init__(self, folder: Path, *, reboots: bool = True) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.loose = Loose()
        self.reboots = reboots
        self.asked: list[str] = []
        self.paused: list[float] = []
        self.signals: list[str] = []
        self.while_paused: Callable[[], None] = lambda: None
        self.stopping = False
        self.start()

    def start(self) -> None:
        self.ladder = Ladder(self.folder / "repair.json", self.clock, self._reboot)
        self.camera = MendedCamera(
            self.loose.open,
            self.ladder,
            self._pause,
            self.clock,
            failed=lambda: self.signals.append("failed"),
            mended=lambda: self.signals.append("mended"),
        )

    def run(self, seconds: float) -> str:
        """Frames for *seconds*; how it ended."""
        end = self.clock.monotonic() + seconds
        try:
            while self.clock.monotonic() < end:
                self.camera.capture()
                self.clock.advance(1.0)
        except CameraError:
            return "service"
        except EndOfFrames:
            return "stopped"
        return "well"

    def _reboot(self) -> bool:
        self.asked.append("reboot")
        return self.reboots

    def _pause(self, seconds: float) -> bool:
        self.paused.append(seconds)
        self.clock.advance(seconds)
        self.while_paused()
        return not self.stopping


def test_a_loose_cable_is_mended_by_opening_the_camera_anew(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.run(10)
    unit.loose.works = False

    def seated() -> None:
        unit.loose.works = len(unit.paused) >= 2

    unit.while_paused = seated
    assert unit.run(5) == "well"
    assert unit.paused == [1.0, 5.0]
    assert unit.signals == ["failed", "failed", "mended"]
    assert unit.loose.opened == unit.loose.closed + 1
    assert unit.ladder.reached == "camera"


def test_after_ten_good_minutes_all_is_forgotten(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.loose.works = False
    assert unit.run(1) == "service"
    unit.loose.works = True
    unit.start()
    unit.run(WELL_S - 10)
    reached = [unit.ladder.reached]
    unit.run(20)
    reached.append(unit.ladder.reached)
    unit.start()

    assert [*reached, unit.ladder.reached] == ["service", "none", "none"]


def test_a_camera_that_stays_away_is_gone_through_step_by_step_and_then_waited_for(
    tmp_path: Path,
) -> None:
    unit = Unit(tmp_path)
    unit.loose.works = False
    steps = []
    for _ in range(20):
        before = len(unit.asked)
        unit.stopping = False
        ended = unit.run(1) if unit.ladder.reached != "exhausted" else "waits"
        steps.append("reboot" if len(unit.asked) > before else ended)
        if unit.ladder.reached == "exhausted":
            break
        if steps[-1] == "reboot":
            unit.clock.boot_again(f"{len(steps):032x}")
        unit.start()

    # Whether the last process ends by itself or by the pause that the test breaks is the same.
    assert steps[:6] == ["service", "service", "reboot"] * 2
    assert unit.ladder.reached == "exhausted"
    assert unit.asked == ["reboot", "reboot"]
    unit.start()
    assert unit.ladder.reached == "exhausted"


def exhausted(folder: Path) -> Unit:
    (folder / "repair.json").write_text('{"end":"repair","services":2,"reboots":2}')
    unit = Unit(folder)
    assert unit.ladder.reached == "exhausted"
    return unit


def test_a_unit_that_gave_up_goes_on_trying_at_leisure(tmp_path: Path) -> None:
    unit = exhausted(tmp_path)
    unit.loose.works = False

    assert unit.run(1) == "service"
    assert unit.paused == [LEISURE_S] * (LEISURE_TRIES - 1)
    assert not unit.asked

    unit.start()
    unit.while_paused = lambda: setattr(unit.loose, "works", True)
    assert unit.run(WELL_S + 100) == "well"
    assert unit.signals[-1] == "mended"
    assert unit.ladder.reached == "none"


def test_a_hanging_camera_is_a_matter_for_a_new_process_at_once(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.camera.capture()
    unit.loose.works, unit.loose.hangs = False, True

    with pytest.raises(CameraHung):
        unit.camera.capture()
    assert unit.paused == []
    unit.start()
    assert (unit.ladder.reached, unit.ladder.started_after) == ("service", "repair")


class Killed(BaseException):
    """The watchdog's SIGABRT, which lets nothing of the process run any more."""


def hang_at_opening(unit: Unit) -> None:
    """A process that hangs where it opens the camera, until the watchdog ends it; the next one."""
    record, left = unit.folder / "repair.json", b""

    def hang() -> Loose:
        nonlocal left
        left = record.read_bytes()
        raise Killed

    unit.camera._open = hang
    try:
        assert unit.run(1) == "service"
    except Killed:
        # What the record held while it hung is what the next process finds.
        record.write_bytes(left)
    unit.start()


def test_a_camera_that_hangs_while_it_is_opened_leaves_its_reason_and_climbs_the_ladder(
    tmp_path: Path,
) -> None:
    unit = Unit(tmp_path)
    steps = []
    hang_at_opening(unit)
    assert unit.ladder.started_after == "repair"
    for _ in range(12):
        hang_at_opening(unit)
        steps.append((unit.ladder.reached, len(unit.asked)))

    service, service_again, rebooted = ("service", 0), ("service", 0), ("reboot", 1)
    assert steps[:3] == [service, service_again, rebooted]
    assert steps[-1] == ("exhausted", 2)
    assert unit.ladder.reason == HUNG_AT_OPENING


def test_a_power_cut_while_the_camera_is_opened_is_no_fault_of_the_camera(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.ladder.opening(True)
    unit.clock.boot_again("c" * 32)
    unit.start()

    assert (unit.ladder.started_after, unit.run(1)) == ("power", "well")
    assert unit.ladder.reached == "none"


def test_a_machine_that_cannot_be_started_anew_is_given_up_sooner(tmp_path: Path) -> None:
    unit = Unit(tmp_path, reboots=False)
    unit.loose.works = False
    for _ in range(2):
        assert unit.run(1) == "service"
        unit.start()
    unit.while_paused = lambda: setattr(unit, "stopping", LEISURE_S in unit.paused)

    assert unit.run(1) == "stopped"
    assert unit.ladder.reached == "exhausted"
    assert unit.asked == ["reboot"]


def test_a_service_that_is_to_stop_does_not_wait_for_its_camera(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.loose.opens = False
    unit.stopping = True

    assert unit.run(1) == "stopped"
    assert len(unit.paused) == 1


@pytest.mark.parametrize("end", ["stopped", "command", "reboot", "repair"])
def test_the_next_run_knows_what_ended_this_one(tmp_path: Path, end: str) -> None:
    clock = FakeClock()
    ladder = a_ladder(tmp_path, clock)
    assert ladder.started_after == "first"
    ladder.ending(end)  # type: ignore[arg-type]

    assert a_ladder(tmp_path, clock).started_after == end


def test_an_end_without_a_word_was_a_crash_or_in_another_boot_the_power(tmp_path: Path) -> None:
    clock = FakeClock()
    a_ladder(tmp_path, clock)
    assert a_ladder(tmp_path, clock).started_after == "crash"
    clock.boot_again("c" * 32)
    assert a_ladder(tmp_path, clock).started_after == "power"


def test_a_record_that_is_spoilt_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "repair.json").write_bytes(b'{"end":"nonsense"')

    assert a_ladder(tmp_path, FakeClock()).started_after == "first"


def test_power_is_asked_for_by_a_file_that_systemd_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert power.ask(power.REBOOT) is False
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))

    assert power.ask(power.REBOOT) is True
    assert [path.name for path in tmp_path.iterdir()] == ["reboot"]
    # The names are those that the units wait for.
    units = Path(__file__).parents[2] / "systemd"
    for what in (power.REBOOT, power.POWEROFF):
        text = (units / f"edge-{what}.path").read_text()
        assert f"PathChanged=/run/edge-scanner/{what}\n" in text


def test_a_camera_that_gives_the_same_picture_for_ever_is_opened_anew(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    view = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (9, 1))
    unit.loose.frame = lambda: view

    assert unit.run(FROZEN_S - 1) == "well"
    assert unit.loose.opened == 1
    assert unit.run(FROZEN_S) == "well"

    assert unit.loose.opened == 2
    assert unit.ladder.reached == "camera"
    # It helps nothing, and goes the way of every fault.
    assert unit.run(6 * FROZEN_S) == "service"
    assert "the same picture" in unit.ladder.reason


def test_a_view_in_which_nothing_moves_is_not_frozen_for_its_noise(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    noise = np.random.default_rng(1)
    view = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (9, 1))
    unit.loose.frame = lambda: view + noise.integers(0, 2, view.shape, np.uint8)

    assert unit.run(10 * FROZEN_S) == "well"
    assert unit.loose.opened == 1


def test_a_gate_in_the_dark_with_a_lamp_far_away_is_not_frozen(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    night = np.zeros((480, 640), np.uint8)
    night[200:240, 300:340] = 255
    unit.loose.frame = lambda: night

    assert unit.run(10 * FROZEN_S) == "well"
    assert unit.loose.opened == 1
    assert unit.signals == []


def test_a_lens_that_is_covered_is_not_frozen(tmp_path: Path) -> None:
    unit = Unit(tmp_path)

    assert unit.run(10 * FROZEN_S) == "well"
    assert unit.loose.opened == 1
