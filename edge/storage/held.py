"""Which numbers of each unit are rows: the centre's proof that 1..n are all there."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy

from edge.ranges import Ranges, ranges_of
from edge.storage.rows import Gap, StoredScan
from edge.storage.writing import Writing

Key = tuple[str, str]  # unit, epoch


def hold(writing: Writing, scans: Sequence[StoredScan]) -> dict[Key, Ranges]:
    """Note the numbers of *scans* as held; gives which of them were held before, and more."""
    numbers: defaultdict[Key, set[int]] = defaultdict(set)
    for stored in scans:
        numbers[stored.unit, stored.scan.epoch].add(stored.scan.seq)
    arrived = {key: list(ranges_of(sorted(seqs))) for key, seqs in numbers.items()}
    neighbours = _neighbours(writing, arrived)
    before = {key: Ranges((first, last) for first, last, _ in neighbours[key]) for key in arrived}
    grown: list[list[Any]] = []  # unit, epoch, first, last, since
    gone: list[tuple[str, str, int]] = []
    for key in sorted(arrived):
        ranges, known = arrived[key], neighbours[key]
        if all(before[key].covers(first, last) for first, last in ranges):
            continue
        since = {first: since for first, _, since in known}
        for first, last in Ranges([*ranges, *((low, high) for low, high, _ in known)]):
            melted = [low for low, _, _ in known if first <= low <= last]
            grown.append([*key, first, last, since[melted[0]] if melted else None])
            gone += [(*key, low) for low in melted if low != first]
    _write(writing, grown, gone)
    return before


def _neighbours(
    writing: Writing, arrived: dict[Key, list[tuple[int, int]]]
) -> defaultdict[Key, list[tuple[int, int, str]]]:
    """(first, last, since) of what each range that arrived overlaps or touches, in order."""
    found: defaultdict[Key, list[tuple[int, int, str]]] = defaultdict(list)
    for unit, epoch, first, last, since in writing.ask(
        "SELECT DISTINCT h.unit, h.epoch, h.first, h.last, h.since"
        f" FROM {writing.database.given(unit=str, epoch=str, first=int, last=int)} g"
        " JOIN held h ON h.unit = g.unit AND h.epoch = g.epoch"
        " AND h.first <= g.last + 1 AND h.last >= g.first - 1"
        " ORDER BY h.unit, h.epoch, h.first",
        [(*key, first, last) for key, ranges in arrived.items() for first, last in ranges],
    ):
        found[unit, epoch].append((first, last, since))
    return found


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
        writing.change(
            f"DELETE FROM held WHERE (unit, epoch, first) IN (SELECT g.unit, g.epoch, g.first"
            f" FROM {database.given(unit=str, epoch=str, first=int)} g)",
            gone,
        )
    if grown:
        table = database.given(unit=str, epoch=str, first=int, last=int, since=str)
        writing.change(
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
