"""Asks units once more for scans that are missing in storage."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from edge.clock import Clock, utc_seconds, utc_text
from edge.messages import Again, MissingRange
from edge.mqtt import Connection
from edge.sessions import Sessions
from edge.storage.rows import Gap
from edge.storage.storage import Storage
from edge.topics import topic

#: No more ranges than this in one request, as the contract bounds it; the rest follows later.
RANGES_A_MESSAGE = 100
#: At most so many units are asked in one turn.
UNITS_A_TURN = 100
#: Storage is looked at this often, and no more.
LOOK_S = 60.0
#: A gap that stays is asked for ever more rarely, down to once a day: what a unit has lost itself
#: never comes.
LONGEST_WAIT_S = 86_400.0


class Asker:
    """Asks each unit that has gaps, at growing intervals. Called in the collector's turn."""

    def __init__(
        self, connection: Connection | Sessions, storage: Storage, clock: Clock, *, gap_ask_s: float
    ) -> None:
        self._connection = connection
        self._storage = storage
        self._clock = clock
        self._gap_ask_s = gap_ask_s
        self._look_s = min(LOOK_S, gap_ask_s)
        self._next_look = clock.monotonic() + self._look_s
        #: When each unit's epoch may be asked again, and how long to wait after that.
        self._waits: dict[tuple[str, str], tuple[float, float]] = {}
        #: How many requests were sent since the start.
        self.asked = 0

    def step(self) -> None:
        """Ask whom it is time to ask. Raises StorageError."""
        now = self._clock.monotonic()
        if now < self._next_look or not self._connection.connected:
            return
        self._next_look = now + self._look_s
        known_before = utc_text(utc_seconds(self._clock.now().at) - self._gap_ask_s)
        gaps = self._storage.gaps_to_ask_for(known_before)
        waits = {(gap.unit, gap.epoch) for gap in gaps}
        # Whoever has no gap any more is asked at once about the next.
        self._waits = {key: wait for key, wait in self._waits.items() if key in waits}
        self._ask(gaps, now)

    def _ask(self, gaps: Iterable[Gap], now: float) -> None:
        asked = 0
        for area, unit, message in requests(gaps):
            epoch, address = message.epoch, topic(area, unit, "again")
            due, wait = self._waits.get((unit, epoch), (now, self._gap_ask_s))
            if due > now:
                continue
            if asked == UNITS_A_TURN or not self._connection.publish(address, message.encode()):
                break
            asked += 1
            self._waits[unit, epoch] = (now + wait, min(2 * wait, LONGEST_WAIT_S))
        self.asked += asked


def requests(gaps: Iterable[Gap]) -> Iterator[tuple[str, str, Again]]:
    """(area, unit, message) that ask for *gaps*, which come in the order of units and epochs."""
    for (area, unit, epoch), of_one in groupby(gaps, lambda gap: (gap.area, gap.unit, gap.epoch)):
        ranges = [MissingRange(gap.first, gap.last) for gap in of_one][:RANGES_A_MESSAGE]
        yield area, unit, Again(epoch=epoch, ranges=tuple(ranges))
