"""What goes wrong with a camera, done to the real picamera2; within a Debian 13 tree only."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.errors import CameraError, CameraHung
from edge.scanner import pi_camera
from edge.scanner.pi_camera import PiCamera
from edge.sealing import make_key_pair
from edge.unit_settings import CameraSettings
from tests import virtual_camera
from tests.fakes import LIMIT_S, eventually
from tests.scanner.test_cameras import card, open_files
from tests.virtual_camera import WITHIN_TREE, Releases, without_frames

pytestmark = pytest.mark.skipif(
    WITHIN_TREE not in os.environ,
    reason="runs within a Debian 13 tree: see test_virtual_camera.py",
)

SETTINGS = CameraSettings(wait_s=0.5, frame_rate=30.0)


@pytest.fixture(scope="module")
def releases() -> Releases:
    return virtual_camera.install()


@pytest.fixture(autouse=True)
def _camera(tmp_path: Path, releases: Releases) -> Iterator[None]:
    virtual_camera.show(tmp_path / "frames", [card()])
    yield
    gc.collect()
    assert (releases.dropped, releases.made) == (0, releases.done)


def inside(camera: PiCamera) -> Any:
    """The Picamera2 of *camera*."""
    return camera._camera


def test_frames_that_stay_away_are_an_error_in_time_and_then_go_on() -> None:
    with closing(PiCamera(SETTINGS)) as camera:
        camera.capture()
        for _ in range(3):
            with without_frames(inside(camera)):
                began = time.monotonic()
                with pytest.raises(CameraError, match=r"no frame for 0\.5 s"):
                    camera.capture()
                assert time.monotonic() - began < 10
            assert camera.capture().shape == (720, 1280)


def test_a_camera_that_gave_nothing_closes_and_opens_again() -> None:
    for _ in range(5):
        camera = PiCamera(SETTINGS)
        with without_frames(inside(camera)):
            with pytest.raises(CameraError, match="no frame"):
                camera.capture()
            camera.close()
        del camera
        gc.collect()
    with closing(PiCamera(SETTINGS)) as camera:
        assert camera.capture().shape == (720, 1280)


def test_a_busy_camera_is_said_to_be_so_and_is_had_when_it_is_free() -> None:
    first = PiCamera(SETTINGS)
    with pytest.raises(CameraError, match="another program using the camera"):
        PiCamera(SETTINGS)
    assert first.capture().shape == (720, 1280)
    first.close()
    del first
    gc.collect()

    with closing(PiCamera(SETTINGS)) as second:
        assert second.capture().shape == (720, 1280)


#: A process that takes one frame, as the service does after systemd started it again.
ONE_FRAME = """
from tests import virtual_camera
virtual_camera.install()
from edge.scanner.pi_camera import PiCamera
from edge.unit_settings import CameraSettings
camera = PiCamera(CameraSettings(wait_s=5.0))
print(camera.capture().shape)
camera.close()
"""


def test_a_camera_that_vanished_is_said_to_be_so_and_is_had_when_it_is_back(
    tmp_path: Path,
) -> None:
    def new_process() -> str:
        done = subprocess.run(
            [sys.executable, "-c", ONE_FRAME], capture_output=True, text=True, timeout=LIMIT_S
        )
        return (done.stdout + done.stderr).strip().splitlines()[-1]

    virtual_camera.show(tmp_path / "none", [])
    assert "CameraError: the camera cannot be used (No camera number 0 found" in new_process()

    virtual_camera.show(tmp_path / "frames", [card()])
    assert new_process() == "(720, 1280)"


def test_a_stop_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi_camera, "CLOSE_S", 0.5)
    camera = PiCamera(SETTINGS)
    camera.capture()
    answers = threading.Event()
    stop = inside(camera).stop
    monkeypatch.setattr(inside(camera), "stop", lambda: (answers.wait(), stop()))

    with pytest.raises(CameraHung, match="does not stop within"):
        camera.close()
    # For the sake of the tests that follow: a unit's process ends here.
    answers.set()
    assert camera._closing is not None
    camera._closing.join(LIMIT_S)
    camera.close()


#: The service, with a driver that never answers when the camera is to stop.
HANGS = """
import sys, threading
from tests import virtual_camera
virtual_camera.install()
from picamera2 import Picamera2
Picamera2.stop = lambda camera: threading.Event().wait()
from edge.scanner.__main__ import main
sys.exit(main(["--config", sys.argv[1]]))
"""

#: The service, whose frames are lost while there is a file called "loose".
LOOSE = """
import os, sys
from tests import virtual_camera
virtual_camera.install()
from picamera2 import Picamera2
process, lost = Picamera2.process_requests, []
def loosely(camera, display):
    if os.path.exists("loose"):
        with camera._requestslock:
            lost.extend(camera._requests)
            camera._requests = []
    process(camera, display)
Picamera2.process_requests = loosely
from edge.scanner.__main__ import main
sys.exit(main(["--config", sys.argv[1]]))
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts a script with the settings of a unit; what it writes is in the file "out"."""
    make_key_pair(tmp_path / "tracing.pub", tmp_path / "tracing.key")
    settings = tmp_path / "scanner.toml"
    settings.write_text(
        '[unit]\nid = "u-1"\narea = "a"\nplace = "p"\ndirection = "in"\n'
        f'tracing_key_file = "tracing.pub"\n[basis]\nrequired = false\n'
        f'[outbox]\nfolder = "{tmp_path}/outbox"\nin_memory = true\n'
        '[indicator]\nkind = "terminal"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'
        '[carry]\nsticks = ""\n[camera]\nwait_s = 1.0\n'
    )
    started = []

    def start(script: str) -> "subprocess.Popen[bytes]":
        with (tmp_path / "out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(settings)],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(tmp_path: Path, what: bytes) -> None:
    eventually(lambda: what in (tmp_path / "out").read_bytes(), str(what))


def test_the_service_ends_although_the_camera_hangs(
    tmp_path: Path, service: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    process = service(HANGS)
    wait_for(tmp_path, b"seq 1")
    process.terminate()

    assert process.wait(LIMIT_S) == 1
    assert "ending, to be started again" in (tmp_path / "out").read_text()


def test_the_service_goes_on_scanning_after_frames_stayed_away(
    tmp_path: Path, service: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    process = service(LOOSE)
    wait_for(tmp_path, b"seq 1")
    (tmp_path / "loose").touch()
    wait_for(tmp_path, "Máy bị lỗi".encode())
    eventually(
        lambda: (tmp_path / "out").read_bytes().count(b"opening it anew") >= 2,
        "a second opening",
    )
    (tmp_path / "loose").unlink()

    # Out of view for so long, the card counts again.
    wait_for(tmp_path, b"seq 2")
    process.terminate()
    assert process.wait(LIMIT_S) == 0


# What picamera2 says of it, and cannot help.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_frame_that_is_held_while_the_camera_closes_spoils_nothing() -> None:
    camera = PiCamera(SETTINGS)
    held = camera.capture()
    camera.close()
    assert held[360, 0] != 0
    del held, camera
    gc.collect()
    before = open_files()

    with closing(PiCamera(SETTINGS)) as again:
        assert again.capture().shape == (720, 1280)
    del again
    gc.collect()
    assert open_files() <= before
