"""The GPS receiver of a vehicle: NMEA over a serial line, or gpsd where that is installed.

It tells the time, for units that never meet a network (gnss_clock.py), and where the vehicle stood
(stops.py). Sentences are parsed by pynmeagps, which checks their sums; gpsd speaks JSON. Whatever
the receiver does, it never stops the scanning.
"""

import json
import logging
import os
import select
import socket
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from edge.clock import Clock, utc_seconds
from edge.errors import ConfigError
from edge.messages import GpsState
from edge.unit_settings import GpsSettings

log = logging.getLogger(__name__)

GPSD = "gpsd"
GPSD_PORT = 2947
#: What cannot be opened is tried again after this long.
RETRY_S = 10.0
#: Without a sentence for so long the line is opened anew: a receiver that was plugged in again.
SILENT_S = 30.0
#: A fix older than this is none.
FRESH_S = 10.0
#: No line of a receiver is longer; gpsd's list of satellites is.
LONGEST_LINE = 16_384


@dataclass(frozen=True)
class Fix:
    """Where the receiver was, and when it said so."""

    at: float  #: UTC, seconds since 1970
    uptime_ms: int  #: of this machine, when the fix came in
    latitude: float  #: degrees, north is positive
    longitude: float  #: degrees, east is positive
    speed_m_s: float | None = None


class Line(Protocol):
    """What fixes come from, as bytes."""

    def fileno(self) -> int:
        """For select()."""
        ...

    def read(self) -> bytes:
        """What has come in; b"" at its end. Raises OSError."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Receiver:
    """Reads the receiver of the settings, turn by turn. One thread; `state` may be read by any."""

    def __init__(self, settings: GpsSettings, clock: Clock, taken: Callable[[Fix], None]) -> None:
        """*taken* is called with each fix. Raises ConfigError for a source that is none."""
        self._open, self._parse = _source(settings)
        self._source = settings.source
        self._clock = clock
        self._taken = taken
        self._line: Line | None = None
        self._rest = b""
        self._next_try = 0.0
        #: When it was opened, last said something, and last knew where it is.
        self._opened = self._heard = self._fixed = -SILENT_S
        self._complained = False

    @property
    def state(self) -> GpsState:
        """Whether it says anything, and knows where it is."""
        now = self._clock.monotonic()
        if now - self._fixed <= FRESH_S:
            return "fix"
        return "searching" if now - self._heard <= FRESH_S else "silent"

    def step(self, timeout_s: float = 1.0) -> None:
        """One turn, of at most *timeout_s*. Never raises for the receiver's sake."""
        now = self._clock.monotonic()
        try:
            if self._line is None:
                if now < self._next_try:
                    return
                self._next_try = now + RETRY_S
                self._line, self._rest, self._opened = self._open(), b"", now
                log.info("the GPS receiver is open: %s", self._source)
                self._complained = False
            if not select.select([self._line], [], [], timeout_s)[0]:
                if now - max(self._opened, self._heard) > SILENT_S:
                    raise OSError(f"it has said nothing for {SILENT_S:.0f} s")
                return
            data = self._line.read()
            if not data:
                raise OSError("it has gone away")
        except OSError as err:
            self._fail(err)
            return
        for line in self._lines(data):
            self._take(line)

    def close(self) -> None:
        """Let go of the receiver."""
        line, self._line = self._line, None
        if line is not None:
            with suppress(OSError):
                line.close()

    def _fail(self, err: OSError) -> None:
        self.close()
        if not self._complained:
            # Once: a receiver that is not there would fill the log.
            self._complained = True
            log.warning("the GPS receiver %s: %s; trying on", self._source, err)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = b""
        return iter(lines)

    def _take(self, line: bytes) -> None:
        moment = self._clock.now()
        found = self._parse(line)
        if found is None:
            return
        self._heard = self._clock.monotonic()
        if isinstance(found, Found):
            self._fixed = self._heard
            self._taken(
                Fix(found.at, moment.uptime_ms, found.latitude, found.longitude, found.speed_m_s)
            )


