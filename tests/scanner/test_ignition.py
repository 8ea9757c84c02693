"""The ignition line of a vehicle."""

from collections.abc import Iterator

import pytest
from gpiozero.pins.mock import MockFactory, MockPin

from edge.scanner.ignition import Ignition
from edge.unit_settings import VehicleSettings
from tests.fakes import FakeClock

SETTINGS = VehicleSettings(ignition_pin=6, off_after_s=60)


class Vehicle:
    """A vehicle whose ignition the test turns."""

    def __init__(self, factory: MockFactory) -> None:
        self.clock = FakeClock()
        self.asked = 0
        self.ignition = Ignition(SETTINGS, self.clock, self._power_off, factory)
        self.line: MockPin = factory.pin(6)

    def turn(self, on: bool, seconds: int) -> None:
        (self.line.drive_high if on else self.line.drive_low)()
        for _ in range(seconds):
            self.ignition.step()
            self.clock.advance(1)

    def _power_off(self) -> bool:
        self.asked += 1
        return True


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    factory = MockFactory()
    yield factory
    factory.close()


def test_off_for_a_while_it_switches_the_machine_off_once(factory: MockFactory) -> None:
    vehicle = Vehicle(factory)
    vehicle.turn(True, 10)
    vehicle.turn(False, 60)
    assert vehicle.asked == 0
    vehicle.turn(False, 60)

    assert vehicle.asked == 1
    vehicle.ignition.close()


def test_a_stop_at_a_station_is_no_end(factory: MockFactory) -> None:
    vehicle = Vehicle(factory)
    for _ in range(5):
        vehicle.turn(True, 10)
        vehicle.turn(False, 50)

    assert vehicle.asked == 0


def test_a_line_that_was_never_on_switches_nothing_off(factory: MockFactory) -> None:
    vehicle = Vehicle(factory)
    vehicle.turn(False, 1000)

    assert vehicle.asked == 0


def test_with_a_pin_that_fails_nothing_happens(
    factory: MockFactory, caplog: pytest.LogCaptureFixture
) -> None:
    taken = Vehicle(factory)
    second = Vehicle(factory)
    second.turn(True, 10)

    assert "cannot be read" in caplog.text
    assert second.asked == 0
    taken.ignition.close()
    second.ignition.close()


class BrokenLine:
    """A line whose driver fails while it is in use."""

    @property
    def value(self) -> int:
        raise OSError("GPIO busy")

    def close(self) -> None:
        raise OSError("unknown handle")


def test_a_line_that_fails_while_in_use_switches_nothing_off_and_is_told_once(
    factory: MockFactory, caplog: pytest.LogCaptureFixture
) -> None:
    vehicle = Vehicle(factory)
    vehicle.turn(True, 10)
    vehicle.ignition._line = BrokenLine()

    vehicle.turn(False, 1000)
    vehicle.ignition.close()

    assert vehicle.asked == 0
    assert caplog.text.count("cannot be read any more") == 1


def test_a_machine_that_stayed_on_is_asked_again_after_the_next_trip(factory: MockFactory) -> None:
    vehicle = Vehicle(factory)
    vehicle.turn(True, 10)
    vehicle.turn(False, 200)
    assert vehicle.asked == 1

    vehicle.turn(True, 10)
    vehicle.turn(False, 200)

    assert vehicle.asked == 2
    vehicle.ignition.close()
