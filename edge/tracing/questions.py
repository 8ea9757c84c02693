"""The questions a tracer asks of the index: where, who, with whom, how long, and how sure.

Answers name persons by their number in the index; who that is, only a release says. Intervals are
compared, not points: whoever came before somebody and stayed was there with them. Both intervals
are widened by a margin for the error of clocks, so that nobody is missed for a minute; the minutes
that are given are those without it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, text

from edge.clock import utc_text
from edge.storage.database import Database
from edge.tracing.answers import (
    CERTAINTY,
    Certainty,
    Completeness,
    Contact,
    Meeting,
    PlaceDay,
    Stay,
    local_day,
)
from edge.tracing.listed import with_list
from edge.tracing.places import DAY, LOCAL_MS, MINUTE, Places
from edge.tracing.visits import Bound, Quality

#: By how much a clock that was set may be off: margins of this are put on both sides.
MARGIN_MS = MINUTE
#: A contact is longer than this, but for vehicles, where any counts.
MINIMUM_MS = 15 * MINUTE


class Questions:
    """Asks the index."""

    def __init__(
        self,
        database: Database,
        places: Places,
        *,
        margin_ms: int = MARGIN_MS,
        minimum_ms: int = MINIMUM_MS,
    ) -> None:
        self.database = database
        self._places = places
        self._margin_ms = margin_ms
        self._minimum_ms = minimum_ms

    def persons(self, tokens: Iterable[bytes]) -> list[int]:
        """The persons of *tokens*; none of a token that was never seen."""
        values = sorted(set(tokens))
        if not values:
            return []
        with self.database.reading("look for a person") as connection:
            return sorted(
                {
                    int(row.person)
                    for row in connection.execute(
                        with_list("SELECT person FROM identifier WHERE token IN :list"),
                        {"list": values},
                    )
                }
            )

    def where(self, person: int, since: int, until: int) -> list[Stay]:
        """The stays of *person* that touch the time from *since* to *until*, in order."""
        with self.database.reading("ask where somebody was") as connection:
            return self._stays_of(connection, [person], since, until)

    def present(self, place: str, since: int, until: int, trip: str | None = None) -> list[Stay]:
        """Who was at *place* between *since* and *until*, on *trip* if it is given; in order."""
        longest = self._places.facts(place).longest_ms
        with self.database.reading("ask who was there") as connection:
            found = [
                _stay(row)
                for row in connection.execute(
                    text(
                        f"SELECT {_STAY} FROM visit JOIN name ON name.number = visit.place"
                        " WHERE name.name = :place AND start BETWEEN :earliest AND :until"
                        " AND finish >= :since ORDER BY start, visit.number"
                    ),
                    {
                        "place": place,
                        "earliest": since - longest - self._margin_ms,
                        "since": since - self._margin_ms,
                        "until": until + self._margin_ms,
                    },
                )
            ]
        return [stay for stay in found if trip is None or stay.trip == trip]

    def overlaps(self, person: int, since: int, until: int) -> list[Contact]:
        """Everybody who was where *person* was, at one time; the longest together first."""
        with self.database.reading("ask who was with somebody") as connection:
            return self._contacts(connection, person, since, until)

    def second_ring(
        self, person: int, contacts: Sequence[int], since: int, until: int
    ) -> list[Contact]:
        """The contacts of *contacts*, without *person* and the first ring themselves."""
        known = {person, *contacts}
        best: dict[int, Contact] = {}
        with self.database.reading("ask for the second ring") as connection:
            for contact in contacts:
                for found in self._contacts(connection, contact, since, until):
                    before = best.get(found.person)
                    if found.person not in known and (
                        before is None or _rank(found) < _rank(before)
                    ):
                        best[found.person] = found
        return sorted(best.values(), key=_rank)

    def namesakes(self, person: int) -> list[int]:
        """Persons of the same name and birth year: a weak hint that they may be the same."""
        with self.database.reading("ask for namesakes") as connection:
            return [
                int(row.person)
                for row in connection.execute(
                    text(
                        "SELECT DISTINCT other.person FROM namesake AS mine"
                        " JOIN namesake AS other ON other.token = mine.token"
                        " WHERE mine.person = :person AND other.person <> :person"
                        " ORDER BY other.person"
                    ),
                    {"person": person},
                )
            ]

    def boxes_of(self, person: int) -> list[tuple[str, str, str, str]]:
        """(scan id, place, time, document) of every scan of *person*, the newest first.

        By place and time storage finds the sealed identity again.
        """
        with self.database.reading("look for somebody's scans") as connection:
            return [
                (bytes(row.scan).hex(), row.name, utc_text(row.time / 1000), row.document)
                for row in connection.execute(
                    text(
                        "SELECT scan, name.name, time, document FROM sighting"
                        " JOIN name ON name.number = sighting.place WHERE person = :person"
                        " ORDER BY time DESC"
                    ),
                    {"person": person},
                )
            ]

    def completeness(self, places: Sequence[str], since: int, until: int) -> Completeness:
        """How complete answers about *places* (all, if empty) can be from *since* to *until*."""
        scans: dict[tuple[str, str], list[int]] = {}
        units: dict[tuple[str, str], set[str]] = {}
        active: dict[str, set[str]] = {}
        where = " AND place.name IN :list" if places else ""
        ask = with_list if places else text
        statement = ask(
            "SELECT place.name AS place, unit.name AS unit, direction, quality,"
            f" (time + {LOCAL_MS}) / {DAY} AS day, count(*) AS scans FROM sighting"
            " JOIN name AS place ON place.number = sighting.place"
            " JOIN name AS unit ON unit.number = sighting.unit"
            f" WHERE time BETWEEN :since AND :until{where}"
            f" GROUP BY place.name, unit.name, direction, quality, (time + {LOCAL_MS}) / {DAY}"
        )
        values: dict[str, Any] = {"since": since, "until": until}
        if places:
            values["list"] = list(places)
        with self.database.reading("ask how complete answers are") as connection:
            for row in connection.execute(statement, values):
                day = local_day(int(row.day) * DAY - LOCAL_MS)
                counts = scans.setdefault((row.place, day), [0, 0, 0, 0])
                counts[row.direction] += row.scans
                counts[3] += row.scans if row.quality == Quality.UNSYNCED else 0
                units.setdefault((row.place, day), set()).add(row.unit)
                active.setdefault(row.unit, set()).add(day)
            unused = [
                (row.reason, row.unit, int(row.scans))
                for row in connection.execute(
                    text(
                        "SELECT reason, unit, sum(scans) AS scans FROM unused"
                        " WHERE day BETWEEN :since AND :until"
                        " GROUP BY reason, unit ORDER BY reason, unit"
                    ),
                    {"since": local_day(since), "until": local_day(until)},
                )
            ]
        every = [local_day(day) for day in range(since, until, DAY)]
        silent = [
            (unit, day) for unit in sorted(active) for day in every if day not in active[unit]
        ]
        return Completeness(
            tuple(
                PlaceDay(
                    place, day, counts[0], counts[1], counts[2], counts[3], len(units[place, day])
                )
                for (place, day), counts in sorted(scans.items())
            ),
            tuple(silent),
            tuple(unused),
        )

    def _stays_of(
        self, connection: Connection, persons: Sequence[int], since: int, until: int
    ) -> list[Stay]:
        return [
            _stay(row)
            for row in connection.execute(
                with_list(
                    f"SELECT {_STAY} FROM visit JOIN name ON name.number = visit.place"
                    " WHERE person IN :list AND start BETWEEN :earliest AND :until"
                    " AND finish >= :since ORDER BY start, visit.number"
                ),
                {"list": persons, "earliest": since - DAY, "since": since, "until": until},
            )
        ]

    def _contacts(
        self, connection: Connection, person: int, since: int, until: int
    ) -> list[Contact]:
        stays = self._stays_of(connection, [person], since, until)
        if not stays:
            return []
        met: dict[tuple[int, str, str], list[tuple[int, int, Certainty]]] = {}
        longest = max(self._places.facts(stay.place).longest_ms for stay in stays)
        rows = connection.execute(
            _WITH,
            {
                "person": person,
                "earliest": since - DAY,
                "since": since,
                "until": until,
                "longest": longest,
                "margin": 2 * self._margin_ms,
            },
        )
        mine = {stay.number: stay for stay in stays}
        for number, other, trip, start, end, start_bound, end_bound in rows:
            stay = mine[number]
            # In one vehicle at one time, but not on one trip: then a time or a trip is wrong.
            if stay.trip and trip and stay.trip != trip:
                continue
            certainty = max(stay.certainty, _CERTAINTIES[start_bound], _CERTAINTIES[end_bound])
            met.setdefault((other, stay.place, stay.trip), []).append(
                (max(stay.start, since, start), min(stay.end, until, end), certainty)
            )
        return self._ranked(met, person)

    def _ranked(
        self, met: dict[tuple[int, str, str], list[tuple[int, int, Certainty]]], of: int
    ) -> list[Contact]:
        meetings: dict[int, list[Meeting]] = {}
        for (person, place, trip), times in met.items():
            facts = self._places.facts(place)
            # What has a trip is a vehicle, whether the register knows it yet or not.
            minimum = 0 if facts.vehicle or trip else self._minimum_ms
            for start, end, certainty in _merged(times, 2 * self._margin_ms):
                at_most = end - start + 2 * self._margin_ms
                if at_most >= minimum:
                    meetings.setdefault(person, []).append(
                        Meeting(
                            place,
                            trip,
                            start,
                            max(start, end),
                            max(0, end - start) / MINUTE,
                            at_most / MINUTE,
                            certainty,
                        )
                    )
        return sorted(
            (
                Contact(
                    person,
                    sum(meeting.minutes for meeting in found),
                    min(meeting.certainty for meeting in found),
                    tuple(sorted(found, key=lambda meeting: meeting.start)),
                    of,
                )
                for person, found in meetings.items()
            ),
            key=_rank,
        )


def _merged(times: list[tuple[int, int, Certainty]], gap: int) -> list[tuple[int, int, Certainty]]:
    """Meetings with hardly a gap between them are one: a scan in passing ended nobody's stay."""
    found: list[tuple[int, int, Certainty]] = []
    for start, end, certainty in sorted(times):
        if found and start <= found[-1][1] + gap:
            before = found[-1]
            found[-1] = (before[0], max(before[1], end), max(before[2], certainty))
        else:
            found.append((start, end, certainty))
    return found


