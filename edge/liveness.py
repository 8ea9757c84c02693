"""Whether the other end of a connection is there, and does what a broker is for."""

from edge.clock import Clock

#: A broker that has accepted the connection but says nothing is given up after this.
GREETING_S = 10.0
#: One that acknowledges nothing for so long of what it has been handed never will on this
#: connection. Some throttle so, and leave out a PUBACK for good: what is in flight would fill up.
ACKNOWLEDGED_S = 120.0


class Liveness:
    """Of one connection after the other: what came when."""

    def __init__(self, clock: Clock, keepalive_s: float, silent_s: float) -> None:
        """It is asked for a sign of life each *keepalive_s*, and deaf after *silent_s*."""
        self._clock = clock
        self._keepalive_s, self._silent_s = keepalive_s, silent_s
        self._is_established = False
        self._began_at = self._heard_at = self._asked_at = 0.0
        self._message_at = self._acknowledged_at = 0.0

    def begins(self) -> None:
        """The broker has accepted the connection; a greeting is still to come."""
        self._is_established = False
        self._began_at = self._clock.monotonic()

    def established(self) -> None:
        """The broker has greeted us and granted what we asked for."""
        self._is_established = True
        self._heard_at = self._asked_at = self._message_at = self._clock.monotonic()

    def heard(self) -> None:
        """Something came."""
        self._heard_at = self._clock.monotonic()

    def took_message(self) -> None:
        """In what came last there was a message."""
        self._message_at = self._heard_at

    def took_acknowledgement(self) -> None:
        """In what came last there was an acknowledgement."""
        self._acknowledged_at = self._heard_at

    def handed_first(self) -> None:
        """The broker has been handed something, and had nothing to acknowledge before."""
        self._acknowledged_at = self._clock.monotonic()

    def trouble(self, *, in_flight: bool) -> str:
        """Why the connection is to be given up; "" if it is not."""
        now = self._clock.monotonic()
        if not self._is_established:
            if now - self._began_at > GREETING_S:
                return "accepted the connection but does not answer as a broker"
            return ""
        if self._asked_at > self._heard_at and now - self._asked_at >= self._keepalive_s:
            return "does not answer any more; the link may be dead"
        if in_flight and now - self._acknowledged_at >= ACKNOWLEDGED_S:
            return "takes messages and acknowledges none; once more"
        return ""

    def must_ask(self) -> bool:
        """Whether it is time to ask for a sign of life; if so it counts as asked."""
        now = self._clock.monotonic()
        is_due = self._is_established and now - self._asked_at >= self._keepalive_s
        if is_due:
            self._asked_at = now
        return is_due

    def is_silent(self) -> bool:
        """Whether no message came for so long that it may be deaf to us."""
        return self._clock.monotonic() - self._message_at >= self._silent_s
