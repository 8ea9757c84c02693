"""Control: nothing is answered without a case, no name without a second person, all is recorded."""

import multiprocessing
import os
import pwd
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from edge import chain
from edge.chain import entries, verify
from edge.clock import SystemClock
from edge.desk_socket import ask
from edge.errors import ChainError, ConfigError, DeskError, StorageError
from edge.identity import Identity
from edge.sealing import Opener, Sealer
from edge.storage.database import Database
from edge.tracing import erased, index, receipts
from edge.tracing import officer as officers
from edge.tracing.audit import Audit
from edge.tracing.breach import Breach, BreachDay, breach_page
from edge.tracing.cases import Cases
from edge.tracing.desk import Desk
from edge.tracing.index import Index
from edge.tracing.keys import KeyRing
from edge.tracing.officer import Officer
from edge.tracing.persons import Opened
from edge.tracing.questions import Questions
from edge.tracing.requests import RequestServer
from edge.tracing.subjects import SubjectRequests, due_day
from edge.tracing.workers import ADMINISTRATOR, Worker, Workers
from tests.fakes import LIMIT_S, FakeClock
from tests.power import PowerCut, power_for_lines
from tests.tracing.desk import TOKENS, stay, the_places

PRIVATE = bytes(range(32, 64))
SEALER = Sealer(Opener(PRIVATE).public_key)
A, B, C = "064190000001", "064190000002", "064190000003"
NAMES = {A: "Trần Thị Mẫu", B: "Rơ Mẹ Mẫu", C: "Siu H'Mẫu"}
PURPOSE = "Truy vết ca bệnh số 5 tại chợ"
TIMES: dict[str, Any] = {"since": "2021-07-01", "until": "2021-07-20"}


