"""Claims about `edge-scanner read`: one line for each file, whatever the file is."""

import base64
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.scanner.decoder import Decoder, Frame
from edge.scanner.reading import read_files
from tests.drawing import draw, on_wall

CARD = "064190000123||Trần Thị Mẫu|17051990|Nữ|Thôn Mẫu, Xã Thử, Gia Lai|10052021".encode()

NEAR = 4


def wall(content: bytes = CARD) -> Frame:
    return on_wall((draw(content, scale=6), 100, 50), width=640, height=480)


def save(path: Path, frame: Frame, kind: str = ".png") -> Path:
    path.write_bytes(cv2.imencode(kind, frame)[1].tobytes())
    return path


def read(*paths: Path | str) -> list[dict[str, Any]]:
    """The lines as they come out of the JSON that the command prints."""
    lines = read_files(paths, Decoder(zbar=False))
    return [json.loads(json.dumps(line)) for line in lines]


def png(width: int, height: int) -> bytes:
    """A PNG that says it has this size, and has hardly any pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg(frame: Frame) -> bytes:
    return cv2.imencode(".jpg", frame)[1].tobytes()


@pytest.mark.parametrize("kind", [".png", ".jpg", ".bmp", ".webp"])
def test_a_document_is_read_and_accepted(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / f"card{kind}", wall(), kind)

    [line] = read(path)

    [code] = line["codes"]
    assert line["file"] == str(path)
    assert base64.b64decode(code["bytes"]) == CARD
    assert code["text"] == CARD.decode()
    assert (code["document"], code["accepted"], code["reason"]) == ("cccd", True, None)
    assert np.abs(np.array(code["points"][0]) - [100 + 24, 50 + 24]).max() <= NEAR
    assert line["ms"] > 0


def test_a_code_that_does_not_count_has_a_reason(tmp_path: Path) -> None:
    [line] = read(save(tmp_path / "link.png", wall(b"https://example.org/")))

    [code] = line["codes"]
    assert (code["document"], code["accepted"], code["reason"]) == (None, False, "foreign")


def test_bytes_that_are_no_text_are_given_as_bytes_alone(tmp_path: Path) -> None:
    [line] = read(save(tmp_path / "bytes.png", wall(b"\xff\x00\xfe")))

    [code] = line["codes"]
    assert base64.b64decode(code["bytes"]) == b"\xff\x00\xfe"
    assert code["text"] is None
    assert code["reason"] == "undecodable"


def test_an_image_without_a_code_has_an_empty_list(tmp_path: Path) -> None:
    [line] = read(save(tmp_path / "wall.png", on_wall()))

    assert line["codes"] == []
    assert "error" not in line


def test_points_are_those_of_the_file_as_stored_even_if_it_asks_to_be_turned(
    tmp_path: Path,
) -> None:
    stored = jpeg(wall())
    turn_right = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\x00\x00" + turn_right
    path = tmp_path / "phone.jpg"
    path.write_bytes(stored[:2] + struct.pack(">HH", 0xFFE1, 2 + len(exif)) + exif + stored[2:])

    [line] = read(path)

    [code] = line["codes"]
    assert np.abs(np.array(code["points"][0]) - [100 + 24, 50 + 24]).max() <= NEAR


WHOLE_PNG = cv2.imencode(".png", wall())[1].tobytes()
WHOLE_JPEG = jpeg(wall())

#: What a file may be, and a word of what is said of it.
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes"),
    "text": (b"hello, world\n" * 20, "not an image"),
    "half a png": (WHOLE_PNG[: len(WHOLE_PNG) // 2], "damaged"),
    "the start of a png": (WHOLE_PNG[:20], "damaged"),
    "half a jpeg": (WHOLE_JPEG[: len(WHOLE_JPEG) // 2], "cut short"),
    "the start of a jpeg": (WHOLE_JPEG[:30], "cut short"),
    "two bytes of a jpeg": (b"\xff\xd8", "cut short"),
    "a jpeg of zeros": (b"\xff\xd8" + bytes(5000), "cut short"),
    "a png of 100 megapixels": (png(10_000, 10_000), "make it smaller"),
    "a png of no pixels": (png(0, 0), "not an image"),
    "a png of all pixels": (png(2**31 - 1, 2**31 - 1), "make it smaller"),
    "a jpeg of 1,000 megapixels": (
        b"\xff\xd8" + struct.pack(">HHBHHB", 0xFFC0, 8, 8, 32_000, 32_000, 0),
        "make it smaller",
    ),
    "a damaged png": (WHOLE_PNG[:100] + bytes(50) + WHOLE_PNG[150:], "damaged"),
}


@pytest.mark.parametrize(("content", "word"), BAD_FILES.values(), ids=BAD_FILES)
def test_what_is_no_whole_image_is_an_error_and_the_next_file_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes, word: str
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    good = save(tmp_path / "good.png", wall())

    first, second = read(bad, good)

    assert word in first["error"]
    assert first["error"].endswith(".")
    assert set(first) == {"file", "error"}
    assert len(second["codes"]) == 1
    assert capfd.readouterr().err == ""


def test_a_jpeg_with_a_trailer_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "motion.jpg"
    path.write_bytes(WHOLE_JPEG + b"a video that some phones put behind the picture")

    [line] = read(path)

    assert len(line["codes"]) == 1


def test_a_missing_file_a_folder_and_a_pipe_are_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    missing, inside_a_file = tmp_path / "missing.png", save(tmp_path / "a.png", wall()) / "b.png"

    lines = read(missing, inside_a_file, tmp_path, tmp_path / "pipe", "a\0b.png", "")

    said = [line["error"] for line in lines]
    assert said.pop(4).startswith("It cannot be used: ")
    assert said == [
        "There is no such file.",
        "It cannot be read: Not a directory.",
        "It cannot be used: it is a folder; name the images in it.",
        "It cannot be used: not a regular file.",
        "It cannot be used: it is a folder; name the images in it.",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; run as another user")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "secret.png", wall())
    path.chmod(0)

    assert read(path)[0]["error"] == "It cannot be read: Permission denied."


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb\x1b[31m.png", "Mẫu.png".encode()])
def test_a_file_may_have_any_name(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    save(path, wall())

    [line] = read_files(
        [
            path,
        ],
        Decoder(zbar=False),
    )

    assert len(line["codes"]) == 1
    # Text that any writer of JSON can write.
    line["file"].encode("utf-8")
    assert "\n" not in json.dumps(line)
