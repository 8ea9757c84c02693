"""The threat model, played: what each attacker holds, and that it tells them nobody.

The attackers know everything but the desk's private key and its token secret: the code, the
public key, every number that could be somebody's. A dictionary attack needs a function of a number
that is stored somewhere; the test holds that whatever is stored outside the desk is the same, but
for noise, whoever passed.
"""

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.errors import SealError
from edge.messages import Scan
from edge.scanner.documents import Document, Refusal, classify
from edge.scanner.outbox import Outbox
from edge.sealing import Opener, Sealer
from edge.storage.rows import StoredScan
from edge.storage.storage import Storage
from tests.fakes import a_scan

DESK = Opener(bytes(range(32)))
PEOPLE = [
    "064190000123|230000123|Trần Thị Mẫu|17051990|Nữ|Pleiku|10082021".encode(),
    "064201000789||Rcom Thử Nghiệm|01012001|Nam|Ia Thử|22122022".encode(),
    "064190000124||TRAN THI MAU|17051990|Nữ||05092024||||".encode(),
]


def sealed_scan(code: bytes, seq: int = 1, **fixed: object) -> Scan:
    """The scan that a unit makes of *code*."""
    document = classify(code)
    assert isinstance(document, Document)
    sealer = Sealer(DESK.public_key)
    fields: Any = {"document": document.kind} | fixed
    scan = a_scan(seq, **fields)
    return msgspec.structs.replace(
        scan, sealed=sealer.seal(document.identity, scan.id), key=sealer.key_id
    )


def needles() -> Iterator[bytes]:
    """Whatever of a person could stand in a file, in every usual writing."""
    for code in PEOPLE:
        document = classify(code)
        assert isinstance(document, Document)
        identity = document.identity
        for value in (identity.pin, identity.name):
            raw = value.encode()
            yield from (raw, raw[::-1], value.encode("utf-16-le"), raw.hex().encode())
            # base64 at each of the three places it may begin in a longer text.
            for shift in range(3):
                yield base64.b64encode(b"\0" * shift + raw)[shift + (shift > 0) : -4]
        yield int(identity.pin).to_bytes(5, "big")
        yield int(identity.pin).to_bytes(5, "little")


def hashes(number: bytes) -> Iterator[bytes]:
    """What is usually made of a number to hide it."""
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2s"):
        digest = hashlib.new(name, number).digest()
        yield from (digest[:8], digest.hex()[:16].encode(), base64.b64encode(digest)[:11])
    for size in (4, 8, 16, 20, 32, 64):
        yield hashlib.blake2b(number, digest_size=size).digest()[:8]
        yield hashlib.blake2b(number, digest_size=size).hexdigest()[:16].encode()
        # Keyed by whatever an attacker knows.
        for known in (DESK.public_key, DESK.key_id.encode(), b"e" * 16):
            yield hashlib.blake2b(number, digest_size=size, key=known).digest()[:8]


