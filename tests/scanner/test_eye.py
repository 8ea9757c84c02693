"""Claims about the self-test of the eye, on frames spoiled as lenses and lamps spoil them."""

import json
import re
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import CameraError, EndOfFrames
from edge.scanner.__main__ import main
from edge.scanner.decoder import Code, Decoder, Frame
from edge.scanner.documents import Refusal, classify
from edge.scanner.eye import CODE_S, FRAME_S, VISIT_S, Eye, Finding, is_blank
from edge.scanner.golden import GOLDEN, golden_picture, golden_svg, seen
from edge.scanner.self_test import best_focus, findings
from tests import scenes
from tests.drawing import draw, on_wall
from tests.fakes import FakeClock

CARD = "064190000123||Trần Thị Mẫu|17051990|Nữ|Thôn Mẫu, Xã Thử, Gia Lai|10052021".encode()


def noisy(frame: Any) -> Frame:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 2, frame.shape)
    return np.asarray(np.clip(frame + noise, 0, 255), np.uint8)


def in_camera(picture: Frame, left: int = 500, top: int = 200) -> Frame:
    """*picture* on a wall, in the greys of a good exposure."""
    return noisy(on_wall((picture, left, top)) * 0.65 + 25)


def blurred(frame: Frame, px: float) -> Frame:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), px), np.uint8)


def with_spot(frame: Frame) -> Frame:
    spotted = frame.astype(np.float32)
    veil = np.zeros_like(spotted)
    cv2.circle(veil, (625, 330), 36, 1.0, -1)
    veil = cv2.GaussianBlur(veil, (0, 0), 6) * 0.9
    return noisy(spotted * (1 - veil) + 150 * veil)


GOOD = in_camera(golden_picture(8))


def code_in(frame: Frame) -> Code:
    [code] = Decoder(zbar=False).read(frame)
    return code


class Camera:
    """Gives *frames*, at 10 a second."""

    def __init__(self, frames: Any, clock: FakeClock) -> None:
        self._frames = iter(frames)
        self._clock = clock

    def capture(self) -> Frame:
        self._clock.advance(0.1)
        try:
            frame: Frame = next(self._frames)
        except StopIteration:
            raise EndOfFrames("the end") from None
        return frame

    def close(self) -> None: ...


def found(frame: Frame) -> list[Finding]:
    clock = FakeClock()
    return findings(Camera(repeat(frame), clock), clock, 10.0)[0]


def test_the_golden_code_is_drawn_reads_and_is_never_a_scan() -> None:
    assert code_in(GOOD).content == GOLDEN
    assert isinstance(classify(GOLDEN), Refusal)


def test_the_golden_code_prints_in_its_true_size() -> None:
    svg = golden_svg()

    assert 'width="29mm"' in svg
    picture = golden_picture(1)
    for x, y in re.findall(r"M([\d.]+) ([\d.]+)h1v1", svg):
        assert picture[int(float(y)), int(float(x))] == 0
    assert svg.count("h1v1") == np.count_nonzero(picture == 0)


def test_a_good_eye_has_nothing_wrong() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (lambda frame: blurred(frame, 3.6), Finding.BLURRED),
        (lambda frame: noisy(frame * 0.3 + 125), Finding.VEILED),
        (lambda frame: noisy(frame * 0.3), Finding.DARK),
        (lambda frame: noisy(frame * 1.5 + 40), Finding.BRIGHT),
        (with_spot, Finding.SPOT),
    ],
    ids=["blurred", "veiled", "dark", "bright", "spot"],
)
def test_what_spoils_the_golden_code_is_named(
    spoil: Callable[[Frame], Frame], finding: Finding
) -> None:
    assert found(spoil(GOOD))[0] is finding


def test_a_golden_code_that_is_far_or_off_the_middle_is_said_to_be() -> None:
    assert found(in_camera(golden_picture(3))) == [Finding.FAR]
    assert found(in_camera(golden_picture(6), 1080, 10)) == [Finding.OFF]


