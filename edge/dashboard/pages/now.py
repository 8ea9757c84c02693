"""*Now*: my places, the worst first, and what went in and out of them today."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from starlette.responses import Response

from edge.dashboard.condition import (
    PLACE_ORDER,
    PlaceCondition,
    UnitCondition,
    condition_of,
    condition_of_place,
)
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, Page
from edge.storage import fleet
from edge.storage.database import Database
from edge.storage.fleet import FleetUnit

#: So many places are shown; who has more finds them by name.
SHOWN = 60


@dataclass(frozen=True)
class PlaceLine:
    """A place as *Now* shows it."""

    place: str
    condition: PlaceCondition
    units: int
    away: int  #: units that are offline or silent
    last_scan: str | None


class NowPages:
    """The first page."""

    def __init__(self, show: Pages, database: Database, settings: DashboardSettings) -> None:
        self._show, self._database = show, database
        self._silent_after_s = settings.silent_after_min * 60
        self._quiet_after_s = settings.quiet_after_min * 60

    def pages(self) -> list[Page]:
        """Its route."""
        return [Page("/", self._now, "see places")]

    def _now(self, ask: Ask) -> Response:
        condition, find = ask.query("condition"), ask.query("find").strip()[:64]
        with self._database.reading() as connection:
            units = fleet.units(connection)
        lines = self._lines(ask, units)
        shown = [
            line
            for line in lines
            if condition in ("", line.condition) and find.lower() in line.place
        ]
        return self._show.page(
            ask,
            "now_live.html" if "x-part" in ask.request.headers else "now.html",
            lines=shown[:SHOWN],
            more=max(0, len(shown) - SHOWN),
            total=len(lines),
            counts=Counter(line.condition for line in lines),
            order=PLACE_ORDER,
            query={"condition": condition, "find": find},
        )

    def _lines(self, ask: Ask, units: list[FleetUnit]) -> list[PlaceLine]:
        of_place: defaultdict[str, list[FleetUnit]] = defaultdict(list)
        for unit in units:
            if unit.place and ask.person().sees(unit.place):
                of_place[unit.place].append(unit)
        lines = [self._place(place, found, ask.now) for place, found in of_place.items()]
        return sorted(lines, key=lambda line: (PLACE_ORDER.index(line.condition), line.place))

    def _place(self, place: str, units: list[FleetUnit], now: str) -> PlaceLine:
        conditions: list[UnitCondition] = [
            condition_of(unit, now, self._silent_after_s) for unit in units
        ]
        last_scan = max((unit.last_scan for unit in units if unit.last_scan), default=None)
        return PlaceLine(
            place,
            condition_of_place(conditions, last_scan, now, self._quiet_after_s),
            len(units),
            sum(condition in ("offline", "silent") for condition in conditions),
            last_scan,
        )
