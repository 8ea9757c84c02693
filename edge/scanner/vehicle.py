"""What a unit on a vehicle has beside: the ignition line and the GPS receiver."""

import os
from contextlib import ExitStack
from pathlib import Path

from edge.clock import Clock, Moment
from edge.messages import OnBoard
from edge.scanner import power
from edge.scanner.beside import Beside
from edge.scanner.gnss_clock import GnssClock
from edge.scanner.gps import Fix, Receiver
from edge.scanner.ignition import Ignition
from edge.scanner.schedule import Schedule
from edge.scanner.settings import ScannerSettings
from edge.scanner.stops import Stops


class Vehicle:
    """Looks after both beside the scanning; what is not set is not there."""

    def __init__(
        self, settings: ScannerSettings, schedule: Schedule, clock: Clock, stack: ExitStack
    ) -> None:
        """*stack* ends it. Raises ConfigError for a receiver that cannot be."""
        self._schedule = schedule
        self._is_vehicle = bool(settings.vehicle.trips or settings.gps.source)
        if settings.vehicle.ignition_pin >= 0:
            ignition = Ignition(settings.vehicle, clock, lambda: power.ask(power.POWEROFF))
            stack.callback(ignition.close)
            stack.enter_context(Beside("ignition", ignition.step, pause_s=1.0))
        self._receiver: Receiver | None = None
        self._stops = Stops(settings.gps.position_decimals)
        self._keeps_stops = settings.gps.position_decimals >= 0
        if settings.gps.source:
            run = os.environ.get("RUNTIME_DIRECTORY")
            self._time = GnssClock(clock, Path(run) if run else None)
            self._receiver = Receiver(settings.gps, clock, self.fix)
            stack.callback(self._receiver.close)
            stack.enter_context(Beside("gps", self._receiver.step, pause_s=0.2))

    def tell(self, moment: Moment) -> OnBoard | None:
        """What there is to tell at *moment*; None for a unit that is on no vehicle."""
        if not self._is_vehicle:
            return None
        return OnBoard(
            trip=self._schedule.trip(moment),
            gps="none" if self._receiver is None else self._receiver.state,
            stops=self._stops.newest,
        )

    def fix(self, fix: Fix) -> None:
        """The receiver knows where it is."""
        self._time.fix(fix)
        if self._keeps_stops:
            self._stops.fix(fix)
