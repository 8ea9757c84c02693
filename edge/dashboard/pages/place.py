"""*Place*: in and out by quarter of an hour and by day, the busiest hours, last week, the units."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, cast

from sqlalchemy import Connection
from starlette.responses import Response

from edge.dashboard.charts import chart
from edge.dashboard.condition import AWAY, condition_of_place
from edge.dashboard.coverage import area_name
from edge.dashboard.local_time import local, local_day
from edge.dashboard.pages.reports import file_answer
from edge.dashboard.pages.units import UnitLine
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotAllowed, NotThere, Page
from edge.register import KINDS, Place
from edge.storage import counts, fleet
from edge.storage.counts import Count
from edge.storage.database import Database
from edge.storage.events import at_place_since
from edge.storage.fleet import FleetUnit
from edge.storage.places import Places
from edge.storage.scan_list import moment_of
from edge.storage.stops import StopRow, stops_of
from edge.tables import Cell, write_table

#: How many days are shown together, and over how many the busiest hours are sought.
DAYS = 28
BUSIEST_DAYS = 7
#: So many stops of a vehicle's day are shown, the last.
STOPS = 60


@dataclass(frozen=True)
class Hour:
    """An hour of the day and its scans."""

    hour: int
    count: Count


class PlacePages:
    """The page of one place."""

    def __init__(
        self, show: Pages, database: Database, places: Places, settings: DashboardSettings
    ) -> None:
        self._show, self._database, self._places = show, database, places
        self._silent_after_s = settings.silent_after_min * 60
        self._quiet_after_s = settings.quiet_after_min * 60

    def pages(self) -> list[Page]:
        """Its routes."""
        return [
            Page("/places/{place}", self._place, "see places"),
            Page("/places/{place}/{form}", self._file, "see places"),
        ]

    def _place(self, ask: Ask) -> Response:
        name = ask.path("place")
        if not ask.person().sees(name):
            raise NotAllowed
        today = local_day(ask.now)
        day = day_asked(ask, "day", today)
        moment = local(ask.now)
        # Of today, against what it was last week at this time: in the quarters that are over.
        over = 4 * moment.hour + moment.minute // 15 if day == today else counts.QUARTERS
        with self._database.reading() as connection:
            place = self._places.all(connection).get(name)
            units = fleet.units(connection, [name])
            quarters = counts.by_quarter(connection, day, [name])
            week_ago = counts.by_quarter(connection, day - timedelta(days=7), [name])
            first = day - timedelta(days=DAYS - 1)
            days = counts.by_day(connection, first - timedelta(days=7), day, [name])
            hours = counts.by_hour(connection, day - timedelta(days=BUSIEST_DAYS - 1), day, [name])
            by_unit = counts.by_unit(connection, day, day, name)
            stops = [
                stop
                for unit in units
                if place is not None and place.vehicle is not None
                for stop in self._stops(connection, unit, day)
            ]
        if place is None and not units and not days:
            raise NotThere
        register = {} if place is None else {name: place}
        lines = [UnitLine.of(unit, register, ask.now, self._silent_after_s) for unit in units]
        span = [first + timedelta(days=number) for number in range(DAYS)]
        last_scan = max((unit.last_scan for unit in units if unit.last_scan), default=None)
        return self._show.live(
            ask,
            "place",
            name=name,
            place=place,
            kind=KINDS[place.kind] if place else None,
            area=area_name(place.admin_on(day), "commune") if place else "",
            condition=condition_of_place(
                [line.condition for line in lines],
                last_scan,
                ask.now,
                self._quiet_after_s,
            ),
            last_scan=last_scan,
            units=lines,
            by_unit=by_unit,
            shown=day,
            today=today,
            day_before=day - timedelta(days=1),
            day_after=day + timedelta(days=1),
            week_before=day - timedelta(days=7),
            total=sum(quarters, Count()),
            over=over,
            total_over=sum(quarters[:over], Count()),
            total_before=sum(week_ago[:over], Count()),
            stops=sorted(stops, key=lambda stop: stop.since, reverse=True)[:STOPS],
            quarters=quarters,
            quarter_chart=chart(quarters, quarter_labels(), week_ago),
            days=[(one, days.get(one, Count())) for one in span],
            day_chart=chart(
                [days.get(one, Count()) for one in span],
                [f"{one:%d/%m}" if not number % 4 else "" for number, one in enumerate(span)],
                [days.get(one - timedelta(days=7), Count()) for one in span],
            ),
            busiest=busiest(hours),
            busiest_days=BUSIEST_DAYS,
            busiest_first=day - timedelta(days=BUSIEST_DAYS - 1),
            opening=_opening(place),
            away=AWAY,
        )

    def _file(self, ask: Ask) -> Response:
        """The counts of each day that the page shows, as a table to keep or to pass on."""
        name, form = ask.path("place"), ask.path("form")
        if not ask.person().sees(name):
            raise NotAllowed
        if form not in ("csv", "xlsx"):
            raise NotThere
        last = day_asked(ask, "day", local_day(ask.now))
        first = last - timedelta(days=DAYS - 1)
        with self._database.reading() as connection:
            place = self._places.all(connection).get(name)
            days = counts.by_day(connection, first - timedelta(days=7), last, [name])
        if place is None and not days:
            # What is no place becomes part of no file's name.
            raise NotThere
        out, title = io.BytesIO(), place.name if place is not None else name
        span = [first + timedelta(days=number) for number in range(DAYS)]
        header = [ask.say(vi, en) for vi, en in COLUMNS]
        rows = (_cells(ask, title, day, days) for day in span)
        write_table(out, cast(Literal["csv", "xlsx"], form), header, rows, title)
        return file_answer(out.getvalue(), form, f"luot-theo-ngay-{name}-{last}.{form}")

    def _stops(self, connection: Connection, unit: FleetUnit, day: date) -> list[StopRow]:
        """Where *unit* stood on the local *day*, since it came to its place."""
        since = at_place_since(connection, unit.unit, unit.place)
        if since is None:
            return []
        begins, ends = moment_of(day, 0), moment_of(day, counts.QUARTERS)
        return stops_of(self._database, connection, unit.unit, STOPS, max(since, begins), ends)


#: The columns of a file.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("Địa điểm", "Place"),
    ("Ngày", "Day"),
    ("Thứ", "Weekday"),
    ("Lượt vào", "In"),
    ("Lượt ra", "Out"),
    ("Lượt không rõ hướng", "Either way"),
    ("Tổng", "All"),
    ("Tổng cùng ngày tuần trước", "All, the week before"),
)
WEEKDAYS: tuple[tuple[str, str], ...] = (
    ("Thứ Hai", "Monday"),
    ("Thứ Ba", "Tuesday"),
    ("Thứ Tư", "Wednesday"),
    ("Thứ Năm", "Thursday"),
    ("Thứ Sáu", "Friday"),
    ("Thứ Bảy", "Saturday"),
    ("Chủ Nhật", "Sunday"),
)


def _cells(ask: Ask, title: str, day: date, days: Mapping[date, Count]) -> tuple[Cell, ...]:
    count, before = days.get(day, Count()), days.get(day - timedelta(days=7), Count())
    weekday = ask.say(*WEEKDAYS[day.weekday()])
    is_over = day < local_day(ask.now)
    return (
        title,
        day.isoformat(),
        weekday,
        count.into,
        count.out,
        count.both,
        count.all,
        # A whole day is not compared with one that is not over.
        before.all if is_over else None,
    )


def busiest(hours: Sequence[Count], most: int = 3) -> list[Hour]:
    """The busiest hours that had any scan, the busiest first."""
    found = [Hour(number, count) for number, count in enumerate(hours) if count.all]
    return sorted(found, key=lambda hour: (-hour.count.all, hour.hour))[:most]


def day_asked(ask: Ask, name: str, otherwise: date) -> date:
    """The day in the address under *name*, within what is sensible; or *otherwise*."""
    try:
        day = date.fromisoformat(ask.query(name))
    except ValueError:
        return otherwise
    return day if date(2020, 1, 1) <= day <= otherwise else otherwise


def quarter_labels() -> list[str]:
    """What stands under the 96 quarters of a day: every third hour."""
    return [f"{number // 4}h" if not number % 12 else "" for number in range(counts.QUARTERS)]


def _opening(place: Place | None) -> list[str]:
    if place is None:
        return []
    return [
        f"{hours.opens:%H:%M}–{hours.closes:%H:%M}" + ("" if len(hours.days) == 7 else " *")
        for hours in place.hours
    ]
