"""`edge-scanner clock`: sets the machine's clock as the scanner asks by its GPS receiver.

Run by systemd/edge-clock.service, as root with no right but this one. It believes the scanner as
little as it can: a request of this boot alone, no time that no clock can have now, and none at all
where a time server has set the clock. Then it leaves the mark by which all see that the clock is
known (`/run/edge-gnss/synchronized`).

What it goes by for the earliest time is this software, and the newest list of updates, which the
office has signed. Not what the clock was set to before: of a receiver, or a scanner, that once told
of a time years ahead nobody could get rid.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

import edge
from edge.clock import GNSS, SYNCHRONIZED, Clock, utc_seconds, utc_text
from edge.errors import ConfigError
from edge.files import read_small
from edge.scanner.gnss_clock import RIGHT_S, ClockRequest
from edge.scanner.update.record import FOLDER, record_file

log = logging.getLogger(__name__)

#: Where the scanner asks.
REQUEST = Path("/run/edge-scanner/clock")
#: No receiver is right that tells of a time before this software, or so long after it: their weeks
#: begin anew every 19.6 years.
YEARS_S = 15 * 365 * 86_400.0
DAY_S = 86_400.0


def _set(seconds: float) -> None:
    try:
        time.clock_settime(time.CLOCK_REALTIME, seconds)
    except OSError as err:
        raise ConfigError(f"this machine does not let its clock be set: {err.strerror}") from err


def set_clock(
    clock: Clock,
    *,
    request: Path = REQUEST,
    synchronized: Path = SYNCHRONIZED,
    mark: Path = GNSS,
    updates: Path = FOLDER,
    software: float | None = None,
    set_time: Callable[[float], None] = _set,
) -> str:
    """Do what *request* asks; gives what was done. Raises ConfigError, and nothing was done.

    *updates* is where root remembers what it has believed of updates. *software* is when this
    software was made, in seconds since 1970; None looks at its files.
    """
    try:
        asked = msgspec.json.decode(read_small(request, 1000), type=ClockRequest)
    except OSError as err:
        raise ConfigError(f"{request}: nobody asks for the clock: {err.strerror}") from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{request}: not a request of the scanner's") from None
    moment = clock.now()
    if asked.boot != moment.boot:
        raise ConfigError(f"{request}: of another boot")
    if synchronized.exists():
        raise ConfigError("a time server has set the clock; it is believed more than a receiver")
    made = Path(edge.__file__).stat().st_mtime if software is None else software
    earliest = max(made, record_file(updates).read().signed_at) - DAY_S
    at = (asked.offset_ms + moment.uptime_ms) / 1000
    if not earliest <= at <= made + YEARS_S:
        raise ConfigError(
            "the receiver tells of a time that cannot be; if it is old, its weeks may have begun"
            " anew: look for newer firmware of it"
        )
    off_s = utc_seconds(moment.at) - at
    if abs(off_s) > RIGHT_S:
        set_time(at)
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    return f"the clock was off by {off_s:.1f} s by GPS; it is {utc_text(at)}"
