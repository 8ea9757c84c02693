"""Trip and direction by the clock, of a unit whose clock may not be known."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.clock import Moment, Source
from edge.errors import ConfigError
from edge.scanner.boots import Boots
from edge.scanner.schedule import Schedule
from edge.unit_settings import UnitSettings, VehicleSettings
from tests.fakes import a_scan


def a_schedule(*trips: str, direction: str = "both", **unit: Any) -> Schedule:
    settings = UnitSettings(
        id="xe-1",
        area="pleiku",
        place="xe-1",
        direction=direction,  # type: ignore[arg-type]
        tracing_key_file="x",
        **unit,
    )
    return Schedule(settings, VehicleSettings(trips=trips))


def at(utc: str, clock: Source = "ntp") -> Moment:
    return Moment(at=f"2021-07-02T{utc}:00.000Z", boot="b" * 32, uptime_ms=1000, clock=clock)


def test_the_trip_is_that_of_the_hour_in_viet_nam() -> None:
    schedule = a_schedule("sang-1@05:30-07:10")

    # 22:45 UTC is 05:45 of the next day there.
    assert schedule.trip(at("22:45")) == "sang-1"
    assert schedule.trip(at("05:45")) == ""


def test_while_the_clock_is_unknown_no_trip_is_guessed() -> None:
    assert a_schedule("sang-1@05:30-07:10").trip(at("22:45", "none")) == ""
    assert a_schedule("sang-1@05:30", trip="le").trip(at("22:45", "none")) == "le"


def test_people_come_in_the_morning_and_go_in_the_evening() -> None:
    schedule = a_schedule(in_hours="mon-fri 04:00-12:00", out_hours="12:00-20:00")

    # A Friday; 23:00 UTC is the Saturday's 06:00.
    assert schedule.direction(at("02:00")) == "in"
    assert schedule.direction(at("06:00")) == "out"
    assert schedule.direction(at("23:00")) == "both"
    assert schedule.direction(at("02:00", "none")) == "both"


def test_hours_in_which_people_come_and_go_are_both() -> None:
    schedule = a_schedule(in_hours="04:00-13:00", out_hours="11:00-20:00")

    assert schedule.direction(at("05:00")) == "both"


def test_a_door_with_one_direction_has_it_always() -> None:
    assert a_schedule(direction="out").direction(at("02:00")) == "out"
    with pytest.raises(ConfigError, match='for direction "both"'):
        a_schedule(direction="out", in_hours="04:00-12:00")


def test_scans_that_wait_are_completed_when_the_clock_becomes_known(tmp_path: Path) -> None:
    schedule = a_schedule("sang-1@08:00-09:00", in_hours="06:00-12:00")
    boots = Boots(tmp_path / "boots.json", schedule)
    scan = a_scan(place="xe-1", direction="both", clock="none", uptime_ms=60_000)
    assert boots.dated(scan) == scan

    # 61 minutes after the scan, which so was made at 08:29 in Viet Nam.
    boots.note(
        Moment(at="2021-07-02T02:30:00.000Z", boot=scan.boot, uptime_ms=3_720_000, clock="gnss")
    )
    dated = boots.dated(scan)
    assert (dated.corrected, dated.trip, dated.direction) == (
        "2021-07-02T01:29:00.000Z",
        "sang-1",
        "in",
    )
    # One whose clock was known stays as it was.
    known = a_scan(direction="both", clock="ntp")
    assert boots.dated(known) == known


def test_scans_that_wait_are_of_the_bus_and_the_way_that_the_unit_was_set_to_then(
    tmp_path: Path,
) -> None:
    scan = a_scan(place="xe-81b-01234", direction="in", trip="chieu-3", uptime_ms=60_000)
    known = Moment(at="2021-07-02T02:30:00.000Z", boot=scan.boot, uptime_ms=3_720_000, clock="gnss")
    # Moved to another bus before the clock was known; and a door that people now leave by.
    moved = Boots(tmp_path / "bus.json", a_schedule("sang-1@08:00-09:00", in_hours="06:00-12:00"))
    turned = Boots(tmp_path / "door.json", a_schedule(direction="out"))
    for boots, one in ((moved, scan), (turned, msgspec.structs.replace(scan, place="xe-1"))):
        boots.note(known)

        dated = boots.dated(one)

        assert dated == msgspec.structs.replace(one, corrected="2021-07-02T01:29:00.000Z")
