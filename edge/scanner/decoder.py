"""Reads QR codes from frames: zxing-cpp first, zbar at half size on what that cannot read.

Both give the bytes of a code as they are, never a text that a library guessed from them. One part
of a message that was split over several codes (structured append) cannot be told from a code of its
own, since zxing-cpp does not say; what it holds must refuse it.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from ctypes import string_at
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp

#: A grey picture: rows of bytes, 0 is black.
Frame: TypeAlias = npt.NDArray[np.uint8]

Point: TypeAlias = tuple[int, int]

#: What is larger is shrunk to this before it is read: time grows with the pixels, and a code that
#: fills such a frame has many times those that a reader needs.
MAX_PIXELS = 4_000_000

#: zxing-cpp refuses sides from 65,536 pixels; nothing as thin as that holds a code.
MAX_SIDE = 16_384

#: The smallest QR code is 21 modules wide, and each needs a pixel at the very least.
MIN_SIDE = 21


@dataclass(frozen=True)
class Code:
    """One QR code in a frame."""

    #: Exactly what the code holds. It may be personal, hence not in the repr.
    content: bytes = field(repr=False)
    #: The corners of the code itself, whichever way it is turned: top-left, top-right,
    #: bottom-right, bottom-left, each x and y in pixels of the frame.
    points: tuple[Point, Point, Point, Point]
    #: Who read it: "zxing-cpp" or "zbar".
    reader: str


def load_zbar() -> Any:
    """pyzbar's wrapper of libzbar. Raises ImportError or OSError where one of them is missing."""
    from pyzbar import wrapper

    return wrapper


class Decoder:
    """Reads frames, for one thread: another needs a Decoder of its own.

    Where zbar is missing it reads with zxing-cpp alone, and `zbar_missing` says why.
    """

    def __init__(self, zbar: bool = True, load_zbar: Callable[[], Any] = load_zbar) -> None:
        #: Why zbar is not used although it was asked for; None if all is well.
        self.zbar_missing: str | None = None
        #: Processor time that the last `read` took of this thread.
        self.last_ms = 0.0
        self._zbar: _Zbar | None = None
        if zbar:
            try:
                self._zbar = _Zbar(load_zbar())
            except (ImportError, OSError) as err:
                self.zbar_missing = str(err)

    def read(self, frame: Frame) -> list[Code]:
        """The QR codes in *frame*, each once; an empty frame has none.

        Raises ValueError for what is not a Frame: colour, 16 bit, a list.
        """
        _check(frame)
        began = time.thread_time()
        codes = self._read(frame)
        self.last_ms = (time.thread_time() - began) * 1000
        return codes

    def close(self) -> None:
        """Let go of zbar; nothing else is held between frames. May be called twice."""
        self._zbar = None

    def _read(self, frame: Frame) -> list[Code]:
        if min(frame.shape) < MIN_SIDE:
            return []
        fitted, factor = _fitted(frame)
        codes = _read_zxing(fitted)
        if not codes and self._zbar is not None:
            codes = self._zbar.read(fitted)
        return list(each_once(_enlarged(code, factor) for code in codes))


def _check(frame: object) -> None:
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"a frame is an array of numpy, not {type(frame).__name__}")
    if frame.ndim != 2 or frame.dtype != np.uint8:
        raise ValueError(
            f"a frame is grey, of height x width and uint8; this is {frame.shape} {frame.dtype}"
        )


def _fitted(frame: Frame) -> tuple[Frame, float]:
    """*frame* as rows without gaps, within the largest size; and how many times it was larger."""
    height, width = frame.shape
    factor = max(1.0, math.sqrt(height * width / MAX_PIXELS), max(height, width) / MAX_SIDE)
    gapless = np.ascontiguousarray(frame)
    if factor == 1.0:
        return gapless, factor
    return _resized(gapless, max(1, int(width / factor)), max(1, int(height / factor))), factor


def _resized(frame: Frame, width: int, height: int) -> Frame:
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def _read_zxing(frame: Frame) -> list[Code]:
    # Model 2 is every QR code in use; the whole family has Micro QR, which gives false reads.
    model_2 = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)
    found = zxingcpp.read_barcodes(frame, formats=model_2)
    return [Code(each.bytes, _zxing_points(each.position), "zxing-cpp") for each in found]


def _zxing_points(at: zxingcpp.Position) -> tuple[Point, Point, Point, Point]:
    return (
        (at.top_left.x, at.top_left.y),
        (at.top_right.x, at.top_right.y),
        (at.bottom_right.x, at.bottom_right.y),
        (at.bottom_left.x, at.bottom_left.y),
    )


class _Zbar:
    """Looks for QR codes at half the size, and gives their bytes.

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
        self._library = library
        library.zbar_image_scanner_destroy(self._new_scanner())

    def read(self, frame: Frame) -> list[Code]:
        """The codes in *frame*, whose rows have no gaps."""
        height, width = frame.shape[0] // 2, frame.shape[1] // 2
        if min(height, width) < MIN_SIDE:
            return []
        # Without an odd last row or column this takes 0.1 ms; with it, 2.5.
        half = _resized(frame[: 2 * height, : 2 * width], width, height)
        library = self._library
        # One that is kept never gives back the room of what it has read, 200 bytes a code.
        scanner = self._new_scanner()
        image = library.zbar_image_create()
        try:
            library.zbar_image_set_format(image, self._GREY)
            library.zbar_image_set_size(image, width, height)
            # zbar keeps the address alone: `half` has to live as long as the image.
            library.zbar_image_set_data(image, half.ctypes.data, half.nbytes, None)
            library.zbar_scan_image(scanner, image)
            return [self._code(symbol) for symbol in self._symbols(image)]
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
            # Parts of a split message, when not all are in view, are of another type.
            if symbol.contents.type == self._QR_CODE:
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
        in_half = Code(content, (top_left, top_right, bottom_right, bottom_left), "zbar")
        return _enlarged(in_half, 2.0)


def _enlarged(code: Code, factor: float) -> Code:
    if factor == 1.0:
        return code
    top_left, top_right, bottom_right, bottom_left = (
        (round(x * factor), round(y * factor)) for x, y in code.points
    )
    return replace(code, points=(top_left, top_right, bottom_right, bottom_left))


def each_once(codes: Iterable[Code]) -> Iterator[Code]:
    """*codes* without repeats: the same content, and the centre within that of an earlier one."""
    seen: list[Code] = []
    for code in codes:
        if not any(code.content == other.content and _meet(code, other) for other in seen):
            seen.append(code)
            yield code


def _meet(code: Code, other: Code) -> bool:
    x, y = (sum(axis) / 4 for axis in zip(*code.points, strict=True))
    xs, ys = zip(*other.points, strict=True)
    return min(xs) <= x <= max(xs) and min(ys) <= y <= max(ys)
