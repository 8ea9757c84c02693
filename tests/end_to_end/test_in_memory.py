"""A unit whose card is not written to, as below an overlay in memory, never says that it counts."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.sealing import make_key_pair
from tests.end_to_end.parts import (
    Service,
    beeps_in,
    invented_cards,
    scanner_settings,
    write_frames,
)
from tests.fakes import eventually

IN_MEMORY = Path("/dev/shm")


@pytest.fixture(params=["tmpfs", "overlay"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a real file system of that kind."""
    if not (IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK)):
        pytest.skip("no tmpfs at /dev/shm that this user may write to")
    memory = IN_MEMORY / f"edge-test-{uuid.uuid4().hex}"
    for name in ("up", "work"):
        (memory / name).mkdir(parents=True)
    merged = tmp_path / "merged"
    try:
        if request.param == "tmpfs":
            yield memory / "up"
            return
        for made in (tmp_path / "card", merged):
            made.mkdir()
        options = f"lowerdir={tmp_path}/card,upperdir={memory}/up,workdir={memory}/work"
        done = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("only root can mount an overlay: sudo make test")
        yield merged
    finally:
        if os.path.ismount(merged):
            subprocess.run(["umount", str(merged)], check=True)
        shutil.rmtree(memory, ignore_errors=True)


def test_a_unit_that_would_lose_its_scans_with_the_power_says_so_and_never_beeps(
    folder: Path, tmp_path: Path
) -> None:
    unit = tmp_path / "unit"
    unit.mkdir()
    make_key_pair(unit / "tracing.pub", unit / "tracing.key")
    frames = write_frames(tmp_path / "frames", invented_cards(3))
    settings = scanner_settings("mqtt://127.0.0.1:9", frames, folder / "outbox", frame_rate=10)
    scanner = Service("scanner", unit, settings.replace("in_memory = true\n", ""))
    scanner.start()
    try:
        eventually(
            lambda: scanner.log.read_text().count("a scan was not counted") >= 2, "it sees people"
        )
    finally:
        scanner.stop()

    assert "turn off the overlay file system" in scanner.log.read_text()
    assert "CHƯA ghi nhận" in scanner.out.read_text()
    assert beeps_in(scanner.out) == []
