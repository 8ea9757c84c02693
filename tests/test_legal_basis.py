"""The legal basis: signed by its authority alone, and what it allows where and when."""

import json
from pathlib import Path

import pytest

from edge.clock import Moment, Source
from edge.errors import BasisError
from edge.legal_basis import LegalBasis, read_bases, read_basis, why_not, write_basis
from edge.sealing import Signer, Verifier

SIGNER = Signer(bytes(range(32)))
VERIFIER = Verifier(SIGNER.public_key)


def a_basis(**changes: object) -> LegalBasis:
    fields: dict[str, object] = {
        "number": "144/CV-THU",
        "issuer": "Ban Chỉ đạo Mẫu",
        "places": ("cho-1", "xe-*"),
        "issued": "2021-06-30T00:00:00.000Z",
        "start": "2021-07-01T00:00:00.000Z",
        "end": "2021-07-22T00:00:00.000Z",
    }
    return LegalBasis(**(fields | changes))  # type: ignore[arg-type]


def moment(at: str, clock: Source = "ntp") -> Moment:
    return Moment(at=f"{at}T00:00:00.000Z", boot="b" * 32, uptime_ms=1, clock=clock)


def test_what_was_signed_is_read(tmp_path: Path) -> None:
    write_basis(tmp_path / "a.json", a_basis(), SIGNER)

    assert read_basis(tmp_path / "a.json", VERIFIER) == a_basis()
    assert "Ban Chỉ đạo Mẫu" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("field", "value"),
    [("end", "2031-07-22T00:00:00.000Z"), ("places", ["*"]), ("number", "145/CV-THU")],
)
def test_a_document_that_was_changed_is_refused(tmp_path: Path, field: str, value: object) -> None:
    write_basis(tmp_path / "a.json", a_basis(), SIGNER)
    content = json.loads((tmp_path / "a.json").read_bytes())
    content["basis"][field] = value
    (tmp_path / "a.json").write_text(json.dumps(content))

    with pytest.raises(BasisError, match=r"a\.json: its signature"):
        read_basis(tmp_path / "a.json", VERIFIER)


def test_a_document_of_another_authority_is_refused(tmp_path: Path) -> None:
    write_basis(tmp_path / "a.json", a_basis(), Signer(bytes(32)))

    with pytest.raises(BasisError, match="not of the authority"):
        read_basis(tmp_path / "a.json", VERIFIER)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 70_000, b'{"basis":{},"x":1}'])
def test_what_is_no_document_is_named_and_the_others_count(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    write_basis(tmp_path / "whole.json", a_basis(), SIGNER)

    bases, wrong = read_bases(tmp_path, VERIFIER)

    assert bases == [a_basis()]
    assert "broken.json" in str(wrong[0])


def test_a_document_that_can_never_be_valid_is_not_signed(tmp_path: Path) -> None:
    for impossible in (a_basis(end="2021-07-01T00:00:00.000Z"), a_basis(number="1\x1b[2J")):
        with pytest.raises(BasisError):
            write_basis(tmp_path / "a.json", impossible, SIGNER)
    with pytest.raises(BasisError, match="cannot write"):
        write_basis(tmp_path / "no" / "a.json", a_basis(), SIGNER)


@pytest.mark.parametrize(
    ("place", "allowed"),
    [("cho-1", True), ("cho-10", False), ("xe-81b", True), ("xe-", True), ("ben-xe", False)],
)
def test_it_covers_its_places(place: str, allowed: bool) -> None:
    assert (why_not([a_basis()], place, moment("2021-07-02")) == "") is allowed
    assert why_not([a_basis(places=("*",))], place, moment("2021-07-02")) == ""


@pytest.mark.parametrize(
    ("at", "clock", "allowed"),
    [
        ("2021-06-30", "ntp", False),
        ("2021-07-01", "ntp", True),
        ("2021-07-21", "rtc", True),
        ("2021-07-22", "ntp", False),
        # A clock that is not set: it is not earlier than it says.
        ("2021-07-02", "none", True),
        ("2021-07-22", "none", False),
        ("2021-06-30", "none", False),
        ("1970-01-01", "none", False),
    ],
)
def test_it_has_a_beginning_and_an_end(at: str, clock: Source, allowed: bool) -> None:
    reason = why_not([a_basis()], "cho-1", moment(at, clock))

    assert (reason == "") is allowed
    assert allowed or "144/CV-THU" in reason


def test_a_clock_that_begins_in_1970_is_not_before_the_signing() -> None:
    signed_while_valid = a_basis(issued="2021-07-03T00:00:00.000Z")

    assert why_not([signed_while_valid], "cho-1", moment("1970-01-01", "none")) == ""
    assert why_not([signed_while_valid], "cho-1", moment("1970-01-01", "ntp")) != ""


def test_a_renewed_document_takes_over() -> None:
    renewed = a_basis(
        number="145/CV-THU", start="2021-07-20T00:00:00.000Z", end="2021-08-10T00:00:00.000Z"
    )

    assert why_not([a_basis(), renewed], "cho-1", moment("2021-07-30")) == ""
    assert "no legal basis covers ben-xe" in why_not([a_basis()], "ben-xe", moment("2021-07-02"))
    assert why_not([], "cho-1", moment("2021-07-02")) == "there is no legal basis"
    # One that came twice, with the card and with the office's list, is told once.
    late = moment("2021-09-30")
    assert why_not([a_basis(), a_basis()], "cho-1", late) == why_not([a_basis()], "cho-1", late)
