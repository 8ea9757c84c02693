"""The rules by which the endpoint gives certificates."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.certificates import CENTRE, Authority, facts, make_request
from edge.enrolment.app import ADDRESS_BURST, UNIT_BURST
from edge.enrolment.app import Endpoint as Application
from edge.enrolment.service import Enrolment, Shown
from edge.enrolment.settings import LimitSettings
from edge.enrolment_exchange import ENROL_PATH, EnrolmentRequest, EnrolmentWorked
from edge.enrolment_ledger import Ledger, read_issued, read_lineages
from edge.enrolment_token import mint_token
from edge.errors import ChainError, EdgeError, EnrolmentError
from edge.sealing import Signer
from tests.enrolment.endpoint import a_request
from tests.fakes import FakeClock

KEY = Signer(b"s" * 32)


class Centre:
    """The rules with a clock of their own."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.today = datetime.fromisoformat(self.clock.now().at).astimezone(UTC).date()
        self.revoked = folder / "revoked.txt"
        self.revoked.write_text("cu-1\ncu-2\n")
        self.path = folder / "issued.jsonl"
        now = datetime.fromisoformat(self.clock.now().at)
        root, _ = Authority.make("edge gia-lai", now)
        issuing = root.issue_authority("edge gia-lai units", now)
        assert issuing.key is not None
        self.authority = Authority(issuing.certificate, issuing.key)
        self._start()

    def _start(self) -> None:
        self.ledger = Ledger(self.path)
        self.enrolment = Enrolment(
            self.authority,
            self.ledger,
            self.clock,
            deployment="gia-lai",
            setup_key=KEY.public_key,
            revoked=self.revoked,
            days=30,
        )

    def token(self, unit: str, days: int = 1, *, key: Signer = KEY, of: str = "gia-lai") -> bytes:
        return mint_token(of, unit, self.today + timedelta(days=days), key)

    def renew(self, shown: Shown) -> Shown:
        """A new certificate by the one *shown*."""
        asked = EnrolmentRequest(unit=shown.unit, request=make_request(shown.unit)[0].decode())
        return shown_as(self.enrolment.renew(asked, shown).certificate)

    def worked(self, shown: Shown) -> None:
        self.enrolment.worked(EnrolmentWorked(unit=shown.unit), shown)

    def by_hand(self, unit: str, days: float) -> Shown:
        """A certificate that was signed at the office."""
        now = datetime.fromisoformat(self.clock.now().at)
        issued = self.authority.issue_client(unit, now + timedelta(days=days), 30)
        return shown_as(issued.certificate.decode())

    def start_again(self) -> None:
        """As after a power cut."""
        self.ledger.close()
        self._start()

    def enrol(self, unit: str, token: bytes, name: str = "") -> str:
        request = make_request(name or unit)[0].decode()
        asked = EnrolmentRequest(unit=unit, token=token, request=request)
        return self.enrolment.enrol(asked).certificate


def shown_as(certificate: str) -> Shown:
    """What the endpoint sees of a unit that shows *certificate*."""
    known = facts(certificate.encode())
    return Shown(known.name, f"{known.serial:x}", known.not_after)


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre(tmp_path)


def test_a_token_is_for_one_unit_of_one_deployment_until_its_last_day(centre: Centre) -> None:
    assert centre.enrol("xe-1", centre.token("xe-1", 0))

    for unit, token, why in (
        ("xe-2", centre.token("xe-1"), "not for unit xe-2"),
        ("xe-1", centre.token("xe-1", of="kon-tum"), "not for unit"),
        ("xe-1", centre.token("xe-1", -1), "ended on"),
        ("xe-1", centre.token("xe-1", key=Signer(b"t" * 32)), "not of this deployment"),
        ("cu-1", centre.token("cu-1"), "was revoked"),
    ):
        with pytest.raises(EnrolmentError, match=why):
            centre.enrol(unit, token)
    with pytest.raises(EnrolmentError, match="another name"):
        centre.enrol("xe-1", centre.token("xe-1"), name="xe-2")
    assert len(list(read_issued(centre.path))) == 1


def test_a_clock_that_is_years_behind_spends_no_token(
    centre: Centre,
) -> None:
    token = centre.token("xe-1")
    shown = centre.by_hand("xe-2", 0)
    years = 20 * 365 * 86_400
    centre.clock.advance(-years)
    with pytest.raises(EdgeError, match="before its authority was made") as refused:
        centre.enrol("xe-1", token)
    assert not isinstance(refused.value, EnrolmentError), "that would be final"
    with pytest.raises(EdgeError, match="before its authority was made"):
        centre.renew(shown)

    centre.clock.advance(years)
    assert shown_as(centre.enrol("xe-1", token)).not_after > centre.authority.not_made_before
    assert centre.renew(shown)


@pytest.mark.parametrize("name", [*CENTRE, "collector-2"])
def test_a_machine_of_the_centre_is_no_unit_even_with_a_token(centre: Centre, name: str) -> None:
    with pytest.raises(EnrolmentError, match="no unit is called so"):
        centre.enrol(name, centre.token(name))


@pytest.mark.parametrize("name", ["a/b", "+", "#", "A", "x" * 33, "a\nb"])
def test_a_request_for_a_name_with_a_meaning_for_topics_is_not_signed(
    centre: Centre, name: str
) -> None:
    with pytest.raises(EnrolmentError):
        centre.enrol("xe-1", centre.token("xe-1"), name=name)


