"""Commands: each done once, in time, and answered."""

from pathlib import Path

import pytest

from edge.clock import utc_seconds, utc_text
from edge.errors import EdgeError
from edge.messages import Answer, Command, CommandAction
from edge.scanner.orders import REMEMBERED, Orders, findings
from tests.fakes import FakeClock


class Unit:
    """A unit that takes commands, over its starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.clock.synchronized = True
        self.done: list[str] = []
        self.start()

    def start(self, *keys: str) -> None:
        self.orders = Orders(
            self.folder / "orders.json",
            self.clock,
            acts={"identify": lambda: self._act("identify"), "diagnostics": self._fail},
            endings={"restart": lambda: self._act("restart"), "reboot": self._fail},
            keys=keys,
        )

    def command(self, action: CommandAction, number: int = 1, life_s: float = 60) -> list[Answer]:
        self.orders.take(self.asked(action, number, life_s))
        return self.answers()

    def asked(self, action: CommandAction, number: int = 1, life_s: float = 60) -> Command:
        self.clock.advance(0.001)
        now = self.clock.now().at
        expires = utc_text(utc_seconds(now) + life_s)
        return Command(
            unit="cong-1", id=f"{number:032x}", action=action, asked=now, expires=expires
        )

    def answers(self) -> list[Answer]:
        told: list[Answer] = []

        def publish(answer: Answer) -> bool:
            told.append(answer)
            return True

        self.orders.tell(publish)
        return told

    def _act(self, action: str) -> str:
        self.done.append(action)
        return "found"

    def _fail(self) -> str:
        raise EdgeError("cannot")


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def test_a_command_is_done_and_answered(unit: Unit) -> None:
    (answer,) = unit.command("identify")

    assert (answer.state, answer.detail, unit.done) == ("successful", "found", ["identify"])


def test_a_replay_is_answered_and_not_done_again_also_after_a_restart(unit: Unit) -> None:
    unit.command("identify")
    unit.command("identify")
    unit.start()
    (answer,) = unit.command("identify")

    assert answer.state == "successful"
    assert unit.done == ["identify"]


def test_a_command_that_fails_is_answered_with_the_reason(unit: Unit) -> None:
    (answer,) = unit.command("diagnostics")

    assert (answer.state, answer.reason) == ("failed", "cannot")


def test_a_command_that_has_expired_is_not_done(unit: Unit) -> None:
    (answer,) = unit.command("identify", life_s=-1)

    assert answer.state == "failed"
    assert "expired" in answer.reason
    assert unit.done == []


def test_a_unit_without_a_clock_takes_what_comes_over_its_connection(unit: Unit) -> None:
    unit.clock.synchronized = False
    unit.command("identify", life_s=-1)

    assert unit.done == ["identify"]


def test_a_restart_is_answered_before_and_after_and_never_done_twice(unit: Unit) -> None:
    assert [answer.state for answer in unit.command("restart")] == ["executing"]
    unit.start()
    assert [answer.state for answer in unit.answers()] == ["successful"]
    assert [answer.state for answer in unit.command("restart")] == ["successful"]
    unit.start()

    assert unit.answers() == []
    assert unit.done == ["restart"]


def test_an_end_that_cannot_be_is_a_failure(unit: Unit) -> None:
    assert [answer.state for answer in unit.command("reboot")] == ["failed"]
    unit.start()
    assert unit.answers() == []


def test_a_pause_lasts_over_restarts_until_it_is_ended(unit: Unit) -> None:
    unit.command("pause", 1)
    unit.start()
    assert unit.orders.paused

    unit.command("resume", 2)
    unit.start()
    assert not unit.orders.paused


def test_an_action_that_this_unit_does_not_know_is_refused(unit: Unit) -> None:
    (answer,) = unit.command("self_test")

    assert (answer.state, answer.reason) == ("failed", "this unit does not know how")


def test_answers_wait_for_a_connection(unit: Unit) -> None:
    unit.orders.take(unit.asked("identify"))
    unit.orders.tell(lambda _: False)

    assert len(unit.answers()) == 1
    assert unit.answers() == []


def test_what_is_remembered_is_bounded(unit: Unit) -> None:
    for number in range(REMEMBERED + 20):
        unit.command("identify", number)
    unit.start()

    assert len((unit.folder / "orders.json").read_bytes()) < 20_000
    unit.command("identify", REMEMBERED + 19)
    assert unit.done.count("identify") == REMEMBERED + 20


def test_a_part_that_fails_its_test_does_not_hide_the_others() -> None:
    def broken() -> str:
        raise EdgeError("broken")

    lines = findings({"one": lambda: "good", "two": broken, "three": lambda: "good"}).splitlines()

    assert ['"ok": true' in line for line in lines] == [True, False, True]


def test_one_that_was_forgotten_is_not_done_when_it_is_played_again_without_a_clock(
    unit: Unit,
) -> None:
    unit.clock.synchronized = False
    old, missed = unit.asked("identify", 1), unit.asked("identify", 2)
    unit.orders.take(old)
    for number in range(3, REMEMBERED + 3):
        unit.command("diagnostics", number)
    unit.start()
    unit.orders.take(old)

    (answer,) = unit.answers()
    assert (answer.state, "older" in answer.reason) == ("failed", True)
    assert unit.done == ["identify"]
    # One that came late, but is younger than all that is forgotten, is done.
    unit.orders.take(missed)
    assert unit.done == ["identify", "identify"]


def test_what_a_former_centre_asked_for_does_not_make_another_ones_commands_old(
    unit: Unit,
) -> None:
    unit.start("former")
    # Of a centre whose clock is years ahead.
    for number in range(REMEMBERED + 5):
        ahead = utc_text(utc_seconds(unit.clock.now().at) + 9 * 365 * 86_400 + number)
        unit.orders.take(
            Command(
                unit="cong-1", id=f"{number:032x}", action="identify", asked=ahead, expires=ahead
            )
        )
    unit.answers()
    unit.start("former", "next")
    assert unit.command("identify", 1000)[0].state == "failed"

    unit.start("next")

    for number in range(REMEMBERED + 5):
        assert unit.command("identify", 1001 + number)[0].state == "successful"
        unit.start("next")


def test_a_unit_does_not_stay_paused_for_a_former_centre(unit: Unit) -> None:
    unit.start("former")
    unit.command("pause")
    # Its centre changes its key, step by step.
    for keys in (("former",), ("former", "newest"), ("newest",), ()):
        unit.start(*keys)
        assert unit.orders.paused

    unit.start("another")

    assert not unit.orders.paused
    unit.command("pause", 2)
    unit.start("another")
    assert unit.orders.paused