class Boxes:
    """Sealed identities, found by their scan."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, bytes]] = {}

    def keep(self, opened: list[Opened], pin: str) -> list[Opened]:
        for item in opened:
            scan = item.sighting.scan.hex()
            identity = Identity(pin=pin, name=NAMES[pin], birth_year=1990, phone="0900000001")
            self.kept[scan] = (SEALER.key_id, SEALER.seal(identity, scan))
        return opened

    def sealed(self, scans: Any) -> dict[str, tuple[str, bytes]]:
        return {scan: self.kept[scan] for scan, _, _ in scans if scan in self.kept}


class Office:
    """A desk with two people, three invented persons and a market."""

    def __init__(self, folder: Path) -> None:
        self.audit = folder / "audit.jsonl"
        self.database = Database(f"sqlite:///{folder}/index.db")
        self.database.migrate("edge.tracing")
        places = the_places()
        self.workers = Workers(self.database)
        self.boxes = Boxes()
        self.heads: list[str] = []
        self.clock = FakeClock()
        self.record = Audit(self.audit, self.clock, lambda head: self.heads.append(head.hash))
        self.desk = Desk(
            workers=self.workers,
            cases=Cases(self.database),
            questions=Questions(self.database, places),
            places=places,
            tokens=TOKENS,
            keys=KeyRing([PRIVATE]),
            boxes=self.boxes,
            audit=self.record,
        )
        self.officer = Officer(
            requests=SubjectRequests(self.database),
            index=Index(self.database, places),
            questions=Questions(self.database, places),
            cases=Cases(self.database),
            places=places,
            tokens=TOKENS,
            keys=KeyRing([PRIVATE]),
            audit=self.record,
        )
        Index(self.database, places).add(
            [
                *self.boxes.keep(stay("08:00", "10:00", pin=A), A),
                *self.boxes.keep(stay("08:30", "09:30", pin=B), B),
                *self.boxes.keep(stay("13:00", "14:00", pin=C), C),
            ],
            "1",
        )
        for name, roles in (
            ("lan", "tracer"),
            ("minh", "approver,tracer"),
            ("hoa", "auditor"),
            ("cho", "venue"),
        ):
            self.desk.put_worker(ADMINISTRATOR, name, "", roles)

    def by(self, name: str) -> Worker:
        return self.workers.known(name)

    def approved_case(self) -> str:
        case = self.desk.open_case(self.by("lan"), PURPOSE, [f"pin:{A}"])
        self.desk.decide_case(self.by("minh"), case.id, True)
        return case.id

    def recorded(self) -> list[tuple[str, str]]:
        return [(entry.facts["who"], entry.what) for entry in entries(self.audit)]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.database.close()


def test_a_case_is_approved_by_a_second_person_and_then_answers(office: Office) -> None:
    lan = office.by("lan")
    case = office.desk.open_case(lan, PURPOSE, [f"pin:{A}"])
    with pytest.raises(DeskError, match="is asked, not approved"):
        office.desk.where(lan, case.id, **TIMES)

    office.desk.decide_case(office.by("minh"), case.id, True)

    (where,) = office.desk.where(lan, case.id, **TIMES)
    assert (where.place_name, where.start, where.end) == (
        "Chợ Mẫu",
        "2021-07-02 08:00",
        "2021-07-02 10:00",
    )
    (contact,) = office.desk.overlaps(lan, case.id, **TIMES)
    assert contact.minutes == 60.0
    rings = {p.person: p.ring for p in office.desk.persons(lan, case.id)}
    assert rings == {where.person: 0, contact.person: 1}


def test_nobody_approves_their_own_and_a_tracer_approves_nothing(office: Office) -> None:
    minh = office.by("minh")
    own = office.desk.open_case(minh, PURPOSE)
    others = office.desk.open_case(office.by("lan"), PURPOSE)

    with pytest.raises(DeskError, match="a second person"):
        office.desk.decide_case(minh, own.id, True)
    with pytest.raises(DeskError, match="is not approver"):
        office.desk.decide_case(office.by("lan"), own.id, True)
    office.desk.decide_case(minh, others.id, False)
    with pytest.raises(DeskError, match="is refused already"):
        office.desk.decide_case(minh, others.id, True)


def test_a_number_or_a_code_alone_answers_nothing(office: Office) -> None:
    lan = office.by("lan")
    case = office.approved_case()
    (stranger,) = office.desk._questions.persons([TOKENS.token("pin", C).value])

    # Whoever is not of the case cannot be asked about, whatever number somebody has.
    for question in (office.desk.where, office.desk.overlaps):
        with pytest.raises(DeskError, match=f"has no person {stranger}"):
            question(lan, case, person=stranger, **TIMES)
    with pytest.raises(DeskError, match="there is no case"):
        office.desk.where(lan, "", **TIMES)
    with pytest.raises(DeskError, match="a person is named by") as caught:
        office.desk.open_case(lan, PURPOSE, [f"{C}|TRAN THI MAU|1990"])
    assert C not in str(caught.value)


@pytest.mark.parametrize("purpose", ["", "x", " " * 40, "x" * 501, "dòng một\ndòng hai \x1b[2J"])
def test_a_case_has_a_purpose_that_can_be_judged(office: Office, purpose: str) -> None:
    with pytest.raises(DeskError, match="purpose"):
        office.desk.open_case(office.by("lan"), purpose)


def test_names_are_released_to_the_requester_after_a_second_approval(office: Office) -> None:
    lan, minh = office.by("lan"), office.by("minh")
    case = office.approved_case()
    (contact,) = office.desk.overlaps(lan, case, **TIMES)
    release = office.desk.ask_release(lan, case, [contact.person], "Báo trạm y tế phường")
    for who in (lan, minh):
        with pytest.raises(DeskError):
            office.desk.named(who, release.number)
    with pytest.raises(DeskError, match="a second person"):
        office.desk.decide_release(
            minh, office.desk.ask_release(minh, case, [contact.person], PURPOSE).number, True
        )

    office.desk.decide_release(minh, release.number, True)

    (named,) = office.desk.named(lan, release.number)
    assert (named.name, named.pin, named.phone) == ("Rơ Mẹ Mẫu", B, "0900000001")
    with pytest.raises(DeskError, match="for lan"):
        office.desk.named(minh, release.number)
    office.desk.close_case(lan, case)
    with pytest.raises(DeskError, match="closed"):
        office.desk.named(lan, release.number)


def test_a_release_names_only_persons_of_its_case(office: Office) -> None:
    lan = office.by("lan")
    case = office.approved_case()
    office.desk.where(lan, case, **TIMES)

    for persons in ([999], [], [1, 999]):
        with pytest.raises(DeskError, match="has no person"):
            office.desk.ask_release(lan, case, persons, PURPOSE)


def test_a_venue_sees_counts_alone(office: Office) -> None:
    cho = office.by("cho")
    case = office.approved_case()

    found = office.desk.completeness(cho, **TIMES)
    assert [(d.scans_in, d.scans_out) for d in found.days] == [(3, 3)]
    attempts: list[Callable[[], object]] = [
        lambda: office.desk.where(cho, case, **TIMES),
        lambda: office.desk.present(cho, case, "cho-1", **TIMES),
        lambda: office.desk.overlaps(cho, case, **TIMES),
        lambda: office.desk.second_ring(cho, case, **TIMES),
        lambda: office.desk.persons(cho, case),
        lambda: office.desk.cases(cho),
        lambda: office.desk.open_case(cho, PURPOSE),
        lambda: office.desk.releases(cho),
        lambda: office.desk.named(cho, 1),
        lambda: office.desk.audit(cho),
        lambda: office.desk.put_worker(cho, "cho", "", "tracer"),
    ]
    for attempt in attempts:
        with pytest.raises(DeskError):
            attempt()


def test_the_audit_names_who_saw_whom_and_holds_no_name(office: Office) -> None:
    lan, minh = office.by("lan"), office.by("minh")
    case = office.approved_case()
    (contact,) = office.desk.overlaps(lan, case, **TIMES)
    release = office.desk.ask_release(lan, case, [contact.person], "Báo trạm y tế phường")
    office.desk.decide_release(minh, release.number, True)
    office.desk.named(lan, release.number, "xlsx")

    assert office.recorded()[4:] == [
        ("lan", "case asked for"),
        ("minh", "case approved"),
        ("lan", "overlaps"),
        ("lan", "release asked for"),
        ("minh", "release approved"),
        ("lan", "identities seen"),
    ]
    seen = list(entries(office.audit))[-1].facts
    assert seen["persons"] == [contact.person]
    assert (seen["approver"], seen["exported_as"], seen["case"]) == ("minh", "xlsx", case)
    content = office.audit.read_bytes()
    for number, name in NAMES.items():
        assert number.encode() not in content
        assert name.encode() not in content
    assert verify(office.audit, office.heads[-1]).hash == office.heads[-1]
    assert office.desk.verify_audit(office.by("hoa"), office.heads[0]).entries == len(office.heads)


def test_what_cannot_be_recorded_is_not_answered(office: Office) -> None:
    lan = office.by("lan")
    case = office.approved_case()
    office.audit.rename(office.audit.with_suffix(".away"))
    office.audit.mkdir()

    with pytest.raises(ChainError):
        office.desk.overlaps(lan, case, **TIMES)


def test_who_sees_a_place_or_a_trip_makes_them_persons_of_the_case(office: Office) -> None:
    lan = office.by("lan")
    case = office.approved_case()

    stays = office.desk.present(
        lan, case, "cho-1", since="2021-07-02 12:00", until="2021-07-02 15:00"
    )

    assert [s.start for s in stays] == ["2021-07-02 13:00"]
    assert {p.person: p.ring for p in office.desk.persons(lan, case)}[stays[0].person] == 1


@pytest.mark.parametrize(
    ("since", "until"),
    [("2021-07-02", "2021-07-01"), ("x", "2021-07-01"), ("2021-01-01", "2021-07-01")],
)
def test_a_time_that_is_none_is_said_so(office: Office, since: str, until: str) -> None:
    with pytest.raises(DeskError):
        office.desk.where(office.by("lan"), office.approved_case(), since, until)


def test_workers_sign_in_with_a_password_and_all_errors_are_alike(office: Office) -> None:
    office.desk.put_worker(ADMINISTRATOR, "lan", "", "tracer", "mật khẩu rất dài")

    assert office.workers.signed_in("lan", "mật khẩu rất dài").name == "lan"
    texts = set()
    for name, password in (("lan", "sai"), ("minh", ""), ("minh", "sai"), ("ai", "x")):
        with pytest.raises(DeskError) as caught:
            office.workers.signed_in(name, password)
        texts.add(str(caught.value))
    assert len(texts) == 1
    office.desk.remove_worker(ADMINISTRATOR, "lan")
    with pytest.raises(DeskError):
        office.workers.signed_in("lan", "mật khẩu rất dài")
    for roles, password in (("root", ""), ("", ""), ("tracer", "ngắn")):
        with pytest.raises(DeskError):
            office.desk.put_worker(ADMINISTRATOR, "x", "", roles, password)


def officer(office: Office) -> Worker:
    office.desk.put_worker(ADMINISTRATOR, "ha", "", "officer")
    return office.by("ha")


def test_a_person_sees_what_is_kept_of_them(office: Office) -> None:
    ha = officer(office)
    request = office.officer.take_request(ha, "access", [f"pin:{A}"])
    office.officer.acknowledge(ha, request.number)

    answer = office.officer.fulfil(ha, request.number)

    assert [(s.place, s.start) for s in answer.stays] == [("cho-1", "2021-07-02 08:00")]
    with pytest.raises(DeskError, match="was fulfilled"):
        office.officer.fulfil(ha, request.number)


def test_a_person_is_erased_and_the_order_holds_only_scans(office: Office) -> None:
    ha = officer(office)
    request = office.officer.take_request(ha, "erasure", [f"pin:{A}"])

    answer = office.officer.fulfil(ha, request.number)

    assert {scan for scan, _, _ in answer.order} == set(list(office.boxes.kept)[:2])
    case = office.approved_case()
    assert office.desk.where(office.by("lan"), case, **TIMES) == []
    assert office.officer.requests(ha)[0].done
    (entry,) = [e for e in entries(office.audit) if e.what == "erased"]
    assert entry.facts["sightings"] == 2


def test_an_order_that_was_lost_is_given_again(office: Office) -> None:
    """As when the file cannot be written, or the connection is cut, after all is erased."""
    ha = officer(office)
    request = office.officer.take_request(ha, "erasure", [f"pin:{A}"])
    first = office.officer.fulfil(ha, request.number)
    assert len(first.order) == 2

    assert office.officer.fulfil(ha, request.number).order == first.order
    assert [e.what for e in entries(office.audit)][-1] == "order given again"


def test_an_erasure_that_was_cut_short_is_done_when_it_is_asked_for_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ha = officer(office)
    request = office.officer.take_request(ha, "erasure", [f"pin:{A}"])

    def cut(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(SubjectRequests, "mark", cut)
        with pytest.raises(StorageError):
            office.officer.fulfil(ha, request.number)
    # The person is out of the index by now, and who they were is known to nobody.
    assert len(office.officer.fulfil(ha, request.number).order) == 2


def test_an_erasure_that_is_killed_at_any_line_is_recorded_with_what_was_erased(
    office: Office,
) -> None:
    ha, places = officer(office), the_places()
    cuts = 0
    while True:
        pin = f"0641911{cuts:05}"
        Index(office.database, places).add(stay("08:00", "10:00", pin=pin), str(cuts + 2))
        request = office.officer.take_request(ha, "erasure", [f"pin:{pin}"])
        done = False
        with suppress(PowerCut), power_for_lines(cuts, officers, index, erased, receipts, chain):
            office.officer.fulfil(ha, request.number)
            done = True
        if done:
            break
        cuts += 1
        assert len(office.officer.fulfil(ha, request.number).order) == 2
        # One entry for the erasure, and perhaps one of nothing for the request that was made again.
        told = {
            entry.facts["erasure"]: entry.facts["sightings"]
            for entry in entries(office.audit)
            if entry.what == "erased" and entry.facts["request"] == request.number
        }
        assert sum(told.values()) == 2
    assert cuts > 40
    verify(office.audit)


def test_a_closed_case_keeps_no_token_of_whom_it_was_about(office: Office) -> None:
    case = office.approved_case()

    def tokens() -> int:
        with office.database.reading() as connection:
            found = connection.execute(text("SELECT count(*) FROM case_token")).scalar_one()
        return int(found)

    assert tokens() == 1
    office.desk.close_case(office.by("lan"), case)
    assert tokens() == 0


def test_who_trickles_keeps_the_desk_from_nobody(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "trickled.sock"
    server = RequestServer(path, [office.desk], office.workers, SystemClock())
    said_all = threading.Event()

    def trickle() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            with suppress(OSError):
                for _ in range(400):
                    connection.sendall(b"x")
                    threading.Event().wait(0.3)
                said_all.set()

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        assert server.step(LIMIT_S)
    finally:
        server.close()
        thread.join(LIMIT_S)
    assert not said_all.is_set()


def test_what_a_case_holds_is_not_erased(office: Office) -> None:
    ha = officer(office)
    case = office.approved_case()
    office.desk.where(office.by("lan"), case, **TIMES)
    office.desk.hold_case(ha, case)
    request = office.officer.take_request(ha, "erasure", [f"pin:{A}"])

    with pytest.raises(DeskError, match="a case holds"):
        office.officer.fulfil(ha, request.number)
    office.desk.close_case(ha, case)
    office.officer.fulfil(ha, request.number)


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-01-05T03:00:00.000Z", "2026-01-07"),  # Monday
        ("2026-01-08T03:00:00.000Z", "2026-01-12"),  # Thursday
        ("2026-01-09T03:00:00.000Z", "2026-01-13"),  # Friday
        ("2026-01-10T03:00:00.000Z", "2026-01-13"),  # Saturday
        ("2026-01-08T18:00:00.000Z", "2026-01-13"),  # Friday already, in Vietnam
    ],
)
def test_a_request_is_acknowledged_within_two_working_days(received: str, due: str) -> None:
    assert due_day(received) == due


def test_a_request_that_waits_too_long_is_late(office: Office) -> None:
    requests = SubjectRequests(office.database)
    tokens = [TOKENS.token("pin", A)]
    taken = requests.take("access", tokens, "ha", "2026-01-05T03:00:00.000Z")

    assert not requests.request(taken.number, "2026-01-07T16:00:00.000Z").late
    assert requests.request(taken.number, "2026-01-07T18:00:00.000Z").late
    requests.mark(taken.number, now="2026-01-07T18:00:00.000Z", done=False)
    assert not requests.request(taken.number, "2026-01-09T03:00:00.000Z").late


def test_the_breach_file_counts_and_names_nobody(office: Office) -> None:
    ha = officer(office)

    breach = office.officer.breach(ha, "cong-1", "2021-07-01", "2021-07-03", "2021-07-03 09:00")

    assert (breach.scans, breach.persons, breach.units) == (6, 3, ("cong-1",))
    assert breach.tell_by == "2021-07-06 09:00"
    (day,) = breach.days
    assert (day.day, day.place, day.scans, day.persons) == ("2021-07-02", "cho-1", 6, 3)
    page = breach_page(breach)
    assert "2021-07-06 09:00" in page
    assert SEALER.key_id in page
    for number, name in NAMES.items():
        assert number not in page
        assert name not in page
    everything = office.officer.breach(ha, "*", "2021-07-01", "2021-07-03")
    assert everything.scans == 6
    assert office.officer.breach(ha, "cong-9", "2021-07-01", "2021-07-03").scans == 0


def test_a_breach_page_is_safe_whatever_a_unit_is_called() -> None:
    hostile = BreachDay("<script>alert(1)</script>", "2021-07-02", '"><img src=x>', 1, 1)

    page = breach_page(Breach(("<b>",), "a", "b", "c", "d", (hostile,), 1, 1, ("0" * 8,)))

    assert "<script" not in page
    assert "<img" not in page
    assert "http:" not in page
    assert "https:" not in page


class Listening:
    """The desk behind its socket, in a thread."""

    def __init__(self, office: Office, path: Path) -> None:
        self.server = RequestServer(
            path, [office.desk, office.officer], office.workers, office.clock
        )
        self.path = path
        self._stop = threading.Event()
        # SQLite's connections are of the pool; requests come one by one.
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def _loop(self) -> None:
        while not self._stop.is_set():
            self.server.step(0.05)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self.server.close()


@pytest.fixture
def listening(office: Office, tmp_path: Path) -> Iterator[Listening]:
    listening = Listening(office, tmp_path / "desk.sock")
    yield listening
    listening.close()


def test_a_request_comes_from_whom_the_kernel_says(office: Office, listening: Listening) -> None:
    # This process runs as the desk's own account: the administrator, who may appoint and no more.
    assert ask(listening.path, "workers")[0]["name"] == "cho"
    with pytest.raises(DeskError, match="administrator is not tracer"):
        ask(listening.path, "open_case", purpose=PURPOSE)


@pytest.mark.skipif(os.geteuid() != 0, reason="speaks as another account: run as root")
def test_another_account_is_who_it_is(office: Office) -> None:
    nobody = pwd.getpwnam("nobody")
    office.desk.put_worker(ADMINISTRATOR, "nobody", "", "tracer")
    with tempfile.TemporaryDirectory(prefix="edge-desk-") as folder:
        Path(folder).chmod(0o755)
        listening = Listening(office, Path(folder) / "desk.sock")
        try:
            assert asked_as(nobody.pw_uid, listening.path) == "nobody"
        finally:
            listening.close()


def asked_as(uid: int, path: Path) -> str:
    """Who the desk says opened a case, when a process of that account does."""
    spawn = multiprocessing.get_context("spawn")
    said: Any = spawn.Queue()
    client = spawn.Process(target=open_a_case_as, args=(uid, path, said))
    client.start()
    answer = str(said.get(timeout=LIMIT_S))
    client.join(LIMIT_S)
    return answer


def open_a_case_as(uid: int, path: Path, said: Any) -> None:
    os.setgid(uid)
    os.setuid(uid)
    try:
        said.put(ask(path, "open_case", purpose=PURPOSE)["requester"])
    except DeskError as err:
        said.put(str(err))


def test_a_page_speaks_for_a_worker_with_their_password(
    office: Office, listening: Listening
) -> None:
    office.desk.put_worker(ADMINISTRATOR, "lan", "", "tracer", "mật khẩu rất dài")

    case = ask(listening.path, "open_case", "lan", "mật khẩu rất dài", purpose=PURPOSE, numbers=[])

    assert (case["requester"], case["state"]) == ("lan", "asked")
    with pytest.raises(DeskError, match="name and password"):
        ask(listening.path, "open_case", "lan", "sai", purpose=PURPOSE)


def test_after_a_few_wrong_passwords_a_sign_in_waits_even_with_the_right_one(
    office: Office, listening: Listening
) -> None:
    right = "mật khẩu rất dài"
    for name in ("lan", "minh"):
        office.desk.put_worker(ADMINISTRATOR, name, "", "tracer", right)

    def cases(name: str, password: str) -> Any:
        return ask(listening.path, "cases", name, password)

    for _ in range(5):
        with pytest.raises(DeskError, match="name and password"):
            cases("lan", "sai")
    for password in ("sai", right):
        with pytest.raises(DeskError, match="try again in 60 s"):
            cases("lan", password)
    # Somebody else is not kept waiting, however often they sign in.
    for _ in range(8):
        assert cases("minh", right) == []
    # Nor is who asks by their account on this machine.
    assert ask(listening.path, "workers")

    office.clock.advance(59)
    with pytest.raises(DeskError, match="try again in 1 s"):
        cases("lan", right)
    office.clock.advance(1)
    assert cases("lan", right) == []
    with pytest.raises(DeskError, match="name and password"):
        cases("lan", "sai")
    assert cases("lan", right) == []


def test_an_account_that_tries_many_names_waits(office: Office, listening: Listening) -> None:
    said = []
    for number in range(65):
        with pytest.raises(DeskError) as caught:
            ask(listening.path, "cases", f"ten-{number}", "sai")
        said.append(str(caught.value))

    assert ["too many" in text for text in said] == [False] * 60 + [True] * 5
    office.clock.advance(5)
    with pytest.raises(DeskError, match="name and password"):
        ask(listening.path, "cases", "ten-41", "sai")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b'{"do":"_named","with":{"person":1}}\n',
        b'{"do":"nothing"}\n',
        b'{"do":"where","with":{"case":1,"since":"a","until":"b"}}\n',
        b'{"do":"where","with":{"x":1}}\n',
        b'{"do":"named","with":{"release":"1; DROP TABLE cases"}}\n',
        b"\xff" * 100 + b"\n",
        b"[" * 100_000 + b"\n",
        b"x" * 1_100_000,
    ],
)
def test_a_request_that_is_none_is_refused_and_the_next_is_answered(
    listening: Listening, line: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(listening.path))
        try:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            said = connection.makefile("rb").read()
        except OSError:
            said = b'{"error"'  # hung up on: it was too long

    assert said.startswith(b'{"error"')
    assert len(ask(listening.path, "workers")) == 4


def test_a_desk_that_does_not_run_is_said_so(tmp_path: Path, office: Office) -> None:
    with pytest.raises(DeskError, match="is edge-trace running"):
        ask(tmp_path / "desk.sock", "workers")
    with pytest.raises(ConfigError, match="cannot listen"):
        RequestServer(tmp_path / "no" / "desk.sock", [office.desk], office.workers, office.clock)
