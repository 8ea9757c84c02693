"""Reports: made when due, once; what is in them; delivered by mail and into a folder."""

import io
import re
from collections.abc import Iterator
from datetime import date, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import text

from edge.dashboard.coverage import Span
from edge.dashboard.mail import Mailer, MailSettings
from edge.dashboard.mail_queue import GIVE_UP_TRIES, MailQueue
from edge.dashboard.reporting import Reporting, ReportSettings
from edge.dashboard.reports import due, file_of, report_of, span_of
from edge.errors import ConfigError, PrintingError
from edge.printing import Paper
from edge.register import AdminArea, Place, Register
from edge.storage.places import Places, keep_register, note_heard
from edge.tables import read_table
from tests.dashboard.inbox import Inbox, mail_server
from tests.dashboard.parts import HOSTILE, OTHER_PLACE, OWN_PLACE, Deployment

DAY = date(2021, 7, 2)
#: At six in Viet Nam, when the report of that day is made.
MORNING_AFTER = "2021-07-02T23:00:00.000Z"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, MailSettings]]:
    """A mail server, and the settings that reach it."""
    kept = Inbox()
    with mail_server(kept) as settings:
        yield kept, settings


def reporting(deployment: Deployment, folder: Path, **more: Any) -> Reporting:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1, day=date(2021, 6, 20))
    settings = ReportSettings(folder=str(folder), copy_to=more.pop("copy_to", ""))
    return Reporting(
        deployment.database, Places(), deployment.clock, "Sở Y tế Mẫu", settings, **more
    )


def files(deployment: Deployment, form: str, last: date = DAY) -> bytes:
    with deployment.database.reading() as connection:
        register = Places().all(connection)
        report = report_of(connection, register, "Sở Mẫu", Span(last, last), MORNING_AFTER)
        return file_of(report, form)


def words(pdf: bytes) -> str:
    return " ".join(
        " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split()
    )


def test_a_day_is_due_the_next_morning_and_a_week_on_monday() -> None:
    # Friday, 2 July 2021, at 05:59 and at 06:00 in Viet Nam.
    early, later = due("2021-07-01T22:59:00.000Z", 6), due("2021-07-01T23:00:00.000Z", 6)

    assert ("daily", date(2021, 7, 1)) not in early
    assert ("daily", date(2021, 6, 30)) in early
    assert ("daily", date(2021, 7, 1)) in later
    assert [last for period, last in later if period == "weekly"] == [date(2021, 6, 27)]
    monday = due("2021-07-04T23:00:00.000Z", 6)
    assert [last for period, last in monday if period == "weekly"] == [date(2021, 7, 4)]


def test_the_page_says_what_the_letter_asks_for(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1200, outs=34)
    deployment.add_scans(OWN_PLACE, "cong-1", ins=617, day=date(2021, 6, 25))
    note_heard(deployment.database, deployment.clock.now().at)

    text = words(files(deployment, "pdf"))

    assert "Báo cáo quét mã QR ngày 02/07/2021" in text
    assert "khi ra vào các địa điểm theo Công văn 144/CV-BCĐ" in text
    for number in (
        "1 (33 %)",
        "1.200",
        "1.234 lượt quét",
        "tăng 100 % so với kỳ trước (25/06/2021: 617 lượt)",
        "25/06/2021",
        "Cứ 100 lượt vào có 3 lượt ra",
    ):
        assert number in text, number
    assert "Phường Mẫu, Thành phố Pleiku, Gia Lai" in text
    assert "Sở Xây dựng" in text