def test_an_answer_that_was_not_heard_is_given_even_after_the_last_day(centre: Centre) -> None:
    request = make_request("xe-1")[0].decode()
    asked = EnrolmentRequest(unit="xe-1", token=centre.token("xe-1", 0), request=request)
    first = centre.enrolment.enrol(asked)

    centre.clock.advance(3 * 86_400)

    assert centre.enrolment.enrol(asked) == first
    # ... but not when it has ended itself: an old token is no way back.
    centre.clock.advance(30 * 86_400)
    with pytest.raises(EnrolmentError, match="was used"):
        centre.enrolment.enrol(asked)


def test_what_the_ledger_lost_in_a_power_cut_nobody_was_given(centre: Centre) -> None:
    centre.enrol("xe-1", centre.token("xe-1"))
    token = centre.token("xe-2")
    centre.enrol("xe-2", token)
    centre.ledger.close()
    whole = centre.path.read_bytes()
    end = whole[:-1].rfind(b"\n") + 1

    for cut in range(end, len(whole), 97):
        centre.path.write_bytes(whole[:cut])
        ledger = Ledger(centre.path)
        assert ledger.newest("xe-1") is not None
        assert ledger.newest("xe-2") is None
        ledger.close()


def test_a_ledger_that_was_changed_is_not_gone_on_with(centre: Centre) -> None:
    centre.enrol("xe-1", centre.token("xe-1"))
    centre.ledger.close()
    centre.path.write_bytes(centre.path.read_bytes().replace(b"xe-1", b"xe-9"))
    centre.path.write_bytes(centre.path.read_bytes() * 2)

    with pytest.raises(ChainError):
        Ledger(centre.path)


def test_who_asks_too_often_waits_and_others_do_not(centre: Centre) -> None:
    from starlette.testclient import TestClient

    limits = LimitSettings(address_per_minute=60, unit_per_hour=20)
    application = Application(centre.enrolment, limits, centre.clock).asgi()
    noisy = TestClient(application, client=("192.0.2.1", 1))
    quiet = TestClient(application, client=("192.0.2.2", 1))
    body = a_request("xe-1", make_request("xe-1")[0], centre.token("xe-2"))

    answers = [noisy.post(ENROL_PATH, content=body) for _ in range(ADDRESS_BURST + 1)]

    assert [answer.status_code for answer in answers].count(403) == UNIT_BURST
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert "too often" in json.loads(answers[-1].content)["error"]
    good = a_request("xe-1", make_request("xe-1")[0], centre.token("xe-1"))
    assert noisy.post(ENROL_PATH, content=good).status_code == 429
    assert quiet.post(ENROL_PATH, content=good).status_code == 200
    centre.clock.advance(3600)
    assert noisy.post(ENROL_PATH, content=body).status_code == 403


def test_once_a_new_certificate_has_worked_the_one_before_renews_nothing(centre: Centre) -> None:
    first = shown_as(centre.enrol("xe-1", centre.token("xe-1")))
    centre.worked(first)
    second = centre.renew(first)
    # Until it has worked the unit may need its old one: the power may have gone.
    assert centre.renew(first)
    third = centre.renew(second)

    centre.worked(third)
    centre.start_again()

    for old in (first, second):
        with pytest.raises(EnrolmentError, match="newer certificates"):
            centre.renew(old)
        with pytest.raises(EnrolmentError, match="newer certificates"):
            centre.worked(old)
    assert centre.renew(third)
    assert first.serial in read_lineages(centre.path)["xe-1"].replaced


def test_what_a_copied_key_was_given_beside_the_unit_ends_when_the_units_works(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    first = shown_as(centre.enrol("xe-1", centre.token("xe-1")))
    centre.worked(first)
    thief = centre.renew(first)
    thiefs_next = centre.renew(thief)
    own = centre.renew(first)
    caplog.set_level("WARNING")

    centre.worked(own)

    assert "its key was copied" in caplog.text
    for shown in (first, thief, thiefs_next):
        with pytest.raises(EnrolmentError, match="newer certificates"):
            centre.renew(shown)
    assert centre.renew(own)
    assert read_lineages(centre.path)["xe-1"].replaced == {
        each.serial for each in (first, thief, thiefs_next)
    }


def test_a_usual_renewal_is_no_alarm(centre: Centre, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    shown = shown_as(centre.enrol("xe-1", centre.token("xe-1")))
    for _ in range(3):
        centre.worked(shown)
        # The answer to this one stays known until it has worked, and is told as often as asked.
        centre.worked(shown)
        shown = centre.renew(shown)
    centre.worked(shown)
    by_token = shown_as(centre.enrol("xe-1", centre.token("xe-1")))
    centre.worked(by_token)

    assert not caplog.records
    lines = [json.loads(line)["what"] for line in centre.path.read_text().splitlines()]
    assert lines.count("worked") == 5


def test_one_that_was_signed_by_hand_counts_by_its_end(centre: Centre) -> None:
    old, new = centre.by_hand("xe-1", -3), centre.by_hand("xe-1", 3)
    first = shown_as(centre.enrol("xe-1", centre.token("xe-1")))
    centre.worked(first)

    with pytest.raises(EnrolmentError, match="newer certificates"):
        centre.renew(old)
    centre.worked(new)

    with pytest.raises(EnrolmentError, match="newer certificates"):
        centre.renew(first)
    assert centre.renew(new)


def test_nobody_speaks_for_another_or_for_a_revoked_unit(centre: Centre) -> None:
    shown = shown_as(centre.enrol("xe-1", centre.token("xe-1")))
    with pytest.raises(EnrolmentError, match="no other"):
        centre.enrolment.worked(EnrolmentWorked(unit="xe-2"), shown)
    with pytest.raises(EnrolmentError, match="was revoked"):
        centre.worked(Shown("cu-1", "7", shown.not_after))
