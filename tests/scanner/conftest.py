"""What the tests of an outbox have in common."""

from pathlib import Path

import pytest

from tests.scanner.watched_disk import WatchedDisk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an outbox will be."""
    return tmp_path / "outbox"


@pytest.fixture
def disk() -> WatchedDisk:
    """A disk that tells what was done to it, and fails when it is told to."""
    return WatchedDisk()
