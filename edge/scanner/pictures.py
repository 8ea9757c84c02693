"""Frames that OpenCV reads: a folder of images, one image, a video, a webcam.

Names on a disk may hold anything, hence `repr` wherever one is shown.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import queue
import stat
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import CameraError, EndOfFrames
from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

log = logging.getLogger(__name__)

#: What OpenCV gives: grey, colour, with or without transparency, 8 or 16 bits.
Picture: TypeAlias = npt.NDArray[Any]

#: How long one image is shown.
IMAGE_S = 2.0

#: A larger file is no image for a camera; it may be a video.
MAX_IMAGE_BYTES = 64_000_000


def open_recording(settings: CameraSettings, pace: Callable[[], None]) -> Recording:
    """The pictures at the path in `settings.source`. *pace* is called before each frame."""
    _hush()
    path = Path(settings.source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as err:
        raise _cannot_open(path, err) from err
    if stat.S_ISDIR(mode):
        return Recording(ImageFolder(path, settings).play, settings.repeat, pace)
    if not stat.S_ISREG(mode):
        raise CameraError(f"{_shown(path)} is neither a file nor a folder; choose one as source")
    try:
        frame = _fit(read_image(path), settings)
    except OSError as err:
        raise _cannot_open(path, err) from err
    except ValueError:
        return Recording(Video(path, settings).play, settings.repeat, pace)
    count = math.ceil(IMAGE_S * settings.frame_rate)
    return Recording(lambda: itertools.repeat(frame, count), settings.repeat, pace)


class Recording:
    """Pictures kept on a disk, one after the other; none is left out."""

    def __init__(
        self, play: Callable[[], Iterator[Frame]], repeat: bool, pace: Callable[[], None]
    ) -> None:
        self._frames = _passes(play, repeat)
        self._pace = pace
        # Fetched now, so that what cannot be shown is said when it is opened.
        self._first: Frame | None = next(self._frames)

    def capture(self) -> Frame:
        """The next frame, when it is due. Raises EndOfFrames after the last."""
        frame = self._first if self._first is not None else next(self._frames, None)
        self._first = None
        if frame is None:
            raise EndOfFrames("no more frames; set camera.repeat to start again at the end")
        self._pace()
        return frame

    def close(self) -> None:
        """Close the file. What is captured after that is the end."""
        self._first = None
        self._frames.close()


def _passes(play: Callable[[], Iterator[Frame]], again: bool) -> Generator[Frame, None, None]:
    yield from play()
    while again:  # cannot spin: a pass gives at least one frame, or raises
        yield from play()


class ImageFolder:
    """The images of a folder, sorted by name."""

    def __init__(self, path: Path, settings: CameraSettings) -> None:
        self._path = path
        self._settings = settings
        self._skipped: set[str] = set()

    @property
    def skipped(self) -> int:
        """How many of its files could not be shown, so far."""
        return len(self._skipped)

    def play(self) -> Iterator[Frame]:
        """Each image once. Raises CameraError if there is none, or the folder is gone."""
        shown, known = 0, self.skipped
        names = self._names()
        for name in names:
            frame = self._read(name)
            if frame is not None:
                shown += 1
                yield frame
        if not shown:
            raise CameraError(self._nothing(len(names)))
        if self.skipped > known:
            log.warning(
                "%s: %d of %d files skipped", _shown(self._path), len(names) - shown, len(names)
            )

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._path) as entries:
                return sorted(entry.name for entry in entries if not entry.is_dir())
        except OSError as err:
            raise _cannot_open(self._path, err) from err

    def _read(self, name: str) -> Frame | None:
        path = self._path / name
        try:
            return _fit(read_image(path), self._settings)
        except OSError as err:
            if not self._path.exists():
                raise CameraError(
                    f"{_shown(self._path)} is gone; is its disk still there?"
                ) from err
            reason = err.strerror or "it cannot be read"
        except ValueError as err:
            reason = str(err)
        if name not in self._skipped:
            self._skipped.add(name)
            log.warning("%s skipped: %s", _shown(path), reason)
        return None

    def _nothing(self, count: int) -> str:
        if not count:
            return f"{_shown(self._path)} is empty; put images into it"
        return f"{_shown(self._path)}: none of its {count} files is an image; put images into it"


class Video:
    """The frames of a video file."""

    def __init__(self, path: Path, settings: CameraSettings) -> None:
        self._path = path
        self._settings = settings
        self._told = False

    def play(self) -> Iterator[Frame]:
        """Each frame once. Raises CameraError if there is none."""
        shown = 0
        with _OpenVideo(self._path) as video:
            expected = video.get(cv2.CAP_PROP_FRAME_COUNT)
            while (picture := _next_picture(video)) is not None:
                shown += 1
                yield _fit(picture, self._settings)
        if not shown:
            raise CameraError(
                f"{_shown(self._path)} is neither an image nor a video that can be read, or it is"
                " damaged; try it in a player, or choose another source"
            )
        if shown < expected and not self._told:
            self._told = True
            end = (_shown(self._path), shown, int(expected))
            log.warning("%s ended after %d of %d frames; it may be cut short", *end)


class _OpenVideo:
    """A video file while it is open."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except OSError as err:
            raise _cannot_open(path, err) from err

    def __enter__(self) -> cv2.VideoCapture:
        # By its descriptor: OpenCV 5.0 dies of a segmentation fault on a name that is not UTF-8,
        # and takes names like "gate%03d.png" for a pattern and text files (.txt) for a film.
        self._video = cv2.VideoCapture(f"/proc/self/fd/{self._file.fileno()}", cv2.CAP_FFMPEG)
        return self._video

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._video.release()
        self._file.close()


