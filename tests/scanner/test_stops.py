"""Stops of a vehicle: coarse, of a while, and a few."""

from edge.messages import KEPT_STOPS
from edge.scanner.gps import Fix
from edge.scanner.stops import STAND_S, Stops

AT = 1_625_189_400.0


class Ride:
    def __init__(self, decimals: int = 2) -> None:
        self.stops = Stops(decimals)
        self.at, self.north = AT, 13.972453

    def go(self, seconds: int, speed: float | None) -> None:
        for _ in range(seconds):
            self.stops.fix(Fix(self.at, 0, self.north, 108.002061, speed))
            self.at += 1
            self.north += (speed or 0.0) / 111_000


def test_a_stop_is_told_coarsely_while_it_lasts_and_when_it_is_over() -> None:
    ride = Ride()
    ride.go(60, 12.0)
    ride.go(30, 0.3)
    (stop,) = ride.stops.newest
    assert (stop.latitude, stop.longitude, stop.until) == (13.98, 108.0, None)
    ride.go(5, 12.0)

    (stop,) = ride.stops.newest
    assert (stop.since, stop.until) == ("2021-07-02T01:31:00.000Z", "2021-07-02T01:31:29.000Z")


def test_a_traffic_light_is_no_stop_and_creeping_ends_none() -> None:
    ride = Ride()
    ride.go(int(STAND_S) - 1, 0.0)
    ride.go(10, 12.0)
    assert ride.stops.newest == ()
    ride.go(15, 0.0)
    ride.go(5, 2.0)
    ride.go(15, 0.0)
    ride.go(1, 12.0)

    assert len(ride.stops.newest) == 1


def test_a_receiver_that_tells_no_speed_makes_no_stops() -> None:
    ride = Ride()
    ride.go(100, None)

    assert ride.stops.newest == ()


def test_only_the_newest_are_told() -> None:
    ride = Ride()
    for _ in range(KEPT_STOPS + 5):
        ride.go(30, 0.0)
        ride.go(60, 12.0)

    assert len(ride.stops.newest) == KEPT_STOPS
    ride.go(30, 0.0)
    assert len(ride.stops.newest) == KEPT_STOPS
    assert ride.stops.newest[-1].until is None


def test_without_decimals_only_the_degree_is_left() -> None:
    ride = Ride(decimals=0)
    ride.go(30, 0.0)

    assert (ride.stops.newest[0].latitude, ride.stops.newest[0].longitude) == (14.0, 108.0)
