"""A report of a day, a week or any span of days, as one page to print and as tables. Counts only.

Its words are those of the letter: which registered places scan "khi ra vào", by commune and by body
in charge, so that nobody has to type numbers to report "kịp thời".
"""

import io
from collections.abc import Iterator, Mapping, Sequence
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
from edge.storage import counts
from edge.tables import Cell, write_table

Period = Literal["daily", "weekly"]
#: In which forms a report is made; each is a file's ending.
FORMS = ("pdf", "xlsx", "csv")
#: So many lines of each table fit on the one page; the tables have them all.
COMMUNES, BODIES = 15, 6
#: So many characters of the names of places that do not scan stand in one sentence.
NAMED = 260
#: What a department fills in by hand where it passes the page on as its own.
MOTTO = ("CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "Độc lập - Tự do - Hạnh phúc")
SIGNED = (("NGƯỜI LẬP", "THỦ TRƯỞNG ĐƠN VỊ"), ("(Ký, ghi rõ họ tên)", "(Ký, đóng dấu)"))
SIGNED_MM = 36.0
MEANINGS = (
    "Không phát sinh: thiết bị có tín hiệu nhưng không có lượt quét nào. Không tín hiệu: không"
    " thiết bị nào của địa điểm liên lạc được."
)


@dataclass(frozen=True)
class Report:
    """A report's numbers."""

    deployment: str
    made: datetime  #: local time
    address: str  #: of the pages, where each number opens to its rows; "" if not known
    communes: Coverage
    bodies: Coverage
    #: Registered places without a scan in all of the last days, seven of them for a day, two weeks
    #: for a week; of other spans, and while the last day is not over, none are named.
    idle: tuple[Place, ...]

    @property
    def span(self) -> Span:
        """The days it is about."""
        return self.communes.span

    @property
    def is_over(self) -> bool:
        """Whether its last day was over when it was made; otherwise nothing can be compared."""
        return self.span.last < self.made.date()


def span_of(period: Period, last: date) -> Span:
    """The days that a report is about: *last*, or the seven days that end with it."""
    return Span(last if period == "daily" else last - _SIX_DAYS, last)


def report_of(
    connection: Connection,
    register: Mapping[str, Place],
    deployment: str,
    span: Span,
    now: str,
    address: str = "",
) -> Report:
    """The report of the days *span*."""

    def by(grouping: Grouping) -> Coverage:
        return coverage(connection, register, span, grouping, "vi")

    communes, idle, made = by("commune"), tuple[Place, ...](), local(now)
    kind = _IDLE.get(span.days)
    if kind is not None and span.last < made.date():
        scanned = counts.by_place(connection, span.last - timedelta(kind.days - 1), span.last)
        idle = tuple(one.place for one in communes.total.places if one.place.id not in scanned)
    return Report(deployment, made, address.rstrip("/"), communes, by("body"), idle)


def file_of(report: Report, form: str) -> bytes:
    """*report* as a file of *form*, one of FORMS. Raises PrintingError."""
    if form == "pdf":
        return _paper(report)
    out = io.BytesIO()
    header = (*HEADER, LINK_HEADER) if report.address else HEADER
    title = _days(report.span).capitalize()
    write_table(out, "xlsx" if form == "xlsx" else "csv", header, _rows(report), title)
    return out.getvalue()


_SIX_DAYS = timedelta(days=6)


@dataclass(frozen=True)
class _Idle:
    """For how many days without a scan a place is named, and how that is said."""

    days: int
    words: str


#: By how many days a report is about.
_IDLE = {
    1: _Idle(7, "Bảy ngày liền không có lượt nào"),
    7: _Idle(14, "Hai tuần liền không có lượt nào"),
}
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
            row = _row(covered, report.span.last, over=report.is_over)
            yield (*row, _scans_of(report, covered.place)) if report.address else row


def _scans_of(report: Report, place: Place) -> str:
    span = {"first": report.span.first, "last": report.span.last}
    return f"{report.address}/scans?{urlencode({'place': place.id} | span)}"


def _row(covered: Covered, day: date, *, over: bool) -> tuple[Cell, ...]:
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
        # Nothing is compared with a day that is not over.
        covered.before.all if over else None,
    )


