"""What the sample shows, drawn: cards, phones and slips in a hand, people, and the gate itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

#: The frame that everything is measured in.
WIDTH, HEIGHT = 1280, 720

Numbers: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Sprite:
    """Something flat to be held before the camera."""

    #: Its grey times its cover, and its cover, of 0 to 255.
    pixels: Numbers
    #: Where the middle of its code is.
    middle: tuple[float, float]


def card(modules: Numbers, code_px: float, seed: int, insurance: bool = False) -> Sprite:
    """A plastic card of 85 x 54 mm, its code printed at 18 mm, held by its lower edge.

    That of the health insurance has it at 24 mm. In all of these *modules* are the bits of the
    code, *code_px* is its side, and *seed* draws other lines of print.
    """
    side = 24.0 if insurance else 18.0
    sheet = Sheet(110, 175, code_px / side)
    _arm(sheet, 46, 58)
    sheet.box(10, 6, 85.6, 54, 188, 3.2)
    sheet.box(10.4, 6.4, 84.8, 53.2, 204, 3)
    _engrave(sheet, 10.4, 6.4, 84.8, 53.2)
    x, y = (24.5, 40.0) if insurance else (81.0, 21.0)
    sheet.oval(17, 13, 4.2, 4.2, 150)
    sheet.oval(17, 13, 3.1, 3.1, 190)
    sheet.title(24, 13, 2.6, "THE BAO HIEM Y TE" if insurance else "CAN CUOC CONG DAN", 84)
    sheet.title(24, 18, 2.0, "MAU - SAMPLE", 120)
    if insurance:
        for line in range(6):
            sheet.words(42, 24 + 5 * line, 48 - line % 3 * 6, 1.7, 92, seed + line)
        sheet.words(13.5, 22, 20, 2.2, 80, seed + 7)
    else:
        _portrait(sheet, 14.5, 22, seed)
        for line in range(6):
            long = 26 if line < 3 else 44
            sheet.words(38, 25 + 5.4 * line, long - line % 2 * 4, 1.8, 88, seed + line)
        sheet.words(13.5, 55, 30, 1.5, 130, seed + 8)
    sheet.box(x - side * 0.58, y - side * 0.58, side * 1.16, side * 1.16, 222)
    sheet.code(x, y, side, np.where(modules > 0, 222, 44).astype(np.uint8))
    _thumb(sheet, 48, 59)
    return sheet.sprite(x, y)


def phone(modules: Numbers, code_px: float, seed: int, dark_mode: bool = False) -> Sprite:
    """A phone of 72 x 150 mm that shows a code, bright on dark in dark mode."""
    side = 50.0
    sheet = Sheet(116, 240, code_px / side)
    paper, ink, print_ = (26, 214, 170) if dark_mode else (234, 22, 70)
    _arm(sheet, 58, 130)
    for finger in range(4):
        sheet.oval(22, 66 + 17 * finger, 9, 6.4, 128 - 4 * finger, -8)
    sheet.box(22, 6, 72, 150, 34, 9)
    sheet.box(24.5, 9, 67, 144, paper, 7)
    sheet.box(24.5, 20, 67, 12, 96 if dark_mode else 88)
    sheet.words(30, 24.5, 34, 3.4, 224, seed)
    sheet.words(32, 11.5, 14, 2.4, print_, seed + 1)
    sheet.words(80, 11.5, 8, 2.4, print_, seed + 2)
    sheet.words(36, 39, 44, 3.2, print_, seed + 3)
    sheet.words(42, 46, 32, 2.4, (paper + print_) // 2, seed + 4)
    x, y = 58.0, 84.0
    sheet.code(x, y, side, np.where(modules > 0, paper, ink).astype(np.uint8))
    for line in range(3):
        sheet.words(34, 120 + 6 * line, 48 - 9 * line, 2.6, print_, seed + 5 + line)
    sheet.box(38, 139, 40, 8, 110, 4)
    sheet.box(48, 149.5, 20, 1.2, print_, 0.5)
    sheet.oval(95, 104, 12, 7.4, 146, 74)
    return sheet.sprite(x, y)


def paper(modules: Numbers, code_px: float, seed: int) -> Sprite:
    """A slip of 74 x 105 mm with a code of 50 mm."""
    side = 50.0
    sheet = Sheet(94, 215, code_px / side)
    _arm(sheet, 46, 108)
    sheet.box(10, 6, 74, 105, 216)
    _engrave(sheet, 10, 6, 74, 105)
    sheet.words(18, 14, 58, 4, 70, seed)
    sheet.words(24, 22, 46, 2.6, 110, seed + 1)
    x, y = 47.0, 58.0
    sheet.code(x, y, side, np.where(modules > 0, 222, 40).astype(np.uint8))
    for line in range(3):
        sheet.words(18, 90 + 5.5 * line, 56 - 8 * line, 2.4, 90, seed + 2 + line)
    _thumb(sheet, 46, 109)
    return sheet.sprite(x, y)


def person(kind: int, scale: float) -> Numbers:
    """Somebody behind the code, out of focus, with a mask and one of several hats or none."""
    sheet = Sheet(800, 640, 0.25)
    cloth, skin, hair = (70, 96, 128, 58, 110)[kind], 142, (34, 40, 30, 60, 36)[kind]
    sheet.area([(40, 640), (90, 470), (250, 400), (550, 400), (710, 470), (760, 640)], cloth)
    sheet.area([(330, 330), (470, 330), (500, 430), (300, 430)], skin - 22)
    sheet.oval(400, 230, 118, 146, hair)
    sheet.oval(400, 262, 104, 136, skin)
    sheet.area([(302, 268), (498, 268), (470, 372), (400, 398), (330, 372)], 196)
    for eye in (358, 442):
        sheet.oval(eye, 238, 16, 8, 60)
    if kind == 0:
        sheet.area([(400, 30), (170, 190), (400, 216), (630, 190)], 176)
    elif kind == 2:
        sheet.oval(400, 160, 126, 104, 88)
        sheet.box(270, 176, 260, 22, 60)
    elif kind == 3:
        sheet.area([(280, 170), (300, 100), (500, 100), (520, 170), (600, 190), (280, 190)], 120)
    soft = cv2.GaussianBlur(cv2.merge([sheet.grey, sheet.cover]), (0, 0), 3.2)
    return np.asarray(cv2.resize(soft, None, fx=4 * scale, fy=4 * scale))


def gate(width: int, height: int) -> Frame:
    """What a unit at a gate looks at all day: a road, stalls and a roof, out of focus."""
    sheet = Sheet(WIDTH, HEIGHT, 0.5)
    sheet.box(0, 0, WIDTH, HEIGHT, 186)
    sheet.area([(0, 430), (WIDTH, 430), (WIDTH, HEIGHT), (0, HEIGHT)], 138)
    sheet.area([(520, 430), (760, 430), (1180, HEIGHT), (140, HEIGHT)], 156)
    for x, w, top, grey in _STALLS:
        sheet.box(x, top, w, 460 - top + w // 5, grey)
        sheet.area(
            [(x - 20, top + 34), (x + 10, top), (x + w - 10, top), (x + w + 20, top + 34)], 70
        )
        for crate in range(3):
            sheet.oval(x + w * (crate + 0.7) / 3.4, 452 + w / 9, w / 8, w / 10, 150 + 25 * crate)
    sheet.area([(0, 0), (WIDTH, 0), (WIDTH, 96), (900, 128), (380, 128), (0, 96)], 66)
    sheet.box(468, 128, 344, 44, 206)
    for x in (60, 1164):
        sheet.box(x, 90, 56, 560, 84)
    soft = cv2.GaussianBlur(sheet.grey, (0, 0), 6)
    corner = np.hypot(*np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)))
    scene = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    return (scene * (1.04 - 0.16 * corner**2)).clip(0, 255).astype(np.uint8)


def projection(
    sprite: Sprite, at: tuple[float, float], turned: tuple[float, float, float], scale: float
) -> Numbers:
    """From the pixels of *sprite*, *scale* of them to one of a frame, to those of a frame.

    The middle of its code comes to *at*; *turned* is in radians: about the upright, about the
    level, in the picture.
    """
    yaw, pitch, roll = turned
    turn = _turn(yaw, 0, 2) @ _turn(pitch, 1, 2) @ _turn(roll, 0, 1)
    far = 1400.0  # how strongly what is turned away grows small
    see = np.array([[far, 0, at[0]], [0, far, at[1]], [0, 0, 1]])
    place = np.column_stack([turn[:, :2] / scale, [0, 0, far]])
    return np.asarray(see @ place @ shifted(-sprite.middle[0], -sprite.middle[1]))


def shifted(x: float, y: float) -> Numbers:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)


class Sheet:
    """Draws in millimetres on something transparent.

    Drawn on black with soft edges, grey is times its cover by itself.
    """

    def __init__(self, width: float, height: float, px_per_mm: float) -> None:
        self.px_per_mm = px_per_mm
        shape = (math.ceil(height * px_per_mm), math.ceil(width * px_per_mm))
        self.grey = np.zeros(shape, np.uint8)
        self.cover = np.zeros(shape, np.uint8)

    def area(self, points: npt.ArrayLike, grey: int) -> None:
        """Fill the area between *points*."""
        fixed = np.rint(np.asarray(points, float) * self.px_per_mm * 16).astype(np.int32)
        for plane, value in ((self.grey, grey), (self.cover, 255)):
            cv2.fillPoly(plane, [fixed], (value,), cv2.LINE_AA, 4)

    def box(self, x: float, y: float, w: float, h: float, grey: int, corner: float = 0.0) -> None:
        """Fill a rectangle with rounded corners."""
        if not corner:
            self.area([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], grey)
            return
        angles = np.radians(np.arange(0, 360, 6))
        to_x, to_y = np.cos(angles), np.sin(angles)
        points_x = x + w / 2 + np.sign(to_x.round(6)) * (w / 2 - corner) + corner * to_x
        points_y = y + h / 2 + np.sign(to_y.round(6)) * (h / 2 - corner) + corner * to_y
        self.area(np.column_stack([points_x, points_y]), grey)

    def oval(self, x: float, y: float, rx: float, ry: float, grey: int, turn: float = 0.0) -> None:
        """Fill an ellipse around x, y, turned by degrees."""
        angles, turn = np.radians(np.arange(0, 360, 6)), math.radians(turn)
        a, b = rx * np.cos(angles), ry * np.sin(angles)
        points_x = x + a * math.cos(turn) - b * math.sin(turn)
        points_y = y + a * math.sin(turn) + b * math.cos(turn)
        self.area(np.column_stack([points_x, points_y]), grey)

    def words(self, x: float, y: float, w: float, h: float, grey: int, seed: int) -> None:
        """A line of print, too small to be read: strokes of different height, in words."""
        end, step = x + w, seed
        while x < end - h:
            step = step * 37 % 101
            for letter in range(2 + step % 5):
                tall = (step + letter * letter) % 3 == 0
                self.box(x, y if tall else y + 0.3 * h, 0.42 * h, h if tall else 0.7 * h, grey)
                x += 0.66 * h
            x += 0.5 * h

    def title(self, x: float, y: float, h: float, text: str, grey: int) -> None:
        """Large print, *h* high, its foot at y."""
        at = (round(x * self.px_per_mm), round(y * self.px_per_mm))
        size = h * self.px_per_mm / 21
        thick = max(1, round(size * 1.6))
        cv2.putText(
            self.grey, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (grey,), thick, cv2.LINE_AA
        )

    def code(self, x: float, y: float, side: float, modules: Numbers) -> None:
        """A code of *side* millimetres around x, y; *modules* holds its greys."""
        px = round(side * self.px_per_mm)
        large = cv2.resize(modules, None, fx=12, fy=12, interpolation=cv2.INTER_NEAREST)
        drawn = cv2.resize(large, (px, px), interpolation=cv2.INTER_AREA)
        left, top = (round(value * self.px_per_mm - px / 2) for value in (x, y))
        self.grey[top : top + px, left : left + px] = drawn

    def sprite(self, x: float, y: float) -> Sprite:
        """What was drawn, with the softness of a lens; its code is around x, y."""
        pixels = cv2.GaussianBlur(cv2.merge([self.grey, self.cover]), (0, 0), 0.65)
        return Sprite(pixels, (x * self.px_per_mm, y * self.px_per_mm))


#: Left edge, width, roof and grey of each.
_STALLS = (
    (0, 210, 210, 96),
    (190, 170, 250, 120),
    (340, 130, 280, 104),
    (830, 140, 270, 112),
    (950, 170, 240, 90),
    (1090, 200, 200, 118),
)


def _engrave(sheet: Sheet, x: float, y: float, w: float, h: float) -> None:
    """Fine waves, as they are printed under the writing of a card."""
    left, top, right, bottom = (round(v * sheet.px_per_mm) for v in (x, y, x + w, y + h))
    across = np.arange(right - left)[None, :] / sheet.px_per_mm
    down = np.arange(bottom - top)[:, None] / sheet.px_per_mm
    waves = 4 * np.sin(2.1 * (down + 3 * np.sin(across / 9))) + 9 * (across / w - down / h)
    part = sheet.grey[top:bottom, left:right]
    inside = sheet.cover[top:bottom, left:right] == 255
    part[inside] = (part + waves).clip(0, 255).astype(np.uint8)[inside]


def _portrait(sheet: Sheet, x: float, y: float, seed: int) -> None:
    sheet.box(x, y, 20, 27, 176)
    sheet.oval(x + 10, y + 10, 5.4, 6.6, 60 + seed % 30)
    sheet.oval(x + 10, y + 11.2, 4.4, 5.6, 152)
    sheet.area([(x + 1, y + 27), (x + 4, y + 20.5), (x + 16, y + 20.5), (x + 19, y + 27)], 96)


def _arm(sheet: Sheet, x: float, y: float) -> None:
    """The hand and arm behind what is held at x, y."""
    bottom = sheet.grey.shape[0] / sheet.px_per_mm + 1
    sheet.area([(x - 17, y + 34), (x + 19, y + 34), (x + 30, bottom), (x - 22, bottom)], 126)
    sheet.area([(x - 23, y + 62), (x + 27, y + 58), (x + 40, bottom), (x - 30, bottom)], 74)
    sheet.oval(x, y + 22, 22, 26, 132)
    for finger in range(4):
        sheet.oval(x - 14 + 10 * finger, y + 2 + abs(finger - 1) * 2, 5.2, 13, 120 + 5 * finger)


def _thumb(sheet: Sheet, x: float, y: float) -> None:
    """The thumb before what is held, its tip a little above x, y."""
    for step, grey in enumerate((118, 126, 131, 135, 138)):
        shrink = 0.9 * step
        sheet.oval(x - 0.2 * step, y + 17.5, 8.6 - shrink, 25.5 - shrink, grey, -12)
    sheet.oval(x - 4.0, y - 1.6, 4.2, 4.9, 146, -12)
    sheet.oval(x - 3.9, y - 1.0, 3.4, 4.1, 160, -12)


def _turn(angle: float, first: int, second: int) -> Numbers:
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
    return matrix
