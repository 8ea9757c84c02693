"""The daily and the weekly report, as one page to print and as tables. Counts only.

Its words are those of the letter: which registered places scan "khi ra vào", by commune and by body
in charge, so that nobody has to type numbers to report "kịp thời".
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from sqlalchemy import Connection

from edge.dashboard.coverage import (
    Coverage,
    Covered,
    Grouping,
    Line,
    Span,
    coverage,
)
from edge.dashboard.local_time import day_text, local, number_text
from edge.printing import Paper
from edge.register import KINDS, Place
from edge.tables import Cell, write_table

Period = Literal["daily", "weekly"]
#: In which forms a report is made; each is a file's ending.
FORMS = ("pdf", "xlsx", "csv")
#: So many lines of each table fit on the one page; the tables have them all.
COMMUNES, BODIES = 18, 8


@dataclass(frozen=True)
class Report:
    """A report's numbers."""

    deployment: str
    period: Period
    made: datetime  #: local time
    address: str  #: of the pages, where each number opens to its rows; "" if not known
    communes: Coverage
    bodies: Coverage

    @property
    def span(self) -> Span:
        """The days it is about."""
        return self.communes.span


def report_of(
    connection: Connection,
    register: Mapping[str, Place],
    deployment: str,
    period: Period,
    last: date,
    now: str,
    address: str = "",
) -> Report:
    """The report of the day *last*, or of the seven days that end with it."""
    span = Span(last if period == "daily" else last - timedelta(days=6), last)

    def by(grouping: Grouping) -> Coverage:
        return coverage(connection, register, span, grouping, "vi")

    return Report(deployment, period, local(now), address.rstrip("/"), by("commune"), by("body"))


def file_of(report: Report, form: str) -> bytes:
    """*report* as a file of *form*, one of FORMS. Raises PrintingError."""
    if form == "pdf":
        return _paper(report)
    out = io.BytesIO()
    header = (*HEADER, LINK_HEADER) if report.address else HEADER
    write_table(out, "xlsx" if form == "xlsx" else "csv", header, _rows(report), _title(report))
    return out.getvalue()


HEADER = (
    "Tỉnh",
    "Huyện",
    "Xã, phường",
    "Địa điểm",
    "Mã địa điểm",
    "Loại hình",
    "Cơ quan phụ trách",
    "Tình trạng",
    "Lượt vào",
    "Lượt ra",
    "Lượt không rõ hướng",
    "Tổng kỳ trước",
)
#: Where the rows behind a line's numbers are.
LINK_HEADER = "Mở từng lượt quét"
_STATES = {
    "active": "có quét mã",
    "zero": "không phát sinh lượt quét",
    "silent": "không có tín hiệu",
}


def _rows(report: Report) -> Iterator[tuple[Cell, ...]]:
    """A row for each registered place: what stands behind every number of the page."""
    for line in report.communes.lines:
        for covered in line.places:
            row = _row(covered, report.span.last)
            yield (*row, _scans_of(report, covered.place)) if report.address else row


def _scans_of(report: Report, place: Place) -> str:
    span = {"first": report.span.first, "last": report.span.last}
    return f"{report.address}/scans?{urlencode({'place': place.id} | span)}"


def _row(covered: Covered, day: date) -> tuple[Cell, ...]:
    place, area = covered.place, covered.place.admin_on(day)
    return (
        area.province if area else "",
        (area.district or "") if area else "",
        area.commune if area else "",
        place.name,
        place.id,
        KINDS[place.kind].vi,
        place.responsible,
        _STATES[covered.state],
        covered.count.into,
        covered.count.out,
        covered.count.both,
        covered.before.all,
    )


