"""What follows the clock at a door: which trip a vehicle is on, which way people pass.

Only a clock that something has set is believed. Until then scans carry what the settings give for
all times, and their time is marked as unknown; when the clock becomes known in the same boot, those
that wait are completed as they are dated (boots.py).
"""

from datetime import datetime

import msgspec

from edge.clock import VIETNAM, Moment
from edge.errors import ConfigError
from edge.messages import Direction, Scan
from edge.opening_hours import read_hours
from edge.trips import read_trip, trip_at
from edge.unit_settings import UnitSettings, VehicleSettings


class Schedule:
    """Tells trip and direction of a moment. Any thread may ask."""

    def __init__(self, unit: UnitSettings, vehicle: VehicleSettings) -> None:
        """Raises ConfigError for hours of a unit whose direction is fixed."""
        self._unit = unit
        self._trips = [read_trip(text) for text in vehicle.trips]
        #: The hours in which people come, and go.
        self._ways = [read_hours(unit.in_hours), read_hours(unit.out_hours)]
        if unit.direction != "both" and (unit.in_hours or unit.out_hours):
            raise ConfigError(
                f'unit.in_hours and out_hours are for direction "both"; it is "{unit.direction}"'
            )

    def direction(self, moment: Moment) -> Direction:
        """Which way people pass at *moment*."""
        return self._unit.direction if moment.clock == "none" else self._direction(moment.at)

    def trip(self, moment: Moment) -> str:
        """The trip at *moment*; what the settings give for all times where none is under way."""
        return self._unit.trip if moment.clock == "none" else self._trip(moment.at)

    def completed(self, scan: Scan) -> Scan:
        """*scan*, made with an unknown clock, as it would be now that its time is known.

        What the hours do not tell stays as it was when the scan was made, and so does all of one
        from another place: since then the unit was moved, and set up anew.
        """
        if scan.corrected is None or scan.place != self._unit.place:
            return scan
        direction, trip = scan.direction, trip_at(self._trips, _local(scan.corrected))
        if direction == "both":
            direction = self._direction(scan.corrected) if any(self._ways) else direction
        return msgspec.structs.replace(scan, direction=direction, trip=trip or scan.trip)

    def _direction(self, at: str) -> Direction:
        if not any(self._ways):
            return self._unit.direction
        local = _local(at)
        comes, goes = (any(hours.hold(local) for hours in ways) for ways in self._ways)
        if comes == goes:
            return "both"
        return "in" if comes else "out"

    def _trip(self, at: str) -> str:
        return (trip_at(self._trips, _local(at)) if self._trips else "") or self._unit.trip


def _local(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone(VIETNAM)
