"""Finds codes by the outlines of their three finder patterns, where readers find none.

Outlines survive a lean and a bend that runs of 1:1:3:1:1 pixels along a line do not, and their
corners say where the code's own fourth corner is: where the outer edges of two of them would meet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.scanner.readers import Corners, Frame, Spot

#: The largest outlines that are looked at: with n of them, n³ triples.
_MAX_FINDERS = 10
#: Smallest outer side of a finder pattern, in pixels: below it has no corners.
_MIN_SIDE = 5
#: How unlike each other the seven widths of finder patterns may be, as standard deviation in means.
_MAX_SPREAD = 0.3


@dataclass(frozen=True)
class _Finder:
    middle: Any
    corners: Any
    area: float


def find_spots(frame: Frame, most: int) -> list[Spot]:
    """At most *most* places in *frame* that look like codes, the likeliest first."""
    finders = sorted(_finders(frame), key=lambda finder: -finder.area)[:_MAX_FINDERS]
    likely = sorted(_candidates(finders), key=lambda candidate: candidate[0])
    return [spot for _, spots in likely[:most] for spot in spots]


def _finders(frame: Frame) -> Iterator[_Finder]:
    dark = cv2.adaptiveThreshold(
        frame, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 31, 5
    )
    outlines, nested = cv2.findContours(dark, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if nested is None:
        return
    parents = nested[0][:, 3]
    for core in map(int, np.flatnonzero(parents >= 0)):
        ring = parents[parents[core]]
        if ring >= 0 and (finder := _finder(outlines[core], outlines[ring])):
            yield finder


def _finder(core: Any, ring: Any) -> _Finder | None:
    """The finder pattern with these outlines of its inner square and its ring, if it is one."""
    area, inner = cv2.contourArea(ring), cv2.contourArea(core)
    # 9 of 49 modules, if all were measured well.
    if area < _MIN_SIDE**2 or not 0.03 * area < inner < 0.45 * area:
        return None
    middle = _middle(core)
    if np.hypot(*(middle - _middle(ring))) > 0.12 * np.sqrt(area):
        return None
    hull = cv2.convexHull(ring)
    if len(hull) < 4 or cv2.contourArea(hull) > 1.35 * area:
        return None
    corners = np.asarray(cv2.approxPolyN(hull, 4), np.float32).reshape(-1, 2)
    if len(corners) != 4 or cv2.contourArea(corners) > 1.4 * cv2.contourArea(hull):
        return None
    return _Finder(middle, corners, area)


def _middle(outline: Any) -> Any:
    moments = cv2.moments(outline)
    return np.array([moments["m10"], moments["m01"]]) / max(moments["m00"], 1e-6)


def _candidates(finders: Sequence[_Finder]) -> Iterator[tuple[float, list[Spot]]]:
    """How unlike a code each triple is, with the spots of the one or two sizes it may have."""
    for top_left, top_right, bottom_left in permutations(finders, 3):
        three = (top_left, top_right, bottom_left)
        right, down = top_right.middle - top_left.middle, bottom_left.middle - top_left.middle
        if not _could_be_one(right, down, [finder.area for finder in three]):
            continue
        outer = [_in_order(finder, right, down) for finder in three]
        fourth = _crossing(outer[1][1], outer[1][2], outer[2][3], outer[2][2])
        if fourth is None:
            continue
        corners = np.array([outer[0][0], outer[1][1], fourth, outer[2][3]], np.float32)
        if not cv2.isContourConvex(corners):
            continue
        spread, version = _measured(corners, outer)
        if spread < _MAX_SPREAD and 0.5 < version < 40:
            yield spread, [Spot(_whole(corners), each) for each in _nearest(version)]


def _could_be_one(right: Any, down: Any, areas: Sequence[float]) -> bool:
    """Whether three finder patterns lie as those of a code, not mirrored, can."""
    across, along = np.hypot(*right), np.hypot(*down)
    turn = right[0] * down[1] - right[1] * down[0]
    side = np.sqrt(np.mean(areas))
    return bool(
        max(areas) < 6 * min(areas)
        and turn > 0.5 * across * along
        and 0.25 < across / along < 4
        # Of 14 modules in the smallest code, and 170 in the largest, against 7.
        and 1.2 * side < max(across, along) < 25 * side
    )


def _in_order(finder: _Finder, right: Any, down: Any) -> list[Any]:
    """Its corners: top-left, top-right, bottom-right, bottom-left, as the code is turned."""
    away = (finder.corners - finder.middle) @ np.linalg.inv(np.stack([right, down], axis=1)).T
    away /= np.abs(away).max(axis=0) + 1e-9
    ways = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [finder.corners[np.argmax(away @ np.array(way))] for way in ways]


def _crossing(a: Any, b: Any, c: Any, d: Any) -> Any | None:
    """Where the line through *a* and *b* meets that through *c* and *d*."""
    x, y, w = np.cross(np.cross([*a, 1.0], [*b, 1.0]), np.cross([*c, 1.0], [*d, 1.0]))
    return np.array([x, y]) / w if abs(w) > 1e-6 else None


def _measured(corners: npt.NDArray[np.float32], outer: Sequence[Any]) -> tuple[float, float]:
    """How much the widths of the finder patterns differ, and the version that they tell."""
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    flat = cv2.perspectiveTransform(
        np.array(outer, np.float32).reshape(-1, 1, 2), cv2.getPerspectiveTransform(corners, unit)
    ).reshape(3, 4, 2)
    (_, b, c, d), (e, _, f, g), (h, i, j, _) = flat
    widths = np.array([b[0], c[0], c[1], d[1], 1 - e[0], 1 - g[0], f[1], g[1], i[0], j[0],
                       1 - h[1], 1 - i[1]])  # fmt: skip
    width = float(np.median(widths))
    if widths.min() <= 0:
        return np.inf, 0.0
    return float(widths.std()) / width, (7 / width - 17) / 4


def _nearest(version: float) -> list[int]:
    near = sorted({int(np.floor(version)), int(np.ceil(version))}, key=lambda v: abs(v - version))
    return [each for each in near if each >= 1]


def _whole(corners: npt.NDArray[np.float32]) -> Corners:
    a, b, c, d = ((round(float(x)), round(float(y))) for x, y in corners)
    return a, b, c, d
