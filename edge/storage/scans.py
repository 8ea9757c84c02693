"""The rows of scans: how they are made, and how each is put into its table once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import add

from edge.messages import Scan
from edge.storage.boots import Boots
from edge.storage.days import UNDATED, can_be, expired_among, table_of
from edge.storage.held import HeldBefore
from edge.storage.prepared import COLUMNS, Prepared, Row, column, is_time
from edge.storage.writing import Writing

Once = tuple[str, str, int, str]  # unit, epoch, seq, id: what is a row once
_once_of = column("unit", "epoch", "seq", "id")


def new_scans(writing: Writing, prepared: Prepared, before: HeldBefore | None) -> list[int]:
    """The places in *prepared* of those that are no rows yet, each once.

    *before* says which numbers are rows; a scan whose number is not among them needs no looking up.
    None if that is not to be trusted.
    """
    fresh: dict[Once, int] = {}
    doubtful: dict[Once, int] = {}
    days = prepared.days
    once: Once
    for place, once in enumerate(map(_once_of, prepared.rows)):
        is_held = before is None or before.has(*once[:3])
        (doubtful if is_held else fresh).setdefault(once, place)
    if not doubtful:
        return list(fresh.values())
    there = _find(writing, {once: days[place] for once, place in doubtful.items()})
    new = [place for once, place in doubtful.items() if once not in there]
    if before is not None:
        # What is held, and of a day that was taken away, was a row.
        expired = expired_among(writing, {days[place] for place in new} - {UNDATED})
        new = [place for place in new if days[place] not in expired]
    return sorted([*fresh.values(), *new])


def rows_of(prepared: Prepared, places: Sequence[int], boots: Boots) -> list[Row]:
    """The rows of *places* in *prepared*, each with the best time that is known of it."""
    rows = list(prepared.rows)
    for place, (unit, scan) in enumerate(prepared.scans()):
        if not prepared.days[place]:
            best, quality = _best_time(unit, scan, boots, prepared.received)
            *row, _, _ = rows[place]
            rows[place] = (*row, best, quality)
    return [rows[place] for place in places]


def insert(writing: Writing, rows: Sequence[Row], days: Sequence[str]) -> None:
    """Put *rows* into the tables of their *days*."""
    numbered: Iterable[Row] = map(add, rows, zip(writing.new_numbers(len(rows))))
    columns = (*COLUMNS, "number")
    if len(set(days)) == 1:
        writing.insert(table_of(days[0]), columns, numbered)
        return
    by_day: defaultdict[str, list[Row]] = defaultdict(list)
    for day, row in zip(days, numbered, strict=True):
        by_day[day].append(row)
    for day in sorted(by_day):
        writing.insert(table_of(day), columns, by_day[day])


def _best_time(unit: str, scan: Scan, boots: Boots, now: str) -> tuple[str, str]:
    """When *scan* of *unit* was made, as well as is known at *now*, and the quality of that."""
    # Without a day no clock of its own counts: it was not set, or cannot have been right.
    if scan.corrected is not None and can_be(scan.corrected, now):
        return scan.corrected, "corrected"
    time = boots.time_of(unit, scan.boot, scan.uptime_ms)
    if time is not None:
        return time, "corrected"
    return (scan.at if is_time(scan.at) else now), "unsynced"


def _find(writing: Writing, days: dict[Once, str]) -> set[Once]:
    """Which of the keys of *days* are rows, in the table of their day or in that of none."""
    by_day: defaultdict[str, list[Once]] = defaultdict(list)
    for once, day in days.items():
        by_day[day].append(once)
    by_day[UNDATED] = list(days)
    found: set[Once] = set()
    for day, keys in by_day.items():
        found |= set(_in_table(writing, table_of(day), keys))
    return found


def _in_table(writing: Writing, table: str, keys: Sequence[Once]) -> Iterable[Once]:
    given = writing.database.given(unit=str, epoch=str, seq=int, id=str)
    for row in writing.ask(
        f"SELECT t.unit, t.epoch, t.seq, t.id FROM {given} g JOIN {table} t"
        " ON t.unit = g.unit AND t.epoch = g.epoch AND t.seq = g.seq AND t.id = g.id",
        keys,
    ):
        yield tuple(row)
