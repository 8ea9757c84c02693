"""*Map*: the communes as tiles, by province and district, drawn from the register alone.

A schematic and not a map: borders changed in 2025, and these networks have no tiles from elsewhere.
A tile says with words and a mark how many of its places scan.
"""

from collections import defaultdict
from dataclasses import dataclass

from starlette.responses import Response

from edge.dashboard.coverage import Line, Span, coverage
from edge.dashboard.local_time import local_day
from edge.dashboard.pages.place import day_asked
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, Page
from edge.storage.database import Database
from edge.storage.places import Places


@dataclass(frozen=True)
class Tile:
    """A commune on the schematic."""

    commune: str
    line: Line
    mark: str  #: the condition whose icon and colour it bears


class AreaPages:
    """The schematic."""

    def __init__(self, show: Pages, database: Database, places: Places) -> None:
        self._show, self._database, self._places = show, database, places

    def pages(self) -> list[Page]:
        """Its route."""
        return [Page("/areas", self._areas, "see coverage")]

    def _areas(self, ask: Ask) -> Response:
        today = local_day(ask.now)
        day = day_asked(ask, "day", today)
        span = Span(day, day)
        with self._database.reading() as connection:
            register = self._places.all(connection)
            found = coverage(connection, register, span, "commune", ask.language)
        groups: defaultdict[str, list[Tile]] = defaultdict(list)
        for line in found.lines:
            area = line.places[0].place.admin_on(day)
            above = (
                ", ".join(part for part in (area.district, area.province) if part) if area else ""
            )
            groups[above].append(Tile(area.commune if area else "", line, _mark(line)))
        return self._show.page(
            ask,
            "areas.html",
            groups=sorted(groups.items()),
            day_shown=day,
            today=today,
            span=span,
        )


def _mark(line: Line) -> str:
    if line.share == 0:
        return "failing"
    return "working" if line.share >= 0.9 else "quiet"
