"""Counts what the scanner does, for its health message. Never what a code said."""

import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from edge.clock import Clock
from edge.messages import Health
from edge.scanner.outbox import Outbox

#: Decode times are judged over this many frames.
RECENT_FRAMES = 450


@dataclass
class Counts:
    """What became of frames and codes since the start."""

    frames: int = 0
    accepted: int = 0
    repeated: int = 0
    not_kept: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class HealthMeter:
    """Written by the scanning thread, read by the publishing one."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = Counts()
        self._decode_ms: deque[float] = deque(maxlen=RECENT_FRAMES)

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

    def health(self) -> Health:
        """The message of this moment."""
        outbox = self._outbox.status()
        now = self._clock.now()
        with self._lock:
            decode_ms = sorted(self._decode_ms)
            return Health(
                at=now.at,
                clock=now.clock,
                frames=self._counts.frames,
                accepted=self._counts.accepted,
                repeated=self._counts.repeated,
                refused=dict(self._counts.refused),
                not_kept=self._counts.not_kept,
                pending=outbox.pending,
                pending_bytes=outbox.bytes,
                oldest=outbox.oldest_at,
                decode_ms_p50=_percentile(decode_ms, 50),
                decode_ms_p95=_percentile(decode_ms, 95),
            )


def _percentile(ordered: list[float], percent: int) -> float:
    if not ordered:
        return 0.0
    return round(ordered[(len(ordered) - 1) * percent // 100], 3)
