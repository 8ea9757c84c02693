"""Where vehicles stood, and how many scans each stop had.

They come with a unit's health, a few at a time and each again and again, so the way of a scan into
its row costs nothing more for them. Only the question joins the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy

from edge.messages import Stop
from edge.storage.database import Database
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


def newest_stops(
    connection: sqlalchemy.Connection, unit: str, most: int
) -> list[tuple[str, str, str, str]]:
    """(since, until, latitude, longitude) of the last stops of *unit*, the newest first."""
    rows = connection.execute(
        sqlalchemy.text(
            "SELECT since, until, latitude, longitude FROM stop WHERE unit = :unit"
            " ORDER BY since DESC LIMIT :most"
        ),
        {"unit": unit, "most": most},
    )
    return [(row.since, row.until, row.latitude, row.longitude) for row in rows]


def stops_of(database: Database, unit: str, since: str, until: str) -> list[StopRow]:
    """The stops of *unit* that began between two moments (UTC), the oldest first."""
    with database.reading("read stops") as connection:
        rows = connection.execute(
            sqlalchemy.text(
                "SELECT s.unit, s.since, s.until, s.latitude, s.longitude,"
                " (SELECT count(*) FROM scan WHERE scan.unit = s.unit AND scan.time >= s.since"
                " AND scan.time <= s.until) FROM stop s"
                " WHERE s.unit = :unit AND s.since >= :since AND s.since < :until ORDER BY s.since"
            ),
            {"unit": unit, "since": since, "until": until},
        )
        return [StopRow(*row) for row in rows]
