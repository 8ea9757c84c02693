"""*Reports*: those that were made, to be opened or kept."""

from datetime import date
from typing import cast

from starlette.responses import Response

from edge.dashboard.reporting import Reporting
from edge.dashboard.reports import FORMS, Period
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotThere, Page

FILE_TYPES = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}


class ReportPages:
    """The list of reports, and their files."""

    def __init__(self, show: Pages, reporting: Reporting, hour: int) -> None:
        """*hour*: local time at which a day's report is made."""
        self._show, self._reporting, self._hour = show, reporting, hour

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/reports", self._list, "see coverage"),
            Page("/reports/{period}/{last}/{form}", self._file, "see coverage"),
        ]

    def _list(self, ask: Ask) -> Response:
        return self._show.page(
            ask, "reports.html", reports=self._reporting.kept(), forms=FORMS, hour=self._hour
        )

    def _file(self, ask: Ask) -> Response:
        period, form = ask.path("period"), ask.path("form")
        if period not in ("daily", "weekly") or form not in FORMS:
            raise NotThere
        try:
            last = date.fromisoformat(ask.path("last"))
            name, content = self._reporting.file(cast(Period, period), last, form)
        except (ValueError, OSError):
            raise NotThere from None
        return file_answer(content, form, name)


def file_answer(content: bytes, form: str, name: str) -> Response:
    """*content* as a file of *form* to be kept as *name*, a text of ours."""
    return Response(
        content,
        media_type=FILE_TYPES[form],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
