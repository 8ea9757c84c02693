"""From scans to visits: who was where from when until when, and how sure that is.

An entry and the exit after it are a visit. A missing exit is closed at the earliest of the person's
next scan, the usual stay at such a place, its closing time, and midnight; such an end is estimated,
and so is the beginning of a visit of which only the exit was scanned. At a door for both directions
scans take turns, and what is made of them is inferred. Nothing is ever guessed without its mark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from edge.tracing.places import HOUR, PlaceFacts, local_midnight, next_midnight


class Direction(IntEnum):
    """Of a scan."""

    IN = 0
    OUT = 1
    BOTH = 2


class Quality(IntEnum):
    """Of a time: storage says which."""

    SYNCED = 0
    CORRECTED = 1
    UNSYNCED = 2


class Bound(IntEnum):
    """How an end of a visit is known."""

    SCANNED = 0
    INFERRED = 1  #: scanned at a door for both directions
    ESTIMATED = 2  #: not scanned
    UNTIMED = 3  #: scanned, but the unit's clock was not set: between the two times


#: An unsynced scan was made between the unit's time and its arrival; more than this is not offered.
UNTIMED_MS = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Sighting:
    """One scan of one person. Times are milliseconds since 1970."""

    time: int
    place: str
    direction: Direction
    trip: str = ""
    quality: Quality = Quality.SYNCED
    received: int = 0
    scan: bytes = b""  #: its id, 16 bytes


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay at one place, from *start* to *end*, milliseconds since 1970."""

    place: str
    trip: str
    start: int
    end: int
    start_bound: Bound
    end_bound: Bound
    #: The scans it was made from, the entry's and the exit's; empty where there was none.
    entry: bytes = b""
    exit: bytes = b""

    @property
    def estimated(self) -> bool:
        """Whether an end of it was not scanned."""
        return Bound.ESTIMATED in (self.start_bound, self.end_bound)


def visits(sightings: Sequence[Sighting], facts: Callable[[str], PlaceFacts]) -> list[Visit]:
    """The visits that one person's *sightings* tell of, by their beginning."""
    found: list[Visit] = []
    open_: Sighting | None = None
    last_end = 0
    for sighting in sorted(sightings, key=_order):
        if sighting.quality is Quality.UNSYNCED:
            # Nothing can be paired with it: where it stands among the others is not known.
            found.append(_untimed(sighting))
            continue
        place = facts(sighting.place)
        leaves = _leaves(sighting, open_, place)
        if leaves and open_ is not None and _pairs(open_, sighting, place):
            found.append(_whole(open_, sighting))
            open_ = None
        else:
            if open_ is not None:
                found.append(_closed(open_, facts(open_.place), sighting.time))
                open_ = None
            if leaves:
                found.append(_opened(sighting, place, last_end))
            else:
                open_ = sighting
        last_end = sighting.time
    if open_ is not None:
        found.append(_closed(open_, facts(open_.place), None))
    return sorted(found, key=lambda visit: (visit.start, visit.end))


def _order(sighting: Sighting) -> tuple[int, int, bytes]:
    # Out before in where two fall on one moment: from one place to the next.
    return (sighting.time, -sighting.direction, sighting.scan)


def _leaves(sighting: Sighting, open_: Sighting | None, place: PlaceFacts) -> bool:
    if sighting.direction is not Direction.BOTH:
        return sighting.direction is Direction.OUT
    return (
        open_ is not None
        and _same(open_, sighting)
        and sighting.time - open_.time <= place.toggle_ms()
    )


def _pairs(entry: Sighting, exit_: Sighting, place: PlaceFacts) -> bool:
    return _same(entry, exit_) and exit_.time - entry.time <= place.longest_ms


def _same(one: Sighting, other: Sighting) -> bool:
    return one.place == other.place and one.trip == other.trip


def _whole(entry: Sighting, exit_: Sighting) -> Visit:
    return Visit(
        entry.place,
        entry.trip,
        entry.time,
        exit_.time,
        _scanned(entry),
        _scanned(exit_),
        entry.scan,
        exit_.scan,
    )


def _closed(entry: Sighting, place: PlaceFacts, next_scan: int | None) -> Visit:
    """A visit whose exit is missing: the earliest of all that may have ended it."""
    ends = [entry.time + place.usual_stay_ms, next_midnight(entry.time)]
    if next_scan is not None:
        ends.append(next_scan)
    closing = place.closes_after(entry.time)
    if closing is not None:
        ends.append(closing)
    return Visit(
        entry.place,
        entry.trip,
        entry.time,
        min(ends),
        _scanned(entry),
        Bound.ESTIMATED,
        entry.scan,
    )


def _opened(exit_: Sighting, place: PlaceFacts, last_end: int) -> Visit:
    """A visit whose entry is missing: the latest of all that may have begun it."""
    starts = [exit_.time - place.usual_stay_ms, local_midnight(exit_.time - 1), last_end]
    opening = place.opened_before(exit_.time)
    if opening is not None:
        starts.append(opening)
    return Visit(
        exit_.place,
        exit_.trip,
        max(starts),
        exit_.time,
        Bound.ESTIMATED,
        _scanned(exit_),
        b"",
        exit_.scan,
    )


def _untimed(sighting: Sighting) -> Visit:
    latest = min(max(sighting.received, sighting.time), sighting.time + UNTIMED_MS)
    entry = sighting.scan if sighting.direction is not Direction.OUT else b""
    exit_ = sighting.scan if sighting.direction is Direction.OUT else b""
    return Visit(
        sighting.place,
        sighting.trip,
        sighting.time,
        latest,
        Bound.UNTIMED,
        Bound.UNTIMED,
        entry,
        exit_,
    )


def _scanned(sighting: Sighting) -> Bound:
    return Bound.INFERRED if sighting.direction is Direction.BOTH else Bound.SCANNED
