"""From things before a camera to the frame that it gives: lens, shutter, light, sensor.

Everything is in linear light, where 1 is white paper in good exposure, until the sensor counts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge.scanner.decoder import Frame
from edge.scanner.sample.drawing import HEIGHT, WIDTH, Numbers, Sprite, shifted

#: How many times finer than the frame things are drawn before the lens gathers them into pixels.
FINER = 2

#: What a good lens makes of a point, in pixels of the frame.
SHARPEST_PX = 0.45

_GAMMA = 2.2
#: White, where light is of 16 bits.
FULL = 65535.0
_LIGHT_OF_GREY = (np.linspace(0, 1, 256) ** _GAMMA * FULL).round().astype(np.uint16)

# A sensor of ten bits, whose black is a little above 0.
_BLACK, _WHITE = 64, 1023
_GREY_OF_COUNT = np.clip(
    ((np.arange(_WHITE + 1) - _BLACK) / (_WHITE - _BLACK)).clip(0) ** (1 / _GAMMA) * 255, 0, 255
).round().astype(np.uint8)  # fmt: skip

#: Electrons that reading a pixel adds or takes.
_READ_NOISE = 2.5


@dataclass(frozen=True)
class Layer:
    """Something before the background: its light times its cover, its cover, and where it is."""

    light: Numbers
    cover: Numbers
    left: int
    top: int


def light_of(grey: Numbers) -> Numbers:
    """The light of 8-bit *grey*, as 16 bits."""
    return np.asarray(cv2.LUT(grey, _LIGHT_OF_GREY))


def scene_of(grey: Numbers) -> Numbers:
    """The light of 8-bit *grey*, where 1 is white."""
    return light_of(grey).astype(np.float32) / FULL


def smear(defocus_px: float, path: Sequence[tuple[float, float]] | Numbers) -> Numbers:
    """What lens and hand make of a point: a disc of *defocus_px* radius drawn along *path*.

    *path* is where the point goes, in pixels around 0, while the shutter is open, in even steps.
    """
    finer = 4
    points = np.asarray(path, float)
    reach = int(np.ceil(defocus_px + np.abs(points).max() + 2 * SHARPEST_PX + 0.5))
    axis = (np.arange((2 * reach + 1) * finer) + 0.5) / finer - reach - 0.5
    kernel = np.zeros((axis.size, axis.size), np.float32)
    for x, y in points:
        far = np.hypot(axis[None, :] - x, axis[:, None] - y)
        kernel += ((defocus_px - far) * finer + 1).clip(0, 1)
    soft = cv2.GaussianBlur(kernel, (0, 0), SHARPEST_PX * finer)
    small = cv2.resize(soft, None, fx=1 / finer, fy=1 / finer, interpolation=cv2.INTER_AREA)
    return np.asarray(small / small.sum(), np.float32)


def seen(sprite: Sprite, place: Numbers, kernel: Numbers, wobble_px: float = 0.0) -> Layer | None:
    """*sprite*, in linear light, as the lens throws it on the frame; None if it is outside.

    *place* leads from its pixels to those of the frame. *wobble_px* is how far a shaking shutter
    moves the rows to and fro.
    """
    margin = kernel.shape[0] // 2 + round(wobble_px) + 1
    left, top, right, bottom = _bounds(sprite, place, margin)
    if right - left <= 2 * margin or bottom - top <= 2 * margin:
        return None
    zoom = np.array([[FINER, 0, (FINER - 1) / 2], [0, FINER, (FINER - 1) / 2], [0, 0, 1]])
    fine = cv2.warpPerspective(
        sprite.pixels,
        zoom @ shifted(-left, -top) @ place,
        ((right - left) * FINER, (bottom - top) * FINER),
    )
    size = (right - left, bottom - top)
    sharp = cv2.resize(fine, size, interpolation=cv2.INTER_AREA).astype(np.float32) / FULL
    drawn: Numbers = cv2.filter2D(sharp, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    if wobble_px:
        drawn = _wobbled(drawn, top, wobble_px)
    inside = drawn[max(0, -top) : HEIGHT - top, max(0, -left) : WIDTH - left]
    return Layer(inside[:, :, 0], inside[:, :, 1], max(0, left), max(0, top))


def lay(scene: Numbers, layer: Layer) -> None:
    """Put *layer* before what is in *scene*."""
    height, width = layer.cover.shape
    part = scene[layer.top : layer.top + height, layer.left : layer.left + width]
    part *= 1 - layer.cover
    part += layer.light


def wobble(rows: Any, wobble_px: float) -> Any:
    """How far to the right a shaking shutter shows what is in *rows*."""
    return wobble_px * np.sin(np.asarray(rows, float) / 55)


def lit(scene: Numbers, vignette: float, slope: tuple[float, float]) -> None:
    """Darken the corners of *scene* by *vignette*, and let light fall in from one side."""
    across, down = np.linspace(-1, 1, WIDTH, dtype=np.float32), np.linspace(-1, 1, HEIGHT)
    rows = (1 - vignette * down**2 / 2 + slope[1] * down).astype(np.float32)
    scene *= rows[:, None] * (1 - vignette * across**2 / 2 + slope[0] * across)


def glare(scene: Numbers, at: tuple[float, float], radii: tuple[float, float], turn: float,
          strength: float) -> None:  # fmt: skip
    """A lamp mirrored in something glossy: a core of *strength*, and a veil around it."""
    across = np.arange(WIDTH, dtype=np.float32) - at[0]
    down = np.arange(HEIGHT, dtype=np.float32)[:, None] - at[1]
    u = (across * np.cos(turn) + down * np.sin(turn)) / radii[0]
    v = (down * np.cos(turn) - across * np.sin(turn)) / radii[1]
    far = u * u + v * v
    scene += strength * np.exp(-(far**1.5)) + 0.06 * strength * np.exp(-far / 6)


def flicker(scene: Numbers, depth: float, phase: float, periods: float = 3.0) -> None:
    """Lamps on the mains, which a rolling shutter shows as bands."""
    turns = np.linspace(0, 2 * np.pi * periods, HEIGHT, dtype=np.float32)
    scene *= 1 - depth * (0.5 + 0.5 * np.sin(turns + phase))[:, None]


def sensed(
    rng: np.random.Generator, scene: Numbers, exposure: float, electrons: float, sharpen: float
) -> Frame:
    """*scene* as a sensor gives it whose pixels hold *electrons* at white.

    It has the noise of light and of reading. What follows the sensor sharpens it by *sharpen*, or,
    where that is negative, smoothes it by so many pixels.
    """
    counted = np.clip(scene * exposure, 0, 1) * electrons
    noise = rng.standard_normal(counted.shape, np.float32)
    counted += noise * np.sqrt(counted + _READ_NOISE**2)
    counted *= (_WHITE - _BLACK) / electrons
    counted += _BLACK
    grey = _GREY_OF_COUNT[counted.clip(0, _WHITE).astype(np.uint16)]
    if sharpen < 0:
        return np.asarray(cv2.GaussianBlur(grey, (0, 0), -sharpen), np.uint8)
    soft = cv2.GaussianBlur(grey, (0, 0), 1.0)
    return np.asarray(cv2.addWeighted(grey, 1 + sharpen, soft, -sharpen, 0), np.uint8)


def _bounds(sprite: Sprite, place: Numbers, margin: int) -> tuple[int, int, int, int]:
    height, width = sprite.pixels.shape[:2]
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float32)
    x, y, w, h = cv2.boundingRect(cv2.perspectiveTransform(corners, place))
    return (
        max(x, 0) - margin,
        max(y, 0) - margin,
        min(x + w, WIDTH) + margin,
        min(y + h, HEIGHT) + margin,
    )


def _wobbled(drawn: Numbers, top: int, wobble_px: float) -> Numbers:
    height, width = drawn.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    columns -= wobble(rows + top, wobble_px).astype(np.float32)
    return np.asarray(cv2.remap(drawn, columns, rows, cv2.INTER_LINEAR))
