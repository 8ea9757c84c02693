"""*Coverage*: the letter's report, and the places behind each of its numbers."""

from datetime import timedelta
from threading import Lock

from starlette.responses import Response

from edge.dashboard.charts import chart
from edge.dashboard.coverage import (
    GROUPINGS,
    Coverage,
    Grouping,
    Line,
    Span,
    coverage,
    has_districts,
)
from edge.dashboard.local_time import local_day
from edge.dashboard.pages.place import day_asked
from edge.dashboard.pages.reports import file_answer
from edge.dashboard.reports import FORMS, file_of, report_of
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotThere, Page
from edge.errors import PrintingError
from edge.storage import counts
from edge.storage.counts import Count
from edge.storage.database import Database
from edge.storage.places import Places

#: So many lines, and so many places behind a number, stand on a page.
SHOWN = 100
SHOWN_STRANGERS = 20
DAYS_DRAWN = 28


class CoveragePages:
    """The report and the places behind it."""

    def __init__(
        self, show: Pages, database: Database, places: Places, title: str, address: str
    ) -> None:
        """*title*: the deployment's name; *address*: of the pages, "" if not known."""
        self._show, self._database, self._places = show, database, places
        self._title, self._address = title, address
        self._one_file = Lock()

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/coverage", self._report, "see coverage"),
            Page("/coverage/places", self._behind, "see coverage"),
            Page("/coverage/{form}", self._file, "see coverage"),
        ]

    def _report(self, ask: Ask) -> Response:
        span, by, found = self._ask(ask)
        with self._database.reading() as connection:
            first = span.last - timedelta(days=DAYS_DRAWN - 1)
            days = counts.by_day(connection, first, span.last)
        drawn = [first + timedelta(days=number) for number in range(DAYS_DRAWN)]
        strangers = sorted(found.strangers.items(), key=lambda item: -item[1].all)
        return self._show.page(
            ask,
            "coverage.html",
            report=found,
            lines=found.lines[:SHOWN],
            more=max(0, len(found.lines) - SHOWN),
            by=by,
            groupings=[one for one in GROUPINGS if one != "district" or has_districts(span)],
            span=span,
            today=local_day(ask.now),
            yesterday=local_day(ask.now) - timedelta(days=1),
            query=_query(ask, span, by),
            forms=FORMS,
            strangers=strangers[:SHOWN_STRANGERS],
            more_strangers=len(strangers) > SHOWN_STRANGERS,
            strangers_count=sum(count.all for _, count in strangers),
            days=[(day, days.get(day, Count())) for day in drawn],
            day_chart=chart(
                [days.get(day, Count()) for day in drawn],
                [f"{day:%d/%m}" if not number % 4 else "" for number, day in enumerate(drawn)],
            ),
        )

    def _behind(self, ask: Ask) -> Response:
        span, by, found = self._ask(ask)
        group, which = ask.query("group"), ask.query("which")
        if "group" not in ask.request.query_params:
            line: Line | None = found.total
        else:
            line = next((line for line in found.lines if line.group == group), None)
        if line is None:
            raise NotThere
        places = [covered for covered in line.places if which in ("", covered.state)]
        return self._show.page(
            ask,
            "coverage_places.html",
            group=group,
            which=which,
            span=span,
            places=sorted(places, key=lambda covered: covered.count.all)[:SHOWN],
            total=len(places),
            query=_query(ask, span, by),
        )

    def _file(self, ask: Ask) -> Response:
        """The report of the days that are looked at, as those that are made by themselves."""
        form, span = ask.path("form"), _span(ask)
        if form not in FORMS:
            raise NotThere
        if not self._one_file.acquire(blocking=False):
            return self._show.busy(ask)
        try:
            with self._database.reading() as connection:
                register = self._places.all(connection)
                report = report_of(connection, register, self._title, span, ask.now, self._address)
            content = file_of(report, form)
        except PrintingError as err:
            problem = ask.say("Không lập được tệp", "The file cannot be made")
            return self._show.message(ask, problem, str(err), 503)
        finally:
            self._one_file.release()
        return file_answer(content, form, f"bao-cao-{span.first}-den-{span.last}.{form}")

    def _ask(self, ask: Ask) -> tuple[Span, Grouping, Coverage]:
        span = _span(ask)
        by = next((one for one in GROUPINGS if one == ask.query("by")), GROUPINGS[0])
        if by == "district" and not has_districts(span):
            by = "commune"
        with self._database.reading() as connection:
            register = self._places.all(connection)
            return span, by, coverage(connection, register, span, by, ask.language)


def _span(ask: Ask) -> Span:
    """The days that are asked for, a year at most."""
    last = day_asked(ask, "last", local_day(ask.now))
    first = min(day_asked(ask, "first", last), last)
    if ask.query("period") == "week":
        first = last - timedelta(days=6)
    return Span(max(first, last - timedelta(days=365)), last)


def _query(ask: Ask, span: Span, by: Grouping) -> dict[str, str]:
    return {"by": by, "first": span.first.isoformat(), "last": span.last.isoformat()}
