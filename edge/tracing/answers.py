"""What the desk answers. Persons are named by their number in the index; times are milliseconds."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum

from edge.tracing.places import LOCAL_MS
from edge.tracing.visits import Bound


class Certainty(IntEnum):
    """How far an answer can be relied on; the first is the surest."""

    SCANNED = 0  #: entry and exit of both were scanned
    INFERRED = 1  #: at a door for both directions, scans were taken by turns
    ESTIMATED = 2  #: an entry or exit was not scanned, and its time is estimated
    POSSIBLE = 3  #: a scan's time is not known


#: What an end of a visit lets be said.
CERTAINTY = {
    Bound.SCANNED: Certainty.SCANNED,
    Bound.INFERRED: Certainty.INFERRED,
    Bound.ESTIMATED: Certainty.ESTIMATED,
    Bound.UNTIMED: Certainty.POSSIBLE,
}


@dataclass(frozen=True)
class Stay:
    """A visit as an answer has it. Times are milliseconds since 1970."""

    number: int
    person: int
    place: str
    trip: str
    start: int
    end: int
    start_bound: Bound
    end_bound: Bound
    entry: bytes = field(default=b"", repr=False)
    exit: bytes = field(default=b"", repr=False)

    @property
    def certainty(self) -> Certainty:
        """Of its less sure end."""
        return max(CERTAINTY[self.start_bound], CERTAINTY[self.end_bound])


@dataclass(frozen=True)
class Meeting:
    """Two persons at one place at one time."""

    place: str
    trip: str
    start: int
    end: int
    #: Together by the times as they are known, in minutes...
    minutes: float
    #: ... and if clocks were off by the margin.
    at_most: float
    certainty: Certainty


@dataclass(frozen=True)
class Contact:
    """Somebody who was where the person was."""

    person: int
    minutes: float
    certainty: Certainty  #: of the surest meeting
    meetings: tuple[Meeting, ...]
    #: Whose contact this is: the person asked about, or in the second ring, one of their contacts.
    of: int


@dataclass(frozen=True)
class PlaceDay:
    """What the index has of one place on one local day."""

    place: str
    day: str
    scans_in: int
    scans_out: int
    scans_both: int
    unsynced: int
    units: int


@dataclass(frozen=True)
class Completeness:
    """How complete an answer about some places and days can be."""

    days: tuple[PlaceDay, ...]
    #: (unit, local day): units that had scans on other of these days and none on this one.
    silent: tuple[tuple[str, str], ...]
    #: (reason, unit, scans): scans that storage has and the desk could not use.
    unused: tuple[tuple[str, str, int], ...]

    @property
    def dated(self) -> float | None:
        """The share of scans whose time is known."""
        scans = sum(d.scans_in + d.scans_out + d.scans_both for d in self.days)
        return 1 - sum(day.unsynced for day in self.days) / scans if scans else None


def local_day(at: int) -> str:
    """The local day of *at*, milliseconds since 1970, as 2021-07-02."""
    return datetime.fromtimestamp((at + LOCAL_MS) / 1000, UTC).date().isoformat()
