"""The ignition line of a vehicle: when it has been off for a while, the machine is switched off.

Nothing depends on it: scans are safe however the power goes. A card lives longer, and the vehicle's
battery too, when the machine goes down by itself.
"""

import logging
from collections.abc import Callable
from typing import Any

from edge.clock import Clock
from edge.unit_settings import VehicleSettings

log = logging.getLogger(__name__)


class Ignition:
    """Looks at the line; its failing never stops the scanning."""

    def __init__(
        self,
        settings: VehicleSettings,
        clock: Clock,
        power_off: Callable[[], bool],
        pin_factory: Any = None,
    ) -> None:
        """*power_off* asks for it. *pin_factory* None is what gpiozero finds."""
        self._settings = settings
        self._clock = clock
        self._power_off = power_off
        self._line: Any = None
        self._off_since: float | None = None
        #: Whether the line was ever on: a line that is not connected switches nothing off.
        self._was_on = False
        self._asked = False
        self._complained = False
        try:
            import gpiozero

            self._line = gpiozero.DigitalInputDevice(
                settings.ignition_pin, pull_up=False, pin_factory=pin_factory
            )
        # Each driver that gpiozero may find raises errors of its own, of no common kind.
        except Exception as err:  # noqa: BLE001
            log.warning(
                "the ignition line on pin %d cannot be read; going on without it: %s",
                settings.ignition_pin,
                err,
            )

    def step(self) -> None:
        """Look once; to be called every second or so. Never raises."""
        if (is_on := self._is_on()) is None:
            return
        now = self._clock.monotonic()
        if is_on:
            # Also of a machine that was asked and is still here: the next end of a trip counts too.
            self._was_on, self._off_since, self._asked = True, None, False
            return
        if self._asked or not self._was_on:
            return
        if self._off_since is None:
            self._off_since = now
            log.info("the ignition is off; off in %.0f s", self._settings.off_after_s)
        if now - self._off_since >= self._settings.off_after_s:
            self._asked = True
            log.warning("the ignition has been off; switching the machine off")
            self._power_off()

    def close(self) -> None:
        """Give the pin back."""
        line, self._line = self._line, None
        if line is None:
            return
        try:
            line.close()
        except Exception as err:  # noqa: BLE001 - as above
            log.warning("the pin of the ignition line is not given back: %s", err)

    def _is_on(self) -> bool | None:
        """Whether the ignition is on; None where the line cannot be read."""
        if self._line is None:
            return None
        try:
            return bool(self._line.value)
        except Exception as err:  # noqa: BLE001 - as above
            if not self._complained:
                self._complained = True
                log.warning("the ignition line cannot be read any more: %s", err)
            return None
