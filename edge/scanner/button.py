"""The set-up button: it connects its pin to GND, and counts once it is held."""

import logging
from typing import Any

from edge.scanner.settings import UnsetSettings

log = logging.getLogger(__name__)


class Button:
    """Looked at with each frame; its failing never stops the scanning."""

    def __init__(self, settings: UnsetSettings, pin_factory: Any = None) -> None:
        """*pin_factory* None is what gpiozero finds.

        A unit without lights on its pins, such as a laptop, has no button there either.
        """
        pin = settings.setup.button_pin
        self._hold_s = settings.setup.hold_s
        self._button: Any = None
        self._since: float | None = None
        self._told = False
        #: Why it cannot be read; "" if it can, or if there is none.
        self.trouble = ""
        if pin < 0 or settings.indicator.kind != "gpio":
            return
        try:
            import gpiozero

            self._button = gpiozero.Button(pin, pull_up=True, pin_factory=pin_factory)
        # Each driver that gpiozero may find raises errors of its own, of no common kind.
        except Exception as err:  # noqa: BLE001
            self.trouble = str(err)
            log.warning(
                "the set-up button on pin %d cannot be read; going on without it: %s",
                pin,
                err,
            )

    @property
    def pressed(self) -> bool:
        """Whether somebody presses it."""
        if self._button is None:
            return False
        try:
            return bool(self._button.is_pressed)
        # As above; the next frame asks again.
        except Exception as err:  # noqa: BLE001
            if not self.trouble:
                log.warning("the set-up button cannot be read any more: %s", err)
            self.trouble = str(err) or type(err).__name__
            return False

    def held(self, now: float) -> bool:
        """Whether by *now*, of any clock that does not jump, it was held for long enough.

        Once for each time: it must be let go before it counts again.
        """
        if not self.pressed:
            self._since, self._told = None, False
            return False
        if self._since is None:
            self._since = now
        if self._told or now - self._since < self._hold_s:
            return False
        self._told = True
        return True

    def close(self) -> None:
        """Give the pin back."""
        button, self._button = self._button, None
        if button is None:
            return
        try:
            button.close()
        except Exception as err:  # noqa: BLE001 - as above
            log.warning("the pin of the set-up button is not given back: %s", err)