def test_the_page_names_the_places_that_do_not_scan_and_can_be_signed(
    deployment: Deployment,
) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3)
    deployment.add_scans(OTHER_PLACE, "cua-1", ins=1, day=date(2021, 6, 28))
    note_heard(deployment.database, deployment.clock.now().at)

    daily = words(files(deployment, "pdf"))

    assert "Không phát sinh lượt quét (1): Bến xe Mẫu (Phường Mẫu)." in daily
    assert "Không có tín hiệu (1): Xe buýt 81B-012.34 (Phường Mẫu)." in daily
    # On Monday the station scanned; the bus has not for a week.
    assert "Bảy ngày liền không có lượt nào (1): Xe buýt 81B-012.34 (Phường Mẫu)." in daily
    for part in (
        *("CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "SỞ MẪU", "ngày 03 tháng 7 năm 2021"),
        *("Kính gửi:", "(Ký, đóng dấu)"),
    ):
        assert part in daily, part
    with deployment.database.reading() as connection:
        register = Places().all(connection)
        week = span_of("weekly", DAY)
        weekly = report_of(connection, register, "Sở Mẫu", week, MORNING_AFTER)
    assert [place.id for place in weekly.idle] == ["xe-81b-01234"]
    assert "Hai tuần liền không có lượt nào (1)" in words(file_of(weekly, "pdf"))


def test_the_report_of_any_days_is_made_from_the_page_that_shows_them(
    deployment: Deployment,
) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=4, day=date(2021, 6, 24))
    deployment.add_scans(OWN_PLACE, "cong-1", ins=8, day=date(2021, 7, 1))
    client = deployment.client("department")

    def text_of(days: str) -> str:
        page = client.get(f"/coverage?{days}").text
        (link,) = re.findall(r'href="(/coverage/pdf[^"]*)"', page)
        return words(client.get(unescape(link)).content)

    fortnight = text_of("first=2021-06-18&last=2021-07-01")
    assert "Báo cáo quét mã QR từ 18/06/2021 đến 01/07/2021" in fortnight
    assert "Tổng 12 lượt quét so với kỳ trước (04/06/2021 đến 17/06/2021: 0 lượt)" in fortnight
    assert "liền không có lượt nào" not in fortnight
    week = text_of("period=week&last=2021-07-01")
    assert "Báo cáo quét mã QR từ 25/06/2021 đến 01/07/2021" in week
    assert "Tổng 8 lượt quét, tăng 100 % so với kỳ trước" in week
    assert "Hai tuần liền không có lượt nào" in week
    monday_to_sunday = text_of("first=2021-06-21&last=2021-06-27")
    assert "Báo cáo quét mã QR tuần 21/06/2021 - 27/06/2021" in monday_to_sunday
    # Nothing is compared with a day that is not over.
    today = text_of("last=2021-07-02")
    assert "Tổng 0 lượt quét đến 08:46, ngày chưa hết" in today
    assert "-100 %" not in today
    assert "liền không có lượt nào" not in today
    rows = {
        row[4]: row
        for row in read_table(io.BytesIO(client.get("/coverage/csv").content), "today.csv")
    }
    assert rows[OWN_PLACE][8:12] == ["0", "0", "0", ""]

    answer = client.get("/coverage/csv?first=2021-06-18&last=2021-07-01")
    assert (
        'filename="bao-cao-2021-06-18-den-2021-07-01.csv"' in answer.headers["content-disposition"]
    )
    rows = {row[4]: row for row in read_table(io.BytesIO(answer.content), "r.csv")}
    assert rows[OWN_PLACE][8] == "12"
    assert client.get("/coverage/doc").status_code == 404
    assert deployment.client("manager").get("/coverage/pdf").status_code == 403


def test_a_report_links_to_the_rows_behind_its_numbers(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3, outs=2)
    with deployment.database.reading() as connection:
        register = Places().all(connection)
        report = report_of(
            connection,
            register,
            "Sở Mẫu",
            span_of("weekly", DAY),
            deployment.clock.now().at,
            "https://quet-ma.example.invalid/",
        )

    header, *rows = read_table(io.BytesIO(file_of(report, "csv")), "r.csv")

    (link,) = [row[-1] for row in rows if row[4] == OWN_PLACE]
    assert header[-1] == "Mở từng lượt quét"
    assert link.startswith("https://quet-ma.example.invalid/scans?")
    page = deployment.client("department").get(link.removeprefix("https://quet-ma.example.invalid"))
    assert "<strong>5</strong> lượt" in page.text
    assert "https://quet-ma.example.invalid/coverage?first=2021-06-26" in words(
        file_of(report, "pdf")
    )


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_the_tables_have_each_place_behind_the_numbers(deployment: Deployment, form: str) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3, outs=2)
    note_heard(deployment.database, deployment.clock.now().at)

    header, *rows = read_table(io.BytesIO(files(deployment, form)), f"r.{form}")

    found = {row[4]: dict(zip(header, row, strict=True)) for row in rows}
    assert set(found) == {OWN_PLACE, OTHER_PLACE, "xe-81b-01234"}
    assert found[OWN_PLACE]["Tình trạng"] == "có quét mã"
    assert (found[OWN_PLACE]["Lượt vào"], found[OWN_PLACE]["Lượt ra"]) == ("3", "2")
    assert found[OTHER_PLACE]["Tình trạng"] == "không phát sinh lượt quét"
    assert found["xe-81b-01234"]["Tình trạng"] == "không có tín hiệu"


