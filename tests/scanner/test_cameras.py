"""One suite for every kind of camera: pictures in a folder, picamera2's virtual one, a real Pi.

The virtual one runs within a Debian 13 tree, where test_virtual_camera.py starts this file; the
real one on a Raspberry Pi with a camera. CAPTURES and CYCLES in the environment say how long.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.clock import SystemClock
from edge.scanner.camera import Camera, open_camera
from edge.scanner.decoder import Decoder, Frame
from edge.unit_settings import CameraSettings
from tests import virtual_camera
from tests.drawing import draw
from tests.virtual_camera import WITHIN_TREE, Releases

CARD = "064300000001|987600001|Phạm Thị Bịa Đặt|17051990|Nữ|Làng Tưởng Tượng, Ia Bịa|10082021"
CAPTURES = int(os.environ.get("CAPTURES", "300"))
CYCLES = int(os.environ.get("CYCLES", "10"))
#: What may come and go without being a leak, in bytes and in open files.
SLACK_BYTES, SLACK_FILES = 24_000_000, 3

Open = Callable[[], Camera]


def on_a_pi() -> bool:
    model = Path("/proc/device-tree/model")
    return model.exists() and b"Raspberry Pi" in model.read_bytes()


def card() -> Frame:
    """A gate's view of somebody who holds up a card."""
    picture = np.full((720, 1280), 150, np.uint8)
    code = draw(CARD.encode(), scale=5)
    picture[100 : 100 + code.shape[0], 400 : 400 + code.shape[1]] = code
    return picture


@pytest.fixture(scope="module")
def releases() -> Releases:
    """The count of picamera2's requests, where it is the real picamera2 that we can count in."""
    return virtual_camera.install() if WITHIN_TREE in os.environ else Releases()


@pytest.fixture(params=["folder", "virtual", "pi"])
def opener(request: pytest.FixtureRequest, tmp_path: Path, releases: Releases) -> Iterator[Open]:
    """Opens the camera of this kind, which sees the card."""
    source = "pi"
    if request.param == "folder":
        if WITHIN_TREE in os.environ:
            pytest.skip("runs outside of the tree")
        cv2.imwrite(str(tmp_path / "card.png"), card())
        source = str(tmp_path)
    elif request.param == "virtual":
        if WITHIN_TREE not in os.environ:
            pytest.skip("runs within a Debian 13 tree: see test_virtual_camera.py")
        virtual_camera.show(tmp_path / "frames", [card()])
    elif not on_a_pi():
        pytest.skip("run this on a Raspberry Pi with a camera that sees a code")
    settings = CameraSettings(source=source, repeat=True, frame_rate=30.0)
    yield lambda: open_camera(settings, SystemClock(), wait=lambda _: None)
    gc.collect()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_code_in_view_is_read_exactly(opener: Open) -> None:
    with closing(opener()) as camera, closing(Decoder(zbar=False)) as decoder:
        codes = decoder.read(camera.capture())

    assert [code.content for code in codes] == [CARD.encode()]


def test_a_frame_is_grey_and_of_the_size_that_was_asked_for(opener: Open) -> None:
    with closing(opener()) as camera:
        frame = camera.capture()
        assert (str(frame.dtype), frame.shape) == ("uint8", (720, 1280))
        del frame


def test_a_frame_holds_until_the_next(opener: Open) -> None:
    with closing(opener()) as camera:
        frame = camera.capture()
        before = frame.copy()
        assert np.array_equal(frame, before)
        del frame


def test_captures_leave_nothing_behind(opener: Open, releases: Releases) -> None:
    with closing(opener()) as camera:
        for _ in range(50):
            camera.capture()
        memory, files = resident_bytes(), open_files()
        for _ in range(CAPTURES):
            assert camera.capture()[360, 0] != 0
        grown = resident_bytes() - memory
        assert open_files() <= files + SLACK_FILES
        assert grown < SLACK_BYTES, f"{grown} bytes more after {CAPTURES} captures"

    gc.collect()
    assert (releases.dropped, releases.made) == (0, releases.done)
    print(f"\n{CAPTURES} captures: {releases.made} requests, all released; {grown} bytes grown")


def test_opening_and_closing_leaves_nothing_behind(opener: Open, releases: Releases) -> None:
    memory = files = 0
    for cycle in range(CYCLES):
        camera = opener()
        assert camera.capture()[360, 0] != 0
        camera.close()
        camera.close()
        del camera
        gc.collect()
        if cycle == CYCLES // 4:
            memory, files = resident_bytes(), open_files()

    grown = resident_bytes() - memory
    assert open_files() <= files + SLACK_FILES
    assert grown < SLACK_BYTES, f"{grown} bytes more after {CYCLES} cycles"
    assert (releases.dropped, releases.made) == (0, releases.done)
    print(f"\n{CYCLES} cycles: {releases.made} requests, all released; {grown} bytes grown")
