"""Several sessions at one broker, used as if they were one connection.

A NATS server lets one MQTT session have `max_ack_pending` messages unacknowledged, but takes as
many for each of its subscriptions from their queues. What is beyond the session's number it drops,
and delivers it again when its `ack_wait` is over: of 50,000 scans that came with 3,000 statuses,
350 came late by the whole of it. Of a session with one subscription nothing is dropped in this way.

A broker may know a client by its certificate alone, as Mosquitto can be told to, and then all our
sessions are one to it: each that comes takes the place of the one that is there.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Literal

from edge.clock import Clock
from edge.mqtt import Connection, Received

log = logging.getLogger(__name__)

#: A connection is numbered from here, so that its messages are told from another's.
_APART = 1_000_000_000
#: Who takes the place of another does so at its greeting. Where all have been there together for so
#: long, none takes another's.
TOGETHER_S = 5.0
#: So many closings by a broker that greets us again each time, one of us twice, and all never there
#: together, tell that it takes them for one. A broker that restarts closes each of us once.
CLOSINGS = 4


class Sessions:
    """One connection that speaks, and others that only listen. For one thread, but for `wake`."""

    def __init__(
        self,
        first: Connection,
        others: Sequence[Connection],
        clock: Clock,
        *,
        may_become_one: bool = False,
    ) -> None:
        """*first* publishes too. All are to be new.

        *may_become_one*: with a broker that takes them all for one, *first* goes on alone, with the
        subscriptions of all.
        """
        self._first, self._others = first, list(others)
        self._clock = clock
        self._may_become_one = may_become_one
        self._together_since: float | None = None
        #: Brokers at which all have been there together.
        self._apart_at: set[str] = set()
        for number, other in enumerate(others, 1):
            other.session = number * _APART

    @property
    def connected(self) -> bool:
        """Whether all are there."""
        return all(one.connected for one in self._all())

    @property
    def speaks(self) -> bool:
        """Whether what is published is taken, and so what came in can be confirmed."""
        return self._first.speaks

    @property
    def session(self) -> int:
        """Another number whenever one of them is established anew."""
        return sum(one.session for one in self._all())

    @property
    def in_flight(self) -> int:
        """Messages that were published and that the broker has not acknowledged."""
        return self._first.in_flight

    @property
    def hears(self) -> dict[str, tuple[str, ...]]:
        """What each has subscribed to, by the name of its session."""
        return {name: topics for one in self._all() for name, topics in one.hears.items()}

    @property
    def redelivered(self) -> int:
        """How often something was delivered again that was in hand already."""
        return sum(one.redelivered for one in self._all())

    def step(self, timeout_s: float) -> None:
        """Do what is due, waiting for traffic for at most *timeout_s*."""
        watched = [sock for one in self._others if (sock := one.readable) is not None]
        self._first.step(timeout_s, also=watched)
        for other in self._others:
            if self._first.connected:
                # What is heard at one broker could not be confirmed at another.
                other.follow(self._first)
            # Where the first finds no broker, each would wait in vain for as long.
            if self._first.connected or other.readable is not None:
                other.step(0)
        if self._may_become_one:
            self._look_whether_we_are_one()

    def take(self) -> list[Received]:
        """What came in since the last call."""
        return [message for one in self._all() for message in one.take()]

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: Literal[0, 1] = 1
    ) -> bool:
        """Hand a message to the broker; False if it cannot be."""
        return self._first.publish(topic, payload, retain=retain, qos=qos)

    def holds(self, message: Received) -> bool:
        """Whether *message* came by a connection that is still there."""
        return any(one.holds(message) for one in self._all())

    def ack(self, message: Received) -> None:
        """Tell the broker that *message* is safe."""
        for one in self._all():
            if one.holds(message):
                one.ack(message)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is published and acknowledged within this goes out together."""
        with contextlib.ExitStack() as stack:
            for one in self._all():
                stack.enter_context(one.together())
            yield

    def wake(self) -> None:
        """End the wait of a `step` on another thread."""
        self._first.wake()

    def disconnect(self, timeout_s: float) -> None:
        """Say goodbye properly, after sending what is under way, in *timeout_s* at most."""
        self._first.disconnect(timeout_s)
        for other in self._others:
            other.disconnect(0)

    def close(self) -> None:
        """Drop all as they are."""
        for one in self._all():
            one.close()

    def _look_whether_we_are_one(self) -> None:
        address, now = self._first.address, self._clock.monotonic()
        if not self.connected:
            self._together_since = None
        elif self._together_since is None:
            self._together_since = now
        elif now - self._together_since >= TOGETHER_S:
            self._apart_at.add(address)
        closings = [one.closings for one in self._all()]
        # By now we may have gone on from the one that closed us to another.
        for closed_by in set().union(*closings) - self._apart_at:
            times = [each[closed_by] for each in closings]
            if sum(times) >= CLOSINGS and max(times) > 1:
                self._become_one(closed_by)
                return

    def _become_one(self, address: str) -> None:
        log.warning(
            "broker: %s knows all sessions of this collector by one name, as of its certificate:"
            ' it has one from now on. sessions = "one" says so from the start',
            address,
        )
        self._may_become_one = False
        subscriptions = [topic for topics in self.hears.values() for topic in topics]
        for other in self._others:
            other.close()
        self._others.clear()
        self._first.subscribe_to(subscriptions)

    def _all(self) -> Iterator[Connection]:
        yield self._first
        yield from self._others
