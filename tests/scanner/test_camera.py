import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import CameraError, ConfigError, EndOfFrames
from edge.scanner.camera import Camera, Pace, open_camera, webcam_device
from edge.scanner.decoder import Frame
from edge.scanner.pictures import ImageFolder
from edge.scanner.sample import SampleGate
from edge.scanner.webcam import Webcam, open_v4l2
from edge.unit_settings import CameraSettings
from tests.fakes import LIMIT_S, FakeClock, eventually


def open_(source: object, **changes: Any) -> Camera:
    clock = FakeClock()
    return open_camera(CameraSettings(source=str(source), **changes), clock, clock.advance)


def image(path: Path, grey: int = 128, width: int = 80, height: int = 60) -> Path:
    path.write_bytes(png(np.full((height, width), grey, np.uint8)))
    return path


def png(picture: Any) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def film(path: Path, greys: list[int]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (80, 60))
    for grey in greys:
        writer.write(np.full((60, 80, 3), grey, np.uint8))
    writer.release()
    return path


def all_greys(camera: Camera) -> list[int]:
    """The middle of each frame to the end, rounded to tens."""
    greys: list[int] = []
    while True:
        try:
            frame = camera.capture()
        except EndOfFrames:
            return greys
        greys.append(round(int(frame[frame.shape[0] // 2, frame.shape[1] // 2]), -1))


# A folder of images


def test_the_images_of_a_folder_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, grey in (("b.png", 20), ("c.jpg", 30), ("a.png", 10)):
        suffix = Path(name).suffix
        picture = np.full((60, 80), grey, np.uint8)
        (tmp_path / name).write_bytes(cv2.imencode(suffix, picture)[1].tobytes())

    assert all_greys(open_(tmp_path)) == [10, 20, 30]


def test_a_folder_starts_again_if_it_is_to_repeat(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 10)
    image(tmp_path / "b.png", 20)
    camera = open_(tmp_path, repeat=True)

    assert [int(camera.capture()[0, 0]) for _ in range(5)] == [10, 20, 10, 20, 10]


def test_files_that_are_no_whole_images_are_skipped_with_one_warning_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image(tmp_path / "good.png", 50)
    noise = np.random.default_rng(1).integers(0, 255, (60, 80), np.uint8)
    (tmp_path / "cut.png").write_bytes(png(noise)[:-2000])
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    camera = open_(tmp_path, repeat=True)

    assert [int(camera.capture()[0, 0]) for _ in range(4)] == [50] * 4
    warned = [record.getMessage() for record in caplog.records if "skipped:" in record.message]
    assert len(warned) == 5
    assert "5 of 6 files skipped" in caplog.text


def test_a_folder_counts_what_it_skipped(tmp_path: Path) -> None:
    image(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    folder = ImageFolder(tmp_path, CameraSettings())

    for _ in range(2):
        list(folder.play())

    assert folder.skipped == 1


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="is empty; put images into it"):
        open_(tmp_path)


def test_a_folder_without_any_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")

    with pytest.raises(CameraError, match="none of its 2 files is an image"):
        open_(tmp_path, repeat=True)


def test_a_folder_that_vanishes_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abc":
        image(folder / f"{name}.png")
    camera = open_(folder)
    camera.capture()
    shutil.rmtree(folder)

    with pytest.raises(CameraError, match="is gone"):
        camera.capture()


def test_a_hostile_file_name_stays_on_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image(tmp_path / "a.png")
    Path(os.fsdecode(bytes(tmp_path) + b"/z\xff\n\x1b[31mred.png")).write_bytes(b"nothing")
    all_greys(open_(tmp_path))

    for record in caplog.records:
        assert record.getMessage().isprintable()
    assert "skipped" in caplog.text


# One image


def test_an_image_is_shown_for_two_seconds(tmp_path: Path) -> None:
    camera = open_(image(tmp_path / "a.png", 70), frame_rate=15.0)

    assert all_greys(camera) == [70] * 30


def test_an_image_stays_if_it_is_to_repeat(tmp_path: Path) -> None:
    camera = open_(image(tmp_path / "a.png", 70), frame_rate=1.0, repeat=True)

    for _ in range(20):
        assert camera.capture()[0, 0] == 70


def test_a_large_image_is_shrunk_to_fit(tmp_path: Path) -> None:
    path = image(tmp_path / "a.png", width=1000, height=300)

    assert open_(path, width=640, height=480).capture().shape == (192, 640)


def test_a_small_image_is_never_enlarged(tmp_path: Path) -> None:
    assert open_(image(tmp_path / "a.png", width=80, height=60)).capture().shape == (60, 80)


@pytest.mark.parametrize(
    ("picture", "grey"),
    [
        (np.full((9, 9, 3), (255, 0, 0), np.uint8), 29),
        (np.full((9, 9), 0x8042, np.uint16), 0x80),
        (np.full((9, 9, 3), 0x8042, np.uint16), 0x80),
        (np.full((9, 9, 4), (10, 10, 10, 255), np.uint8), 10),
        (np.full((9, 9, 4), (0, 0, 0, 0), np.uint8), 255),
    ],
    ids=["colour", "16 bit", "16 bit colour", "opaque", "transparent"],
)
def test_every_kind_of_image_becomes_grey(tmp_path: Path, picture: Any, grey: int) -> None:
    (tmp_path / "a.png").write_bytes(png(picture))
    frame = open_(tmp_path / "a.png").capture()

    assert frame.dtype == np.uint8
    assert frame.shape == (9, 9)
    assert frame[4, 4] == grey


# A video


def test_every_frame_of_a_video_comes_once(tmp_path: Path) -> None:
    assert all_greys(open_(film(tmp_path / "a.avi", [10, 50, 90, 130]))) == [10, 50, 90, 130]


def test_a_video_starts_again_if_it_is_to_repeat(tmp_path: Path) -> None:
    camera = open_(film(tmp_path / "a.avi", [10, 50]), repeat=True)

    assert [round(int(camera.capture()[0, 0]), -1) for _ in range(5)] == [10, 50, 10, 50, 10]


def test_the_end_stays_the_end(tmp_path: Path) -> None:
    camera = open_(film(tmp_path / "a.avi", [10]))
    all_greys(camera)

    with pytest.raises(EndOfFrames, match=r"set camera\.repeat"):
        camera.capture()


def test_a_video_that_was_cut_short_plays_to_the_cut_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = film(tmp_path / "a.avi", list(range(0, 200, 10)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    greys = all_greys(open_(path))

    assert 0 < len(greys) < 20
    assert f"ended after {len(greys)} of 20 frames" in caplog.text


@pytest.mark.parametrize("name", ["a.avi", "a.txt", "a.png", "a"])
def test_a_file_that_is_neither_image_nor_video_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("neither\n" * 1000)

    with pytest.raises(CameraError, match="neither an image nor a video"):
        open_(tmp_path / name)


def test_a_video_with_a_ruined_inside_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", [10, 20, 30])
    ruined = bytearray(path.read_bytes())
    ruined[220:] = bytes(len(ruined) - 220)
    path.write_bytes(ruined)

    with pytest.raises(CameraError, match="damaged"):
        open_(path)


@pytest.mark.parametrize("name", [b"gate%03d.avi", b"z\xff\n\x1b.avi", b"concat:a|b.avi"])
def test_a_video_of_any_name_plays(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    film(tmp_path / "plain.avi", [40]).rename(path)

    assert all_greys(open_(path)) == [40]


def test_closing_twice_is_harmless_and_the_end(tmp_path: Path) -> None:
    camera = open_(film(tmp_path / "a.avi", [10, 20, 30]))
    camera.capture()
    camera.close()
    camera.close()

    with pytest.raises(EndOfFrames):
        camera.capture()


# Paths that are nothing of all this


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no file or folder '.*gone'; check camera\.source"):
        open_(tmp_path / "gone")


@pytest.mark.parametrize("source", ["a\0b", "x" * 300, "no\nsuch\x1b[31m"])
def test_an_impossible_path_is_one_line(source: str) -> None:
    with pytest.raises(CameraError) as caught:
        open_(source)

    assert str(caught.value).isprintable()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(CameraError, match="neither a file nor a folder"):
        open_(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; run as another user")
@pytest.mark.parametrize("name", ["a.png", "a.avi", ""])
def test_a_path_that_may_not_be_read_says_so(tmp_path: Path, name: str) -> None:
    image(tmp_path / "a.png")
    film(tmp_path / "a.avi", [10])
    (tmp_path / name).chmod(0)
    try:
        with pytest.raises(CameraError, match="may not be read by this user"):
            open_(tmp_path / name)
    finally:
        (tmp_path / name).chmod(0o700)


# Pace


def test_frames_come_at_the_frame_rate(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = CameraSettings(source=str(image(tmp_path / "a.png")), frame_rate=10.0, repeat=True)
    camera = open_camera(settings, clock, clock.advance)
    began = clock.monotonic()
    for _ in range(21):
        camera.capture()

    assert clock.monotonic() - began == pytest.approx(2.0)


def test_a_reader_that_needs_time_of_its_own_is_given_the_rest() -> None:
    clock = FakeClock()
    pace = Pace(CameraSettings(frame_rate=10.0), clock, clock.advance)
    for _ in range(11):
        pace.keep()
        due = clock.monotonic()
        clock.advance(0.07)

    assert due == pytest.approx(1001.0)


def test_a_reader_that_was_late_gets_no_burst() -> None:
    clock = FakeClock()
    waited: list[float] = []
    pace = Pace(CameraSettings(frame_rate=10.0), clock, waited.append)
    pace.keep()
    clock.advance(5.0)
    for _ in range(10):
        pace.keep()

    assert len(waited) >= 8


def test_nobody_waits_longer_than_the_limit() -> None:
    clock = FakeClock()
    waited: list[float] = []
    pace = Pace(CameraSettings(frame_rate=1.0, wait_s=2.0), clock, waited.append)
    for _ in range(9):  # the clock stands still, as after a mistake of the system
        pace.keep()

    assert max(waited) == 2.0


def test_a_frame_rate_that_outlasts_the_wait_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 s apart, longer than wait_s 1; raise"):
        open_("sample", frame_rate=0.5, wait_s=1.0)


# A webcam


class FakeDevice:
    """A webcam whose pictures the test hands over; it hangs while there is none."""

    def __init__(self) -> None:
        self.coming: queue.Queue[Any] = queue.Queue()
        self.asked = 0
        self.released = threading.Event()
        self._picture: Any = None

    def show(self, grey: int) -> None:
        self.coming.put(np.full((60, 80, 3), grey, np.uint8))

    def grab(self) -> bool:
        self.asked += 1
        self._picture = self.coming.get()
        return self._picture is not None

    def retrieve(self) -> tuple[bool, Any]:
        return isinstance(self._picture, np.ndarray), self._picture

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    device = FakeDevice()
    yield device
    device.coming.put(None)


def webcam(device: FakeDevice, wait_s: float = 10.0) -> Webcam:
    settings = CameraSettings(source="webcam:0", wait_s=wait_s, width=40, height=40)
    return Webcam("/dev/video0", settings, lambda name, wishes: device)


def test_a_webcam_gives_grey_frames_that_fit(device: FakeDevice) -> None:
    camera = webcam(device)
    device.show(90)
    frame: Frame = camera.capture()

    assert frame.shape == (30, 40)
    assert frame.dtype == np.uint8
    assert frame[0, 0] == 90


def test_the_newest_frame_of_a_webcam_wins(device: FakeDevice) -> None:
    camera = webcam(device)
    for grey in (10, 20, 30):
        device.show(grey)
    eventually(lambda: device.asked == 4, "the thread asks for a fourth picture")

    assert camera.capture()[0, 0] == 30


def test_a_damaged_picture_of_a_webcam_is_passed_over(device: FakeDevice) -> None:
    camera = webcam(device)
    device.coming.put("damaged")
    device.show(60)

    assert camera.capture()[0, 0] == 60


def test_a_webcam_that_vanishes_is_an_error_each_time(device: FakeDevice) -> None:
    camera = webcam(device)
    device.coming.put(None)

    for _ in range(2):
        with pytest.raises(CameraError, match="'/dev/video0' is gone"):
            camera.capture()
    assert device.released.wait(LIMIT_S)


def test_a_webcam_that_hangs_is_an_error_in_time(device: FakeDevice) -> None:
    camera = webcam(device, wait_s=1.0)

    with pytest.raises(CameraError, match=r"gave no picture for 1 s"):
        camera.capture()


def test_closing_a_webcam_that_hangs_comes_back(
    device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    webcam(device, wait_s=1.0).close()

    assert "does not answer" in caplog.text


def test_closing_a_webcam_releases_the_device(device: FakeDevice) -> None:
    camera = webcam(device)
    eventually(lambda: device.asked, "the thread asks for a picture")
    threading.Timer(0.05, lambda: device.show(1)).start()
    camera.close()
    camera.close()

    assert device.released.is_set()


def test_a_webcam_that_hangs_while_it_opens_is_an_error_in_time() -> None:
    hangs = threading.Event()

    def open_device(name: str, settings: CameraSettings) -> FakeDevice:
        hangs.wait(LIMIT_S)
        raise CameraError("too late")

    with pytest.raises(CameraError, match=r"did not open within 0\.2 s"):
        Webcam("/dev/video0", CameraSettings(wait_s=0.2), open_device)
    hangs.set()


def test_a_webcam_that_is_not_there_says_how_to_find_one() -> None:
    with pytest.raises(CameraError, match=r"no camera at '/dev/video77' .*v4l2-ctl"):
        open_("webcam:77")


def test_a_file_is_no_webcam(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="is not a device"):
        open_v4l2(str(image(tmp_path / "a.png")), CameraSettings())


def test_another_kind_of_device_is_no_webcam() -> None:
    with pytest.raises(CameraError, match=r"'/dev/null' does not open as a camera; is another"):
        open_("/dev/null")


# What a source means


@pytest.mark.parametrize(
    ("source", "device"),
    [
        ("0", "/dev/video0"),
        ("webcam:2", "/dev/video2"),
        ("/dev/video10", "/dev/video10"),
        ("/dev/v4l/by-id/usb-cam", "/dev/v4l/by-id/usb-cam"),
        ("/dev/zero", "/dev/zero"),
        ("/dev/shm", None),
        ("2024", None),
        ("٣", None),
        ("0.png", None),
    ],
)
def test_a_webcam_is_told_from_a_path(source: str, device: str | None) -> None:
    assert webcam_device(source) == device


def test_a_webcam_without_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="write webcam:0"):
        open_("webcam:front")


def test_the_sample_opens_by_its_name() -> None:
    assert isinstance(open_("sample", width=320, height=180), SampleGate)


def test_pi_without_picamera2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)

    with pytest.raises(CameraError, match="sudo apt install python3-picamera2"):
        open_("pi")


#: A process of its own: FFmpeg hears once, at its first use, how much it may say.
NOISY = """
import sys
from pathlib import Path
from edge.errors import CameraError
from tests.scanner.test_camera import all_greys, open_

all_greys(open_(Path(sys.argv[1])))
for source in ("/dev/null", "webcam:77"):
    try:
        open_(source)
    except CameraError:
        print("refused")
"""


def test_opening_writes_no_noise_to_standard_error(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", [10, 20])
    path.write_bytes(path.read_bytes()[:-300])
    done = subprocess.run(
        [sys.executable, "-c", NOISY, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    # What our own log says of it is no noise.
    ours = [line for line in done.stderr.splitlines() if "it may be cut short" not in line]
    assert (done.stdout, ours) == ("refused\n" * 2, [])
