"""The adapter to picamera2, on a fake that behaves as the real one was seen to behave.

The fake keeps the traps: rows are padded to the stride, a buffer is written again once its request
is released, a job that timed out stays queued, and closing fails while anything still looks into a
buffer. Who releases what is counted.
"""

import sys
import threading
from concurrent.futures import CancelledError
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge.errors import CameraError, CameraHung
from edge.scanner import pi_camera as pi_camera_module
from edge.scanner.exposure import EVERY_FRAMES
from edge.scanner.pi_camera import PiCamera
from edge.unit_settings import CameraSettings

GREY = 77


class FakeRequest:
    def __init__(self, camera: "FakePicamera2") -> None:
        self.config = {"main": camera.main}
        stride, (width, height) = camera.main["stride"], camera.main["size"]
        buffer = np.full(stride * height * 3 // 2, 200, np.uint8)
        for row in range(height):
            buffer[row * stride : row * stride + width] = camera.grey
            buffer[row * stride] = row
        self.memory = bytearray(buffer[: camera.buffer_bytes or buffer.size].tobytes())
        self.released = 0

    def release(self) -> None:
        self.released += 1
        self.memory[:] = bytes(len(self.memory))  # the camera writes its next frame

    def is_unmapped(self) -> bool:
        try:
            self.memory.clear()
        except BufferError:  # an array still looks into it
            return False
        return True


class FakeMappedArray:
    fault: Exception | None = None

    def __init__(self, request: FakeRequest, stream: str, reshape: bool, write: bool) -> None:
        assert (stream, reshape, write) == ("main", False, False)
        self._request = request

    def __enter__(self) -> "FakeMappedArray":
        if self.fault is not None:
            raise self.fault
        self.array: Any = np.frombuffer(self._request.memory, np.uint8)
        return self

    def __exit__(self, *error: object) -> None:
        del self.array


class FakeJob:
    def __init__(self) -> None:
        self.request: FakeRequest | None = None
        self.cancelled = False


class FakePicamera2:
    """One camera. What is to go wrong is set on it before."""

    def __init__(self) -> None:
        self.main: dict[str, Any] = {}
        self.stride = 0
        self.format = ""
        self.buffer_bytes = 0  # whole
        self.calls: list[str] = []
        self.asked: dict[str, Any] = {}
        self.faults: dict[str, Exception] = {}
        self.frames_come = True
        self.frame_at_the_last_moment = False
        #: What the camera has, by name; at first only what the virtual one of libcamera has.
        self.camera_controls: dict[str, tuple[Any, Any, Any]] = {
            "FrameDurationLimits": (1, 1_000_000, 33_333)
        }
        self.controls: dict[str, Any] = {}
        #: The grey of all pixels of the next frames.
        self.grey = GREY
        self.requests: list[FakeRequest] = []
        self.jobs: list[FakeJob] = []
        #: Requests whose memory could not be given back.
        self.lost: list[FakeRequest] = []
        self.hangs = threading.Event()
        self.hangs.set()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.faults:
            raise self.faults[name]

    def create_video_configuration(self, **asked: Any) -> dict[str, Any]:
        self._call("create_video_configuration")
        self.asked = asked
        return asked

    def configure(self, camera_config: dict[str, Any]) -> None:
        self._call("configure")
        width, height = camera_config["main"]["size"]
        stride = self.stride or (width + 63) // 64 * 64
        self.main = {
            "format": self.format or camera_config["main"]["format"],
            "size": (width, height),
            "stride": stride,
        }

    def set_controls(self, controls: dict[str, Any]) -> None:
        self._call("set_controls")
        for name, value in controls.items():
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
            self.controls[name] = value

    def start(self) -> None:
        self._call("start")

    def capture_request(self, wait: bool) -> FakeJob:
        assert wait is False
        self._call("capture_request")
        job = FakeJob()
        self.jobs.append(job)
        if self.frames_come:
            self._finish(job)
        return job

    def wait(self, job: FakeJob, timeout: float) -> FakeRequest:
        self._call("wait")
        if job.cancelled:
            raise CancelledError
        if job.request is None:
            if self.frame_at_the_last_moment:
                self._finish(job)
            raise TimeoutError
        return job.request

    def cancel_all_and_flush(self) -> None:
        self._call("cancel_all_and_flush")
        for job in self.jobs:
            job.cancelled = True
        self.jobs.clear()

    def stop(self) -> None:
        self._call("stop")
        self.hangs.wait()

    def close(self) -> None:
        self._call("close")
        self.lost = [request for request in self.requests if not request.is_unmapped()]

    def _finish(self, job: FakeJob) -> None:
        self.jobs.remove(job)
        job.request = FakeRequest(self)
        self.requests.append(job.request)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePicamera2:
    camera = FakePicamera2()
    module = ModuleType("picamera2")
    module.MappedArray = FakeMappedArray  # type: ignore[attr-defined]

    def open_camera() -> FakePicamera2:
        camera._call("open")
        return camera

    module.Picamera2 = open_camera  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(FakeMappedArray, "fault", None)
    return camera


def pi_camera(width: int = 100, height: int = 60, **settings: Any) -> PiCamera:
    return PiCamera(
        CameraSettings(width=width, height=height, frame_rate=12.0, wait_s=0.5, **settings)
    )


def each_released_once(fake: FakePicamera2) -> bool:
    return bool(fake.requests) and all(request.released == 1 for request in fake.requests)


def test_the_camera_is_asked_for_grey_frames_without_a_queue(fake: FakePicamera2) -> None:
    pi_camera()

    assert fake.asked == {
        "main": {"size": (100, 60), "format": "YUV420"},
        "buffer_count": 4,
        "queue": False,
        "controls": {"FrameRate": 12.0},
    }
    assert fake.calls == [
        "open",
        "create_video_configuration",
        "configure",
        "set_controls",
        "start",
    ]


def test_a_frame_is_the_grey_plane_without_the_padding(fake: FakePicamera2) -> None:
    frame = pi_camera(100, 60).capture()

    assert fake.main["stride"] == 128
    assert frame.shape == (60, 100)
    assert frame.dtype == np.uint8
    assert list(frame[:, 0]) == list(range(60))
    assert np.all(frame[:, 1:] == GREY)


def test_a_plane_without_padding_is_read_as_well(fake: FakePicamera2) -> None:
    frame = pi_camera(128, 60).capture()

    assert frame.shape == (60, 128)
    assert np.all(frame[:, 1:] == GREY)


@pytest.mark.parametrize("width", [100, 128])
def test_a_frame_is_the_cameras_own_memory_until_the_next_capture(
    fake: FakePicamera2, width: int
) -> None:
    camera = pi_camera(width)
    frame = camera.capture()

    assert fake.requests[0].released == 0
    assert np.shares_memory(frame, np.frombuffer(fake.requests[0].memory, np.uint8))
    assert frame[5, 5] == GREY
    camera.capture()
    assert [request.released for request in fake.requests] == [1, 0]


def test_the_size_that_the_camera_chose_counts(fake: FakePicamera2) -> None:
    camera = pi_camera(100, 60)
    fake.main["size"] = (96, 54)

    assert camera.capture().shape == (54, 96)


@pytest.mark.parametrize("pixels", ["NV12", "YVU420", "NV21"])
def test_every_format_that_begins_with_grey_is_read(fake: FakePicamera2, pixels: str) -> None:
    fake.format = pixels

    assert pi_camera().capture()[5, 5] == GREY


def test_another_format_is_refused_by_name_and_its_request_released(fake: FakePicamera2) -> None:
    fake.format = "XBGR8888"

    with pytest.raises(CameraError, match="gives XBGR8888, which we cannot read"):
        pi_camera().capture()
    assert each_released_once(fake)


def test_a_buffer_that_is_too_small_is_refused_and_its_request_released(
    fake: FakePicamera2,
) -> None:
    fake.buffer_bytes = 128 * 60 - 1

    with pytest.raises(CameraError, match=r"fewer bytes than the 128 a row .* \(100, 60\)"):
        pi_camera(100, 60).capture()
    assert each_released_once(fake)


def test_a_row_that_is_shorter_than_the_picture_is_refused(fake: FakePicamera2) -> None:
    camera = pi_camera(100, 60)
    fake.main["stride"] = 99

    with pytest.raises(CameraError, match="the 99 a row"):
        camera.capture()
    assert each_released_once(fake)


def test_every_request_is_released_exactly_once(fake: FakePicamera2) -> None:
    camera = pi_camera()
    for _ in range(20):
        camera.capture()
    camera.close()

    assert len(fake.requests) == 20
    assert not fake.lost
    assert each_released_once(fake)


def test_a_request_that_cannot_be_mapped_is_released(
    fake: FakePicamera2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeMappedArray, "fault", RuntimeError("failed to find buffer"))

    with pytest.raises(CameraError, match="failed to find buffer"):
        pi_camera().capture()
    assert each_released_once(fake)


def test_a_frame_that_does_not_come_is_cancelled_and_an_error(fake: FakePicamera2) -> None:
    camera = pi_camera()
    fake.frames_come = False

    with pytest.raises(CameraError, match=r"no frame for 0\.5 s; is the cable seated"):
        camera.capture()
    assert fake.calls[-3:] == ["wait", "cancel_all_and_flush", "wait"]
    assert not fake.jobs


def test_a_frame_that_comes_as_the_time_is_up_is_released(fake: FakePicamera2) -> None:
    camera = pi_camera()
    fake.frames_come, fake.frame_at_the_last_moment = False, True

    with pytest.raises(CameraError, match="no frame"):
        camera.capture()
    assert each_released_once(fake)


def test_frames_go_on_after_one_that_did_not_come(fake: FakePicamera2) -> None:
    camera = pi_camera()
    fake.frames_come = False
    with pytest.raises(CameraError):
        camera.capture()
    fake.frames_come = True

    assert camera.capture()[5, 5] == GREY


def busy() -> RuntimeError:
    error = RuntimeError("Camera __init__ sequence did not complete.")
    error.__cause__ = RuntimeError("Failed to acquire camera: Device or resource busy")
    return error


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (RuntimeError("No camera number 0 found"), "No camera number 0 found"),
        (IndexError("list index out of range"), "list index out of range"),
        (busy(), "Device or resource busy"),
        (PermissionError(13, "Permission denied", "/dev/dma_heap"), "Permission denied"),
    ],
)
def test_a_camera_that_cannot_be_had_comes_with_the_cure(
    fake: FakePicamera2, fault: Exception, text: str
) -> None:
    fake.faults["open"] = fault

    with pytest.raises(CameraError, match=f"{text}.*rpicam-hello --list-cameras"):
        pi_camera()


