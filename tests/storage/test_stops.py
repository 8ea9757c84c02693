"""Stops of vehicles in storage: each once, beside the scans of its time, gone with their day."""

import json

import pytest

from edge.collector.__main__ import main
from edge.messages import OnBoard, Stop
from edge.storage.rows import Report, StoredScan
from edge.storage.stops import stops_of
from edge.storage.storage import Storage
from tests.fakes import a_health, a_scan
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


def test_a_stop_is_kept_once_when_it_is_over_with_the_scans_of_its_time(storage: Storage) -> None:
    first, second = a_stop("01:30", "01:35"), a_stop("02:00", None)
    told(storage, first)
    told(storage, first, second)
    scans = [
        StoredScan("pleiku", "xe-1", a_scan(seq, clock="ntp", at=f"2021-07-02T01:{minute}:00.000Z"))
        for seq, minute in enumerate((29, 30, 33, 36), start=1)
    ]
    storage.store(scans, NOW)

    (row,) = stops_of(storage.database, "xe-1", "2021-07-02", "2021-07-03")
    assert (row.since, row.until) == (first.since, first.until)
    assert (row.latitude, row.longitude, row.scans) == ("13.97", "108.0", 2)
    told(storage, first, a_stop("02:00", "02:10"))
    assert len(stops_of(storage.database, "xe-1", "2021-07-02", "2021-07-03")) == 2
    assert stops_of(storage.database, "xe-2", "2021-07-02", "2021-07-03") == []


def test_stops_go_with_the_scans_of_their_day(storage: Storage) -> None:
    told(storage, a_stop("01:30", "01:35"))
    expire(storage, "2021-07-02")
    assert len(stops_of(storage.database, "xe-1", "2021-07-02", "2021-07-03")) == 1
    expire(storage, "2021-07-03")

    assert stops_of(storage.database, "xe-1", "2021-07-02", "2021-07-03") == []


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
