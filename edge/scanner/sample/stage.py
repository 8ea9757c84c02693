"""Puts people and their codes before the gate that we draw.

Positions are in pixels of a frame of WIDTH x HEIGHT.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import zxingcpp

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
    shifted,
)
from edge.scanner.sample.people import COMING, GOING, Arrival

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame


class Stage:
    """A gate of one size, and those who are before it."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._scale = min(width / WIDTH, height / HEIGHT)
        self._view = np.array(
            [
                [self._scale, 0, (width - WIDTH * self._scale) / 2],
                [0, self._scale, (height - HEIGHT * self._scale) / 2],
                [0, 0, 1],
            ]
        )
        self._background = gate(width, height)
        self._people = [person(kind, self._scale) for kind in range(5)]
        self._noise = _noise(width, height, 3.0)
        self._strong_noise = _noise(width, height, 9.0)
        self._sprites: dict[int, Sprite] = {}
        self._glare = _glare(self._scale)

    def draw(self, number: int, seen: list[tuple[int, Arrival]]) -> Frame:
        """Frame *number*, with those who are *seen* in it."""
        for gone in self._sprites.keys() - {index for index, _ in seen}:
            del self._sprites[gone]
        frame = self._background.copy()
        for index, arrival in seen:
            self._put_person(frame, index, arrival, number)
        for index, arrival in seen:
            self._put_sprite(frame, index, arrival, number)
        dark = max((_darkness(arrival, number) for _, arrival in seen), default=0.0)
        return self._expose(frame, number, dark)

    def _put_person(self, frame: Frame, index: int, arrival: Arrival, number: int) -> None:
        person = self._people[index % len(self._people)]
        dx, _ = _way(arrival, index, number - arrival.first_frame)
        x = (WIDTH / 2 + arrival.look.at[0] * 0.7 + dx * 1.2) * self._scale
        x += self._view[0, 2]
        height, width = person.shape[:2]
        _lay(frame, person, round(x - width / 2), self._size[1] - height)

    def _put_sprite(self, frame: Frame, index: int, arrival: Arrival, number: int) -> None:
        t = number - arrival.first_frame
        if index not in self._sprites:
            self._sprites[index] = _sprite(arrival, self._scale)
        sprite = self._sprites[index]
        matrix = self._view @ _projection(arrival, index, t, sprite, self._scale)
        smear = self._smear(arrival, index, t)
        x, y, width, height = self._seen_part(sprite, matrix, smear)
        if width <= 0 or height <= 0:
            return
        moved = shifted(-x, -y) @ matrix
        layer: Numbers = cv2.warpPerspective(sprite.pixels, moved, (width, height))
        if smear != (1, 1):
            layer = cv2.blur(layer, smear)
        _lay(frame, layer, x, y)
        if arrival.look.glare:
            self._put_glare(frame, arrival, t)

    def _smear(self, arrival: Arrival, index: int, t: float) -> tuple[int, int]:
        """How far it moves while the shutter is open, half a frame, in pixels; 1 is standing."""
        before, after = _way(arrival, index, t - 0.25), _way(arrival, index, t + 0.25)
        moves = (abs(b - a) * self._scale for a, b in zip(before, after, strict=True))
        x, y = (1 + min(60, round(move)) for move in moves)
        return x, y

    def _seen_part(
        self, sprite: Sprite, matrix: Numbers, smear: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        height, width = sprite.pixels.shape[:2]
        corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float32)
        x, y, width, height = cv2.boundingRect(cv2.perspectiveTransform(corners, matrix))
        left, top = max(0, x - smear[0]), max(0, y - smear[1])
        right = min(self._size[0], x + width + smear[0])
        bottom = min(self._size[1], y + height + smear[1])
        return left, top, right - left, bottom - top

    def _put_glare(self, frame: Frame, arrival: Arrival, t: int) -> None:
        gone = t / (arrival.last_frame - arrival.first_frame)
        x = (WIDTH / 2 + arrival.look.at[0] - 20 + 330 * gone) * self._scale + self._view[0, 2]
        y = (HEIGHT / 2 + arrival.look.at[1] - 20) * self._scale + self._view[1, 2]
        side = self._glare.shape[0]
        part, rows, columns = _overlap(frame, self._glare, round(x - side / 2), round(y - side / 2))
        frame[rows, columns] = cv2.add(frame[rows, columns], part)

    def _expose(self, frame: Frame, number: int, dark: float) -> Frame:
        """*frame* as a sensor gives it: dimmer and noisier the less light there is."""
        width, height = self._size
        x, y = 37 * number % NOISE_PX, 53 * number % NOISE_PX
        more, less = self._strong_noise if dark > 0.5 else self._noise
        if dark:
            frame = np.asarray(cv2.convertScaleAbs(frame, alpha=1 - 0.72 * dark, beta=5), np.uint8)
        frame = np.asarray(cv2.add(frame, more[y : y + height, x : x + width]), np.uint8)
        return np.asarray(cv2.subtract(frame, less[y : y + height, x : x + width]), np.uint8)


