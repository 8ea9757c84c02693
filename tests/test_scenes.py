"""Claims about the scenes that we draw, on which readers are measured."""

import cv2
import numpy as np
import pytest
import zxingcpp

from edge.scanner.decoder import Frame
from edge.scanner.documents import Document, classify
from edge.scanner.sample.drawing import HEIGHT, WIDTH
from tests import scenes
from tests.drawing import document

MODEL_2 = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)


def read(frame: Frame) -> set[bytes]:
    return {code.bytes for code in zxingcpp.read_barcodes(frame, formats=MODEL_2)}


@pytest.mark.parametrize("axis", ["easy", "moire", "rolling", "multi", "mix"])
def test_a_seed_always_gives_the_same_scene_and_another_seed_another(axis: str) -> None:
    once, again, other = (scenes.frame(axis, 3, seed) for seed in (7, 7, 8))

    np.testing.assert_array_equal(once.frame, again.frame)
    assert once.codes == again.codes
    assert once.codes != other.codes


@pytest.mark.parametrize("level", [1, 5])
@pytest.mark.parametrize("axis", scenes.AXES)
def test_every_axis_gives_frames_with_all_corners_inside(axis: str, level: int) -> None:
    scene = scenes.frame(axis, level, 3)

    assert (scene.axis, scene.level, scene.seed) == (axis, level, 3)
    assert scene.frame.shape == (HEIGHT, WIDTH)
    assert scene.frame.dtype == np.uint8
    for code in scene.codes:
        assert all(0 <= x < WIDTH and 0 <= y < HEIGHT for x, y in code.corners)


@pytest.mark.parametrize("axis", [axis for axis in scenes.AXES if axis not in ("mix", "glare")])
def test_what_is_mild_is_read_byte_for_byte(axis: str) -> None:
    scene = scenes.frame(axis, 1, 5)

    assert read(scene.frame) == {code.content for code in scene.codes}


@pytest.mark.parametrize("axis", ["easy", "tilt", "rolling", "scale"])
def test_the_corners_are_where_a_reader_finds_them(axis: str) -> None:
    scene = scenes.frame(axis, 2, 4)
    [found] = zxingcpp.read_barcodes(scene.frame, formats=MODEL_2)
    at = found.position
    corners = [(p.x, p.y) for p in (at.top_left, at.top_right, at.bottom_right, at.bottom_left)]

    assert np.abs(np.array(corners) - np.array(scene.codes[0].corners)).max() < 8


def test_higher_levels_are_harder() -> None:
    axes = ("motion", "defocus", "glare", "lowlight", "occlusion")
    rates = [
        sum(read(s.frame) == {s.codes[0].content} for s in drawn)
        for drawn in ([scenes.frame(axis, level, 1) for axis in axes] for level in (1, 5))
    ]

    assert rates[0] >= 4
    assert rates[1] <= 3


def test_dark_mode_is_light_on_dark() -> None:
    frame, [code] = (scene := scenes.frame("inverted", 1, 2)).frame, scene.codes
    upright = zxingcpp.read_barcodes(frame, formats=MODEL_2, try_invert=False)

    assert not upright
    assert read(frame) == {code.content}


def test_several_codes_are_two_to_four() -> None:
    counts = {len(scenes.frame("multi", level, 1).codes) for level in range(1, 6)}

    assert counts <= {2, 3, 4}
    assert len(counts) > 1


def test_nothing_is_read_where_nothing_is_shown() -> None:
    for seed in range(4):
        scene = scenes.empty(seed)
        assert scene.codes == ()
        assert not read(scene.frame)


def test_all_documents_are_ones_that_we_accept() -> None:
    rng = np.random.default_rng(1)
    found = [classify(document(rng)) for _ in range(200)]

    assert all(isinstance(each, Document) for each in found)
    assert {each.kind for each in found} == {"cccd", "can_cuoc", "qrqg", "bhyt"}


def test_a_code_comes_blurred_is_held_sharp_and_goes() -> None:
    frames = scenes.sequence(1)
    in_view = [number for number, shown in enumerate(frames) if shown.fully_in_view]
    first, last = in_view[0], in_view[-1]

    assert len(frames) == 75
    assert 0 < first < last < len(frames) - 1
    assert in_view == list(range(first, last + 1))
    assert not read(frames[first].frame)
    assert frames[first + 14].content in read(frames[first + 14].frame)
    assert not read(frames[-1].frame)


def test_nothing_is_read_while_nobody_comes() -> None:
    frames = scenes.idle_sequence(1, frames=12)

    assert not any(shown.fully_in_view or shown.content for shown in frames)
    assert not any(read(shown.frame) for shown in frames)


def test_idle_frames_differ_by_noise_and_flicker_unless_somebody_walks_by() -> None:
    still, passing = (scenes.idle_sequence(2, 30, passing) for passing in (False, True))

    assert 0 < cv2.absdiff(still[0].frame, still[25].frame).mean() < 8
    assert cv2.absdiff(passing[0].frame, passing[25].frame).mean() > 8
