"""The first page: what is wrong and what to do in one look, and what following it costs."""

import re

import pytest

from edge.clock import utc_seconds
from edge.dashboard.alarm_rules import Finding
from edge.dashboard.rights import Role
from tests.dashboard.parts import OTHER_PLACE, OWN_PLACE, Deployment
from tests.dashboard.test_condition import add_unit

PART = {"x-part": "live"}


def headline(page: str) -> str:
    """What stands above all, as text."""
    text = page.partition('class="headline')[2].partition(">")[2].partition("</p>")[0]
    return " ".join(re.sub("<[^>]+>", " ", text).split())


def test_the_headline_names_the_places_to_go_to(deployment: Deployment) -> None:
    page = deployment.client("operator").get("/").text

    # Of the station the only unit is offline, of the market one needs a look.
    assert f'<a href="/places/{OTHER_PLACE}">Bến xe Mẫu</a>' in page
    assert headline(page) == (
        "Không hoạt động: Bến xe Mẫu Cần kiểm tra: Chợ Mẫu, cổng 1 Hoạt động: 0 trong 3 điểm"
    )
    assert "Kiểm tra nguồn điện và mạng." in page.partition('id="places"')[2]


def test_many_places_in_one_condition_are_a_number(deployment: Deployment) -> None:
    for number in range(3):
        add_unit(deployment, f"m-{number}", f"cho-{number}", clock="none")

    assert "Cần kiểm tra: 4 điểm " in headline(deployment.client("operator").get("/").text)


def test_a_place_without_units_says_how_it_gets_one(deployment: Deployment) -> None:
    page = deployment.client("operator").get("/places/xe-81b-01234").text

    assert "edge-provision" in page
    assert "<figure" not in page


def test_alarms_that_nobody_handles_stand_above_all_for_those_whom_they_concern(
    deployment: Deployment,
) -> None:
    alarms, now = deployment.parts.alarms, deployment.clock.now().at
    for number, place in enumerate((OWN_PLACE, OTHER_PLACE, OTHER_PLACE), start=1):
        alarms.begin(Finding("unit-offline", f"u-{number}", place), now)

    def told(role: Role) -> list[str]:
        return re.findall(r"chưa ai xử lý: (\d+)", deployment.client(role).get("/").text)

    assert (told("operator"), told("manager"), told("department")) == (["3"], ["1"], [])
    alarms.acknowledge([1], "manager", now)
    alarms.clear(2, now)
    assert (told("operator"), told("manager")) == (["1"], [])


def test_today_is_compared_with_last_week_until_the_same_quarter(deployment: Deployment) -> None:
    # It is 08:46 in Viet Nam: of last Friday only what was before that counts.
    for hour, number in (("T01:10", 4), ("T02:10", 90)):
        at = f"2021-06-25{hour}:00.000Z"
        deployment.add_list([(OWN_PLACE, "cong-1", "in", at)] * number)
    deployment.add_list([(OWN_PLACE, "cong-1", "in", "2021-07-02T01:00:00.000Z")] * 5)
    client = deployment.client("operator")

    page = client.get(f"/places/{OWN_PLACE}").text

    assert '<span class="big">4</span>tuần trước, đến 08:45' in page
    assert "ngày này ▲&nbsp;25&nbsp;%" in page
    past = client.get(f"/places/{OWN_PLACE}?day=2021-07-01").text
    assert "cùng ngày tuần trước" in past


def test_whoever_looks_on_is_sent_only_what_has_changed(deployment: Deployment) -> None:
    deployment.add_alarms()
    client = deployment.client("operator")
    for path in ("/", f"/places/{OWN_PLACE}", "/alarms"):
        first = client.get(path, headers=PART)
        mark = first.headers["etag"]

        again = client.get(path, headers=PART | {"if-none-match": mark})

        assert "<html" not in first.text, path
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["cache-control"] == "no-store"
    add_unit(deployment, "cong-9", OWN_PLACE, clock="ntp")
    deployment.clock.advance(60)
    changed = client.get("/", headers=PART | {"if-none-match": mark})
    assert changed.status_code == 200
    # A page as a whole is not marked: its form's token is of this time alone.
    assert "etag" not in client.get("/").headers


@pytest.mark.parametrize(
    ("at", "today", "last_hour"),
    [
        # A day ends at 17:00 UTC, and not when a day of storage does, at 07:00 here.
        ("2021-07-02T16:59:59.000Z", "02/07/2021", "22:45–23:45"),
        ("2021-07-02T17:00:00.000Z", "03/07/2021", "23:00–00:00"),
        ("2021-07-02T17:15:00.000Z", "03/07/2021", "23:15–00:15"),
        ("2021-07-02T23:59:59.000Z", "03/07/2021", "05:45–06:45"),
        ("2021-07-03T00:00:00.000Z", "03/07/2021", "06:00–07:00"),
    ],
)
def test_a_page_that_is_left_open_is_of_the_new_day_after_midnight(
    deployment: Deployment, at: str, today: str, last_hour: str
) -> None:
    client = deployment.client("operator")
    place = f"/places/{OWN_PLACE}"
    marks = {path: client.get(path, headers=PART).headers["etag"] for path in ("/", place)}
    deployment.add_list([(OWN_PLACE, "cong-1", "in", "2021-07-02T16:50:00.000Z")] * 3)
    deployment.clock.advance(utc_seconds(at) - utc_seconds(deployment.clock.now().at))
    # It has been looked at all the time: the session still runs.
    client = deployment.client("operator")

    parts = {
        path: client.get(path, headers=PART | {"if-none-match": mark}).text
        for path, mark in marks.items()
    }

    day, month, year = today.split("/")
    is_old = today == "02/07/2021"
    assert f"first={year}-{month}-{day}&amp;" in parts["/"]
    assert last_hour in parts["/"]
    assert ('<span class="big">3</span>vào hôm nay' in parts["/"]) == is_old
    assert ('<span class="big">3</span>lượt vào' in parts[place]) == is_old
    # At midnight there is nothing yet that could be compared.
    assert ("tuần trước, đến" in parts[place]) == (at != "2021-07-02T17:00:00.000Z")
    for page in parts.values():
        for link in set(re.findall(r'href="(/scans\?[^"]+)"', page)):
            assert client.get(link.replace("&amp;", "&")).status_code == 200, link


def test_on_a_day_that_is_past_the_condition_is_that_of_today(deployment: Deployment) -> None:
    client = deployment.client("manager")
    today, yesterday = (
        client.get(f"/places/{OWN_PLACE}?day=2021-07-0{day}").text for day in (2, 1)
    )

    assert "hiện nay" not in today
    assert "lượt gần nhất" in today
    assert "hiện nay" in yesterday
    assert "lượt gần nhất" not in yesterday
