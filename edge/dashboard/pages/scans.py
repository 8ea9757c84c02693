"""*Scans*: the rows behind a number of another page; what was scanned when, and never who passed.

Of one place its rows, a page at a time or as a file; of several places the count of each, which
opens to its rows.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from threading import Lock
from typing import BinaryIO, Literal, cast

from starlette.responses import Response, StreamingResponse

from edge.dashboard.local_time import local, local_day
from edge.dashboard.pages.place import day_asked
from edge.dashboard.pages.reports import FILE_TYPES
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotAllowed, NotThere, Page
from edge.dashboard.words import CLOCKS, WAYS
from edge.register import Place
from edge.storage import counts, scan_list
from edge.storage.counts import DIRECTIONS, QUARTERS, Count
from edge.storage.database import Database
from edge.storage.places import Places
from edge.storage.scan_list import Chosen, Key, ScanRow
from edge.tables import Cell, write_table

ON_A_PAGE = 100
#: So many rows at most are put into a file; those of an XLSX take many times the work.
IN_A_FILE = {"csv": 100_000, "xlsx": 20_000}
#: So many days at most are looked through; of some hours of each, every count of a day is read.
MOST_DAYS, MOST_DAYS_OF_HOURS = 366, 31
#: A file stays in memory up to this size, in bytes.
IN_MEMORY = 2_000_000

#: What each kind of document is called.
DOCUMENTS: dict[str, tuple[str, str]] = {
    "cccd": ("căn cước công dân", "chip ID card"),
    "can_cuoc": ("thẻ căn cước", "identity card (new)"),
    "bhyt": ("thẻ BHYT", "health-insurance card"),
    "qrqg": ("mã QR cá nhân", "personal QR code"),
}
#: What is said of a time that is not simply the unit's own.
QUALITIES: dict[str, tuple[str, str]] = {
    "synced": ("chắc chắn", "certain"),
    "corrected": ("đã tính lại", "worked out later"),
    "unsynced": ("chưa chắc chắn", "not certain"),
}


@dataclass(frozen=True)
class Asked:
    """Which scans the address asks for."""

    place: str  #: "" for all that one may see
    first: date
    last: date
    since: int
    until: int
    unit: str
    directions: tuple[str, ...]
    oldest_first: bool = False  #: how the page runs; a file runs so always

    def query(self, **changes: object) -> dict[str, object]:
        """This as the parameters of an address, with *changes*."""
        whole: dict[str, object] = {
            "place": self.place,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "since": self.since,
            "until": self.until,
            "unit": self.unit,
            "direction": ",".join(self.directions),
            "order": "oldest" if self.oldest_first else "newest",
        }
        return whole | changes


class ScanPages:
    """The list of scans and its files."""

    def __init__(self, show: Pages, database: Database, places: Places) -> None:
        self._show, self._database, self._places = show, database, places
        self._one_file = Lock()

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/scans", self._list, "see scans"),
            Page("/scans/{form}", self._file, "see scans"),
        ]

    def _list(self, ask: Ask) -> Response:
        asked = _asked(ask)
        after = _key(ask.query("after"))
        with self._database.reading() as connection:
            register = self._places.all(connection)
            erased_before = counts.expired_before(connection)
            found = self._behind(ask, asked, register)
            place = asked.place or (next(iter(found)) if len(found) == 1 else "")
            rows = (
                scan_list.read(
                    self._database,
                    connection,
                    _chosen(asked, place),
                    after,
                    ON_A_PAGE + 1,
                    newest_first=not asked.oldest_first,
                )
                if place
                else []
            )
        shown = rows[:ON_A_PAGE]
        return self._show.page(
            ask,
            "scans.html",
            asked=asked,
            place=place,
            names={name: known.name for name, known in register.items()},
            places=sorted(found.items(), key=lambda item: -item[1].of(asked.directions))[
                :ON_A_PAGE
            ],
            several=len(found),
            total=sum(count.of(asked.directions) for count in found.values()),
            rows=shown,
            from_start=after is None,
            after=_key_text(shown[-1].key) if len(rows) > ON_A_PAGE else "",
            # Days of UTC are erased: of the day itself the hours before 07:00 are gone.
            erased_before=erased_before if erased_before and asked.first <= erased_before else None,
            most=IN_A_FILE,
            documents=DOCUMENTS,
            qualities=QUALITIES,
            hours=_hours(asked),
            quarters_of_hours=list(range(0, QUARTERS + 1, 4)),
            today=local_day(ask.now),
        )

    def _file(self, ask: Ask) -> Response:
        form = ask.path("form")
        asked = _asked(ask)
        if form not in ("csv", "xlsx") or not asked.place:
            raise NotThere
        with self._database.reading() as connection:
            register = self._places.all(connection)
            found = self._behind(ask, asked, register)
        most = IN_A_FILE[form]
        if sum(count.of(asked.directions) for count in found.values()) > most:
            return self._show.message(
                ask,
                ask.say("Quá nhiều lượt cho một tệp", "Too many scans for a file"),
                ask.say(
                    f"Một tệp {form.upper()} chứa tối đa {most} lượt. Hãy chọn ít ngày hơn.",
                    f"A file of {form.upper()} holds {most} scans at most. Choose fewer days.",
                ),
                400,
            )
        if not self._one_file.acquire(blocking=False):
            return self._show.busy(ask)
        try:
            return self._made(ask, asked, form, register)
        finally:
            self._one_file.release()

    def _made(self, ask: Ask, asked: Asked, form: str, register: dict[str, Place]) -> Response:
        out = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by _content
        rows = scan_list.everything(self._database, _chosen(asked, asked.place))
        name = register[asked.place].name if asked.place in register else asked.place
        write_table(
            cast(BinaryIO, out),
            cast(Literal["csv", "xlsx"], form),
            [ask.say(vi, en) for vi, en in COLUMNS],
            (_cells(ask, asked.place, name, row) for row in rows),
            name,
        )
        file = f"luot-quet-{asked.place}-{asked.first}.{form}"
        return StreamingResponse(
            _content(cast(BinaryIO, out)),
            media_type=FILE_TYPES[form],
            headers={"content-disposition": f'attachment; filename="{file}"'},
        )

    def _behind(self, ask: Ask, asked: Asked, register: dict[str, Place]) -> dict[str, Count]:
        """The count of each place that is asked for and may be seen."""
        viewer = ask.person()
        if asked.place and not viewer.sees(asked.place):
            raise NotAllowed
        places = [asked.place] if asked.place else viewer.places
        with self._database.reading() as connection:
            found = counts.behind(
                connection,
                asked.first,
                asked.last,
                asked.since,
                asked.until,
                places,
                asked.unit,
            )
        if asked.place and not found and asked.place not in register:
            # What is no place becomes part of no file's name.
            raise NotThere
        return {place: count for place, count in found.items() if count.of(asked.directions)}


#: The columns of a file.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("Mã địa điểm", "Place id"),
    ("Địa điểm", "Place"),
    ("Thiết bị", "Unit"),
    ("Số thứ tự lượt quét", "Unit's scan number"),
    ("Đợt số", "Epoch"),
    ("Hướng", "Direction"),
    ("Chuyến", "Trip"),
    ("Lúc quét (giờ Việt Nam)", "Scanned at (Viet Nam time)"),
    ("Độ tin cậy của giờ quét", "Certainty of the time"),
    ("Nguồn giờ", "Clock set by"),
    ("Loại giấy tờ", "Document"),
    ("Xác nhận lúc (giờ Việt Nam)", "Confirmed at (Viet Nam time)"),
)


def _cells(ask: Ask, place: str, name: str, row: ScanRow) -> tuple[Cell, ...]:
    return (
        place,
        name,
        row.unit,
        row.seq,
        row.epoch,
        ask.say(*WAYS.get(row.direction, (row.direction,) * 2)),
        row.trip,
        f"{local(row.time):%Y-%m-%d %H:%M:%S}",
        ask.say(*QUALITIES.get(row.time_quality, (row.time_quality,) * 2)),
        ask.say(*CLOCKS.get(row.clock, (row.clock,) * 2)),
        ask.say(*DOCUMENTS.get(row.document, (row.document,) * 2)),
        f"{local(row.received):%Y-%m-%d %H:%M:%S}",
    )


def _asked(ask: Ask) -> Asked:
    today = local_day(ask.now)
    last = day_asked(ask, "last", today)
    first = min(day_asked(ask, "first", last), last)
    since, until = _number(ask.query("since"), 0), _number(ask.query("until"), QUARTERS)
    if since >= until:
        since, until = 0, QUARTERS
    most = MOST_DAYS if (since, until) == (0, QUARTERS) else MOST_DAYS_OF_HOURS
    wanted = ask.query("direction").split(",")
    return Asked(
        ask.query("place")[:64],
        max(first, last - timedelta(days=most - 1)),
        last,
        since,
        until,
        ask.query("unit").strip()[:64],
        tuple(one for one in DIRECTIONS if one in wanted) or DIRECTIONS,
        ask.query("order") == "oldest",
    )


def _chosen(asked: Asked, place: str) -> Chosen:
    return Chosen(
        place, asked.first, asked.last, asked.since, asked.until, asked.unit, asked.directions
    )


def _number(text: str, otherwise: int) -> int:
    good = text.isascii() and text.isdigit() and len(text) < 3
    return min(int(text), QUARTERS) if good else otherwise


def _hours(asked: Asked) -> str:
    if (asked.since, asked.until) == (0, QUARTERS):
        return ""
    ends = [f"{quarter // 4:02}:{quarter % 4 * 15:02}" for quarter in (asked.since, asked.until)]
    return "–".join(ends)


def _key(text: str) -> Key | None:
    time, _, number = text.partition("~")
    # What is longer may be no number of a database.
    good = number.isascii() and number.isdigit() and len(number) < 19
    return (time[:40], int(number)) if good else None


def _key_text(key: Key) -> str:
    return f"{key[0]}~{key[1]}"


def _content(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while block := file.read(65_536):
            yield block