def _paper(report: Report) -> bytes:
    paper = Paper(_title(report), report.made)
    total = report.communes.total
    paper.text(report.deployment, 9, soft=True)
    paper.text(_title(report), 15, bold=True)
    paper.text(
        "Việc quét mã QR khi ra vào các địa điểm theo Công văn 144/CV-BCĐ. Chỉ gồm số đếm, không có"
        f" dữ liệu cá nhân. Lập lúc {report.made:%H:%M} ngày {_day(report.made.date())}.",
        8.5,
        soft=True,
    )
    paper.space(3)
    paper.table(
        (
            "Địa điểm đăng ký",
            "Có quét mã",
            "Không phát sinh",
            "Không tín hiệu",
            "Lượt vào",
            "Lượt ra",
            "Không rõ hướng",
        ),
        [
            (
                _n(total.registered),
                f"{_n(total.number('active'))} ({100 * total.share:.0f} %)",
                _n(total.number("zero")),
                _n(total.number("silent")),
                _n(total.count.into),
                _n(total.count.out),
                _n(total.count.both),
            )
        ],
        (4, 5, 4, 4, 4, 4, 4),
        ("L",) * 7,
        11,
    )
    paper.space(2)
    paper.text(_comparison(report), 9.5)
    paper.space(2)
    _lines(paper, "Theo xã, phường, nơi kém nhất trước", report.communes, COMMUNES)
    _lines(paper, "Theo cơ quan phụ trách, nơi kém nhất trước", report.bodies, BODIES)
    if strangers := sum(count.all for count in report.communes.strangers.values()):
        paper.space(2)
        paper.text(f"Ngoài ra có {_n(strangers)} lượt quét ở địa điểm chưa đăng ký.", 9)
    if report.address:
        span = {"first": report.span.first, "last": report.span.last}
        paper.space(2)
        paper.text(
            f"Mở từng con số đến từng lượt quét: {report.address}/coverage?{urlencode(span)}",
            8,
            soft=True,
        )
    return paper.bytes()


def _lines(paper: Paper, heading: str, found: Coverage, most: int) -> None:
    paper.space(2)
    paper.text(heading, 10.5, bold=True)
    paper.table(
        (
            "",
            "Đăng ký",
            "Có quét",
            "Không phát sinh",
            "Không tín hiệu",
            "Lượt vào",
            "Lượt ra",
            "Không rõ hướng",
            "So kỳ trước",
        ),
        [_line(line) for line in found.lines[:most]],
        (36, 8, 7, 9, 9, 8, 8, 9, 9),
        ("L", *("R",) * 8),
        7.5,
    )
    if len(found.lines) > most:
        paper.text(
            f"Còn {_n(len(found.lines) - most)} dòng nữa: xem đủ trong tệp bảng tính kèm theo.",
            8,
            soft=True,
        )


def _line(line: Line) -> tuple[str, ...]:
    # A name may be as long as the register lets it; on one page it is cut.
    name = line.group or "(chưa ghi)"
    return (
        name if len(name) <= 40 else name[:39] + "…",
        _n(line.registered),
        _n(line.number("active")),
        _n(line.number("zero")),
        _n(line.number("silent")),
        _n(line.count.into),
        _n(line.count.out),
        _n(line.count.both),
        _change(line),
    )


def _comparison(report: Report) -> str:
    total, before = report.communes.total, report.span.before
    days = _day(before.first)
    if before.days > 1:
        days += f" đến {_day(before.last)}"
    ratio = "" if total.ratio is None else f" Cứ 100 lượt vào có {100 * total.ratio:.0f} lượt ra."
    return (
        f"Tổng {_n(total.count.all)} lượt quét; kỳ trước ({days}): {_n(total.before.all)} lượt,"
        f" thay đổi {_change(total)}.{ratio}"
    )


def _title(report: Report) -> str:
    span = report.span
    if report.period == "daily":
        return f"Báo cáo quét mã QR ngày {_day(span.last)}"
    return f"Báo cáo quét mã QR tuần {_day(span.first)} - {_day(span.last)}"


def _change(line: Line) -> str:
    return "–" if line.change is None else f"{100 * line.change:+.0f} %"


def _day(day: date) -> str:
    return day_text(day, "vi")


def _n(number: int) -> str:
    return number_text(number, "vi")


def due(now: str, hour: int) -> list[tuple[Period, date]]:
    """Which reports should be there at *now*: those of the last week's days, and of its week.

    A day's report is due at *hour* local time of the next day, a week's on Monday.
    """
    moment = local(now)
    today = moment.date() if moment.hour >= hour else moment.date() - timedelta(days=1)
    days: list[tuple[Period, date]] = [
        ("daily", today - timedelta(days=back)) for back in range(7, 0, -1)
    ]
    sunday = today - timedelta(days=today.isoweekday())
    return [*days, ("weekly", sunday)]
