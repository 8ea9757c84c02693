"""Where vehicles stood, and how many scans each stop had.

They come with a unit's health, a few at a time and each again and again, so the way of a scan into
its row costs nothing more for them. Only the question joins the two.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy

from edge.messages import Stop
from edge.storage.database import Database
from edge.storage.days import UNDATED, days_there, table_of
from edge.storage.writing import Writing


@dataclass(frozen=True)
class StopRow:
    """A stop of a vehicle."""

    unit: str
    since: str  #: UTC, as the receiver said
    until: str
    latitude: str  #: degrees, as rounded by the unit
    longitude: str
    scans: int  #: of this unit meanwhile


def note(writing: Writing, unit: str, stops: Iterable[Stop]) -> None:
    """Keep the *stops* of *unit* that are over; those that are known stay as they are."""
    for stop in stops:
        if stop.until is not None:
            writing.change(
                "INSERT INTO stop (unit, since, until, latitude, longitude) VALUES"
                " (:unit, :since, :until, :latitude, :longitude) ON CONFLICT DO NOTHING",
                unit=unit,
                since=stop.since,
                until=stop.until,
                latitude=str(stop.latitude),
                longitude=str(stop.longitude),
            )


def stops_of(
    database: Database,
    connection: sqlalchemy.Connection,
    unit: str,
    most: int,
    since: str = "",
    until: str = "9",
) -> list[StopRow]:
    """The last *most* stops of *unit* that began between two moments (UTC), the newest first."""
    stops = connection.execute(
        sqlalchemy.text(
            "SELECT since, until, latitude, longitude FROM stop WHERE unit = :unit"
            " AND since >= :since AND since < :until ORDER BY since DESC LIMIT :most"
        ),
        {"unit": unit, "since": since, "until": until, "most": most},
    ).all()
    if not stops:
        return []
    first, last = min(stop.since for stop in stops), max(stop.until for stop in stops)
    times = _times(database, connection, unit, first, last)
    return [
        StopRow(
            unit,
            stop.since,
            stop.until,
            stop.latitude,
            stop.longitude,
            # A receiver's time may jump back, so that a stop ends before it began.
            max(0, bisect_right(times, stop.until) - bisect_left(times, stop.since)),
        )
        for stop in stops
    ]


def _times(
    database: Database, connection: sqlalchemy.Connection, unit: str, since: str, until: str
) -> list[str]:
    """When *unit* scanned between two moments (UTC, both included), in order.

    Once for all stops, and in the tables of those days alone: in `scan` as a whole each stop would
    look through all that the unit ever scanned.
    """
    days = [day for day in days_there(database, connection) if since[:10] <= day <= until[:10]]
    times: list[str] = []
    for day in (*days, UNDATED):
        times += connection.execute(
            sqlalchemy.text(
                f"SELECT time FROM {table_of(day)}"
                " WHERE unit = :unit AND time >= :since AND time <= :until"
            ),
            {"unit": unit, "since": since, "until": until},
        ).scalars()
    return sorted(times)