@pytest.mark.parametrize(
    "step", ["create_video_configuration", "configure", "set_controls", "start"]
)
def test_a_camera_that_does_not_start_is_given_back(fake: FakePicamera2, step: str) -> None:
    fake.faults[step] = RuntimeError("Failed to start camera")

    with pytest.raises(CameraError, match="Failed to start camera"):
        pi_camera()
    assert fake.calls[-2:] == ["stop", "close"]


def test_the_camera_closes_while_a_frame_is_still_held_and_says_what_that_costs(
    fake: FakePicamera2, caplog: pytest.LogCaptureFixture
) -> None:
    camera = pi_camera()
    frame = camera.capture()
    camera.close()

    assert fake.lost == fake.requests
    assert "a frame is still in use" in caplog.text
    assert frame.shape == (60, 100)


def test_an_error_that_is_still_held_does_not_keep_the_memory(fake: FakePicamera2) -> None:
    camera = pi_camera()
    fake.main["stride"] = 99
    with pytest.raises(CameraError) as caught:
        camera.capture()
    camera.close()

    assert caught.value
    assert not fake.lost


def test_a_camera_that_hangs_in_closing_is_given_up(
    fake: FakePicamera2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pi_camera_module, "CLOSE_S", 0.1)
    camera = pi_camera()
    fake.hangs.clear()

    with pytest.raises(CameraHung, match=r"does not stop within 0\.1 s"):
        camera.close()
    with pytest.raises(CameraHung):
        camera.close()
    assert fake.calls.count("stop") == 1
    fake.hangs.set()


