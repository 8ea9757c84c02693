import pickle

import pytest

from edge.scanner.rereads import GAP_S, Rereads, Sighting

CODE = (
    b"064190000123||Tr\xe1\xba\xa7n Th\xe1\xbb\x8b M\xe1\xba\xabu|17051990|N\xe1\xbb\xaf|x|10082021"
)
OTHER = b"064201000789||Rcom Th\xe1\xbb\xad Nghi\xe1\xbb\x87m|01012001|Nam|x|22122022"


@pytest.fixture
def rereads() -> Rereads:
    return Rereads(delay_s=5.0)


def test_a_code_never_seen_is_new(rereads: Rereads) -> None:
    assert rereads.look(CODE, "in", 100.0) is Sighting.NEW


def test_a_code_stays_new_until_it_is_remembered(rereads: Rereads) -> None:
    rereads.look(CODE, "in", 100.0)

    assert rereads.look(CODE, "in", 100.1) is Sighting.NEW
    assert len(rereads) == 0


def test_a_code_held_in_view_is_one_scan(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)

    sightings = {rereads.look(CODE, "in", 100.0 + frame / 15) for frame in range(1, 15 * 60)}

    assert sightings == {Sighting.HELD}


def test_a_frame_or_two_without_the_code_are_no_gap(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(CODE, "in", 100.9) is Sighting.HELD


def test_a_code_that_comes_back_within_the_delay_is_there_again(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(CODE, "in", 100.0 + GAP_S) is Sighting.AGAIN


def test_a_code_that_came_back_and_stays_is_told_once(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)
    rereads.look(CODE, "in", 103.0)

    assert rereads.look(CODE, "in", 103.1) is Sighting.HELD


def test_a_code_is_new_again_when_the_delay_is_over(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(CODE, "in", 105.0) is Sighting.NEW


def test_the_delay_counts_from_when_the_code_was_last_in_view(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)
    rereads.look(CODE, "in", 104.0)

    assert rereads.look(CODE, "in", 108.9) is Sighting.AGAIN
    assert rereads.look(CODE, "in", 113.9) is Sighting.NEW


def test_a_code_that_counted_again_is_held_again(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)
    rereads.look(CODE, "in", 105.0)
    rereads.remember(CODE, "in", 105.0)

    assert rereads.look(CODE, "in", 105.1) is Sighting.HELD


def test_going_out_is_not_coming_in_again(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(CODE, "out", 102.0) is Sighting.NEW
    assert rereads.look(CODE, "both", 102.0) is Sighting.NEW
    assert rereads.look(CODE, "in", 102.0) is Sighting.AGAIN


def test_a_code_in_view_while_the_doors_direction_changes_is_one_scan(rereads: Rereads) -> None:
    """As at the hour from which people go, or when the clock becomes known."""
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(CODE, "out", 100.1) is Sighting.HELD
    assert rereads.look(CODE, "out", 101.0) is Sighting.HELD
    # It was lowered, and is shown on the way out.
    assert rereads.look(CODE, "out", 102.5) is Sighting.NEW
    rereads.remember(CODE, "out", 102.5)
    assert rereads.look(CODE, "out", 102.6) is Sighting.HELD
    assert rereads.look(CODE, "out", 104.0) is Sighting.AGAIN


def test_two_codes_in_view_are_two_scans(rereads: Rereads) -> None:
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(OTHER, "in", 100.0) is Sighting.NEW

    rereads.remember(OTHER, "in", 100.0)
    assert rereads.look(CODE, "in", 100.1) is Sighting.HELD
    assert rereads.look(OTHER, "in", 100.1) is Sighting.HELD


def test_without_a_delay_each_appearance_counts() -> None:
    rereads = Rereads(delay_s=0)
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(CODE, "in", 100.9) is Sighting.HELD
    assert rereads.look(CODE, "in", 100.9 + GAP_S) is Sighting.NEW


def test_without_a_delay_a_code_held_in_view_is_still_one_scan() -> None:
    rereads = Rereads(delay_s=0)
    rereads.remember(CODE, "in", 100.0)

    sightings = {rereads.look(CODE, "in", 100.0 + frame / 2) for frame in range(1, 100)}

    assert sightings == {Sighting.HELD}


def test_a_delay_shorter_than_the_gap_never_splits_a_code_in_view() -> None:
    rereads = Rereads(delay_s=0.5)
    rereads.remember(CODE, "in", 100.0)

    assert rereads.look(CODE, "in", 100.7) is Sighting.HELD


def test_what_is_over_is_forgotten(rereads: Rereads) -> None:
    for moment in range(1_000):
        rereads.remember(b"%d" % moment, "in", float(moment))

    assert len(rereads) == 5


def test_no_more_codes_are_remembered_than_allowed() -> None:
    rereads = Rereads(delay_s=3_600, max_remembered=3)
    for number in range(4):
        rereads.remember(b"%d" % number, "in", 100.0 + number)

    assert len(rereads) == 3
    assert rereads.look(b"0", "in", 104.0) is Sighting.NEW
    assert rereads.look(b"1", "in", 104.0) is Sighting.AGAIN


def test_a_code_in_view_is_not_the_one_that_is_forgotten() -> None:
    rereads = Rereads(delay_s=3_600, max_remembered=2)
    rereads.remember(CODE, "in", 100.0)
    rereads.remember(OTHER, "in", 101.0)
    rereads.look(CODE, "in", 102.0)
    rereads.remember(b"third", "in", 103.0)

    assert rereads.look(CODE, "in", 102.5) is Sighting.HELD
    assert rereads.look(OTHER, "in", 103.0) is Sighting.NEW


def test_the_code_itself_is_not_in_memory_and_its_hash_differs_at_each_start() -> None:
    first, second = Rereads(5.0), Rereads(5.0)
    first.remember(CODE, "in", 100.0)
    second.remember(CODE, "in", 100.0)

    assert CODE not in pickle.dumps(first)
    assert first._last_seen.keys().isdisjoint(second._last_seen)
