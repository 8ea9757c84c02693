"""Who may tell a unit what to do: its own centre, and nobody who only runs the broker."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import config
from edge.messages import Answer, Command, Config, Health, revision_of
from edge.scanner.desired import DESIRED, Desired
from edge.scanner.indicator import Signal
from edge.scanner.remote import RecentLines, Remote
from edge.scanner.settings import ScannerSettings
from edge.sealing import Signer, Verifier
from edge.signed import sign_order
from tests.fakes import FakeClock, a_health

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
    def __init__(self, folder: Path, centre: Verifier | None) -> None:
        self.line, self.lights, self.clock = Line(), Lights(), FakeClock()
        own = folder / "scanner.toml"
        own.write_text(SETTINGS.format(folder=folder))
        self.desired = Desired(folder / DESIRED, self.clock)
        self.remote = Remote(
            self.line,  # type: ignore[arg-type]
            self.desired,
            config.load(own, ScannerSettings),
            own,
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


def wished(url: str) -> Config:
    settings = {"broker": {"url": url}}
    return Config(unit="cong-1", number=1, revision=revision_of(settings), settings=settings)


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
