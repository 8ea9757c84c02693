"""Which numbers of each unit are rows: the centre's proof that 1..n are all there."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import sqlalchemy

from edge.ranges import Ranges
from edge.storage.rows import Gap
from edge.storage.writing import Question, Writing

Key = tuple[str, str]  # unit, epoch
Range = tuple[int, int, str]  # first, last, since
#: The numbers of a batch, as ranges in their order.
Arrived = dict[Key, list[tuple[int, int]]]


@dataclass
class HeldBefore:
    """Which numbers of a batch were held before it came."""

    #: (first, last, since) of what the numbers of the batch overlap or touch, in order.
    ranges: Mapping[Key, list[Range]]
    #: How many of its numbers were not held, by unit.
    new: Counter[str]
    #: Whether none was, and none comes twice: so all its scans are new.
    all_new: bool

    def has(self, unit: str, epoch: str, seq: int) -> bool:
        """Whether the number *seq* was held."""
        known = self.ranges[unit, epoch]
        place = bisect_right(known, seq, key=itemgetter(0)) - 1
        return place >= 0 and known[place][1] >= seq


def neighbours(writing: Writing, arrived: Arrived) -> Question:
    """Asks for what is held that the numbers *arrived* overlap or touch."""
    return (
        "SELECT DISTINCT h.unit, h.epoch, h.first, h.last, h.since"
        f" FROM {writing.database.given(unit=str, epoch=str, first=int, last=int)} g"
        " JOIN held h ON h.unit = g.unit AND h.epoch = g.epoch"
        " AND h.first <= g.last + 1 AND h.last >= g.first - 1"
        " ORDER BY h.unit, h.epoch, h.first",
        [(*key, first, last) for key, ranges in arrived.items() for first, last in ranges],
        {},
    )


def hold(
    writing: Writing, arrived: Arrived, answer: Iterable[tuple[Any, ...]], scans: int
) -> HeldBefore:
    """Note the numbers *arrived*, of so many *scans*, as held; gives which of them were before.

    *answer* is that to `neighbours`.
    """
    before: defaultdict[Key, list[Range]] = defaultdict(list)
    for unit, epoch, first, last, since in answer:
        before[unit, epoch].append((first, last, since))
    new: Counter[str] = Counter()
    grown: list[list[Any]] = []  # unit, epoch, first, last, since
    gone: list[tuple[str, str, int]] = []
    for key in sorted(arrived):
        ranges, known = arrived[key], before[key]
        count = sum(last - first + 1 for first, last in ranges)
        if len(known) == len(ranges) == 1 and ranges[0][0] == known[0][1] + 1:
            # As nearly always: the numbers go on where they were.
            (_, last), (low, _, since) = ranges[0], known[0]
            grown.append([*key, low, last, since])
            new[key[0]] += count
            continue
        held = Ranges((low, high) for low, high, _ in known)
        already = sum(held.count(first, last) for first, last in ranges)
        if already == count:
            continue
        new[key[0]] += count - already
        known_since = {low: since for low, _, since in known}
        held.update(ranges)
        for first, last in held:
            melted = [low for low in known_since if first <= low <= last]
            grown.append([*key, first, last, known_since[melted[0]] if melted else None])
            gone += [(*key, low) for low in melted if low != first]
    _write(writing, grown, gone)
    return HeldBefore(before, new, all_new=new.total() == scans)


def _write(writing: Writing, grown: list[list[Any]], gone: list[tuple[str, str, int]]) -> None:
    database = writing.database
    # The gap below a range has been known since the first number above it came.
    new = [row for row in grown if row[4] is None]
    if new:
        above = writing.ask(
            "SELECT (SELECT h.since FROM held h WHERE h.unit = g.unit AND h.epoch = g.epoch"
            " AND h.first > g.last ORDER BY h.first LIMIT 1)"
            f" FROM {database.given(unit=str, epoch=str, last=int, place=int)} g ORDER BY g.place",
            [(unit, epoch, last, n) for n, (unit, epoch, _, last, _) in enumerate(new)],
        )
        for row, (since,) in zip(new, above, strict=True):
            row[4] = since or writing.now
    if gone:
        writing.change_at_end(
            f"DELETE FROM held WHERE (unit, epoch, first) IN (SELECT g.unit, g.epoch, g.first"
            f" FROM {database.given(unit=str, epoch=str, first=int)} g)",
            gone,
        )
    if grown:
        table = database.given(unit=str, epoch=str, first=int, last=int, since=str)
        writing.change_at_end(
            "INSERT INTO held (unit, epoch, first, last, since)"
            f" SELECT unit, epoch, first, last, since FROM {table} g WHERE true"
            " ON CONFLICT (unit, epoch, first) DO UPDATE SET last = excluded.last,"
            " since = excluded.since",
            grown,
        )


def gaps_to_ask_for(connection: sqlalchemy.Connection, known_before: str) -> list[Gap]:
    """Gaps known since before *known_before*, of units that may be there and still have them."""
    return [
        Gap(*row)
        for row in connection.execute(
            sqlalchemy.text(
                """
                SELECT unit.area, gap.unit, gap.epoch, gap.first, gap.last, gap.since
                FROM (SELECT unit, epoch, since, first - 1 AS last,
                             lag(last, 1, 0) OVER (PARTITION BY unit, epoch ORDER BY first) + 1
                             AS first
                      FROM held) AS gap
                JOIN unit ON unit.unit = gap.unit
                WHERE gap.first <= gap.last AND gap.since <= :known_before
                  AND unit.state NOT IN ('stopped', 'offline') AND unit.epoch IN ('', gap.epoch)
                ORDER BY gap.unit, gap.epoch, gap.first
                """
            ),
            {"known_before": known_before},
        )
    ]
