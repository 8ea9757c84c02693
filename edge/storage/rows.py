"""What goes into storage and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge.messages import Health, Scan, Status
from edge.ranges import Ranges


class UnitScans(NamedTuple):
    """Scans of one unit that came in together."""

    area: str
    unit: str
    scans: Sequence[Scan]


@dataclass(frozen=True)
class Report:
    """What a unit said of itself."""

    area: str
    unit: str
    message: Status | Health
    #: Whether the broker had kept it, so that it says nothing of when the unit was last there.
    retained: bool = False


@dataclass(frozen=True)
class SetAside:
    """A message that could not be read, and why."""

    topic: str
    reason: str
    payload: bytes


@dataclass(frozen=True)
class UnitRow:
    """What storage knows of a unit."""

    unit: str
    area: str
    state: str
    epoch: str  #: the one it announced last; "" if it never did
    place: str
    direction: str
    last_scan: str | None  #: when its last scan came in
    seen: str | None  #: when it last said anything itself
    synced: int  #: scans by the quality of their time
    corrected: int
    unsynced: int
    repeats: int  #: scans that came again
    doubles: int  #: numbers that came with another id: two units under one name
    doubled: str | None  #: when one last did
    takeovers: int  #: times that an earlier boot announced itself again after another
    taken_over: str | None
    #: Numbers held, per epoch, the oldest epoch first.
    held: dict[str, Ranges]
    #: When the first scan of each epoch came in.
    begun: dict[str, str]

    @property
    def scans(self) -> int:
        """How many numbers of this unit are rows."""
        return sum(len(ranges) for ranges in self.held.values())

    @property
    def gaps(self) -> list[tuple[str, int, int]]:
        """(epoch, first, last) of numbers that are missing below the highest one held."""
        return [
            (epoch, first, last)
            for epoch, ranges in self.held.items()
            for first, last in ranges.gaps(1, max(last for _, last in ranges))
        ]


@dataclass(frozen=True)
class Gap:
    """Numbers of a unit that are missing below the highest one held."""

    area: str
    unit: str
    epoch: str
    first: int
    last: int
    since: str  #: when storage first saw a number above them


@dataclass(frozen=True)
class FeedRow:
    """A scan as the feed gives it: new, or once more because its time was corrected."""

    position: int  #: where to go on after it
    id: str
    unit: str
    area: str
    place: str
    direction: str
    trip: str
    document: str
    epoch: str
    seq: int
    at: str  #: when, as the unit said it
    boot: str
    uptime_ms: int
    clock: str
    time: str  #: when, as well as is known
    time_quality: str  #: "synced", "corrected" or "unsynced"
    received: str
    key: str  #: to which public key of the tracing desk it is sealed
    sealed: bytes