def test_every_form_of_a_report_means_the_same_by_in(deployment: Deployment) -> None:
    at = deployment.clock.now().at
    ways = {"in": 111, "out": 22, "both": 3333}
    deployment.add_list(
        (OWN_PLACE, "cong-1", way, at) for way, number in ways.items() for _ in range(number)
    )

    for form in ("csv", "xlsx"):
        header, *rows = read_table(io.BytesIO(files(deployment, form)), f"r.{form}")
        (row,) = [dict(zip(header, row, strict=True)) for row in rows if row[4] == OWN_PLACE]
        assert (row["Lượt vào"], row["Lượt ra"], row["Lượt không rõ hướng"]) == (
            "111",
            "22",
            "3333",
        )
    page = words(files(deployment, "pdf"))
    # In the sums, of the commune, and of the body.
    assert page.count("111 22 3.333") == 3
    assert "3.444" not in page
    coverage = deployment.client("operator").get("/coverage?by=body").text
    assert "Không rõ hướng" in coverage
    assert "3.333</a>" in coverage
    assert "3.444" not in coverage


def test_a_province_of_long_names_still_fits_on_one_page(deployment: Deployment) -> None:
    places = tuple(
        Place(
            id=f"p-{number}",
            name=f"Chợ {number}",
            kind="market",
            body=f"Ủy ban nhân dân xã {number} " + "rất dài " * 20,
            admin=(
                AdminArea(since=date(2025, 7, 1), province="Gia Lai", commune=f"Xã {number} " * 20),
            ),
        )
        for number in range(300)
    )
    keep_register(deployment.database, Register(places=places), deployment.clock.now().at)

    pdf = files(deployment, "pdf", date(2025, 8, 1))

    assert "nơi khác." in words(pdf)
    assert len(PdfReader(io.BytesIO(pdf)).pages) == 1
    assert len(pdf) < 150_000


def test_hostile_names_are_text_in_every_form(deployment: Deployment) -> None:
    area = AdminArea(
        since=date(2020, 1, 1),
        until=date(2025, 6, 30),
        province=HOSTILE,
        district=HOSTILE,
        commune=HOSTILE,
    )
    place = Place(id="hostile", name=HOSTILE, kind="bar", admin=(area,), body=HOSTILE)
    keep_register(deployment.database, Register(places=(place,)), deployment.clock.now().at)

    text = words(files(deployment, "pdf"))
    raw = files(deployment, "csv").decode("utf-8-sig")
    _, *rows = read_table(io.BytesIO(files(deployment, "xlsx")), "r.xlsx")

    assert "=1+1<script>" in text
    assert '"=1+1' not in raw  # every formula is disarmed: see edge/tables.py
    assert HOSTILE in {row[3] for row in rows}
    pdf = PdfReader(io.BytesIO(files(deployment, "pdf")))
    assert "/JS" not in str(pdf.trailer["/Root"])
    assert "/Annots" not in pdf.pages[0]


def test_nothing_is_reported_of_the_days_before_there_was_anything(
    deployment: Deployment, tmp_path: Path
) -> None:
    work = deployment.parts.reporting
    work.step()
    assert work.kept() == []
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1, day=date(2021, 6, 30))

    deployment.clock.advance(60)
    work.step()

    made = {(report.period, report.last) for report in work.kept()}
    assert made == {("daily", date(2021, 6, 30)), ("daily", date(2021, 7, 1))}


def test_a_report_is_made_once_and_kept_in_every_form(
    deployment: Deployment, tmp_path: Path
) -> None:
    work = reporting(deployment, tmp_path / "reports")
    work.step()
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "reports").iterdir()}

    deployment.clock.advance(3600)
    work.step()

    assert len(work.kept()) == 8
    assert len(first) == 24
    assert "bao-cao-ngay-2021-07-01.pdf" in first
    assert "bao-cao-tuan-2021-06-27.xlsx" in first
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "reports").iterdir()}
    assert again == first


