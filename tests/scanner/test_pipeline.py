"""Claims about reading video: what is looked at, how much, and what is said of it."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from edge.scanner.decoder import Frame
from edge.scanner.golden import golden_picture
from edge.scanner.pipeline import IDLE_FRAMES, SETTLE_FRAMES, Pipeline, Unread, Zone
from edge.scanner.readers import Look
from edge.scanner.stages import STAGES, Stage, View
from tests.drawing import draw, on_wall

CARD = "064190000123||Trần Thị Mẫu|17051990|Nữ|Thôn Mẫu, Xã Thử, Gia Lai|10052021".encode()
OTHER = b"064190000124||NGUOI THU HAI|17051990|Nam|Gia Lai|10052021"

EMPTY = on_wall()


def noisy(frame: Frame, seed: int, noise: float = 2.0) -> Frame:
    rng = np.random.default_rng(seed)
    return np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)


def at(left: int, content: bytes = CARD, scale: int = 5) -> Frame:
    return on_wall((draw(content, scale), left, 150))


def contents(codes: Any) -> list[bytes]:
    return sorted(code.content for code in codes)


class Looks(list[str]):
    """The names of the stages that were run, each at a cost of 1 ms."""

    def timed(self, stage: Stage, view: View) -> tuple[Look, float]:
        self.append(stage.name)
        return stage.look(view), 1.0


@pytest.fixture
def looks() -> Looks:
    return Looks()


def still(frame: Frame, count: int) -> Iterator[Frame]:
    return (noisy(frame, seed) for seed in range(count))


def moving(count: int) -> Iterator[Frame]:
    """Frames without a code, each unlike the one before."""
    rng = np.random.default_rng(1)
    scenes = [np.kron(rng.integers(0, 256, (9, 16)), np.ones((80, 80))) for _ in range(4)]
    return (scenes[turn % 4].astype(np.uint8) for turn in range(count))


def test_a_code_is_read_in_the_frame_in_which_it_appears() -> None:
    live = Pipeline()
    for frame in still(EMPTY, 40):
        assert live.read(frame) == []

    assert contents(live.read(noisy(at(400), 41))) == [CARD]


def test_a_code_that_stays_is_given_for_each_frame_and_read_once(looks: Looks) -> None:
    live = Pipeline(timed=looks.timed)

    given = [contents(live.read(frame)) for frame in still(at(400), IDLE_FRAMES)]

    assert given == [[CARD]] * IDLE_FRAMES
    assert looks == ["plain"]


def test_a_code_that_goes_is_not_given_again() -> None:
    live = Pipeline()
    live.read(noisy(at(400), 1))

    assert live.read(noisy(EMPTY, 2)) == []


def test_a_code_in_the_place_of_another_is_read_at_once() -> None:
    live = Pipeline()
    same_size = CARD.replace(b"123", b"124")

    assert contents(live.read(noisy(at(400), 1))) == [CARD]
    assert contents(live.read(noisy(at(400, same_size), 2))) == [same_size]


def test_a_code_moved_by_a_little_is_followed() -> None:
    live = Pipeline()

    for step in range(20):
        [code] = live.read(noisy(at(300 + 6 * step), step))

        assert abs(code.points[0][0] - (300 + 6 * step + 20)) <= 8


def test_an_idle_scene_is_looked_at_now_and_then(looks: Looks) -> None:
    live = Pipeline(timed=looks.timed)
    for frame in still(EMPTY, 40):
        live.read(frame)
    looks.clear()

    for frame in still(EMPTY, 10 * IDLE_FRAMES):
        live.read(frame)

    assert looks.count("plain") >= 5
    assert len(looks) <= 11


def test_a_code_that_came_unnoticed_is_read_in_the_end() -> None:
    live = Pipeline(changed=lambda _frame: False)
    for frame in still(EMPTY, 40):
        live.read(frame)

    seen = [live.read(frame) for frame in still(at(400), 3 * IDLE_FRAMES)]

    assert contents(seen[-1]) == [CARD]


def test_a_code_that_went_unnoticed_is_gone_in_the_end() -> None:
    news = iter([True])
    live = Pipeline(changed=lambda _frame: next(news, False))
    live.read(noisy(at(400), 1))

    seen = [live.read(frame) for frame in still(EMPTY, 2 * IDLE_FRAMES)]

    assert seen[-1] == []


def test_harder_looks_cost_less_than_the_plain_one_in_the_mean(looks: Looks) -> None:
    live = Pipeline(timed=looks.timed)

    for frame in moving(200):
        live.read(frame)

    assert looks.count("plain") == looks.count("histogram") == 200
    assert 100 < len(looks) - 400 < 200


def test_all_harder_looks_get_their_turn(looks: Looks) -> None:
    live = Pipeline(timed=looks.timed)

    for frame in moving(60):
        live.read(frame)

    assert {stage.name for stage in STAGES} - set(looks) <= {"regridded"}


def test_a_small_budget_leaves_the_two_cheapest_looks_alone(looks: Looks) -> None:
    live = Pipeline(budget_ms=0.5, timed=looks.timed)

    for frame in moving(30):
        live.read(frame)

    assert set(looks) == {"plain", "histogram"}


def test_a_blurred_code_held_still_is_read() -> None:
    live = Pipeline()
    blurred = np.asarray(cv2.GaussianBlur(at(400, scale=6), (0, 0), 3.6), np.uint8)

    given = [live.read(frame) for frame in still(blurred, 3)]

    assert contents(given[-1]) == [CARD]


def test_all_codes_in_view_are_given_each_once() -> None:
    frame = on_wall((draw(CARD, 5), 100, 150), (draw(OTHER, 4), 700, 150))

    assert contents(Pipeline().read(frame)) == sorted([CARD, OTHER])


def test_the_nearest_of_several_is_the_largest() -> None:
    frame = on_wall((draw(CARD, 4), 100, 150), (draw(OTHER, 7), 700, 150))

    assert contents(Pipeline(which="nearest").read(frame)) == [OTHER]


@pytest.mark.parametrize(("left", "given"), [(640, [CARD]), (500, []), (100, [])])
def test_only_codes_wholly_within_the_zone_are_given(left: int, given: list[bytes]) -> None:
    live = Pipeline(zone=Zone(left=0.5, top=0.1))

    codes = live.read(at(left))

    assert contents(codes) == given
    for code in codes:
        assert abs(code.points[0][0] - (left + 20)) <= 4
        assert abs(code.points[0][1] - (150 + 20)) <= 4


def test_a_code_that_is_seen_but_not_read_is_spotted() -> None:
    spoiled = draw(CARD, 6)
    side = spoiled.shape[0]
    rng = np.random.default_rng(1)
    spoiled[90 : side - 80, 90 : side - 80] = np.kron(
        rng.integers(0, 2, (side // 6, side // 6)) * 255, np.ones((6, 6))
    )[: side - 170, : side - 170]
    live = Pipeline()

    codes = live.read(on_wall((spoiled, 400, 150)))

    assert codes == []
    assert live.spotted


def test_what_is_read_is_not_spotted() -> None:
    live = Pipeline()
    live.read(at(400))

    assert not live.spotted


def test_frames_without_a_code_are_not_spotted() -> None:
    live = Pipeline()
    for frame in (EMPTY, noisy(EMPTY, 1, 40), np.zeros((720, 1280), np.uint8)):
        live.read(frame)

        assert not live.spotted


def test_an_unread_code_is_told_of_once_after_a_second() -> None:
    unread = Unread()

    told = [unread.look(spotted=True, is_read=False, now=100 + 0.25 * step) for step in range(12)]

    assert [step for step, said in enumerate(told) if said] == [4]


def test_a_code_that_is_read_in_time_is_not_told_of() -> None:
    unread = Unread()

    told = [unread.look(True, step % 3 == 2, 100 + 0.3 * step) for step in range(20)]

    assert not any(told)


def test_an_unread_code_that_comes_again_is_told_of_again() -> None:
    unread = Unread()
    first = [unread.look(True, False, 100 + 0.25 * step) for step in range(8)]
    unread.look(False, False, 105)

    second = [unread.look(True, False, 110 + 0.25 * step) for step in range(8)]

    assert sum(first) == sum(second) == 1


def test_frames_between_in_which_it_was_not_seen_do_not_matter() -> None:
    unread = Unread()

    told = [unread.look(step % 3 == 0, False, 100 + 0.1 * step) for step in range(30)]

    assert sum(told) == 1


def test_a_golden_code_that_hangs_in_view_is_no_code_that_is_read(looks: Looks) -> None:
    live = Pipeline(timed=looks.timed)
    wall = on_wall((golden_picture(6), 900, 300))
    given = [live.read(frame) for frame in still(wall, 3 * IDLE_FRAMES)]

    assert not any(given)
    assert not live.spotted
    assert len(looks) < 20


def test_a_golden_code_does_not_keep_a_blurred_one_from_harder_looks() -> None:
    live = Pipeline()
    soft = np.asarray(cv2.GaussianBlur(at(100, scale=6), (0, 0), 3.6), np.uint8)
    golden = golden_picture(6)
    soft[300 : 300 + golden.shape[0], 900 : 900 + golden.shape[1]] = golden

    given = [live.read(frame) for frame in still(soft, 3)]

    assert contents(given[-1]) == [CARD]


def test_the_golden_code_is_told_where_it_is_in_the_frame() -> None:
    live = Pipeline(zone=Zone(left=0.25, top=0.25))
    live.read(on_wall((golden_picture(6), 900, 300)))

    assert live.golden is not None
    assert np.abs(np.array(live.golden.points[0]) - [924, 324]).max() <= 2


@pytest.mark.parametrize(
    "frame",
    [np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint16), [[0, 0]], None],
    ids=["colour", "16 bit", "list", "none"],
)
def test_what_is_not_a_frame_is_a_value_error(frame: Any) -> None:
    with pytest.raises(ValueError, match="a frame is"):
        Pipeline().read(frame)


@pytest.mark.parametrize(
    "shape", [(0, 0), (0, 640), (1, 1), (20, 640), (21, 21), (22, 30), (10_000, 10_000)]
)
def test_a_frame_of_an_odd_size_has_no_codes(shape: tuple[int, int]) -> None:
    live = Pipeline()

    assert [live.read(np.full(shape, 90, np.uint8)) for _ in range(SETTLE_FRAMES)] == (
        [[]] * SETTLE_FRAMES
    )


def test_frames_may_change_their_size() -> None:
    live = Pipeline()
    small = np.ascontiguousarray(at(400)[100:500, 350:800])

    assert contents(live.read(at(400))) == [CARD]
    assert live.read(np.zeros((5, 5), np.uint8)) == []
    assert contents(live.read(small)) == [CARD]


def test_without_zbar_it_says_why_and_reads_on() -> None:
    def missing() -> Any:
        raise ImportError("Unable to find zbar shared library")

    live = Pipeline(load_zbar=missing)

    assert "Unable to find zbar" in str(live.zbar_missing)
    assert contents(live.read(at(400))) == [CARD]


def test_reading_measures_its_processor_time() -> None:
    live = Pipeline()
    live.read(at(400))

    assert live.last_ms > 0
    live.close()
    live.close()
