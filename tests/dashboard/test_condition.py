"""One judgement of a unit and of its place on every page, and its numbers and words by language."""

import re
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import text

import edge.dashboard
from edge.clock import utc_seconds, utc_text
from edge.dashboard.condition import UnitCondition, condition_of, condition_of_place
from edge.dashboard.local_time import local_day, number_text
from edge.dashboard.rights import Role
from edge.messages import Answer, CommandAction, Machine, OnBoard, Stop, Update
from edge.storage import fleet
from edge.storage.control import Control
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.dashboard.parts import HOSTILE, OTHER_PLACE, OWN_PLACE, Deployment
from tests.fakes import a_health, a_status

#: Nobody else is there.
PLACE = "cho-mau"
NOW = "2021-07-02T01:30:00.000Z"


def add_unit(deployment: Deployment, unit: str, place: str, **health: object) -> None:
    """A unit at *place* that is online and has just scanned."""
    storage, now = Storage(deployment.file), deployment.clock.now().at
    for message in (a_status(state="online", place=place), a_health(**health)):
        storage.store_reports([Report("pleiku", unit, message)], now)
    storage.close()
    deployment.add_scans(place, unit, ins=1)


@pytest.mark.parametrize(
    ("units", "place"),
    [
        (["working"], "working"),
        (["troubled"], "troubled"),
        (["working", "troubled"], "troubled"),
        (["troubled", "offline"], "partly"),
        (["offline", "silent"], "failing"),
        ([], "empty"),
        (["working", "retired"], "working"),
        (["offline", "retired"], "failing"),
        (["retired"], "empty"),
    ],
)
def test_a_place_is_never_better_than_its_units(units: list[UnitCondition], place: str) -> None:
    assert condition_of_place(units, NOW, NOW, 60.0) == place


def test_a_retired_unit_is_seen_as_that_and_raises_no_alarm_until_it_is_back(
    deployment: Deployment,
) -> None:
    storage = Storage(deployment.file)

    def hear(birth: int, state: str) -> str:
        now = deployment.clock.now().at
        status = a_status(state=state, place=PLACE, birth=birth)
        storage.store_reports([Report("pleiku", "cong-9", status)], now)
        return next(row.state for row in storage.units() if row.unit == "cong-9")

    assert hear(1, "online") == "online"
    control = Control(storage.database)
    (row,) = control.command("cong-9", "retire", "lan", deployment.clock.now().at, 60)
    retired = Answer(about="command", to=row.id, state="successful", at=NOW)
    control.answered("cong-9", retired, deployment.clock.now().at)

    # Its goodbye, or a last will, does not undo it.
    assert hear(1, "stopped") == hear(1, "offline") == "retired"
    deployment.clock.advance(86_400)
    page = deployment.client("operator").get("/units").text
    assert "Đã tháo" in page or "Retired" in page
    with deployment.database.reading() as connection:
        (unit,) = [one for one in fleet.units(connection) if one.unit == "cong-9"]
    assert condition_of(unit, deployment.clock.now().at, 60.0) == "retired"
    assert hear(2, "online") == "online"
    storage.close()


def test_a_quiet_place_with_trouble_tells_of_the_trouble() -> None:
    assert condition_of_place(["working"], None, NOW, 60.0) == "quiet"
    assert condition_of_place(["troubled"], None, NOW, 60.0) == "troubled"


def test_now_units_and_place_say_the_same_of_a_unit_without_a_clock(
    deployment: Deployment,
) -> None:
    add_unit(deployment, "cong-9", PLACE, clock="none")
    client = deployment.client("operator")

    now, place, units = (
        client.get(path).text for path in ("/?find=cho-mau", f"/places/{PLACE}", "/units")
    )

    for page in (now, place, units):
        assert "Cần kiểm tra" in page
    assert 'class="condition working"' not in now.partition('id="places"')[2]
    assert "Thiết bị cần kiểm tra: 1 trong 1 (đồng hồ chưa đúng)" in now
    client.cookies.set("edge-language", "en")
    assert "Units to look at: 1 of 1 (clock is not set)" in client.get("/?find=cho-mau").text


