"""Frames that OpenCV reads from a disk: a folder of images, one image, a video.

Names on a disk may hold anything, hence `repr` wherever one is shown.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import stat
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.errors import CameraError, EndOfFrames
from edge.scanner.grey import fit, grey, hush
from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

log = logging.getLogger(__name__)

#: How long one image is shown.
IMAGE_S = 2.0

#: A larger file is no image for a camera; it may be a video.
MAX_IMAGE_BYTES = 64_000_000


def open_recording(settings: CameraSettings, pace: Callable[[], None]) -> Recording:
    """The pictures at the path in `settings.source`. *pace* is called before each frame."""
    hush()
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
        frame = fit(read_image(path), settings)
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
            return fit(read_image(path), self._settings)
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
                yield fit(picture, self._settings)
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
    return grey(picture) if ok else None


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
    return grey(picture)


def _cannot_open(path: Path, err: OSError | ValueError) -> CameraError:
    if isinstance(err, FileNotFoundError):
        return CameraError(f"no file or folder {_shown(path)}; check camera.source")
    if isinstance(err, PermissionError):
        return CameraError(f"{_shown(path)} may not be read by this user; change its mode or owner")
    reason = (err.strerror if isinstance(err, OSError) else None) or str(err)
    return CameraError(f"{_shown(path)} cannot be opened: {reason}; check camera.source")


def _shown(path: Path) -> str:
    return repr(str(path))
