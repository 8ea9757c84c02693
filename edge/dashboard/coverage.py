"""The letter's report: of the registered places, which scan, which do not, and which are silent.

Counted for a span of local days, by commune, district where there was one, province, sector, or the
body in charge. A place is *active* with one scan or more, *zero* if its units were heard of but
nothing was scanned, and *silent* if no unit of it was heard of at all; each is exactly one of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Literal

from sqlalchemy import Connection

from edge.register import KINDS, AdminArea, Place
from edge.storage import counts
from edge.storage.counts import Count
from edge.storage.places import heard_of

Grouping = Literal["commune", "district", "province", "sector", "body"]
GROUPINGS: tuple[Grouping, ...] = ("commune", "district", "province", "sector", "body")
State = Literal["active", "zero", "silent"]


@dataclass(frozen=True)
class Span:
    """Local days, both included, and the days before that they are compared with."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Span":
        """As many days right before; of a single day the same day of the week before."""
        back = timedelta(days=7 if self.days == 1 else self.days)
        return Span(self.first - back, self.last - back)


@dataclass(frozen=True)
class Covered:
    """A registered place in a span."""

    place: Place
    state: State
    count: Count
    before: Count


@dataclass
class Line:
    """A line of the report: places that belong together."""

    group: str
    places: list[Covered] = field(default_factory=list)

    @property
    def registered(self) -> int:
        """Places in the register."""
        return len(self.places)

    def number(self, state: State) -> int:
        """Places in *state*."""
        return self._states[state]

    @property
    def share(self) -> float:
        """Which part of the places is active, 0 to 1."""
        return self.number("active") / self.registered if self.places else 0.0

    # Each is asked for several times in a page, over thousands of places.

    @cached_property
    def count(self) -> Count:
        """All scans. To be asked for when all places are there."""
        return _sum(covered.count for covered in self.places)

    @cached_property
    def before(self) -> Count:
        """All scans of the days before."""
        return _sum(covered.before for covered in self.places)

    @property
    def ratio(self) -> float | None:
        """Scans out for each scan in; None where nothing went in, or both ways are one."""
        count = self.count
        return count.out / count.into if count.into and not count.both else None

    @cached_property
    def _states(self) -> Counter[State]:
        return Counter(covered.state for covered in self.places)

    @property
    def change(self) -> float | None:
        """How scans changed against the days before, 0.1 for a tenth more; None from nothing."""
        before = self.before.all
        return (self.count.all - before) / before if before else None


@dataclass(frozen=True)
class Coverage:
    """The whole report."""

    span: Span
    lines: list[Line]  #: the worst first
    total: Line
    strangers: Mapping[str, Count]  #: scans of places that the register does not have


def coverage(
    connection: Connection, register: Mapping[str, Place], span: Span, by: Grouping, language: str
) -> Coverage:
    """The report of *span*, grouped *by*. Where a place lay is asked for the last of the days."""
    now = counts.by_place(connection, span.first, span.last)
    before = counts.by_place(connection, span.before.first, span.before.last)
    heard = heard_of(connection, span.first, span.last)
    group_of = _grouping(by, span.last, language)
    lines: dict[str, Line] = {}
    total = Line("")
    for place in register.values():
        count = now.get(place.id, Count())
        state: State = "active" if count.all else "zero" if place.id in heard else "silent"
        covered = Covered(place, state, count, before.get(place.id, Count()))
        group = group_of(place)
        lines.setdefault(group, Line(group)).places.append(covered)
        total.places.append(covered)
    return Coverage(
        span,
        sorted(lines.values(), key=lambda line: (line.share, -line.registered, line.group)),
        total,
        {place: count for place, count in now.items() if place not in register},
    )


def _sum(counts_of_places: Iterable[Count]) -> Count:
    into = out = both = 0
    for count in counts_of_places:
        into, out, both = into + count.into, out + count.out, both + count.both
    return Count(into, out, both)


def has_districts(span: Span) -> bool:
    """Whether there were districts on the last day of *span*."""
    return span.last < date(2025, 7, 1)


def _grouping(by: Grouping, day: date, language: str) -> Callable[[Place], str]:
    if by == "sector":
        return lambda place: KINDS[place.kind].vi if language == "vi" else KINDS[place.kind].en
    if by == "body":
        return lambda place: place.responsible
    return lambda place: area_name(place.admin_on(day), by)


def area_name(area: AdminArea | None, level: Grouping) -> str:
    """What an area is called at *level*, with what it lies in; "" where the register has none."""
    if area is None:
        return ""
    if level == "province":
        return area.province
    if level == "district":
        return ", ".join(part for part in (area.district, area.province) if part)
    return ", ".join(part for part in (area.commune, area.district, area.province) if part)
