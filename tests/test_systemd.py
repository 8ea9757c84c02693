"""What systemd is told, and its unit files."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from edge.systemd import Notifier

UNITS = sorted((Path(__file__).parent.parent / "systemd").glob("*.service"))


def test_systemd_hears_ready_alive_and_stopping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"))
        notifier.ready("reading")
        notifier.watchdog()
        notifier.stopping()

        assert server.recv(100) == b"READY=1\nSTATUS=reading"
        assert server.recv(100) == b"WATCHDOG=1"
        assert server.recv(100) == b"STOPPING=1"


def test_an_abstract_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("\0edge-test-notify")
        Notifier("@edge-test-notify").watchdog()

        assert server.recv(100) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens() -> None:
    Notifier("").ready()


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_what_systemd_understands(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: sudo apt install systemd")
    # Only what it runs is not installed here.
    text = unit.read_text().replace("/opt/edge/bin/edge-", "/bin/true edge-")
    (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )

    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == []


def test_the_scanner_waits_for_no_network_and_no_clock() -> None:
    text = (UNITS[0].parent / "edge-scanner.service").read_text()

    for line in text.splitlines():
        if line.partition("=")[0] in ("After", "Wants", "Requires", "BindsTo"):
            assert "network" not in line
            assert "time" not in line
