"""Takes the smear of a moving hand out of a picture of a code.

A code has as many edges one way as the other, so that the way along which they are weakest is that
of the hand. Along it each edge is there twice, at the beginning and at the end of the smear, once
rising and once falling: where the picture's slope is most unlike itself is the length of the smear.
With both known, the smear is divided out of the picture's spectrum (Wiener's filter).
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

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
#: By how much the slope is most unlike itself later than at the end of the smear, in pixels: the
#: lens is soft as well.
_LATE = 0.25
#: Noise against signal, in power, that the filter reckons with: first little, for sharp edges; then
#: more, where that brought out the noise.
_NOISES = (0.02, 0.05)
#: How soft a lens is apart from that, as standard deviation in pixels.
_SOFT = 0.7
#: What is added around a picture, in pixels, since a spectrum takes it for going on in a circle.
_MARGIN = 16


class Smear(NamedTuple):
    """How far something moved while the shutter was open."""

    length: float
    #: In radians, from the right and downwards.
    angle: float


def smear_of(picture: Frame) -> Smear | None:
    """How *picture* of a code is smeared; None if nothing moved in it, or too far."""
    angle, evenness = _direction(picture)
    if evenness > _EVEN:
        return None
    length = _length(picture, angle)
    return None if length is None or length > _MOST else Smear(length, angle)


def without_smear(picture: Frame, smear: Smear) -> Iterator[Frame]:
    """*picture* as if nothing had moved in it, for each of the noises, made when asked for."""
    length, angle = smear
    height, width = picture.shape
    rows, columns = _even(height + 2 * _MARGIN), _even(width + 2 * _MARGIN)
    below, right = rows - height - _MARGIN, columns - width - _MARGIN
    wide = cv2.copyMakeBorder(picture, _MARGIN, below, _MARGIN, right, cv2.BORDER_REFLECT)
    down = np.fft.fftfreq(rows).astype(np.float32)[:, None]
    across = np.fft.rfftfreq(columns).astype(np.float32)
    # The spectra of a line of that length and of a soft point: both have real values alone.
    phase = np.float32(math.pi * length) * (
        across * np.float32(math.cos(angle)) + down * np.float32(math.sin(angle))
    )
    line = np.sin(phase) / np.where(phase == 0, 1, phase) + (phase == 0)
    blur = line * (_lens(across) * _lens(down))
    spectrum = cv2.dft(wide.astype(np.float32))
    for noise in _NOISES:
        sharp = cv2.idft(spectrum * _packed(blur / (blur * blur + noise)), flags=cv2.DFT_SCALE)
        inner = sharp[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
        yield np.ascontiguousarray(np.clip(inner, 0, 255).astype(np.uint8))


def _direction(picture: Frame) -> tuple[float, float]:
    """Where edges are weakest, in radians, and how strong against where they are strongest."""
    # Half the size tells as much for a quarter of the time.
    soft = cv2.pyrDown(picture)
    x, y = (cv2.Sobel(soft, cv2.CV_32F, way, 1 - way).ravel() for way in (1, 0))
    xx, xy, yy = (float(one @ other) for one, other in ((x, x), (x, y), (y, y)))
    strengths, ways = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    return float(np.arctan2(ways[1, 0], ways[0, 0])), float(strengths[0] / max(strengths[1], 1e-6))


def _length(picture: Frame, angle: float) -> float | None:
    """The length of a smear along *angle*, in pixels."""
    height, width = picture.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), np.degrees(angle), 1.0)
    level: Any = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    # Every fourth row tells as much as all.
    inner = level[height // 6 : -height // 6 : 4, width // 6 : -width // 6].astype(np.float32)
    slope = np.diff(inner, axis=1)
    if slope.shape[1] <= _LONGEST:
        return None
    power = np.abs(np.fft.rfft(slope, 2 * slope.shape[1], axis=1)) ** 2
    likeness = np.fft.irfft(power.sum(axis=0))
    likeness /= max(float(likeness[0]), 1e-6)
    at = _SHORTEST + int(np.argmin(likeness[_SHORTEST:_LONGEST]))
    before, least, after = (float(each) for each in likeness[at - 1 : at + 2])
    if least > _UNLIKE:
        return None
    # The lowest point of the parabola through the three.
    bend = before - 2 * least + after
    return at - _LATE + (0.5 * (before - after) / bend if bend > 0 else 0.0)


def _even(side: int) -> int:
    return 2 * cv2.getOptimalDFTSize((side + 1) // 2)


def _lens(frequency: Any) -> Any:
    return np.exp(-2 * (math.pi * _SOFT * frequency) ** 2).astype(np.float32)


def _packed(gain: Any) -> Any:
    """*gain* of each frequency, where OpenCV has the two parts of it: four times faster than numpy.

    Between the first and the last column they stand side by side; in these, one below the other.
    """
    both = np.repeat(gain, 2, axis=1)[:, 1:-1]
    half = gain.shape[0] // 2
    both[:, [0, -1]] = np.repeat(gain[: half + 1, [0, -1]], 2, axis=0)[1:-1]
    return both
