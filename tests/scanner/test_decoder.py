"""Claims about the decoder, on codes that we draw."""

import threading
import unicodedata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zxingcpp

from edge.scanner.decoder import MAX_PIXELS, Code, Decoder, Frame, each_once
from edge.scanner.documents import Refusal, classify
from edge.scanner.pipeline import Pipeline
from edge.scanner.split_message import is_part
from edge.scanner.stages import STAGES, second_reader
from tests.drawing import NAMES, draw, draw_parts, draw_plain, on_wall

CARD = "064190000123||Trần Thị Mẫu|17051990|Nữ|Thôn Mẫu, Xã Thử, Gia Lai|10052021".encode()

#: How far a corner may be from where it was drawn, in pixels.
NEAR = 4


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(zbar=False)


ZBAR_ALONE = [stage for stage in STAGES if stage.look is second_reader]


@pytest.fixture
def with_zbar() -> Decoder:
    return unless_missing(Decoder())


@pytest.fixture
def zbar_alone() -> Decoder:
    return unless_missing(Decoder(stages=ZBAR_ALONE))


def unless_missing(decoder: Decoder) -> Decoder:
    if decoder.zbar_missing:
        pytest.skip(f"{decoder.zbar_missing}: sudo apt install libzbar0")
    return decoder


def shown(picture: Frame) -> Frame:
    side = max(picture.shape) + 40
    return on_wall((picture, 20, 20), width=side, height=side)


def contents(codes: list[Code]) -> list[bytes]:
    return sorted(code.content for code in codes)


FORMS: list[Callable[[str], str]] = [
    lambda name: unicodedata.normalize("NFC", name),
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: unicodedata.normalize("NFC", name.upper()),
    lambda name: unicodedata.normalize("NFD", name.upper()),
    lambda name: unicodedata.normalize("NFC", name.lower()),
]


@pytest.mark.parametrize("form", FORMS, ids=["nfc", "nfd", "upper", "upper nfd", "lower"])
@pytest.mark.parametrize("name", NAMES)
def test_both_readers_give_the_exact_bytes_of_a_name(
    decoder: Decoder, zbar_alone: Decoder, name: str, form: Callable[[str], str]
) -> None:
    text = form(name)
    for picture in (draw(text.encode()), draw(text.encode(), encoding="UTF8"), draw_plain(text)):
        [first] = decoder.read(shown(picture))
        [second] = zbar_alone.read(shown(picture))

        assert (first.reader, first.content) == ("zxing-cpp", text.encode())
        assert (second.reader, second.content) == ("zbar", text.encode())


@pytest.mark.parametrize(
    "content",
    [
        b"A\x00B\x00",
        b"\x1b[31mred\x1b[0m\x07\r\n\t\x7f",
        b"\x00",
        bytes(range(256)),
        "﻿Trần Thị Mẫu".encode(),
        b"\xff\xfe\xc3(",
    ],
    ids=["nul", "escape sequences", "one nul", "all bytes", "byte order mark", "not utf-8"],
)
def test_both_readers_give_any_bytes_as_they_are(
    decoder: Decoder, zbar_alone: Decoder, content: bytes
) -> None:
    assert contents(decoder.read(shown(draw(content, scale=4)))) == [content]
    assert contents(zbar_alone.read(shown(draw(content)))) == [content]


def test_the_largest_code_is_read(decoder: Decoder) -> None:
    content = b"x" * 2953

    assert contents(decoder.read(shown(draw(content, scale=3, level="L")))) == [content]


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("stages", [STAGES, ZBAR_ALONE], ids=["zxing-cpp", "zbar"])
def test_a_turned_code_is_read_and_its_own_corners_are_given(stages: Any, turns: int) -> None:
    decoder = unless_missing(Decoder(stages=stages))
    upright = shown(draw(CARD, scale=6))
    quiet, side = 20 + 4 * 6, upright.shape[0] - 1
    inner = side - quiet
    corners = [(quiet, quiet), (inner, quiet), (inner, inner), (quiet, inner)]
    for _ in range(turns):
        corners = [(y, side - x) for x, y in corners]

    [code] = decoder.read(np.rot90(upright, turns))

    assert code.content == CARD
    assert np.abs(np.array(code.points) - np.array(corners)).max() <= NEAR


def test_a_code_of_light_on_dark_is_read(decoder: Decoder) -> None:
    assert contents(decoder.read(255 - shown(draw(CARD)))) == [CARD]


