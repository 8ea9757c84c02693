"""What may be sent of a link that costs money by the byte."""

import math

from edge.clock import Clock

#: What a message costs beside its payload: MQTT, TCP, IP and the acknowledgements of each.
OVERHEAD_BYTES = 150
#: A payload of more than one TCP segment costs so much for each further one, with its share of the
#: acknowledgements.
SEGMENT_BYTES, SEGMENT_OVERHEAD_BYTES = 1400, 78


class Budget:
    """How much may be sent: so many bytes a second, and a second's worth at once."""

    def __init__(self, bytes_per_s: float, clock: Clock) -> None:
        """*bytes_per_s* 0 is no limit."""
        self._rate = bytes_per_s
        self._clock = clock
        self._left = bytes_per_s
        self._at = clock.monotonic()

    def is_left(self) -> bool:
        """Whether something may be sent now."""
        now = self._clock.monotonic()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        return not self._rate or self._left > 0

    @property
    def at_once(self) -> float:
        """No message should be larger than this, in bytes: what is sent now waits behind it."""
        return self._rate or math.inf

    def take(self, payload_bytes: int) -> None:
        """A message of *payload_bytes* was sent."""
        segments = payload_bytes // SEGMENT_BYTES
        self._left -= payload_bytes + OVERHEAD_BYTES + segments * SEGMENT_OVERHEAD_BYTES
