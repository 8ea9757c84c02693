"""Desired settings: checked, tried, kept or taken back, over restarts and power cuts."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edge.messages import Answer, Config, revision_of
from edge.scanner.desired import NONE, TRIAL_S, TRIAL_STARTS, Desired
from edge.scanner.settings import ScannerSettings
from edge.scanner.update.__main__ import settings_of_root
from edge.sealing import Signer
from edge.signed import sign_order
from edge.succession import succession
from tests.fakes import FakeClock

OWN = """
[unit]
id = "cong-1"
area = "pleiku"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[broker]
url = "mqtt://192.0.2.1:1883"
[camera]
frame_rate = 12.0
"""


CENTRE, NEXT, THIRD = (Signer(bytes(31) + number) for number in (b"1", b"2", b"3"))
#: As a centre counts whose clock is years ahead.
AHEAD = 10**15


def wish(number: int = 1, /, **tables: dict[str, Any]) -> Config:
    return Config(unit="cong-1", number=number, revision=revision_of(tables), settings=tables)


class Unit:
    """A unit over all its starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = folder / "scanner.toml"
        self.own.write_text(OWN)
        self.clock = FakeClock()
        self.connected = self.well = True
        self.told: list[Answer] = []
        self.settings: ScannerSettings
        self.start()

    def card(self, centre: Signer, broker: str = "192.0.2.1") -> None:
        """Start with a card that names this *centre* and *broker*."""
        self.own.write_text(OWN.replace("192.0.2.1", broker))
        (self.folder / "receipts.pub").write_bytes(base64.b64encode(centre.public_key))
        self.start()

    def moved(self, place: str, direction: str) -> None:
        """Start with a card, or a set-up code, that is for another *place* or *direction*."""
        own = OWN.replace('"cho-1"', f'"{place}"').replace('"in"', f'"{direction}"')
        self.own.write_text(own)
        self.start()

    def start(self) -> None:
        self.desired = Desired(self.folder / "desired.json", self.clock)
        self.settings = self.desired.load(self.own)

    def take(self, wished: Config, centre: Signer = CENTRE) -> Answer | None:
        return self.desired.take(wished, sign_order(wished, centre), self.own, well=self.well)

    def keeps(self, wished: Config, centre: Signer = CENTRE) -> None:
        """Try *wished*, and find it good."""
        self.take(wished, centre)
        self.step()
        self.step()
        assert self.desired.revision == wished.revision

    def step(self, seconds: float = 1.0) -> None:
        """A turn; ended by it, the service starts again."""
        self.clock.advance(seconds)
        self.desired.step(connected=self.connected, well=self.well)
        if self.connected:
            self.desired.tell(self._publish)
        if self.desired.wants_start:
            self.start()

    def _publish(self, answer: Answer) -> bool:
        self.told.append(answer)
        return True


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def test_good_settings_are_tried_and_stay(unit: Unit) -> None:
    wished = wish(camera={"frame_rate": 10.0}, reading={"budget_ms": 20.0})
    answer = unit.take(wished)
    assert answer is not None
    assert (answer.state, unit.desired.wants_start) == ("executing", True)
    assert unit.settings.camera.frame_rate == 12.0

    unit.step()
    assert unit.settings.camera.frame_rate == 10.0
    unit.step()

    assert [(a.state, a.to) for a in unit.told] == [("successful", wished.revision)]
    assert not unit.desired.on_trial
    unit.start()
    assert unit.settings.reading.budget_ms == 20.0
    assert unit.desired.revision == wished.revision


def test_what_is_in_force_already_changes_nothing_however_often_it_comes(unit: Unit) -> None:
    wished = wish(camera={"frame_rate": 10.0})
    unit.take(wished)
    unit.step()
    unit.step()
    file = (unit.folder / "desired.json").stat().st_mtime_ns

    for _ in range(100):
        answer = unit.take(wished)
        assert answer is not None
        assert answer.state == "successful"

    assert not unit.desired.wants_start
    assert (unit.folder / "desired.json").stat().st_mtime_ns == file