def _paper(report: Report) -> bytes:
    paper = Paper(_title(report), report.made)
    total = report.communes.total
    made = report.made
    paper.sides(report.deployment.upper(), MOTTO[0], 9, bold=True)
    paper.sides("Số: ........../BC-..........", MOTTO[1], 9)
    # As decree 30/2020/NĐ-CP writes it: of the months the first two alone have a nought.
    month = f"{made:%m}" if made.month < 3 else str(made.month)
    paper.sides("", f".............., ngày {made:%d} tháng {month} năm {made:%Y}", 9)
    paper.space(3)
    paper.text(_title(report), 15, bold=True)
    paper.text(f"Kính gửi: {'.' * 60}", 9.5)
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
    for sentence in _named(report):
        paper.space(1)
        paper.text(sentence, 9.5)
    over = report.is_over
    _lines(paper, "Theo xã, phường, nơi kém nhất trước", report.communes, COMMUNES, over=over)
    _lines(paper, "Theo cơ quan phụ trách, nơi kém nhất trước", report.bodies, BODIES, over=over)
    paper.space(1)
    paper.text(MEANINGS, 8, soft=True)
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
    # Where a long list has taken its room, the page is signed elsewhere.
    if paper.room_mm >= SIGNED_MM:
        paper.space(6)
        paper.sides(*SIGNED[0], 10, bold=True)
        paper.sides(*SIGNED[1], 9)
    return paper.bytes()


def _named(report: Report) -> Iterator[str]:
    """Which places do not scan, by name: those whose units are silent, those without a scan, and
    those that have had none for long.
    """
    places = report.communes.total.places
    day = report.span.last
    for heading, found in (
        ("Không có tín hiệu", [one.place for one in places if one.state == "silent"]),
        ("Không phát sinh lượt quét", [one.place for one in places if one.state == "zero"]),
        (_IDLE[report.span.days].words if report.idle else "", report.idle),
    ):
        if found:
            yield f"{heading} ({_n(len(found))}): {_names(found, day)}."


def _names(places: Sequence[Place], day: date) -> str:
    """*places* with their communes, as many as there is room for."""
    named: list[str] = []
    for place in sorted(places, key=lambda one: one.name):
        area = place.admin_on(day)
        name = _cut(place.name) + (f" ({_cut(area.commune)})" if area and area.commune else "")
        if named and sum(map(len, named)) + len(name) > NAMED:
            return f"{'; '.join(named)}; và {_n(len(places) - len(named))} nơi khác"
        named.append(name)
    return "; ".join(named)


def _lines(paper: Paper, heading: str, found: Coverage, most: int, *, over: bool) -> None:
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
        [(*_line(line), _change(line) if over else "–") for line in found.lines[:most]],
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
    return (
        _cut(line.group or "(chưa ghi)"),
        _n(line.registered),
        _n(line.number("active")),
        _n(line.number("zero")),
        _n(line.number("silent")),
        _n(line.count.into),
        _n(line.count.out),
        _n(line.count.both),
    )


def _cut(name: str) -> str:
    # A name may be as long as the register lets it; on one page it is cut.
    return name if len(name) <= 40 else name[:39] + "…"


def _comparison(report: Report) -> str:
    total, before = report.communes.total, report.span.before
    ratio = "" if total.ratio is None else f" Cứ 100 lượt vào có {100 * total.ratio:.0f} lượt ra."
    if not report.is_over:
        return (
            f"Tổng {_n(total.count.all)} lượt quét đến {report.made:%H:%M}, ngày chưa hết nên chưa"
            f" so với kỳ trước.{ratio}"
        )
    days = _day(before.first)
    if before.days > 1:
        days += f" đến {_day(before.last)}"
    change = ""
    if total.change is not None:
        word = "tăng" if total.change >= 0 else "giảm"
        change = f", {word} {100 * abs(total.change):.0f} %"
    return (
        f"Tổng {_n(total.count.all)} lượt quét{change} so với kỳ trước ({days}:"
        f" {_n(total.before.all)} lượt).{ratio}"
    )


def _title(report: Report) -> str:
    return f"Báo cáo quét mã QR {_days(report.span)}"


def _days(span: Span) -> str:
    if span.days == 1:
        return f"ngày {_day(span.last)}"
    if span.days == 7 and span.first.isoweekday() == 1:
        return f"tuần {_day(span.first)} - {_day(span.last)}"
    return f"từ {_day(span.first)} đến {_day(span.last)}"


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
