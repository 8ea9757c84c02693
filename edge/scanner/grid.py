"""Reads a code that was seen but not read: on bent paper, leaning far, smeared, spoiled.

Readers lay a flat grid over a code, from its corners. Here the grid follows the code: the edges
between modules lie on its lines, so the phase of the edges around a module tells how far the grid
is off there. With it straightened, each module is read from its middle, where blur has hurt least,
and compared with its neighbours. What every code of its size has in common is drawn in, and
zxing-cpp, with the same error correction as ever, decides whether that is a code.
"""

from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from zxingcpp import Binarizer

from edge.scanner.readers import Code, Frame, Spot, read_zxing

Floats: TypeAlias = npt.NDArray[np.float32]

#: Pixels of a module once the code is straight: enough to tell its middle from its rim.
_SIDE = 6
#: Modules around the code that are looked at as well, for edges at its rim.
_RIM = 2
#: Over how many modules edges are averaged: widely at first, to find far bends; then closer.
_REACHES = (2.5, 1.5)
#: How much of what all codes share must be there. Where there is no code it is half.
_ALIKE = 0.75
#: A larger code would take more than 20 ms, and its modules less than 7 pixels of a 720p frame.
MAX_VERSION = 20


def read_spot(frame: Frame, spot: Spot) -> Code | None:
    """The code at *spot*, or None. Takes about 4 ms on a PC for a version 4."""
    if spot.version > MAX_VERSION or cv2.contourArea(np.array(spot.points, np.float32)) < 1:
        return None
    modules = 17 + 4 * spot.version
    flat = _flattened(frame, spot, modules)
    for reach in _REACHES:
        flat = _straightened(flat, *_bends(flat, reach))
        if (content := _decoded(_middles(flat))) is not None:
            return Code(content, spot.points, "zxing-cpp")
    return None


def _flattened(frame: Frame, spot: Spot, modules: int) -> Frame:
    first, last = _RIM * _SIDE - 0.5, (_RIM + modules) * _SIDE - 0.5
    square = np.array([[first, first], [last, first], [last, last], [first, last]], np.float32)
    how = cv2.getPerspectiveTransform(np.array(spot.points, np.float32), square)
    side = (modules + 2 * _RIM) * _SIDE
    flat = cv2.warpPerspective(frame, how, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(flat, np.uint8)


def _bends(flat: Frame, reach: float) -> tuple[Floats, Floats]:
    """How many pixels right and down of its place each module is, from the edges around it."""
    soft = cv2.GaussianBlur(flat, (0, 0), _SIDE * 0.18)
    right = _shift(np.abs(cv2.Sobel(soft, cv2.CV_32F, 1, 0)), reach)
    down = _shift(np.abs(cv2.Sobel(soft, cv2.CV_32F, 0, 1)).T, reach).T
    return right, np.ascontiguousarray(down)


def _shift(edges: Any, reach: float) -> Floats:
    """How many pixels to the right of the grid's lines the *edges* around each module are."""
    side = edges.shape[0]
    turn = 2 * np.pi * (np.arange(side, dtype=np.float32) + 0.5) / _SIDE
    parts = []
    for wave in (np.cos(turn), np.sin(turn)):
        part = cv2.resize(edges * wave, (side // _SIDE,) * 2, interpolation=cv2.INTER_AREA)
        parts.append(cv2.GaussianBlur(part, (0, 0), reach))
    phase = np.arctan2(parts[1], parts[0])
    # A phase starts anew after each module. Counted on from where the finder patterns hold it.
    start = _RIM + 3
    phase[:, start] = np.unwrap(phase[:, start])
    phase[:, start:] = np.unwrap(phase[:, start:], axis=1)
    phase[:, start::-1] = np.unwrap(phase[:, start::-1], axis=1)
    finder = phase[_RIM : _RIM + 7, _RIM : _RIM + 7]
    phase -= 2 * np.pi * np.round(np.median(finder) / (2 * np.pi))
    return np.asarray(phase * (_SIDE / (2 * np.pi)), np.float32)


def _straightened(flat: Frame, right: Floats, down: Floats) -> Frame:
    size = flat.shape[1], flat.shape[0]
    pixels = np.arange(size[0], dtype=np.float32)
    columns = cv2.resize(right, size) + pixels
    rows = cv2.resize(down, size) + pixels[:, None]
    moved = cv2.remap(flat, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _middles(flat: Frame) -> Frame:
    """The grey of each module, from its middle four pixels."""
    count, inner = flat.shape[0] // _SIDE, slice(_SIDE // 2 - 1, _SIDE // 2 + 1)
    middles = flat.reshape(count, _SIDE, count, _SIDE)[:, inner, :, inner]
    means = middles.mean(axis=(1, 3))[_RIM:-_RIM, _RIM:-_RIM]
    return np.ascontiguousarray(means.astype(np.uint8))


def _decoded(grey: Frame) -> bytes | None:
    """What the modules in *grey* hold, or None if that is no code."""
    common = _common(grey.shape[0])
    known = common >= 0
    if grey[common == 1].mean() > grey[common == 0].mean():
        grey = 255 - grey
    window = np.ones((7, 7), np.uint8)
    darkest = cv2.blur(cv2.erode(grey, window), (7, 7)).astype(int)
    lightest = cv2.blur(cv2.dilate(grey, window), (7, 7)).astype(int)
    # Between the darkest and the lightest around, which suits stains; then the mean, for glare.
    for limit in ((darkest + lightest) // 2, cv2.blur(grey, (9, 9))):
        dark = grey < limit
        if (dark[known] == common[known]).mean() < _ALIKE:
            continue
        drawn = np.where(known, common, dark)
        if codes := read_zxing(_drawn(drawn), Binarizer.FixedThreshold).codes:
            return codes[0].content
    return None


def _drawn(dark: Any) -> Frame:
    """A picture of modules, three pixels each, in their quiet zone."""
    light = np.pad(255 * (1 - dark.astype(np.uint8)), 4, constant_values=255)
    return np.asarray(np.kron(light, np.ones((3, 3), np.uint8)), np.uint8)


@lru_cache(maxsize=MAX_VERSION)
def _common(modules: int) -> npt.NDArray[np.int8]:
    """What all codes of that size share: 1 is dark, 0 light, -1 differs from code to code."""
    common = np.full((modules, modules), -1, np.int8)
    common[6, 8:-8] = common[8:-8, 6] = 1 - np.arange(8, modules - 8) % 2
    for y, x in _alignments(modules):
        common[y - 2 : y + 3, x - 2 : x + 3] = _rings(5)
    for y, x in ((0, 0), (0, modules - 7), (modules - 7, 0)):
        common[max(0, y - 1) : y + 8, max(0, x - 1) : x + 8] = 0
        common[y : y + 7, x : x + 7] = _rings(7)
    common[modules - 8, 8] = 1
    return common


def _rings(side: int) -> npt.NDArray[np.int8]:
    """A dark square in a light ring in a dark ring."""
    rings = np.ones((side, side), np.int8)
    rings[1:-1, 1:-1] = 0
    rings[2:-2, 2:-2] = 1
    return rings


def _alignments(modules: int) -> list[tuple[int, int]]:
    """Middles of the alignment patterns, by the rule behind the table of ISO/IEC 18004."""
    version = (modules - 17) // 4
    if version == 1:
        return []
    count = version // 7 + 2
    step = (version * 4 + count * 2 + 1) // (count * 2 - 2) * 2
    places = [6, *(modules - 7 - step * each for each in range(count - 1))]
    far = modules - 7
    return [(y, x) for y in places for x in places if (y, x) not in ((6, 6), (6, far), (far, 6))]