def test_all_codes_in_view_are_read(decoder: Decoder) -> None:
    several = [f"06419000012{i}|NGUOI THU {i}".encode() for i in range(4)]
    pictures = [draw(content) for content in several]
    wall = on_wall(*((picture, 20 + 300 * i, 40) for i, picture in enumerate(pictures)))

    assert contents(decoder.read(wall)) == several


def test_two_codes_of_one_content_are_two(decoder: Decoder) -> None:
    picture = draw(CARD)

    codes = decoder.read(on_wall((picture, 40, 40), (picture, 700, 40)))

    assert contents(codes) == [CARD, CARD]


def test_a_code_found_twice_in_one_place_is_one() -> None:
    there = Code(b"A", ((10, 10), (50, 10), (50, 50), (10, 50)), "zbar")
    again = Code(b"A", ((11, 10), (51, 10), (51, 50), (10, 51)), "zbar")
    elsewhere = Code(b"A", ((60, 10), (99, 10), (99, 50), (60, 50)), "zbar")
    other = Code(b"B", again.points, "zbar")

    assert list(each_once([there, again, elsewhere, other])) == [there, elsewhere, other]


def test_parts_of_a_split_message_are_left_out_and_hide_no_other_code(
    decoder: Decoder, with_zbar: Decoder, zbar_alone: Decoder
) -> None:
    part, _ = draw_parts("NGUYEN VAN MAU|1234|" * 3, count=2, scale=5)
    frame = on_wall((part, 20, 20), (draw(b"whole", scale=5), 300, 20), width=490, height=300)

    for each in (decoder, with_zbar, zbar_alone):
        assert contents(each.read(frame)) == [b"whole"]
    assert Pipeline().read(frame)[0].content == b"whole"


def test_a_split_message_wholly_in_view_is_not_put_together(
    decoder: Decoder, zbar_alone: Decoder
) -> None:
    first, second = draw_parts("NGUYEN VAN MAU|1234|" * 3, count=2, scale=5)
    frame = on_wall((second, 20, 20), (first, 250, 20), width=490, height=300)

    assert zbar_alone.read(frame) == []
    # A harder look may read a part with errors, when nobody can be sure that it is one.
    assert all(isinstance(classify(code.content), Refusal) for code in decoder.read(frame))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("inverted", [False, True])
def test_a_part_is_told_from_a_whole_whichever_way_it_is_shown(turns: int, inverted: bool) -> None:
    def found(picture: Frame) -> list[bool]:
        turned = np.ascontiguousarray(np.rot90(picture, turns))
        shot = 255 - shown(turned) if inverted else shown(turned)
        return [is_part(it) for it in zxingcpp.read_barcodes(shot)]

    for count in (2, 3, 9):
        for part in draw_parts("NGUYEN VAN MAU|1234|" * 12, count=count, scale=5):
            assert found(part) == [True]
    rng = np.random.default_rng(3)
    for size in range(1, 120, 7):
        assert found(draw(rng.bytes(size))) == [False]
    for text in ("0641900001", "PLEIKU 12", NAMES[0]):
        assert found(draw_plain(text)) == [False]
        assert found(draw(text.encode(), encoding="UTF8")) == [False]


def test_a_part_that_was_read_with_errors_may_pass_as_a_code() -> None:
    part, _ = draw_parts("NGUYEN VAN MAU|1234|" * 3, count=2, scale=5)
    part[100:108, 60:68] = 255 - part[100:108, 60:68]
    [found] = zxingcpp.read_barcodes(shown(part))

    assert not is_part(found)
    assert isinstance(classify(found.bytes), Refusal)


@pytest.mark.parametrize(
    "shape",
    [(0, 0), (0, 640), (480, 0), (1, 1), (1, 640), (480, 1), (21, 21), (43, 42), (3, 200_000)],
)
def test_a_frame_too_small_for_a_code_has_none(with_zbar: Decoder, shape: tuple[int, int]) -> None:
    assert with_zbar.read(np.full(shape, 128, np.uint8)) == []


@pytest.mark.parametrize("shape", [(40, 100_000), (100_000, 40), (10_000, 10_000)])
def test_a_frame_of_an_odd_size_is_read(with_zbar: Decoder, shape: tuple[int, int]) -> None:
    assert with_zbar.read(np.zeros(shape, np.uint8)) == []


def test_frames_without_a_code_have_none(with_zbar: Decoder) -> None:
    rng = np.random.default_rng(1)
    black, white = np.zeros((480, 640), np.uint8), np.full((480, 640), 255, np.uint8)
    noise = rng.integers(0, 256, (480, 640), np.uint8)

    assert [with_zbar.read(frame) for frame in (black, white, noise)] == [[], [], []]