@pytest.mark.parametrize(
    ("frame", "finding"),
    [
        (noisy(np.full((720, 1280), 60.0)), Finding.COVERED),
        (noisy(np.full((720, 1280), 4.0)), Finding.COVERED),
        (noisy(scenes.empty(1).frame * 0.1), Finding.DARK),
        (noisy(scenes.empty(1).frame * 0.2 + 205), Finding.BRIGHT),
    ],
    ids=["a hand", "no light", "dusk", "sun"],
)
def test_without_a_golden_code_the_frame_tells(frame: Frame, finding: Finding) -> None:
    assert found(frame) == [finding]


@pytest.mark.parametrize("seed", range(6))
def test_an_ordinary_scene_is_not_blank(seed: int) -> None:
    assert not is_blank(scenes.empty(seed).frame)
    assert not is_blank(blurred(scenes.empty(seed).frame, 8))


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (7, 700), (8, 8), (9, 30)])
def test_tiny_frames_are_blank(shape: tuple[int, int]) -> None:
    assert is_blank(np.zeros(shape, np.uint8))


def test_sharpness_falls_with_blur() -> None:
    frames = [blurred(in_camera(draw(CARD, 8)), 0.6 + 0.7 * step) for step in range(5)]
    codes = [code_in(frame) for frame in frames]
    looks = [seen(frame, code) for frame, code in zip(frames, codes, strict=True)]
    measured = [it.sharpness for it in looks if it]

    assert len(measured) == 5
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 0.9
    assert measured[-1] < 0.75


@pytest.mark.parametrize(
    "code",
    [
        Code(b"", ((0, 0), (0, 0), (0, 0), (0, 0)), "fake", 4),
        Code(b"", ((0, 0), (9, 9), (18, 18), (27, 27)), "fake", 4),
        Code(b"", ((-500, -500), (2000, -500), (2000, 2000), (-500, 2000)), "fake", 0),
        Code(b"", ((0, 0), (300, 0), (300, 300), (0, 300)), "fake", 1),
    ],
)
def test_what_cannot_be_measured_is_not(code: Code) -> None:
    assert seen(np.full((720, 1280), 90, np.uint8), code) is None


def watched(frame: Frame, codes: list[Code], seconds: float, eye: Eye | None = None) -> Eye:
    eye = eye or Eye()
    for step in range(int(seconds * 10)):
        eye.look(frame, codes, 100 + step / 10)
    return eye


def test_an_eye_at_work_is_judged_by_the_codes_that_it_reads() -> None:
    sharp, soft = in_camera(draw(CARD, 8)), blurred(in_camera(draw(CARD, 8)), 4)
    good = watched(sharp, [code_in(sharp)], 6 * VISIT_S)
    poor = watched(soft, [code_in(soft)], 6 * VISIT_S)

    assert good.state.verdict == "good"
    assert poor.state.verdict == "blurred"
    assert (good.state.sharpness or 0) > 0.8 > (poor.state.sharpness or 1)
    assert 90 < (good.state.brightness or 0) < 160


def test_a_few_codes_are_too_few_to_call_a_lens_dirty() -> None:
    soft = blurred(in_camera(draw(CARD, 8)), 4)
    eye = watched(soft, [code_in(soft)], 3 * VISIT_S)

    assert eye.state.sharpness is None
    assert eye.state.verdict == "good"


def test_a_code_that_came_smeared_and_was_then_held_still_is_no_dirty_lens() -> None:
    still = in_camera(draw(CARD, 8))
    moving = noisy(cv2.blur(still, (13, 1)))
    eye = Eye()
    for step in range(400):
        frame = still if step % 50 > 30 else moving
        eye.look(frame, [code_in(still)], 100 + step / 10)

    assert (eye.state.sharpness or 0) > 0.8


def test_a_hand_that_moves_smears_one_way_alone() -> None:
    still = in_camera(draw(CARD, 8))
    it = seen(noisy(cv2.blur(still, (13, 1))), code_in(still))

    assert it is not None
    assert it.sharpest > 0.6 > 2 * it.sharpness


