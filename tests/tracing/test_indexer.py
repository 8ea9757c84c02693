"""From sealed scans to the index: opened by whichever key, and what cannot be used is counted."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text

from edge.errors import SealError
from edge.identity import Identity
from edge.legal_basis import LegalBasis
from edge.sealing import Sealer, make_key_pair, read_key
from edge.storage.database import Database
from edge.tracing import indexer as indexing
from edge.tracing.index import Index
from edge.tracing.indexer import Indexer
from edge.tracing.keys import KeyRing, make_keys, read_keys
from edge.tracing.questions import Questions
from tests.tracing.desk import TOKENS, at, local, the_places


@dataclass(frozen=True)
class Fed:
    position: int
    id: str
    unit: str
    place: str
    direction: str
    trip: str
    document: str
    time: str
    time_quality: str
    received: str
    key: str
    sealed: bytes


class Storage:
    """A feed that a test fills."""

    def __init__(self, folder: Path) -> None:
        make_key_pair(folder / "old.pub", folder / "old.key")
        make_key_pair(folder / "new.pub", folder / "new.key")
        self.folder = folder
        self.scans: list[Fed] = []

    def put(self, identity: Identity, clock: str, key: str = "new", **changes: object) -> Fed:
        sealer = Sealer(read_key(self.folder / f"{key}.pub"))
        scan = uuid.uuid4().hex
        time = f"2021-07-02T{clock}:00.000Z"
        fed = Fed(
            position=len(self.scans) + 1,
            id=scan,
            unit="cong-1",
            place="cho-1",
            direction="in",
            trip="",
            document="cccd",
            time=time,
            time_quality="synced",
            received=time,
            key=sealer.key_id,
            sealed=sealer.seal(identity, scan),
        )
        self.scans.append(replace(fed, **changes))  # type: ignore[arg-type]
        return self.scans[-1]

    def newest(self) -> int:
        return len(self.scans)

    def feed(self, after: int, limit: int) -> list[Fed]:
        return [scan for scan in self.scans if scan.position > after][:limit]


MAU = Identity(pin="064190000001", name="Trần Thị Mẫu", birth_year=1990)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/index.db")
    database.migrate("edge.tracing")
    yield database
    database.close()


def an_indexer(
    storage: Storage,
    database: Database,
    bases: list[LegalBasis] | None = None,
    keys: Sequence[str] = ("new.key", "old.key"),
) -> Indexer:
    return Indexer(
        storage.feed,
        Index(database, the_places()),
        read_keys(keys, storage.folder),
        TOKENS,
        lambda: bases,
        newest=storage.newest,
        batch_scans=3,
    )


def a_basis(place: str) -> LegalBasis:
    return LegalBasis(
        number="144/CV-THU",
        issuer="Ban Chỉ đạo Mẫu",
        places=(place,),
        issued="2021-07-01T00:00:00.000Z",
        start="2021-07-02T01:00:00.000Z",
        end="2021-07-02T02:00:00.000Z",
    )


def sightings(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(text("SELECT count(*) FROM sighting")).scalar_one())


def unused(database: Database) -> dict[str, int]:
    with database.reading() as connection:
        rows = connection.execute(text("SELECT reason, scans FROM unused"))
        return {row.reason: row.scans for row in rows}


def test_scans_are_opened_by_the_key_they_were_sealed_to(
    storage: Storage, database: Database
) -> None:
    storage.put(MAU, "01:00", "old")
    storage.put(MAU, "02:30", "new", direction="out")

    assert an_indexer(storage, database).step() == 2

    questions = Questions(database, the_places())
    (person,) = questions.persons([TOKENS.token("pin", MAU.pin).value])
    (stay,) = questions.where(person, at("00:00"), at("23:00"))
    assert (local(stay.start), local(stay.end)) == ("02 08:00", "02 09:30")


def test_a_desk_that_was_killed_goes_on_where_it_was(storage: Storage, database: Database) -> None:
    for minute in range(10):
        storage.put(MAU, f"01:{minute:02}")
    indexer = an_indexer(storage, database)
    assert [indexer.step() for _ in range(2)] == [3, 3]

    again = an_indexer(storage, database)

    assert [again.step() for _ in range(3)] == [3, 1, 0]
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM sighting")).scalar() == 10


def test_what_cannot_be_used_is_counted_by_reason_and_stops_nothing(
    storage: Storage, database: Database
) -> None:
    make_key_pair(storage.folder / "lost.pub", storage.folder / "lost.key")
    storage.put(MAU, "01:00", "lost")
    moved = storage.put(MAU, "01:01")
    storage.put(MAU, "01:02", sealed=moved.sealed)  # another scan's seal
    storage.put(MAU, "01:03", sealed=b"noise")
    storage.put(MAU, "01:04", sealed=b"")
    storage.put(Identity(name="Siu Mẫu"), "01:05")
    storage.put(MAU, "01:06", time="nonsense")
    storage.put(MAU, "01:07", direction="out")

    indexer = an_indexer(storage, database)
    while indexer.step():
        pass

    assert unused(database) == {
        indexing.NO_KEY: 1,
        indexing.NOT_OPENED: 2,
        indexing.NO_IDENTITY: 1,
        indexing.NO_IDENTIFIER: 1,
        indexing.NO_TIME: 1,
    }
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM sighting")).scalar() == 2


def test_a_key_that_comes_later_opens_what_was_left_out(
    storage: Storage, database: Database
) -> None:
    storage.put(MAU, "01:00", "old")
    storage.put(MAU, "01:30", "new", direction="out")
    indexer = an_indexer(storage, database, keys=["new.key"])
    while indexer.step():
        pass
    assert unused(database) == {indexing.NO_KEY: 1}

    both = an_indexer(storage, database)
    while both.step():
        pass

    assert unused(database) == {}
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM sighting")).scalar() == 2
        assert connection.execute(text("SELECT count(*) FROM visit")).scalar() == 1
    # Once: a later start goes on where it was.
    again = an_indexer(storage, database)
    assert again.step() == 0


def test_what_no_legal_basis_covers_is_not_opened(storage: Storage, database: Database) -> None:
    basis = a_basis("cho-1")
    storage.put(MAU, "00:59")
    storage.put(MAU, "01:30")
    storage.put(MAU, "02:00")
    storage.put(MAU, "01:30", place="ben-xe")

    indexer = an_indexer(storage, database, [basis])
    while indexer.step():
        pass

    assert unused(database) == {indexing.NO_BASIS: 3}


def test_a_legal_basis_that_comes_later_opens_what_was_left_out(
    storage: Storage, database: Database
) -> None:
    # The units of the station had the document a day before the desk did.
    bases = [a_basis("cho-1")]
    storage.put(MAU, "01:10")
    storage.put(MAU, "01:30", place="ben-xe")
    indexer = an_indexer(storage, database, bases)
    while indexer.step():
        pass
    assert unused(database) == {indexing.NO_BASIS: 1}

    indexer.look_again()
    assert indexer.step() == 0
    bases.append(a_basis("ben-xe"))
    indexer.look_again()
    while indexer.step():
        pass

    assert unused(database) == {}
    assert sightings(database) == 2


def test_a_legal_basis_that_came_while_the_desk_was_off_opens_what_was_left_out(
    storage: Storage, database: Database
) -> None:
    storage.put(MAU, "01:30", place="ben-xe")
    before = an_indexer(storage, database, [a_basis("cho-1")])
    while before.step():
        pass

    after = an_indexer(storage, database, [a_basis("cho-1"), a_basis("ben-xe")])
    while after.step():
        pass

    assert unused(database) == {}
    assert sightings(database) == 1


def test_a_storage_that_was_put_back_from_a_backup_is_gone_through_anew(
    storage: Storage, database: Database
) -> None:
    for minute in range(5):
        storage.put(MAU, f"01:0{minute}")
    indexer = an_indexer(storage, database)
    while indexer.step():
        pass
    # Two are lost with the disk; of what comes now, numbers begin where those of the backup ended.
    del storage.scans[3:]
    storage.put(MAU, "02:00", direction="out")

    assert indexer.step() == 0
    while indexer.step():
        pass

    assert sightings(database) == 6
    assert indexer.step() == 0


def test_a_late_correction_of_the_time_replaces_the_scan(
    storage: Storage, database: Database
) -> None:
    first = storage.put(MAU, "01:00", time_quality="unsynced")
    storage.scans.append(
        replace(first, position=2, time="2021-07-02T05:00:00.000Z", time_quality="corrected")
    )

    an_indexer(storage, database).step()

    questions = Questions(database, the_places())
    (person,) = questions.persons([TOKENS.token("pin", MAU.pin).value])
    assert [local(s.start) for s in questions.where(person, at("00:00"), at("23:00"))] == [
        "02 12:00"
    ]


def test_no_error_and_no_log_holds_anything_of_a_person(
    storage: Storage, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    fed = storage.put(MAU, "01:00")
    keys = read_keys(["new.key"], storage.folder)
    texts = []
    for key, sealed, scan in (
        (fed.key, fed.sealed, "f" * 32),
        ("0" * 8, fed.sealed, fed.id),
        (fed.key, fed.sealed[:-1], fed.id),
    ):
        with pytest.raises(SealError) as caught:
            keys.open(key, sealed, scan)
        chain: BaseException | None = caught.value
        while chain is not None:
            texts.append(repr(chain))
            chain = chain.__cause__ or chain.__context__
    storage.put(MAU, "01:01", time="nonsense")
    with caplog.at_level("DEBUG"):
        an_indexer(storage, database).step()

    for said in (*texts, caplog.text):
        assert "06419" not in said
        assert "Mẫu" not in said


def test_keys_are_made_beside_the_old_ones_and_the_secret_only_once(tmp_path: Path) -> None:
    first = make_keys(tmp_path)
    kept = {path: path.read_bytes() for path in first}
    nothing = make_keys(tmp_path)
    second = make_keys(tmp_path, another=True)

    assert [path.name for path in first] == ["tracing.key", "tracing.secret"]
    assert nothing == []
    assert [path.name for path in second] == ["tracing-2.key"]
    assert {path: path.read_bytes() for path in first} == kept
    assert len(read_keys(["tracing.key", "tracing-2.key"], tmp_path).ids) == 2
    for path in (*first, *second):
        assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(SealError, match="no private key"):
        KeyRing([])
