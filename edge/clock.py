"""Time, as something that is handed in, so that tests can move it.

A unit has no battery clock, so wall time alone proves nothing: each moment also carries the boot it
belongs to and the time since that boot, from which the centre can correct it later.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Literal, Protocol

# Touched by systemd-timesyncd at each synchronisation, on a tmpfs: it is of this boot. Reading it,
# rather than adjtimex(), keeps working under ProtectClock=yes. chrony leaves nothing of the kind
# to be read; where it is used, have its chrony-wait.service touch this file.
SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
#: For whatever sets the clock from a GNSS (GPS) receiver to touch when it did; on a tmpfs as well.
GNSS = Path("/run/edge-gnss/synchronized")
RTC = Path("/sys/class/rtc/rtc0")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: The hardware clock counts as the source of our time while they differ by no more than this. An
#: RTC without a battery begins at 1970 with each power-on, and systemd then moves our clock on.
RTC_AGREES_S = 300.0

#: A clock that was moved by more than this, in seconds, after a time server had set it, is not the
#: time server's any more. Less does no harm, and a virtual machine may have been stopped for long.
MOVED_S = 86_400.0

#: The zone of all units; it has no summer time.
VIETNAM = timezone(timedelta(hours=7))

Source = Literal["ntp", "rtc", "gnss", "none"]

#: Which source to believe more.
TRUST: dict[str, int] = {"none": 0, "rtc": 1, "gnss": 2, "ntp": 3}


@dataclass(frozen=True)
class Moment:
    """A point in time as far as this machine knows it."""

    at: str  #: wall time, UTC, ISO 8601 with milliseconds
    boot: str  #: which boot this is: 32 hexadecimal digits
    uptime_ms: int  #: milliseconds since that boot, suspended time included
    clock: Source  #: what set the wall clock; "none" while nothing has


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

    def __init__(
        self,
        synchronized: Path = SYNCHRONIZED,
        rtc: Path = RTC,
        boot_id: Path = BOOT_ID,
        gnss: Path = GNSS,
    ) -> None:
        self._synchronized = synchronized
        self._gnss = gnss
        self._boot = boot_id.read_text().strip().replace("-", "")
        # Asked once: reading the hardware clock may take a millisecond.
        self._at_boot: Source = "rtc" if _set_from(rtc) else "none"

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> Moment:
        # The source first: read after the time, it could vouch for a time from before the step.
        source = self._source()
        return Moment(
            at=utc_text(time.time()),
            boot=self._boot,
            uptime_ms=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
            clock=source,
        )

    def _source(self) -> Source:
        if _set_and_not_moved(self._synchronized):
            return "ntp"
        return "gnss" if _set_and_not_moved(self._gnss) else self._at_boot


def _set_and_not_moved(mark: Path) -> bool:
    """Whether what leaves *mark* has set the clock, and nobody has moved it far away since.

    The mark is of this boot, so it cannot be older by our clock than the boot is.
    """
    try:
        age_s = time.time() - os.stat(mark).st_mtime
    except OSError:
        return False
    return -MOVED_S <= age_s <= time.clock_gettime(time.CLOCK_BOOTTIME) + MOVED_S


def _set_from(rtc: Path) -> bool:
    """Whether the kernel set our clock from this hardware clock, and it was not moved since."""
    try:
        if (rtc / "hctosys").read_text().strip() != "1":
            return False
        shown = int((rtc / "since_epoch").read_text())
    except (OSError, ValueError):
        return False
    return abs(shown - time.time()) <= RTC_AGREES_S


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds: 2021-07-02T01:30:00.000Z."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def utc_seconds(text: str) -> float:
    """The reverse of `utc_text`. Raises ValueError for a day or an hour that there is not."""
    return datetime.fromisoformat(text).timestamp()


def boot_offset_ms(at: str, uptime_ms: int) -> int | None:
    """When a boot began, in milliseconds since 1970, from a moment of it whose clock was right.

    None for what no clock of ours can have said.
    """
    try:
        offset = round(utc_seconds(at) * 1000) - uptime_ms
    except ValueError:
        return None
    return offset if 0 <= offset <= _LATEST_MS else None


def boot_time(offset_ms: int, uptime_ms: int) -> str | None:
    """The wall time *uptime_ms* into a boot that began at *offset_ms*; None for nonsense."""
    if uptime_ms > LONGEST_UPTIME_MS:
        return None
    return utc_text((offset_ms + uptime_ms) / 1000)


#: Ten years. What claims to be older is nonsense, and must not be calculated with.
LONGEST_UPTIME_MS = 315_360_000_000
_LATEST_MS = 4_102_444_800_000  # the year 2100
