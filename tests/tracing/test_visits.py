"""Visits: entries and exits make intervals, and whatever was not scanned is marked."""

import random

import pytest

from edge.tracing.places import Places
from edge.tracing.visits import Bound, Quality, Sighting, Visit, visits
from tests.tracing.desk import at, local, seen, the_places

S, I, E, U = Bound.SCANNED, Bound.INFERRED, Bound.ESTIMATED, Bound.UNTIMED  # noqa: E741


def told(*sightings: Sighting) -> list[tuple[str, str, str, Bound, Bound]]:
    return [
        (
            visit.place,
            local(visit.start)[3:],
            local(visit.end)[3:],
            visit.start_bound,
            visit.end_bound,
        )
        for visit in visits(sightings, the_places().facts)
    ]


def test_an_entry_and_an_exit_are_a_visit() -> None:
    assert told(seen("08:00"), seen("10:30", direction="out")) == [
        ("cho-1", "08:00", "10:30", S, S)
    ]


def test_a_missing_exit_ends_with_the_next_scan_elsewhere() -> None:
    found = told(seen("08:00"), seen("08:40", "ben-xe"), seen("09:00", "ben-xe", "out"))

    assert found == [("cho-1", "08:00", "08:40", S, E), ("ben-xe", "08:40", "09:00", S, S)]


def test_a_missing_exit_ends_with_the_usual_stay() -> None:
    assert told(seen("08:00")) == [("cho-1", "08:00", "09:30", S, E)]


def test_a_missing_exit_ends_when_the_place_closes() -> None:
    assert told(seen("16:20")) == [("cho-1", "16:20", "17:00", S, E)]
    assert told(seen("01:00", "bar-1")) == [("bar-1", "01:00", "02:00", S, E)]


def test_a_missing_exit_ends_at_midnight() -> None:
    (visit,) = visits([seen("23:30", "ben-xe")], the_places().facts)

    assert local(visit.end) == "03 00:00"
    assert visit.end_bound is E


def test_a_missing_entry_begins_with_the_usual_stay_the_last_scan_or_the_opening() -> None:
    assert told(seen("10:00", direction="out")) == [("cho-1", "08:30", "10:00", E, S)]
    assert told(seen("05:40", direction="out")) == [("cho-1", "05:00", "05:40", E, S)]
    assert told(seen("00:20", "ben-xe", "out")) == [("ben-xe", "00:00", "00:20", E, S)]
    assert told(
        seen("09:00", "ben-xe"), seen("09:30", "ben-xe", "out"), seen("10:00", direction="out")
    ) == [("ben-xe", "09:00", "09:30", S, S), ("cho-1", "09:30", "10:00", E, S)]


def test_a_long_day_is_one_visit_and_a_night_is_none() -> None:
    assert told(seen("05:00"), seen("16:30", direction="out")) == [
        ("cho-1", "05:00", "16:30", S, S)
    ]
    apart = told(seen("15:00"), seen("08:00", direction="out", day=3))
    assert apart == [("cho-1", "15:00", "16:30", S, E), ("cho-1", "06:30", "08:00", E, S)]


def test_a_night_out_that_was_scanned_is_one_visit_across_midnight() -> None:
    assert told(seen("22:00", "bar-1"), seen("01:30", "bar-1", "out", day=3)) == [
        ("bar-1", "22:00", "01:30", S, S)
    ]


def test_a_door_for_both_directions_takes_turns_and_says_so() -> None:
    bus = [seen(clock, "xe-1", "both", trip="t1") for clock in ("07:00", "07:40")]
    later = [seen(clock, "xe-1", "both", trip="t2") for clock in ("17:00", "17:25")]

    assert told(*bus, *later) == [
        ("xe-1", "07:00", "07:40", I, I),
        ("xe-1", "17:00", "17:25", I, I),
    ]


def test_a_door_for_both_directions_begins_anew_on_another_trip_or_after_long() -> None:
    assert told(
        seen("07:00", "xe-1", "both", trip="t1"), seen("07:50", "xe-1", "both", trip="t2")
    ) == [("xe-1", "07:00", "07:50", I, E), ("xe-1", "07:50", "09:20", I, E)]
    assert [v[3:] for v in told(seen("07:00", "xe-1", "both"), seen("12:00", "xe-1", "both"))] == [
        (I, E),
        (I, E),
    ]


def test_a_scan_with_an_unknown_time_is_a_possible_visit_and_disturbs_no_other() -> None:
    untimed = seen("03:00", "ben-xe", quality=Quality.UNSYNCED, received=at("11:00"))

    assert told(seen("08:00"), untimed, seen("10:30", direction="out")) == [
        ("ben-xe", "03:00", "11:00", U, U),
        ("cho-1", "08:00", "10:30", S, S),
    ]


def test_an_unknown_time_is_never_wider_than_a_day() -> None:
    (visit,) = visits(
        [seen("03:00", quality=Quality.UNSYNCED, received=at("03:00", 9))], the_places().facts
    )

    assert visit.end - visit.start == 24 * 3_600_000


def test_a_place_that_nobody_registered_has_a_cautious_stay() -> None:
    (visit,) = visits([seen("08:00", "la")], Places().facts)

    assert local(visit.end) == "02 10:00"
    assert visit.estimated


@pytest.mark.parametrize("seed", range(20))
def test_any_sightings_in_any_order_give_the_same_marked_visits(seed: int) -> None:
    rng = random.Random(seed)
    sightings = [
        seen(
            f"{rng.randrange(24):02}:{rng.randrange(60):02}",
            rng.choice(["cho-1", "ben-xe", "xe-1", "bar-1", "la"]),
            rng.choice(["in", "out", "both"]),
            day=rng.randrange(1, 4),
            trip=rng.choice(["", "t1"]),
        )
        for _ in range(rng.randrange(1, 40))
    ]

    found = visits(sightings, the_places().facts)
    rng.shuffle(sightings)

    assert visits(sightings, the_places().facts) == found
    scanned = {sighting.scan: sighting for sighting in sightings}
    used: list[bytes] = []
    for visit in found:
        assert visit.start <= visit.end
        assert_marked(visit, scanned)
        used += [scan for scan in (visit.entry, visit.exit) if scan]
    # Each scan is in exactly one visit: none is lost, none counts twice.
    assert sorted(used) == sorted(scanned)


def assert_marked(visit: Visit, scanned: dict[bytes, Sighting]) -> None:
    for scan, bound, time in (
        (visit.entry, visit.start_bound, visit.start),
        (visit.exit, visit.end_bound, visit.end),
    ):
        if scan:
            assert scanned[scan].time == time
            assert bound in (S, I)
        else:
            assert bound is E