def test_closing_stops_and_closes_whatever_stop_says(
    fake: FakePicamera2, caplog: pytest.LogCaptureFixture
) -> None:
    camera = pi_camera()
    fake.faults = {"stop": RuntimeError("no answer"), "close": RuntimeError("nor here")}
    camera.close()

    assert fake.calls[-2:] == ["stop", "close"]
    assert "no answer" in caplog.text
    assert "nor here" in caplog.text


#: What a Camera Module 3 has of what we set; the numbers of its imx708.
MODULE_3 = {
    "FrameDurationLimits": (17_700, 220_000_000, 33_333),
    "ExposureTime": (26, 220_417_486, 20_000),
    "AnalogueGain": (1.0, 16.0, 1.0),
    "AfMode": (0, 2, 0),
    "LensPosition": (0.0, 15.0, 1.0),
    "ScalerCrop": ((0, 0, 64, 64), (0, 0, 4608, 2592), (576, 0, 3456, 1944)),
    "AeFlickerMode": (0, 1, 0),
    "AeFlickerPeriod": (100, 1_000_000, 10_000),
}


class FakeLamp:
    def __init__(self) -> None:
        self.lit: list[bool] = []
        self.closed = False

    def light(self, on: bool) -> None:
        self.lit.append(on)

    def close(self) -> None:
        self.closed = True


