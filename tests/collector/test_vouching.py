"""Nothing is erased by a clock that nobody vouches for; a person is told, and can."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.chain import entries
from edge.clock import Moment, Source, utc_text
from edge.collector.__main__ import main
from edge.collector.retention import LOOK_S, RECEIPTS_FILE, Retention
from edge.collector.vouching import run_clock
from edge.errors import ControlError
from edge.storage.rows import Report, SetAside
from edge.storage.storage import Storage
from tests.fakes import FakeClock, a_health, a_scan, came

DAY, YEAR = 86_400.0, 365 * 86_400.0
NOW = 1_786_000_000  # 6 August 2026, 14:06 in Vietnam


class MachineClock(FakeClock):
    """The clock of a machine at the centre."""

    source: Source = "rtc"
    ahead_s = 0.0

    def now(self) -> Moment:
        return Moment(
            at=utc_text(NOW + self.seconds - 1000 + self.ahead_s),
            boot=self.boot,
            uptime_ms=round((self.seconds - self.booted_at) * 1000),
            clock=self.source,
        )


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    storage = Storage(database_url)
    yield storage
    storage.close()


def put(storage: Storage, clock: MachineClock, *days_ago: float, unit: str = "cong-1") -> None:
    """Scans of a unit that knows the time, one that does not, and something that is set aside."""
    now = clock.now().at
    for seq, ago in enumerate(days_ago, start=1):
        at = utc_text(NOW + clock.seconds - 1000 - ago * DAY)
        storage.store([came("pleiku", unit, a_scan(seq, at=at, clock="ntp"))], now)
    undated = a_scan(len(days_ago) + 1, clock="none")
    storage.store([came("pleiku", unit, undated)], now, [SetAside("edge/x", "no", b"x")])


def look(storage: Storage, folder: Path, clock: MachineClock) -> Retention:
    """What a collector erases that starts now."""
    retention = Retention(storage, folder / RECEIPTS_FILE, clock, days=21)
    retention.finish()
    retention.close()
    return retention


def options(*, today: str = "", as_json: bool = False) -> argparse.Namespace:
    return argparse.Namespace(today=today, json=as_json)


def test_a_clock_that_comes_up_years_ahead_erases_nothing_early_and_all_in_due_time(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = MachineClock()
    put(storage, clock, 20, 10, 0)
    assert not look(storage, tmp_path, clock).held_back
    assert storage.count() == 4

    # The battery has gone, and with it the year. Units go on.
    clock.boot_again("c" * 32)
    clock.ahead_s = 5 * YEAR
    assert look(storage, tmp_path, clock).held_back
    assert storage.count() == 4, "nothing is past its time"
    assert "1825 days ahead" in caplog.text
    assert "edge-collector clock --today" in caplog.text
    put(storage, clock, 0, unit="cong-2")
    assert storage.count() == 6

    # Nobody cares for weeks. What is past its time goes all the same, day by day.
    left = {5: 5, 12: 4, 20: 4, 23: 1}
    for day in range(1, 24):
        clock.advance(DAY)
        look(storage, tmp_path, clock)
        if day in left:
            assert storage.count() == left[day], f"after {day} days"

    # What came in by that clock alone is kept until it is right, and for its days from then on.
    clock.ahead_s, clock.source = 0.0, "ntp"
    for day, count in ((0, 1), (21, 1), (22, 0)):
        clock.advance(day * DAY)
        look(storage, tmp_path, clock)
        assert storage.count() == count
        clock.advance(-day * DAY)
    assert sum(receipt.facts["set_aside"] for receipt in entries(tmp_path / RECEIPTS_FILE)) == 2


def test_a_machine_without_a_clock_goes_on_erasing_once_a_person_has_vouched(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, receipts = MachineClock(), tmp_path / RECEIPTS_FILE
    clock.source = "none"
    put(storage, clock, 30, 20)
    assert look(storage, tmp_path, clock).held_back
    assert storage.count() == 3
    database = storage.database
    assert run_clock(database, options(), clock, "collector", receipts) == 1
    told = capsys.readouterr().out
    assert "nothing has set this machine's clock" in told
    assert "chưa có ai xác nhận" in told

    # It says another day than the calendar; then somebody has set it.
    clock.ahead_s = YEAR
    with pytest.raises(ControlError, match="clock says 2027-08-06 14:06, not 2026-08-06; set it"):
        run_clock(database, options(today="2026-08-06"), clock, "collector", receipts)
    with pytest.raises(ControlError, match="must be as in"):
        run_clock(database, options(today="hôm nay"), clock, "collector", receipts)
    clock.ahead_s = 0.0
    assert run_clock(database, options(today="2026-08-06"), clock, "collector", receipts) == 0
    (entry,) = entries(receipts)
    assert (entry.what, entry.facts["today"]) == ("clock vouched for", "2026-08-06")

    assert not look(storage, tmp_path, clock).held_back
    assert storage.count() == 2
    capsys.readouterr()
    assert run_clock(database, options(as_json=True), clock, "collector", receipts) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["vouched"], said["trouble"], said["held_back"]) == ("person", "", False)


@pytest.mark.parametrize("source", ["rtc", "none"])
@pytest.mark.parametrize("before", ["rtc", "ntp"])
def test_a_clock_that_falls_years_behind_loses_nothing_when_it_is_right_again(
    storage: Storage, tmp_path: Path, before: Source, source: Source
) -> None:
    clock = MachineClock()
    clock.source = before
    put(storage, clock, 20, 10, 0)
    look(storage, tmp_path, clock)
    clock.boot_again("c" * 32)
    clock.source, clock.ahead_s = source, -20 * YEAR
    for _ in range(3):
        look(storage, tmp_path, clock)
        put(storage, clock, 0, unit="cong-2")
        clock.advance(3600)

    clock.source, clock.ahead_s = "ntp", 0.0
    look(storage, tmp_path, clock)

    # What came in meanwhile without a day, twenty years ago by that clock, is past its time by it.
    assert {seq for unit, _, seq, _ in storage.scan_numbers() if unit == "cong-1"} == {1, 2, 3, 4}


@pytest.mark.parametrize("source", ["rtc", "none"])
@pytest.mark.parametrize("before", ["rtc", "ntp"])
def test_a_clock_that_falls_behind_twice_and_less_takes_no_day_with_it(
    storage: Storage, tmp_path: Path, before: Source, source: Source
) -> None:
    """As with an empty battery, once the system that is started is of a later year; or by hand."""
    clock = MachineClock()
    clock.source = before
    put(storage, clock, 5, 1, 0)
    look(storage, tmp_path, clock)
    clock.source = source
    for boot, years in enumerate((20, 6, 2, 1)):
        clock.boot_again(f"{boot:032x}")
        clock.ahead_s = -years * YEAR
        look(storage, tmp_path, clock)
        assert len(storage.days()) == 3, f"{years} years behind"

    clock.source, clock.ahead_s = "ntp", 0.0
    look(storage, tmp_path, clock)
    assert storage.count() == 4


def test_units_that_take_back_what_they_said_take_no_day_with_them(
    storage: Storage, tmp_path: Path
) -> None:
    clock = MachineClock()
    put(storage, clock, 5, 1, 0)
    look(storage, tmp_path, clock)
    for years in (20, 2):
        clock.advance(60)
        said = a_health(at=utc_text(NOW - years * YEAR), clock="rtc")
        storage.store_reports([Report("pleiku", "cong-1", said)], clock.now().at)
        assert look(storage, tmp_path, clock).held_back
        assert storage.count() == 4


def test_a_time_server_that_sets_the_clock_is_not_made_to_wait_for_an_hour(
    storage: Storage, tmp_path: Path
) -> None:
    clock = MachineClock()
    clock.source = "none"
    put(storage, clock, 30)
    retention = Retention(storage, tmp_path / RECEIPTS_FILE, clock, days=21)
    retention.step()
    assert (retention.busy, retention.held_back) == (False, True)

    clock.advance(60)
    clock.source = "ntp"
    retention.step()

    assert (retention.busy, retention.held_back) == (True, False)
    assert storage.count() == 1
    retention.close()


def test_the_hourly_look_holds_back_when_the_clock_moves_under_a_running_collector(
    storage: Storage, tmp_path: Path
) -> None:
    clock = MachineClock()
    put(storage, clock, 20, 0)
    retention = Retention(storage, tmp_path / RECEIPTS_FILE, clock, days=21)
    retention.finish()
    clock.advance(LOOK_S)
    # Somebody sets it by hand, to a wrong year.
    clock.ahead_s = YEAR
    retention.finish()

    assert retention.held_back
    assert storage.count() == 3
    retention.close()


def test_the_command_says_what_it_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Storage(tmp_path / "s.db").close()
    toml = tmp_path / "collector.toml"
    toml.write_text(
        f'[storage]\nurl = "{tmp_path}/s.db"\n'
        f'[retention]\nreceipts_file = "{tmp_path}/erased.jsonl"\n'
    )
    code = main(["clock", "--config", str(toml), "--json"])

    said = json.loads(capsys.readouterr().out)
    assert said["source"] in ("ntp", "gnss", "rtc", "none")
    assert code == int(bool(said["trouble"]))
    assert main(["clock", "--config", str(toml), "--today", "2001-01-01"]) == 1
    assert "set it first" in capsys.readouterr().err
