"""The unit's own light for the night: an LED on a pin. Its failing never stops the scanning."""

import logging
from typing import Any

log = logging.getLogger(__name__)


class Lamp:
    """A lamp that a pin switches; dark at first."""

    def __init__(self, pin: int, pin_factory: Any = None) -> None:
        """*pin* by its BCM number; *pin_factory* None is what gpiozero finds."""
        self.pin = pin
        #: Why it cannot be switched; None if all is well.
        self.trouble: str | None = None
        self._led: Any = None
        try:
            import gpiozero

            self._led = gpiozero.LED(pin, pin_factory=pin_factory)
        # Each driver that gpiozero may find raises errors of its own, of no common kind.
        except Exception as err:  # noqa: BLE001
            self._fail(err)

    def light(self, on: bool) -> None:
        """Switch it. Never raises."""
        if self._led is None:
            return
        try:
            self._led.on() if on else self._led.off()
        except Exception as err:  # noqa: BLE001 - as above
            self._fail(err)

    def close(self) -> None:
        """Dark, and the pin given back. May be called twice."""
        led, self._led = self._led, None
        if led is None:
            return
        try:
            led.close()
        except Exception as err:  # noqa: BLE001 - as above
            self._fail(err)

    def _fail(self, err: Exception) -> None:
        if self.trouble is None:
            log.warning("the lamp on pin %d fails; going on without it: %s", self.pin, err)
        self.trouble = str(err) or type(err).__name__
