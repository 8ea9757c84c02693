"""Sets of sequence numbers, kept as ranges.

A unit's confirmed scans, or the scans that storage holds of a unit, are nearly always 1..n with few
holes. As ranges they stay a handful of pairs, whatever n is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of whole numbers as sorted, disjoint ranges; both ends of a range belong to it."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add *first* to *last*, or *first* alone. Raises ValueError if they are out of order."""
        last = first if last is None else last
        if last < first:
            raise ValueError(f"a range of {first} to {last} is the wrong way round")
        # Those that overlap or touch the new one are [low, high) and melt into it.
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def update(self, other: Iterable[tuple[int, int]]) -> None:
        """Add each (first, last) of *other*."""
        for first, last in other:
            self.add(first, last)

    def covers(self, first: int, last: int) -> bool:
        """Whether every number from *first* to *last* is in the set."""
        place = bisect_right(self._firsts, first) - 1
        return place >= 0 and self._lasts[place] >= last

    def count(self, first: int, last: int) -> int:
        """How many numbers from *first* to *last* are in the set."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        return sum(
            min(self._lasts[i], last) - max(self._firsts[i], first) + 1 for i in range(low, high)
        )

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges between *first* and *last* that are not in the set."""
        gaps = []
        for start, end in self:
            if end < first:
                continue
            if start > last:
                break
            if start > first:
                gaps.append((first, start - 1))
            first = end + 1
        if first <= last:
            gaps.append((first, last))
        return gaps

    def __contains__(self, number: int) -> bool:
        return self.covers(number, number)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"


def ranges_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """*numbers*, in rising order and each once, as (first, last) ranges."""
    ranges: list[tuple[int, int]] = []
    rising = list(numbers)
    if rising and rising[-1] - rising[0] == len(rising) - 1:
        return [(rising[0], rising[-1])]
    for number in rising:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges
