"""The time of a GPS receiver: where no time server has set the clock, it does.

The scanner may not touch the clock (ProtectClock=yes). It compares, and where the clock is not set
it writes what it found into its folder under /run; systemd/edge-clock.path then starts the small
service that checks it again and sets the clock (`edge-scanner clock`). A time server, where there
is one, is believed more, and so is a clock that it has set.

A sentence comes up to half a second after the moment that it tells of, so that is how good this
time is. It is enough for scans, and for certificates.
"""

import logging
import statistics
from collections import deque
from pathlib import Path

import msgspec
from msgspec import Struct

from edge.clock import Clock, utc_seconds
from edge.files import move_file, write_new
from edge.scanner.gps import Fix

log = logging.getLogger(__name__)

#: The file by which it is asked for, in the scanner's folder under /run.
CLOCK = "clock"
#: So many fixes must agree within so many seconds: at first receivers tell of old times.
FIXES, AGREE_S = 10, 1.0
#: The clock is right if it is off by no more than this.
RIGHT_S = 1.0
#: It is asked for no more often than this.
ASK_S = 60.0


class ClockRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """When this boot began, as the receiver says."""

    boot: str
    offset_ms: int


class GnssClock:
    """Compares the receiver's time with the clock. Used by one thread."""

    def __init__(self, clock: Clock, folder: Path | None) -> None:
        """*folder* is where to ask; None asks nobody, as where systemd has not started us."""
        self._clock = clock
        self._folder = folder
        self._offsets_s: deque[float] = deque(maxlen=FIXES)
        self._next_ask = 0.0

    def fix(self, fix: Fix) -> None:
        """A fix came in."""
        self._offsets_s.append(fix.at - fix.uptime_ms / 1000)
        moment = self._clock.now()
        if len(self._offsets_s) < FIXES or moment.clock == "ntp":
            return
        if max(self._offsets_s) - min(self._offsets_s) > AGREE_S:
            return
        offset_s = statistics.median(self._offsets_s)
        off_s = utc_seconds(moment.at) - moment.uptime_ms / 1000 - offset_s
        if moment.clock == "gnss" and abs(off_s) <= RIGHT_S:
            return
        now = self._clock.monotonic()
        if self._folder is None or now < self._next_ask:
            return
        self._next_ask = now + ASK_S
        request = ClockRequest(moment.boot, round(offset_s * 1000))
        try:
            new = self._folder / f"{CLOCK}.new"
            write_new(new, [msgspec.json.encode(request)])
            # The service that reads it may do nothing but set the clock, not even read our files.
            new.chmod(0o644)
            move_file(new, self._folder / CLOCK)
        except OSError as err:
            log.warning("the clock cannot be asked for: %s", err)
            return
        log.info("the clock is off by %.1f s by GPS; asking for it to be set", off_s)
