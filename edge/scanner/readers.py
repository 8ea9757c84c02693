"""The two readers of QR codes that everything else is built on: zxing-cpp, and zbar.

Both give the bytes of a code as they are, never a text that a library guessed from them. One part
of a message that was split over several codes (structured append) is left out, as any other kind of
code is.
"""

from collections.abc import Iterable, Iterator
from ctypes import POINTER, c_void_p, string_at
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp
from zxingcpp import Binarizer

from edge.scanner.split_message import is_part

#: A grey picture: rows of bytes, 0 is black.
Frame: TypeAlias = npt.NDArray[np.uint8]

Point: TypeAlias = tuple[int, int]
Corners: TypeAlias = tuple[Point, Point, Point, Point]

#: The smallest QR code is 21 modules wide, and each needs a pixel at the very least.
MIN_SIDE = 21

# Model 2 is every QR code in use; the whole family has Micro QR, which gives false reads.
_MODEL_2 = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)


@dataclass(frozen=True)
class Code:
    """One QR code in a frame."""

    #: Exactly what the code holds. It may be personal, hence not in the repr.
    content: bytes = field(repr=False)
    #: The corners of the code itself, whichever way it is turned: top-left, top-right,
    #: bottom-right, bottom-left, each x and y in pixels of the frame.
    points: Corners
    #: Who read it: "zxing-cpp" or "zbar".
    reader: str
    #: 1 to 40; the code has 17 + 4 * version modules a side. 0 where the reader does not tell.
    version: int = 0


@dataclass(frozen=True)
class Spot:
    """Where a code is that was seen, but not read."""

    points: Corners
    #: 1 to 40; the code has 17 + 4 * version modules a side.
    version: int


@dataclass(frozen=True)
class Look:
    """What one look at a frame gave."""

    codes: tuple[Code, ...] = ()
    spots: tuple[Spot, ...] = ()


def check(frame: object) -> None:
    """Raises ValueError if *frame* is no Frame."""
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"a frame is an array of numpy, not {type(frame).__name__}")
    if frame.ndim != 2 or frame.dtype != np.uint8:
        raise ValueError(
            f"a frame is grey, of height x width and uint8; this is {frame.shape} {frame.dtype}"
        )


def read_zxing(
    frame: Frame, binarizer: Binarizer = Binarizer.LocalAverage, *, thorough: bool = False
) -> Look:
    """What zxing-cpp sees. *thorough* tries it also turned, smaller and light on dark."""
    found = zxingcpp.read_barcodes(
        np.ascontiguousarray(frame),
        formats=_MODEL_2,
        binarizer=binarizer,
        try_rotate=thorough,
        try_downscale=thorough,
        try_invert=thorough,
        return_errors=True,
    )
    codes = tuple(
        Code(it.bytes, _points(it.position), "zxing-cpp", _version(it))
        for it in found
        if it.valid and not is_part(it)
    )
    return Look(codes, tuple(_spots(found)))


def _spots(found: Iterable[zxingcpp.Barcode]) -> Iterator[Spot]:
    for it in found:
        # Without one it found three patterns but no code that they belong to.
        if not it.valid and (version := _version(it)):
            yield Spot(_points(it.position), version)


def _version(it: zxingcpp.Barcode) -> int:
    """1 to 40; 0 where it is not known, or that of a Micro QR, as in "M2"."""
    extra: Any = it.extra or {}
    version = str(extra.get("Version", ""))
    return int(version) if version.isdecimal() else 0


def _points(at: zxingcpp.Position) -> Corners:
    return (
        (at.top_left.x, at.top_left.y),
        (at.top_right.x, at.top_right.y),
        (at.bottom_right.x, at.bottom_right.y),
        (at.bottom_left.x, at.bottom_left.y),
    )


