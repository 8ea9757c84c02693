"""Trips of a vehicle by the clock, as people write them: "sang-1@05:30-07:10/mon-wed+fri".

A name, when it departs, and if they are known when it arrives and on which days; local time. An
arrival that is not after the departure is the next day's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated

from msgspec import Meta

from edge.opening_hours import DAYS, SPAN, TIME, Day, days_text, read_days

_TRIP = re.compile(rf"([a-z0-9-]{{1,64}})@({TIME})(?:-({TIME}))?(?:/({SPAN}(?:\+{SPAN})*))?")

#: A trip as a setting.
TripText = Annotated[
    str,
    Meta(
        pattern=rf"^{_TRIP.pattern}(?![\s\S])",
        description='a trip as in "sang-1@05:30", "toi-2@23:30-01:10" or "cho@06:00/sat-sun"',
    ),
]

#: People board so long before the departure, where no trip with a known arrival is under way.
BOARDING = timedelta(minutes=30)
#: They get off so long after an arrival, if nobody boards the next trip yet: buses are late.
LATE = timedelta(minutes=60)
#: A trip whose arrival is not known is over by then.
LONGEST = timedelta(hours=12)


@dataclass(frozen=True)
class TimedTrip:
    """A trip and when it goes."""

    id: str
    departs: time
    arrives: time | None = None
    days: tuple[Day, ...] = DAYS

    def __str__(self) -> str:
        arrives = f"-{self.arrives:%H:%M}" if self.arrives else ""
        days = days_text(self.days)
        return f"{self.id}@{self.departs:%H:%M}{arrives}{'/' if days else ''}{days}"


def read_trip(text: str) -> TimedTrip:
    """The trip that *text* tells of. Raises ValueError for what cannot be read."""
    match = _TRIP.fullmatch(text)
    if match is None:
        raise ValueError(text)
    name, departs, arrives, days = match.groups()
    return TimedTrip(
        name,
        time.fromisoformat(departs),
        time.fromisoformat(arrives) if arrives else None,
        read_days(days or ""),
    )


def trip_at(trips: Iterable[TimedTrip], local: datetime) -> str:
    """The name of the trip that people board, ride or leave at *local*; "" if there is none."""
    runs = sorted(_runs(trips, local), key=lambda run: run[0])
    for number, (departs, arrives, name) in enumerate(runs):
        begins = _boards(runs, number)
        ends = arrives + LATE if arrives else departs + LONGEST
        if number + 1 < len(runs):
            ends = min(ends, _boards(runs, number + 1))
        if begins <= local < ends:
            return name
    return ""


_Run = tuple[datetime, datetime | None, str]


def _runs(trips: Iterable[TimedTrip], local: datetime) -> Iterator[_Run]:
    """(departure, arrival, name) of yesterday's, today's and tomorrow's trips."""
    for trip in trips:
        for day in (-1, 0, 1):
            date = (local + timedelta(days=day)).date()
            if DAYS[date.weekday()] not in trip.days:
                continue
            departs = datetime.combine(date, trip.departs, local.tzinfo)
            arrives = None
            if trip.arrives is not None:
                arrives = datetime.combine(date, trip.arrives, local.tzinfo)
                arrives += timedelta(days=1 if arrives <= departs else 0)
            yield departs, arrives, trip.id


def _boards(runs: list[_Run], number: int) -> datetime:
    """From when on people board that one of *runs*, which are in the order of their departure."""
    departs = runs[number][0]
    before = runs[number - 1] if number else None
    if before is None or before[1] is None:
        # Nobody knows whether the one before has arrived: half of what lies between is its own.
        earliest = before[0] + (departs - before[0]) / 2 if before else departs - BOARDING
        return max(earliest, departs - BOARDING)
    return min(departs, max(before[1], departs - BOARDING))
