"""Reads the QR code of `edge-scanner check`, from a photograph or as the text of it."""

from collections.abc import Iterator
from pathlib import Path

import zxingcpp
from PIL import Image, ImageOps, UnidentifiedImageError

from edge.check_report import PREFIX, CheckReport, read_report
from edge.errors import ReportError

#: A photograph that is larger is made smaller: its modules are large enough.
_SIDE = 3_000


def reports(sources: list[str]) -> Iterator[CheckReport]:
    """The report in each of *sources*, a picture's file or the code's text. Raises ReportError."""
    for source in sources:
        if source.startswith(PREFIX):
            yield read_report(source)
        else:
            yield from _in_picture(Path(source))


def _in_picture(path: Path) -> Iterator[CheckReport]:
    try:
        with Image.open(path) as opened:
            # A photograph of a telephone says in its metadata how it was held.
            picture = ImageOps.exif_transpose(opened).convert("L")
    except FileNotFoundError:
        raise ReportError(
            f"{path}: there is no such picture, and a code's text begins with {PREFIX}"
        ) from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as err:
        raise ReportError(f"{path}: this is no picture that can be read: {err}") from None
    picture.thumbnail((_SIDE, _SIDE))
    texts = [
        code.text
        for code in zxingcpp.read_barcodes(
            picture, zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
        )
        if code.text.startswith(PREFIX)
    ]
    if not texts:
        raise ReportError(
            f"{path}: no code of a check is seen in it; photograph it nearer, straight and whole"
        )
    yield from map(read_report, texts)
