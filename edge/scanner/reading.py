"""The work of `edge-scanner read FILE...`: what the scanner reads in images, to try things out.

Unlike the service it shows what a code holds, because that is what it was asked for.
"""

import argparse
import base64
import json
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.scanner.decoder import Code, Decoder, Frame
from edge.scanner.documents import Document, classify
from edge.scanner.pictures import MAX_IMAGE_BYTES, read_image

#: Phones make 50 million. Unpacked, more would not fit into the memory of a small unit.
MAX_IMAGE_PIXELS = 64_000_000

_CUT_SHORT = "the file is cut short or damaged"


def add_command(commands: Any, also: argparse.ArgumentParser) -> None:
    """Give the parser of `edge-scanner` what is said here; *also* is common to all commands."""
    read = commands.add_parser(
        "read",
        parents=[also],
        help="read the codes in image files: a JSON line for each / đọc mã trong ảnh",
    )
    read.add_argument("files", nargs="+", metavar="FILE", help="pictures / các tệp ảnh")
    read.add_argument(
        "--no-zbar",
        action="store_true",
        help="without the second reader / không dùng bộ đọc thứ hai",
    )


def run(options: argparse.Namespace) -> int:
    """Do it; gives the exit code."""
    decoder = Decoder(zbar=not options.no_zbar)
    failed = False
    for line in read_files(options.files, decoder):
        failed = failed or "error" in line
        print(json.dumps(line), flush=True)
    decoder.close()
    return 1 if failed else 0


def read_files(paths: Iterable[str | Path], decoder: Decoder) -> Iterator[dict[str, Any]]:
    """For each file an object for JSON: `file`, and what was read or `error`, one sentence.

    `points` count pixels as the file stores them: a camera's note to turn the image is ignored.
    """
    for path in map(Path, paths):
        # A name on a disk may be no text at all; whoever writes JSON must not stumble over it.
        line: dict[str, Any] = {"file": str(path).encode("utf-8", "backslashreplace").decode()}
        try:
            frame = _open(path)
        except FileNotFoundError:
            line["error"] = "There is no such file."
        except OSError as err:
            line["error"] = f"It cannot be read: {err.strerror or err}."
        except ValueError as err:
            line["error"] = f"It cannot be used: {err}."
        else:
            line["codes"] = [_described(code) for code in decoder.read(frame)]
            line["ms"] = round(decoder.last_ms, 3)
        yield line


def _described(code: Code) -> dict[str, Any]:
    answer = classify(code.content)
    accepted = isinstance(answer, Document)
    return {
        "bytes": base64.b64encode(code.content).decode(),
        "text": _text(code.content),
        "points": [list(point) for point in code.points],
        "document": answer.kind if accepted else None,
        "accepted": accepted,
        "reason": None if accepted else str(answer.kind),
    }


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _open(path: Path) -> Frame:
    """The image at *path* in grey. Raises OSError, or ValueError with what else is wrong."""
    if path.is_dir():
        raise ValueError("it is a folder; name the images in it")
    # Looked at first, since OpenCV would unpack whatever fits, and 4.x gives half of half a JPEG.
    if path.is_file() and path.stat().st_size <= MAX_IMAGE_BYTES:
        _check(path.read_bytes())
    with _silent():
        frame = read_image(path)
    if frame.size > MAX_IMAGE_PIXELS:
        raise ValueError(_too_many(frame.size))
    return frame


def _check(image: bytes) -> None:
    """Raises ValueError if *image* is a PNG of too many pixels, or such or an incomplete JPEG."""
    try:
        if image.startswith(b"\x89PNG\r\n\x1a\n"):
            _check_size(*struct.unpack_from(">II", image, 16))
        elif image.startswith(b"\xff\xd8"):
            _check_jpeg(image)
    except struct.error:
        raise ValueError(_CUT_SHORT) from None


def _check_jpeg(image: bytes) -> None:
    at = 2
    while True:
        marker, length = struct.unpack_from(">HH", image, at)
        if marker == 0xFFFF:
            # Padding, one byte of it.
            at += 1
            continue
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", image, at + 5)
            _check_size(width, height)
        elif marker == 0xFFDA:
            # From here on these two bytes are the end; before, they may be that of a thumbnail.
            if image.find(b"\xff\xd9", at) < 0:
                raise ValueError(_CUT_SHORT)
            return
        at += 2 + length


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_IMAGE_PIXELS:
        raise ValueError(_too_many(width * height))


def _too_many(pixels: int) -> str:
    return f"it has {pixels:,} pixels and may have {MAX_IMAGE_PIXELS:,}; make it smaller"


@contextmanager
def _silent() -> Iterator[None]:
    """Meanwhile standard error goes nowhere: libpng and libjpeg write there what we say better."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
