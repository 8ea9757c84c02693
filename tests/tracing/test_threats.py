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
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.card import CardBasis, CardWifi, write_card
from edge.errors import SealError
from edge.identity import Identity
from edge.messages import Scan
from edge.scanner.boots import BOOTS, Boots
from edge.scanner.carrier import export
from edge.scanner.documents import Document, Refusal, classify
from edge.scanner.health_log import HEALTH_LOG, HealthLog
from edge.scanner.outbox import Outbox, read_outbox
from edge.scanner.retention import RECEIPTS, Retention
from edge.scanner.schedule import Schedule
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import set_up
from edge.sealing import Opener, Sealer, open_signer, read_key
from edge.storage import feed
from edge.storage.database import Database
from edge.storage.storage import Storage
from edge.tracing.boxes import StoredBoxes
from edge.tracing.index import Index
from edge.tracing.indexer import Indexer
from edge.tracing.keys import KeyRing
from edge.tracing.questions import Questions
from edge.tracing.tokens import Kind, Tokens
from tests.cards import SETUP_KEY, a_card, enrol
from tests.fakes import FakeClock, a_health, a_scan, came
from tests.tracing.desk import at, local, the_places

PRIVATE = bytes(range(32))
SECRET = bytes(range(64, 96))
DESK = Opener(PRIVATE)
PEOPLE = [
    "064190000123|230000123|Trần Thị Mẫu|17051990|Nữ|Pleiku|10082021".encode(),
    "064201000789||Rcom Thử Nghiệm|01012001|Nam|Ia Thử|22122022".encode(),
    "064190000124||TRAN THI MAU|17051990|Nữ||05092024||||".encode(),
]


def identity_of(code: bytes) -> Identity:
    """What a unit keeps of *code*."""
    document = classify(code)
    assert isinstance(document, Document)
    return document.identity


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
        identity = identity_of(code)
        for value in (identity.pin, identity.name):
            raw = value.encode()
            yield from (raw, raw[::-1], value.encode("utf-16-le"), raw.hex().encode())
            # base64 at each of the three places it may begin in a longer text.
            for shift in range(3):
                yield base64.b64encode(b"\0" * shift + raw)[shift + (shift > 0) : -4]
        yield int(identity.pin).to_bytes(5, "big")
        yield int(identity.pin).to_bytes(5, "little")


def hashes(number: bytes, keys: Sequence[bytes] = ()) -> Iterator[bytes]:
    """What is usually made of a number to hide it; *keys*: that the attacker holds besides."""
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2s"):
        digest = hashlib.new(name, number).digest()
        yield from (digest[:8], digest.hex()[:16].encode(), base64.b64encode(digest)[:11])
    for size in (4, 8, 16, 20, 32, 64):
        yield hashlib.blake2b(number, digest_size=size).digest()[:8]
        yield hashlib.blake2b(number, digest_size=size).hexdigest()[:16].encode()
        # Keyed by whatever an attacker knows.
        for known in (DESK.public_key, DESK.key_id.encode(), b"e" * 16, *keys):
            yield hashlib.blake2b(number, digest_size=size, key=known).digest()[:8]


def assert_tells_nobody(held: bytes, keys: Sequence[bytes] = ()) -> None:
    for needle in needles():
        assert needle not in held
    for code in PEOPLE:
        for value in (code, code.split(b"|")[0], code.split(b"|")[2]):
            for digest in hashes(value, keys):
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


