"""Bundles: all of it is believed, or nothing; and a receipt finds its way back."""

import base64
import gzip
import hashlib
import os
import random
import re
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from edge.bundle import (
    RECEIPT_RANGE,
    BundleHeader,
    BundleTrailer,
    read_bundle,
    read_receipt,
    receipt_ranges,
    write_bundle,
    write_receipt,
)
from edge.errors import BundleError
from edge.messages import Scan, check_of
from edge.sealing import Signer, Verifier
from tests.fakes import FakeClock, a_scan

EPOCH = "e" * 16
KEY = Signer(b"k" * 32)
#: The centre's own key, and how a unit knows it.
CENTRE = Signer(b"c" * 32)
TRUSTED = Verifier(CENTRE.public_key)


def verify(path: Path, scratch: Path) -> None:
    """Read *path* as the centre does, and nothing more."""
    with read_bundle(path, scratch):
        pass


def a_bundle(folder: Path, count: int = 5, first: int = 1) -> Path:
    scans = [a_scan(seq) for seq in range(first, first + count)]
    return write_bundle(folder, "pleiku", "cong-1", EPOCH, scans, KEY, FakeClock())


def signed(lines: list[bytes], key: Signer = KEY, count: int | None = None) -> bytes:
    """What a unit with *key* would have made of *lines*, whatever they are."""
    content = b"".join(lines)
    digest = hashlib.sha256(content).digest()
    trailer = BundleTrailer(
        count=len(lines) - 1 if count is None else count,
        sha256=digest,
        signature=key.sign(b"edge bundle, version 1\n" + digest),
    )
    return content + trailer.encode() + b"\n"


def test_scans_come_out_as_they_went_in(tmp_path: Path) -> None:
    scans = [a_scan(seq) for seq in (3, 4, 9)]
    path = write_bundle(tmp_path, "pleiku", "cong-1", EPOCH, scans, KEY, FakeClock())

    with read_bundle(path, tmp_path) as bundle:
        assert list(bundle.scans()) == scans
        assert list(bundle.scans()) == scans
        assert bundle.count == 3
        assert (bundle.header.area, bundle.header.unit) == ("pleiku", "cong-1")
        assert bundle.header.key == KEY.public_key
    assert path.name == f"edge-cong-1-{EPOCH}-3-9.edgebundle"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_of_a_person_is_added_to_the_messages(tmp_path: Path) -> None:
    scan = a_scan(1)
    path = write_bundle(tmp_path, "pleiku", "cong-1", EPOCH, [scan], KEY, FakeClock())
    header, line, trailer = path.read_bytes().splitlines()

    assert line == scan.encode()
    assert set(msgspec.json.decode(header)) == {
        "v", "kind", "area", "unit", "epoch", "made", "key"
    }  # fmt: skip
    assert set(msgspec.json.decode(trailer)) == {"v", "count", "sha256", "signature"}


def test_no_scans_make_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nothing to carry"):
        write_bundle(tmp_path, "pleiku", "cong-1", EPOCH, [], KEY, FakeClock())
    assert list(tmp_path.iterdir()) == []


def test_a_stick_that_is_not_there_or_full_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"stick: cannot write the bundle: No such file"):
        a_bundle(tmp_path / "stick")

    def failing() -> Iterator[Scan]:
        yield a_scan(1)
        raise OSError(28, "No space left on device")

    with pytest.raises(BundleError, match="No space left"):
        write_bundle(tmp_path, "pleiku", "cong-1", EPOCH, failing(), KEY, FakeClock())
    assert list(tmp_path.iterdir()) == []


def test_few_scans_are_in_memory_at_a_time(tmp_path: Path) -> None:
    tracemalloc.start()
    scans = (a_scan(seq) for seq in range(1, 3001))
    path = write_bundle(tmp_path, "pleiku", "cong-1", EPOCH, scans, KEY, FakeClock())
    with read_bundle(path, tmp_path) as bundle:
        write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), CENTRE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert path.stat().st_size > 2_000_000
    assert peak < 1_000_000


def test_a_bundle_cut_at_any_line_or_byte_is_refused(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10][:-1]
    chance = random.Random(3)
    cut = tmp_path / "cut"

    for end in [0, *ends, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(100))]:
        cut.write_bytes(whole[:end])
        with pytest.raises(BundleError, match="cut: ") as caught:
            verify(cut, tmp_path)
        assert "\n" not in str(caught.value)


