"""`edge-collector audit`: for each unit, what storage holds of it and what speaks against that."""

from typing import Any

from edge import cli
from edge.storage.rows import UnitRow

#: So many gaps are named; the number of the others is given.
NAMED_GAPS = 5


def facts(row: UnitRow) -> dict[str, Any]:
    """What is known of a unit, for a program."""
    return {
        "unit": row.unit,
        "area": row.area,
        "place": row.place,
        "state": row.state,
        "scans": row.scans,
        "complete": is_complete(row),
        "epochs": [
            {
                "epoch": epoch,
                "begun": row.begun[epoch],
                "lowest": min(first for first, _ in held),
                "highest": max(last for _, last in held),
                "complete_to": complete_to(row, epoch),
            }
            for epoch, held in row.held.items()
        ],
        "gaps": [{"epoch": epoch, "first": first, "last": last} for epoch, first, last in row.gaps],
        "repeats": row.repeats,
        "doubles": row.doubles,
        "doubled": row.doubled,
        "takeovers": row.takeovers,
        "taken_over": row.taken_over,
        "clock": {"synced": row.synced, "corrected": row.corrected, "unsynced": row.unsynced},
        "last_scan": row.last_scan,
        "seen": row.seen,
    }


def lines(row: UnitRow) -> list[str]:
    """What is known of a unit, for a person: one line, and one for each thing to look into."""
    numbers = "; ".join(_numbers(row, epoch) for epoch in row.held) or "no scans yet"
    found = [
        f"{row.unit:<20} {row.state:<8} {numbers}",
        f"  clock: {_clock(row)}; {row.repeats} repeats; last scan {row.last_scan or 'never'},"
        f" last seen {row.seen or 'never'}",
    ]
    if row.gaps:
        missing = sum(last - first + 1 for _, first, last in row.gaps)
        named = ", ".join(_span(first, last) for _, first, last in row.gaps[:NAMED_GAPS])
        more = len(row.gaps) - NAMED_GAPS
        found.append(
            f"  MISSING {missing}: {named}{f' and {more} more gaps' if more > 0 else ''};"
            " ask the unit with `edge-collector audit --ask`"
        )
    if len(row.held) > 1:
        began = ", ".join(row.begun[epoch] for epoch in list(row.held)[1:])
        found.append(f"  begun anew (re-imaged, or its outbox was lost): {began}")
    if row.doubles:
        found.append(
            f"  TWO UNITS UNDER THIS NAME: {row.doubles} numbers came with two ids, last"
            f" {row.doubled}; all are stored, but give one unit another name"
        )
    if row.takeovers:
        found.append(
            f"  TWO UNITS UNDER THIS NAME took over from each other {row.takeovers} times, last"
            f" {row.taken_over}; give one of them another name"
        )
    return found


def json_line(row: UnitRow) -> str:
    """`facts` as one line."""
    return cli.json_line(facts(row))


def is_complete(row: UnitRow) -> bool:
    """Whether all is there, and of one unit."""
    return not (row.gaps or row.doubles or row.takeovers)


def complete_to(row: UnitRow, epoch: str) -> int:
    """Up to which number every scan of *epoch* is a row."""
    first, last = next(iter(row.held[epoch]))
    return last if first == 1 else 0


def _numbers(row: UnitRow, epoch: str) -> str:
    highest = max(last for _, last in row.held[epoch])
    complete = complete_to(row, epoch)
    return f"complete to {complete}" + (f", highest {highest}" if highest != complete else "")


def _clock(row: UnitRow) -> str:
    counts = {"synced": row.synced, "corrected": row.corrected, "unsynced": row.unsynced}
    total = sum(counts.values())
    if not total:
        return "no scans"
    return ", ".join(f"{name} {_percent(count, total)}" for name, count in counts.items() if count)


def _percent(count: int, total: int) -> str:
    # Rounded down: a single scan of unknown time must not read as none.
    return f"{count * 1000 // total / 10:g} %" if count * 1000 >= total else "below 0.1 %"


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"
