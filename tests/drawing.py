"""Draws QR codes of what people show at a gate. All people are invented.

Codes hold exactly the bytes they are given, without the mark (ECI) that would say they are UTF-8:
real documents have none, and it is then that readers guess.
"""

import unicodedata
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


def document(rng: np.random.Generator) -> bytes:
    """What a code that we accept could say of somebody who does not exist, in UTF-8."""
    name = NAMES[rng.integers(len(NAMES))]
    name = (name, name.upper())[rng.integers(2)]
    if rng.random() < 0.2:
        name = unicodedata.normalize("NFD", name)
    kind = _KINDS[rng.integers(len(_KINDS))]
    return kind(rng, name).encode()


def _modules(modules: Any, scale: int) -> Frame:
    """Pixels for *modules*, which come with a quiet zone of two; four is what a code must have."""
    wide = np.pad(np.asarray(modules, np.uint8), 2, constant_values=255)
    return _frame(np.kron(wide, np.ones((scale, scale))))


def _frame(picture: Any) -> Frame:
    return np.array(picture, np.uint8)


def _national(rng: np.random.Generator) -> str:
    return f"0642{rng.integers(10):d}5{rng.integers(10**6):06d}"


def _cccd(rng: np.random.Generator, name: str) -> str:
    old = f"23{rng.integers(10**7):07d}" if rng.random() < 0.5 else ""
    born = f"{rng.integers(1, 29):02d}{rng.integers(1, 13):02d}2005"
    sex = ("Nam", "Nữ")[rng.integers(2)]
    home = ("Thôn Mẫu, Xã Thử", "Tổ 9, Phường Thử Nghiệm, Pleiku")[rng.integers(2)]
    return f"{_national(rng)}|{old}|{name}|{born}|{sex}|{home}, Gia Lai|10052021"


def _can_cuoc(rng: np.random.Generator, name: str) -> str:
    return f"{_cccd(rng, name)}||||"


def _qrqg(rng: np.random.Generator, name: str) -> str:
    plain = unicodedata.normalize("NFD", name.upper().replace("Đ", "D").replace("’", "'"))
    plain = plain.encode("ascii", "ignore").decode()
    number, born, phone = _national(rng), f"19{rng.integers(50, 99)}-05-17", "09000"
    phone += f"{rng.integers(10**5):05d}"
    if rng.random() < 0.3:
        number, born, phone = f"******{number[6:]}", f"{born[:4]}-**-**", ""
    return f"{number}|{plain}|{born}|0|1699{rng.integers(10**14):014d}|<{rng.integers(3)}<<{phone}"


def _bhyt(rng: np.random.Generator, name: str) -> str:
    number = f"GD464{rng.integers(10**10):010d}"
    return (
        f"{number}|{name.encode().hex()}|17/05/19{rng.integers(50, 99)}|{rng.integers(1, 3)}|-"
        "|64 - 001|01/01/2022|-|20/12/2021|-|-|4|01/01/2026|0123456789abcdef-7102|$"
    )


_KINDS = (_cccd, _cccd, _can_cuoc, _qrqg, _bhyt)
