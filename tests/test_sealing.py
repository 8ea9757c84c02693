"""Identities: anyone closes, the desk alone opens, and the length tells nothing."""

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.errors import SealError
from edge.identity import NAME_BYTES, Identity
from edge.sealing import (
    Opener,
    Sealer,
    Signer,
    Verifier,
    make_key_pair,
    open_signer,
    read_key,
)

SCAN = "a" * 32


def make_keys(folder: Path) -> tuple[Sealer, Opener]:
    make_key_pair(folder / "tracing.pub", folder / "tracing.key")
    return Sealer(read_key(folder / "tracing.pub")), Opener(read_key(folder / "tracing.key"))


def test_the_desk_opens_what_a_unit_sealed(tmp_path: Path) -> None:
    sealer, opener = make_keys(tmp_path)
    identity = Identity(pin="064190000123", name="Trần Thị Mẫu", birth_year=1990, sex="f")

    opened = opener.open(sealer.seal(identity, SCAN), SCAN)

    assert (opened.pin, opened.name, opened.scan) == ("064190000123", "Trần Thị Mẫu", SCAN)
    assert sealer.key_id == opener.key_id


def test_every_box_has_one_length(tmp_path: Path) -> None:
    sealer, _ = make_keys(tmp_path)
    longest = Identity(
        pin="1" * 20,
        qid="q" * 32,
        bhyt="b" * 15,
        name="Ễ" * (NAME_BYTES // 3),
        birth_year=1990,
        sex="f",
        phone="0" * 15,
        tail="1" * 12,
        flags=2**32 - 1,
    )

    boxes = {len(sealer.seal(identity, SCAN)) for identity in (Identity(), longest)}

    assert len(boxes) == 1


def test_a_box_holds_nothing_readable_and_never_twice_the_same(tmp_path: Path) -> None:
    sealer, _ = make_keys(tmp_path)
    identity = Identity(pin="064190000123", name="TRAN THI MAU")

    first, second = sealer.seal(identity, SCAN), sealer.seal(identity, SCAN)

    assert b"064190000123" not in first
    assert b"TRAN" not in first
    assert first != second


def test_a_box_of_another_scan_or_key_or_a_changed_one_does_not_open(tmp_path: Path) -> None:
    sealer, opener = make_keys(tmp_path)
    (tmp_path / "other").mkdir()
    _, stranger = make_keys(tmp_path / "other")
    box = sealer.seal(Identity(name="Siu Mẫu"), SCAN)

    changed = box[:-1] + bytes([box[-1] ^ 1])
    attempts = [
        (opener, box, "b" * 32),
        (stranger, box, SCAN),
        (opener, changed, SCAN),
        (opener, b"", SCAN),
    ]
    for desk, sealed, scan in attempts:
        with pytest.raises(SealError) as caught:
            desk.open(sealed, scan)
        assert "Siu" not in str(caught.value)


def test_the_private_key_is_its_owners_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    make_key_pair(tmp_path / "a.pub", tmp_path / "a.key")

    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    with pytest.raises(SealError, match="move it away"):
        make_key_pair(tmp_path / "a.pub", tmp_path / "a.key")


@pytest.mark.parametrize("content", ["", "not base64!", "AAAA", "A" * 64, "\xff"])
def test_a_key_file_that_holds_no_key_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tracing.pub"
    path.write_text(content, encoding="latin-1")

    with pytest.raises(SealError, match=r"tracing\.pub"):
        read_key(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SealError, match=r"tracing\.pub: cannot read"):
        read_key(tmp_path / "tracing.pub")


def test_a_signature_is_verified_with_the_signers_key_alone(tmp_path: Path) -> None:
    signer, other = open_signer(tmp_path / "a.key"), open_signer(tmp_path / "b.key")
    signature = signer.sign(b"message")

    assert Verifier(signer.public_key).verifies(b"message", signature)
    assert not Verifier(other.public_key).verifies(b"message", signature)
    for message, signed in (
        (b"another", signature),
        (b"message", b"\0" * 64),
        (b"message", b""),
        (b"message", signature[:-1]),
    ):
        assert not Verifier(signer.public_key).verifies(message, signed)


def test_a_signing_key_is_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "unit.key"

    first, second = open_signer(path), open_signer(path)

    assert first.public_key == second.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_all_who_make_a_signing_key_at_once_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "receipts.key"
    together = threading.Barrier(8)

    def make(_: int) -> bytes:
        together.wait(60)
        return open_signer(path).public_key

    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(make, range(8)))

    assert keys == {open_signer(path).public_key}
    assert list(tmp_path.iterdir()) == [path], "nothing of the others is left"


def test_a_damaged_signing_key_is_named_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "unit.key"
    path.write_text("AAAA")

    with pytest.raises(SealError, match=r"unit\.key"):
        open_signer(path)
    assert path.read_text() == "AAAA"
    with pytest.raises(SealError, match="cannot write"):
        open_signer(tmp_path / "missing" / "unit.key")
    for wrong in (b"", b"x" * 31):
        with pytest.raises(SealError):
            Signer(wrong)
        with pytest.raises(SealError):
            Verifier(wrong)
