"""What the tests of an outbox, and those of a publisher, have in common."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scanner.publishing import Unit
from tests.scanner.watched_disk import WatchedDisk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an outbox will be."""
    return tmp_path / "outbox"


@pytest.fixture
def disk() -> WatchedDisk:
    """A disk that tells what was done to it, and fails when it is told to."""
    return WatchedDisk()


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    """What sends scans, with an outbox that is still empty."""
    unit = Unit(tmp_path)
    yield unit
    unit.outbox.close()
