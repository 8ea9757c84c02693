"""Where a vehicle stood, coarsely, and when.

Positions are rounded before anything is kept, to the setting's decimals, and never those of a
moment in between: a stop is a place that the vehicle shares with everybody on it. Nothing here
knows of scans or persons.
"""

from collections import deque

from edge.clock import utc_text
from edge.messages import KEPT_STOPS, Stop
from edge.scanner.gps import Fix

#: Slower than this it stands, faster than that it goes; metres a second. GPS wanders by itself.
STANDS, GOES = 1.0, 3.0
#: A stop is no shorter than this: else it is a traffic light.
STAND_S = 20.0


class Stops:
    """Makes stops of fixes. Used by one thread; `newest` by any."""

    def __init__(self, decimals: int) -> None:
        """*decimals* of a degree are kept: 2 are about a kilometre, 3 about a hundred metres."""
        self._decimals = decimals
        self._stood_since: Fix | None = None
        self._last: Fix | None = None
        self._ended: deque[Stop] = deque(maxlen=KEPT_STOPS)
        #: The newest stops, oldest first; the last has no end while the vehicle stands there.
        self.newest: tuple[Stop, ...] = ()

    def fix(self, fix: Fix) -> None:
        """The vehicle is there."""
        if fix.speed_m_s is None:
            return
        if self._stood_since is None:
            if fix.speed_m_s < STANDS:
                self._stood_since = self._last = fix
        elif fix.speed_m_s > GOES:
            if self._is_a_stop():
                self._ended.append(self._stop(ended=True))
                self.newest = tuple(self._ended)
            self._stood_since = None
        else:
            was_one, self._last = self._is_a_stop(), fix
            if not was_one and self._is_a_stop():
                self.newest = (*self._ended, self._stop(ended=False))[-KEPT_STOPS:]

    def _is_a_stop(self) -> bool:
        since, last = self._stood_since, self._last
        return since is not None and last is not None and last.at - since.at >= STAND_S

    def _stop(self, *, ended: bool) -> Stop:
        since, last = self._stood_since, self._last
        assert since is not None
        assert last is not None
        return Stop(
            since=utc_text(since.at),
            until=utc_text(last.at) if ended else None,
            latitude=round(since.latitude, self._decimals),
            longitude=round(since.longitude, self._decimals),
        )
