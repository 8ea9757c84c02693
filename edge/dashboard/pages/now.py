"""*Now*: my places, the worst first, and what went in and out of them today."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct
from starlette.responses import Response

from edge.dashboard.alarms import Alarms
from edge.dashboard.charts import chart
from edge.dashboard.condition import (
    AWAY,
    PLACE_ORDER,
    PlaceCondition,
    Trouble,
    condition_of_place,
    judge,
)
from edge.dashboard.first_steps import FirstSteps
from edge.dashboard.local_time import local, local_day
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.show import Pages
from edge.dashboard.totals import Totals
from edge.dashboard.web import Ask, Page
from edge.register import Place
from edge.storage import counts, fleet
from edge.storage.counts import Count
from edge.storage.database import Database
from edge.storage.fleet import FleetUnit
from edge.storage.places import Places

#: So many places are shown; who has more finds them by name.
SHOWN = 60
#: So many places in one condition are called by their names above all others.
NAMED = 2
#: So many hours are drawn, this one being the last.
HOURS = 12


class PlaceLine(Struct, frozen=True):
    """A place as *Now* shows it."""

    id: str
    name: str
    condition: PlaceCondition
    units: int
    away: int  #: units that are offline or silent
    troubled: int  #: units that need a look
    troubles: list[Trouble]  #: theirs, each once
    last_scan: str | None
    today: Count


class NowPages:
    """The first page."""

    def __init__(
        self,
        show: Pages,
        database: Database,
        places: Places,
        totals: Totals,
        alarms: Alarms,
        first_steps: FirstSteps,
        settings: DashboardSettings,
    ) -> None:
        self._show, self._database, self._places = show, database, places
        self._totals, self._alarms, self._first_steps = totals, alarms, first_steps
        self._silent_after_s = settings.silent_after_min * 60
        self._quiet_after_s = settings.quiet_after_min * 60

    def pages(self) -> list[Page]:
        """Its route."""
        return [Page("/", self._now, "see places")]

    def _now(self, ask: Ask) -> Response:
        condition, find = ask.query("condition"), ask.query("find").strip().lower()[:64]
        today = local_day(ask.now)
        own = ask.person().places
        with self._database.reading() as connection:
            register = self._places.all(connection)
            # A manager's few places are asked for alone: most of those who look on are managers.
            units = fleet.units(connection, own)
            by_place = counts.by_place(connection, today, today, own)
            alarms = self._alarms.untaken(connection)
            quarters: list[Count] = []
            for day in (today - timedelta(days=1), today):
                quarters += (
                    self._totals.quarters(day)
                    if own is None
                    else counts.by_quarter(connection, day, own)
                )
        lines = self._lines(ask, register, units, by_place)
        shown = [
            line
            for line in lines
            if condition in ("", line.condition) and (find in line.id or find in line.name.lower())
        ]
        hours = _last_hours(quarters, ask.now)
        by_condition = Counter(line.condition for line in lines)
        return self._show.live(
            ask,
            "now",
            lines=shown[:SHOWN],
            more=max(0, len(shown) - SHOWN),
            total=len(lines),
            today=sum((line.today for line in lines), Count()),
            counts=by_condition,
            order=PLACE_ORDER,
            named={
                name: [line for line in lines if line.condition == name]
                for name in PLACE_ORDER
                if by_condition[name] <= NAMED
            },
            alarms=sum(number for place, number in alarms.items() if ask.person().sees(place)),
            away=AWAY,
            steps=self._first_steps.read(
                ask.now,
                places=len(register),
                units=len(units),
                scans=sum(unit.scans for unit in units),
            )
            if ask.person().may("change register")
            else [],
            day_shown=today,
            last_hour=_last_hour(quarters, ask.now),
            only=lines[0] if len(lines) == 1 else None,
            hours=[(moment.date(), moment.hour, count) for moment, count in hours],
            hour_chart=chart(
                [count for _, count in hours], [f"{moment.hour}h" for moment, _ in hours]
            ),
            query={"condition": condition, "find": find},
        )

    def _lines(
        self,
        ask: Ask,
        register: Mapping[str, Place],
        units: list[FleetUnit],
        by_place: Mapping[str, Count],
    ) -> list[PlaceLine]:
        of_place: defaultdict[str, list[FleetUnit]] = defaultdict(list)
        for unit in units:
            # One that was taken down is no unit of its place any more.
            if unit.state != "retired":
                of_place[unit.place].append(unit)
        names = {name for name in (*register, *of_place, *by_place) if name}
        lines = [
            self._place(
                name,
                register[name].name if name in register else name,
                of_place.get(name, []),
                by_place.get(name, Count()),
                ask.now,
            )
            for name in names
            if ask.person().sees(name)
        ]
        return sorted(lines, key=lambda line: (PLACE_ORDER.index(line.condition), line.name))

    def _place(
        self, place: str, name: str, units: list[FleetUnit], today: Count, now: str
    ) -> PlaceLine:
        judged = [judge(unit, now, self._silent_after_s) for unit in units]
        conditions = [condition for condition, _ in judged]
        troubled = [troubles for condition, troubles in judged if condition == "troubled"]
        last_scan = max((unit.last_scan for unit in units if unit.last_scan), default=None)
        return PlaceLine(
            place,
            name,
            condition_of_place(conditions, last_scan, now, self._quiet_after_s),
            len(units),
            sum(condition in ("offline", "silent") for condition in conditions),
            len(troubled),
            list(dict.fromkeys(trouble for troubles in troubled for trouble in troubles)),
            last_scan,
            today,
        )


@dataclass(frozen=True)
class LastHour:
    """The last four quarters that are over, and the same of yesterday."""

    quarter: int  #: of today, after the last of them
    count: Count
    before: Count | None

    @property
    def hours(self) -> str:
        """From when until when."""
        ends = [self.quarter - 4, self.quarter]
        return "–".join(f"{end % 96 // 4:02}:{end % 4 * 15:02}" for end in ends)


def _last_hour(quarters: list[Count], now: str) -> LastHour:
    moment = local(now)
    quarter = 4 * moment.hour + moment.minute // 15
    last = counts.QUARTERS + quarter
    before = quarters[last - 100 : last - 96] if quarter >= 4 else None
    return LastHour(
        quarter,
        sum(quarters[last - 4 : last], Count()),
        sum(before, Count()) if before is not None else None,
    )


def _last_hours(quarters: list[Count], now: str) -> list[tuple[datetime, Count]]:
    """The last hours out of the quarters of yesterday and today, each with when it began."""
    this_hour = local(now).replace(minute=0, second=0, microsecond=0)
    found = []
    for back in range(HOURS - 1, -1, -1):
        moment = this_hour - timedelta(hours=back)
        first = 4 * moment.hour + (0 if moment.date() < this_hour.date() else counts.QUARTERS)
        found.append((moment, sum(quarters[first : first + 4], Count())))
    return found
