"""An order that is renewed reaches units with the office's signed list, and nobody else's does."""

import base64
from pathlib import Path

import pytest

from edge.errors import BasisError
from edge.files import remove_file, replace_file
from edge.legal_basis import (
    MAX_BYTES,
    MOST_LISTED,
    LegalBasis,
    documents_in,
    listed,
    read_bases,
    sign_basis,
)
from edge.scanner.update import bases
from edge.scanner.update.bases import take_bases
from edge.sealing import Signer, Verifier

AUTHORITY, STRANGER = Signer(b"a" * 32), Signer(b"s" * 32)


def document(number: str, end: str = "2027-01-31", by: Signer = AUTHORITY) -> bytes:
    return sign_basis(
        LegalBasis(
            number=number,
            issuer="UBND",
            places=("cho-1",),
            issued="2026-11-25T17:00:00.000Z",
            start="2026-11-30T17:00:00.000Z",
            end=f"{end}T17:00:00.000Z",
        ),
        by,
    )


def signed_list(*documents: bytes) -> bytes:
    return f"Origin: edge\n{listed(documents)}SHA256:\n aa 1 Packages\n".encode()


class Unit:
    """A unit whose card has brought the authority's key and one document."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "etc/edge/basis"
        self.folder.mkdir(parents=True)
        (root / "etc/edge/basis.pub").write_bytes(base64.b64encode(AUTHORITY.public_key))
        (self.folder / "card-0.json").write_bytes(document("1/TN", "2026-12-31"))

    def office(self) -> list[Path]:
        return sorted(self.folder.glob("office-*.json"))

    def numbers(self) -> set[str]:
        known, wrong = read_bases(self.folder, Verifier(AUTHORITY.public_key))
        assert not wrong
        return {basis.number for basis in known}


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def test_what_the_newest_list_brings_lies_beside_that_of_the_card(unit: Unit) -> None:
    take_bases(signed_list(document("2/TN"), document("3/TN")), unit.root)
    assert unit.numbers() == {"1/TN", "2/TN", "3/TN"}
    (one,) = (path for path in unit.office() if b"2/TN" in path.read_bytes())
    assert one.stat().st_mode & 0o777 == 0o644
    before = one.stat().st_ino

    # Once more changes nothing; and one that is listed no more is gone, but for the card's.
    take_bases(signed_list(document("2/TN")), unit.root)
    assert unit.numbers() == {"1/TN", "2/TN"}
    assert one.stat().st_ino == before
    take_bases(signed_list(), unit.root)
    assert unit.numbers() == {"1/TN"}


def test_a_document_stays_where_it_is_when_another_is_listed_before_it(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_bases(signed_list(document("2/TN"), document("4/TN")), unit.root)
    known = [unit.numbers()]

    def replace(path: Path, chunks: list[bytes], mode: int) -> None:
        known.append(unit.numbers())
        replace_file(path, chunks, mode)
        known.append(unit.numbers())

    def remove(path: Path) -> None:
        known.append(unit.numbers())
        remove_file(path)

    monkeypatch.setattr(bases, "replace_file", replace)
    monkeypatch.setattr(bases, "remove_file", remove)
    take_bases(signed_list(document("1-A/TN"), document("4/TN"), document("5/TN")), unit.root)

    # Whenever the scanner looks, or the power goes, what holds before and after is there.
    assert all({"1/TN", "4/TN"} <= numbers for numbers in known)
    assert unit.numbers() == {"1/TN", "1-A/TN", "4/TN", "5/TN"}


def test_nothing_is_believed_by_the_list(unit: Unit) -> None:
    take_bases(signed_list(document("2/TN")), unit.root)
    forged = document("2/TN", "2099-12-31", by=STRANGER)
    changed = document("3/TN").replace(b"2027-01-31", b"2029-01-31")

    large = document("5/TN") + b" " * MAX_BYTES

    take_bases(signed_list(forged, changed, b"{", large, document("4/TN")), unit.root)

    assert unit.numbers() == {"1/TN", "4/TN"}


def test_a_unit_that_trusts_no_authority_keeps_nothing(unit: Unit) -> None:
    (unit.root / "etc/edge/basis.pub").unlink()

    take_bases(signed_list(document("2/TN")), unit.root)

    assert [path.name for path in unit.folder.iterdir()] == ["card-0.json"]
    # Nor does one that has no folder for them, as it was set up by hand.
    take_bases(signed_list(document("2/TN")), unit.root / "elsewhere")
    assert not (unit.root / "elsewhere").exists()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Edge-Basis: x\n",
        b"Edge-Basis:\n ====\n",
        b"Edge-Basis:\n" + b" YQ==\n" * (MOST_LISTED + 1),
        b"\xff" * 100,
    ],
)
def test_noise_takes_nothing_and_harms_nothing(unit: Unit, text: bytes) -> None:
    take_bases(text, unit.root)

    assert unit.numbers() == {"1/TN"}


def test_a_list_has_so_many_lines_of_any_document() -> None:
    some = [document(f"{number}/TN") for number in range(MOST_LISTED)]
    assert documents_in(signed_list(*some)) == some
    assert documents_in(signed_list()) == []
    with pytest.raises(BasisError, match="more than a list brings"):
        listed([*some, document("x")])
