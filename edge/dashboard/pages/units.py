"""*Units*: the state of every unit, to be sorted, filtered and found; and one unit in full."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from edge.dashboard.condition import (
    UNIT_ORDER,
    Trouble,
    UnitCondition,
    condition_of,
    troubles_of,
)
from edge.dashboard.local_time import local_day
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotAllowed, NotThere, Page
from edge.storage import counts, fleet
from edge.storage.control import newest_commands
from edge.storage.counts import Count
from edge.storage.database import Database
from edge.storage.events import at_place_since, events_of
from edge.storage.fleet import FleetUnit
from edge.storage.stops import newest_stops

ON_A_PAGE = 50
#: So many days of a unit's scans are shown.
DAYS = 7
#: So many commands are shown.
COMMANDS = 5
#: So many stops of a vehicle are shown.
STOPS = 8


@dataclass(frozen=True)
class UnitLine:
    """A unit with the judgement on it."""

    unit: FleetUnit
    condition: UnitCondition
    troubles: list[Trouble]

    @property
    def disk_free(self) -> float | None:
        """Which part of its disk is free, 0 to 1; None if it does not say."""
        free, total = _machine(self, "disk_free_bytes"), _machine(self, "disk_total_bytes")
        return free / total if free is not None and total else None

    @classmethod
    def of(cls, unit: FleetUnit, now: str, silent_after_s: float) -> "UnitLine":
        """*unit*, judged at *now*."""
        return cls(unit, condition_of(unit, now, silent_after_s), troubles_of(unit, now))


_SORTS: dict[str, Callable[[UnitLine], Any]] = {
    "condition": lambda line: (UNIT_ORDER.index(line.condition), line.unit.unit),
    "unit": lambda line: line.unit.unit,
    "place": lambda line: (line.unit.place, line.unit.unit),
    "last_scan": lambda line: line.unit.last_scan or "",
    "pending": lambda line: -(line.unit.health.get("pending") or 0),
    "hours_left": lambda line: _or(line.unit.health.get("hours_left"), float("inf")),
    "certificate": lambda line: str(line.unit.health.get("certificate_ends") or "~"),
    "temperature": lambda line: -(_machine(line, "temperature_c") or 0),
    "disk": lambda line: _or(line.disk_free, 1.0),
    "signal": lambda line: _machine(line, "signal_dbm") or 0,
    "software": lambda line: (line.unit.software, line.unit.unit),
}


class UnitPages:
    """The list of units and the page of one."""

    def __init__(self, show: Pages, database: Database, settings: DashboardSettings) -> None:
        self._show, self._database = show, database
        self._silent_after_s = settings.silent_after_min * 60

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/units", self._list, "see units"),
            Page("/units/{unit}", self._one, "see units"),
        ]

    def _list(self, ask: Ask) -> Response:
        sort = ask.query("sort") if ask.query("sort") in _SORTS else "condition"
        condition, find = ask.query("condition"), ask.query("find").strip()[:64]
        with self._database.reading() as connection:
            units = fleet.units(connection, ask.person().places)
        lines = [self._line(unit, ask.now) for unit in units]
        counts = {name: sum(line.condition == name for line in lines) for name in UNIT_ORDER}
        shown = [
            line
            for line in sorted(lines, key=_SORTS[sort])
            if condition in ("", line.condition) and _found(line.unit, find)
        ]
        number = page_number(ask, len(shown))
        return self._show.page(
            ask,
            "units.html",
            lines=shown[(number - 1) * ON_A_PAGE : number * ON_A_PAGE],
            counts=counts,
            total=len(shown),
            number_of_page=number,
            pages=-(-len(shown) // ON_A_PAGE),
            query={"sort": sort, "condition": condition, "find": find},
        )

    def _one(self, ask: Ask) -> Response:
        with self._database.reading() as connection:
            unit = fleet.unit_named(connection, ask.path("unit"))
            happened = events_of(connection, ask.path("unit"))
            today = local_day(ask.now)
            span = [today - timedelta(days=back) for back in range(DAYS)]
            commands = newest_commands(connection, ask.path("unit"), COMMANDS)
            stops = newest_stops(connection, ask.path("unit"), STOPS)
            since = at_place_since(connection, ask.path("unit"), unit.place if unit else "")
            days = counts.by_day(connection, span[-1], today, ask.person().places, ask.path("unit"))
        if unit is None:
            raise NotThere
        if not ask.person().sees(unit.place):
            raise NotAllowed
        if ask.person().places is not None:
            # Where a unit was before, and what was done there, is others' business.
            happened = [event for event in happened if since and event.at >= since]
            stops = [stop for stop in stops if since and stop[0] >= since]
            commands = [command for command in commands if since and command.asked >= since]
        return self._show.page(
            ask,
            "unit.html",
            line=self._line(unit, ask.now),
            events=happened,
            stops=stops,
            commands=commands,
            days=[(day, days.get(day, Count())) for day in span],
        )

    def _line(self, unit: FleetUnit, now: str) -> UnitLine:
        return UnitLine.of(unit, now, self._silent_after_s)


def _machine(line: UnitLine, name: str) -> float | None:
    """What a unit says of its machine; None if it says nothing, or no number."""
    machine = line.unit.health.get("machine")
    value = machine.get(name) if isinstance(machine, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def _or(value: float | None, otherwise: float) -> float:
    # The worst is 0, which is a value.
    return otherwise if value is None else value


def page_number(ask: Ask, total: int) -> int:
    """Which page of a list is asked for, within those that there are."""
    asked = ask.query("page")
    last = max(1, -(-total // ON_A_PAGE))
    return min(int(asked), last) if asked.isascii() and asked.isdigit() and int(asked) else 1


def _found(unit: FleetUnit, find: str) -> bool:
    texts = (unit.unit, unit.place, unit.area, unit.software)
    return not find or any(find.lower() in text for text in texts)