def test_settings_that_cost_the_broker_are_taken_back(unit: Unit) -> None:
    unit.take(wish(camera={"frame_rate": 10.0}))
    unit.step()
    unit.step()
    unit.told.clear()
    broken = wish(broker={"url": "mqtt://192.0.2.9:1"}, camera={"frame_rate": 10.0})
    unit.take(broken)
    unit.connected = False
    unit.step()
    assert unit.settings.broker.url == "mqtt://192.0.2.9:1"
    for _ in range(int(TRIAL_S) + 2):
        unit.step()

    assert unit.settings.broker.url == "mqtt://192.0.2.1:1883"
    assert unit.settings.camera.frame_rate == 10.0
    unit.connected = True
    unit.step()
    (answer,) = unit.told
    assert (answer.state, answer.to) == ("failed", broken.revision)
    assert "no broker within" in answer.reason
    # Not once more, however often the centre sends it.
    again = unit.take(broken)
    assert again is not None
    assert (again.state, unit.desired.wants_start) == ("failed", False)


def test_settings_that_cost_the_camera_are_taken_back(unit: Unit) -> None:
    unit.take(wish(camera={"source": "webcam:9"}))
    unit.well = False
    for _ in range(int(TRIAL_S) + 3):
        unit.step()

    assert unit.settings.camera.source == "pi"
    assert [(a.state, "no frames" in a.reason) for a in unit.told] == [("failed", True)]


def test_a_broker_that_is_away_anyhow_is_no_reason_where_it_was_not_touched(unit: Unit) -> None:
    unit.take(wish(camera={"frame_rate": 10.0}))
    unit.connected = False
    unit.step()
    unit.step()

    assert unit.settings.camera.frame_rate == 10.0
    assert not unit.desired.on_trial


def test_a_camera_that_was_blind_before_is_no_reason(unit: Unit) -> None:
    unit.well = False
    unit.take(wish(publisher={"health_s": 30.0}))
    unit.step()
    unit.step()

    assert unit.settings.publisher.health_s == 30.0


def test_settings_with_which_the_service_does_not_start_are_taken_back(unit: Unit) -> None:
    unit.take(wish(indicator={"kind": "none"}))
    for _ in range(TRIAL_STARTS):
        unit.start()
        assert unit.settings.indicator.kind == "none"
    unit.start()

    assert unit.settings.indicator.kind == "gpio"
    unit.step()
    assert "does not start" in unit.told[0].reason


def test_power_cuts_in_a_trial_do_not_keep_bad_settings(unit: Unit) -> None:
    unit.take(wish(broker={"url": "mqtt://192.0.2.9:1"}))
    unit.connected = False
    for boot in range(TRIAL_STARTS + 1):
        unit.clock.boot_again(f"{boot:032x}")
        unit.start()

    assert unit.settings.broker.url == "mqtt://192.0.2.1:1883"


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ({"camera": {"frame_rate": 0}}, "camera.frame_rate is 0"),
        ({"camera": {"frame_rat": 5}}, "did you mean 'frame_rate'"),
        ({"unit": {"id": "other"}}, "unit.id: not for the centre"),
        ({"unit": {"tracing_key_file": "mine.pub"}}, "not for the centre"),
        ({"basis": {"required": False}}, "basis: not for the centre"),
        ({"broker": {"ca_file": "/tmp/x"}}, "broker.ca_file: not for the centre"),
        ({"outbox": {"folder": "/tmp"}}, "outbox.folder: not for the centre"),
        ({"carry": {"key_file": "/tmp/x"}}, "carry.key_file: not for the centre"),
    ],
)
def test_what_cannot_be_or_is_not_for_the_centre_is_refused(
    unit: Unit, tables: dict[str, Any], reason: str
) -> None:
    answer = unit.take(wish(**tables))

    assert answer is not None
    assert answer.state == "failed"
    assert reason in answer.reason
    assert not unit.desired.wants_start
    assert unit.desired.revision == NONE


def test_what_comes_while_another_is_on_trial_waits_for_the_centre_to_send_it_again(
    unit: Unit,
) -> None:
    unit.take(wish(camera={"frame_rate": 10.0}))
    assert unit.take(wish(camera={"frame_rate": 9.0})) is None
    unit.step()
    unit.step()
    answer = unit.take(wish(camera={"frame_rate": 9.0}))

    assert answer is not None
    assert answer.state == "executing"


def test_settings_under_a_foreign_revision_are_refused(unit: Unit) -> None:
    answer = unit.take(
        Config(
            unit="cong-1",
            number=1,
            revision="0" * 15 + "1",
            settings={"camera": {"frame_rate": 5.0}},
        )
    )

    assert answer is not None
    assert "revision" in answer.reason


def test_wishes_for_nothing_give_the_unit_its_own_settings_back(unit: Unit) -> None:
    unit.take(wish(camera={"frame_rate": 10.0}))
    unit.step()
    unit.step()
    unit.take(wish())
    unit.step()
    unit.step()

    assert unit.settings.camera.frame_rate == 12.0
    assert unit.desired.revision == NONE


