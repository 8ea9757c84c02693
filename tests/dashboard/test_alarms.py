"""Alarms: what raises them, that they do not flap, who is told, and what a person does."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import date, datetime, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge.clock import Moment, utc_seconds, utc_text
from edge.dashboard.alarm_rules import (
    ADVICE,
    KINDS,
    NAMES,
    Counters,
    Finding,
    Limits,
    Sight,
    findings,
    is_open,
)
from edge.dashboard.alarms import Alarms, AlarmSettings, Watch
from edge.dashboard.local_time import HO_CHI_MINH
from edge.dashboard.posting import Poster, signature
from edge.dashboard.telling import Teller
from edge.errors import ConfigError
from edge.opening_hours import DAYS
from edge.register import Opening, Place
from edge.storage.fleet import FleetUnit
from edge.storage.keeping.known_time import Known, KnownTime, Trouble
from edge.storage.places import Places
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.dashboard.parts import OTHER_PLACE, OWN_PLACE, Deployment, token_in
from tests.fakes import a_health, a_status

NOW = "2021-07-02T03:00:00.000Z"  # 10:00 in Viet Nam
GOOD = {"clock": "ntp", "eye": "good", "fill": 0.1, "accepted": 10, "refused": {}}


def unit(**changes: Any) -> FleetUnit:
    fields: dict[str, Any] = {
        "unit": "cong-1",
        "area": "pleiku",
        "state": "online",
        "place": OWN_PLACE,
        "direction": "in",
        "software": "0.1.0",
        "last_scan": NOW,
        "seen": NOW,
        "unsynced": 0,
        "doubled": None,
        "taken_over": None,
        "scans": 0,
        "health": GOOD,
    }
    health = fields["health"] | changes.pop("health", {})
    return FleetUnit(**(fields | {"health": health} | changes))


def found(*units: FleetUnit, **changes: Any) -> list[tuple[str, str, bool]]:
    keys = ("register", "rates", "hour_ago", "waited_s")
    sight = Sight(NOW, units, *(changes.get(key, {}) for key in keys))
    return [(one.kind, one.subject, one.raises) for one in findings(sight, Limits())]


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, []),
        ({"state": "offline"}, ["unit-offline"]),
        ({"state": "stopped"}, []),
        ({"seen": "2021-07-02T02:49:00.000Z"}, ["unit-offline"]),
        ({"seen": None}, ["unit-offline"]),
        ({"health": {"fill": 0.71}}, ["outbox-filling"]),
        ({"health": {"clock": "none"}}, ["clock-wrong"]),
        ({"health": {"eye": "covered"}}, ["camera-blocked"]),
        ({"health": {"certificate_ends": "2021-09-29T00:00:00.000Z"}}, ["certificate-ending"]),
        ({"health": {"certificate_ends": "2021-10-01T00:00:00.000Z"}}, []),
        ({"health": {"certificate_ends": None}}, []),
        ({"health": {"certificate_ends": "2021-19-39T29:00:00.000Z"}}, []),
        ({"health": {"eye": "unjudged"}}, []),
        ({"doubled": "2021-07-01T03:00:01.000Z"}, ["double-unit"]),
        ({"taken_over": "2021-07-01T02:59:59.000Z"}, []),
        ({"health": {"fill": "?", "refused": 7, "unread": None, "eye": "good"}}, []),
        # What an offline unit said last is not held against it.
        ({"state": "offline", "health": {"clock": "none", "fill": 1.0}}, ["unit-offline"]),
    ],
)
def test_each_rule_finds_its_own(changes: dict[str, Any], kinds: list[str]) -> None:
    assert [kind for kind, _, _ in found(unit(**changes))] == kinds


def test_codes_that_are_not_read_are_judged_by_the_last_hour() -> None:
    tired = unit(health={"unread": 130, "accepted": 110})
    assert found(tired, hour_ago={"cong-1": Counters(110, 100, 0)}) == [
        ("unreadable", "cong-1", True)
    ]
    assert found(tired, hour_ago={"cong-1": Counters(111, 100, 0)}) == []
    assert found(tired, hour_ago={"cong-1": Counters(100, 0, 0)}) == []


def test_a_unit_that_does_not_believe_its_confirmations_or_gets_none_is_found() -> None:
    deceived = unit(health={"unbelieved": 7, "pending": 4})
    for before, waited_s, kinds in (
        (3, 0.0, ["unbelieved"]),
        (3, 7200.0, ["unbelieved"]),
        # The last one was long ago: what counts is whether scans go.
        (7, 1799.0, []),
        (7, 1800.0, ["unconfirmed"]),
    ):
        hour_ago = {"cong-1": Counters(0, 0, before)}
        looked = found(deceived, hour_ago=hour_ago, waited_s={"cong-1": waited_s})
        assert [kind for kind, _, _ in looked] == kinds, (before, waited_s)
    away = unit(state="offline", health={"unbelieved": 7})
    assert [kind for kind, _, _ in found(away, waited_s={"cong-1": 9e9})] == ["unit-offline"]


def test_a_place_is_silent_only_in_its_opening_hours() -> None:
    def at(place: Place, last: str | None) -> bool:
        return any(
            kind == "place-silent"
            for kind, _, _ in found(unit(last_scan=last), register={place.id: place})
        )

    def place(opens: int, closes: int, days: tuple[Any, ...] = DAYS) -> Place:
        hours = Opening(days=days, opens=time(opens), closes=time(closes))
        return Place(id=OWN_PLACE, name="Chợ", kind="market", hours=(hours,))

    assert at(place(5, 18), "2021-07-02T00:59:00.000Z")
    assert at(place(5, 18), None)
    assert not at(place(5, 18), "2021-07-02T01:01:00.000Z")
    assert not at(place(9, 18), None), "open for one hour only"
    assert not at(place(18, 22), None)
    assert not at(place(5, 18, ("sat", "sun")), None)
    assert not at(Place(id=OWN_PLACE, name="Chợ", kind="market"), None), "hours not known"


def test_hours_may_go_over_midnight() -> None:
    night = Opening(days=("fri",), opens=time(20), closes=time(2))
    bar = Place(id="bar", name="Bar", kind="bar", hours=(night,))

    def on(day: int, hour: int) -> bool:
        return is_open(bar, datetime(2021, 7, day, hour, tzinfo=HO_CHI_MINH))

    assert [on(2, 19), on(2, 20), on(3, 1), on(3, 2), on(2, 1)] == [False, True, True, False, False]


class Ground:
    """A deployment under watch."""

    def __init__(
        self, deployment: Deployment, limits: Limits | None = None, **settings: Any
    ) -> None:
        self.deployment, self.alarms = deployment, Alarms(deployment.database)
        deployment.clock.advance(-deployment.clock.seconds + 12 * 3600)
        self.watch = Watch(
            deployment.database,
            Places(),
            self.alarms,
            deployment.clock,
            AlarmSettings(**settings),
            limits or Limits(),
        )

    def report(self, **health: Any) -> None:
        """Let cong-1 say how it is, and the other units that they are well."""
        storage = Storage(self.deployment.file)
        now = self.deployment.clock.now().at
        for name, place in (("cong-1", OWN_PLACE), ("cong-2", OWN_PLACE), ("cua-1", OTHER_PLACE)):
            changes = {"clock": "ntp"} | (health if name == "cong-1" else {})
            storage.store_reports([Report("pleiku", name, a_status(place=place, birth=9))], now)
            storage.store_reports([Report("pleiku", name, a_health(**changes))], now)
        storage.close()

    def pass_by(self, seconds: float, **health: Any) -> None:
        """Let time pass with looks in between."""
        for _ in range(round(seconds / 15)):
            self.report(**health)
            self.watch.step()
            self.deployment.clock.advance(15)

    def kinds(self, **which: Any) -> list[tuple[str, bool]]:
        """Open alarms of cong-1, and whether each is over."""
        return [
            (alarm.kind, alarm.cleared is not None)
            for alarm in self.alarms.open()
            if alarm.subject == "cong-1"
        ]


@pytest.fixture
def ground(deployment: Deployment) -> Ground:
    return Ground(deployment)


def test_an_alarm_begins_when_it_has_lasted_and_ends_when_it_has_been_away(
    ground: Ground,
) -> None:
    ground.pass_by(105, fill=0.8)
    assert ground.kinds() == []
    ground.pass_by(60, fill=0.8)
    assert ground.kinds() == [("outbox-filling", False)]

    ground.pass_by(285, fill=0.1)
    assert ground.kinds() == [("outbox-filling", False)]
    ground.pass_by(60, fill=0.1)
    assert ground.kinds() == [("outbox-filling", True)]


def test_a_value_that_trembles_at_its_limit_is_one_alarm(ground: Ground) -> None:
    ground.pass_by(150, fill=0.75)
    for _ in range(20):
        ground.pass_by(15, fill=0.65)
        ground.pass_by(15, fill=0.72)
    assert ground.kinds() == [("outbox-filling", False)]

    ground.pass_by(330, fill=0.65)
    assert ground.kinds() == [("outbox-filling", False)], "0.65 is not well yet"
    ground.pass_by(330, fill=0.5)
    assert ground.kinds() == [("outbox-filling", True)]


def test_a_short_fault_again_and_again_raises_nothing(ground: Ground) -> None:
    for _ in range(8):
        ground.pass_by(60, clock="none")
        ground.pass_by(15)
    assert ground.kinds() == []


def test_what_is_back_reopens_the_alarm_instead_of_making_another(ground: Ground) -> None:
    ground.pass_by(150, clock="none")
    ground.pass_by(330)
    assert ground.kinds() == [("clock-wrong", True)]

    ground.pass_by(30, clock="none")

    assert ground.kinds() == [("clock-wrong", False)]


def test_scans_that_stay_on_a_unit_that_is_connected_are_an_alarm(deployment: Deployment) -> None:
    ground = Ground(deployment, Limits(unconfirmed_s=150), raise_after_s=30)
    uptime = iter(range(1, 1_000_000))

    def wait(seconds: float, oldest: str | None, *, tells: bool = True, **health: Any) -> list[str]:
        for _ in range(round(seconds / 15)):
            told = next(uptime) if tells else 0
            ground.pass_by(15, oldest=oldest, pending=3, uptime_ms=told, **health)
        return [kind for kind, over in ground.kinds() if not over]

    first, second = "2021-07-01T02:00:00.000Z", "2021-07-01T02:00:01.000Z"
    assert wait(150, first) == []
    # It sends what it kept: the oldest is another one each time.
    assert wait(120, second) == []
    # Nothing new is heard of it, though its scans may come.
    assert wait(300, second, tells=False) == []
    assert wait(120, second) == ["unconfirmed"]

    page = deployment.client("technician").get("/alarms").text

    assert "Lượt quét không được xác nhận" in page
    assert "3 lượt đang chờ" in page
    assert "edge-collector set-aside" in page
    assert wait(330, None) == []
    # Of confirmations that are not believed it is told at once, and why.
    assert wait(60, first, unbelieved=1) == ["unbelieved"]
    told = deployment.client("technician").get("/alarms").text
    assert "edge-collector key --units" in told
    assert "receipts.pub" in told


def test_what_goes_on_after_it_was_closed_must_last_again(ground: Ground) -> None:
    ground.pass_by(150, clock="none")
    (alarm,) = [alarm for alarm in ground.alarms.open() if alarm.kind == "clock-wrong"]
    ground.alarms.close([alarm.number], "lan", "đã gọi", ground.deployment.clock.now().at)
    ground.pass_by(90, clock="none")
    assert ground.kinds() == []

    ground.pass_by(60, clock="none")

    assert ground.kinds() == [("clock-wrong", False)]
    assert ground.alarms.past()[0].note == "đã gọi"


def test_a_unit_that_scans_faster_than_people_come_is_told_of_and_a_caught_up_outage_is_not(
    deployment: Deployment,
) -> None:
    ground = Ground(deployment, scans_in_a_quarter=900)
    ground.pass_by(30)
    now = deployment.clock.now().at
    yesterday = "2021-07-01T03:00:00.000Z"
    deployment.add_list([(OWN_PLACE, "cong-1", "in", now)] * 1000)
    deployment.add_list([(OTHER_PLACE, "cua-1", "in", yesterday)] * 1000)

    ground.pass_by(165)

    rates = [alarm.subject for alarm in ground.alarms.open() if alarm.kind == "impossible-rate"]
    assert rates == ["cong-1"]


class Hook(BaseHTTPRequestHandler):
    """A webhook that keeps what it takes."""

    taken: list[tuple[str, bytes]]
    status = 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.status == 204:
            self.taken.append((self.headers["edge-signature"], body))
        self.send_response(self.status)
        self.send_header("location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], str]]:
    class Mine(Hook):
        taken: list[tuple[str, bytes]] = []  # noqa: RUF012 - one server's

    server = HTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Mine, f"http://127.0.0.1:{server.server_port}/alarms"
    server.shutdown()
    thread.join()
    server.server_close()


def teller(ground: Ground, folder: Path, url: str, **settings: Any) -> Teller:
    (folder / "hook.key").write_text("mot-khoa-chung\n")
    clock = ground.deployment.clock
    poster = Poster(url, "hook.key", folder, clock)
    settings = {"quiet_from_h": 0, "quiet_to_h": 0} | settings
    return Teller(
        ground.alarms,
        ground.deployment.database,
        clock,
        AlarmSettings(**settings),
        "Mẫu",
        webhook=poster,
    )


def test_a_webhook_gets_each_alarm_once_and_signed(
    ground: Ground, hook: tuple[type[Hook], str], tmp_path: Path
) -> None:
    handler, url = hook
    told = teller(ground, tmp_path, url)
    ground.pass_by(150, clock="none")

    told.step()
    told.step()

    ((header, body),) = handler.taken
    at = header.removeprefix("t=").partition(",")[0]
    assert header == f"t={at},v1={signature(b'mot-khoa-chung', at, body)}"
    (alarm,) = json.loads(body)["alarms"]
    assert (alarm["kind"], alarm["subject"], alarm["place"]) == ("clock-wrong", "cong-1", OWN_PLACE)


@pytest.mark.parametrize("status", [500, 302])
def test_a_webhook_that_fails_or_points_elsewhere_is_tried_again(
    ground: Ground, hook: tuple[type[Hook], str], tmp_path: Path, status: int
) -> None:
    handler, url = hook
    handler.status = status
    told = teller(ground, tmp_path, url)
    ground.pass_by(150, clock="none")
    told.step()
    assert handler.taken == []
    handler.status = 204

    ground.deployment.clock.advance(121)
    told.step()

    assert len(handler.taken) == 1


def test_nobody_is_told_in_quiet_hours_and_everybody_after_them(
    ground: Ground, hook: tuple[type[Hook], str], tmp_path: Path
) -> None:
    handler, url = hook
    told = teller(ground, tmp_path, url, quiet_from_h=22, quiet_to_h=5)
    # The ground's clock stands at 19:50 or so in Viet Nam.
    ground.deployment.clock.advance(3 * 3600)
    ground.pass_by(150, clock="none")
    told.step()
    assert handler.taken == []

    ground.deployment.clock.advance(7 * 3600)
    told.step()

    assert len(handler.taken) == 1


def test_a_secret_is_not_sent_where_it_can_be_read(tmp_path: Path, deployment: Deployment) -> None:
    for url in ("http://example.invalid/", "ftp://example.invalid/", "example.invalid"):
        with pytest.raises(ConfigError, match="https"):
            Poster(url, "key", tmp_path, deployment.clock)


def test_a_person_takes_an_alarm_and_closes_it_with_a_word(deployment: Deployment) -> None:
    alarms, now = Alarms(deployment.database), deployment.clock.now().at
    alarms.begin(Finding("unit-offline", "cong-1", OWN_PLACE), now)
    alarms.begin(Finding("unit-offline", "cua-1", OTHER_PLACE), now)
    client = deployment.client("manager")
    page = client.get("/alarms").text
    assert "cong-1" in page
    assert "cua-1" not in page
    token = token_in(page)

    client.post("/alarms/1", data={"token": token, "do": "acknowledge"})
    client.post("/alarms/1", data={"token": token, "do": "close", "note": "<b>mất điện</b>"})
    refused = client.post("/alarms/2", data={"token": token, "do": "close"})
    missing = client.post("/alarms/99999999999999999999", data={"token": token, "do": "close"})

    assert (refused.status_code, missing.status_code) == (403, 404)
    (closed,) = alarms.past()
    assert (closed.acknowledger, closed.closer, closed.note) == (
        "manager",
        "manager",
        "<b>mất điện</b>",
    )
    past = client.get("/alarms?past=yes").text
    assert "&lt;b&gt;mất điện" in past
    assert [alarm.subject for alarm in alarms.open()] == ["cua-1"]


def test_after_an_outage_all_that_were_shown_are_taken_and_closed_at_once(
    deployment: Deployment,
) -> None:
    alarms, now = Alarms(deployment.database), deployment.clock.now().at
    for number, place in enumerate((OWN_PLACE, OWN_PLACE, OTHER_PLACE, OWN_PLACE), start=1):
        alarms.begin(Finding("unit-offline", f"u-{number}", place), now)
    client = deployment.client("manager")
    page = client.get("/alarms").text
    assert "Tôi xử lý cả 3 cảnh báo mới" in page
    (newest,) = re.findall(r'name="newest" value="(\d+)"', page)
    form = {"token": token_in(page), "newest": newest}
    alarms.begin(Finding("unit-offline", "u-5", OWN_PLACE), now)

    client.post("/alarms", data=form | {"do": "acknowledge"})
    for number in (1, 3, 4):
        alarms.clear(number, now)
    assert "Đóng cả 2 cảnh báo đã hết" in client.get("/alarms").text
    client.post("/alarms", data=form | {"do": "close-over"})

    # Not what is elsewhere, nor what nobody has seen, nor what lasts.
    left = {alarm.subject: alarm.acknowledger for alarm in alarms.open()}
    assert left == {"u-2": "manager", "u-3": None, "u-5": None}
    assert {alarm.closer for alarm in alarms.past()} == {"manager"}
    assert "Tôi xử lý cả" not in client.get("/alarms").text


def test_a_collector_whose_clock_is_years_ahead_is_an_alarm_with_what_to_do(
    ground: Ground,
) -> None:
    storage = Storage(ground.deployment.file)
    known, now = KnownTime(storage.database, "gialai-1"), ground.deployment.clock.now().at
    known.look(Moment(now, "a" * 32, 60_000, "rtc"))
    known.look(Moment(utc_text(utc_seconds(now) + 400 * 86_400), "b" * 32, 60_000, "rtc"))
    ground.pass_by(300)

    (alarm,) = [alarm for alarm in ground.alarms.open() if alarm.kind == "centre-clock"]
    assert (alarm.subject, alarm.place) == ("gialai-1", "")
    page = ground.deployment.client("operator").get("/alarms").text
    assert "đồng hồ chạy trước 400 ngày" in page
    assert "edge-collector clock --today" in page
    assert 'href="/set-up#kept">gialai-1</a>' in page
    assert "gialai-1" not in ground.deployment.client("manager").get("/alarms").text

    known.look(Moment(now, "c" * 32, 60_000, "ntp"))
    ground.pass_by(600)
    (alarm,) = [alarm for alarm in ground.alarms.open() if alarm.kind == "centre-clock"]
    assert alarm.cleared
    storage.close()


def test_a_new_centre_has_time_to_vouch_for_its_clock_and_one_that_is_gone_is_no_alarm() -> None:
    def found(trouble: Trouble, *, clock: str = NOW, first: date | None = None) -> bool:
        known = Known("gialai-1", "", "", "", clock, "a" * 32, 1, trouble, 0)
        sight = Sight(NOW, (), {}, {}, {}, {}, (known,), first)
        return bool(list(findings(sight, Limits())))

    assert not found("")
    assert not found("nobody")
    assert not found("nobody", first=date(2021, 6, 20))
    assert found("nobody", first=date(2021, 6, 10))
    assert found("units")
    assert not found("units", clock="2021-06-10T00:00:00.000Z")
    assert found("behind", clock="2001-06-10T00:00:00.000Z")
    assert found("ahead", clock="2031-06-10T00:00:00.000Z")


def test_every_kind_has_its_words_in_both_languages() -> None:
    for kind in KINDS:
        assert all(NAMES[kind])
        assert all(ADVICE[kind])
