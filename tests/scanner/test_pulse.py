"""What the scanner tells whoever put its version in place."""

import os
from pathlib import Path

import pytest

from edge.scanner.pulse import EVERY_S, PULSE, Pulse, is_connected, is_scanning, read_pulse
from tests.fakes import FakeClock


def test_a_scanner_tells_its_version_its_process_and_its_frames(tmp_path: Path) -> None:
    clock = FakeClock()
    pulse = Pulse("1.2", clock, tmp_path)
    path = tmp_path / PULSE.name

    pulse.start()
    assert not is_scanning(path)
    for _ in range(3):
        pulse.frame(connected=False)
        clock.advance(EVERY_S)

    beat = read_pulse(path)
    assert (beat.software, beat.pid, beat.frames, beat.connected) == ("1.2", os.getpid(), 3, False)
    assert is_scanning(path)
    assert not is_connected(path)
    pulse.frame(connected=True)
    assert is_connected(path)


def test_what_was_told_long_ago_is_not_of_now(tmp_path: Path) -> None:
    pulse = Pulse("1.2", FakeClock(), tmp_path)
    pulse.frame(connected=True)
    path = tmp_path / PULSE.name
    os.utime(path, (path.stat().st_mtime - 60,) * 2)

    assert not is_scanning(path)
    assert not is_connected(path)


def test_a_scanner_that_was_not_started_by_systemd_tells_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    Pulse("1.2", FakeClock()).frame(connected=True)

    assert not is_scanning(tmp_path / PULSE.name)
    # A folder that is full or gone stops no scanning.
    Pulse("1.2", FakeClock(), tmp_path / "gone").frame(connected=True)


def test_what_a_scanner_that_was_taken_over_puts_there_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / PULSE.name
    os.mkfifo(path)
    assert read_pulse(path).pid == 0

    path.unlink()
    path.symlink_to("/dev/zero")
    assert read_pulse(path).pid == 0
