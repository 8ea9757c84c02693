"""Asks units once more for scans that are missing in storage; `edge-collector audit --ask`.

Whoever wants them to be asked at once writes a row; the running collector asks. A connection of its
own would take the collector's place: Mosquitto, as edge-provision sets it up, knows a client by its
certificate alone, and there is one for each collector.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from edge.clock import Clock, utc_seconds, utc_text
from edge.messages import Again, MissingRange
from edge.mqtt import Connection
from edge.sessions import Sessions
from edge.storage.control.again import AskedAgain
from edge.storage.rows import Gap
from edge.storage.storage import Storage
from edge.topics import topic

#: No more ranges than this in one request, as the contract bounds it; the rest follows later.
RANGES_A_MESSAGE = 100
#: At most so many units are asked in one turn.
UNITS_A_TURN = 100
#: Storage is looked at this often, and no more; and for wishes to ask at once.
LOOK_S = 60.0
WISH_LOOK_S = 2.0
#: A gap that stays is asked for ever more rarely, down to once a day: what a unit has lost itself
#: never comes.
LONGEST_WAIT_S = 86_400.0


class Asker:
    """Asks each unit that has gaps, at growing intervals. Called in the collector's turn."""

    def __init__(
        self,
        connection: Connection | Sessions,
        storage: Storage,
        again: AskedAgain,
        clock: Clock,
        *,
        gap_ask_s: float,
    ) -> None:
        self._connection = connection
        self._storage = storage
        self._again = again
        self._clock = clock
        self._gap_ask_s = gap_ask_s
        self._look_s = min(LOOK_S, gap_ask_s)
        self._next_look = clock.monotonic() + self._look_s
        self._next_wish_look = clock.monotonic()
        #: When each unit's epoch may be asked again, and how long to wait after that.
        self._waits: dict[tuple[str, str], tuple[float, float]] = {}
        #: How many requests were sent since the start.
        self.asked = 0

    def step(self) -> None:
        """Ask whom it is time to ask. Raises StorageError."""
        now = self._clock.monotonic()
        if not self._connection.connected:
            return
        if now >= self._next_wish_look:
            self._next_wish_look = now + WISH_LOOK_S
            self._ask_as_wished(now)
        if now >= self._next_look:
            self._next_look = now + self._look_s
            self._ask(self._gaps_older_than(self._gap_ask_s), now)

    def _ask_as_wished(self, now: float) -> None:
        wishes = self._again.take(self._clock.now().at)
        if not wishes:
            return
        self._waits.clear()
        asked = self._ask(self._gaps_older_than(0.0), now)
        for wish in wishes:
            self._again.done(wish, asked)

    def _gaps_older_than(self, seconds: float) -> list[Gap]:
        known_before = utc_text(utc_seconds(self._clock.now().at) - seconds)
        gaps = self._storage.gaps_to_ask_for(known_before)
        there = {(gap.unit, gap.epoch) for gap in gaps}
        # Whoever has no gap any more is asked at once about the next.
        self._waits = {key: wait for key, wait in self._waits.items() if key in there}
        return gaps

    def _ask(self, gaps: Iterable[Gap], now: float) -> int:
        """Ask those whose turn it is; gives how many they are."""
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
        return asked


def requests(gaps: Iterable[Gap]) -> Iterator[tuple[str, str, Again]]:
    """(area, unit, message) that ask for *gaps*, which come in the order of units and epochs."""
    for (area, unit, epoch), of_one in groupby(gaps, lambda gap: (gap.area, gap.unit, gap.epoch)):
        ranges = [MissingRange(gap.first, gap.last) for gap in of_one][:RANGES_A_MESSAGE]
        yield area, unit, Again(epoch=epoch, ranges=tuple(ranges))
