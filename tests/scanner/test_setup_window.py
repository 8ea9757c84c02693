"""When set-up codes are taken, from the frame to what root is asked for."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gpiozero.pins.mock import MockFactory

from edge import config
from edge.errors import CameraError
from edge.scanner.button import Button
from edge.scanner.decoder import Frame
from edge.scanner.indicator import Signal
from edge.scanner.pipeline import Pipeline
from edge.scanner.settings import UnsetSettings
from edge.scanner.setup_by_code import REQUEST, take_code
from edge.scanner.setup_window import SetupWindow, unit_root
from edge.sealing import Signer
from tests.cards import a_batch_card, a_card
from tests.drawing import draw
from tests.fakes import FakeClock
from tests.scanner.machine import Machine
from tests.setup_codes import a_code, a_move, text

NOTHING = np.full((720, 1280), 128, np.uint8)


class Shown:
    """An indicator that remembers."""

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self.resting: Signal | None = None

    def show(self, signal: Signal, note: str = "") -> None:
        self.signals.append(signal)

    def rest(self, signal: Signal | None) -> None:
        self.resting = signal

    def close(self) -> None:
        pass


class Gate:
    """A unit, its window, and somebody who stands before it."""

    def __init__(self, folder: Path, card: object, factory: MockFactory) -> None:
        self.machine = Machine(folder)
        self.machine.insert(card)  # type: ignore[arg-type]
        self.machine.start()
        (self.machine.root / REQUEST).parent.mkdir(parents=True)
        self.view: Frame = NOTHING
        self.clock = FakeClock()
        self.light = Shown()
        self.told: list[str] = []
        self.frames = 0
        self.pin = factory.pin(23)
        settings = config.check({"broker": {}}, UnsetSettings, "test")
        self.pipeline = Pipeline(zbar=False)
        self.window = SetupWindow(
            self,
            self.pipeline,
            self.light,
            Button(settings, factory),
            settings.setup,
            self.clock,
            self.machine.root,
            resting=lambda: Signal.NOT_COLLECTING,
            frame=self._count,
            tell=self.told.append,
        )

    def capture(self) -> Frame:
        return self.view

    def close(self) -> None:
        self.window.close()
        self.pipeline.close()

    def show(self, content: bytes, seconds: float = 2.0) -> None:
        self.view = draw(content, scale=4)
        self.wait(seconds)
        self.view = NOTHING

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 5)):
            self.window.step()
            self.clock.advance(0.2)

    def root_works(self) -> None:
        take_code(self.machine.boot, self.machine.root)

    def asked(self) -> bytes | None:
        path = self.machine.root / REQUEST
        return path.read_bytes() if path.exists() else None

    def _count(self, _: float) -> None:
        self.frames += 1


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    factory = MockFactory()
    yield factory
    factory.close()


@pytest.fixture
def unset(tmp_path: Path, factory: MockFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path, a_batch_card(), factory)
    yield gate
    gate.close()


@pytest.fixture
def unit(tmp_path: Path, factory: MockFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path, a_card(), factory)
    yield gate
    gate.close()


def test_an_open_window_is_seen_and_heard_and_takes_a_code(unset: Gate) -> None:
    unset.window.open()
    assert unset.light.signals == [Signal.WAITING_FOR_CODE]

    code = text(a_code())
    unset.show(code)
    assert unset.asked() == code
    # Said only when it is true.
    assert unset.light.signals == [Signal.WAITING_FOR_CODE]
    unset.root_works()
    unset.wait(0.4)
    assert unset.light.signals[1:] == [Signal.SET_UP]
    assert not unset.window.done

    unset.wait(3)
    assert unset.window.done
    assert unset.told == ["unit xe-1, cho-1, in; set-up code 2"]
    assert unset.frames > 10


def test_a_window_that_is_closed_looks_at_nothing(unit: Gate) -> None:
    unit.show(text(a_move()))

    assert not unit.window.step()
    assert unit.asked() is None
    assert (unit.light.signals, unit.frames) == ([], 0)


def test_the_button_opens_it_for_two_minutes(unit: Gate) -> None:
    unit.pin.drive_low()
    unit.wait(2.8)
    assert not unit.window.is_open
    unit.wait(0.6)
    assert unit.window.is_open
    unit.pin.drive_high()

    unit.wait(118)
    assert unit.window.is_open
    unit.wait(3)

    assert not unit.window.is_open
    assert unit.light.resting is Signal.NOT_COLLECTING
    unit.show(text(a_move()))
    assert unit.asked() is None


def kept(gate: Gate) -> dict[str, tuple[bytes, int]]:
    """All files but those under /run."""
    return {name: it for name, it in gate.machine.files().items() if not name.startswith("run/")}


def refused() -> dict[str, bytes]:
    return {
        "of a stranger": text(a_move(), Signer(bytes(range(32)))),
        "damaged": text(a_move())[:-3],
        "shown before": text(a_move(number=1)),
        "for another unit": text(a_move(unit="xe-2")),
        "for a unit that is none yet": text(a_code()),
        "for another board": text(a_move(hardware="10000000ffffffff")),
    }


@pytest.mark.parametrize("which", refused())
def test_a_code_that_is_not_for_this_unit_is_refused_aloud_and_goes_no_further(
    unit: Gate, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = kept(unit)
    unit.window.open()

    unit.show(refused()[which])

    assert unit.light.signals == [Signal.WAITING_FOR_CODE, Signal.NOT_SET_UP]
    assert kept(unit) == before
    # Root writes down why, for whoever has nothing but the card.
    unit.root_works()
    unit.wait(1)
    assert unit.light.signals[2:] == []
    assert kept(unit) == before
    assert "KHÔNG CÀI ĐẶT ĐƯỢC" in unit.machine.on_the_card()["result.txt"].decode()
    (why,) = unit.told
    assert "\n" not in why
    assert "EDGE1" not in caplog.text
    assert refused()[which].decode()[6:40] not in caplog.text
    # And the window is open for the right one.
    unit.show(text(a_move()))
    assert unit.asked() == text(a_move())


def test_no_other_code_is_looked_at_meanwhile(unit: Gate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    unit.window.open()

    for content in (
        "064190000123|230000123|Trần Thị Mẫu|17051990|Nữ|Tổ 9, Pleiku|10082021".encode(),
        b"WIFI:S:mau;T:WPA;P:mat khau 1;;",
    ):
        unit.show(content)

    assert unit.light.signals == [Signal.WAITING_FOR_CODE]
    assert unit.told == []
    assert unit.asked() is None
    assert "Mẫu" not in caplog.text
    assert "mat khau" not in caplog.text


def test_codes_that_stay_in_view_are_refused_once(unit: Gate) -> None:
    unit.window.open()
    codes = [text(a_move(unit=name)) for name in ("xe-2", "xe-3")]

    for _ in range(10):
        for code in codes:
            unit.show(code, seconds=1)

    assert len(unit.told) == 2


def test_root_is_asked_again_when_it_did_not_hear(unit: Gate) -> None:
    unit.window.open()
    unit.show(text(a_move()))
    (unit.machine.root / REQUEST).write_bytes(b"lost")

    unit.wait(16)

    assert unit.asked() == text(a_move())
    unit.root_works()
    unit.wait(0.4)
    assert unit.light.signals[-1] is Signal.SET_UP


def test_what_root_refuses_is_told_and_the_window_stays_open(unit: Gate) -> None:
    unit.window.open()
    unit.show(text(a_move(area="kon-tum")))
    unit.root_works()
    unit.wait(0.4)

    assert unit.light.signals[1:] == [Signal.NOT_SET_UP]
    assert "leaves a unit its name and its area" in unit.told[0]
    assert unit.window.is_open
    assert not unit.window.done


def test_an_answer_to_an_earlier_code_is_none_to_this_one(unit: Gate) -> None:
    unit.window.open()
    unit.show(text(a_move(area="kon-tum")))
    unit.root_works()
    unit.wait(0.4)

    unit.show(text(a_move()))
    unit.wait(5)

    assert unit.light.signals == [Signal.WAITING_FOR_CODE, Signal.NOT_SET_UP]
    unit.root_works()
    unit.wait(0.4)
    assert unit.light.signals[-1] is Signal.SET_UP


def test_where_nobody_applies_codes_it_says_so(unit: Gate) -> None:
    unit.window.open()
    unit.show(text(a_move()))

    unit.wait(62)

    assert unit.told == ["nobody applies set-up codes here; enable edge-setup-code.path"]
    assert unit.light.signals[-1] is Signal.NOT_SET_UP


def test_while_root_works_the_window_does_not_close_over_it(unit: Gate) -> None:
    unit.window.open()
    unit.wait(119)
    unit.show(text(a_move()), seconds=0.6)
    unit.wait(20)
    unit.root_works()
    unit.wait(0.4)

    assert unit.light.signals[-1] is Signal.SET_UP


def test_a_request_that_cannot_be_written_is_told(unit: Gate) -> None:
    (unit.machine.root / REQUEST).mkdir()
    unit.window.open()

    unit.show(text(a_move()))

    assert "cannot hand the set-up code on" in unit.told[0]


def test_a_camera_that_fails_is_not_hidden(unit: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Frame:
        raise CameraError("gone")

    unit.window.open()
    monkeypatch.setattr(unit, "capture", fails)

    with pytest.raises(CameraError):
        unit.window.step()


def test_a_units_files_lie_below_the_root_of_its_settings() -> None:
    assert unit_root(Path("/etc/edge/scanner.toml")) == Path("/")
    assert unit_root(Path("/mnt/card/etc/edge/scanner.toml")) == Path("/mnt/card")
    assert unit_root(Path("config/scanner.toml")) == Path("/")
