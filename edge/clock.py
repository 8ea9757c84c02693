"""Time, as something that is handed in, so that tests can move it.

A unit has no battery clock, so wall time alone proves nothing: each moment also carries the boot it
belongs to and the time since that boot, from which the centre can correct it later.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

# Touched by systemd-timesyncd at each synchronisation in this boot. Reading it, rather than
# adjtimex(), keeps working under ProtectClock=yes.
SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """A point in time as far as this machine knows it."""

    at: str  #: wall time, UTC, ISO 8601 with milliseconds
    boot: str  #: which boot this is: 32 hexadecimal digits
    uptime_ms: int  #: milliseconds since that boot, suspended time included
    clock: Literal["ntp", "none"]  #: what set the wall clock: "ntp", or "none" while nothing has


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds that never go back; for durations and waiting."""
        ...

    def now(self) -> Moment:
        """This moment, with what is known about the clock."""
        ...


class SystemClock:
    """The clock of this machine."""

    def __init__(self, synchronized: Path = SYNCHRONIZED, boot_id: Path = BOOT_ID) -> None:
        self._synchronized = synchronized
        self._boot = boot_id.read_text().strip().replace("-", "")

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> Moment:
        return Moment(
            at=utc_text(time.time()),
            boot=self._boot,
            uptime_ms=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
            clock="ntp" if os.path.exists(self._synchronized) else "none",
        )


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds: 2021-07-02T01:30:00.000Z."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def utc_seconds(text: str) -> float:
    """The reverse of `utc_text`."""
    return datetime.fromisoformat(text).timestamp()