def test_a_place_whose_units_are_well_has_no_note(deployment: Deployment) -> None:
    add_unit(deployment, "cong-9", PLACE, clock="ntp")

    now = deployment.client("operator").get("/?find=cho-mau").text.partition('id="places"')[2]

    assert "Hoạt động" in now
    assert "cần kiểm tra" not in now


@pytest.mark.parametrize(
    ("language", "number", "decimals", "text"),
    [
        ("vi", 1593, 0, "1.593"),
        ("en", 1593, 0, "1,593"),
        ("vi", 1002.962, 1, "1.003,0"),
        ("vi", 2.962, 2, "2,96"),
        ("en", 2.962, 2, "2.96"),
        ("vi", None, 1, "–"),
    ],
)
def test_numbers_are_written_as_the_language_does(
    language: str, number: float | None, decimals: int, text: str
) -> None:
    assert number_text(number, language, decimals) == text


@pytest.mark.parametrize(
    ("clock", "vi", "en"),
    [
        ("ntp", "máy chủ thời gian (NTP)", "time server (NTP)"),
        ("rtc", "đồng hồ có pin (RTC)", "battery clock (RTC)"),
        ("gnss", "vệ tinh (GNSS)", "satellites (GNSS)"),
        ("none", "chưa đặt giờ", "not set"),
    ],
)
def test_a_unit_is_told_of_in_the_language_of_whoever_looks(
    deployment: Deployment, clock: str, vi: str, en: str
) -> None:
    add_unit(deployment, "cong-9", PLACE, clock=clock, decode_ms_p50=2.962)
    client = deployment.client("technician")

    for language, word, number in (("vi", vi, "3,0 ms"), ("en", en, "3.0 ms")):
        client.cookies.set("edge-language", language)
        one = client.get("/units/cong-9").text
        assert word in one
        assert number in one
        assert word in client.get("/units").text


def test_the_page_of_alarms_says_when_one_will_come(deployment: Deployment) -> None:
    client = deployment.client("technician")

    assert "đã kéo dài 2 phút" in client.get("/alarms").text
    assert "đã kéo dài" not in client.get("/alarms?past=yes").text


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ({"machine": Machine(under_voltage=True)}, "nguồn điện yếu"),
        ({"machine": Machine(temperature_c=84.0)}, "máy quá nóng"),
        ({"machine": Machine(disk_free_bytes=1, disk_total_bytes=100)}, "đĩa sắp đầy"),
        ({"repair": "exhausted", "repair_reason": "no frame"}, "máy ảnh hỏng, cần người đến"),
        ({"certificate_ends": "2021-07-20T00:00:00.000Z"}, "chứng thư sắp hết hạn"),
        ({"unbelieved": 2, "oldest": "2021-07-02T01:19:00.000Z"}, "không tin xác nhận"),
        ({"unbelieved": 2, "oldest": "2021-07-02T01:21:00.000Z"}, ""),
        ({"unbelieved": 2}, ""),
        (
            {"update": Update(version="0.2.0", state="rolled_back", reason="no scan", at=NOW)},
            "cập nhật không thành công",
        ),
        ({"machine": Machine(under_voltage_since_boot=True, temperature_c=60.0)}, ""),
        ({"update": Update(version="0.2.0", state="installed", at=NOW)}, ""),
        ({"certificate_ends": "2022-07-20T00:00:00.000Z"}, ""),
    ],
)
def test_what_a_unit_tells_of_itself_is_trouble_or_none(
    deployment: Deployment, health: dict[str, object], words: str
) -> None:
    add_unit(deployment, "cong-9", PLACE, clock="ntp", **health)
    client = deployment.client("technician")

    unit, units = client.get("/units/cong-9").text, client.get("/units?find=cong-9").text

    assert ('class="troubles"' in unit) == bool(words)
    assert words in unit
    assert ("Cần kiểm tra" in units.partition("<tbody>")[2]) == bool(words)


