"""Rate limits, in the memory of one process."""

import threading
from collections import OrderedDict

from edge.clock import Clock

#: So many callers are remembered; beyond, whoever was quiet the longest is forgotten.
REMEMBERED = 10_000


class RateLimit:
    """Lets each caller do a thing *burst* times, and again one time per *seconds* after that.

    A leaky bucket. May be used from any thread.
    """

    def __init__(self, clock: Clock, burst: int, seconds: float) -> None:
        self._clock, self._burst, self._seconds = clock, burst, seconds
        self._lock = threading.Lock()
        #: When the bucket of each caller will be empty.
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, caller: str) -> float:
        """Seconds that *caller* has to wait; 0 if it may, which then counts as done."""
        now = self._clock.monotonic()
        with self._lock:
            empty_at = max(self._empty_at.pop(caller, now), now)
            wait = round(empty_at - now - (self._burst - 1) * self._seconds, 6)
            self._empty_at[caller] = empty_at if wait > 0 else empty_at + self._seconds
            if len(self._empty_at) > REMEMBERED:
                self._empty_at.popitem(last=False)
        return max(wait, 0.0)

    def forgive(self, caller: str) -> None:
        """Let *caller* begin anew, as after it has proved who it is."""
        with self._lock:
            self._empty_at.pop(caller, None)
