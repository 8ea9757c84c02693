"""The looks that are taken at a frame, in their order, with what each costs and adds."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from zxingcpp import Binarizer

from edge.scanner.finders import find_spots
from edge.scanner.grid import read_spot
from edge.scanner.readers import (
    MIN_SIDE,
    Frame,
    Look,
    Point,
    Spot,
    Zbar,
    enlarged,
    moved,
    read_zxing,
    resized,
)
from edge.scanner.smear import smear_of, without_smear

#: So many spots of a frame are looked at, each for 2 to 10 ms.
MAX_SPOTS = 3
#: Side of the part of a frame that is looked at through a magnifying glass, in pixels.
_CLOSE_SIDE = 500
#: Side of the part of which a smear is taken out, in pixels.
_SMEARED_SIDE = 400
#: The grey that `darkened` makes of each.
_DARKER = (255 * (np.arange(256) / 255) ** 2.5).round().astype(np.uint8)


@dataclass
class View:
    """A frame, and where a code was seen in it but not read, by the stages so far."""

    frame: Frame
    #: None where zbar is missing or switched off.
    zbar: Zbar | None = None
    spots: list[Spot] = field(default_factory=list)

    def note(self, spots: tuple[Spot, ...]) -> None:
        """Remember *spots*, each once."""
        for spot in spots:
            if not any(spot.version == it.version and _alike(spot, it) for it in self.spots):
                self.spots.append(spot)

    @cached_property
    def half(self) -> Frame:
        """The frame at half the size."""
        height, width = self.frame.shape[0] // 2, self.frame.shape[1] // 2
        # Without an odd last row or column this takes 0.1 ms; with it, 2.5.
        return resized(self.frame[: 2 * height, : 2 * width], width, height)


class Stage(NamedTuple):
    """One look."""

    name: str
    look: Callable[[View], Look]


def plain(view: View) -> Look:
    """As zxing-cpp does it by itself, turned, smaller and light on dark as well."""
    return read_zxing(view.frame, thorough=True)


def histogram(view: View) -> Look:
    """One limit between dark and light for each row: against motion blur."""
    return read_zxing(view.frame, Binarizer.GlobalHistogram)


def sharpened(view: View) -> Look:
    """Half the size with sharper edges: against defocus and motion blur, and noise."""
    return enlarged(read_zxing(_sharpened(view.half, 2.5, 3)), 2.0)


def unsmeared(view: View) -> Look:
    """Where there is most texture, without the smear of a hand that moves; then the grid."""
    left, top = _busiest(view, _SMEARED_SIDE)
    part = view.frame[top : top + _SMEARED_SIDE, left : left + _SMEARED_SIDE]
    smear = smear_of(part)
    if smear is None:
        return Look()
    spots: tuple[Spot, ...] = ()
    for still in without_smear(part, smear):
        look = _closely(still, thorough=False, most=1)
        if look.codes:
            return moved(look, left, top)
        spots += look.spots
    return moved(Look((), spots), left, top)


def thresholded(view: View) -> Look:
    """Dark or light by the mean of 15 x 15 pixels: against shadows and weak light."""
    return read_zxing(_thresholded(view.frame, 15), Binarizer.FixedThreshold)


def darkened(view: View) -> Look:
    """What is nearly white spread out: against glare, bright spots and too much light."""
    return _closely(np.asarray(cv2.LUT(view.frame, _DARKER), np.uint8))


def softened(view: View) -> Look:
    """Half the size, dark or light by the soft mean around: against blur and weak light at once."""
    if min(view.half.shape) < MIN_SIDE:
        return Look()
    how = cv2.ADAPTIVE_THRESH_GAUSSIAN_C
    dark = cv2.adaptiveThreshold(view.half, 255, how, cv2.THRESH_BINARY, 21, 0)
    look = _closely(np.asarray(dark, np.uint8), Binarizer.FixedThreshold, thorough=False)
    return enlarged(look, 2.0)


def crisp(view: View) -> Look:
    """At full size with sharper edges: for small codes that are bent or out of focus."""
    return _closely(_sharpened(view.frame, 3, 2))


def magnified(view: View) -> Look:
    """Where there is most texture, at twice the size, with sharper edges: for small codes."""
    left, top = _busiest(view, _CLOSE_SIDE)
    part = view.frame[top : top + _CLOSE_SIDE, left : left + _CLOSE_SIDE]
    large = resized(part, 2 * part.shape[1], 2 * part.shape[0])
    return moved(enlarged(read_zxing(_sharpened(large, 3, 2)), 0.5), left, top)


def regridded(view: View) -> Look:
    """A grid that follows the code, where it was seen but not read: against bends and damage."""
    found = (read_spot(view.frame, spot) for spot in view.spots[:MAX_SPOTS])
    return Look(tuple(code for code in found if code is not None))


def second_reader(view: View) -> Look:
    """zbar at half the size, which sees other codes than zxing-cpp: damaged, without a rim."""
    return enlarged(view.zbar.read(view.half), 2.0) if view.zbar else Look()


def outlined(view: View) -> Look:
    """The grid where outlines look like finder patterns: for codes that lean far."""
    if min(view.half.shape) < MIN_SIDE:
        return Look()
    spots = enlarged(Look((), tuple(find_spots(view.half, 2))), 2.0).spots
    found = (read_spot(view.frame, spot) for spot in spots)
    return Look(tuple(code for code in found if code is not None), spots)


#: In this order, each where those before read nothing. Measured on two sets of pictures fitted to
#: 1280 x 720: 439 photographs with codes, and 180 scenes of tests/scenes.py (all axes and mixes, at
#: levels 3 to 5), on one x86 core on which zxing-cpp's own default takes 1.1 ms a photograph. `ms`
#: is the processor time on a photograph to which it comes. `adds`: how many more it reads than
#: those before. `without`: how many points are lost when it alone is left out. All together: 91.8 %
#: of the photographs, 90.6 % of these scenes, and nothing read in 345 pictures without a code.
#: What loses nothing on the whole reads other codes than its neighbours: of the photographs made
#: smaller, noisier and of another gamma, the three from darkened to crisp read 0.9 points more.
#:
#:                    ms   adds: photographs, scenes   without
#:  plain            1.2           351    150
#:  histogram        0.3             6      4         0.0 / 0.0, and video
#:  sharpened        1.0             1      5         0.0 / 0.6
#:  unsmeared        2.2             2      0         0.0 / 0.0, and video
#:  darkened         2.1            18      3         0.2 / 0.0
#:  thresholded      1.4             6      1         0.0 / 0.6
#:  softened         1.1             2      0         0.0 / 0.0
#:  crisp            4.4             4      0         0.5 / 0.0
#:  magnified        4.9             3      0         0.7 / 0.0
#:  regridded        1.7             2      0         0.5 / 0.0
#:  second reader    3.1             7      0         1.4 / 0.0
#:  outlined         2.8             1      0         0.2 / 0.0
STAGES = (
    Stage("plain", plain),
    Stage("histogram", histogram),
    Stage("sharpened", sharpened),
    Stage("unsmeared", unsmeared),
    Stage("darkened", darkened),
    Stage("thresholded", thresholded),
    Stage("softened", softened),
    Stage("crisp", crisp),
    Stage("magnified", magnified),
    Stage("regridded", regridded),
    Stage("second reader", second_reader),
    Stage("outlined", outlined),
)


def _closely(
    picture: Frame,
    binarizer: Binarizer = Binarizer.LocalAverage,
    *,
    thorough: bool = True,
    most: int = 2,
) -> Look:
    """What zxing-cpp reads in *picture*, or else the grid at *most* of the spots that it saw."""
    look = read_zxing(picture, binarizer, thorough=thorough)
    if look.codes:
        return look
    found = (read_spot(picture, spot) for spot in look.spots[:most])
    return Look(tuple(code for code in found if code is not None), look.spots)


def _alike(spot: Spot, other: Spot) -> bool:
    pairs = zip(spot.points, other.points, strict=True)
    return all(math.dist(one, two) < 5 for one, two in pairs)


def _thresholded(frame: Frame, window: int) -> Frame:
    how = cv2.ADAPTIVE_THRESH_MEAN_C
    return np.asarray(cv2.adaptiveThreshold(frame, 255, how, cv2.THRESH_BINARY, window, 0))


def _sharpened(frame: Frame, reach: float, much: float) -> Frame:
    soft = cv2.GaussianBlur(frame, (0, 0), reach)
    return np.asarray(cv2.addWeighted(frame, 1 + much, soft, -much, 0), np.uint8)


def _busiest(view: View, side: int) -> Point:
    """Left and top of the square where edges of both directions are densest."""
    height, width = view.frame.shape
    small = resized(view.half, max(1, width // 4), max(1, height // 4))
    reach = (side // 8, side // 8)
    edges = (cv2.convertScaleAbs(cv2.Sobel(small, cv2.CV_16S, x, 1 - x)) for x in (1, 0))
    across, down = (cv2.boxFilter(each, cv2.CV_32F, reach) for each in edges)
    _, _, _, (x, y) = cv2.minMaxLoc(np.minimum(across, down))
    left = min(max(0, 4 * x - side // 2), max(0, width - side))
    return left, min(max(0, 4 * y - side // 2), max(0, height - side))