VIEWS: dict[str, Callable[[Frame], Frame]] = {
    "columns first": lambda frame: np.asfortranarray(frame),
    "padded rows": lambda frame: np.pad(frame, ((0, 0), (0, 64)))[:, :-64],
    "every second pixel": lambda frame: np.kron(frame, np.ones((2, 2), np.uint8))[::2, ::2],
    "backwards": lambda frame: frame[::-1, ::-1],
    "read-only": lambda frame: np.frombuffer(frame.tobytes(), np.uint8).reshape(frame.shape),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_of_another_array_is_read(
    decoder: Decoder, zbar_alone: Decoder, view: Callable[[Frame], Frame]
) -> None:
    assert contents(decoder.read(view(shown(draw(CARD))))) == [CARD]
    assert contents(zbar_alone.read(view(shown(draw(CARD))))) == [CARD]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((48, 64, 3), np.uint8),
        np.zeros(64, np.uint8),
        np.zeros((48, 64), np.uint16),
        np.zeros((48, 64), np.float32),
        np.zeros((48, 64), np.bool_),
        [[0, 0], [0, 0]],
        None,
    ],
    ids=["colour", "one row", "16 bit", "float", "bool", "list", "none"],
)
def test_what_is_not_a_frame_is_a_value_error(decoder: Decoder, frame: Any) -> None:
    with pytest.raises(ValueError, match="a frame is"):
        decoder.read(frame)


def test_a_huge_frame_is_read_and_its_points_are_those_of_the_frame(decoder: Decoder) -> None:
    frame = on_wall((draw(CARD, scale=20), 2000, 1000), width=4056, height=3040)
    assert frame.size > 3 * MAX_PIXELS

    [code] = decoder.read(frame)

    assert code.content == CARD
    expected = np.array([2000 + 4 * 20, 1000 + 4 * 20])
    assert np.abs(np.array(code.points[0]) - expected).max() <= NEAR


def test_reading_measures_its_processor_time(decoder: Decoder) -> None:
    decoder.read(shown(draw(CARD)))

    assert decoder.last_ms > 0


def test_a_code_does_not_show_its_content() -> None:
    assert "Mẫu" not in repr(Code("Mẫu".encode(), ((0, 0),) * 4, "zbar"))
    assert "content" not in repr(Code(b"x", ((0, 0),) * 4, "zbar"))


def no_pyzbar() -> Any:
    raise ImportError("Unable to find zbar shared library")


def broken_libzbar() -> Any:
    raise OSError("libzbar.so.0: wrong ELF class")


def old_libzbar() -> Any:
    destroyed: list[object] = []
    return SimpleNamespace(
        zbar_image_scanner_create=object,
        zbar_image_scanner_destroy=destroyed.append,
        # As zbar does: it answers 0, or 1 to an option that it does not know.
        zbar_image_scanner_set_config=lambda _scanner, _kind, option, _value: int(option >= 4),
    )


@pytest.mark.parametrize(
    ("load_zbar", "reason"),
    [
        (no_pyzbar, "Unable to find zbar"),
        (broken_libzbar, "wrong ELF class"),
        (old_libzbar, "older than 0.23.1"),
    ],
)
def test_without_zbar_it_says_why_and_reads_on(load_zbar: Callable[[], Any], reason: str) -> None:
    decoder = Decoder(load_zbar=load_zbar)

    assert reason in str(decoder.zbar_missing)
    assert contents(decoder.read(shown(draw(CARD)))) == [CARD]


def test_zbar_that_is_switched_off_is_not_missing() -> None:
    decoder = Decoder(zbar=False, load_zbar=no_pyzbar)

    assert decoder.zbar_missing is None


def test_a_closed_decoder_reads_without_zbar(zbar_alone: Decoder, with_zbar: Decoder) -> None:
    for decoder in (zbar_alone, with_zbar):
        decoder.close()
        decoder.close()

    assert zbar_alone.read(shown(draw(CARD))) == []
    assert contents(with_zbar.read(shown(draw(CARD)))) == [CARD]


def test_threads_with_a_decoder_each_read_their_own_codes(with_zbar: Decoder) -> None:
    wrong: list[list[bytes]] = []

    def read(number: int) -> None:
        decoders = [Decoder(), Decoder(stages=ZBAR_ALONE)]
        content = f"06419000012{number}".encode()
        frame = shown(draw(content))
        for turn in range(40):
            seen = contents(decoders[turn % 2].read(frame))
            if seen != [content]:
                wrong.append(seen)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []
