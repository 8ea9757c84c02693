"""Sets of sequence numbers as ranges."""

import random

import pytest

from edge.ranges import Ranges, ranges_of


def test_ranges_that_touch_become_one() -> None:
    ranges = Ranges([(1, 3), (7, 9)])

    ranges.add(4, 6)

    assert list(ranges) == [(1, 9)]


def test_ranges_behave_as_the_set_of_their_numbers() -> None:
    chance = random.Random(3)
    for _ in range(300):
        ranges, numbers = Ranges(), set[int]()
        for _ in range(chance.randrange(12)):
            first = chance.randrange(1, 60)
            last = first + chance.randrange(8)
            ranges.add(first, last)
            numbers |= set(range(first, last + 1))
        low, high = sorted(chance.sample(range(70), 2))

        assert [n for n in range(75) if n in ranges] == sorted(numbers)
        assert list(ranges) == ranges_of(sorted(numbers))
        assert len(ranges) == len(numbers)
        assert ranges.count(low, high) == len(numbers & set(range(low, high + 1)))
        assert ranges.covers(low, high) == (set(range(low, high + 1)) <= numbers)
        missing = {n for first, last in ranges.gaps(low, high) for n in range(first, last + 1)}
        assert missing == set(range(low, high + 1)) - numbers


def test_a_range_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(ValueError, match="wrong way round"):
        Ranges().add(5, 4)
