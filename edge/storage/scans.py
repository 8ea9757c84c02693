"""The rows of scans: how they are made, and how each is put into its table once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from edge.storage.boots import Boots
from edge.storage.days import UNDATED, Days, can_be, expired_among, table_of
from edge.storage.held import HeldBefore
from edge.storage.rows import StoredScan
from edge.storage.writing import Writing

COLUMNS = (
    "number",
    "unit",
    "epoch",
    "seq",
    "id",
    "area",
    "place",
    "direction",
    "trip",
    "document",
    "at",
    "boot",
    "uptime_ms",
    "clock",
    "time",
    "time_quality",
    "received",
    "key",
    "sealed",
)

Once = tuple[str, str, int, str]  # unit, epoch, seq, id: what is a row once


def days_of(scans: Sequence[StoredScan], days: Days, now: str) -> list[str]:
    """The day of each of *scans*, which came in at *now*; only a time that is one has a day."""
    found = {UNDATED: UNDATED}
    result = []
    for stored in scans:
        scan = stored.scan
        # The contract looks at the form alone; there is no 30 February, and no second 60.
        minute = scan.at[:16] if scan.clock != "none" and scan.at[17] < "6" else UNDATED
        if minute not in found:
            at = f"{minute}:00.000Z"
            found[minute] = days.day_of(at, scan.clock, now) if _is_time(at) else UNDATED
        result.append(found[minute])
    return result


def new_scans(
    writing: Writing,
    scans: Sequence[StoredScan],
    days: Sequence[str],
    before: HeldBefore | None,
) -> list[int]:
    """The places in *scans* of those that are no rows yet, each once.

    *before* says which numbers are rows; a scan whose number is not among them needs no looking up.
    None if that is not to be trusted.
    """
    fresh: dict[Once, int] = {}
    doubtful: dict[Once, int] = {}
    for place, stored in enumerate(scans):
        scan = stored.scan
        once = (stored.unit, scan.epoch, scan.seq, scan.id)
        is_held = before is None or before.has(stored.unit, scan.epoch, scan.seq)
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


def insert(
    writing: Writing,
    scans: Sequence[StoredScan],
    days: Sequence[str],
    times: Sequence[tuple[str, str]],
) -> None:
    """Make rows of *scans*, none of which is one; *times*: the best known, and its quality."""
    numbers = writing.new_numbers(len(scans))
    now = writing.now
    rows = [
        (
            number,
            stored.unit,
            (scan := stored.scan).epoch,
            scan.seq,
            scan.id,
            stored.area,
            scan.place,
            scan.direction,
            scan.trip,
            scan.document,
            scan.at,
            scan.boot,
            scan.uptime_ms,
            scan.clock,
            time,
            quality,
            now,
            scan.key,
            scan.sealed,
        )
        for number, stored, (time, quality) in zip(numbers, scans, times, strict=True)
    ]
    for day in sorted(set(days)):
        of_day = [row for row, its in zip(rows, days, strict=True) if its == day]
        writing.insert(table_of(day), COLUMNS, of_day)


def best_times(
    scans: Sequence[StoredScan], days: Sequence[str], boots: Boots, now: str
) -> list[tuple[str, str]]:
    """When each of *scans* was made, as well as is known at *now*, and the quality of that."""
    return [
        (stored.scan.at, "synced") if day else _best_time(stored, boots, now)
        for stored, day in zip(scans, days, strict=True)
    ]


def _best_time(stored: StoredScan, boots: Boots, now: str) -> tuple[str, str]:
    # Without a day no clock of its own counts: it was not set, or cannot have been right.
    scan = stored.scan
    if scan.corrected is not None and can_be(scan.corrected, now):
        return scan.corrected, "corrected"
    time = boots.time_of(stored.unit, scan.boot, scan.uptime_ms)
    if time is not None:
        return time, "corrected"
    return (scan.at if _is_time(scan.at) else now), "unsynced"


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


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
