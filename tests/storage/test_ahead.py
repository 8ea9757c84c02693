"""What was noted while the centre's clock was years ahead is of use again once it is right."""

from edge.storage.ahead import put_right
from edge.storage.control import Control
from edge.storage.rows import Report, UnitScans
from edge.storage.storage import Storage
from tests.fakes import a_scan, a_status, came

NOW, WRONG = "2021-07-02T09:00:00.000Z", "2031-03-01T09:00:00.000Z"
LATER = "2021-07-02T09:10:00.000Z"


def scan(seq: int, unit: str = "cong-1") -> UnitScans:
    return came("pleiku", unit, a_scan(seq))


def test_a_unit_counts_as_heard_when_the_clock_was_put_right_and_no_later(
    storage: Storage,
) -> None:
    storage.store([scan(1)], WRONG)
    storage.store([scan(1, "cong-2")], NOW)

    put_right(storage.database, LATER)

    seen = {row.unit: (row.seen, row.last_scan) for row in storage.units()}
    assert seen == {"cong-1": (LATER, LATER), "cong-2": (NOW, NOW)}
    assert put_right(storage.database, LATER) == 0


def test_a_gap_of_that_time_is_asked_for(storage: Storage) -> None:
    storage.store([scan(1), scan(5)], WRONG)
    assert storage.gaps_to_ask_for(LATER) == []

    put_right(storage.database, NOW)

    assert [(gap.first, gap.last) for gap in storage.gaps_to_ask_for(LATER)] == [(2, 4)]


def test_a_command_of_that_time_is_no_command_any_more(storage: Storage) -> None:
    control = Control(storage.database)
    storage.store_reports([Report("pleiku", "cong-1", a_status())], NOW)
    (wrong,) = control.command("cong-1", "reboot", "lan", WRONG, 600)
    (right,) = control.command("cong-1", "identify", "lan", NOW, 600)

    due = [command.id for _, _, command in control.due_commands(NOW)]

    assert due == [right.id]
    assert control.find(wrong.id).state == "expired"


def test_settings_that_were_sent_at_that_time_are_sent_again(storage: Storage) -> None:
    control = Control(storage.database)
    storage.store_reports([Report("pleiku", "cong-1", a_status())], NOW)
    control.run_by({"cong-1": ""}, NOW)
    control.desire("all", {"camera": {"frame_rate": 10}}, "lan", NOW)
    ((_, _, wished),) = control.due_configs(WRONG)
    control.config_sent(wished, WRONG)
    assert list(control.due_configs(WRONG)) == [], "it is being waited for"

    ((_, _, again),) = control.due_configs(NOW)

    assert again.revision == wished.revision
    assert again.number > wished.number, "else the unit would take it for an old one"
