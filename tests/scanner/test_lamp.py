"""Claims about the lamp of the night."""

from collections.abc import Iterator
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from edge.scanner.lamp import Lamp


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    factory = MockFactory()
    yield factory
    factory.reset()


def test_a_lamp_is_dark_until_it_is_lit_and_when_it_is_closed(pins: MockFactory) -> None:
    lamp = Lamp(12, pins)
    states = [pins.pin(12).state]
    lamp.light(True)
    states.append(pins.pin(12).state)
    lamp.light(False)
    states.append(pins.pin(12).state)
    lamp.light(True)
    lamp.close()
    lamp.close()

    assert states == [False, True, False]
    assert lamp.trouble is None
    Lamp(12, pins)  # the pin was given back


def test_a_pin_that_something_else_has_is_said_and_scanning_goes_on(
    pins: MockFactory, caplog: pytest.LogCaptureFixture
) -> None:
    first = Lamp(12, pins)
    second = Lamp(12, pins)
    second.light(True)
    second.close()

    assert first.trouble is None
    assert second.trouble
    assert "the lamp on pin 12 fails; going on without it" in caplog.text


def test_a_lamp_that_breaks_later_is_said_once(
    pins: MockFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp = Lamp(12, pins)

    def broken(*_: Any) -> None:
        raise OSError("wire")

    monkeypatch.setattr(lamp._led, "on", broken)
    lamp.light(True)
    lamp.light(True)

    assert caplog.text.count("wire") == 1
    assert lamp.trouble == "wire"
