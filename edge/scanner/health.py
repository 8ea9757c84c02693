"""Counts what the scanner does, for its health message. Never what a code said."""

import logging
import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from edge.clock import Clock
from edge.messages import Health
from edge.scanner.eye import EyeState
from edge.scanner.held import OutboxStatus
from edge.scanner.outbox import Outbox

log = logging.getLogger(__name__)

#: How full the outbox is when that is said aloud.
ALARMS = (0.7, 0.9)
#: Decode times are judged over this many frames.
RECENT_FRAMES = 450


@dataclass
class Counts:
    """What became of frames and codes since the start."""

    frames: int = 0
    accepted: int = 0
    repeated: int = 0
    not_kept: int = 0
    unread: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class HealthMeter:
    """Written by the scanning thread, read by the publishing one."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = Counts()
        self._decode_ms: deque[float] = deque(maxlen=RECENT_FRAMES)
        self._alarmed = 0.0
        self._eye = EyeState()

    def frame(self, decode_ms: float) -> None:
        """A frame was read in *decode_ms* of processor time."""
        with self._lock:
            self._counts.frames += 1
            self._decode_ms.append(decode_ms)

    def accepted(self) -> None:
        """A code became a scan, kept on disk."""
        with self._lock:
            self._counts.accepted += 1

    def repeated(self) -> None:
        """A code that had been accepted just before was shown again."""
        with self._lock:
            self._counts.repeated += 1

    def refused(self, kind: str) -> None:
        """A code of *kind* was refused; nothing of it is kept."""
        with self._lock:
            self._counts.refused[kind] += 1

    def not_kept(self) -> None:
        """A code would have been accepted but could not be kept."""
        with self._lock:
            self._counts.not_kept += 1

    def unread(self) -> None:
        """Something like a code stayed in view and could not be read."""
        with self._lock:
            self._counts.unread += 1

    def eye(self, state: EyeState) -> None:
        """How well the eye sees."""
        with self._lock:
            self._eye = state

    def health(self) -> Health:
        """The message of this moment."""
        outbox = self._outbox.status()
        now = self._clock.now()
        self._warn_of_fill(outbox)
        with self._lock:
            decode_ms = sorted(self._decode_ms)
            return Health(
                at=now.at,
                boot=now.boot,
                uptime_ms=now.uptime_ms,
                clock=now.clock,
                frames=self._counts.frames,
                accepted=self._counts.accepted,
                repeated=self._counts.repeated,
                refused=dict(self._counts.refused),
                not_kept=self._counts.not_kept,
                pending=outbox.pending,
                pending_bytes=outbox.bytes,
                oldest=outbox.oldest_at,
                damaged=outbox.damaged,
                fill=outbox.fill,
                hours_left=outbox.hours_left,
                unread=self._counts.unread,
                eye=self._eye.verdict,
                brightness=self._eye.brightness,
                sharpness=self._eye.sharpness,
                decode_ms_p50=_percentile(decode_ms, 50),
                decode_ms_p95=_percentile(decode_ms, 95),
            )

    def _warn_of_fill(self, outbox: OutboxStatus) -> None:
        fill = outbox.fill or 0.0
        reached = max((alarm for alarm in ALARMS if fill >= alarm), default=0.0)
        if reached > self._alarmed:
            left = (
                "" if outbox.hours_left is None else f"; about {outbox.hours_left:.0f} hours left"
            )
            log.warning(
                "the outbox is %.0f %% full%s: connect the unit, or carry its scans by hand",
                100 * fill,
                left,
            )
        # Only well below an alarm is it armed again, so that it does not come with every scan.
        if reached > self._alarmed or fill < self._alarmed - 0.05:
            self._alarmed = reached


def _percentile(ordered: list[float], percent: int) -> float:
    if not ordered:
        return 0.0
    return round(ordered[(len(ordered) - 1) * percent // 100], 3)
