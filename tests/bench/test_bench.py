"""Claims about how readers are judged."""

from pathlib import Path

import cv2
import numpy as np

from tests.bench.instructions import KEEPING, a53_ms, counted, fitted, work
from tests.bench.pictures import Picture, Tally, judge
from tests.bench.plot import Dot, write_plot
from tests.bench.readers import LIVE, OURS, ZXING, Reading
from tests.bench.report import targets
from tests.bench.sequences import Watch, gains
from tests.bench.soak import GROWTH_MB, soak
from tests.bench.unit import ROOT, environment, profiled
from tests.drawing import draw

SQUARE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))
PICTURE = Picture(draw(b"A"), "easy 1", "qr", frozenset(["A", "B"]))


def reading(text: str) -> Reading:
    return Reading((text,), SQUARE)


def test_only_what_a_code_holds_is_right() -> None:
    verdict = judge(PICTURE, [reading("A"), reading("A"), reading("C")])

    assert (verdict.right, verdict.codes, verdict.wrong, verdict.false) == (2, 1, 1, 0)


def test_whatever_is_read_where_no_code_is_is_false() -> None:
    verdict = judge(Picture(PICTURE.frame, "none 1", "negative"), [reading("A")])

    assert (verdict.right, verdict.false) == (0, 1)


def test_the_rate_is_that_of_codes_not_of_frames() -> None:
    tally = Tally()
    tally.add(PICTURE, [reading("A")], 1.0)

    assert tally.rate() == 50


def test_a_reader_is_compared_with_the_best_on_the_same_sequence() -> None:
    mine = Watch(frames_to_read=[4, 5, None, 3])
    singles = [Watch(frames_to_read=[5, 9, 8, None]), Watch(frames_to_read=[7, 4, None, None])]

    assert gains(mine, singles) == [1, -1, -2, 7]


def test_instructions_are_read_from_either_counter() -> None:
    perf = "some warning\n123456789,,instructions:u,1000,100.00,,\n"
    valgrind = "==7== exp-bbv\n# Total instructions: 987654321\n"

    assert counted("perf", perf) == 123_456_789
    assert counted("valgrind", valgrind) == 987_654_321


def test_what_is_counted_on_a_pc_is_estimated_for_a_small_board_as_a_span() -> None:
    assert a53_ms(10e6) == (10.0, 30.0)


def test_scans_that_are_kept_can_be_counted() -> None:
    # What valgrind runs; nothing of it may fail there, where it takes minutes to see.
    work(KEEPING, 2, None)


def test_a_frame_is_as_wide_as_the_profile_says() -> None:
    given = profiled(ROOT / "config" / "zero-2w.toml")
    view = fitted(np.zeros((720, 1280), np.uint8), given.camera.width)

    assert view.shape == (given.camera.height, given.camera.width) == (540, 960)
    # What a profile does not name stays as it is.
    assert given.indicator == profiled(None).indicator


def test_a_unit_is_measured_in_the_environment_that_systemd_gives_it() -> None:
    assert environment()["PYTHONMALLOC"] == "malloc"


def test_targets_say_what_is_not_met() -> None:
    tallies = {OURS: Tally(), ZXING: Tally()}
    for name, texts in ((OURS, "AB"), (ZXING, "A")):
        for group in ("motion 4", "defocus 4"):
            picture = Picture(PICTURE.frame, group, "qr", PICTURE.exact)
            tallies[name].add(picture, [reading(text) for text in texts], 1.0)
    watches = {
        LIVE: Watch([4], ms_in_view=[5.0], ms_idle=[0.1]),
        ZXING: Watch([5], ms_in_view=[2.0], ms_idle=[1.0]),
    }

    lines = list(targets(tallies, tallies, watches))

    assert [line for line in lines if "NOT met" in line] == [
        "- NOT met: live, code in view: 2.50 times zxing-cpp's default (5.00 and 2.00 ms);"
        " at most 2"
    ]
    assert len(lines) == 8


def test_reading_neither_leaks_nor_stumbles_over_any_frame() -> None:
    told: list[str] = []

    assert soak(1000, 1, told.append) < GROWTH_MB
    assert len(told) == 10


def test_the_plot_has_a_panel_for_each_set_of_pictures(tmp_path: Path) -> None:
    dots = [Dot("ours", 95, 4, True), Dot("zxing-cpp", 91, 2, False)]

    write_plot(tmp_path / "read.png", [("one", dots), ("other", dots)])

    plot = cv2.imread(str(tmp_path / "read.png"))
    assert plot is not None
    assert plot.shape == (1120, 900, 3)