@dataclass(frozen=True)
class Found:
    """What one line says of where and when."""

    at: float
    latitude: float
    longitude: float
    speed_m_s: float | None


#: What a line says; "searching" if that is all, None if it cannot be read or is of something else.
Parse = Callable[[bytes], Found | Literal["searching"] | None]


def _source(settings: GpsSettings) -> tuple[Callable[[], Line], Parse]:
    source = settings.source
    if source.startswith("/"):
        return (lambda: SerialLine(source, settings.baud)), nmea_parser()
    name, _, where = source.partition("://")
    host, _, port = where.partition(":")
    if name != GPSD or not (port or str(GPSD_PORT)).isdigit():
        raise ConfigError(
            f'gps.source is {source!r}; it must be a serial line such as "/dev/serial0", "gpsd",'
            ' "gpsd://host:port", or "" for none'
        )
    return (lambda: GpsdLine(host or "127.0.0.1", int(port or GPSD_PORT))), parse_gpsd


class SerialLine:
    """A serial line with a receiver at its end."""

    def __init__(self, path: str, baud: int) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            tty.setraw(self._fd)
            attributes = termios.tcgetattr(self._fd)
            attributes[4] = attributes[5] = getattr(termios, f"B{baud}")
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        except termios.error as err:
            os.close(self._fd)
            raise OSError(f"not a serial line: {err.args[-1]}") from err

    def fileno(self) -> int:
        """See Line."""
        return self._fd

    def read(self) -> bytes:
        """See Line."""
        return os.read(self._fd, 4096)

    def close(self) -> None:
        """See Line."""
        os.close(self._fd)


class GpsdLine:
    """A connection to gpsd, which watches for us."""

    def __init__(self, host: str, port: int) -> None:
        """Raises OSError."""
        self._socket = socket.create_connection((host, port), timeout=3.0)
        self._socket.sendall(b'?WATCH={"enable":true,"json":true};\n')

    def fileno(self) -> int:
        """See Line."""
        return self._socket.fileno()

    def read(self) -> bytes:
        """See Line."""
        return self._socket.recv(4096)

    def close(self) -> None:
        """See Line."""
        self._socket.close()


def nmea_parser() -> Parse:
    """Reads RMC sentences, whichever satellites they are of: the one that has time and place."""
    from pynmeagps import NMEAReader
    from pynmeagps.exceptions import NMEAMessageError, NMEAParseError, NMEATypeError

    def parse(line: bytes) -> Found | Literal["searching"] | None:
        if line[3:6] != b"RMC" or not line.startswith(b"$"):
            return None
        try:
            said = NMEAReader.parse(line.rstrip(b"\r") + b"\r\n")
            if said is None or said.status != "A":
                return None if said is None else "searching"
            at = datetime.combine(said.date, said.time, UTC).timestamp()
            knots = said.spd if isinstance(said.spd, float) else None
            return _found(at, said.lat, said.lon, None if knots is None else knots * 0.514444)
        except (
            NMEAParseError,
            NMEATypeError,
            NMEAMessageError,
            AttributeError,
            TypeError,
            ValueError,
        ):
            # A line with noise on it; the next comes in a second.
            return None

    return parse


def parse_gpsd(line: bytes) -> Found | Literal["searching"] | None:
    """Reads the reports of gpsd about time, position and velocity ("TPV")."""
    try:
        said = json.loads(line)
        if not isinstance(said, dict) or said.get("class") != "TPV":
            return None
        if said.get("mode", 0) < 2 or "time" not in said:
            return "searching"
        return _found(utc_seconds(said["time"]), said["lat"], said["lon"], said.get("speed"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _found(at: float, latitude: float, longitude: float, speed: float | None) -> Found | None:
    """Raises TypeError for what is no number; None for what is nowhere."""
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    if speed is not None and not 0 <= speed < 1000:
        return None
    return Found(at, float(latitude), float(longitude), speed)
