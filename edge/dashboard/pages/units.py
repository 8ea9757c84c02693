"""*Units*: the state of every unit, to be sorted, filtered and found; and one unit in full."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from msgspec import Struct
from starlette.responses import Response

from edge.dashboard.condition import (
    AWAY,
    UNIT_ORDER,
    Trouble,
    UnitCondition,
    judge,
)
from edge.dashboard.local_time import local_day
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotAllowed, NotThere, Page
from edge.register import Place
from edge.storage import counts, fleet
from edge.storage.control import newest_commands
from edge.storage.counts import Count
from edge.storage.database import Database
from edge.storage.events import at_place_since, events_of
from edge.storage.fleet import FleetUnit
from edge.storage.places import Places
from edge.storage.stops import stops_of

ON_A_PAGE = 50
#: So many days of a unit's scans are shown.
DAYS = 7
#: So many commands are shown.
COMMANDS = 5
#: So many stops of a vehicle are shown.
STOPS = 8


class UnitLine(Struct, frozen=True):
    """A unit with the judgement on it."""

    unit: FleetUnit
    place_name: str  #: as the register has it, otherwise its id; "" where there is none
    condition: UnitCondition
    troubles: list[Trouble]

    @property
    def disk_free(self) -> float | None:
        """Which part of its disk is free, 0 to 1; None if it does not say."""
        free, total = _machine(self, "disk_free_bytes"), _machine(self, "disk_total_bytes")
        return free / total if free is not None and total else None

    @classmethod
    def of(
        cls, unit: FleetUnit, register: Mapping[str, Place], now: str, silent_after_s: float
    ) -> "UnitLine":
        """*unit*, judged at *now*."""
        name = register[unit.place].name if unit.place in register else unit.place
        return cls(unit, name, *judge(unit, now, silent_after_s))


Order = Literal["ascending", "descending", "other"]


@dataclass(frozen=True)
class Sort:
    """By what units are sorted, None standing last, and which way has the worst first."""

    key: Callable[[UnitLine], Any]
    worst_first: Order


_SORTS: dict[str, Sort] = {
    "condition": Sort(lambda line: UNIT_ORDER.index(line.condition), "other"),
    "unit": Sort(lambda line: line.unit.unit, "ascending"),
    "place": Sort(lambda line: line.place_name or None, "ascending"),
    "last_scan": Sort(lambda line: line.unit.last_scan or "", "ascending"),
    "pending": Sort(lambda line: _number(line.unit.health.get("pending")), "descending"),
    "hours_left": Sort(lambda line: _number(line.unit.health.get("hours_left")), "ascending"),
    "clock": Sort(lambda line: _text(line.unit.health.get("clock")), "ascending"),
    "certificate": Sort(lambda line: _text(line.unit.health.get("certificate_ends")), "ascending"),
    "temperature": Sort(lambda line: _machine(line, "temperature_c"), "descending"),
    "disk": Sort(lambda line: line.disk_free, "ascending"),
    "signal": Sort(lambda line: _machine(line, "signal_dbm"), "ascending"),
    "software": Sort(lambda line: line.unit.software or None, "ascending"),
}
_OTHER_WAY: dict[Order, Order] = {
    "ascending": "descending",
    "descending": "ascending",
    "other": "other",
}


def sort_lines(lines: Sequence[UnitLine], asked: str) -> tuple[list[UnitLine], str, Order]:
    """*lines* as *asked*: by a column, the worst first, or with "-" before it the other way.

    Gives with them what was understood, and which way the column runs.
    """
    name = asked.removeprefix("-")
    if name not in _SORTS:
        asked = name = "condition"
    sort, other_way = _SORTS[name], asked.startswith("-")
    known = [line for line in lines if sort.key(line) is not None]
    unknown = [line for line in lines if sort.key(line) is None]
    order = _OTHER_WAY[sort.worst_first] if other_way else sort.worst_first
    known.sort(key=sort.key, reverse=other_way if order == "other" else order == "descending")
    return known + unknown, asked, order


class UnitPages:
    """The list of units and the page of one."""

    def __init__(
        self, show: Pages, database: Database, places: Places, settings: DashboardSettings
    ) -> None:
        self._show, self._database, self._places = show, database, places
        self._silent_after_s = settings.silent_after_min * 60

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/units", self._list, "see units"),
            Page("/units/{unit}", self._one, "see units"),
        ]

    def _list(self, ask: Ask) -> Response:
        condition, find = ask.query("condition"), ask.query("find").strip()[:64]
        with self._database.reading() as connection:
            units = fleet.units(connection, ask.person().places)
            register = self._places.all(connection)
        lines = [self._line(unit, register, ask.now) for unit in units]
        counts = {name: sum(line.condition == name for line in lines) for name in UNIT_ORDER}
        found = [line for line in lines if condition in ("", line.condition) and _found(line, find)]
        shown, sort, order = sort_lines(found, ask.query("sort"))
        number = page_number(ask, len(shown))
        return self._show.page(
            ask,
            "units.html",
            lines=shown[(number - 1) * ON_A_PAGE : number * ON_A_PAGE],
            counts=counts,
            total=len(shown),
            number_of_page=number,
            pages=-(-len(shown) // ON_A_PAGE),
            order=order,
            query={"sort": sort, "condition": condition, "find": find},
        )

    def _one(self, ask: Ask) -> Response:
        with self._database.reading() as connection:
            unit = fleet.unit_named(connection, ask.path("unit"))
            register = self._places.all(connection)
            happened = events_of(connection, ask.path("unit"))
            today = local_day(ask.now)
            span = [today - timedelta(days=back) for back in range(DAYS)]
            commands = newest_commands(connection, ask.path("unit"), COMMANDS)
            stops = stops_of(self._database, connection, ask.path("unit"), STOPS)
            since = at_place_since(connection, ask.path("unit"), unit.place if unit else "")
            days = counts.by_day(connection, span[-1], today, ask.person().places, ask.path("unit"))
        if unit is None:
            raise NotThere
        if not ask.person().sees(unit.place):
            raise NotAllowed
        if ask.person().places is not None:
            # Where a unit was before, and what was done there, is others' business.
            happened = [event for event in happened if since and event.at >= since]
            stops = [stop for stop in stops if since and stop.since >= since]
            commands = [command for command in commands if since and command.asked >= since]
        line = self._line(unit, register, ask.now)
        return self._show.page(
            ask,
            "unit.html",
            line=line,
            away=AWAY,
            events=happened,
            stops=stops,
            commands=commands,
            days=[(day, days.get(day, Count())) for day in span],
        )

    def _line(self, unit: FleetUnit, register: Mapping[str, Place], now: str) -> UnitLine:
        return UnitLine.of(unit, register, now, self._silent_after_s)


def _machine(line: UnitLine, name: str) -> float | None:
    """What a unit says of its machine; None if it says nothing, or no number."""
    machine = line.unit.health.get("machine")
    return _number(machine.get(name)) if isinstance(machine, dict) else None


def _number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def page_number(ask: Ask, total: int) -> int:
    """Which page of a list is asked for, within those that there are."""
    asked = ask.query("page")
    last = max(1, -(-total // ON_A_PAGE))
    return min(int(asked), last) if asked.isascii() and asked.isdigit() and int(asked) else 1


def _found(line: UnitLine, find: str) -> bool:
    unit = line.unit
    texts = (unit.unit, unit.place, line.place_name, unit.area, unit.software)
    return not find or any(find.lower() in text.lower() for text in texts)
