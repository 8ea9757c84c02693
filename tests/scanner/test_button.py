"""The set-up button."""

from collections.abc import Iterator

import msgspec
import pytest
from gpiozero.pins.mock import MockFactory

from edge import config
from edge.scanner.button import Button
from edge.scanner.settings import UnsetSettings


def settings(**tables: object) -> UnsetSettings:
    return config.check({"broker": {}, "setup": {"hold_s": 3.0}, **tables}, UnsetSettings, "test")


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    factory = MockFactory()
    yield factory
    factory.close()


def test_held_for_long_enough_it_counts_once(factory: MockFactory) -> None:
    button, pin = Button(settings(), factory), factory.pin(23)
    assert not button.held(10.0)

    pin.drive_low()

    assert [button.held(now) for now in (10.0, 12.9, 13.0, 13.1, 60.0)] == [
        *(False, False, True, False, False)
    ]
    pin.drive_high()
    assert not button.held(61.0)
    pin.drive_low()
    assert [button.held(now) for now in (62.0, 65.0)] == [False, True]
    button.close()


def test_a_press_that_ends_too_soon_is_none(factory: MockFactory) -> None:
    button, pin = Button(settings(), factory), factory.pin(23)
    for now in range(10):
        pin.drive_low() if now % 2 else pin.drive_high()
        assert not button.held(float(2 * now))
    button.close()


@pytest.mark.parametrize(
    "tables",
    [{"setup": {"button_pin": -1}}, {"indicator": {"kind": "terminal"}}],
    ids=["none", "a laptop"],
)
def test_without_a_button_nothing_is_ever_held(
    factory: MockFactory, tables: dict[str, object]
) -> None:
    button = Button(settings(**tables), factory)
    factory.pin(23).drive_low()

    assert not button.held(0.0)
    assert not button.held(100.0)
    assert button.trouble == ""


def test_a_pin_that_somebody_else_has_is_logged_and_scanning_goes_on(
    factory: MockFactory, caplog: pytest.LogCaptureFixture
) -> None:
    first = Button(settings(), factory)

    second = Button(settings(), factory)

    assert second.trouble
    assert "set-up button on pin 23 cannot be read" in caplog.text
    assert not second.held(100.0)
    first.close()


def test_the_default_pin_is_nobody_elses() -> None:
    defaults = msgspec.to_builtins(settings())
    pins = [value for key, value in defaults["indicator"].items() if key.endswith("_pin")]

    assert defaults["setup"]["button_pin"] not in pins


class BrokenPin:
    """A pin whose driver fails while it is in use."""

    @property
    def is_pressed(self) -> bool:
        raise OSError("GPIO busy")

    def close(self) -> None:
        raise OSError("unknown handle")


def test_a_pin_that_fails_while_in_use_stops_nothing_and_is_told_once(
    factory: MockFactory, caplog: pytest.LogCaptureFixture
) -> None:
    button = Button(settings(), factory)
    button._button = BrokenPin()

    assert not any(button.held(float(now)) for now in range(10))
    button.close()

    assert button.trouble == "GPIO busy"
    assert caplog.text.count("cannot be read any more") == 1
