"""The breach file: which records, units and days are affected, as a page ready to be sent.

The agency must be told within 72 hours of the detection. The page holds counts and no person, in
Vietnamese and English, and one HTML file without anything from elsewhere, so that it can be mailed
and printed as it is. What only the people of the desk know stands as a blank line to be filled in.
"""

import html
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from edge.clock import utc_seconds
from edge.storage.database import Database
from edge.tracing.answers import local_day
from edge.tracing.places import DAY, LOCAL_MS
from edge.tracing.shown import local_text

#: Law 91/2025 and before it Decree 13/2023.
TELL_WITHIN = timedelta(hours=72)


@dataclass(frozen=True)
class BreachDay:
    """What one unit recorded on one local day at one place."""

    unit: str
    day: str
    place: str
    scans: int
    persons: int


@dataclass(frozen=True)
class Breach:
    """What is affected. Times are local."""

    units: tuple[str, ...]
    since: str
    until: str
    detected: str
    tell_by: str
    days: tuple[BreachDay, ...]
    scans: int
    persons: int
    #: To which keys the identities of these scans are sealed, and whether the desk still has them.
    keys: tuple[str, ...]


def find_breach(
    database: Database,
    unit: str,
    since: int,
    until: int,
    detected: str,
    keys: tuple[str, ...],
) -> Breach:
    """What *unit* ("*" for all) recorded from *since* to *until*, as the index has it."""
    where = "" if unit == "*" else " AND unit.name = :unit"
    span = {"since": since, "until": until} | ({} if unit == "*" else {"unit": unit})
    begin = "FROM sighting JOIN name AS unit ON unit.number = sighting.unit"
    day = f"(time + {LOCAL_MS}) / {DAY}"
    with database.reading("ask what is affected") as connection:
        days = [
            BreachDay(
                row.unit,
                local_day(int(row.day) * DAY - LOCAL_MS),
                row.place,
                int(row.scans),
                int(row.persons),
            )
            for row in connection.execute(
                text(
                    f"SELECT unit.name AS unit, place.name AS place, {day} AS day,"
                    f" count(*) AS scans, count(DISTINCT person) AS persons {begin}"
                    " JOIN name AS place ON place.number = sighting.place"
                    f" WHERE time BETWEEN :since AND :until{where}"
                    f" GROUP BY unit.name, place.name, {day} ORDER BY unit.name, day, place.name"
                ),
                span,
            )
        ]
        persons = connection.execute(
            text(
                f"SELECT count(DISTINCT person) {begin} WHERE time BETWEEN :since AND :until{where}"
            ),
            span,
        ).scalar_one()
    noticed = round(utc_seconds(detected) * 1000)
    return Breach(
        units=tuple(dict.fromkeys(found.unit for found in days)) or (unit,),
        since=local_text(since),
        until=local_text(until),
        detected=local_text(noticed),
        tell_by=local_text(noticed + round(TELL_WITHIN.total_seconds() * 1000)),
        days=tuple(days),
        scans=sum(found.scans for found in days),
        persons=int(persons),
        keys=keys,
    )


def breach_page(breach: Breach) -> str:
    """*breach* as an HTML page."""
    rows = "\n".join(
        "<tr>"
        + "".join(f"<td>{_text(v)}</td>" for v in (d.unit, d.day, d.place, d.scans, d.persons))
        + "</tr>"
        for d in breach.days
    )
    facts = "\n".join(
        f"<tr><th>{vi}<br><small>{en}</small></th><td>{value}</td></tr>"
        for vi, en, value in _facts(breach)
    )
    return _PAGE.format(facts=facts, rows=rows)


def _facts(breach: Breach) -> list[tuple[str, str, str]]:
    return [
        ("Phát hiện lúc", "Detected", _text(breach.detected)),
        ("Phải thông báo trước", "To be notified by (72 h)", f"<b>{_text(breach.tell_by)}</b>"),
        ("Thiết bị bị ảnh hưởng", "Units affected", _text(", ".join(breach.units))),
        ("Khoảng thời gian", "Period", _text(f"{breach.since} – {breach.until}")),
        ("Số lượt quét", "Records (scans)", _text(breach.scans)),
        ("Số người (theo mã giả danh)", "Persons (by pseudonym)", _text(breach.persons)),
        (
            "Loại dữ liệu trong mỗi lượt quét",
            "Data in each record",
            "Thời gian, địa điểm, chiều, loại giấy tờ; danh tính đã niêm phong (số giấy tờ, họ tên,"
            " năm sinh, giới tính, điện thoại nếu có)<br><small>Time, place, direction, kind of"
            " document; the identity sealed (numbers, name, birth year, sex, phone if any)</small>",
        ),
        (
            "Bảo vệ",
            "Protection",
            f"Danh tính niêm phong bằng khóa {_text(', '.join(breach.keys))}; chỉ bàn truy vết mở"
            " được<br><small>Identities are sealed to these keys; the tracing desk alone can open"
            " them, unless its private key is what was lost</small>",
        ),
        ("Chuyện gì đã xảy ra", "What happened", _BLANK),
        ("Hậu quả có thể có", "Possible consequences", _BLANK),
        ("Biện pháp đã và sẽ thực hiện", "Measures taken and planned", _BLANK),
        ("Người phụ trách, điện thoại", "Officer in charge, telephone", _BLANK),
    ]


def _text(value: object) -> str:
    return html.escape(str(value))


_BLANK = '<div class="blank"></div>'
_PAGE = """<!doctype html>
<html lang="vi"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Thông báo vi phạm dữ liệu cá nhân</title>
<style>
body {{ font: 11pt/1.4 "DejaVu Sans", sans-serif; max-width: 48em; margin: 2em auto }}
table {{ border-collapse: collapse; width: 100%; margin: 1em 0 }}
th, td {{ border: 1px solid #999; padding: .3em .6em; text-align: left; vertical-align: top }}
small {{ color: #444 }}
.blank {{ height: 3em }}
</style></head><body>
<h1>Thông báo vi phạm quy định bảo vệ dữ liệu cá nhân</h1>
<p><small>Notice of a personal data breach, to the agency in charge (A05, Bộ Công an)</small></p>
<table>
{facts}
</table>
<h2>Bản ghi theo thiết bị, ngày và địa điểm <small>Records by unit, day and place</small></h2>
<table>
<tr><th>Thiết bị<br><small>unit</small></th><th>Ngày<br><small>day</small></th>
<th>Địa điểm<br><small>place</small></th><th>Lượt quét<br><small>scans</small></th>
<th>Số người<br><small>persons</small></th></tr>
{rows}
</table>
<p>Chỉ gồm các lượt quét đã về trung tâm và còn trong thời hạn lưu; lượt quét còn trên thiết bị chưa
gửi được thì chưa tính.<br><small>Scans that have arrived at the centre and are within the
retention; what a unit had not yet sent is not among them.</small></p>
</body></html>
"""