def test_focus_is_fixed_and_exposure_is_ours_where_the_camera_can(fake: FakePicamera2) -> None:
    fake.camera_controls = MODULE_3
    pi_camera(focus=6.5)

    assert fake.controls["AfMode"] == 0
    assert fake.controls["LensPosition"] == 6.5
    assert 26 <= fake.controls["ExposureTime"] <= 4000
    assert "AeFlickerMode" not in fake.controls
    assert "ScalerCrop" not in fake.controls


def test_a_lens_is_not_sent_beyond_its_reach(fake: FakePicamera2) -> None:
    fake.camera_controls = MODULE_3
    pi_camera(focus=20.0)

    assert fake.controls["LensPosition"] == 15.0


def test_what_a_camera_does_not_have_is_left_out_and_said(
    fake: FakePicamera2, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        camera = pi_camera(region=(0.2, 0.2, 0.6, 0.6))
    for _ in range(40):
        camera.capture()

    assert fake.controls == {}
    assert "has no AnalogueGain, ExposureTime; exposure is left to it" in caplog.text
    assert "has no AfMode, LensPosition, ScalerCrop; going on without" in caplog.text
    assert fake.calls.count("set_controls") == 1


def test_exposure_that_is_left_to_the_camera_minds_the_mains(fake: FakePicamera2) -> None:
    fake.camera_controls = MODULE_3
    pi_camera(exposure_us=0, flicker_hz=60)

    assert fake.controls["AeFlickerMode"] == 1
    assert fake.controls["AeFlickerPeriod"] == 8333
    assert "ExposureTime" not in fake.controls


def test_the_region_is_cut_out_of_the_view_in_its_shape(fake: FakePicamera2) -> None:
    fake.camera_controls = MODULE_3 | {"ScalerCrops": (0, 0, 0)}
    pi_camera(region=(0.5, 0.5, 1.0, 0.8))

    part = (576 + 1728, 778, 1728, 972)
    assert fake.controls["ScalerCrop"] == part
    assert fake.controls["ScalerCrops"] == [part]


def test_a_dark_scene_gets_a_longer_exposure_and_then_the_lamp(fake: FakePicamera2) -> None:
    fake.camera_controls = MODULE_3
    lamp = FakeLamp()
    settings = CameraSettings(width=100, height=60, frame_rate=12.0)
    camera = PiCamera(settings, lamp)  # type: ignore[arg-type]
    fake.grey = 5
    for _ in range(120):
        camera.capture()

    assert lamp.lit[0] is False
    assert lamp.lit[-1] is True
    assert fake.controls["ExposureTime"] == 10_000
    assert fake.controls["AnalogueGain"] == 16.0
    camera.close()
    assert lamp.closed
    assert each_released_once(fake)


def test_a_camera_that_refuses_a_new_exposure_is_named(fake: FakePicamera2) -> None:
    fake.camera_controls = MODULE_3
    camera = pi_camera()
    fake.grey = 250
    for _ in range(EVERY_FRAMES - 1):
        camera.capture()
    fake.faults["set_controls"] = RuntimeError("gone")

    with pytest.raises(CameraError, match="gone"):
        camera.capture()
    assert each_released_once(fake)
