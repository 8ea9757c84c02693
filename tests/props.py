"""What is put before the camera of a scene: what carries a code, and what stands behind it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from edge.scanner.decoder import Frame
from edge.scanner.sample.drawing import (
    HEIGHT,
    WIDTH,
    Numbers,
    Sprite,
    card,
    gate,
    paper,
    person,
    phone,
    projection,
)
from tests import optics
from tests.drawing import document, draw, draw_plain

#: The largest side of a code in the frame, in pixels: a card nearer than that is out of it.
LARGEST_PX = {"card": 330, "phone": 430, "paper": 430}


class Carrier:
    """A card, a phone or paper with a code of somebody invented.

    *kinds* are those to choose from, *module_px* is the side of a module in the frame at most, and
    *covered* the share of the code that a finger or dirt is on.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        kinds: Sequence[str],
        module_px: float,
        dark_mode: bool = False,
        covered: float = 0.0,
    ) -> None:
        self.content = document(rng)
        kind = str(rng.choice(kinds))
        modules = _modules(rng, self.content)
        count = modules.shape[0]
        self.module_px = min(module_px, LARGEST_PX[kind] / count)
        #: The side of the code in the frame, if it is held straight.
        self.side_px = count * self.module_px
        # Finer than what the lens gathers would be work for nothing.
        self._scale = min(optics.FINER, 9 / self.module_px)
        self._side = self.side_px * self._scale
        seed = int(rng.integers(3, 100))
        if kind == "phone":
            drawn = phone(modules, self._side, seed, dark_mode)
        elif kind == "paper":
            drawn = paper(modules, self._side, seed)
        else:
            drawn = card(modules, self._side, seed, self.content.startswith(b"GD4"))
        if covered:
            _cover(rng, drawn, self._side, covered)
        bright = rng.uniform(0.7, 1.0) if kind == "phone" else 1.0
        light = (optics.light_of(drawn.pixels[:, :, 0]) * bright).astype(np.uint16)
        cover = drawn.pixels[:, :, 1].astype(np.uint16) * 257
        self.sprite = Sprite(np.asarray(cv2.merge([light, cover])), drawn.middle)

    def place(
        self, at: tuple[float, float], turned: tuple[float, float, float], nearer: float = 1.0
    ) -> Numbers:
        """What leads from its pixels to those of the frame, where the middle of its code is *at*.

        *turned* is in radians: about the upright, about the level, in the picture. *nearer* is how
        much larger it is seen.
        """
        return projection(self.sprite, at, turned, self._scale / nearer)

    def corners(self, place: Numbers) -> Numbers:
        """Those of its code in the frame."""
        half = self._side / 2
        square = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
        in_sprite = (square + np.array(self.sprite.middle))[None]
        return np.asarray(cv2.perspectiveTransform(in_sprite, place)[0])

    def with_dots(
        self, rng: np.random.Generator, layer: optics.Layer, place: Numbers, contrast: float
    ) -> optics.Layer:
        """*layer* of it with the dots of its screen, against which those of the sensor beat."""
        back = np.linalg.inv(place)
        columns = np.arange(layer.cover.shape[1]) + layer.left
        rows = (np.arange(layer.cover.shape[0]) + layer.top)[:, None]
        x, y, depth = (line[0] * columns + line[1] * rows + line[2] for line in back)
        per_dot = 2 * np.pi * rng.uniform(0.75, 1.6) / self._scale
        beat = (np.cos(x / depth * per_dot) + np.cos(y / depth * per_dot)) / 2
        return replace(layer, light=layer.light * (1 + contrast * beat).astype(np.float32))


def wall(rng: np.random.Generator) -> Frame:
    """What is behind, out of focus and in grey: the gate, signs, and sometimes a fence."""
    grey = gate(WIDTH, HEIGHT)
    if rng.random() < 0.5:
        grey = np.ascontiguousarray(grey[:, ::-1])
    for _ in range(rng.integers(4, 18)):
        _put_sign(rng, grey)
    if rng.random() < 0.4:
        left, step = int(rng.integers(WIDTH)), int(rng.integers(7, 24))
        grey[:, left : left + 200 : step] = grey[:, left + 1 : left + 201 : step] = 40
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.6, 3.0)), np.uint8)


def put_person(grey: Frame, who: int, x: float) -> None:
    """Somebody stands before what is in *grey*, *x* pixels from the left; *who* is 0 to 4."""
    body = person(who, 1.0)
    left, top = round(x - body.shape[1] / 2), HEIGHT - body.shape[0]
    first, last = max(0, -left), min(body.shape[1], WIDTH - left)
    if first >= last:
        return
    part = grey[top:, left + first : left + last]
    light, cover = body[:, first:last, 0], body[:, first:last, 1]
    part[:] = light + (part * (1 - cover / 255)).astype(np.uint8)


def _modules(rng: np.random.Generator, content: bytes) -> Numbers:
    level = "LMQ"[rng.choice(3, p=(0.3, 0.5, 0.2))]
    packed = rng.random() < 0.5
    drawn = draw(content, 1, level) if packed else draw_plain(content.decode(), 1, level)
    return drawn[4:-4, 4:-4]


def _cover(rng: np.random.Generator, drawn: Sprite, side: float, share: float) -> None:
    """Lay a finger over an edge of the code, or dirt on it, away from the three finders."""
    x, y = drawn.middle
    radius = side * math.sqrt(share / math.pi)
    along, edge = rng.uniform(-0.12, 0.12) * side, side / 2 - radius / 2
    spots = (
        (x + along, y + edge),
        (x + edge, y + along),
        (x + side * 0.4, y + side * 0.4),
        (x + along, y + along),
    )
    ellipse = (spots[rng.integers(4)], (2.5 * radius, 1.6 * radius), rng.uniform(0, 180))
    grey = np.ascontiguousarray(drawn.pixels[:, :, 0])
    cv2.ellipse(grey, ellipse, (rng.uniform(90, 170),), -1)
    drawn.pixels[:, :, 0] = grey


def _put_sign(rng: np.random.Generator, grey: Frame) -> None:
    x, y = int(rng.integers(-100, WIDTH)), int(rng.integers(HEIGHT))
    width, height = int(rng.integers(20, 260)), int(rng.integers(16, 160))
    back, ink = int(rng.integers(30, 240)), int(rng.integers(20, 230))
    cv2.rectangle(grey, (x, y), (x + width, y + height), (back,), -1)
    size = rng.uniform(0.4, 1.6)
    for line in range(int(height / (28 * size))):
        text = ("XE BUS 01 PLEIKU", "KHAI BAO Y TE", "CONG RA VAO", "5K 0900 000 001")[line % 4]
        letters = text[: max(1, int(width / (20 * size)))]
        cv2.putText(grey, letters, (x + 4, y + int(28 * size * (line + 1))), 0, size, (ink,), 2)
