"""Which trip a vehicle is on, by the clock."""

from datetime import datetime, timedelta, timezone

import pytest

from edge.trips import read_trip, trip_at

# A Friday.
DAY = datetime(2021, 7, 2, tzinfo=timezone(timedelta(hours=7)))


def trip(schedule: str, when: str, days: int = 0) -> str:
    hour, minute = map(int, when.split(":"))
    local = DAY + timedelta(days=days, hours=hour, minutes=minute)
    return trip_at([read_trip(text) for text in schedule.split()], local)


@pytest.mark.parametrize(
    "text",
    [
        "sang-1@05:30",
        "sang-1@05:30-07:10",
        "toi-2@23:30-01:10/sat",
        "cho@06:00/sat-sun",
        "x@06:00/mon-wed+fri",
    ],
)
def test_a_trip_is_written_as_it_is_read(text: str) -> None:
    assert str(read_trip(text)) == text


@pytest.mark.parametrize(
    "text", ["sang-1", "@05:30", "sang 1@05:30", "a@24:00", "a@5:30", "a@05:30-", "a@05:30/xyz", ""]
)
def test_what_is_no_trip_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        read_trip(text)


BOTH_WAYS = "di-1@05:30-07:10 ve-1@07:40-09:20 di-2@13:00-14:40"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("04:59", ""),
        ("05:00", "di-1"),  # people board
        ("06:10", "di-1"),
        ("07:09", "di-1"),
        ("07:10", "ve-1"),  # it has arrived: who is seen now boards the next
        ("07:40", "ve-1"),
        ("10:19", "ve-1"),  # late
        ("10:20", ""),
        ("12:30", "di-2"),
        ("15:39", "di-2"),
        ("15:40", ""),
    ],
)
def test_a_trip_is_boarded_ridden_and_left(when: str, expected: str) -> None:
    assert trip(BOTH_WAYS, when) == expected


def test_without_arrivals_a_trip_lasts_until_the_next_is_boarded() -> None:
    schedule = "a@05:00 b@05:40 c@12:00"
    times = ("04:30", "05:19", "05:20", "06:00", "11:29", "11:30", "23:59")

    assert [trip(schedule, when) for when in times] == ["a", "a", "b", "b", "b", "c", "c"]
    assert trip("a@05:00", "17:00") == ""


def test_a_trip_goes_on_across_midnight() -> None:
    schedule = "toi@23:30-01:10"

    assert trip(schedule, "22:59") == ""
    assert trip(schedule, "23:00") == "toi"
    assert trip(schedule, "00:30") == "toi"
    assert trip(schedule, "02:09") == "toi"
    assert trip(schedule, "02:10") == ""
    # ... and is boarded on the day before it departs.
    assert trip("dem@00:10", "23:45") == "dem"


def test_a_trip_goes_on_its_days_alone_counted_from_its_departure() -> None:
    schedule = "toi@23:30-01:10/fri"

    assert trip(schedule, "23:40") == "toi"
    assert trip(schedule, "00:30", days=1) == "toi"
    assert trip(schedule, "00:30") == ""
    assert trip(schedule, "23:40", days=1) == ""


def test_no_schedule_is_no_trip() -> None:
    assert trip("", "05:00") == ""
