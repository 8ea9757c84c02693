"""How a unit gets its certificate, at the real endpoint and by a stick."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from edge import config
from edge.broker import BrokerSettings, tls_context
from edge.certificates import check_identity, facts, make_request
from edge.clock import utc_text
from edge.enrolment_ledger import WorkedRecord, read_issued, read_ledger
from edge.errors import EdgeError, EnrolmentError
from edge.provision.__main__ import main
from edge.provision.cards import make_batch_card, make_token
from edge.provision.codes import make_codes
from edge.provision.deployment import utc_now
from edge.provision.machines import enrolment_url
from edge.scanner.credentials import LOOK_S, Credentials
from edge.scanner.enrolling import CLOCKLESS_S, REFUSED_S, RENEW_SHARE, WAIT_MAX_S, Enroller
from edge.scanner.identity import NEXT, PRESENT, REQUEST, Identity
from edge.scanner.pending_enrolment import IDENTITY, PENDING, PendingEnrolment, pend, read_pending
from edge.scanner.settings import ScannerSettings
from tests.enrolment.endpoint import Endpoint
from tests.fakes import FakeClock
from tests.provision.deployments import a_deployment
from tests.scanner.machine import Machine

UNITS = ("cho-1-a", "cho-1-b", "cho-1-c", "cho-1-d", "cho-1-e", "cho-1-f", "cho-1-g", "cho-1-h")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("centre")
    running = Endpoint(a_deployment(folder / "gia-lai", *UNITS), folder)
    yield running
    running.stop()


class Unit:
    """A unit that is to enrol, in *folder*."""

    def __init__(self, folder: Path, endpoint: Endpoint, name: str) -> None:
        self.root, self.endpoint, self.name = folder, endpoint, name
        self.clock = FakeClock()
        self.clock.synchronized = True
        # As of today: TLS goes by the machine's own clock.
        self.clock.seconds += utc_now().timestamp() - self.now().timestamp()
        self.folder = folder / IDENTITY
        self.start()

    def now(self) -> datetime:
        return datetime.fromisoformat(self.clock.now().at)

    def start(self) -> None:
        """As after a power cut."""
        settings = BrokerSettings(ca_file=str(self.endpoint.authority))
        self.identity = Identity(self.folder, self.name, self.endpoint.authority, self.clock)
        self.enroller = Enroller(
            self.identity,
            self.endpoint.url,
            lambda shown: tls_context(settings, self.root, shown),
            self.clock,
        )

    def told(self, url: str = "", token: bytes | None = None) -> None:
        """A card or a set-up code tells it to enrol."""
        deployment = self.endpoint.deployment
        token = token or make_token(deployment, deployment.inventory.unit(self.name), utc_now())
        url = url or self.endpoint.url
        pend(
            PendingEnrolment(deployment="gia-lai", unit=self.name, url=url, token=token), self.root
        )

    def enrol(self) -> None:
        self.told()
        self.enroller.step()
        assert self.enroller.trouble == ""
        self.works()

    def works(self) -> None:
        assert self.identity.choose() is not None
        self.identity.worked()

    def both(self) -> bytes:
        return (self.folder / PRESENT).read_bytes()

    def worked(self) -> int:
        """How often the centre has heard that one works."""
        found = [one for one in read_ledger(self.endpoint.ledger) if isinstance(one, WorkedRecord)]
        return [one.unit for one in found].count(self.name)

    def issued(self) -> int:
        """How many certificates the centre has given it."""
        return [one.unit for one in read_issued(self.endpoint.ledger)].count(self.name)


def test_a_unit_enrols_with_a_key_that_never_leaves_it(tmp_path: Path, endpoint: Endpoint) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-a")

    unit.enrol()

    check_identity(unit.both(), unit.both(), endpoint.authority.read_bytes(), "cho-1-a")
    assert read_pending(unit.folder) is None
    assert {path.name for path in unit.folder.iterdir()} == {PRESENT}
    key = unit.both().partition(b"-----END PRIVATE KEY-----")[0].splitlines()[1]
    assert key not in endpoint.ledger.read_bytes()


def test_a_set_up_code_brings_what_a_unit_enrols_with(tmp_path: Path, endpoint: Endpoint) -> None:
    deployment, machine = endpoint.deployment, Machine(tmp_path)
    machine.insert(make_batch_card(deployment, "lo-1"))
    machine.start()
    (made,) = make_codes(deployment, ["cho-1-f"], batch="lo-1", now=utc_now())

    done = machine.ask(made.text.encode())

    assert done is not None
    assert done.applied
    unit = Unit(machine.root, endpoint, "cho-1-f")
    pending = read_pending(unit.folder)
    assert pending is not None
    assert pending.url == enrolment_url(deployment.settings)
    # In this test the endpoint has another port.
    unit.told(token=pending.token)
    unit.enroller.step()
    assert unit.enroller.trouble == ""
    unit.works()
    check_identity(unit.both(), unit.both(), endpoint.authority.read_bytes(), "cho-1-f")


def test_it_is_renewed_with_a_new_key_when_two_thirds_of_its_life_are_over(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-b")
    unit.enrol()
    before = unit.both()
    life_s = 730 * 86_400
    unit.clock.advance(life_s * RENEW_SHARE - 86_400)
    unit.enroller.step()
    assert unit.issued() == 1

    unit.clock.advance(86_400 + life_s / 30)
    unit.enroller.step()

    assert unit.issued() == 2
    assert (unit.folder / NEXT).exists()
    # While the new one is on trial the old one is kept, and nothing more is asked for.
    assert unit.both() == before
    unit.enroller.step()
    assert unit.issued() == 2
    unit.works()
    assert unit.both() != before


def test_without_a_network_it_is_tried_again_ever_more_rarely(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-c")
    unit.told(url="https://127.0.0.1:1")
    attempts: list[float] = []
    for _ in range(20_000):
        unit.enroller.step()
        if not attempts or unit.enroller._attempts != len(attempts):
            attempts.append(unit.clock.monotonic())
        unit.clock.advance(5)

    waits = [later - earlier for earlier, later in pairwise(attempts)]
    assert waits[0] < 15
    assert max(waits) <= 1.25 * WAIT_MAX_S + 5
    assert len(attempts) < 60
    assert "cannot ask at 127.0.0.1" in unit.enroller.trouble

    # Another token is another chance, at once.
    unit.told()
    unit.enroller.step()
    assert unit.enroller.trouble == ""


def test_a_refusal_is_told_and_the_unit_keeps_what_it_has(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-d")
    unit.enrol()
    before = unit.both()
    deployment = endpoint.deployment
    ended = make_token(
        deployment, deployment.inventory.unit("cho-1-d"), utc_now() - timedelta(days=200)
    )
    unit.told(token=ended)

    unit.enroller.step()

    assert "ended on" in unit.enroller.trouble
    assert unit.both() == before
    unit.clock.advance(REFUSED_S / 2)
    issued = unit.issued()
    unit.enroller.step()
    assert unit.issued() == issued
    assert "ended on" in unit.enroller.trouble


@pytest.mark.parametrize("url", ["https://a..b:8884", "https://mqtt.example.vn:99999"])
def test_an_address_that_is_none_is_told(tmp_path: Path, endpoint: Endpoint, url: str) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-c")
    unit.told(url=url)

    unit.enroller.step()

    assert f"{url}/v1/enrol is no address" in unit.enroller.trouble


@pytest.mark.parametrize("content", [b'{"key": "\xff", "token": ""}', b'{"key":"x","token":""}'])
def test_a_spoilt_byte_costs_no_more_than_the_key_under_way(
    tmp_path: Path, endpoint: Endpoint, content: bytes
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-a")
    unit.enrol()
    (unit.folder / REQUEST).write_bytes(content)

    unit.enroller.rotate()
    unit.enroller.step()

    assert unit.enroller.trouble == ""
    assert unit.identity.on_trial
    (unit.folder / PENDING).write_bytes(b'{"v": 1, "unit": "\xff"}')
    unit.enroller.step()
    assert "damaged" in unit.enroller.trouble


def test_a_unit_whose_clock_nothing_sets_says_that_it_cannot_renew(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-a")
    unit.enrol()
    unit.clock.synchronized = False
    unit.clock.advance(CLOCKLESS_S - 10)
    unit.enroller.step()
    assert unit.enroller.trouble == ""

    unit.clock.advance(10)
    unit.enroller.step()

    assert "nothing has set this unit's clock" in unit.enroller.trouble
    # What it says helps: this needs no clock.
    unit.enroller.rotate()
    issued = unit.issued()
    unit.enroller.step()
    assert unit.issued() == issued + 1


def test_a_unit_that_is_refused_its_first_certificate_lets_it_be_seen(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-d")
    table = {
        "unit": {
            "id": "cho-1-d",
            "area": "pleiku",
            "place": "cho-1",
            "direction": "in",
            "tracing_key_file": "tracing.pub",
        },
        "broker": {"url": "mqtts://127.0.0.1:1", "ca_file": str(endpoint.authority)},
        "enrolment": {"url": endpoint.url, "folder": str(unit.folder)},
    }
    settings = config.check(table, ScannerSettings, "the test's settings")
    credentials = Credentials(settings, tmp_path, unit.clock)
    deployment = endpoint.deployment
    there = deployment.inventory.unit("cho-1-d")
    unit.told(token=make_token(deployment, there, utc_now() - timedelta(days=200)))
    assert not credentials.ended()

    credentials.step()
    unit.clock.advance(LOOK_S)

    assert "ended on" in credentials.trouble
    assert credentials.ended()
    unit.told()
    credentials.step()
    unit.clock.advance(LOOK_S)
    assert not credentials.ended()


@pytest.mark.parametrize("final", [True, False])
def test_a_token_that_is_refused_does_not_keep_the_certificate_from_being_renewed(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, final: bool
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-f")
    unit.enrol()
    deployment = endpoint.deployment
    ended = make_token(
        deployment, deployment.inventory.unit("cho-1-f"), utc_now() - timedelta(days=200)
    )
    unit.told(token=ended)
    if not final:
        monkeypatch.setattr("edge.scanner.enrolling.FORBIDDEN", 0)
    unit.enroller.step()
    assert (read_pending(unit.folder) is None) is final
    if not final:
        with pytest.raises(EnrolmentError, match="ended on"):
            unit.enroller.rotate()
    issued = unit.issued()

    unit.clock.advance(700 * 86_400)
    unit.enroller.step()

    assert unit.issued() == issued + 1
    unit.works()
    assert (read_pending(unit.folder) is None) is final


def test_the_answer_that_a_power_cut_has_swallowed_is_heard_the_second_time(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-e")
    unit.told()

    class PowerCut(BaseException):
        pass

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(unit.identity, "take", cut)
        with pytest.raises(PowerCut):
            unit.enroller.step()
    assert unit.issued() == 1
    unit.start()
    unit.enroller.step()

    assert unit.enroller.trouble == ""
    assert unit.issued() == 1
    unit.works()
    check_identity(unit.both(), unit.both(), endpoint.authority.read_bytes(), "cho-1-e")


def test_one_that_has_ended_waits_for_a_new_token(tmp_path: Path, endpoint: Endpoint) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-e")
    unit.enrol()
    unit.clock.advance(731 * 86_400)
    issued = unit.issued()

    unit.enroller.step()

    assert "scans are kept" in unit.enroller.trouble
    assert unit.issued() == issued
    with pytest.raises(EnrolmentError, match="without a valid certificate"):
        unit.enroller.rotate()
    unit.told()
    unit.enroller.step()
    assert unit.enroller.trouble == ""
    assert unit.issued() == issued + 1


def test_keys_are_changed_when_the_centre_wants_it(tmp_path: Path, endpoint: Endpoint) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-a")
    unit.enrol()
    before, issued, worked = unit.both(), unit.issued(), unit.worked()

    unit.enroller.rotate()
    # Wanted is wanted, also after a power cut.
    unit.start()
    unit.enroller.step()
    unit.works()
    unit.enroller.step()

    assert unit.issued() == issued + 1
    assert unit.both().splitlines()[1] != before.splitlines()[1]
    # The centre has heard that, once, and renews the old one no more.
    copied = tmp_path / "copied.pem"
    copied.write_bytes(before)
    status, said = endpoint.renew("cho-1-a", make_request("cho-1-a")[0], copied)
    assert (status, "newer certificates" in said["error"]) == (403, True)
    unit.start()
    unit.enroller.step()
    assert unit.worked() == worked + 1


def test_the_old_key_serves_until_the_new_one_has_worked_and_the_centre_knows(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-g")
    unit.enrol()
    unit.enroller.step()
    copied = tmp_path / "copied.pem"
    copied.write_bytes(unit.both())
    unit.enroller.rotate()
    unit.enroller.step()

    # On trial: nothing is said of it, however often it looks.
    unit.enroller.step()
    assert unit.worked() == 1
    # It has worked, and the network goes; and then the power.
    unit.works()
    port, endpoint.port = endpoint.port, 1
    unit.start()
    unit.enroller.step()
    endpoint.port = port
    assert unit.worked() == 1
    assert unit.enroller.trouble == ""
    assert endpoint.renew("cho-1-g", make_request("cho-1-g")[0], copied)[0] == 200

    unit.start()
    unit.enroller.step()

    assert unit.worked() == 2
    assert endpoint.renew("cho-1-g", make_request("cho-1-g")[0], copied)[0] == 403
    assert unit.enroller.trouble == ""


def test_a_unit_whose_key_somebody_has_copied_and_used_says_so(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-h")
    unit.enrol()
    thief = Unit(tmp_path / "thief", endpoint, "cho-1-h")
    thief.folder.mkdir(parents=True)
    (thief.folder / PRESENT).write_bytes(unit.both())
    thief.enroller.rotate()
    thief.enroller.step()
    thief.works()
    thief.enroller.step()

    unit.enroller.step()

    unit.enroller.step()
    assert "if its key was copied, revoke it" in unit.enroller.trouble


def test_where_there_is_never_a_network_a_stick_carries_request_and_certificate(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path / "unit", endpoint, "cho-1-b")
    unit.told(url="https://127.0.0.1:1")
    unit.enroller.step()
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "holiday.jpg").write_bytes(b"x")

    # The unit leaves it, the office signs it, the unit takes it.
    assert unit.enroller.serve(stick)
    assert {path.name for path in stick.iterdir()} == {"holiday.jpg", "cho-1-b.request.json"}
    assert b"PRIVATE" not in (stick / "cho-1-b.request.json").read_bytes()
    config = str(endpoint.deployment.folder / "provision.toml")
    assert main(["sign", str(stick), "--config", config]) == 0
    unit.start()
    assert unit.enroller.serve(stick)

    assert {path.name for path in stick.iterdir()} == {"holiday.jpg"}
    unit.works()
    check_identity(unit.both(), unit.both(), endpoint.authority.read_bytes(), "cho-1-b")
    assert not unit.enroller.serve(stick)


def test_a_foreign_answer_on_a_stick_is_refused_and_changes_nothing(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    unit = Unit(tmp_path / "unit", endpoint, "cho-1-c")
    unit.told()
    answer = tmp_path / "cho-1-c.certificate.json"
    unit.enroller.serve(tmp_path)
    request = (unit.folder / "request.json").read_bytes()
    left = tmp_path / "cho-1-c.request.json"
    for content in (
        b"",
        b"{}",
        b"x" * 100_000,
        msgspec.json.encode({"unit": "cho-1-c", "certificate": "x"}),
        msgspec.json.encode(
            {"unit": "cho-1-c", "certificate": endpoint.authority.read_text(encoding="ascii")}
        ),
    ):
        answer.write_bytes(content)
        left.write_bytes(b"of an earlier token")
        with pytest.raises(EdgeError):
            unit.enroller.serve(tmp_path)
        # So that the office answers what the unit asks now.
        assert msgspec.json.decode(left.read_bytes())["unit"] == "cho-1-c"
    assert (unit.folder / "request.json").read_bytes() == request
    assert not (unit.folder / NEXT).exists()


def test_its_end_and_its_beginning_stand_in_it(tmp_path: Path, endpoint: Endpoint) -> None:
    unit = Unit(tmp_path, endpoint, "cho-1-d")
    unit.enrol()

    known = facts(unit.both())

    assert unit.identity.ends() == utc_text(known.not_after.timestamp())
    assert abs(known.issued - utc_now()) < timedelta(minutes=5)