def test_a_covered_lens_is_told_once_and_only_after_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hand = noisy(np.full((720, 1280), 60.0))
    eye = watched(hand, [], FRAME_S * 1.5)
    assert eye.state.verdict == "good"

    for step in range(600):
        eye.look(hand, [], 200 + step / 10)

    assert eye.state.verdict == "covered"
    assert caplog.text.count("the lens is covered") == 1
    assert "ống kính bị che" in caplog.text


def test_a_golden_code_that_hangs_in_a_corner_is_not_called_off() -> None:
    frame = in_camera(golden_picture(6), 1080, 10)
    eye = watched(frame, [code_in(frame)], 10)

    assert eye.state.verdict == "good"
    assert eye.state.sharpness is None


def test_a_golden_code_that_was_shown_once_does_not_judge_the_eye_for_ever() -> None:
    smeared = noisy(cv2.blur(GOOD, (13, 1)))
    eye = watched(smeared, [code_in(GOOD)], 10)
    assert eye.state.verdict == "blurred"

    scene = noisy(in_camera(draw(CARD, 6)))
    for minute in range(70):
        eye.look(scene, [], 1000 + 60.0 * minute)

    assert eye.state.verdict == "good"


def test_an_eye_looks_seldom() -> None:
    eye = Eye()
    code = code_in(GOOD)
    looks = [eye.look(GOOD, [code], 100 + step / 10) for step in range(300)]

    assert sum(looks) == 30 / CODE_S


class Lens(Camera):
    """A lens that is sharp at 6.3 dioptres."""

    def __init__(self, picture: Frame) -> None:
        super().__init__(chain(), FakeClock())
        self._picture = picture
        self.at = 0.0

    def lens_range(self) -> tuple[float, float] | None:
        return 0.0, 15.0

    def focus(self, dioptres: float) -> None:
        self.at = dioptres

    def capture(self) -> Frame:
        return blurred(self._picture, 0.4 + 3 * abs(self.at - 6.3))


@pytest.mark.parametrize("picture", [GOOD, in_camera(draw(CARD, 6))], ids=["golden", "other"])
def test_the_best_focus_is_found(picture: Frame) -> None:
    tried: list[str] = []

    assert abs(best_focus(Lens(picture), tried.append) - 6.3) <= 0.21
    assert len(tried) > 20


def test_a_lens_that_does_not_move_is_said_to_be() -> None:
    with pytest.raises(CameraError, match="does not move"):
        best_focus(Camera([GOOD], FakeClock()), print)


def settings(folder: Path, frame: Frame) -> Path:
    cv2.imwrite(str(folder / "frame.png"), frame)
    (folder / "scanner.toml").write_text(
        f"""
[unit]
id = "cong-1"
area = "pleiku"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[broker]
[camera]
source = "{folder / "frame.png"}"
"""
    )
    return folder / "scanner.toml"


def test_the_command_says_what_is_wrong_in_both_languages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, poor = (tmp_path / name for name in ("good", "poor"))
    good.mkdir()
    poor.mkdir()

    assert main(["--config", str(settings(good, GOOD)), "eye"]) == 0
    assert "✓ mã chuẩn / golden code: 9" in capsys.readouterr().out

    assert main(["--config", str(settings(poor, blurred(GOOD, 3.6))), "eye"]) == 1
    out = capsys.readouterr().out
    assert "hình không nét" in out
    assert "not sharp: clean the lens" in out

    assert main(["--config", str(settings(poor, blurred(GOOD, 3.6))), "eye", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"] == ["blurred"]


@pytest.mark.parametrize("name", ["golden.svg", "golden.PNG"])
def test_the_command_draws_the_golden_code(tmp_path: Path, name: str) -> None:
    assert main(["eye", "--golden", str(tmp_path / name)]) == 0

    assert (tmp_path / name).stat().st_size > 500


@pytest.mark.parametrize("name", ["golden.jpg", "nowhere/golden.svg"])
def test_where_the_golden_code_cannot_be_drawn_is_an_error(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eye", "--golden", str(tmp_path / name)]) == 1

    assert name in capsys.readouterr().err
