"""The demonstration's dashboard is set up with what the demonstration makes."""

from pathlib import Path

import msgspec

from edge.dashboard.bases import Bases
from edge.dashboard.settings import DashboardSettings
from edge.demo import dashboard
from edge.demo.__main__ import allow


def test_set_up_shows_the_legal_basis_that_the_demonstration_wrote(tmp_path: Path) -> None:
    allow(tmp_path)
    text = dashboard.settings(tmp_path / "storage.db", 8000)
    settings = msgspec.toml.decode(text, type=DashboardSettings)

    found = Bases(settings.set_up, tmp_path).read()

    assert [basis.number for basis in found.bases] == ["00/DEMO"]
    assert found.problems == []
