"""Makes reports when they are due, keeps them, and delivers them by mail and into a folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import Connection, text

from edge.clock import Clock
from edge.dashboard.mail_queue import MailQueue
from edge.dashboard.reports import FORMS, Period, Report, due, file_of, report_of, span_of
from edge.errors import PrintingError
from edge.files import replace_file
from edge.storage import counts
from edge.storage.database import Database
from edge.storage.places import Places

log = logging.getLogger(__name__)

#: After a delivery that failed, so long until the next attempt.
AGAIN_S = 600.0

_NAMES: dict[Period, str] = {"daily": "bao-cao-ngay", "weekly": "bao-cao-tuan"}


class ReportSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When reports are made, and where they are kept."""

    folder: Annotated[str, Meta(min_length=1)] = "/var/lib/edge/reports"
    #: Another folder, such as a share of the department, that gets a copy; "" for none.
    copy_to: str = ""
    #: The hour of the next day, local time, at which a day's report is made.
    hour: Annotated[int, Meta(ge=0, le=23)] = 6


@dataclass(frozen=True)
class Kept:
    """A report that was made."""

    period: Period
    last: date
    made: str
    mailed: str | None  #: when the mail server took it, as far as that is still remembered
    copied: str | None
    queued: bool  #: whether it was put among the mail that goes out
    waits: bool  #: whether it is still among that mail
    given_up: bool  #: whether no server took it for a week


class Reporting:
    """The reports of one deployment. One object, one thread; `kept` and `file` from any."""

    def __init__(
        self,
        database: Database,
        places: Places,
        clock: Clock,
        deployment: str,
        settings: ReportSettings,
        queue: MailQueue | None = None,
        mail_to: Sequence[str] = (),
        address: str = "",
    ) -> None:
        """*queue* None: nothing is mailed. *address*: of the pages, "" if not known."""
        self._database, self._places, self._clock = database, places, clock
        self._deployment, self._settings = deployment, settings
        self._queue, self._mail_to = queue, mail_to
        self._address = address
        self._folder = Path(settings.folder)
        self._not_before = 0.0

    def step(self) -> None:
        """Make and deliver what is due. What cannot be delivered now is tried again later."""
        now = self._clock.monotonic()
        if now < self._not_before:
            return
        at = self._clock.now().at
        kept = {(report.period, report.last): report for report in self.kept()}
        with self._database.reading() as connection:
            first = counts.first_day(connection)
        for period, last in due(at, self._settings.hour):
            if first is None or last < first:
                # Before there was anything to report.
                continue
            try:
                report = kept.get((period, last)) or self._make(period, last, at)
                self._deliver(report)
            except (PrintingError, OSError) as err:
                log.warning("report %s %s: %s", period, last, err)
                self._not_before = now + AGAIN_S
                return
        self._not_before = now + 30.0

    def kept(self, most: int = 100) -> list[Kept]:
        """The newest reports that were made, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                text(
                    "SELECT period, last, report.made AS made, sent, copied, mailed, number,"
                    " given_up FROM report"
                    " LEFT JOIN mail ON about = 'report ' || period || ' ' || last"
                    " ORDER BY last DESC, period LIMIT :most"
                ),
                {"most": most},
            )
            return [
                Kept(
                    row.period,
                    date.fromisoformat(row.last),
                    row.made,
                    row.sent,
                    row.copied,
                    row.mailed is not None,
                    row.number is not None and row.sent is None and row.given_up is None,
                    row.given_up is not None,
                )
                for row in rows
            ]

    def file(self, period: Period, last: date, form: str) -> tuple[str, bytes]:
        """Name and content of a kept report as *form*. Raises OSError if it is not there."""
        name = _name(period, last, form)
        return name, (self._folder / name).read_bytes()

    def _make(self, period: Period, last: date, at: str) -> Kept:
        with self._database.reading() as connection:
            register = self._places.all(connection)
            span = span_of(period, last)
            report = report_of(connection, register, self._deployment, span, at, self._address)
        self._write(report, period, self._folder)
        with self._database.writing("note a report") as connection:
            connection.execute(
                text("INSERT INTO report (period, last, made) VALUES (:period, :last, :made)"),
                {"period": period, "last": last.isoformat(), "made": at},
            )
        log.info("made the %s report of %s", period, last)
        return Kept(period, last, at, None, None, queued=False, waits=False, given_up=False)

    def _write(self, report: Report, period: Period, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for form in FORMS:
            name = _name(period, report.span.last, form)
            replace_file(folder / name, [file_of(report, form)], mode=0o640)

    def _deliver(self, report: Kept) -> None:
        if self._settings.copy_to and report.copied is None:
            folder = Path(self._settings.copy_to)
            for form in FORMS:
                name, content = self.file(report.period, report.last, form)
                replace_file(folder / name, [content], mode=0o644)
            with self._database.writing("note a copy") as connection:
                self._note(connection, "copied", report)
        if self._queue is not None and self._mail_to and not report.queued:
            files = [self.file(report.period, report.last, form) for form in FORMS]
            what = "ngày" if report.period == "daily" else "tuần đến ngày"
            with self._database.writing("mail a report") as connection:
                self._queue.put(
                    connection,
                    f"report {report.period} {report.last}",
                    self._mail_to,
                    f"{self._deployment}: báo cáo {what} {report.last:%d/%m/%Y}",
                    "Kèm theo là báo cáo quét mã QR khi ra vào các địa điểm; chỉ gồm số đếm.\n\n"
                    "Attached is the report of QR scans at registered places; counts only.\n",
                    files,
                )
                self._note(connection, "mailed", report)

    def _note(self, connection: Connection, what: str, report: Kept) -> None:
        connection.execute(
            text(f"UPDATE report SET {what} = :now WHERE period = :period AND last = :last"),
            {
                "now": self._clock.now().at,
                "period": report.period,
                "last": report.last.isoformat(),
            },
        )


def _name(period: Period, last: date, form: str) -> str:
    return f"{_NAMES[period]}-{last}.{form}"