class UsedUnit:
    """A unit that a card has set up and that has been in use: all its files, in *root*."""

    def __init__(self, root: Path) -> None:
        card = a_card(
            tracing_key=DESK.public_key,
            receipts_key=b"r" * 32,
            wifi=CardWifi(ssid="cho mau", password="mat-khau-1"),
            basis=CardBasis(key=b"l" * 32, documents=("one",)),
        )
        file = root / "boot/edge-scanner/card.toml"
        file.parent.mkdir(parents=True)
        file.write_bytes(write_card(card, SETUP_KEY))
        done = set_up(root / "boot", root)
        assert done is not None
        assert isinstance(done.settings, ScannerSettings)
        self.root = root
        self.state = root / "var/lib/edge"
        clock = FakeClock()
        clock.synchronized = True
        enrol(root, card.unit.id if card.unit else "", clock)
        self._use(done.settings)

    def _use(self, settings: ScannerSettings) -> None:
        folder, clock = self.state / "outbox", FakeClock()
        clock.synchronized = True
        with Outbox(folder, max_bytes=10**9, keep_free_bytes=0) as outbox:
            # The first, of an earlier boot, could not be delivered within the retention.
            for seq, code in enumerate(PEOPLE * 3, start=1):
                day, boot = ("2021-05-02", "a" * 32) if seq == 1 else ("2021-07-02", clock.boot)
                made = {"at": f"{day}T01:30:0{seq}.000Z", "boot": boot, "clock": "ntp"}
                outbox.put(sealed_scan(code, seq, epoch=outbox.epoch, **made))
            with closing(Boots(folder / BOOTS)) as boots:
                boots.note(clock.now())
            HealthLog(folder / HEALTH_LOG).put(a_health(accepted=9, refused={"url": 2}))
            Retention(outbox, folder, clock, days=21).step()
            key = open_signer(self.state / "unit.key")
            schedule = Schedule(settings.unit, settings.vehicle)
            export(folder, self.root / "boot", settings.unit, schedule, key, clock)

    def files(self) -> dict[str, bytes]:
        """What a thief reads, by its place."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file()
        }


def test_a_stolen_unit_tells_nobody_with_all_its_files_and_keys(tmp_path: Path) -> None:
    unit = UsedUnit(tmp_path / "root")
    files = unit.files()
    # All that a unit has, and not the outbox alone.
    for wanted in (
        "etc/edge/scanner.toml",
        "etc/edge/tracing.pub",
        "etc/edge/receipts.pub",
        "etc/edge/basis/card-0.json",
        "etc/NetworkManager/system-connections/edge-wifi.nmconnection",
        "var/lib/edge/identity/unit.pem",
        "etc/edge/setup.json",
        "var/lib/edge/unit.key",
        f"var/lib/edge/outbox/{BOOTS}",
        f"var/lib/edge/outbox/{HEALTH_LOG}",
        f"var/lib/edge/outbox/{RECEIPTS}",
    ):
        assert files[wanted]
    assert any(name.endswith(".edgebundle") for name in files)

    keys = [
        read_key(unit.root / name)
        for name in files
        if name.endswith((".pub", ".key")) and "identity" not in name
    ]
    assert len(keys) == 4

    assert_tells_nobody(b"".join(files.values()), keys)
    boxes = [(scan.sealed, scan.id) for scan in read_outbox(unit.state / "outbox").scans()]
    for key in keys:
        for box, scan in boxes:
            with pytest.raises(SealError):
                Opener(key).open(box, scan)
    # What the thief does get: how many passed and when, and the unit's own ways into networks.
    assert len(boxes) == 8
    assert {len(box) for box, _ in boxes} == {368}
    assert b"mat-khau-1" in files["etc/NetworkManager/system-connections/edge-wifi.nmconnection"]
    assert b"PRIVATE KEY" in files["var/lib/edge/identity/unit.pem"]


def test_a_stolen_unit_has_no_card_file_left(tmp_path: Path) -> None:
    # It held all of the above in one place, on the part of the card that every laptop reads.
    files = UsedUnit(tmp_path / "root").files()

    assert [name for name in files if name.startswith("boot/edge-scanner/")] == [
        "boot/edge-scanner/result.txt"
    ]
    assert b"mat-khau-1" not in files["boot/edge-scanner/result.txt"]


def test_the_broker_sees_nobody_in_any_message() -> None:
    traffic = b"\n".join(sealed_scan(code, seq).encode() for seq, code in enumerate(PEOPLE, 1))

    assert_tells_nobody(traffic)


def test_the_collectors_database_tells_nobody(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage.db")
    storage.store(
        [
            came("gialai", "cong-1", sealed_scan(code, seq))
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


class UsedDesk:
    """A desk that has opened and indexed a morning, and the storage that it reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "desk"
        self.folder.mkdir()
        self.storage = Storage(folder / "storage.db")
        hours = ("01:30", "02:00", "02:30")
        for seq, (code, hour) in enumerate(zip(PEOPLE, hours, strict=True), start=1):
            self._scan(code, seq, hour, "cho-1")
            self._scan(code, 10 + seq, f"0{seq + 5}:00", "ben-xe")
        self.database = Database(f"sqlite:///{self.folder}/index.db")
        self.database.migrate("edge.tracing")
        index = Index(self.database, the_places())
        indexer = Indexer(
            self.storage.feed,
            index,
            KeyRing([PRIVATE]),
            Tokens(SECRET),
            lambda: None,
            newest=lambda: feed.newest(self.storage.database),
            batch_scans=100,
        )
        assert indexer.step() == 6

    def _scan(self, code: bytes, seq: int, hour: str, place: str) -> None:
        moment = f"2021-07-02T{hour}:00.000Z"
        scan = sealed_scan(code, seq, at=moment, clock="ntp", place=place)
        self.storage.store([came("gialai", "cong-1", scan)], moment)

    def boxes(self) -> list[tuple[str, bytes, str]]:
        """(scan, box, place) of each scan in storage."""
        return [(row.id, row.sealed, row.place) for row in self.storage.feed(0, 100)]

    def stolen(self) -> bytes:
        """Every byte of the desk's index."""
        self.database.close()
        return everything_in(self.folder)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[UsedDesk]:
    desk = UsedDesk(tmp_path)
    yield desk
    desk.database.close()
    desk.storage.close()


