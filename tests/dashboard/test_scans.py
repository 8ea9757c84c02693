"""Every number of every page opens to exactly the rows that it counts, and to nobody's identity."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from html import unescape
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from edge.clock import utc_text
from edge.dashboard.local_time import HO_CHI_MINH, local_day
from edge.dashboard.pages import scans as scan_pages
from edge.storage.rows import Report
from edge.storage.storage import Storage
from edge.tables import read_table, write_table
from tests.dashboard.parts import HOSTILE, OTHER_PLACE, OWN_PLACE, Deployment
from tests.fakes import a_health, a_scan, came
from tests.storage.parts import expire

_LINK = re.compile(r'<a (?:class="tile" )?href="(/scans\?[^"]*)">(.*?)</a>', re.DOTALL)
_NUMBER = re.compile(r"[\d.]+")
_ROW = re.compile(r'<th scope="row" class="unbroken">')


def links_of(page: str) -> Iterator[tuple[str, int]]:
    """(address, number) of each number that opens to its scans."""
    for address, shown in _LINK.findall(page):
        # A place's name may stand before its number.
        number = _NUMBER.findall(shown.partition("(")[2] or shown)[0]
        yield unescape(address), int(number.replace(".", ""))


def rows_behind(deployment: Deployment, client: TestClient, address: str) -> int:
    """How many rows an address opens to, over all its pages and places."""
    # As a person would, who reads each: nobody is to be stopped for asking too fast.
    deployment.clock.advance(0.2)
    page = client.get(address)
    assert page.status_code == 200, address
    text = page.text
    count = len(_ROW.findall(text))
    if not count:
        # Several places: each opens to its own.
        return sum(rows_behind(deployment, client, link) for link, _ in links_of(text))
    while following := re.search(r'rel="next" href="([^"]*)"', text):
        deployment.clock.advance(0.2)
        text = client.get(unescape(following[1])).text
        count += len(_ROW.findall(text))
    return count


def add_all_kinds(deployment: Deployment) -> None:
    """Scans around midnights, of both clocks, some corrected later, some of no certain time."""
    random, scans = Random(11), []
    midnight = datetime(2021, 7, 2, tzinfo=HO_CHI_MINH)
    for number in range(1, 181):
        moment = midnight + timedelta(minutes=random.randrange(-2 * 1440, 9 * 60))
        unit, place = random.choice(
            [("cong-1", OWN_PLACE), ("cong-2", OWN_PLACE), ("cua-1", OTHER_PLACE)]
        )
        clock = random.choice(["ntp", "ntp", "rtc", "none"])
        scan = a_scan(
            number,
            place=place,
            direction=random.choice(["in", "out", "both"]),
            at=utc_text(moment.timestamp()),
            clock=clock,
            boot=f"{number % 2:032x}",
            uptime_ms=60_000 * number,
        )
        scans.append(came("pleiku", unit, scan))
    # At the very ends of a local day and of a day of UTC.
    for number, at in enumerate(
        (
            "2021-07-01T16:59:59.999Z",
            "2021-07-01T17:00:00.000Z",
            "2021-07-01T23:59:59.999Z",
            "2021-07-02T00:00:00.000Z",
        ),
        start=181,
    ):
        scan = a_scan(number, place=OWN_PLACE, direction="in", at=at, clock="ntp")
        scans.append(came("pleiku", "cong-1", scan))
    storage, now = Storage(deployment.file), deployment.clock.now().at
    storage.store(scans, now)
    # One boot of each unit becomes known, and dates its scans anew.
    health = a_health(at="2021-07-01T08:00:00.000Z", boot=f"{1:032x}", uptime_ms=7_200_000)
    for unit in ("cong-1", "cong-2", "cua-1"):
        storage.store_reports([Report("pleiku", unit, health)], now)
    storage.close()


@pytest.mark.parametrize("size", [7, 100])
def test_every_number_opens_to_exactly_its_rows(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    add_all_kinds(deployment)
    monkeypatch.setattr(scan_pages, "ON_A_PAGE", size)
    today = local_day(deployment.clock.now().at)
    client, opened = deployment.client("operator"), 0
    paths = [
        "/",
        *(f"/places/{OWN_PLACE}?day={today - timedelta(days=back)}" for back in range(3)),
        "/units/cong-1",
        f"/coverage/places?by=body&first={today - timedelta(days=2)}&last={today}",
        "/coverage",
    ]
    for path in paths:
        for address, number in links_of(client.get(path).text):
            assert rows_behind(deployment, client, address) == number, f"{path}: {address}"
            opened += number > 0
    assert opened > 60


def test_in_is_in_alone_and_what_has_no_direction_is_a_column(deployment: Deployment) -> None:
    paths = ("/", f"/places/{OWN_PLACE}", "/units/cong-1", "/coverage", "/coverage/places?by=body")
    client, at = deployment.client("operator"), deployment.clock.now().at
    deployment.add_list([(OWN_PLACE, "cong-1", "in", at)])
    for path in paths:
        assert "hông rõ hướng" not in client.get(path).text, path
    deployment.add_list([(OWN_PLACE, "cong-1", "both", at)])
    deployment.clock.advance(60)
    deployment.parts.totals.step()

    for path in paths:
        page = client.get(path).text
        assert ">Không rõ hướng</th>" in page, path
        assert "direction=in%2Cboth" not in page, path
        # Which way a bar of a chart goes is said with it.
        assert "vào (gồm không rõ hướng), lên trên" in page or 'class="chart"' not in page, path


def test_rows_tell_of_units_and_clocks_and_of_nobody(deployment: Deployment) -> None:
    scan = a_scan(4711, place=OWN_PLACE, direction="in", clock="ntp", at="2021-07-02T00:30:07.000Z")
    storage = Storage(deployment.file)
    storage.store([came("pleiku", "cong-1", scan)], "2021-07-02T00:30:09.000Z")
    storage.close()

    page = deployment.client("manager").get(f"/scans?place={OWN_PLACE}").text

    for word in ("4.711", "cong-1", "07:30:07", "07:30:09", "máy chủ thời gian", "căn cước"):
        assert word in page
    assert scan.sealed.hex() not in page
    assert scan.id not in page


def test_only_those_who_may_see_a_place_see_its_rows(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=2)
    deployment.add_scans(OTHER_PLACE, "cua-1", ins=3)
    manager = deployment.client("manager")

    for path in ("/scans", "/scans/csv", "/scans/xlsx"):
        assert manager.get(f"{path}?place={OWN_PLACE}").status_code == 200
        assert manager.get(f"{path}?place={OTHER_PLACE}").status_code == 403
        assert deployment.client("desk").get(f"{path}?place={OWN_PLACE}").status_code == 403
    # Without a place: the own ones alone, also of a unit elsewhere.
    assert OTHER_PLACE not in manager.get("/scans").text
    assert rows_behind(deployment, manager, "/scans?unit=cua-1") == 0
    assert rows_behind(deployment, deployment.client("department"), "/scans?unit=cua-1") == 3


def test_a_file_has_all_rows_and_no_cell_that_acts(deployment: Deployment) -> None:
    add_all_kinds(deployment)
    client = deployment.client("operator")
    asked = urlencode({"place": OWN_PLACE, "first": "2021-06-30", "last": "2021-07-02"})

    answer = client.get(f"/scans/csv?{asked}")

    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert rows[0] == [vi for vi, _ in scan_pages.COLUMNS]
    assert len(rows) - 1 == rows_behind(deployment, client, f"/scans?{asked}") > 100
    assert [row[7] for row in rows[1:]] == sorted(row[7] for row in rows[1:])
    assert client.get(f"/scans/xlsx?{asked}").content.startswith(b"PK")
    for bad in (
        f"/scans/pdf?{asked}",
        "/scans/csv",
        "/scans/csv?place=../x",
        "/scans/csv?place=%0d",
    ):
        assert client.get(bad).status_code == 404, bad


def test_a_manager_downloads_the_counts_of_a_month_by_day(deployment: Deployment) -> None:
    for back, ins in ((0, 3), (1, 5), (7, 9), (8, 4)):
        deployment.add_scans(
            OWN_PLACE, "cong-1", ins=ins, outs=1, day=date(2021, 7, 2) - timedelta(days=back)
        )
    client = deployment.client("manager")
    page = client.get(f"/places/{OWN_PLACE}").text
    links = {unescape(link) for link in re.findall(rf'href="(/places/{OWN_PLACE}/[^"]+)"', page)}

    for link in links:
        answer = client.get(link)
        form = link.partition("?")[0].rpartition("/")[2]
        name = f'filename="luot-theo-ngay-{OWN_PLACE}-2021-07-02.{form}"'
        assert name in answer.headers["content-disposition"]
        header, *rows = read_table(io.BytesIO(answer.content), f"r.{form}")
        assert header[1:4] == ["Ngày", "Thứ", "Lượt vào"]
        assert len(rows) == 28
        # Today is not over, and the day of a week ago is; an XLSX has no cell for nothing.
        assert [*rows[-1], ""][1:8] == ["2021-07-02", "Thứ Sáu", "3", "1", "0", "4", ""]
        assert rows[-2][1:] == ["2021-07-01", "Thứ Năm", "5", "1", "0", "6", "5"]

    assert len(links) == 2
    for path, status in (
        (f"/places/{OTHER_PLACE}/csv", 403),
        (f"/places/{OWN_PLACE}/pdf", 404),
        ("/places/khong-co/csv", 403),
    ):
        assert client.get(path).status_code == status, path
    assert deployment.client("operator").get("/places/khong-co/csv").status_code == 404


def test_too_many_for_a_file_are_refused_before_they_are_read(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_pages, "IN_A_FILE", {"csv": 5, "xlsx": 4})
    deployment.add_scans(OWN_PLACE, "cong-1", ins=5)
    client = deployment.client("operator")
    assert client.get(f"/scans/csv?place={OWN_PLACE}").status_code == 200
    assert client.get(f"/scans/xlsx?place={OWN_PLACE}").status_code == 400
    page = client.get(f"/scans?place={OWN_PLACE}").text
    assert ("/scans/csv" in page, "/scans/xlsx" in page) == (True, False)
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1)

    assert client.get(f"/scans/csv?place={OWN_PLACE}").status_code == 400
    assert "/scans/csv" not in client.get(f"/scans?place={OWN_PLACE}").text


def test_one_file_is_made_at_a_time(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=5)
    client, other = deployment.client("operator"), deployment.client("manager")
    statuses: list[int] = []

    def write_meanwhile(*arguments: Any) -> int:
        statuses.append(other.get(f"/scans/csv?place={OWN_PLACE}").status_code)
        return write_table(*arguments)

    monkeypatch.setattr(scan_pages, "write_table", write_meanwhile)
    assert client.get(f"/scans/xlsx?place={OWN_PLACE}").status_code == 200
    assert statuses == [429]
    monkeypatch.setattr(scan_pages, "write_table", write_table)
    assert other.get(f"/scans/csv?place={OWN_PLACE}").status_code == 200


def test_some_hours_are_asked_of_a_month_at_most(deployment: Deployment) -> None:
    client = deployment.client("operator")
    asked = f"place={OWN_PLACE}&first=2021-01-01&last=2021-07-02"
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1)

    assert "01/01/2021 – 02/07/2021" in client.get(f"/scans?{asked}").text
    assert "02/06/2021 – 02/07/2021" in client.get(f"/scans?{asked}&since=4&until=90").text


def test_days_and_hours_are_chosen_on_the_page_and_the_rest_stays(deployment: Deployment) -> None:
    deployment.add_list(
        (OWN_PLACE, "cong-1", way, f"2021-07-0{day}T0{hour}:30:00.000Z")
        for way in ("in", "out")
        for day in (1, 2)
        for hour in (0, 1)
    )
    client = deployment.client("manager")
    asked = f"/scans?place={OWN_PLACE}&unit=cong-1&direction=in&order=oldest&since=29"
    form = client.get(asked).text.partition('<form class="span"')[2].partition("</form>")[0]

    kept = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    assert kept == {"place": OWN_PLACE, "unit": "cong-1", "direction": "in", "order": "oldest"}
    assert '<option value="29" selected>07:15</option>' in form
    assert '<option value="96" selected>24:00</option>' in form
    chosen = {"first": "2021-07-01", "last": "2021-07-02", "since": "28", "until": "32"}
    # Of 07:30 and 08:30 on two days, in and out: what went in at half past seven.
    assert "<strong>2</strong> lượt" in client.get(f"/scans?{urlencode(kept | chosen)}").text


def test_a_file_speaks_the_language_of_whoever_asks(deployment: Deployment) -> None:
    add_all_kinds(deployment)
    path = f"/scans/csv?place={OWN_PLACE}&first=2021-06-30&last=2021-07-02"

    def words(client: TestClient) -> set[str]:
        text = client.get(path).content.decode("utf-8-sig")
        return {row[column] for row in list(csv.reader(io.StringIO(text)))[1:] for column in (5, 9)}

    client = deployment.client("operator")
    vietnamese = {"vào", "ra", "không rõ hướng"}
    assert words(client) == vietnamese | {
        "máy chủ thời gian (NTP)",
        "đồng hồ có pin (RTC)",
        "chưa đặt giờ",
    }
    client.cookies.set("edge-language", "en")
    assert {"in", "out", "either way"} <= words(client)


def test_a_count_whose_rows_were_erased_says_so(deployment: Deployment) -> None:
    deployment.add_list([(OWN_PLACE, "cong-1", "in", "2021-06-01T05:00:00.000Z")])
    storage = Storage(deployment.file)
    expire(storage, "2021-06-20")
    storage.close()

    page = deployment.client("operator").get(
        f"/scans?place={OWN_PLACE}&first=2021-06-01&last=2021-06-01"
    )

    assert "<strong>1</strong> lượt" in page.text
    assert "trước 07:00 ngày 20/06/2021 đã được xóa" in page.text
    assert not _ROW.findall(page.text)


def test_the_border_day_says_that_its_first_hours_were_erased(deployment: Deployment) -> None:
    # At 06:59 and at 07:01 in Viet Nam.
    for at in ("2021-06-19T23:59:00.000Z", "2021-06-20T00:01:00.000Z"):
        deployment.add_list([(OWN_PLACE, "cong-1", "in", at)])
    storage = Storage(deployment.file)
    expire(storage, "2021-06-20")
    storage.close()
    client = deployment.client("operator")

    page = client.get(f"/scans?place={OWN_PLACE}&first=2021-06-20&last=2021-06-20").text

    assert "<strong>2</strong> lượt" in page
    assert len(_ROW.findall(page)) == 1
    assert "trước 07:00 ngày 20/06/2021 đã được xóa" in page
    assert "trước 07:00 ngày 20/06/2021 đã được xóa" in client.get("/set-up").text
    after = client.get(f"/scans?place={OWN_PLACE}&first=2021-06-21&last=2021-06-21").text
    assert "đã được xóa" not in after


@pytest.mark.parametrize(
    "query",
    [
        {"place": HOSTILE},
        {"unit": HOSTILE},
        {"after": HOSTILE},
        {"after": "~99999999999999999999"},
        {"first": "9999-99-99", "last": HOSTILE},
        {"since": "96", "until": "-1", "direction": HOSTILE},
        {"first": "2020-01-01", "since": "1", "until": "2"},
    ],
)
def test_no_address_breaks_the_page(deployment: Deployment, query: dict[str, str]) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1)

    answer = deployment.client("operator").get(f"/scans?{urlencode({'place': OWN_PLACE} | query)}")

    assert answer.status_code in (200, 404)
    assert "<script>" not in answer.text


def numbers_in_order(deployment: Deployment, client: TestClient, address: str) -> list[str]:
    """The unit and number of each row, over all pages."""
    found: list[str] = []
    while True:
        deployment.clock.advance(0.2)
        text = client.get(address).text
        found += re.findall(r'<td class="unbroken">([\w-]+)</td><td class="n">(\d+)</td>', text)
        following = re.search(r'rel="next" href="([^"]*)"', text)
        if following is None:
            return found
        address = unescape(following[1])


def test_the_newest_stand_first_unless_the_oldest_are_asked_for(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(tmp_path, url=database_url)
    deployment.add_register()
    add_all_kinds(deployment)
    # More at one moment than stand on a page.
    deployment.add_scans(OWN_PLACE, "cong-3", ins=40)
    monkeypatch.setattr(scan_pages, "ON_A_PAGE", 31)
    client = deployment.client("operator")
    for hours in ("", "&since=6&until=90"):
        address = f"/scans?place={OWN_PLACE}&first=2021-06-30&last=2021-07-02{hours}"
        page = client.get(address).text
        (other_way,) = re.findall(r'aria-sort="descending"><a href="([^"]*)"', page)

        newest_first = numbers_in_order(deployment, client, address)

        oldest_first = numbers_in_order(deployment, client, unescape(other_way))
        assert newest_first == oldest_first[::-1]
        assert len(newest_first) == len(set(newest_first)) > 80
    deployment.close()


def test_it_works_on_both_engines(database_url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, url=database_url)
    deployment.add_register()
    add_all_kinds(deployment)
    client = deployment.client("operator")

    for address, number in links_of(client.get(f"/places/{OWN_PLACE}").text):
        assert rows_behind(deployment, client, address) == number, address
    deployment.close()
