"""Notices a camera that gives the same picture for ever.

A driver or a sensor that has stopped may go on handing out the last picture, at full rate: then
frames come, nobody is read, and nothing else tells. No two pictures of a living sensor are alike to
the last bit, for their noise, except where nearly all is black or nearly all is white: a gate at
night, of which only a lamp far away is seen.
"""

import zlib

import numpy as np

from edge.clock import Clock
from edge.scanner.readers import Frame

#: How often a frame is looked at; 0.2 ms on a PC.
LOOK_S = 1.0
#: The same picture for so long is no picture of now.
FROZEN_S = 60.0
#: One row of so many is looked at.
_ROWS = 8
#: A picture whose greys, but for the darkest and the lightest twentieth, are no further apart than
#: this says nothing: a lens that is covered, the dark with a light in it.
_APART = 8
_MOST = (5, 95)


class Frozen:
    """Looks at the frames of one camera, from its opening on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_look = clock.monotonic()
        self._seen: int | None = None
        self._since = 0.0

    def look(self, frame: Frame) -> bool:
        """Take note of *frame*; True if the camera has given no other for too long."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_S
        rows = np.ascontiguousarray(frame[::_ROWS])
        if not rows.size or not _says_something(rows):
            self._seen = None
            return False
        seen = zlib.crc32(rows.data)
        if seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since >= FROZEN_S


def _says_something(rows: Frame) -> bool:
    darkest, lightest = np.percentile(rows[:, ::_ROWS], _MOST)
    return bool(lightest - darkest > _APART)
