"""systemd's watchdog is fed by the real process only while all of it makes progress."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.scanner.pulse import read_pulse
from edge.sealing import make_key_pair
from tests.end_to_end.parts import invented_cards, scanner_settings, write_frames
from tests.fakes import eventually

#: Longer than anything that feeds it waits, on a machine that has much else to do.
QUIET_S = 5.0
START_S = 60.0


class Supervisor:
    """What systemd hears of the process that it started."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self.stuck = folder / "stuck"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, part: str, frames: Path) -> None:
        """Start a scanner whose *part* may get stuck, and wait until it is ready."""
        make_key_pair(self._folder / "tracing.pub", self._folder / "tracing.key")
        config = self._folder / "scanner.toml"
        url = "mqtt://127.0.0.1:1"
        config.write_text(scanner_settings(url, frames, self._folder / "outbox", frame_rate=10))
        command = [sys.executable, "-m", "tests.scanner.stuck", part, str(self.stuck)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(config)],
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": str(self._folder / "notify"),
                    "RUNTIME_DIRECTORY": str(self._folder),
                },
            )
        self._socket.settimeout(START_S)
        assert self._socket.recv(1000).startswith(b"READY=1"), self.log()

    def is_fed(self) -> bool:
        """Whether the watchdog is fed from now on, in time for systemd."""
        self._forget()
        self._socket.settimeout(START_S)
        try:
            return self._socket.recv(1000) == b"WATCHDOG=1"
        except TimeoutError:
            return False

    def becomes_quiet(self) -> bool:
        """Whether the feeding ends, and stays so for a while."""
        self._socket.settimeout(QUIET_S)
        for _ in range(2000):
            try:
                self._socket.recv(1000)
            except TimeoutError:
                return True
        return False

    def scans_on_unfed(self) -> None:
        """Wait until the scanner reads on and on while the watchdog is not fed."""

        def holds() -> bool:
            self._forget()
            before = self._frames()
            eventually(lambda: self._frames() >= before + 20, "frames are read")
            self._socket.setblocking(False)
            try:
                self._socket.recv(1000)
            except BlockingIOError:
                return True
            return False

        eventually(holds, "nobody feeds the watchdog")

    def _frames(self) -> int:
        return read_pulse(self._folder / "pulse.json").frames

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> int:
        """Stop it as systemd does; gives its exit code."""
        assert self._process is not None
        self.stuck.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(START_S)
        self._socket.close()
        return code

    def _forget(self) -> None:
        self._socket.setblocking(False)
        while True:
            try:
                self._socket.recv(1000)
            except BlockingIOError:
                return


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    one = Supervisor(tmp_path)
    yield one
    one.stop()


@pytest.mark.parametrize("part", ["capture", "outbox"])
def test_a_part_that_is_stuck_ends_the_feeding_until_it_goes_on(
    supervisor: Supervisor, tmp_path: Path, part: str
) -> None:
    supervisor.start(part, write_frames(tmp_path / "frames", invented_cards(2)))
    assert supervisor.is_fed(), supervisor.log()

    supervisor.stuck.touch()

    assert supervisor.becomes_quiet()
    supervisor.stuck.unlink()
    assert supervisor.is_fed(), supervisor.log()


def test_a_publisher_that_is_stuck_ends_the_feeding_though_the_scanning_goes_on(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start("publisher", write_frames(tmp_path / "frames", invented_cards(2)))
    assert supervisor.is_fed(), supervisor.log()

    supervisor.stuck.touch()

    supervisor.scans_on_unfed()
    supervisor.stuck.unlink()
    assert supervisor.is_fed(), supervisor.log()


def test_a_camera_in_the_dark_and_a_broker_that_is_away_do_not_end_it(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    (tmp_path / "dark").mkdir()
    cv2.imwrite(str(tmp_path / "dark/1.png"), np.zeros((480, 640), np.uint8))
    supervisor.start("capture", tmp_path / "dark")

    for _ in range(20):
        assert supervisor.is_fed(), supervisor.log()


def test_a_camera_that_is_away_is_waited_for_and_the_watchdog_fed(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start("capture", Path("/dev/video77"))

    for _ in range(20):
        assert supervisor.is_fed(), supervisor.log()
