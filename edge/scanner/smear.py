"""Takes the smear of a moving hand out of a picture of a code.

A code has as many edges one way as the other, so that the way along which they are weakest is that
of the hand. Along it each edge is there twice, at the beginning and at the end of the smear, once
rising and once falling: where the picture's slope is most unlike itself is the length of the smear.
With both known, the smear is divided out of the picture's spectrum (Wiener's filter).
"""

import math
from typing import Any

import cv2
import numpy as np

from edge.scanner.readers import Frame

#: From this on the edges are as strong along as across: nothing moved. 1 is no difference.
_EVEN = 0.7
#: Lengths of a smear that are looked for, in pixels.
_SHORTEST, _LONGEST = 4, 40
#: Beyond this there was nothing left to read in any frame that we tried.
_MOST = 18
#: How unlike itself the slope must be at the length of the smear; -0.5 is a perfect smear.
_UNLIKE = -0.1
#: Noise against signal, in power, that the filter reckons with.
_NOISE = 0.05
#: How soft a lens is apart from that, as standard deviation in pixels.
_SOFT = 0.7
#: What is added around a picture, in pixels, since a spectrum takes it for going on in a circle.
_MARGIN = 16


def without_smear(picture: Frame) -> Frame | None:
    """*picture* as if nothing had moved in it; None if nothing did, or too far."""
    angle, evenness = _direction(picture)
    if evenness > _EVEN:
        return None
    length = _length(picture, angle)
    if length is None or length > _MOST:
        return None
    return _divided(picture, length, angle)


def _direction(picture: Frame) -> tuple[float, float]:
    """Where edges are weakest, in radians, and how strong against where they are strongest."""
    soft = cv2.GaussianBlur(picture, (0, 0), 1.0)
    x, y = (cv2.Sobel(soft, cv2.CV_32F, way, 1 - way) for way in (1, 0))
    xx, xy, yy = (float(cv2.mean(each)[0]) for each in (x * x, x * y, y * y))
    strengths, ways = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    return float(np.arctan2(ways[1, 0], ways[0, 0])), float(strengths[0] / max(strengths[1], 1e-6))


def _length(picture: Frame, angle: float) -> int | None:
    """The length of a smear along *angle*, in pixels."""
    height, width = picture.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), np.degrees(angle), 1.0)
    level: Any = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    # Every third row tells as much as all.
    inner = level[height // 6 : -height // 6 : 3, width // 6 : -width // 6].astype(np.float32)
    slope = np.diff(inner, axis=1)
    if slope.shape[1] <= _LONGEST:
        return None
    power = np.abs(np.fft.rfft(slope, 2 * slope.shape[1], axis=1)) ** 2
    likeness = np.fft.irfft(power.sum(axis=0))
    lengths = likeness[_SHORTEST:_LONGEST] / max(float(likeness[0]), 1e-6)
    return _SHORTEST + int(np.argmin(lengths)) if lengths.min() < _UNLIKE else None


def _divided(picture: Frame, length: float, angle: float) -> Frame:
    height, width = picture.shape
    rows, columns = _even(height + 2 * _MARGIN), _even(width + 2 * _MARGIN)
    below, right = rows - height - _MARGIN, columns - width - _MARGIN
    wide = cv2.copyMakeBorder(picture, _MARGIN, below, _MARGIN, right, cv2.BORDER_REFLECT)
    down = np.fft.fftfreq(rows).astype(np.float32)[:, None]
    across = np.fft.rfftfreq(columns).astype(np.float32)
    # The spectra of a line of that length and of a soft point: both have real values alone.
    phase = (math.pi * length) * (across * math.cos(angle) + down * math.sin(angle))
    line = np.sin(phase) / np.where(phase == 0, 1, phase) + (phase == 0)
    smear = line * (_lens(across) * _lens(down))
    spectrum = cv2.dft(wide.astype(np.float32)) * _packed(smear / (smear * smear + _NOISE))
    sharp = cv2.idft(spectrum, flags=cv2.DFT_SCALE)
    inner = sharp[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
    return np.ascontiguousarray(np.clip(inner, 0, 255).astype(np.uint8))


def _even(side: int) -> int:
    return 2 * cv2.getOptimalDFTSize((side + 1) // 2)


def _lens(frequency: Any) -> Any:
    return np.exp(-2 * (math.pi * _SOFT * frequency) ** 2)


def _packed(gain: Any) -> Any:
    """*gain* of each frequency, where OpenCV has the two parts of it: four times faster than numpy.

    Between the first and the last column they stand side by side; in these, one below the other.
    """
    both = np.repeat(gain, 2, axis=1)[:, 1:-1]
    half = gain.shape[0] // 2
    both[:, [0, -1]] = np.repeat(gain[: half + 1, [0, -1]], 2, axis=0)[1:-1]
    return both