def test_a_bundle_with_any_byte_changed_is_refused(tmp_path: Path) -> None:
    path = a_bundle(tmp_path, 2)
    whole = path.read_bytes()
    chance = random.Random(4)
    changed = tmp_path / "changed"
    signed_bytes = whole[:-1].rindex(b"\n") + 1

    for _ in range(300):
        content = bytearray(whole)
        content[chance.randrange(signed_bytes)] ^= 1 << chance.randrange(8)
        changed.write_bytes(content)
        with pytest.raises(BundleError):
            verify(changed, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\n" * 1000,
        b"{}\n",
        b"PK\x03\x04" + random.Random(1).randbytes(200_000),
        gzip.compress(b"x" * 100_000),
        b"x" * 10_000_000,
        b"\x00" * 1_000_000,
        a_scan().encode() + b"\n",
        b'{"v":1,"kind":"edge-receipt"}\n',
    ],
    ids=["empty", "line", "lines", "json", "zip", "gzip", "10-mb-line", "zeros", "scan", "receipt"],
)
def test_what_is_no_bundle_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.edgebundle"
    path.write_bytes(content)

    with pytest.raises(BundleError) as caught:
        verify(path, tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < len(str(path)) + 200


def test_a_line_of_10_mb_within_a_bundle_is_not_read_whole(tmp_path: Path) -> None:
    header, *scans = a_bundle(tmp_path).read_bytes().splitlines(keepends=True)[:-1]
    path = tmp_path / "long"
    path.write_bytes(signed([header, scans[0], b'"' + b"x" * 10_000_000 + b'"\n', *scans[1:]]))

    tracemalloc.start()
    with pytest.raises(BundleError, match="too long"):
        verify(path, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_later_version_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "later"
    path.write_bytes(b'{"v":2,"kind":"edge-bundle"}\n')

    with pytest.raises(BundleError, match="version 2"):
        verify(path, tmp_path)


def test_a_bundle_signed_by_another_is_refused(tmp_path: Path) -> None:
    lines = a_bundle(tmp_path).read_bytes().splitlines(keepends=True)[:-1]
    path = tmp_path / "forged"

    path.write_bytes(signed(lines, Signer(b"x" * 32)))
    with pytest.raises(BundleError, match="not signed by the unit"):
        verify(path, tmp_path)

    path.write_bytes(signed(lines))
    verify(path, tmp_path)


@pytest.mark.parametrize("unit", ["../../etc/passwd", "cong 1", "", "x" * 40, "cong-1\u0000"])
def test_a_name_that_could_be_a_path_is_no_unit(tmp_path: Path, unit: str) -> None:
    header, *scans = a_bundle(tmp_path).read_bytes().splitlines(keepends=True)[:-1]
    fields = msgspec.json.decode(header) | {"unit": unit}
    path = tmp_path / "path"
    path.write_bytes(signed([msgspec.json.encode(fields) + b"\n", *scans]))

    with pytest.raises(BundleError, match="not a bundle"):
        verify(path, tmp_path)


def test_what_does_not_belong_into_a_bundle_is_refused_though_signed(tmp_path: Path) -> None:
    header, one, two, *_ = a_bundle(tmp_path).read_bytes().splitlines(keepends=True)[:-1]
    path = tmp_path / "odd"
    strangers = {
        "of another epoch": [header, one, a_scan(2, "f" * 16).encode() + b"\n"],
        "out of order": [header, two, one],
        "twice": [header, one, one],
        "no scan": [header, one, b'{"v":1}\n'],
        "a header": [header, one, header],
    }
    for what, lines in strangers.items():
        path.write_bytes(signed(lines))
        with pytest.raises(BundleError) as caught:
            verify(path, tmp_path)
        assert re.search("line [23] ", str(caught.value)), what
    path.write_bytes(signed([header, one, two], count=3))
    with pytest.raises(BundleError, match="damaged"):
        verify(path, tmp_path)
    path.write_bytes(signed([header, one, two]) + b"more\n")
    with pytest.raises(BundleError, match=r"end is missing|damaged"):
        verify(path, tmp_path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(BundleError, match="not a file"):
            verify(path, tmp_path)
    with pytest.raises(BundleError, match="No such file"):
        verify(tmp_path / "missing", tmp_path)


def test_a_stick_pulled_or_changed_after_the_check_changes_nothing(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    with read_bundle(path, tmp_path) as bundle:
        path.write_bytes(b"something else")

        assert [scan.seq for scan in bundle.scans()] == [1, 2, 3, 4, 5]


def test_a_receipt_confirms_each_scan_with_a_check_over_the_units_own(tmp_path: Path) -> None:
    scans = [a_scan(seq) for seq in [*range(1, 251), *range(300, 303)]]
    path = write_bundle(tmp_path, "pleiku", "cong-1", EPOCH, scans, KEY, FakeClock())
    with read_bundle(path, tmp_path) as bundle:
        receipt = write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), CENTRE)

    assert receipt.name == path.name + ".receipt"
    ids = {scan.seq: scan.id for scan in scans}
    ranges = [r for message in read_receipt(receipt, "cong-1", TRUSTED) for r in message.ranges]
    assert [(r.first, r.last) for r in ranges] == [(1, 100), (101, 200), (201, 250), (300, 302)]
    for r in ranges:
        assert r.check == check_of(ids[seq] for seq in range(r.first, r.last + 1))
        assert r.last - r.first < RECEIPT_RANGE


def test_a_receipt_of_scattered_scans_keeps_to_the_contract(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    scattered = (a_scan(seq) for seq in range(1, 2401, 2))
    with read_bundle(path, tmp_path) as bundle:
        receipt = write_receipt(path, bundle.header, receipt_ranges(scattered), CENTRE)

    assert [len(m.ranges) for m in read_receipt(receipt, "cong-1", TRUSTED)] == [500, 500, 200]


def test_a_receipt_that_is_damaged_or_another_units_is_refused(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    with read_bundle(path, tmp_path) as bundle:
        receipt = write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), CENTRE)
    whole = receipt.read_bytes()
    with pytest.raises(BundleError, match="a receipt for cong-1; this unit is cong-2"):
        read_receipt(receipt, "cong-2", TRUSTED)

    chance, believed, refused = random.Random(5), read_receipt(receipt, "cong-1", TRUSTED), 0
    for _ in range(100):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        receipt.write_bytes(content)
        refused += 1
        with suppress(BundleError):
            # The last letter of a base64 text has bits that mean nothing.
            assert read_receipt(receipt, "cong-1", TRUSTED) == believed
            refused -= 1
    assert refused >= 95
    for end in range(0, len(whole), 7):
        receipt.write_bytes(whole[:end])
        with pytest.raises(BundleError):
            read_receipt(receipt, "cong-1", TRUSTED)
    receipt.write_bytes(b"\n" * 20_000_000)
    with pytest.raises(BundleError, match="too large"):
        read_receipt(receipt, "cong-1", TRUSTED)


def test_a_receipt_that_anybody_else_made_is_not_believed(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    with read_bundle(path, tmp_path) as bundle:
        # Whoever finds the stick has all that is in it, and a key of their own.
        receipt = write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), KEY)
    with pytest.raises(BundleError, match="not signed by this unit's centre"):
        read_receipt(receipt, "cong-1", TRUSTED)

    # The signature of a bundle is none of a receipt, though the same key made both.
    *lines, trailer = receipt.read_bytes().splitlines(keepends=True)
    stolen = msgspec.json.decode(trailer)
    digest = hashlib.sha256(b"".join(lines)).digest()
    signature = CENTRE.sign(b"edge bundle, version 1\n" + digest)
    stolen["signature"] = base64.b64encode(signature).decode()
    receipt.write_bytes(b"".join(lines) + msgspec.json.encode(stolen) + b"\n")
    with pytest.raises(BundleError, match="not signed by this unit's centre"):
        read_receipt(receipt, "cong-1", TRUSTED)


def test_a_receipt_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    path, victim = a_bundle(tmp_path), tmp_path / "victim"
    victim.write_bytes(b"untouched")
    for name in (path.name + ".receipt", path.name + ".receipt.new"):
        (tmp_path / name).symlink_to(victim)

    with read_bundle(path, tmp_path) as bundle:
        write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), CENTRE)

    assert victim.read_bytes() == b"untouched"


def test_the_key_in_a_header_is_32_bytes(tmp_path: Path) -> None:
    header = a_bundle(tmp_path).read_bytes().splitlines()[0]
    fields = msgspec.json.decode(header) | {"key": base64.b64encode(b"short").decode()}
    path = tmp_path / "key"
    path.write_bytes(signed([msgspec.json.encode(fields) + b"\n"]))

    with pytest.raises(BundleError, match="not a bundle"):
        verify(path, tmp_path)
    assert BundleHeader.decode(header).key == KEY.public_key
