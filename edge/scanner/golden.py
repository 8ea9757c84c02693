"""The golden code, by which the eye of a unit is judged, and how well any code was seen.

It is printed from here, put up inside the housing or shown by a technician, and never counts as a
scan. What is measured of it is measured of every code that is read: how much of the difference
between dark and light is left where a single module stands between two of the other kind. Blur of
any kind takes that away first.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import zxingcpp

from edge.scanner.readers import Code, Frame

#: What it says. Nothing that we accept begins like this.
GOLDEN = b"EDGE-EYE-1"
#: Side of one of its modules on paper, in mm: that of a chip ID card's code is 0.6.
MODULE_MM = 1.0
_QUIET = 4

#: Pixels of a module once a code is laid flat.
_SIDE = 4


@dataclass(frozen=True)
class Seen:
    """How well a code was seen."""

    #: Share of the contrast that is left between single modules along and across, the worse of the
    #: two: 1 is perfect, below about 0.3 nothing reads it.
    sharpness: float
    #: The better of the two: a hand that moves smears one way, a lens out of focus both.
    sharpest: float
    #: Grey of its light and of its dark parts, 0 to 255.
    light: float
    dark: float
    #: The contrast of 5 x 5 modules where it is weakest, as a share of that of the code.
    evenness: float
    #: Pixels of a module in the frame.
    module_px: float
    #: From the middle of the frame to that of the code, in shares of half its width and height.
    off: tuple[float, float]


def golden_svg() -> str:
    """The golden code as a picture that prints in its true size, 29 mm wide, with its name."""
    modules = _modules()
    side = modules.shape[0] * MODULE_MM
    squares = "".join(
        f"M{x * MODULE_MM:g} {y * MODULE_MM:g}h{MODULE_MM:g}v{MODULE_MM:g}h-{MODULE_MM:g}z"
        for y, x in np.argwhere(modules == 0)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side:g}mm" height="{side + 5:g}mm"'
        f' viewBox="0 0 {side:g} {side + 5:g}">\n<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<path d="{squares}"/>\n<text x="{side / 2:g}" y="{side + 2.5:g}" font-size="2.6"'
        f' text-anchor="middle" font-family="sans-serif">{GOLDEN.decode()}: mã chuẩn</text>\n'
        "</svg>\n"
    )


def golden_picture(scale: int = 20) -> Frame:
    """The golden code in grey, *scale* pixels a module: for a screen."""
    return np.asarray(np.kron(_modules(), np.ones((scale, scale), np.uint8)), np.uint8)


def seen(frame: Frame, code: Code) -> Seen | None:
    """How well *code* was seen in *frame*; None if its size is not known or it is too small."""
    count = 17 + 4 * code.version
    corners = np.array(code.points, np.float32)
    area = cv2.contourArea(corners)
    if not 1 <= code.version <= 40 or area < (1.5 * count) ** 2:
        return None
    grey = _middles(frame, corners, count)
    light, dark = (float(np.percentile(grey, share)) for share in (90, 10))
    contrast = light - dark
    if contrast < 8:
        return None
    is_dark = grey < (light + dark) / 2
    # Any five modules each way hold dark and light ones, but for a few in a large code.
    around = np.ones((5, 5), np.uint8)
    local = cv2.dilate(grey, around) - cv2.erode(grey, around)
    worse, better = sorted((_left(grey, is_dark), _left(grey.T, is_dark.T)))
    height, width = frame.shape
    x, y = corners.mean(axis=0)
    return Seen(
        sharpness=worse / contrast,
        sharpest=better / contrast,
        light=light,
        dark=dark,
        evenness=float(np.percentile(local, 2)) / contrast,
        module_px=float(np.sqrt(area)) / count,
        off=(float(x / width * 2 - 1), float(y / height * 2 - 1)),
    )


def _modules() -> Frame:
    """The golden code in its quiet zone, a pixel a module."""
    # As text it takes the fewest modules, 21 a side.
    drawn = zxingcpp.create_barcode(
        GOLDEN.decode(), zxingcpp.BarcodeFormat.QRCodeModel2, ec_level="H"
    )
    picture = np.array(drawn.to_image(scale=1))
    return np.asarray(np.where(picture > 127, 255, 0), np.uint8)


def _middles(frame: Frame, corners: Any, count: int) -> Any:
    """The grey in the middle of each module."""
    side = count * _SIDE
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - 0.5
    flat = cv2.warpPerspective(frame, cv2.getPerspectiveTransform(corners, square), (side, side))
    inner = slice(_SIDE // 2 - 1, _SIDE // 2 + 1)
    return flat.reshape(count, _SIDE, count, _SIDE)[:, inner, :, inner].mean(axis=(1, 3))


def _left(grey: Any, is_dark: Any) -> float:
    """The difference between single light and single dark modules in their rows, in grey levels."""
    middle, before, after = is_dark[:, 1:-1], is_dark[:, :-2], is_dark[:, 2:]
    single = (middle != before) & (middle != after)
    lights, darks = grey[:, 1:-1][single & ~middle], grey[:, 1:-1][single & middle]
    if lights.size < 5 or darks.size < 5:
        return 0.0
    return max(0.0, float(lights.mean() - darks.mean()))
