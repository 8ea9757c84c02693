"""The record of commands and desired settings, on both engines."""

from collections.abc import Iterator
from typing import Any

import pytest

from edge.errors import ControlError
from edge.messages import Answer, revision_of
from edge.storage.control import AGAIN_S, TRIAL_AGAIN_S, Control
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.fakes import FakeClock, a_status


class Centre:
    """A centre with two units, of which the second is not there."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.storage = Storage(url)
        self.control = Control(self.storage.database)
        for unit, state in (("cong-1", "online"), ("cong-2", "stopped")):
            report = Report("pleiku", unit, a_status(state=state, place="cho-1"), False)
            self.storage.store_reports([report], self.now())

    def now(self) -> str:
        return self.clock.now().at

    def sent(self) -> list[tuple[str, str]]:
        due = list(self.control.due_commands(self.now()))
        for _, _, command in due:
            self.control.command_sent(command.id, self.now())
        return [(unit, command.action) for _, unit, command in due]

    def wished(self) -> list[str]:
        due = list(self.control.due_configs(self.now()))
        for _, _, config in due:
            self.control.config_sent(config, self.now())
        return [unit for _, unit, _ in due]

    def answer(self, to: str, state: str, about: str = "command", unit: str = "cong-1") -> None:
        answer = Answer(
            about=about,  # type: ignore[arg-type]
            to=to,
            state=state,  # type: ignore[arg-type]
            at=self.now(),
            reason="why" if state == "failed" else "",
        )
        self.control.answered(unit, answer, self.now())


@pytest.fixture
def centre(database_url: str) -> Iterator[Centre]:
    centre = Centre(database_url)
    yield centre
    centre.storage.close()


def test_a_command_is_on_record_sent_and_answered(centre: Centre) -> None:
    (asked,) = centre.control.command("cong-1", "identify", "lan", centre.now(), 600)
    assert centre.control.find(asked.id).state == "waiting"

    assert centre.sent() == [("cong-1", "identify")]
    assert centre.sent() == []
    centre.answer(asked.id, "executing")
    centre.answer(asked.id, "successful")

    (row,) = centre.control.commands("cong-1")
    assert (row.asked_by, row.action, row.state) == ("lan", "identify", "successful")


def test_what_is_not_answered_is_sent_again_until_it_expires(centre: Centre) -> None:
    (asked,) = centre.control.command("cong-1", "restart", "lan", centre.now(), 60)
    centre.sent()
    centre.clock.advance(AGAIN_S + 1)
    assert centre.sent() == [("cong-1", "restart")]
    centre.clock.advance(60)

    assert centre.sent() == []
    assert centre.control.find(asked.id).state == "expired"


def test_a_command_waits_for_a_unit_that_is_not_there(centre: Centre) -> None:
    centre.control.command("cong-2", "identify", "lan", centre.now(), 600)
    assert centre.sent() == []
    status = a_status(state="online", birth=2, place="cho-1")
    centre.storage.store_reports([Report("pleiku", "cong-2", status, False)], centre.now())

    assert centre.sent() == [("cong-2", "identify")]


def test_no_unit_answers_for_another_and_nothing_ends_twice(centre: Centre) -> None:
    (asked,) = centre.control.command("cong-1", "identify", "lan", centre.now(), 600)
    centre.answer(asked.id, "successful", unit="cong-2")
    assert centre.control.find(asked.id).state == "waiting"
    centre.answer(asked.id, "failed")
    centre.answer(asked.id, "successful")

    assert centre.control.find(asked.id).state == "failed"


def test_a_unit_that_nobody_heard_of_is_not_commanded(centre: Centre) -> None:
    with pytest.raises(ControlError, match="no unit called 'cong-9'"):
        centre.control.command("cong-9", "identify", "lan", centre.now(), 600)


def test_the_nearer_scope_wins_key_by_key(centre: Centre) -> None:
    desire = centre.control.desire
    desire("all", {"camera": {"frame_rate": 10.0, "gain": 4.0}}, "lan", centre.now())
    desire("place:cho-1", {"camera": {"gain": 6.0}}, "lan", centre.now())
    desire("area:dak-lak", {"camera": {"gain": 9.0}}, "lan", centre.now())
    desire("unit:cong-2", {"camera": {"frame_rate": 5.0}}, "minh", centre.now())

    wished = {row.unit: row.settings for row in centre.control.configs()}
    assert wished["cong-1"] == {"camera": {"frame_rate": 10.0, "gain": 6.0}}
    assert wished["cong-2"] == {"camera": {"frame_rate": 5.0, "gain": 6.0}}
    assert next((by, scope) for _, by, scope, _ in centre.control.history()) == (
        "minh",
        "unit:cong-2",
    )
    with pytest.raises(ControlError, match="scope 'cong-1' must be"):
        desire("cong-1", {}, "lan", centre.now())


def test_settings_go_only_to_units_that_are_there_and_differ(centre: Centre) -> None:
    settings = {"camera": {"frame_rate": 10.0}}
    centre.control.desire("all", settings, "lan", centre.now())
    assert centre.wished() == []
    centre.control.run_by({"cong-1": "0" * 16}, centre.now())

    assert centre.wished() == ["cong-1"]
    assert centre.wished() == []
    centre.answer(revision_of(settings), "successful", "config")
    centre.clock.advance(TRIAL_AGAIN_S + 1)
    assert centre.wished() == []
    # The unit was set up anew and has forgotten them.
    centre.control.run_by({"cong-1": "0" * 16}, centre.now())
    assert centre.wished() == ["cong-1"]


def test_settings_that_a_unit_took_back_are_not_sent_again_but_others_are(centre: Centre) -> None:
    bad, good = {"camera": {"source": "webcam:9"}}, {"camera": {"frame_rate": 8.0}}
    centre.control.run_by({"cong-1": "0" * 16}, centre.now())
    centre.control.desire("all", bad, "lan", centre.now())
    centre.wished()
    centre.answer(revision_of(bad), "failed", "config")
    centre.clock.advance(TRIAL_AGAIN_S + 1)
    centre.control.run_by({"cong-1": "0" * 16}, centre.now())
    assert centre.wished() == []
    assert next((row.state, row.reason) for row in centre.control.configs()) == ("failed", "why")

    centre.control.desire("all", good, "lan", centre.now())
    assert centre.wished() == ["cong-1"]


def test_a_group_is_whom_the_office_names_and_its_history_stays(centre: Centre) -> None:
    groups = centre.control.groups
    assert groups.set_group("thu-nghiem", ["cong-2", "cong-1"], "lan", centre.now()) == [
        "cong-1",
        "cong-2",
    ]
    groups.set_group("thu-nghiem", ["cong-2"], "minh", centre.now())

    assert groups.groups() == {"thu-nghiem": ["cong-2"]}
    assert [(by, units) for _, by, _, units in groups.history()] == [
        ("minh", '["cong-2"]'),
        ("lan", '["cong-1", "cong-2"]'),
    ]
    groups.set_group("thu-nghiem", [], "minh", centre.now())
    assert groups.groups() == {}


@pytest.mark.parametrize(
    ("name", "unit", "reason"), [("Thử", "cong-1", "must be 1 to 32"), ("thu", "cong-9", "cong-9")]
)
def test_a_group_of_nobody_or_without_a_proper_name_is_refused(
    centre: Centre, name: str, unit: str, reason: str
) -> None:
    with pytest.raises(ControlError, match=reason):
        centre.control.groups.set_group(name, [unit], "lan", centre.now())


def test_settings_of_a_group_stand_between_the_place_and_the_unit(centre: Centre) -> None:
    centre.control.groups.set_group("a", ["cong-1"], "lan", centre.now())
    centre.control.groups.set_group("b", ["cong-1"], "lan", centre.now())
    for scope, gain in (("place:cho-1", 2.0), ("group:a", 3.0), ("group:b", 4.0)):
        centre.control.desire(scope, {"camera": {"gain": gain}}, "lan", centre.now())
    wished = {row.unit: row.settings for row in centre.control.configs()}
    assert wished == {"cong-1": {"camera": {"gain": 4.0}}, "cong-2": {"camera": {"gain": 2.0}}}

    centre.control.desire("unit:cong-1", {"camera": {"gain": 5.0}}, "lan", centre.now())
    assert centre.control.configs()[0].settings == {"camera": {"gain": 5.0}}


@pytest.mark.parametrize(
    ("scope", "units"),
    [
        ("all", ["cong-1", "cong-2"]),
        ("area:pleiku", ["cong-1", "cong-2"]),
        ("place:cho-1", ["cong-1", "cong-2"]),
        ("group:thu", ["cong-2"]),
        ("unit:cong-1", ["cong-1"]),
        ("cong-1", ["cong-1"]),
    ],
)
def test_a_command_to_a_scope_is_one_to_each_unit_and_says_so(
    centre: Centre, scope: str, units: list[str]
) -> None:
    centre.control.groups.set_group("thu", ["cong-2"], "lan", centre.now())
    rows = centre.control.command(scope, "identify", "lan", centre.now(), 600)

    assert [(row.unit, row.scope) for row in rows] == [(unit, scope) for unit in units]
    assert len({row.id for row in rows}) == len(units)


@pytest.mark.parametrize("scope", ["group:none", "place:nowhere", "shop:1", "unit:", ":", ""])
def test_a_command_to_nobody_is_refused(centre: Centre, scope: str) -> None:
    with pytest.raises(ControlError):
        centre.control.command(scope, "identify", "lan", centre.now(), 600)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"camera": {"frame_rat": 5.0}}, "did you mean 'frame_rate'"),
        ({"camera": {"frame_rate": 0}}, "camera.frame_rate is 0"),
        ({"kamera": {"gain": 2.0}}, "did you mean 'camera'"),
        ({"unit": {"id": "cong-9"}}, "unit.id: not for the centre"),
        ({"broker": {"ca_file": "x"}}, "broker.ca_file: not for the centre"),
    ],
)
def test_what_no_unit_would_take_is_refused_before_anything_is_sent(
    centre: Centre, settings: dict[str, dict[str, Any]], reason: str
) -> None:
    with pytest.raises(ControlError, match=reason):
        centre.control.desire("all", settings, "lan", centre.now())

    assert centre.control.history() == []