def _rank(contact: Contact) -> tuple[float, int, int]:
    return (-contact.minutes, contact.certainty, contact.person)


def _stay(row: Any) -> Stay:
    return Stay(
        row.number,
        row.person,
        row.name,
        row.trip,
        row.start,
        row.finish,
        Bound(row.start_bound),
        Bound(row.end_bound),
        bytes(row.entry_scan),
        bytes(row.exit_scan),
    )


_STAY = (
    "visit.number, visit.person, name.name, visit.trip, visit.start, visit.finish,"
    " visit.start_bound, visit.end_bound, visit.entry_scan, visit.exit_scan"
)
# What a person of the index is asked about most: one question, answered from one index.
_WITH = text(
    "SELECT mine.number, other.person, other.trip, other.start, other.finish, other.start_bound,"
    " other.end_bound FROM visit AS mine JOIN visit AS other ON other.place = mine.place"
    " AND other.start BETWEEN mine.start - :longest AND mine.finish + :margin"
    " AND other.finish >= mine.start - :margin"
    " WHERE mine.person = :person AND mine.start BETWEEN :earliest AND :until"
    " AND mine.finish >= :since AND other.person <> :person"
)
_CERTAINTIES = [CERTAINTY[bound] for bound in sorted(CERTAINTY)]
