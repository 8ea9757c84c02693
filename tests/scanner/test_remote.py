"""Who may tell a unit what to do: its own centre, and nobody who only runs the broker."""

import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import config
from edge.card import Card
from edge.messages import Answer, Command, Config, Health, revision_of
from edge.scanner.carrier import read_centre
from edge.scanner.desired import DESIRED, Desired
from edge.scanner.indicator import Signal
from edge.scanner.remote import RecentLines, Remote
from edge.scanner.settings import ScannerSettings
from edge.sealing import Signer, Verifier, key_id
from edge.signed import sign_order
from edge.succession import succession
from tests.cards import a_card
from tests.fakes import FakeClock, a_health
from tests.scanner.machine import Machine

CENTRE, OTHER = Signer(b"c" * 32), Signer(b"o" * 32)
SETTINGS = """
[unit]
id = "cong-1"
area = "pleiku"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[broker]
url = "mqtt://192.0.2.1:1883"
[outbox]
folder = "{folder}"
"""


class Line:
    """The publisher's part: what came in, and what is answered."""

    connected = True
    idle = True
    forgotten = False

    def __init__(self) -> None:
        self.came: list[tuple[str, bytes]] = []
        self.answers: list[Answer] = []

    def step(self, timeout_s: float) -> None:
        pass

    def take_others(self) -> Iterator[tuple[str, bytes]]:
        came, self.came = self.came, []
        return iter(came)

    def forget(self) -> None:
        self.forgotten = True

    def answer(self, answer: Answer) -> bool:
        self.answers.append(answer)
        return True


class Lights:
    def __init__(self) -> None:
        self.shown: list[Signal] = []

    def show(self, signal: Signal, detail: str = "") -> None:
        self.shown.append(signal)


class Unit:
    def __init__(self, folder: Path, centre: Verifier | None, own: Path | None = None) -> None:
        """*folder* has its outbox; *own* are its settings, where they are written already."""
        self.line, self.lights, self.clock = Line(), Lights(), FakeClock()
        self.folder = folder
        self.own = own or folder / "scanner.toml"
        if own is None:
            self.own.write_text(SETTINGS.format(folder=folder))
        self.desired = Desired(folder / DESIRED, self.clock)
        self.remote = self._remote(centre)

    def started(self) -> Verifier | None:
        """Start anew, by the settings that are kept; gives whom the unit believes then."""
        self.desired = Desired(self.folder / DESIRED, self.clock)
        settings = self.desired.load(self.own)
        centre = read_centre(settings.carry, self.own.parent)
        self.remote = self._remote(centre)
        return centre

    def settle(self) -> None:
        """Have the trial end, and its end be told."""
        self.remote.step(0)
        self.line.answers.clear()

    def _remote(self, centre: Verifier | None) -> Remote:
        return Remote(
            self.line,  # type: ignore[arg-type]
            self.desired,
            config.load(self.own, ScannerSettings),
            self.own,
            self.clock,
            self.lights,  # type: ignore[arg-type]
            self._health,
            RecentLines(),
            centre,
        )

    def hears(self, channel: str, payload: bytes) -> list[Answer]:
        self.line.came.append((channel, payload))
        self.remote.step(0)
        answers, self.line.answers = self.line.answers, []
        return answers

    def _health(self) -> Health:
        return a_health(frame_age_s=0.1)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path, Verifier(CENTRE.public_key))


def command(action: str = "pause", unit: str = "cong-1") -> Command:
    return Command(
        unit=unit,
        id="c" * 32,
        action=action,  # type: ignore[arg-type]
        asked="2021-07-02T01:30:00.000Z",
        expires="2031-07-02T01:30:00.000Z",
    )


def wished(url: str, number: int = 1) -> Config:
    settings = {"broker": {"url": url}}
    return Config(unit="cong-1", number=number, revision=revision_of(settings), settings=settings)


def test_a_unit_does_what_its_centre_has_signed(unit: Unit) -> None:
    (answer,) = unit.hears("cmd", sign_order(command(), CENTRE))

    assert answer.state == "successful"
    assert unit.remote.closed() == "paused by the centre"
    (answer,) = unit.hears("config", sign_order(wished("mqtt://192.0.2.9:1"), CENTRE))
    assert (answer.state, unit.remote.wants_end) == ("executing", True)


@pytest.mark.parametrize(
    "payload",
    [
        command().encode(),
        sign_order(command(), OTHER),
        sign_order(command(unit="cong-2"), CENTRE),
        sign_order(command("identify"), CENTRE).replace(b"identify", b"pause"),
    ],
    ids=["unsigned", "another's", "for another unit", "changed"],
)
def test_who_runs_the_broker_cannot_pause_a_unit(unit: Unit, payload: bytes) -> None:
    answers = unit.hears("cmd", payload)

    assert unit.remote.closed() == ""
    assert not unit.lights.shown
    assert {answer.state for answer in answers} <= {"failed"}


