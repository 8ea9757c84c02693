"""A webcam by V4L2, through OpenCV."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import stat
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from edge.errors import CameraError
from edge.scanner.grey import Picture, fit, grey, hush
from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

log = logging.getLogger(__name__)


class Device(Protocol):
    """What we use of `cv2.VideoCapture` for a webcam."""

    def grab(self) -> bool:
        """Wait for the next picture; false if the device is gone."""
        ...

    def retrieve(self) -> tuple[bool, Any]:
        """Whether the picture that was grabbed is whole, and the picture."""
        ...

    def release(self) -> None:
        """Close the device."""
        ...


def open_v4l2(device: str, settings: CameraSettings) -> Device:
    """Open *device* with OpenCV. Raises CameraError; hangs if the driver does."""
    hush()
    _check_device(device)
    camera = cv2.VideoCapture(device, cv2.CAP_V4L2)
    if not camera.isOpened():
        raise CameraError(
            f"{device!r} does not open as a camera; is another program using it (see fuser), or"
            " is it another kind of device (see v4l2-ctl --list-devices)?"
        )
    # Wishes only: what a camera does not know, it leaves as it was.
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    camera.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
    camera.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
    camera.set(cv2.CAP_PROP_FPS, settings.frame_rate)
    return camera


class Webcam:
    """A V4L2 camera. A thread reads it all the time and keeps only the newest picture.

    A driver may hang in any call. Then that thread hangs, never the caller, who shares two queues
    and a flag with it and nothing else.
    """

    def __init__(
        self,
        device: str,
        settings: CameraSettings,
        open_device: Callable[[str, CameraSettings], Device] = open_v4l2,
    ) -> None:
        self._device = device
        self._settings = settings
        self._newest: queue.Queue[Picture | None] = queue.Queue(1)
        self._stopping = threading.Event()
        opened: queue.Queue[CameraError | None] = queue.Queue(1)
        self._thread = threading.Thread(
            target=_keep_newest,
            args=(lambda: open_device(device, settings), opened, self._newest, self._stopping),
            name="webcam",
            daemon=True,  # a hung driver must not keep the process from ending
        )
        self._thread.start()
        self._await_opening(opened)

    def capture(self) -> Frame:
        """The newest frame, never older than the moment before the call."""
        try:
            picture = self._newest.get(timeout=self._settings.wait_s)
        except queue.Empty:
            raise self._late("gave no picture for") from None
        if picture is None:
            self._newest.put_nowait(None)  # for the next call; the thread puts nothing any more
            raise CameraError(f"{self._device!r} is gone; is it still plugged in?")
        return fit(grey(picture), self._settings)

    def close(self) -> None:
        """Have the thread close the device, and wait for it at most `wait_s`."""
        self._stopping.set()
        self._thread.join(self._settings.wait_s)
        if self._thread.is_alive():
            log.warning("%r does not answer; the end of this process will close it", self._device)

    def _await_opening(self, opened: queue.Queue[CameraError | None]) -> None:
        try:
            error = opened.get(timeout=self._settings.wait_s)
        except queue.Empty:
            self._stopping.set()
            raise self._late("did not open within") from None
        if error is not None:
            raise error

    def _late(self, what: str) -> CameraError:
        return CameraError(
            f"{self._device!r} {what} {self._settings.wait_s:g} s; plug it out and in again, or"
            " raise camera.wait_s"
        )


def _keep_newest(
    open_device: Callable[[], Device],
    opened: queue.Queue[CameraError | None],
    newest: queue.Queue[Picture | None],
    stopping: threading.Event,
) -> None:
    try:
        device = open_device()
    except CameraError as err:
        opened.put(err)
        return
    opened.put(None)
    try:
        while not stopping.is_set() and device.grab():
            whole, picture = device.retrieve()
            if whole:
                _replace(newest, picture)
    finally:
        _replace(newest, None)
        device.release()


def _replace(newest: queue.Queue[Picture | None], picture: Picture | None) -> None:
    with contextlib.suppress(queue.Empty):
        newest.get_nowait()
    newest.put_nowait(picture)  # there is room: nobody else puts


def _check_device(device: str) -> None:
    try:
        mode = os.stat(device).st_mode
    except OSError as err:
        raise CameraError(
            f"no camera at {device!r} ({err.strerror}); plug it in, or choose one that"
            " v4l2-ctl --list-devices shows"
        ) from err
    if not stat.S_ISCHR(mode):
        raise CameraError(f"{device!r} is not a device; choose one that ls /dev/video* shows")
    if not os.access(device, os.R_OK | os.W_OK):
        raise CameraError(f"{device!r} may not be used by this user; add it to the group video")