def assert_tells_nobody(held: bytes) -> None:
    for needle in needles():
        assert needle not in held
    for code in PEOPLE:
        for value in (code, code.split(b"|")[0], code.split(b"|")[2]):
            for digest in hashes(value):
                assert digest not in held


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_stolen_card_tells_nobody(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox", max_bytes=10**9, keep_free_bytes=0) as outbox:
        for seq, code in enumerate(PEOPLE * 3, start=1):
            outbox.put(sealed_scan(code, seq, epoch=outbox.epoch))
        assert_tells_nobody(everything_in(tmp_path))
    held = everything_in(tmp_path)
    assert len(held) > 1000
    assert_tells_nobody(held)


def test_the_broker_sees_nobody_in_any_message() -> None:
    traffic = b"\n".join(sealed_scan(code, seq).encode() for seq, code in enumerate(PEOPLE, 1))

    assert_tells_nobody(traffic)


def test_the_collectors_database_tells_nobody(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage.db")
    storage.store(
        [
            StoredScan("gialai", "cong-1", sealed_scan(code, seq))
            for seq, code in enumerate(PEOPLE * 3, start=1)
        ],
        "2021-07-02T01:30:00.000Z",
    )
    storage.close()

    assert_tells_nobody(everything_in(tmp_path))


def test_nothing_outside_the_desk_is_a_function_of_who_passed() -> None:
    # All else equal, two people's scans differ in the sealed box alone, and so do two of one
    # person: what an attacker could compute for a number to compare with is in no field.
    fixed: Any = {"id": "a" * 32}
    scans = [msgspec.json.decode(sealed_scan(code, **fixed).encode()) for code in PEOPLE * 2]
    boxes = [base64.b64decode(scan.pop("sealed")) for scan in scans]
    kinds = [scan.pop("document") for scan in scans]

    assert all(scan == scans[0] for scan in scans)
    assert kinds[:3] == kinds[3:]
    assert len({len(box) for box in boxes}) == 1
    for one, other in itertools.combinations(boxes, 2):
        # The first 32 bytes are a key that is new each time, and the rest is sealed by it: no run
        # of eight bytes is ever the same in two boxes.
        parts = {one[start : start + 8] for start in range(len(one) - 8)}
        assert not any(other[start : start + 8] in parts for start in range(len(other) - 8))


def test_trying_out_a_number_against_a_box_says_neither_yes_nor_no() -> None:
    # The attacker seals every candidate to the public key, as a unit would, and compares.
    right, wrong = PEOPLE[0], PEOPLE[1]
    box = sealed_scan(right, id="a" * 32).sealed
    guesses = [sealed_scan(code, id="a" * 32).sealed for code in (right, wrong) for _ in range(50)]

    same = [sum(a == b for a, b in zip(box, guess, strict=True)) for guess in guesses]
    assert box not in guesses
    # As many equal bytes as chance gives, for the right number as for the wrong.
    assert abs(sum(same[:50]) - sum(same[50:])) < 80
    with pytest.raises(SealError):
        Opener(bytes(32)).open(box, "a" * 32)


def test_a_box_cannot_be_moved_to_another_scan() -> None:
    scan = sealed_scan(PEOPLE[0])

    with pytest.raises(SealError, match="another scan"):
        DESK.open(scan.sealed, "f" * 32)


@pytest.mark.parametrize(
    "code",
    [
        b"=cmd|' /C calc'!A0|x|1990-01-01|0|1|<",
        b"064190000123|'; DROP TABLE scan;--|=1+1|17051990|Nam|x|10082021",
        b"064190000123||\x1b[2J\x1b]0;x\x07|17051990|Nam|x|10082021",
        b"../../etc/passwd|x|<script>alert(1)</script>|17051990|Nam|x|10082021",
        b"A" * 3000,
        b"\xff\xfe\x00",
        b"https://tokhaiyte.vn/?page=Group.checkin&groupId=0123456789abcdef01234567",
    ],
)
def test_a_malicious_code_is_refused_or_is_only_text(code: bytes) -> None:
    answer = classify(code)

    if isinstance(answer, Refusal):
        assert re.fullmatch(r"[a-z0-9_]*", answer.shape)
    else:
        # Whatever it says lies inside the seal; outside of it is nothing that the code chose.
        scan = msgspec.json.decode(sealed_scan(code).encode())
        del scan["sealed"]
        assert not re.search(r"DROP|script|cmd|passwd|\\u001b|=1", str(scan))


def test_an_exception_says_nothing_of_a_person() -> None:
    document = classify(PEOPLE[0])
    assert isinstance(document, Document)
    scan = sealed_scan(PEOPLE[0])

    said = repr(document)
    for key, box in ((DESK, scan.sealed[:-1]), (DESK, b""), (Opener(bytes(32)), scan.sealed)):
        try:
            key.open(box, scan.id)
        except SealError as err:
            said += repr(err) + repr(err.__cause__) + repr(err.__context__)
    assert "seal" in said
    assert_tells_nobody(said.encode())
