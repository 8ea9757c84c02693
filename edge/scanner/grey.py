"""Makes of what OpenCV gives the grey frames that are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

#: What OpenCV gives: grey, colour, with or without transparency, 8 or 16 bits.
Picture: TypeAlias = npt.NDArray[Any]


def grey(picture: Picture) -> Frame:
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


def fit(frame: Frame, settings: CameraSettings) -> Frame:
    """*frame* shrunk to fit into width x height; smaller ones stay as they are."""
    height, width = frame.shape
    scale = min(settings.width / width, settings.height / height)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return _bytes(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))


def _bytes(picture: Picture) -> Frame:
    return np.asarray(picture, np.uint8)


def hush() -> None:
    """Keep OpenCV from telling what we tell ourselves."""
    # OpenCV writes to standard error what we say ourselves; whoever wants it sets the variables.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    # Debian's 4.10 has the one, 5.0 has the other; 0 is silent in both.
    home: Any = getattr(cv2.utils, "logging", cv2)
    home.setLogLevel(0)
