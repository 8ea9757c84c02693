"""A deployment for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboard.parts import Deployment


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Two places with units, an account of each role."""
    made = Deployment(tmp_path)
    made.add_units()
    made.add_register()
    yield made
    made.close()