def test_who_runs_the_broker_cannot_give_a_unit_another_broker(unit: Unit) -> None:
    bad = wished("mqtt://192.0.2.66:1")
    for payload in (bad.encode(), sign_order(bad, OTHER)):
        assert unit.hears("config", payload) == []

    assert not unit.remote.wants_end


def handed_over(number: int = 1, *, newest_only: bool = False) -> Config:
    carry = {"successions": [succession(OTHER.public_key, CENTRE)], "newest_key_only": newest_only}
    settings: dict[str, dict[str, object]] = {"carry": carry}
    return Config(unit="cong-1", number=number, revision=revision_of(settings), settings=settings)


def test_the_centre_changes_its_key_and_cannot_shut_itself_out(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "receipts.pub").write_bytes(base64.b64encode(CENTRE.public_key))
    # Signed with the old key, that the new one alone be believed: nobody could undo that.
    (answer,) = unit.hears("config", sign_order(handed_over(newest_only=True), CENTRE))
    assert (answer.state, unit.remote.wants_end) == ("failed", False)
    assert "newest first" in answer.reason

    (answer,) = unit.hears("config", sign_order(handed_over(2), CENTRE))
    assert (answer.state, unit.remote.wants_end) == ("executing", True)

    # As the service starts anew with it.
    centre = unit.started()
    assert centre is not None
    both = centre.ids
    assert both == tuple(key_id(key.public_key) for key in (CENTRE, OTHER))
    unit.settle()
    (answer, *_) = unit.hears("config", sign_order(handed_over(3, newest_only=True), OTHER))
    assert answer.state == "executing"
    centre = unit.started()
    assert centre is not None
    assert centre.ids == both[1:]
    unit.settle()
    assert unit.hears("cmd", sign_order(command(), CENTRE))[0].state == "failed"
    assert unit.hears("cmd", sign_order(command(), OTHER))[0].state == "successful"


def test_a_new_card_of_another_centre_is_obeyed_beside_what_the_former_one_left(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path)
    outbox = tmp_path / "outbox"
    outbox.mkdir()

    def a_card_of(number: int, centre: Signer) -> Card:
        fields = {"number": number, "receipts_key": centre.public_key}
        return a_card("cong-1", settings={"outbox": {"folder": str(outbox)}}, **fields)

    machine.insert(a_card_of(1, CENTRE))
    machine.start()
    unit = Unit(outbox, None, machine.root / "etc/edge/scanner.toml")
    unit.started()
    unit.hears("config", sign_order(wished("mqtt://gone:1883", 10**15), CENTRE))
    unit.started()
    unit.settle()
    assert unit.desired.load(unit.own).broker.url == "mqtt://gone:1883"

    machine.insert(a_card_of(2, OTHER))
    done = machine.start()
    assert done is not None
    assert done.applied
    centre = unit.started()

    assert centre is not None
    assert centre.ids == (key_id(OTHER.public_key),)
    assert unit.desired.load(unit.own).broker.url == "mqtts://mqtt.example.vn:8883"
    assert unit.hears("config", sign_order(wished("mqtt://gone:1883", 10**15), CENTRE)) == []
    (answer,) = unit.hears("config", sign_order(wished("mqtt://192.0.2.9:1883", 1), OTHER))
    assert (answer.state, unit.remote.wants_end) == ("executing", True)
    unit.started()
    unit.settle()
    assert unit.hears("cmd", sign_order(command(), CENTRE))[0].state == "failed"
    assert unit.hears("cmd", sign_order(command(), OTHER))[0].state == "successful"


def test_a_stranger_hands_nothing_over(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "receipts.pub").write_bytes(base64.b64encode(CENTRE.public_key))
    stranger = Signer(b"s" * 32)
    assert unit.hears("config", sign_order(handed_over(), stranger)) == []

    settings: dict[str, dict[str, object]] = {
        "carry": {"successions": [succession(stranger.public_key, stranger)]}
    }
    order = Config(unit="cong-1", number=1, revision=revision_of(settings), settings=settings)
    unit.hears("config", sign_order(order, CENTRE))
    centre = unit.started()
    assert centre is not None
    assert centre.ids == (key_id(CENTRE.public_key),)


def test_a_unit_that_does_not_know_its_centre_follows_nobody_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    unit = Unit(tmp_path, None)
    (answer,) = unit.hears("cmd", sign_order(command(), CENTRE))

    assert answer.state == "failed"
    assert "receipt_key_file" in answer.reason
    assert unit.remote.closed() == ""


def test_a_flood_of_forgeries_does_not_fill_the_log(
    unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(200):
            unit.hears("cmd", b"nonsense")

    assert len(caplog.records) == 1
