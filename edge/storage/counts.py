"""How many scans there were, by place, day and quarter of an hour: asked of the summaries.

The summaries are kept exact by whoever stores scans: see summaries.py.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, TextClause, bindparam, text

QUARTERS = 96
DIRECTIONS = ("in", "out", "both")


class Count(Struct, frozen=True):
    """Scans by direction; *both* are those of a unit that stands for both ways.

    A Struct, as what a page makes thousands of: a dataclass takes ten times as long to make.
    """

    into: int = 0
    out: int = 0
    both: int = 0

    @property
    def all(self) -> int:
        """All of them."""
        return self.into + self.out + self.both

    def of(self, directions: Iterable[str]) -> int:
        """Those of *directions*."""
        by_name = {"in": self.into, "out": self.out, "both": self.both}
        return sum(by_name[direction] for direction in set(directions))

    def __add__(self, other: "Count") -> "Count":
        return Count(self.into + other.into, self.out + other.out, self.both + other.both)


_SUMS = (
    "sum(CASE direction WHEN 'in' THEN scans ELSE 0 END) AS ins,"
    " sum(CASE direction WHEN 'out' THEN scans ELSE 0 END) AS outs,"
    " sum(CASE direction WHEN 'both' THEN scans ELSE 0 END) AS boths"
)


def first_day(connection: Connection) -> date | None:
    """The first local day with a scan, or on which a unit was heard of; None before either."""
    days = [_first_in(connection, table) for table in ("scans_by_day", "heard_by_day")]
    return min((day for day in days if day), default=None)


def first_day_counted(connection: Connection) -> date | None:
    """The first local day with a scan; None before any."""
    return _first_in(connection, "scans_by_day")


def expired_before(connection: Connection) -> date | None:
    """Scans of days before this have been erased; None if none ever were."""
    day = connection.execute(text("SELECT expired_before FROM feed")).scalar_one()
    return date.fromisoformat(day) if day else None


def by_place(
    connection: Connection, first: date, last: date, places: Iterable[str] | None = None
) -> dict[str, Count]:
    """Scans of each place that had any on these days; of *places*, None for all."""
    rows = connection.execute(
        *_among(
            f"SELECT place, {_SUMS} FROM scans_by_day WHERE day BETWEEN :first AND :last",
            " GROUP BY place HAVING sum(scans) > 0",
            _days(first, last),
            places,
        )
    )
    return _by_key(rows)


def behind(
    connection: Connection,
    first: date,
    last: date,
    since: int = 0,
    until: int = QUARTERS,
    places: Iterable[str] | None = None,
    unit: str = "",
) -> dict[str, Count]:
    """Scans of each place in the quarters *since* up to, not including, *until* of these days.

    Of *places*, None for all; of *unit*, "" for all.
    """
    values: dict[str, object] = _days(first, last)
    table, where = "scans_by_day", ""
    if (since, until) != (0, QUARTERS):
        table, where = "scans_by_quarter", " AND quarter >= :since AND quarter < :until"
        values |= {"since": since, "until": until}
    if unit:
        where += " AND unit = :unit"
        values["unit"] = unit
    rows = connection.execute(
        *_among(
            f"SELECT place, {_SUMS} FROM {table} WHERE day BETWEEN :first AND :last{where}",
            " GROUP BY place HAVING sum(scans) > 0",
            values,
            places,
        )
    )
    return _by_key(rows)


def by_day(
    connection: Connection,
    first: date,
    last: date,
    places: Iterable[str] | None = None,
    unit: str = "",
) -> dict[date, Count]:
    """Scans of each local day that had any; of *places*, None for all; of *unit*, "" for all."""
    values: dict[str, object] = _days(first, last)
    of_unit = ""
    if unit:
        of_unit = " AND unit = :unit"
        values["unit"] = unit
    rows = connection.execute(
        *_among(
            f"SELECT day, {_SUMS} FROM scans_by_day WHERE day BETWEEN :first AND :last{of_unit}",
            " GROUP BY day",
            values,
            places,
        )
    )
    return {date.fromisoformat(day): count for day, count in _by_key(rows).items()}


def by_unit(connection: Connection, first: date, last: date, place: str) -> dict[str, Count]:
    """Scans of each unit of *place* that had any, on the local days *first* to *last*."""
    rows = connection.execute(
        *_among(
            f"SELECT unit, {_SUMS} FROM scans_by_day WHERE day BETWEEN :first AND :last",
            " GROUP BY unit",
            _days(first, last),
            [place],
        )
    )
    return _by_key(rows)


def by_quarter(
    connection: Connection, day: date, places: Iterable[str] | None = None
) -> list[Count]:
    """Scans of each of the 96 quarters of an hour of the local *day*; of *places*, None for all."""
    rows = connection.execute(
        *_among(
            f"SELECT quarter, {_SUMS} FROM scans_by_quarter WHERE day = :day",
            " GROUP BY quarter",
            {"day": day.isoformat()},
            places,
        )
    )
    found = _by_key(rows)
    return [found.get(quarter, Count()) for quarter in range(QUARTERS)]


def in_quarter(connection: Connection, day: date, quarter: int, place: str, unit: str) -> int:
    """Scans of one *unit* of *place* in one *quarter* of an hour of the local *day*."""
    scans = connection.execute(
        text(
            "SELECT coalesce(sum(scans), 0) FROM scans_by_quarter WHERE day = :day"
            " AND place = :place AND unit = :unit AND quarter = :quarter"
        ),
        {"day": day.isoformat(), "place": place, "unit": unit, "quarter": quarter},
    ).scalar_one()
    return int(scans)


def by_hour(
    connection: Connection, first: date, last: date, places: Iterable[str] | None = None
) -> list[Count]:
    """Scans of each of the 24 hours, over the local days *first* to *last* together."""
    rows = connection.execute(
        *_among(
            f"SELECT quarter, {_SUMS} FROM scans_by_quarter WHERE day BETWEEN :first AND :last",
            " GROUP BY quarter",
            _days(first, last),
            places,
        )
    )
    hours = [Count()] * 24
    for quarter, count in _by_key(rows).items():
        hours[quarter // 4] += count
    return hours


def _among(
    start: str, end: str, values: dict[str, object], places: Iterable[str] | None
) -> tuple[TextClause, dict[str, object]]:
    if places is None:
        return text(start + end), values
    named = ["places"]
    given: dict[str, object] = values | {"places": sorted(places) or [""]}  # none is called ""
    if "first" in values:
        # Day by day, the few places are found by the tables' keys; in a span they would be sought.
        start = start.replace("day BETWEEN :first AND :last", "day IN :days")
        first, last = (date.fromisoformat(str(given.pop(end_of))) for end_of in ("first", "last"))
        span = range((last - first).days + 1)
        given["days"] = [(first + timedelta(days=number)).isoformat() for number in span]
        named.append("days")
    statement = text(f"{start} AND place IN :places{end}")
    return statement.bindparams(*(bindparam(name, expanding=True) for name in named)), given


def _first_in(connection: Connection, table: str) -> date | None:
    day = connection.execute(text(f"SELECT min(day) FROM {table}")).scalar_one()
    return date.fromisoformat(day) if day else None


def _days(first: date, last: date) -> dict[str, object]:
    return {"first": first.isoformat(), "last": last.isoformat()}


def _by_key(rows: Iterable[Any]) -> dict[Any, Count]:
    """The counts of *rows* by what stands in their first column."""
    # By place in the row, not by name: of thousands of rows that is half of the time.
    return {key: Count(int(ins), int(outs), int(boths)) for key, ins, outs, boths in rows}