def test_reports_are_mailed_once_and_laid_into_the_folder_for_others(
    deployment: Deployment, tmp_path: Path, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    to = ["so-y-te@example.invalid", "ubnd@example.invalid"]
    queue = MailQueue(deployment.database, deployment.clock, Mailer(settings, tmp_path))
    work = reporting(
        deployment,
        tmp_path / "reports",
        copy_to=str(tmp_path),
        queue=queue,
        mail_to=to,
    )
    for _ in range(2):
        work.step()
        while queue.step():
            pass
        deployment.clock.advance(3600)

    assert len(kept.mails) == 8
    recipients, mail = kept.mails[-2]
    assert recipients == to
    assert "báo cáo ngày 01/07/2021" in str(mail["Subject"])
    attached = {part.get_filename(): part.get_content() for part in mail.iter_attachments()}
    assert set(attached) == {f"bao-cao-ngay-2021-07-01.{form}" for form in ("pdf", "xlsx", "csv")}
    assert (tmp_path / "bao-cao-ngay-2021-07-01.pdf").read_bytes() == attached[
        "bao-cao-ngay-2021-07-01.pdf"
    ]


def test_a_mail_server_that_is_away_gets_the_report_later(
    deployment: Deployment, tmp_path: Path, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    kept.refuse = True
    queue = MailQueue(deployment.database, deployment.clock, Mailer(settings, tmp_path))
    work = reporting(deployment, tmp_path, queue=queue, mail_to=["a@example.invalid"])
    work.step()
    queue.step()
    assert kept.mails == []
    assert all(report.queued and report.mailed is None for report in work.kept())
    kept.refuse = False

    deployment.clock.advance(601)
    work.step()
    while queue.step():
        pass

    assert len(kept.mails) == 8
    assert all(report.mailed for report in work.kept())


def test_what_became_of_the_mail_of_a_report_is_told(
    deployment: Deployment, tmp_path: Path, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    queue = MailQueue(deployment.database, deployment.clock, Mailer(settings, tmp_path))
    work = reporting(deployment, tmp_path, queue=queue, mail_to=["a@example.invalid"])
    work.step()

    def told(word: str) -> int:
        return deployment.client("operator").get("/reports").text.count(f"<td>{word}</td>")

    assert told("đang chờ gửi") == 8
    kept.refuse = True
    # The first has been tried as often as a week leaves time for.
    with deployment.database.writing("try often") as connection:
        connection.execute(
            text("UPDATE mail SET tries = :tries WHERE number = (SELECT min(number) FROM mail)"),
            {"tries": GIVE_UP_TRIES},
        )
    deployment.clock.advance(8 * 86_400)
    queue.step()
    assert (told("đang chờ gửi"), told("đã bỏ")) == (7, 1)
    kept.refuse = False
    deployment.clock.advance(3600)
    while queue.step():
        pass
    assert (told("đang chờ gửi"), told("đã bỏ")) == (0, 1)
    # What went is forgotten after a month; that it went is not.
    with deployment.database.writing("forget") as connection:
        connection.execute(text("DELETE FROM mail"))
    assert (told("đang chờ gửi"), told("đã gửi")) == (0, 8)


def test_a_report_is_opened_from_its_page(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1, day=date(2021, 6, 20))
    deployment.parts.reporting.step()
    client = deployment.client("department")
    page = client.get("/reports").text
    assert page.count("/pdf") == 8

    pdf = client.get("/reports/daily/2021-07-01/pdf")

    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    for path in (
        "/reports/daily/2021-07-01/exe",
        "/reports/daily/2001-01-01/pdf",
        "/reports/daily/..%2f..%2fpasswd/pdf",
        "/reports/hourly/2021-07-01/pdf",
    ):
        assert client.get(path).status_code == 404, path
    assert deployment.client("manager").get("/reports/daily/2021-07-01/pdf").status_code == 403


def test_what_cannot_be_is_said_clearly(tmp_path: Path, deployment: Deployment) -> None:
    with pytest.raises(PrintingError, match="fonts-dejavu-core"):
        Paper("x", datetime(2021, 7, 2), tmp_path)
    with pytest.raises(ConfigError, match="cannot read this secret"):
        Mailer(MailSettings(password_file="none"), tmp_path)
