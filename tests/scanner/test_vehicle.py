"""What a unit on a vehicle tells of it, from a receiver's line to its health."""

import os
import time
import tty
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from edge.messages import OnBoard
from edge.scanner.gnss_clock import CLOCK, FIXES
from edge.scanner.gps import Fix
from edge.scanner.schedule import Schedule
from edge.scanner.settings import ScannerSettings
from edge.scanner.vehicle import Vehicle
from tests.fakes import FakeClock, eventually
from tests.nmea import a_ride

AT = 1_625_189_400.0


def settings(**tables: object) -> ScannerSettings:
    unit = {
        "id": "xe-1",
        "area": "pleiku",
        "place": "xe-1",
        "direction": "in",
        "tracing_key_file": "x",
    }
    return msgspec.convert({"unit": unit, "broker": {}, **tables}, ScannerSettings)


def told(given: ScannerSettings, stack: ExitStack, clock: FakeClock) -> Vehicle:
    return Vehicle(given, Schedule(given.unit, given.vehicle), clock, stack)


def test_a_unit_at_a_gate_tells_of_no_vehicle() -> None:
    with ExitStack() as stack:
        clock = FakeClock()

        assert told(settings(), stack, clock).tell(clock.now()) is None


def test_a_bus_without_a_receiver_tells_its_trip() -> None:
    with ExitStack() as stack:
        clock = FakeClock()
        clock.synchronized = True
        vehicle = told(settings(vehicle={"trips": ["sang-1@08:00-10:00"]}), stack, clock)

        assert vehicle.tell(clock.now()) == OnBoard(trip="sang-1", gps="none")


def test_a_receiver_at_a_line_is_heard(tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    clock, ride = FakeClock(), a_ride(AT, 10_000)
    with ExitStack() as stack:
        vehicle = told(settings(gps={"source": os.ttyname(slave)}), stack, clock)

        def state() -> str:
            now = vehicle.tell(clock.now())
            assert now is not None
            return now.gps

        def turn() -> None:
            os.write(master, next(ride))
            # The receiver is read by a thread of its own, which this clock must not run away from.
            time.sleep(0.05)

        eventually(lambda: state() == "fix", "a fix", turn=turn)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(("decimals", "stops"), [(-1, 0), (2, 1)])
def test_the_time_is_told_always_and_the_stops_only_if_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decimals: int, stops: int
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    clock = FakeClock()
    gps = {"source": str(tmp_path / "none"), "position_decimals": decimals}
    with ExitStack() as stack:
        vehicle = told(settings(gps=gps), stack, clock)
        for second in range(max(FIXES, 30)):
            vehicle.fix(Fix(AT + second, clock.now().uptime_ms, 13.97, 108.0, 0.0))
            clock.advance(1.0)
        now = vehicle.tell(clock.now())

    assert (tmp_path / CLOCK).exists()
    assert now is not None
    assert len(now.stops) == stops
