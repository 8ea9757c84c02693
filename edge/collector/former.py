"""Ends what the broker keeps for a collector under settings that it no longer has.

A session that nobody hears any more would be kept for good, with all that comes for it: at a NATS
server until its queue is full, and then in the place of what others still need.
"""

import logging
from collections import Counter
from collections.abc import Callable

from edge.clock import Clock
from edge.mqtt import Connection
from edge.sessions import Sessions
from edge.storage.broker_sessions import BrokerSessions

log = logging.getLogger(__name__)

#: Only when all has been well for so long: sessions that the broker takes for one would be ended
#: with the former one, and by then they are one.
WELL_S = 10.0
#: Where we have one from the start, nothing has told whether the broker takes the former for it. If
#: it does, ours goes whenever that one is to be ended. So often it is tried: a broker may fail.
TRIES = 2


class FormerSessions:
    """Those of earlier settings, ended one after the other while the collector works."""

    def __init__(
        self,
        connection: Connection | Sessions,
        kept: BrokerSessions,
        clock: Clock,
        ending: Callable[[str], Connection],
    ) -> None:
        """*ending* makes a connection that ends the session of a name as soon as it is there."""
        self._connection, self._kept, self._clock = connection, kept, clock
        self._asked_for = set(connection.hears)
        self._ending = ending
        self._well_since: float | None = None
        self._now: tuple[str, Connection] | None = None
        self._cut_off: Counter[str] = Counter()
        self._done = False

    def step(self) -> None:
        """One turn. Waits for nothing. Raises StorageError."""
        if self._now is not None and not self._connection.connected:
            self._let_go(self._now[0])
        if self._done or not self._is_well():
            return
        if self._now is None:
            self._look()
            return
        name, connection = self._now
        connection.step(0)
        if connection.connected:
            connection.disconnect(0)
            self.close()
            self._kept.forget_beyond(name)
            log.info("broker: the former session %s has ended", name)

    def close(self) -> None:
        """Give back what it holds."""
        if self._now is not None:
            self._now[1].close()
            self._now = None

    def _let_go(self, name: str) -> None:
        """Ours went while the session *name* was to be ended."""
        self.close()
        self._cut_off[name] += 1
        if self._cut_off[name] >= TRIES:
            log.warning("broker: it takes the former session %s for the present one", name)
            self._kept.forget_beyond(name)

    def _is_well(self) -> bool:
        now = self._clock.monotonic()
        if not self._connection.connected:
            self._well_since = None
        elif self._well_since is None:
            self._well_since = now
        return self._well_since is not None and now - self._well_since >= WELL_S

    def _look(self) -> None:
        """What is the next to be ended? A session that lives has ended by itself what it had."""
        present = self._connection.hears
        self._kept.note(present)
        # If they are one by now, there never were others at this broker: to end such a one would
        # end the one that lives.
        are_one = set(present) < self._asked_for
        for name, filters in self._kept.all().items():
            if name not in present and not are_one:
                self._now = name, self._ending(name)
                return
            if not filters <= set(present.get(name, ())):
                self._kept.forget_beyond(name, present.get(name, ()))
        self._done = True
