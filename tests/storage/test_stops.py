"""Stops of vehicles in storage: each once, beside the scans of its time, gone with their day."""

import json

import pytest

from edge.collector.__main__ import main
from edge.messages import OnBoard, Stop
from edge.storage.rows import Report
from edge.storage.stops import StopRow, stops_of
from edge.storage.storage import Storage
from tests.fakes import a_health, a_scan, came
from tests.storage.parts import expire

NOW = "2021-07-02T03:00:00.000Z"


def a_stop(since: str, until: str | None) -> Stop:
    day = "2021-07-02T"
    return Stop(
        since=f"{day}{since}:00.000Z",
        until=f"{day}{until}:00.000Z" if until else None,
        latitude=13.97,
        longitude=108.0,
    )


def told(storage: Storage, *stops: Stop) -> None:
    health = a_health(on_board=OnBoard(trip="sang-1", gps="fix", stops=stops))
    storage.store_reports([Report("pleiku", "xe-1", health, False)], NOW)


def stops(
    storage: Storage, unit: str = "xe-1", first: str = "2021-07-02", before: str = "2021-07-03"
) -> list[StopRow]:
    with storage.database.reading() as connection:
        return stops_of(storage.database, connection, unit, 3, first, before)


def test_a_stop_is_kept_once_when_it_is_over_with_the_scans_of_its_time(storage: Storage) -> None:
    first, second = a_stop("01:30", "01:35"), a_stop("02:00", None)
    told(storage, first)
    told(storage, first, second)
    scans = [
        came("pleiku", "xe-1", a_scan(seq, clock="ntp", at=f"2021-07-02T01:{minute}:00.000Z"))
        for seq, minute in enumerate((29, 30, 33, 36), start=1)
    ]
    storage.store(scans, NOW)

    (row,) = stops(storage)
    assert (row.since, row.until) == (first.since, first.until)
    assert (row.latitude, row.longitude, row.scans) == ("13.97", "108.0", 2)
    told(storage, first, a_stop("02:00", "02:10"))
    assert [row.scans for row in stops(storage)] == [0, 2]
    assert stops(storage, "xe-2") == []


def test_of_many_stops_the_last_are_counted_over_midnight_and_with_uncertain_times(
    storage: Storage,
) -> None:
    overnight = Stop(
        since="2021-07-02T23:00:00.000Z",
        until="2021-07-03T01:00:00.000Z",
        latitude=13.97,
        longitude=108.0,
    )
    told(storage, *(a_stop(f"0{hour}:00", f"0{hour}:01") for hour in range(1, 6)), overnight)
    scans = [
        came("pleiku", unit, a_scan(seq, clock=clock, at=at))
        for seq, (unit, clock, at) in enumerate(
            (
                ("xe-1", "ntp", "2021-07-02T22:59:59.999Z"),
                ("xe-1", "ntp", "2021-07-02T23:00:00.000Z"),
                ("xe-1", "ntp", "2021-07-03T01:00:00.000Z"),
                ("xe-1", "ntp", "2021-07-03T01:00:00.001Z"),
                ("xe-2", "ntp", "2021-07-03T00:30:00.000Z"),
            ),
            start=1,
        )
    ]
    storage.store(scans, "2021-07-03T02:00:00.000Z")
    # It has no day of its own, as its unit's clock was not set.
    scan = a_scan(9, clock="none", at="2021-07-03T00:30:00.000Z", boot="c" * 32)
    storage.store([came("pleiku", "xe-1", scan)], "2021-07-03T00:30:00.000Z")

    found = stops(storage)

    assert [(row.since[11:16], row.scans) for row in found] == [
        ("23:00", 3),
        ("05:00", 0),
        ("04:00", 0),
    ]


def test_a_stop_that_ends_before_it_began_has_no_scans(storage: Storage) -> None:
    told(storage, a_stop("02:00", "01:00"), a_stop("00:30", "00:40"))
    storage.store(
        [came("pleiku", "xe-1", a_scan(1, clock="ntp", at="2021-07-02T01:30:00.000Z"))], NOW
    )

    assert [row.scans for row in stops(storage)] == [0, 0]


def test_stops_go_with_the_scans_of_their_day(storage: Storage) -> None:
    told(storage, a_stop("01:30", "01:35"))
    expire(storage, "2021-07-02")
    assert len(stops(storage)) == 1
    expire(storage, "2021-07-03")

    assert stops(storage) == []


def test_the_command_tells_the_stops_of_a_day_by_local_time(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("centre")
    config = folder / "collector.toml"
    config.write_text(f'[storage]\nurl = "{folder}/storage.db"\n')
    storage = Storage(f"sqlite:///{folder}/storage.db")
    # 23:30 in Viet Nam, and half past midnight.
    told(storage, a_stop("16:30", "16:40"), a_stop("17:30", "17:31"))
    storage.close()

    assert main(["stops", "xe-1", "--day", "2021-07-02", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "23:30-23:40  13.97, 108.0  0 scans\n"
    arguments = ["stops", "xe-1", "--day", "2021-07-03", "--json", "--config", str(config)]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["since"] == "2021-07-02T17:30:00.000Z"
    assert main(["stops", "xe-1", "--day", "today", "--config", str(config)]) == 1