class Zbar:
    """Looks for QR codes with zbar, and gives their bytes.

    Not by `pyzbar.decode`, which has zbar guess the text, wrongly for half of all Vietnamese names,
    and which raises, losing the whole frame, where a code in it is part of a split message.
    """

    # Of zbar.h. pyzbar has no name for the binary option, which is newer than it.
    _QR_CODE = 64
    _EVERY_KIND = 0
    _ENABLE = 0
    _BINARY = 4
    _GREY = int.from_bytes(b"Y800", "little")

    def __init__(self, library: Any) -> None:
        """*library* is pyzbar's wrapper. Raises ImportError where libzbar is too old."""
        self._library = library
        library.zbar_image_scanner_destroy(self._new_scanner())
        # pyzbar has no name for it; None for a code of its own, and not for one put together.
        self._parts = library.zbar_function(
            "zbar_symbol_get_components", c_void_p, POINTER(library.zbar_symbol)
        )

    def read(self, frame: Frame) -> Look:
        """What zbar sees. It gives no spots."""
        height, width = frame.shape
        if min(height, width) < MIN_SIDE:
            return Look()
        rows = np.ascontiguousarray(frame)
        library = self._library
        # One that is kept never gives back the room of what it has read, 200 bytes a code.
        scanner = self._new_scanner()
        image = library.zbar_image_create()
        try:
            library.zbar_image_set_format(image, self._GREY)
            library.zbar_image_set_size(image, width, height)
            # zbar keeps the address alone: `rows` has to live as long as the image.
            library.zbar_image_set_data(image, rows.ctypes.data, rows.nbytes, None)
            library.zbar_scan_image(scanner, image)
            return Look(tuple(self._code(symbol) for symbol in self._symbols(image)))
        finally:
            library.zbar_image_destroy(image)
            library.zbar_image_scanner_destroy(scanner)

    def _new_scanner(self) -> Any:
        scanner = self._library.zbar_image_scanner_create()
        configure = self._library.zbar_image_scanner_set_config
        configure(scanner, self._EVERY_KIND, self._ENABLE, 0)
        configure(scanner, self._QR_CODE, self._ENABLE, 1)
        if configure(scanner, self._QR_CODE, self._BINARY, 1) != 0:
            self._library.zbar_image_scanner_destroy(scanner)
            raise ImportError("libzbar is older than 0.23.1 and cannot give bytes as they are")
        return scanner

    def _symbols(self, image: Any) -> Iterator[Any]:
        symbol = self._library.zbar_image_first_symbol(image)
        while symbol:
            # Parts of a split message are of another type, when not all are in view.
            if symbol.contents.type == self._QR_CODE and not self._parts(symbol):
                yield symbol
            symbol = self._library.zbar_symbol_next(symbol)

    def _code(self, symbol: Any) -> Code:
        library = self._library
        content = string_at(
            library.zbar_symbol_get_data(symbol), library.zbar_symbol_get_data_length(symbol)
        )
        # zbar goes round the other way: top-left, bottom-left, bottom-right, top-right.
        top_left, bottom_left, bottom_right, top_right = (
            (library.zbar_symbol_get_loc_x(symbol, i), library.zbar_symbol_get_loc_y(symbol, i))
            for i in range(4)
        )
        return Code(content, (top_left, top_right, bottom_right, bottom_left), "zbar")


def resized(frame: Frame, width: int, height: int) -> Frame:
    """*frame* in another size: averaged where it becomes smaller."""
    how = cv2.INTER_AREA if width < frame.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (width, height), interpolation=how), np.uint8)


def enlarged(look: Look, factor: float) -> Look:
    """*look* at a picture in pixels of one that is *factor* times as large."""
    if factor == 1.0:
        return look
    return Look(
        tuple(replace(code, points=_scaled(code.points, factor)) for code in look.codes),
        tuple(replace(spot, points=_scaled(spot.points, factor)) for spot in look.spots),
    )


def moved(look: Look, left: int, top: int) -> Look:
    """*look* at a part of a picture, which begins at *left* and *top*, in pixels of the whole."""
    return Look(
        tuple(replace(code, points=_shifted(code.points, left, top)) for code in look.codes),
        tuple(replace(spot, points=_shifted(spot.points, left, top)) for spot in look.spots),
    )


def _shifted(points: Corners, left: int, top: int) -> Corners:
    a, b, c, d = ((x + left, y + top) for x, y in points)
    return a, b, c, d


def _scaled(points: Corners, factor: float) -> Corners:
    top_left, top_right, bottom_right, bottom_left = (
        (round(x * factor), round(y * factor)) for x, y in points
    )
    return top_left, top_right, bottom_right, bottom_left


def each_once(codes: Iterable[Code]) -> Iterator[Code]:
    """*codes* without repeats: the same content, and the centre within that of an earlier one."""
    seen: list[Code] = []
    for code in codes:
        if not any(code.content == it.content and meet(code.points, it.points) for it in seen):
            seen.append(code)
            yield code


def meet(points: Corners, other: Corners) -> bool:
    """Whether the centre of *points* is where *other* is."""
    x, y = (sum(axis) / 4 for axis in zip(*points, strict=True))
    xs, ys = zip(*other, strict=True)
    return min(xs) <= x <= max(xs) and min(ys) <= y <= max(ys)
