"""Tells whoever put this version of the software in place that it scans.

A small file in the service's own folder under /run, which systemd removes when the service ends. It
is written after frames that were read, so it is there only while the outbox is open and the camera
gives frames; whoever believes it asks systemd for the process as well.
"""

import logging
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from edge.clock import Clock
from edge.files import read_small

#: Where systemd has the folder of the service.
PULSE = Path("/run/edge-scanner/pulse.json")
EVERY_S = 2.0
#: What was written longer ago is not of now.
FRESH_S = 15.0

log = logging.getLogger(__name__)


class Beat(Struct, frozen=True, kw_only=True):
    """What the file says."""

    software: str = ""
    pid: int = 0
    #: Since the start.
    frames: int = 0
    #: To the broker, when this was written; None of a version that does not tell.
    connected: bool | None = None


class Pulse:
    """Written by the scanning thread."""

    def __init__(self, software: str, clock: Clock, folder: Path | None = None) -> None:
        """*folder* None is what systemd made for the service; without one nothing is told."""
        made = os.environ.get("RUNTIME_DIRECTORY")
        self._folder = folder or (Path(made) if made else None)
        self._software = software
        self._clock = clock
        self._frames = 0
        self._next = 0.0

    def start(self) -> None:
        """All is open; a frame is still to come, and so may the broker."""
        self._tell(connected=False)

    def frame(self, *, connected: bool) -> None:
        """A frame was read; *connected*: whether there is the broker."""
        self._frames += 1
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + EVERY_S
            self._tell(connected=connected)

    def _tell(self, *, connected: bool) -> None:
        if self._folder is None:
            return
        beat = Beat(
            software=self._software, pid=os.getpid(), frames=self._frames, connected=connected
        )
        path = self._folder / PULSE.name
        # Not synced: it is in memory, and of this run.
        new = path.with_name(f"{path.name}.new")
        try:
            new.write_bytes(msgspec.json.encode(beat))
            new.rename(path)
        except OSError as err:
            # Nobody's scan waits for it.
            log.warning("%s cannot be written: %s", path, err.strerror)


def is_scanning(path: Path = PULSE) -> bool:
    """Whether the process that *path* tells of had a frame just now."""
    return _is_fresh(path) and read_pulse(path).frames > 0


def is_connected(path: Path = PULSE) -> bool:
    """Whether the process that *path* tells of is connected to its broker now."""
    return is_scanning(path) and read_pulse(path).connected is True


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime <= FRESH_S
    except OSError:
        return False


def read_pulse(path: Path) -> Beat:
    """What the file says; an empty beat if there is none."""
    try:
        return msgspec.json.decode(read_small(path), type=Beat)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Beat()
