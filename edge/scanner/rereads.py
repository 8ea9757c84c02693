"""The same code held in view is one scan.

Codes are remembered by a keyed hash whose key is made new at each start and written nowhere, so
that what is in memory leads back to nobody.
"""

import hashlib
import math
import os
from collections import OrderedDict
from enum import Enum

#: A code that was last seen longer ago than this has been out of view.
GAP_S = 1.0
#: More codes than a gate sees within the longest delay; the longest unseen are forgotten first.
MAX_REMEMBERED = 10_000


class Sighting(Enum):
    """What seeing a code means."""

    NEW = "new"  #: not remembered: it may count
    HELD = "held"  #: still in view since it was last seen
    AGAIN = "again"  #: came back into view before the delay was over


class Rereads:
    """Tells a code that is shown from one that is still or again there.

    Looking and remembering are two steps: what could not be kept must stay new. A code is new again
    *delay_s* seconds after it was last in view, or at once for the other direction; and never while
    it stays in view, not even if the direction of the door changes meanwhile.
    """

    def __init__(
        self, delay_s: float, *, gap_s: float = GAP_S, max_remembered: int = MAX_REMEMBERED
    ) -> None:
        """*delay_s* 0 counts a code at each appearance that a gap parts from the one before."""
        self._gap_s = gap_s
        self._forget_after_s = max(delay_s, gap_s)
        self._max_remembered = max_remembered
        self._key = os.urandom(32)
        # When each was last seen, by direction; the longest unseen first.
        self._last_seen: OrderedDict[bytes, dict[str, float]] = OrderedDict()

    def look(self, code: bytes, direction: str, now: float) -> Sighting:
        """What seeing *code* at *now* means. One that is known is in view again from here on."""
        self._forget_unseen(now)
        digest = self._digest(code)
        seen = self._last_seen.get(digest)
        if seen is None:
            return Sighting.NEW
        newest = max(seen, key=seen.__getitem__)
        if now - seen[newest] < self._gap_s:
            self._see(digest, newest, now)
            return Sighting.HELD
        if now - seen.get(direction, -math.inf) >= self._forget_after_s:
            return Sighting.NEW
        self._see(digest, direction, now)
        return Sighting.AGAIN

    def remember(self, code: bytes, direction: str, now: float) -> None:
        """*code* was dealt with: it is no longer new."""
        self._forget_unseen(now)
        self._see(self._digest(code), direction, now)
        while len(self._last_seen) > self._max_remembered:
            self._last_seen.popitem(last=False)

    def __len__(self) -> int:
        """How many codes are remembered."""
        return len(self._last_seen)

    def _see(self, digest: bytes, direction: str, now: float) -> None:
        self._last_seen.setdefault(digest, {})[direction] = now
        self._last_seen.move_to_end(digest)

    def _forget_unseen(self, now: float) -> None:
        while self._last_seen:
            digest, seen = next(iter(self._last_seen.items()))
            if now - max(seen.values()) < self._forget_after_s:
                return
            del self._last_seen[digest]

    def _digest(self, code: bytes) -> bytes:
        return hashlib.blake2b(code, key=self._key, digest_size=16).digest()
