"""What systemd is told, and its unit files."""

import re
import shlex
import shutil
import socket
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from edge.systemd import Notifier
from edge.unit_settings import CarrySettings

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
    text = re.sub(r"(?m)^(Exec\w+=)\S+", r"\1/bin/true", unit.read_text())
    (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )

    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_service_is_exposed_to_little(unit: Path) -> None:
    """1.5 of 10 at the most; what remains is the network, and for the scanner its devices."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: sudo apt install systemd")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_service_works_the_same_on_debian_12_and_13(unit: Path) -> None:
    keys = [line.partition("=")[0] for line in unit.read_text().splitlines()]

    # Its delays never begin anew on 257, and it is not known on 252.
    assert "RestartSteps" not in keys
    # Hides the boot's id, by which times are corrected, and what board this is.
    assert "ProcSubset" not in keys
    # Runs at every crash on 257, once on 252, unless RestartMode=direct says so.
    assert "OnFailure" not in keys or "RestartMode" in keys


def test_the_board_resets_itself_within_what_a_raspberry_pi_can_count() -> None:
    text = (UNITS[0].parent / "50-edge-watchdog.conf").read_text()

    seconds = re.search(r"(?m)^RuntimeWatchdogSec=([0-9]+)s$", text)
    assert seconds is not None
    assert int(seconds[1]) <= 15


def test_a_stick_is_mounted_where_the_scanner_looks_and_nothing_on_it_runs() -> None:
    rule = (UNITS[0].parent / "70-edge-stick.rules").read_text()

    program = re.search(r'RUN\{program\}\+="([^"]+)"', rule)
    assert program is not None
    *words, where = shlex.split(program[1].replace("%k", "sda1"))
    assert fnmatch(where, CarrySettings().sticks)
    (options,) = [word for word in words if word.startswith("--options=")]
    assert {"nosuid", "nodev", "noexec"} <= set(options.partition("=")[2].split(","))
    # What a unit or its next card starts from.
    assert 'ENV{ID_FS_LABEL}!="bootfs|system-boot"' in rule


def test_the_rule_for_sticks_is_what_udev_understands() -> None:
    if shutil.which("udevadm") is None:
        pytest.skip("udevadm is missing: sudo apt install udev")
    version = subprocess.run(["udevadm", "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.split()[0]) < 254:
        pytest.skip("this udevadm cannot verify rules: run this test on Debian 13")
    rule = UNITS[0].parent / "70-edge-stick.rules"

    subprocess.run(["udevadm", "verify", str(rule)], check=True)


def test_the_scanner_waits_for_no_network_and_no_clock() -> None:
    text = (UNITS[0].parent / "edge-scanner.service").read_text()

    for line in text.splitlines():
        if line.partition("=")[0] in ("After", "Wants", "Requires", "BindsTo"):
            assert "network" not in line
            assert "time" not in line


def test_that_systemd_listens_no_more_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    for _ in range(5):
        notifier.watchdog()

    assert caplog.text.count("systemd does not hear WATCHDOG") == 1


def test_a_systemd_that_is_too_busy_to_listen_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"))
        # Nobody reads: its queue is full long before. The test's own limit fails it if it waits.
        for _ in range(20_000):
            notifier.watchdog()