def test_a_spoilt_file_or_one_that_fits_no_more_never_stops_the_scanning(unit: Unit) -> None:
    unit.take(wish(camera={"frame_rate": 10.0}))
    unit.step()
    unit.step()
    unit.own.write_text(OWN.replace("[camera]\nframe_rate = 12.0", ""))
    (unit.folder / "desired.json").write_text(
        (unit.folder / "desired.json").read_text().replace("frame_rate", "no_such_key")
    )
    unit.start()
    assert unit.settings.camera.frame_rate == 15.0

    (unit.folder / "desired.json").write_bytes(b'{"revision": ')
    unit.start()
    assert unit.desired.revision == NONE


def test_settings_that_the_disk_does_not_take_are_not_tried(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unit.desired._file, "write", full)
    answer = unit.take(wish(camera={"frame_rate": 10.0}))

    assert answer is not None
    assert (answer.state, unit.desired.wants_start) == ("failed", False)
    assert "disk" in answer.reason
    assert unit.desired.revision == NONE


def test_older_settings_played_again_are_passed_over_also_after_they_were_taken_back(
    unit: Unit,
) -> None:
    old = replace(wish(broker={"url": "mqtt://192.0.2.7:1"}), number=5)
    new = replace(wish(camera={"frame_rate": 10.0}), number=6)
    bad = replace(wish(camera={"source": "webcam:9"}), number=7)
    for wished in (old, new):
        unit.take(wished)
        unit.step()
        unit.step()
    assert unit.take(old) is None
    unit.take(bad)
    unit.well = False
    for _ in range(int(TRIAL_S) + 3):
        unit.step()
    unit.well = True

    for played in (old, new, bad):
        unit.take(played)
        assert not unit.desired.wants_start
    assert unit.settings.camera.frame_rate == 10.0
    assert unit.settings.broker.url == "mqtt://192.0.2.1:1883"