def _next_picture(video: cv2.VideoCapture) -> Frame | None:
    ok, picture = video.read()
    return _grey(picture) if ok else None


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
    _hush()
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
        return _fit(_grey(picture), self._settings)

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


def read_image(path: Path) -> Frame:
    """The image at *path* in grey. Raises OSError, or ValueError that says what else is wrong."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("not a regular file")
    if not 0 < info.st_size <= MAX_IMAGE_BYTES:
        raise ValueError(f"{info.st_size} bytes; an image has 1 to {MAX_IMAGE_BYTES}")
    try:
        # Unchanged, because reading it as grey makes transparent parts black.
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as err:
        raise ValueError("too large for an image") from err
    if picture is None:
        raise ValueError("not an image, or damaged")
    return _grey(picture)


def _grey(picture: Picture) -> Frame:
    """*picture* in 8-bit grey, on white where it is transparent. Raises ValueError if it cannot."""
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise ValueError(f"its pixels are {picture.dtype}; save it with 8 or 16 bits")
    if picture.ndim == 2:
        return picture
    if picture.shape[2] == 4:
        opaque = picture[:, :, 3]
        grey = cv2.cvtColor(picture, cv2.COLOR_BGRA2GRAY)
        return _bytes(cv2.add(cv2.multiply(grey, opaque, scale=1 / 255), cv2.bitwise_not(opaque)))
    return _bytes(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))


def _fit(frame: Frame, settings: CameraSettings) -> Frame:
    """*frame* shrunk to fit into width x height; smaller ones stay as they are."""
    height, width = frame.shape
    scale = min(settings.width / width, settings.height / height)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return _bytes(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))


def _bytes(picture: Picture) -> Frame:
    return np.asarray(picture, np.uint8)


def _hush() -> None:
    # OpenCV writes to standard error what we say ourselves; whoever wants it sets the variables.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    # Debian's 4.10 has the one, 5.0 has the other; 0 is silent in both.
    home: Any = getattr(cv2.utils, "logging", cv2)
    home.setLogLevel(0)


def _cannot_open(path: Path, err: OSError | ValueError) -> CameraError:
    if isinstance(err, FileNotFoundError):
        return CameraError(f"no file or folder {_shown(path)}; check camera.source")
    if isinstance(err, PermissionError):
        return CameraError(f"{_shown(path)} may not be read by this user; change its mode or owner")
    reason = (err.strerror if isinstance(err, OSError) else None) or str(err)
    return CameraError(f"{_shown(path)} cannot be opened: {reason}; check camera.source")


def _shown(path: Path) -> str:
    return repr(str(path))
