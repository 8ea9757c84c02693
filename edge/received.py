"""What came in from a broker and is not acknowledged yet."""

from collections import deque
from typing import NamedTuple

from edge.packets import Published


class Received(NamedTuple):
    """A message as it came in."""

    topic: str
    payload: bytes
    retain: bool
    mid: int
    qos: int
    #: Which connection it came by; an acknowledgement belongs to that one alone.
    session: int


class Arrivals:
    """Of one connection, each message once."""

    def __init__(self) -> None:
        self._waiting: deque[Received] = deque()
        self._in_hand: set[int] = set()
        #: How often a message came again that was in hand already.
        self.repeated = 0

    @property
    def are_in_hand(self) -> bool:
        """Whether any waits here, or was taken and is not acknowledged."""
        return bool(self._waiting or self._in_hand)

    def put(self, message: Published, session: int, *, again: bool) -> None:
        """*message* came by *session*; *again* if the broker says that it has sent it before."""
        if message.qos:
            # Until it is acknowledged its id is no other message's (MQTT 3.1.1, 2.3.1). NATS sends
            # again, on the same connection, what waits here for longer than its ack_wait: taken
            # twice it would only make those behind it wait longer, and come again in their turn.
            if again and message.mid in self._in_hand:
                self.repeated += 1
                return
            self._in_hand.add(message.mid)
        topic, payload, retain = message.topic, message.payload, message.retain
        self._waiting.append(Received(topic, payload, retain, message.mid, message.qos, session))

    def take(self) -> list[Received]:
        """Those since the last call, oldest first. They stay in hand."""
        messages = list(self._waiting)
        self._waiting.clear()
        return messages

    def acknowledged(self, mid: int) -> None:
        """The broker hears that this one is safe."""
        self._in_hand.discard(mid)

    def forget(self) -> None:
        """The connection has ended: all of it comes again."""
        self._waiting.clear()
        self._in_hand.clear()