def _way(arrival: Arrival, index: int, t: float) -> tuple[float, float]:
    """How far from its place the code is, *t* frames after it began to come."""
    side = 1 if arrival.look.at[0] > 0 else -1
    goes_on = 1 if abs(arrival.look.at[0]) > 200 else -1  # those at the edge leave as they came
    go = arrival.last_frame - arrival.first_frame + 1 - GOING
    x = 2.2 * math.sin(0.9 * t + index) + 1.2 * math.sin(0.31 * t + 2 * index)
    y = 1.8 * math.sin(0.63 * t + 3 * index)
    if t < COMING:
        away = (1 - (t + 1) / COMING) ** 3
        return x + side * 900 * away, y + 560 * away
    away = max(0.0, (t - go + 1) / GOING) ** 2
    return x + side * goes_on * 1000 * away, y + 480 * away


def _darkness(arrival: Arrival, number: int) -> float:
    """From 0 to 1; it comes and goes with the person, within a third of a second."""
    if not arrival.look.dim:
        return 0.0
    edge = min(number - arrival.first_frame, arrival.last_frame - number)
    return min(1.0, edge / 5)


def _projection(arrival: Arrival, index: int, t: int, sprite: Sprite, scale: float) -> Numbers:
    """From the pixels of *sprite* to those of a frame of WIDTH x HEIGHT."""
    dx, dy = _way(arrival, index, t)
    x, y = WIDTH / 2 + arrival.look.at[0] + dx, HEIGHT / 2 + arrival.look.at[1] + dy
    yaw, pitch, roll = (math.radians(angle) for angle in arrival.look.turned)
    turned = (yaw, pitch, roll + 0.01 * math.sin(0.5 * t + index))
    return projection(sprite, (x, y), turned, scale)


def _lay(frame: Frame, layer: Numbers, x: int, y: int) -> None:
    """Lay *layer*, its grey times its cover and its cover, over *frame*."""
    part, rows, columns = _overlap(frame, layer, x, y)
    if part.size:
        grey, cover = cv2.split(part)
        under = cv2.multiply(frame[rows, columns], cv2.bitwise_not(cover), scale=1 / 255)
        frame[rows, columns] = cv2.add(under, grey)


def _overlap(frame: Frame, layer: Numbers, x: int, y: int) -> tuple[Numbers, slice, slice]:
    """The part of *layer* that falls into *frame* when it lies at x, y, and where that is."""
    left, top = max(0, x), max(0, y)
    right = min(frame.shape[1], x + layer.shape[1])
    bottom = min(frame.shape[0], y + layer.shape[0])
    rows, columns = slice(top, max(top, bottom)), slice(left, max(left, right))
    return layer[top - y : rows.stop - y, left - x : columns.stop - x], rows, columns


NOISE_PX = 64


def _noise(width: int, height: int, strength: float) -> tuple[Numbers, Numbers]:
    """What a sensor adds and takes away, a little larger than a frame, to be moved about."""
    chance = np.random.default_rng(144)
    noise = chance.normal(0, strength, (height + NOISE_PX, width + NOISE_PX)).round()
    return noise.clip(0, 255).astype(np.uint8), (-noise).clip(0, 255).astype(np.uint8)


def _glare(scale: float) -> Numbers:
    reach = np.linspace(-2.4, 2.4, max(3, round(230 * scale)))
    spot = 420 * np.exp(-(reach[:, None] ** 2) - reach[None, :] ** 2)
    return spot.clip(0, 255).astype(np.uint8)


def _sprite(arrival: Arrival, scale: float) -> Sprite:
    look = arrival.look
    code = zxingcpp.create_barcode(
        arrival.payload, zxingcpp.BarcodeFormat.QRCode, ec_level="Q" if look.dark_mode else "M"
    )
    modules = np.array(code.to_image(scale=1, add_quiet_zones=False))
    code_px = modules.shape[0] * look.module_px * scale
    seed = sum(arrival.payload) % 97 + 3
    if look.carrier == "phone":
        return phone(modules, code_px, seed, look.dark_mode)
    if look.carrier == "paper":
        return paper(modules, code_px, seed)
    return card(modules, code_px, seed, insurance=arrival.kind == "bhyt")