def tokens_of_everybody(secret: bytes) -> list[bytes]:
    """The dictionary: the token of every number, as whoever holds *secret* computes it."""
    tokens = Tokens(secret)
    kinds: tuple[Kind, ...] = ("pin", "document")
    return [
        tokens.token(kind, identity.pin).value
        for identity in map(identity_of, PEOPLE)
        for kind in kinds
    ] + [token.value for token in map(tokens.of_name, map(identity_of, PEOPLE)) if token]


def test_the_desks_index_without_its_secret_names_nobody(desk: UsedDesk) -> None:
    held = desk.stolen()

    assert len(held) > 1000
    known = [DESK.public_key, PRIVATE, hashlib.sha256(DESK.public_key).digest()]
    assert_tells_nobody(held, known)
    for guess in (bytes(32), *known):
        assert not any(token in held for token in tokens_of_everybody(guess))
    # No box lies there either, for whoever has the private key as well.
    assert not any(box in held for _, box, _ in desk.boxes())


def test_the_desks_index_tells_how_somebody_unknown_moved(desk: UsedDesk) -> None:
    # As the threat model says of what remains: who saw a neighbour enter at 08:30 finds the rest.
    questions = Questions(desk.database, the_places())

    (seen,) = questions.present("cho-1", at("08:25"), at("08:35"))
    stays = questions.where(seen.person, at("00:00"), at("23:00"))

    assert [(stay.place, local(stay.start)) for stay in stays] == [
        ("cho-1", "02 08:30"),
        ("ben-xe", "02 13:00"),
    ]


def test_the_desks_index_with_its_secret_tells_of_every_number(desk: UsedDesk) -> None:
    # Nothing stops this one but where the secret lies; it is what the dictionary fails for want of.
    pins = [Tokens(SECRET).token("pin", identity_of(code).pin).value for code in PEOPLE]
    questions = Questions(desk.database, the_places())

    for pin in pins:
        (person,) = questions.persons([pin])
        assert len(questions.where(person, at("00:00"), at("23:00"))) == 2
    held = desk.stolen()
    assert all(pin in held for pin in pins)


def test_the_desks_private_key_opens_every_box_that_lies_with_it(desk: UsedDesk) -> None:
    # As written: with the boxes, everything of that key; nothing is left to stop it.
    opened = [DESK.open(box, scan).pin for scan, box, _ in desk.boxes()]

    assert sorted(opened) == sorted(2 * [identity_of(code).pin for code in PEOPLE])


def test_the_desks_private_key_opens_nothing_that_was_sealed_to_another() -> None:
    # What rotation is for.
    next_key = Sealer(Opener(bytes(range(1, 33))).public_key)

    with pytest.raises(SealError):
        DESK.open(next_key.seal(identity_of(PEOPLE[0]), "a" * 32), "a" * 32)


def test_what_a_case_holds_lies_with_the_desk_and_opens_with_its_key(desk: UsedDesk) -> None:
    # The one exception to "keys and boxes lie apart", and the reason to close cases.
    first, *others = desk.storage.feed(0, 100)
    held = [(first.id, first.place, first.time, 1)]

    assert StoredBoxes(desk.storage.database, desk.database).hold("V-1", held) == 1

    stolen = desk.stolen()
    assert first.sealed in stolen
    assert not any(row.sealed in stolen for row in others)


def test_every_attacker_of_the_threat_model_is_played() -> None:
    page = Path(__file__).parents[2] / "edge" / "tracing" / "README.md"
    section = page.read_text(encoding="utf-8").partition("\n## Threat model\n")[2]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    head, *attackers = rows

    assert head[-1] == "played by"
    assert len(attackers) >= 8
    for row in attackers:
        assert len(row) == len(head), row[0]
        named = re.findall(r"`(?:(test_\w+\.py)::)?(test_\w+)`", row[-1])
        assert named, f"no test plays: {row[0]}"
        for file, test in named:
            code = Path(__file__).with_name(file or Path(__file__).name).read_text("utf-8")
            assert f"\ndef {test}(" in code, f"{row[0]}: there is no {test}"
