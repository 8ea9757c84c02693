"""The readers that are measured. For another, write a function that makes it, and name it below."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import zxingcpp

from edge.scanner.decoder import Decoder, Frame
from edge.scanner.pipeline import Pipeline
from tests.drawing import Corners


@dataclass(frozen=True)
class Reading:
    """What a reader says that it saw, and where."""

    #: A reader that gives bytes leaves open what they mean; then this is each text they could be.
    texts: tuple[str, ...]
    points: Corners


Reader = Callable[[Frame], list[Reading]]

OURS, LIVE, ZXING = "ours", "ours live", "zxing-cpp"


def ours() -> Reader:
    """Ours on single pictures: nothing is remembered."""
    return _of(Decoder())


def ours_live() -> Reader:
    """Ours on video, for the frames of one camera in their order."""
    return _of(Pipeline())


def pyzbar() -> Reader:
    """As its users call it."""
    from pyzbar.pyzbar import ZBarSymbol, decode

    def read(frame: Frame) -> list[Reading]:
        found = decode(frame, symbols=[ZBarSymbol.QRCODE])
        return [
            Reading((each.data.decode(errors="replace"),), tuple(each.polygon)) for each in found
        ]

    return read


def zxing_defaults() -> Reader:
    """All of the QR family, with its defaults."""
    return _zxing(formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))


def zxing_cheapest() -> Reader:
    """Ordinary QR codes, upright, at full size, dark on light, by one threshold for all."""
    return _zxing(
        formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2),
        binarizer=zxingcpp.Binarizer.GlobalHistogram,
        try_rotate=False,
        try_downscale=False,
        try_invert=False,
    )


def opencv() -> Reader:
    """OpenCV's own: one code of a frame, since on several it takes seconds and reads fewer."""
    detector = cv2.QRCodeDetector()

    def read(frame: Frame) -> list[Reading]:
        text, points, _ = detector.detectAndDecode(frame)
        if not text:
            return []
        return [Reading((text,), tuple((float(x), float(y)) for x, y in points[0]))]

    return read


#: Each makes a fresh reader, by its name in tables and in --readers.
SINGLE: Mapping[str, Callable[[], Reader]] = {
    "pyzbar": pyzbar,
    ZXING: zxing_defaults,
    "zxing-cpp cheapest": zxing_cheapest,
    "opencv": opencv,
}
READERS: Mapping[str, Callable[[], Reader]] = {OURS: ours, LIVE: ours_live, **SINGLE}


def texts_of(content: bytes) -> tuple[str, ...]:
    """Each text that *content* could be."""
    texts = []
    for encoding in ("utf-8", "shift_jis", "latin-1"):
        with suppress(UnicodeDecodeError):
            texts.append(content.decode(encoding))
    return tuple(texts)


def _of(scanner: Decoder | Pipeline) -> Reader:
    return lambda frame: [Reading(texts_of(c.content), c.points) for c in scanner.read(frame)]


def _zxing(**options: Any) -> Reader:
    def read(frame: Frame) -> list[Reading]:
        return [
            Reading((each.text,), tuple((p.x, p.y) for p in _corners(each.position)))
            for each in zxingcpp.read_barcodes(frame, **options)
        ]

    return read


def _corners(at: zxingcpp.Position) -> tuple[zxingcpp.Point, ...]:
    return at.top_left, at.top_right, at.bottom_right, at.bottom_left