def test_scans_that_stay_on_a_unit_are_trouble_until_they_come_in(deployment: Deployment) -> None:
    client = deployment.client("technician")

    def tell(oldest: str) -> None:
        storage, now = Storage(deployment.file), deployment.clock.now().at
        for message in (a_status(place=PLACE), a_health(clock="ntp", oldest=oldest)):
            storage.store_reports([Report("pleiku", "cong-9", message)], now)
        storage.close()

    tell("2021-07-02T01:01:00.000Z")
    assert 'class="troubles"' not in client.get("/units/cong-9").text
    tell("2021-06-20T01:00:00.000Z")
    assert "lượt quét gửi đi không được xác nhận" in client.get("/?find=cho-mau").text
    assert "edge-collector set-aside" in client.get("/units/cong-9").text

    # It was away, and now sends what it kept.
    deployment.add_scans(PLACE, "cong-9", ins=1)

    assert 'class="troubles"' not in client.get("/units/cong-9").text


def test_the_list_of_units_shows_and_sorts_what_they_tell(deployment: Deployment) -> None:
    for number, (temperature, free, signal, ends) in enumerate(
        ((41.0, 90, -60, "2031"), (71.0, 50, -90, "2029"), (52.0, 0, -70, "2030")), start=1
    ):
        machine = Machine(
            temperature_c=temperature,
            disk_free_bytes=free,
            disk_total_bytes=100,
            network="mobile",
            signal_dbm=signal,
        )
        add_unit(
            deployment,
            f"x-{number}",
            PLACE,
            clock="ntp",
            machine=machine,
            hours_left=(9.0, 4.0, 0.0)[number - 1],
            certificate_ends=f"{ends}-01-01T00:00:00.000Z",
            update=Update(version="0.3.0", state="waiting", at=NOW),
        )
    client = deployment.client("technician")

    def order(sort: str) -> list[str]:
        page = client.get(f"/units?find=x-&sort={sort}").text
        return re.findall(r'href="/units/(x-\d)"', page)

    assert order("temperature") == ["x-2", "x-3", "x-1"]
    assert order("disk") == ["x-3", "x-2", "x-1"]
    assert order("hours_left") == ["x-3", "x-2", "x-1"]
    assert order("signal") == ["x-2", "x-3", "x-1"]
    assert order("certificate") == ["x-2", "x-3", "x-1"]
    # The other way round, and what does not say stands last both ways.
    add_unit(deployment, "x-4", PLACE, clock="ntp")
    assert order("temperature")[-1] == order("-temperature")[-1] == "x-4"
    assert order("-temperature")[:3] == ["x-1", "x-3", "x-2"]
    for sort, way in (
        ("temperature", "descending"),
        ("-temperature", "ascending"),
        ("disk", "ascending"),
        ("nonsense", "other"),
    ):
        page = client.get(f"/units?sort={sort}").text
        assert re.findall(r'aria-sort="(\w+)"', page) == [way], sort
    page = client.get("/units?find=x-2").text
    for words in ("01/01/2029", ">71<", "50 %", "-90 dBm", "chờ cập nhật 0.3.0"):
        assert words in page, words


