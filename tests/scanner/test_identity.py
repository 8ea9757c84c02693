"""The unit's key and certificates: which is shown, and what a power cut leaves of them."""

from datetime import datetime
from pathlib import Path

import pytest

from edge.certificates import Authority, check_identity, make_request
from edge.errors import EnrolmentError
from edge.scanner.identity import NEXT, PRESENT, REQUEST, TRY_AGAIN_S, Identity
from edge.scanner.pending_enrolment import IDENTITY, PendingEnrolment, pend, read_pending
from tests.cards import an_authority
from tests.fakes import FakeClock
from tests.power import PowerCut, power_for

PENDING_ONE = PendingEnrolment(
    deployment="thu-nghiem", unit="xe-1", url="https://mqtt.example.vn:8884", token=b"t"
)


class Unit:
    """The identity of unit xe-1."""

    def __init__(self, folder: Path, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        folder.mkdir(exist_ok=True)
        (folder / "authority.pem").write_text(an_authority()[1])
        self.folder = folder / IDENTITY
        self.authority = folder / "authority.pem"
        self.identity = Identity(self.folder, "xe-1", self.authority, self.clock)

    def given(self, days: int = 30, token: bytes = b"") -> bytes:
        """What the centre answers to the request of now."""
        now = datetime.fromisoformat(self.clock.now().at)
        request = self.identity.request(token)
        return an_authority()[0].sign_request(request, "xe-1", now, days).certificate

    def enrol(self, days: int = 30) -> None:
        self.identity.take(self.given(days))
        self.identity.done(b"")

    def works(self) -> None:
        assert self.identity.choose() is not None
        self.identity.worked()

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def test_a_unit_without_a_certificate_shows_none(unit: Unit) -> None:
    assert unit.identity.choose() is None
    assert unit.identity.facts is None
    assert not unit.identity.ended()


def test_a_new_certificate_takes_the_place_of_the_old_once_it_has_worked(unit: Unit) -> None:
    unit.enrol()
    unit.works()
    assert unit.files() == {PRESENT}
    old = (unit.folder / PRESENT).read_bytes()

    unit.enrol()

    assert unit.identity.choose() == unit.folder / NEXT
    assert (unit.folder / PRESENT).read_bytes() == old
    unit.identity.worked()
    assert unit.files() == {PRESENT}
    assert (unit.folder / PRESENT).read_bytes() != old
    assert (unit.folder / PRESENT).stat().st_mode & 0o777 == 0o600


def test_one_that_the_broker_called_expired_by_mistake_is_good_once_it_works(unit: Unit) -> None:
    unit.enrol()
    unit.works()
    unit.identity.choose()
    unit.identity.refused("SSLV3_ALERT_CERTIFICATE_EXPIRED")
    assert unit.identity.ended()

    unit.works()

    assert not unit.identity.ended()


def test_one_that_the_broker_does_not_take_leaves_the_old_in_place(unit: Unit) -> None:
    unit.enrol()
    unit.works()
    unit.enrol()
    assert unit.identity.choose() == unit.folder / NEXT

    # It did not work: the next attempt shows the old one, which does.
    assert unit.identity.choose() == unit.folder / PRESENT
    unit.identity.worked()
    assert unit.files() == {PRESENT, NEXT}
    unit.clock.advance(TRY_AGAIN_S - 2)
    assert not unit.identity.calls_for_another()
    unit.clock.advance(3)
    assert unit.identity.calls_for_another()
    assert unit.identity.choose() == unit.folder / NEXT
    assert unit.identity.choose() == unit.folder / PRESENT
    # Ever more rarely.
    unit.clock.advance(TRY_AGAIN_S + 1)
    assert not unit.identity.calls_for_another()


def test_an_old_one_that_has_ended_is_not_shown_instead_of_a_new_one(unit: Unit) -> None:
    unit.clock.synchronized = True
    unit.enrol(days=1)
    unit.works()
    unit.clock.advance(2 * 86_400)
    assert unit.identity.ended()
    unit.enrol()

    assert [unit.identity.choose() for _ in range(3)] == [unit.folder / NEXT] * 3
    assert not unit.identity.ended()


def test_a_clock_that_nothing_has_set_ends_nothing_but_the_broker_may_say_so(unit: Unit) -> None:
    unit.enrol(days=1)
    unit.works()
    unit.clock.advance(2 * 86_400)
    assert not unit.identity.ended()
    unit.identity.choose()

    unit.identity.refused("TLSV1_ALERT_UNKNOWN_CA")
    assert not unit.identity.ended()
    unit.identity.refused("SSLV3_ALERT_CERTIFICATE_EXPIRED")
    assert unit.identity.ended()
    unit.enrol()
    assert not unit.identity.ended()


def test_one_that_came_while_another_was_tried_is_tried_itself(unit: Unit) -> None:
    unit.enrol()
    unit.works()
    unit.enrol()
    assert unit.identity.choose() == unit.folder / NEXT
    unit.enrol()
    newest = (unit.folder / NEXT).read_bytes()

    unit.identity.worked()

    assert (unit.folder / NEXT).read_bytes() == newest
    unit.works()
    assert (unit.folder / PRESENT).read_bytes() == newest


def test_an_answer_that_is_not_for_this_unit_and_this_key_changes_nothing(unit: Unit) -> None:
    now = datetime.fromisoformat(unit.clock.now().at)
    stranger = Authority.make("edge thu-nghiem", now)[0]
    request = unit.identity.request(b"t")
    for wrong in (
        an_authority()[0].sign_request(make_request("xe-1")[0], "xe-1", now, 30).certificate,
        an_authority()[0].sign_request(make_request("xe-2")[0], "xe-2", now, 30).certificate,
        stranger.sign_request(request, "xe-1", now, 30).certificate,
        b"",
        b"noise",
    ):
        with pytest.raises(EnrolmentError):
            unit.identity.take(wrong)
    assert unit.files() == {REQUEST}
    assert (unit.folder / REQUEST).stat().st_mode & 0o777 == 0o600


def test_the_same_key_is_asked_for_until_there_is_an_answer(unit: Unit) -> None:
    key = (unit.identity.request(b"t"), unit.folder / REQUEST)[1].read_bytes()

    unit.identity.request(b"t")
    assert (unit.folder / REQUEST).read_bytes() == key
    unit.identity.request(b"another token")
    assert (unit.folder / REQUEST).read_bytes() != key


def test_whenever_the_power_goes_the_unit_has_the_old_or_the_new_whole(tmp_path: Path) -> None:
    """From asking to having it proved, cut at each call to the system; then all is done again."""
    steps = 0
    while True:
        unit = Unit(tmp_path / str(steps))
        unit.enrol()
        unit.works()
        answers: dict[bytes, bytes] = {}

        def renew(unit: Unit = unit, answers: dict[bytes, bytes] = answers) -> None:
            if read_pending(unit.folder) is not None:
                if not unit.identity.answered(b"t"):
                    unit.identity.request(b"t")
                    # The centre gives each key one certificate, as its ledger does.
                    key = (unit.folder / REQUEST).read_bytes()
                    answers[key] = answers.get(key) or unit.given(token=b"t")
                    unit.identity.take(answers[key])
                unit.identity.done(b"t")
            unit.works()

        pend(PENDING_ONE, tmp_path / str(steps))
        try:
            with power_for(steps):
                renew()
        except PowerCut:
            pass
        else:
            break
        after = Unit(tmp_path / str(steps), unit.clock)
        shown = after.identity.choose()
        assert shown is not None
        both = shown.read_bytes()
        check_identity(both, both, after.authority.read_bytes(), "xe-1")
        unit.identity = Unit(tmp_path / str(steps), unit.clock).identity
        renew()
        assert len(answers) == 1, f"cut after {steps} calls"
        # What is left of a request is overwritten by the next.
        assert unit.files() - {REQUEST} == {PRESENT}, f"cut after {steps} calls"
        steps += 1
    assert steps > 12
