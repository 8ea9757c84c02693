"""When a broker is tried again, and which; and what the endings of connections tell."""

import logging
import random
from collections import Counter, deque
from collections.abc import Sequence

from edge.broker import Address
from edge.clock import Clock

log = logging.getLogger(__name__)

#: Longest wait between two attempts to connect.
BACKOFF_MAX_S = 60.0
BACKOFF_MIN_S = 0.5
#: A connection that lasts this long was a good one: the next loss starts with a short wait again.
STABLE_S = 30.0
#: On the second broker, the first is looked for after this long, and again each time.
RETURN_S = 600.0
#: So many connections that a broker closed within so long look like two clients under one name,
#: each of which it closes for the other. Both must see it: one of the two may hold each connection
#: for as long as the other waits to try again, which is BACKOFF_MAX_S.
CLOSED_BY_BROKER = 4
CLOSED_WITHIN_S = 300.0
#: A broker that closes so many attempts in a row without a greeting has trouble of its own. NATS
#: does it once, for a second, to one of two that take over from each other quickly.
UNGREETED = 3


class Reconnecting:
    """Jittered back-off over the brokers of the settings, the first of them preferred."""

    def __init__(self, addresses: Sequence[Address], clock: Clock) -> None:
        self._addresses = addresses
        self._at = 0
        self._clock = clock
        self._attempts = 0
        self._next_attempt = clock.monotonic()
        self._connected_at = self._return_at = 0.0
        #: Why there is no connection, in one line; "" while there is one.
        self.trouble = "not connected yet"

    @property
    def address(self) -> Address:
        """The broker that is used or tried now."""
        return self._addresses[self._at]

    @property
    def wait_s(self) -> float:
        """How long to wait until the next attempt."""
        return max(0.0, self._next_attempt - self._clock.monotonic())

    def begin(self) -> None:
        """An attempt begins."""
        self._attempts += 1

    def connected(self) -> None:
        """It has led to a connection."""
        self.trouble = ""
        self._connected_at = self._clock.monotonic()
        self._return_at = self._connected_at + RETURN_S

    def follow(self, other: "Reconnecting") -> bool:
        """Go for the broker that *other* goes for; whether that is another one than now."""
        moved, self._at = self._at != other._at, other._at
        return moved

    def failed(self, trouble: str) -> None:
        """There is no connection, or none any more, because of *trouble*: the next one's turn."""
        ceiling = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(self._attempts, 10))
        # Jitter, so that a thousand units do not come back in the same second.
        self._next_attempt = self._clock.monotonic() + random.uniform(ceiling / 2, ceiling)
        if trouble != self.trouble:
            log.warning("broker: %s; trying again, at most every %d s", trouble, BACKOFF_MAX_S)
        self.trouble = trouble
        self._at = (self._at + 1) % len(self._addresses)

    def at_once(self) -> None:
        """Try this broker again without waiting."""
        self._next_attempt = self._clock.monotonic()

    def stays(self, timeout_s: float) -> bool:
        """To be asked while there is a connection: False if the first broker is to be used again.

        Whether it is there is looked at now and then, for at most *timeout_s*.
        """
        now = self._clock.monotonic()
        if now - self._connected_at >= STABLE_S:
            self._attempts = 0
        if self._at == 0 or now < self._return_at:
            return True
        self._return_at = now + RETURN_S
        if not self._addresses[0].is_reachable(timeout_s):
            return True
        log.info("broker: %s is back", self._addresses[0])
        self._at = 0
        self.at_once()
        return False


class Closings:
    """How often brokers closed us lately, which tells of another client under our name.

    A broker that gives our place to another stays there and takes us again. One that restarts, or a
    network that fails, does not: attempts are refused, time out, or are closed without a greeting.
    Whatever a broker closed before such a failure tells nothing of another client.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closed: deque[tuple[float, Address]] = deque(maxlen=CLOSED_BY_BROKER)
        self._ungreeted: Counter[Address] = Counter()
        self._told_at: float | None = None

    @property
    def tell_of_another(self) -> bool:
        """Whether another client may run under our name."""
        since = self._clock.monotonic() - CLOSED_WITHIN_S
        if self._told_at is not None and self._told_at >= since:
            return True
        return len(self._closed) == CLOSED_BY_BROKER and self._closed[0][0] >= since

    @property
    def counts(self) -> Counter[str]:
        """How many there were lately, by the broker's address; CLOSED_BY_BROKER in all at most."""
        since = self._clock.monotonic() - CLOSED_WITHIN_S
        return Counter(str(address) for at, address in self._closed if at >= since)

    def closed(self, address: Address) -> None:
        """A broker has closed what it had greeted."""
        self._closed.append((self._clock.monotonic(), address))

    def taken_over(self) -> None:
        """A broker has said that another client came under our name."""
        self._told_at = self._clock.monotonic()

    def greeted(self, address: Address) -> None:
        """A broker is there and takes us."""
        del self._ungreeted[address]

    def ungreeted(self, address: Address) -> None:
        """A broker has closed an attempt without a word."""
        self._ungreeted[address] += 1
        if self._ungreeted[address] >= UNGREETED:
            self.failed(address)

    def failed(self, address: Address) -> None:
        """A broker, or the way to it, has failed."""
        kept = [each for each in self._closed if each[1] != address]
        self._closed.clear()
        self._closed.extend(kept)