def test_a_bus_tells_its_trip_and_where_it_stood(deployment: Deployment) -> None:
    stop = Stop(
        since="2021-07-02T01:00:00.000Z",
        until="2021-07-02T01:05:00.000Z",
        latitude=13.98,
        longitude=108.0,
    )
    board = OnBoard(trip="sang-1", gps="fix", stops=(stop,))
    add_unit(deployment, "xe-1", "xe-81b-01234", clock="gnss", on_board=board)

    client = deployment.client("technician")
    page = client.get("/units/xe-1").text

    for words in ("sang-1", "có vị trí", 'href="geo:13.98,108.0"', "08:00–08:05"):
        assert words in page, words
    assert "<strong>0</strong> lượt" in page
    assert '<a href="/places/xe-81b-01234">Xe buýt 81B-012.34</a>' in page
    deployment.clock.advance(60)
    assert "geo:" not in client.get("/places/xe-81b-01234").text
    # The map is the phone's own: nothing is asked of anybody by the page.
    assert "http" not in page.partition('id="stops"')[2].partition("</section>")[0]


def test_the_page_of_a_vehicle_shows_the_stops_of_the_day_with_their_scans(
    deployment: Deployment,
) -> None:
    place = "xe-81b-01234"
    add_unit(deployment, "xe-1", place, clock="gnss")
    deployment.clock.advance(3600)
    since, now = utc_text(utc_seconds(deployment.clock.now().at) - 300), deployment.clock.now().at
    stop = Stop(since=since, until=now, latitude=13.98, longitude=108.0)
    storage = Storage(deployment.file)
    health = a_health(clock="gnss", on_board=OnBoard(trip="sang-1", gps="fix", stops=(stop,)))
    storage.store_reports([Report("pleiku", "xe-1", health)], now)
    storage.close()
    deployment.add_scans(place, "xe-1", ins=4)
    client = deployment.client("technician")

    assert "<strong>4</strong> lượt" in client.get(f"/places/{place}").text
    yesterday = local_day(now) - timedelta(days=1)
    assert "geo:" not in client.get(f"/places/{place}?day={yesterday}").text


def test_commands_and_what_became_of_them_are_shown(deployment: Deployment) -> None:
    control, now = Control(deployment.database), deployment.clock.now().at
    (command,) = control.command("cong-1", "self_test", HOSTILE, now, 600.0)
    control.command_sent(command.id, now)
    answer = Answer(about="command", to=command.id, state="failed", at=now, reason="no camera")
    control.answered("cong-1", answer, now)

    page = deployment.client("technician").get("/units/cong-1").text

    assert "tự kiểm tra: <strong>thất bại</strong> (no camera)" in page
    assert "<script>alert" not in page
    assert 'id="commands"' not in deployment.client("technician").get("/units/cong-2").text


def test_a_manager_sees_of_a_unit_only_what_was_since_it_came(deployment: Deployment) -> None:
    control = Control(deployment.database)
    here = {"0.1.0 cho-pleiku", "by-2", "geo:13.2"}
    every = here | {"0.1.0 ben-xe-mau", "by-1", "geo:13.1"}

    def be_at(place: str, birth: int, latitude: float) -> None:
        storage, now = Storage(deployment.file), deployment.clock.now().at
        stop = Stop(since=now, until=now, latitude=latitude, longitude=108.0)
        for message in (
            a_status(state="online", place=place, birth=birth),
            a_health(on_board=OnBoard(trip="", gps="fix", stops=(stop,))),
        ):
            storage.store_reports([Report("pleiku", "xe-9", message)], now)
        storage.close()
        control.command("xe-9", "identify", f"by-{birth}", now, 600.0)
        deployment.clock.advance(3600)

    def shown(role: Role) -> set[str]:
        page = deployment.client(role).get("/units/xe-9").text
        return {word for word in every if word in page}

    be_at(OTHER_PLACE, 1, 13.1)
    be_at(OWN_PLACE, 2, 13.2)
    assert shown("technician") == every
    assert shown("manager") == here
    with deployment.database.writing("forget") as connection:
        connection.execute(text("DELETE FROM unit_event WHERE unit = 'xe-9'"))
    assert shown("manager") == set()


def test_every_action_has_words() -> None:
    template = (Path(edge.dashboard.__file__).parent / "templates" / "unit.html").read_text()
    for action in get_args(CommandAction):
        assert f'"{action}": _(' in template, action
