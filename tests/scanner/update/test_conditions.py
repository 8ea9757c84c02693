"""When new software may be put in place."""

from typing import Any

import pytest

from edge.clock import Moment, Source
from edge.messages import Machine
from edge.scanner.update.conditions import why_not_now
from edge.unit_settings import UpdateSettings

HOURS = "mon-sat 05:00-18:00"
NEEDED = 500 << 20


def why_not(
    at: str,
    clock: Source = "ntp",
    hours: str = HOURS,
    window: str = "",
    scans: bool = True,
    **machine: Any,
) -> str:
    moment = Moment(at=at, boot="b" * 32, uptime_ms=1, clock=clock)
    facts = {"disk_free_bytes": 10 * NEEDED, "under_voltage": False, "throttled": False} | machine
    settings = UpdateSettings(hours=hours, window=window)
    return why_not_now(settings, moment, Machine(**facts), NEEDED, scans=scans)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        # 2026-11-25 is a Wednesday; Vietnam is seven hours ahead.
        ("2026-11-25T15:00:00.000Z", ""),
        ("2026-11-25T22:30:00.000Z", "the place is open"),
        ("2026-11-25T21:50:00.000Z", "the place opens soon"),
        ("2026-11-25T10:59:00.000Z", "the place is open"),
        ("2026-11-25T11:00:00.000Z", ""),
        # On Sunday it is closed.
        ("2026-11-28T23:00:00.000Z", ""),
    ],
)
def test_never_while_people_come(at: str, why: str) -> None:
    assert why_not(at).startswith(why)
    assert bool(why_not(at)) == bool(why)


def test_a_place_whose_hours_nobody_knows_has_its_night() -> None:
    assert why_not("2026-11-25T19:00:00.000Z", hours="") == ""
    assert "window" in why_not("2026-11-25T15:00:00.000Z", hours="")


def test_a_window_that_was_set_counts_instead_of_the_hours() -> None:
    # 11:45 and 23:00 in Vietnam.
    noon, night = "2026-11-25T04:45:00.000Z", "2026-11-25T16:00:00.000Z"
    assert why_not(noon, window="11:30-12:30") == ""
    assert why_not(night, window="11:30-12:30") == "it waits for its window: 11:30-12:30"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"clock": "none"}, "the clock is not set"),
        ({"under_voltage": True}, "supply"),
        ({"throttled": True}, "slowed down"),
        ({"disk_free_bytes": NEEDED - 1}, "MB are needed"),
        ({"disk_free_bytes": None}, "MB are needed"),
        ({"under_voltage": None, "throttled": None}, ""),
    ],
)
def test_never_with_a_weak_supply_a_full_disk_or_an_unknown_time(
    facts: dict[str, Any], why: str
) -> None:
    said = why_not("2026-11-25T15:00:00.000Z", **facts)

    assert why in said
    assert bool(said) == bool(why)


def test_a_unit_that_does_not_scan_is_nobodys_to_wait_for() -> None:
    assert why_not("2026-11-25T22:30:00.000Z", scans=False) == ""
    assert why_not("2026-11-25T22:30:00.000Z", clock="none", scans=False) == ""
    assert "supply" in why_not("2026-11-25T22:30:00.000Z", scans=False, under_voltage=True)
