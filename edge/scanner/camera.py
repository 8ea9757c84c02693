"""Where frames come from: the Pi's camera, a webcam, pictures on disk, or a gate that we draw."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge.clock import Clock
from edge.errors import ConfigError
from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame


class Camera(Protocol):
    """Gives frames, grey, the newest first. None is ever stored."""

    def capture(self) -> Frame:
        """The newest frame, waited for at most `wait_s`. It ends with the next call.

        It may be the camera's own memory, which the camera then writes again: who wants to keep
        something of it copies that.

        Raises CameraError if none comes in time or the device is gone, and EndOfFrames when a
        folder or a video has come to its end.
        """
        ...

    def close(self) -> None:
        """Give the device or the file back. Closing twice does no harm."""
        ...


def open_camera(
    settings: CameraSettings, clock: Clock, wait: Callable[[float], object] = time.sleep
) -> Camera:
    """The camera that `settings.source` names. Raises CameraError with what to do about it.

    *wait* is given the seconds until a drawn or recorded frame is due. Each kind is imported only
    when it is asked for, so that a unit needs what it uses and no more.
    """
    if settings.frame_rate * settings.wait_s < 1:
        raise ConfigError(
            f"camera: at frame_rate {settings.frame_rate:g} frames are {1 / settings.frame_rate:g}"
            f" s apart, longer than wait_s {settings.wait_s:g}; raise one of the two"
        )
    left, top, right, bottom = settings.region
    if left >= right or top >= bottom:
        raise ConfigError(
            f"camera: region is {list(settings.region)}; its left must be less than its right (1st"
            " and 3rd), and its top less than its bottom (2nd and 4th)"
        )
    if settings.source == "pi":
        from edge.scanner.lamp import Lamp
        from edge.scanner.pi_camera import PiCamera

        return PiCamera(settings, Lamp(settings.lamp_pin) if settings.lamp_pin >= 0 else None)
    if (device := webcam_device(settings.source)) is not None:
        from edge.scanner.webcam import Webcam

        return Webcam(device, settings)
    pace = Pace(settings, clock, wait)
    if settings.source == "sample":
        from edge.scanner.sample import SampleGate

        return SampleGate(settings, pace.keep)
    from edge.scanner.pictures import open_recording

    return open_recording(settings, pace.keep)


def webcam_device(source: str) -> str | None:
    """The device file that *source* means: /dev/videoN, webcam:N or N; None if it is no webcam."""
    if numbered := re.fullmatch(r"(?:webcam:)?([0-9]{1,2})", source, re.ASCII):
        return f"/dev/video{int(numbered[1])}"
    if source.startswith("webcam:"):
        raise ConfigError(f"camera: source {source!r} is no webcam; write webcam:0, webcam:1, ...")
    if source.startswith(("/dev/video", "/dev/v4l/")) or _is_device(source):
        return source
    return None


def _is_device(source: str) -> bool:
    try:
        return Path(source).is_char_device()
    except (OSError, ValueError):
        return False  # whoever opens it as a file says what is wrong with it


class Pace:
    """Holds recorded and drawn frames back until each is due."""

    def __init__(
        self, settings: CameraSettings, clock: Clock, wait: Callable[[float], object]
    ) -> None:
        self._period = 1 / settings.frame_rate
        self._limit = settings.wait_s
        self._clock = clock
        self._wait = wait
        self._due = clock.monotonic()

    def keep(self) -> None:
        """Wait until the next frame is due, at most `wait_s`."""
        now = self._clock.monotonic()
        if self._due > now:
            self._wait(min(self._due - now, self._limit))
        # A reader that fell behind goes on at the usual pace; it gets no burst to catch up with.
        self._due = max(self._due, now - self._period) + self._period
