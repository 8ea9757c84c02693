"""Draws QR codes, and frames as a camera at a gate would see them. All people in them are invented.

Codes hold exactly the bytes they are given, without the mark (ECI) that would say they are UTF-8:
real documents have none, and it is then that readers guess.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import zxingcpp

from edge.scanner.decoder import Frame

WIDTH, HEIGHT = 1280, 720

#: Corners in the order of `Code.points`.
Corners = tuple[tuple[float, float], ...]

NAMES = (
    "Trần Thị Mẫu",
    "Nguyễn Hữu Thử Nghiệm",
    "Đỗ Thuỳ Hạnh Mẫu",
    "Lê Quýnh Ngoãn Mẫu",
    "Rơ Châm H’Mẫu",
    "Ksor H’Thử",
    "Siu Blơi Nghiệm",
    "Rmah Ƀrơ̆k Mẫu",
    "Kpă Y Thử Êban",
    "Đinh Văn Mẫu A Sâu",
)


def draw(content: bytes, scale: int = 6, level: str = "M", encoding: str = "Unknown") -> Frame:
    """A QR code of *content* in its quiet zone, *scale* pixels a module.

    *encoding* is the mark to put in front: "Unknown" is none, "UTF8" the one of UTF-8.
    """
    code = zxingcpp.create_barcode(
        content, zxingcpp.BarcodeFormat.QRCodeModel2, ec_level=level, eci=encoding
    )
    return _frame(code.to_image(scale=scale))


def draw_plain(text: str, scale: int = 6, level: str = "M") -> Frame:
    """A code as simple encoders make it: all bytes, where `draw` packs digits more tightly."""
    how = cv2.QRCodeEncoder.Params()
    how.mode = cv2.QRCodeEncoder_MODE_BYTE
    how.correction_level = "LMQH".index(level)
    return _modules(cv2.QRCodeEncoder.create(how).encode(text), scale)


def draw_parts(text: str, count: int, scale: int = 6) -> list[Frame]:
    """*text* split over *count* codes that belong together: structured append."""
    how = cv2.QRCodeEncoder.Params()
    how.mode = cv2.QRCodeEncoder_MODE_STRUCTURED_APPEND
    how.structure_number = count
    modules = cv2.QRCodeEncoder.create(how).encodeStructuredAppend(text)
    return [_modules(each, scale) for each in modules]


def on_wall(*placed: tuple[Frame, int, int], width: int = WIDTH, height: int = HEIGHT) -> Frame:
    """A grey wall with pictures, each with its left and top."""
    wall = np.full((height, width), 190, np.uint8)
    for picture, left, top in placed:
        wall[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return wall


def veiled(picture: Frame) -> Frame:
    """*picture* behind a chequered veil of single pixels, which is gone at half the size.

    zxing-cpp cannot see through it in frames of less than 500 pixels, which it does not shrink.
    """
    squares = np.indices(picture.shape).sum(axis=0) % 2 * 2 - 1
    pale = 80 + picture * (95 / 255)
    return _frame(np.clip(pale + 100 * squares, 0, 255))


def person(rng: np.random.Generator) -> bytes:
    """What the code on an ID card could say of someone who does not exist, in UTF-8."""
    name = NAMES[rng.integers(len(NAMES))]
    if rng.random() < 0.5:
        name = name.upper()
    if rng.random() < 0.2:
        name = unicodedata.normalize("NFD", name)
    number = f"0642{rng.integers(10):d}5{rng.integers(10**6):06d}"
    born = f"{rng.integers(1, 29):02d}{rng.integers(1, 13):02d}2005"
    sex = ("Nam", "Nữ")[rng.integers(2)]
    return f"{number}||{name}|{born}|{sex}|Thôn Mẫu, Xã Thử, Gia Lai|10052021".encode()


@dataclass(frozen=True)
class Scene:
    """A frame, and what is in it."""

    frame: Frame
    contents: tuple[bytes, ...] = ()
    corners: tuple[Corners, ...] = ()


#: What makes reading hard, one at a time, and everything a little.
HARDSHIPS = (
    "easy",
    "small",
    "tilt",
    "motion",
    "defocus",
    "low light",
    "glare",
    "inverted",
    "two codes",
    "mix",
)


def gate(rng: np.random.Generator, hardship: str) -> Scene:
    """A frame of a code before the camera of a gate, with one of HARDSHIPS."""
    hard = {name: name == hardship or hardship == "mix" for name in HARDSHIPS}
    much = 0.3 if hardship == "mix" else 1.0
    contents = tuple(person(rng) for _ in range(2 if hardship == "two codes" else 1))
    frame = clutter(rng)
    corners = []
    for place, content in enumerate(contents):
        level = "LMQ"[rng.integers(3)]
        packed = rng.random() < 0.5
        code = draw(content, 8, level) if packed else draw_plain(content.decode(), 8, level)
        if hardship == "inverted":
            code = 255 - code
        modules = code.shape[0] / 8
        size = modules * rng.uniform(*((1.7, 3.0) if hardship == "small" else (3.2, 6.0)))
        tilt = much * rng.uniform(0.15, 0.45) if hard["tilt"] else 0.0
        span = WIDTH / len(contents)
        centre = (span * (place + 0.5), HEIGHT / 2)
        corners.append(_paste(rng, frame, code, min(size, span * 0.6), centre, tilt))
    seen = frame.astype(np.float32)
    if hard["glare"]:
        seen = _glare(rng, seen, np.asarray(corners[0]).mean(axis=0), much)
    if hard["defocus"]:
        seen = cv2.GaussianBlur(seen, (0, 0), much * rng.uniform(0.8, 2.6)).astype(np.float32)
    if hard["motion"]:
        seen = _motion(rng, seen, much * rng.uniform(3, 14))
    light = rng.uniform(0.06, 0.25) if hardship == "low light" else rng.uniform(0.7, 1.0)
    noise = rng.normal(0, rng.uniform(3, 6) if hard["low light"] else 2, seen.shape)
    return Scene(
        np.clip(seen * light + noise + 4, 0, 255).astype(np.uint8), contents, tuple(corners)
    )


def empty_gate(rng: np.random.Generator) -> Scene:
    """A frame without a code, but with edges, letters and stripes."""
    noisy = clutter(rng) + rng.normal(0, 3, (HEIGHT, WIDTH))
    return Scene(np.clip(noisy, 0, 255).astype(np.uint8))


def clutter(rng: np.random.Generator) -> Frame:
    """What stands behind a code: boxes, lettering, a fence."""
    across = np.linspace(rng.uniform(60, 200), rng.uniform(60, 200), WIDTH)
    wall: Any = np.tile(across, (HEIGHT, 1)).astype(np.uint8)
    for _ in range(rng.integers(10, 40)):
        x, y = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
        grey = int(rng.integers(256))
        if rng.random() < 0.6:
            far = (x + int(rng.integers(10, 300)), y + int(rng.integers(10, 200)))
            cv2.rectangle(wall, (x, y), far, grey, int(rng.choice([-1, 2, 8])))
        else:
            cv2.putText(wall, "XE BUS 01 PLEIKU", (x, y), 0, rng.uniform(0.4, 2), grey, 2)
    fence = int(rng.integers(WIDTH))
    wall[:, fence : fence + 160 : 9] = 20
    return _frame(wall)


def _modules(modules: Any, scale: int) -> Frame:
    """Pixels for *modules*, which come with a quiet zone of two; four is what a code must have."""
    wide = np.pad(np.asarray(modules, np.uint8), 2, constant_values=255)
    return _frame(np.kron(wide, np.ones((scale, scale))))


def _frame(picture: Any) -> Frame:
    return np.array(picture, np.uint8)


def _paste(
    rng: np.random.Generator,
    frame: Frame,
    code: Frame,
    size: float,
    centre: tuple[float, float],
    tilt: float,
) -> Corners:
    """Put *code* into *frame*, turned at random and leaning by *tilt*; its corners there."""
    angle = rng.uniform(0, 2 * np.pi) if tilt else rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = size / 2
    square = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    leaning = square * np.array([1 - tilt, 1])
    leaning[:2] *= 1 - tilt / 2
    there = (leaning @ turn.T + np.array(centre)).astype(np.float32)
    side = code.shape[0]
    here = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    how = cv2.getPerspectiveTransform(here, there)
    small = cv2.GaussianBlur(code, (0, 0), max(0.1, 0.35 * side / size))
    warped = cv2.warpPerspective(small, how, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    mask = cv2.warpPerspective(np.full_like(code, 255), how, (WIDTH, HEIGHT))
    frame[mask > 127] = warped[mask > 127]
    return tuple((float(x), float(y)) for x, y in there)


def _motion(rng: np.random.Generator, seen: Any, length: float) -> Any:
    angle = rng.uniform(0, np.pi)
    side = int(length) + 2
    kernel = np.zeros((side, side), np.float32)
    middle = (side - 1) / 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = middle - reach, middle + reach
    cv2.line(kernel, _whole(start), _whole(end), 1.0)
    return cv2.filter2D(seen, -1, kernel / kernel.sum())


def _whole(point: Sequence[float] | Any) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _glare(rng: np.random.Generator, seen: Any, centre: Any, much: float) -> Any:
    x, y = centre + rng.normal(0, 40, 2)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    spread = rng.uniform(30, 90)
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))
    return (seen + (much * rng.uniform(150, 500) * spot)).astype(np.float32)
