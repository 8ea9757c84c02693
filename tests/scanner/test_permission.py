"""A unit collects while a document allows it, and notices when that begins and ends."""

import base64
from pathlib import Path

import pytest

from edge.legal_basis import BasisSettings, LegalBasis, write_basis
from edge.scanner.permission import Permission
from edge.sealing import open_signer
from tests.fakes import FakeClock


class Unit:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.clock.synchronized = True
        self.signer = open_signer(folder / "basis.key")
        key = base64.b64encode(self.signer.public_key).decode()
        (folder / "basis.pub").write_text(key)
        (folder / "basis").mkdir()
        self.permission = Permission(BasisSettings(), folder, "cho-1", self.clock)

    def sign(self, start: str, end: str, name: str = "a.json") -> None:
        basis = LegalBasis(
            number="144/CV-THU",
            issuer="Ban Chỉ đạo Mẫu",
            places=("cho-1",),
            issued="2021-07-01T00:00:00.000Z",
            start=f"2021-07-{start}T00:00:00.000Z",
            end=f"2021-07-{end}T00:00:00.000Z",
        )
        write_basis(self.folder / "basis" / name, basis, self.signer)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def test_without_a_document_or_its_key_nothing_is_collected(unit: Unit) -> None:
    assert unit.permission.reason() == "there is no legal basis"
    unit.sign("01", "22")
    (unit.folder / "basis.pub").unlink()
    unit.clock.advance(60)

    assert "basis.pub" in unit.permission.reason()


def test_a_document_that_arrives_is_taken_up_within_a_minute(unit: Unit) -> None:
    assert unit.permission.reason()
    unit.sign("01", "22")

    unit.clock.advance(60)

    assert unit.permission.reason() == ""
    covering = unit.permission.covering()
    assert covering is not None
    assert covering.number == "144/CV-THU"


def test_collecting_ends_with_the_document(unit: Unit) -> None:
    unit.sign("01", "03")  # the clock stands on 2 July 2021, 00:26 UTC
    assert unit.permission.reason() == ""

    unit.clock.advance(86_400)

    assert "ended 2021-07-03" in unit.permission.reason()


def test_a_broken_document_beside_a_good_one_does_no_harm_but_alone_it_is_named(
    unit: Unit,
) -> None:
    (unit.folder / "basis" / "b.json").write_text("{}")
    assert "b.json" in unit.permission.reason()
    unit.sign("01", "22")
    unit.clock.advance(60)

    assert unit.permission.reason() == ""


def test_where_none_is_required_none_is_asked_for(tmp_path: Path) -> None:
    off = Permission(BasisSettings(required=False), tmp_path, "cho-1", FakeClock())

    assert off.reason() == ""
