"""Claims about the looks at a frame: each reads what the plain one cannot."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from edge.scanner.decoder import Code, Decoder, Frame
from edge.scanner.finders import find_spots
from edge.scanner.grid import MAX_VERSION, read_spot
from edge.scanner.readers import Spot, Zbar
from edge.scanner.smear import smear_of
from edge.scanner.stages import (
    STAGES,
    View,
    crisp,
    darkened,
    magnified,
    plain,
    regridded,
    sharpened,
    softened,
    unsmeared,
)
from tests.drawing import draw, on_wall

CARD = "064190000123||Trần Thị Mẫu|17051990|Nữ|Thôn Mẫu, Xã Thử, Gia Lai|10052021".encode()


def contents(codes: Any) -> list[bytes]:
    return [code.content for code in codes]


def shot(picture: Frame, noise: float = 2.0) -> Frame:
    rng = np.random.default_rng(1)
    return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def smeared(picture: Frame, length: int, angle: float) -> Frame:
    side = length + 4
    kernel = np.zeros((side, side), np.float32)
    middle = (side - 1) / 2
    for step in np.linspace(-0.5, 0.5, 8 * length):
        x, y = middle + step * length * np.cos(angle), middle + step * length * np.sin(angle)
        kernel[round(y), round(x)] += 1
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)


def bent(picture: Frame, by: float) -> Frame:
    """*picture* on a sheet that bulges: its middle is *by* pixels to the right and down."""
    height, width = picture.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    bulge = by * np.sin(np.pi * x / width) * np.sin(np.pi * y / height)
    moved = cv2.remap(
        picture, x - bulge, y - bulge, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def wall(picture: Frame) -> Frame:
    return on_wall((picture, 400, 150))


def defocused() -> Frame:
    return shot(np.asarray(cv2.GaussianBlur(wall(draw(CARD, 6)), (0, 0), 3.6), np.uint8))


def moving() -> Frame:
    return shot(smeared(wall(draw(CARD, 6)), 11, 0.4))


def bulging() -> Frame:
    return wall(bent(draw(CARD, 7), 9))


def washed_out() -> Frame:
    return shot(np.asarray(238 + wall(draw(CARD, 5)) * (17 / 255)), 1.5)


def bent_and_soft(scale: int) -> Frame:
    soft = cv2.GaussianBlur(wall(bent(draw(CARD, scale), 6)), (0, 0), 0.42 * scale)
    return shot(np.asarray(soft, np.uint8))


@pytest.mark.parametrize(
    ("frame", "look"),
    [
        (defocused(), sharpened),
        (moving(), unsmeared),
        (washed_out(), darkened),
        (bent_and_soft(5), softened),
        (bent_and_soft(4), crisp),
    ],
    ids=["defocused", "moving", "washed out", "bent and soft", "small, bent and soft"],
)
def test_a_harder_look_reads_what_the_plain_one_cannot(
    frame: Frame, look: Callable[[View], Any]
) -> None:
    assert contents(plain(View(frame)).codes) == []
    assert set(contents(look(View(frame)).codes)) == {CARD}


def test_a_bent_code_that_was_seen_is_read_by_a_grid_that_follows_it() -> None:
    view = View(bulging())
    seen = plain(view)
    view.note(seen.spots)

    assert contents(seen.codes) == []
    assert contents(regridded(view).codes) == [CARD]


def test_a_grid_is_laid_where_outlines_are_those_of_a_code() -> None:
    frame = wall(draw(CARD, 5))
    version = (draw(CARD, 1).shape[0] - 8 - 17) // 4

    [spot, *_] = find_spots(frame, most=1)

    assert spot.version == version
    assert np.abs(np.array(spot.points[0]) - [400 + 20, 150 + 20]).max() <= 3
    code = read_spot(frame, spot)
    assert code is not None
    assert code.content == CARD


@pytest.mark.parametrize("version", [1, 2, 7, 14, MAX_VERSION])
def test_codes_of_all_sizes_are_read_from_their_corners(version: int) -> None:
    content = b"x" * {1: 10, 2: 24, 7: 120, 14: 360, MAX_VERSION: 660}[version]
    picture = draw(content, scale=5)
    far = picture.shape[0] - 20
    assert picture.shape[0] == 5 * (17 + 4 * version + 8)

    code = read_spot(picture, Spot(((20, 20), (far, 20), (far, far), (20, far)), version))

    assert code is not None
    assert code.content == content


@pytest.mark.parametrize(
    "spot",
    [
        Spot(((0, 0), (0, 0), (0, 0), (0, 0)), 1),
        Spot(((0, 0), (9, 9), (18, 18), (27, 27)), 4),
        Spot(((-500, -500), (2000, -500), (2000, 2000), (-500, 2000)), 10),
        Spot(((0, 0), (100, 0), (100, 100), (0, 100)), 40),
    ],
)
def test_where_there_is_no_code_a_grid_reads_none(spot: Spot) -> None:
    rng = np.random.default_rng(1)

    assert read_spot(rng.integers(0, 256, (200, 300), np.uint8), spot) is None


def test_a_small_code_far_away_is_magnified() -> None:
    frame = wall(draw(CARD, 8))
    height, width = frame.shape
    frame = np.asarray(cv2.resize(frame, (width // 4, height // 4), interpolation=cv2.INTER_AREA))
    far = on_wall((frame, 700, 300))

    [code] = magnified(View(far)).codes

    assert code.content == CARD
    assert np.abs(np.array(code.points[0]) - [700 + 108, 300 + 45]).max() <= 4


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, -0.7])
@pytest.mark.parametrize("length", [7, 10, 14])
def test_a_smear_is_measured(length: int, angle: float) -> None:
    smear = smear_of(shot(smeared(draw(CARD, 6), length, angle)))

    assert smear is not None
    assert abs(smear.length - length) < 1.5
    assert abs(np.sin(smear.angle - angle)) < 0.1


def test_a_still_picture_has_no_smear_to_take_out() -> None:
    assert smear_of(shot(draw(CARD))) is None


@pytest.mark.parametrize("shape", [(21, 21), (22, 43), (60, 60), (64, 1200)])
@pytest.mark.parametrize("grey", ["black", "white", "noise", "stripes"])
def test_no_look_stumbles_over_a_frame_without_a_code(shape: tuple[int, int], grey: str) -> None:
    frame = np.full(shape, 255 if grey == "white" else 0, np.uint8)
    if grey == "noise":
        frame = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    if grey == "stripes":
        frame[:, ::4] = 255
    decoder = Decoder()
    for stage in STAGES:
        view, _ = decoder.view(frame)
        view.note((Spot(((0, 0), (20, 0), (20, 20), (0, 20)), 1),))

        assert stage.look(view).codes == ()


def test_a_spot_is_noted_once() -> None:
    spot = Spot(((10, 10), (50, 10), (50, 50), (10, 50)), 4)
    nearly = Spot(((11, 10), (50, 12), (50, 50), (10, 50)), 4)
    larger = Spot(spot.points, 5)
    view = View(np.zeros((60, 60), np.uint8))

    view.note((spot, nearly, larger))

    assert view.spots == [spot, larger]


def test_without_zbar_its_look_sees_nothing() -> None:
    look = next(stage.look for stage in STAGES if stage.name == "second reader")

    assert look(View(wall(draw(CARD)))).codes == ()


def test_every_stage_has_a_name_of_its_own() -> None:
    assert len({stage.name for stage in STAGES}) == len(STAGES)


def test_zbar_gives_codes_without_spots() -> None:
    decoder = Decoder()
    if decoder.zbar_missing:
        pytest.skip(f"{decoder.zbar_missing}: sudo apt install libzbar0")
    view, _ = decoder.view(wall(draw(CARD)))
    assert isinstance(view.zbar, Zbar)

    look = view.zbar.read(view.frame)

    assert [type(code) for code in look.codes] == [Code]
    assert look.spots == ()
