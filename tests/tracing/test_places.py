"""The register that the desk goes by, taken up as it changes."""

from pathlib import Path

import pytest

from edge.errors import RegisterError
from edge.register import Place, Register, Vehicle, write_register
from edge.tracing.places import RegisterFile

MARKET = Place(id="cho-1", name="Chợ Mẫu", kind="market")
BUS = Place(
    id="xe-2", name="Xe buýt 2", kind="vehicle", vehicle=Vehicle(plate="81B-056.78", route="06")
)


def test_places_that_are_added_while_the_desk_runs_are_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "register.json"
    write_register(path, Register(places=(MARKET,)))
    register = RegisterFile(path)
    places = register.places
    assert not places.facts("xe-2").vehicle

    write_register(path, Register(places=(MARKET, BUS)))
    register.look()
    assert places.facts("xe-2").vehicle
    assert places.names == {"cho-1": "Chợ Mẫu", "xe-2": "Xe buýt 2"}

    for spoil in (lambda: path.write_text("half of it"), path.unlink):
        caplog.clear()
        spoil()
        register.look()
        register.look()
        assert len(caplog.records) == 1
        assert places.facts("xe-2").vehicle
    write_register(path, Register(places=(MARKET,)))
    register.look()
    assert not places.facts("xe-2").vehicle


def test_a_desk_does_not_start_with_a_register_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RegisterError, match="cannot read the register"):
        RegisterFile(tmp_path / "register.json")