class Root:
    """What root makes of what the scanner has left."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.folder = unit.folder / "root"
        self.folder.mkdir()

    def window(self) -> str:
        settings = settings_of_root(self._unit.own, self.folder)
        assert settings.unit.id == "cong-1"
        assert settings.update.url == ""
        return settings.update.window


@pytest.fixture
def root(unit: Unit) -> Root:
    unit.own.write_text(f'{OWN}[outbox]\nfolder = "{unit.folder}"\n')
    public_key = base64.b64encode(CENTRE.public_key)
    (unit.folder / "receipts.pub").write_bytes(public_key)
    return Root(unit)


def test_root_goes_by_what_the_centre_has_signed(unit: Unit, root: Root) -> None:
    assert root.window() == ""
    unit.keeps(wish(update={"window": "11:30-12:30"}, camera={"frame_rate": 9.0}))
    assert root.window() == "11:30-12:30"

    # On trial, and taken back: what was before counts.
    unit.take(wish(update={"window": "13:30-14:30"}))
    assert root.window() == "11:30-12:30"
    unit.step()
    unit.well = False
    unit.step(TRIAL_S + 1)
    assert root.window() == "11:30-12:30"

    unit.well = True
    unit.keeps(wish(2))
    assert root.window() == ""


@pytest.mark.parametrize("signed", [b"", b"not signed", b'{"order":{},"signature":""}'])
def test_a_scanner_that_was_taken_over_makes_up_no_hours(
    unit: Unit, root: Root, signed: bytes
) -> None:
    tables = {"update": {"window": "00:00-00:00"}}
    record = {"settings": tables, "revision": revision_of(tables), "signed": signed}
    (unit.folder / "desired.json").write_bytes(msgspec.json.encode(record))

    assert root.window() == ""


@pytest.mark.parametrize("other", [Signer(bytes(31) + b"2"), None])
def test_what_another_signed_or_is_for_another_unit_sets_no_hours(
    unit: Unit, root: Root, other: Signer | None
) -> None:
    wished = wish(update={"window": "00:00-00:00"})
    if other is None:
        wished = replace(wished, unit="cong-2")
    record = {"signed": sign_order(wished, other or CENTRE)}
    (unit.folder / "desired.json").write_bytes(msgspec.json.encode(record))

    assert root.window() == ""


def test_a_scanner_that_was_taken_over_brings_no_older_hours_back(unit: Unit, root: Root) -> None:
    unit.keeps(wish(1, update={"window": "00:00-00:00"}))
    assert root.window() == "00:00-00:00"
    older = (unit.folder / "desired.json").read_bytes()
    unit.keeps(wish(2, update={"window": "01:00-02:00"}))
    assert root.window() == "01:00-02:00"

    (unit.folder / "desired.json").write_bytes(older)
    assert root.window() == "01:00-02:00"
    (unit.folder / "desired.json").unlink()
    assert root.window() == "01:00-02:00"

    # Of another centre, as after a card of another deployment, nothing of that is left.
    public_key = base64.b64encode(Signer(bytes(31) + b"2").public_key)
    (unit.folder / "receipts.pub").write_bytes(public_key)
    assert root.window() == ""


def test_root_takes_nothing_that_no_unit_would_take(unit: Unit, root: Root) -> None:
    others: tuple[dict[str, Any], ...] = ({"url": "http://evil.example/u"}, {"what": 1})
    for number, update in enumerate(others, 1):
        wished = wish(number, update={"window": "00:00-00:00"} | update)
        record = {"signed": sign_order(wished, CENTRE)}
        (unit.folder / "desired.json").write_bytes(msgspec.json.encode(record))

        assert root.window() == ""


def test_what_was_kept_without_its_signature_is_told_again(unit: Unit, root: Root) -> None:
    wished = wish(update={"window": "11:30-12:30"})
    record = {"settings": wished.settings, "revision": wished.revision}
    (unit.folder / "desired.json").write_bytes(msgspec.json.encode(record))
    unit.start()
    assert unit.settings.update.window == "11:30-12:30"
    assert unit.desired.revision == NONE

    answer = unit.take(wished)

    assert answer is not None
    assert answer.state == "successful"
    assert unit.desired.revision == wished.revision
    assert root.window() == "11:30-12:30"


OF_NEXT = succession(NEXT.public_key, CENTRE)
OF_THIRD = succession(THIRD.public_key, NEXT)


def gone_broker() -> dict[str, Any]:
    return {"url": "mqtt://gone:1883"}


def test_a_card_of_another_centre_leaves_nothing_of_what_the_former_wished(unit: Unit) -> None:
    unit.card(CENTRE)
    unit.keeps(wish(AHEAD, broker=gone_broker(), carry={"successions": [OF_NEXT]}))
    assert unit.settings.broker.url == "mqtt://gone:1883"

    unit.card(THIRD, "192.0.2.7")

    assert unit.settings.broker.url == "mqtt://192.0.2.7:1883"
    assert unit.desired.revision == NONE
    # And that one is obeyed, though it counts from less.
    unit.keeps(wish(1, camera={"frame_rate": 9.0}), THIRD)
    unit.start()
    assert unit.settings.camera.frame_rate == 9.0


def test_so_does_one_in_the_middle_of_a_trial(unit: Unit) -> None:
    unit.card(CENTRE)
    unit.keeps(wish(1, camera={"frame_rate": 9.0}))
    unit.take(wish(AHEAD, broker=gone_broker()))

    unit.card(NEXT)

    assert not unit.desired.on_trial
    assert unit.settings.broker.url == "mqtt://192.0.2.1:1883"
    assert unit.settings.camera.frame_rate == 12.0
    unit.keeps(wish(1, camera={"frame_rate": 8.0}), NEXT)


def test_nor_is_a_number_of_the_former_centre_a_measure(unit: Unit) -> None:
    unit.card(CENTRE)
    # Refused: nothing is in force, but its number was taken.
    unit.take(wish(AHEAD, unit={"id": "cong-2"}))
    assert unit.take(wish(1, camera={"frame_rate": 9.0})) is None

    unit.card(NEXT)

    unit.keeps(wish(1, camera={"frame_rate": 9.0}), NEXT)


def test_a_card_with_a_key_that_the_centre_has_changed_to_meanwhile_keeps_what_it_wished(
    unit: Unit, root: Root
) -> None:
    chain = {"successions": [OF_NEXT, OF_THIRD], "newest_key_only": True}
    unit.keeps(wish(1, carry={"successions": [OF_NEXT]}))
    unit.keeps(wish(2, carry={"successions": [OF_NEXT, OF_THIRD]}), NEXT)
    unit.keeps(wish(3, carry=chain, update={"window": "11:30-12:30"}), THIRD)

    # Also one that an office writes which was not given the newest key yet.
    for card in (CENTRE, NEXT, THIRD):
        (unit.folder / "receipts.pub").write_bytes(base64.b64encode(card.public_key))
        unit.start()
        assert unit.desired.revision == wish(carry=chain, update={"window": "11:30-12:30"}).revision
        assert root.window() == "11:30-12:30"
        assert unit.take(wish(2)) is None


def test_what_the_key_of_before_has_signed_is_told_again_and_root_believes_it_then(
    unit: Unit, root: Root
) -> None:
    wished = wish(1, carry={"successions": [OF_NEXT]}, update={"window": "11:30-12:30"})
    unit.keeps(wished)
    assert root.window() == "11:30-12:30"

    # The card has the new key alone, so nothing tells any more that the old one was the centre's.
    (unit.folder / "receipts.pub").write_bytes(base64.b64encode(NEXT.public_key))
    unit.start()
    assert root.window() == ""
    assert unit.desired.revision == NONE

    unit.keeps(replace(wished, number=2), NEXT)
    assert root.window() == "11:30-12:30"


def test_what_is_on_trial_when_such_a_card_comes_is_not_kept_untried(unit: Unit) -> None:
    unit.card(CENTRE)
    unit.keeps(wish(1, camera={"frame_rate": 9.0}))
    unit.take(wish(2, camera={"frame_rate": 1.0}, broker=gone_broker()))

    unit.card(CENTRE, "192.0.2.7")

    assert not unit.desired.on_trial
    assert unit.settings.broker.url == "mqtt://192.0.2.7:1883"
    assert unit.settings.camera.frame_rate == 9.0


def test_a_card_with_another_broker_is_written_to_some_purpose(unit: Unit) -> None:
    tables: dict[str, Any] = {"broker": gone_broker(), "camera": {"frame_rate": 9.0}}
    unit.card(CENTRE)
    unit.keeps(wish(1, **tables))
    # Another card alone changes nothing.
    unit.card(CENTRE)
    assert unit.settings.broker.url == "mqtt://gone:1883"

    unit.card(CENTRE, "192.0.2.7")

    assert unit.settings.broker.url == "mqtt://192.0.2.7:1883"
    assert unit.settings.camera.frame_rate == 9.0
    assert unit.desired.revision == NONE
    # Its centre, which still wishes for the former one, is told that this does not work.
    unit.take(wish(2, **tables))
    unit.step()
    assert unit.settings.broker.url == "mqtt://gone:1883"
    unit.connected = False
    unit.step(TRIAL_S + 1)
    unit.connected = True
    unit.step()
    assert unit.settings.broker.url == "mqtt://192.0.2.7:1883"
    assert unit.told[-1].reason == "taken back: no broker within 45 s"
    unit.keeps(wish(3, camera={"frame_rate": 8.0}))


def test_a_unit_that_is_moved_is_not_set_as_its_former_place_was(unit: Unit) -> None:
    tables: dict[str, Any] = {
        "unit": {"direction": "both", "in_hours": "04:00-12:00"},
        "vehicle": {"trips": ["sang-1@05:30"]},
        "camera": {"frame_rate": 9.0},
    }
    unit.keeps(wish(7, **tables))
    unit.moved("xe-81b-01234", "out")

    assert (unit.settings.unit.direction, unit.settings.unit.in_hours) == ("out", "")
    assert unit.settings.vehicle.trips == ()
    assert unit.settings.camera.frame_rate == 9.0
    # The centre hears that this is not what it wished for, and says what it wishes for here.
    assert unit.desired.revision == NONE
    unit.keeps(wish(8, unit={"trip": "chieu-3"}, camera={"frame_rate": 9.0}))
    unit.start()
    assert unit.settings.unit.trip == "chieu-3"


def test_what_is_on_trial_for_a_place_ends_when_the_unit_is_moved(unit: Unit) -> None:
    unit.keeps(wish(1, unit={"trip": "chieu-3"}, camera={"frame_rate": 9.0}))
    unit.take(wish(2, unit={"direction": "both"}))

    unit.moved("cho-2", "out")

    assert not unit.desired.on_trial
    assert (unit.settings.unit.direction, unit.settings.unit.trip) == ("out", "")
    assert unit.settings.camera.frame_rate == 9.0


def test_hours_that_a_doors_own_direction_rules_out_by_now_never_stop_the_scanning(
    unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    unit.moved("cho-1", "both")
    unit.keeps(wish(1, unit={"in_hours": "04:00-12:00"}))
    assert unit.settings.unit.in_hours == "04:00-12:00"

    unit.moved("cho-1", "in")

    assert (unit.settings.unit.direction, unit.settings.unit.in_hours) == ("in", "")
    assert "the desired settings are left out" in caplog.text
    answer = unit.take(wish(2, unit={"in_hours": "05:00-12:00"}))
    assert answer is not None
    assert answer.state == "failed"
    assert not unit.desired.on_trial
