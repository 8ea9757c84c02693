"""The desk's index, written: opened scans become sightings of persons, and sightings visits.

A person is a group of tokens that documents showed together: somebody may enter with a card and
leave with a phone. Everything of a batch is one transaction, the position in storage included, so
that a desk that is killed goes on exactly where it was. One process writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, text

from edge.storage.database import Database
from edge.tracing.erased import KEEP_MS, erased_among, forget_erased
from edge.tracing.listed import chunks, rows_of, with_list
from edge.tracing.persons import Opened, PersonsOfBatch
from edge.tracing.places import HOUR, PlaceFacts, Places
from edge.tracing.visits import Bound, Direction, Quality, Sighting, Visit, visits

# What the rows of `progress` say. How far the desk has come in storage...
_REACHED = 1
# ... which keys, and which legal bases, it had then...
KEYS, BASES = 2, 3
# ... and the highest number that a person ever had: it is no other person's, even once erased.
_HIGHEST_PERSON = 4

#: A sighting changes no visit that begins further away than this...
TOUCHES_MS = 24 * HOUR
#: ... and to make those anew, sightings as far away as this are looked at.
LOOKS_MS = 48 * HOUR
#: What was seen so long from now was seen by a wrong clock, in the future.
AHEAD_MS = 48 * HOUR
#: Later than any time that there can be.
NEVER_MS = 1 << 62


@dataclass(frozen=True)
class Purged:
    """What was erased from the index."""

    sightings: int
    visits: int
    identifiers: int

    def __add__(self, other: "Purged") -> "Purged":
        return Purged(
            self.sightings + other.sightings,
            self.visits + other.visits,
            self.identifiers + other.identifiers,
        )


#: Is told what a transaction erases, within it.
Note = Callable[[Connection, Purged], None]


class Index:
    """The index of one desk."""

    def __init__(self, database: Database, places: Places) -> None:
        self.database = database
        self._places = places
        self._numbers: dict[str, int] = {}
        self._namesakes: set[tuple[bytes, int]] = set()

    def position(self) -> str:
        """How far it has come in storage; "" at the beginning."""
        with self.database.reading("read how far the desk has come") as connection:
            return _progress(connection, _REACHED)

    def know(self, what: int, names: Sequence[str], left_out: str) -> bool:
        """Note which KEYS or BASES the desk has; whether to begin at the beginning of storage.

        That is so where one is new and scans were left out for want of it, by the reason
        *left_out*. What is indexed already only replaces itself.
        """
        with self.database.writing("note what the desk opens by") as connection:
            before = set(filter(None, _progress(connection, what).split(",")))
            if before != set(names):
                _put_progress(connection, what, ",".join(sorted(names)))
            if set(names) <= before:
                return False
            without = connection.execute(
                text("SELECT count(*) FROM unused WHERE reason = :reason"), {"reason": left_out}
            ).scalar_one()
            if without:
                _begin_anew(connection)
            return bool(without)

    def begin_anew(self) -> None:
        """Go through storage from its beginning once more."""
        with self.database.writing("begin anew") as connection:
            _begin_anew(connection)

    def add(
        self,
        opened: Sequence[Opened],
        position: str,
        unused: Iterable[tuple[str, str, str]] = (),
    ) -> None:
        """Take in a batch, and note *position* as reached, in one transaction.

        A scan that comes again, as one whose time was corrected, replaces itself. *unused*:
        (reason, unit, day) of each scan that the desk could not use. What was erased at a person's
        wish is left out. Raises StorageError.
        """
        with self.database.writing("index a batch") as connection:
            gone = erased_among(connection, [item.sighting.scan for item in opened])
            opened = [item for item in opened if item.sighting.scan not in gone]
            if opened:
                highest = int(_progress(connection, _HIGHEST_PERSON) or 0)
                batch = PersonsOfBatch(connection, self._namesakes, highest)
                persons = batch.persons(opened)
                self._learn_names(connection, opened)
                self._put(connection, batch, opened, persons)
            _count_unused(connection, unused)
            _put_progress(connection, _REACHED, position)

    def purge(
        self,
        before: int,
        keep: Sequence[int] = (),
        *,
        now: int,
        settled: bool = True,
        steady: bool = True,
        note: Note = lambda connection, purged: None,
    ) -> Purged:
        """Erase every sighting made before *before*, but those of the persons in *keep*.

        What a wrong clock says was made in the future goes by when it came in; if that is in the
        future too, by when it was noticed, once it is *settled* that it is *now* and no later. All
        that waits where *now* is not *steady*, and may leap: by a clock that is years behind all is
        of the future.
        Orders to erase that are too old at *now* are forgotten.
        *note* is told what was erased, if anything was, within the transaction that does it.
        """
        ahead = now + AHEAD_MS if steady else NEVER_MS
        with self.database.writing("erase what is past its time") as connection:
            if settled:
                for statement in (_ERASED_NOW, _RECEIVED_NOW):
                    connection.execute(statement, {"now": now, "ahead": ahead})
            forget_erased(connection, now - KEEP_MS)
            bounds = {"before": before, "ahead": ahead}
            gone = _erase(connection, _PAST, _PAST_VISITS, bounds, keep)
            if gone.sightings or gone.visits or gone.identifiers:
                note(connection, gone)
            return gone

    def erase_persons(
        self,
        persons: Sequence[int],
        note: Note = lambda connection, purged: None,
    ) -> Purged:
        """Erase all of *persons*, at their wish, in one transaction; *note* is told within it."""
        gone = Purged(0, 0, 0)
        with self.database.writing("erase a person") as connection:
            for person in persons:
                of = {"person": person}
                gone += _erase(connection, "person = :person", "person = :person", of, ())
                for table in ("identifier", "case_person"):
                    connection.execute(text(f"DELETE FROM {table} WHERE person = :person"), of)
            note(connection, gone)
        return gone

    def _learn_names(self, connection: Connection, opened: Sequence[Opened]) -> None:
        names = {item.sighting.place for item in opened} | {item.unit for item in opened}
        missing = sorted(names - self._numbers.keys())
        if not missing:
            return
        connection.execute(
            text("INSERT INTO name (name) VALUES (:name) ON CONFLICT DO NOTHING"),
            [{"name": name} for name in missing],
        )
        for row in rows_of(
            connection, "SELECT name, number FROM name WHERE name IN :list", missing
        ):
            self._numbers[row.name] = row.number

    def _put(
        self,
        connection: Connection,
        batch: PersonsOfBatch,
        opened: Sequence[Opened],
        persons: Sequence[int],
    ) -> None:
        redated = [o.sighting.scan for o in opened if o.sighting.quality is Quality.CORRECTED]
        for row in rows_of(
            connection, "SELECT person, time FROM sighting WHERE scan IN :list", redated
        ):
            batch.touch(row.person, row.time)
        rows = {}
        for item, person in zip(opened, persons, strict=True):
            sighting = item.sighting
            person = batch.joined(person)
            batch.touch(person, sighting.time)
            rows[sighting.scan] = {
                "scan": sighting.scan,
                "person": person,
                "time": sighting.time,
                "place": self._numbers[sighting.place],
                "unit": self._numbers[item.unit],
                "trip": sighting.trip,
                "direction": int(sighting.direction),
                "quality": int(sighting.quality),
                "received": sighting.received,
                "document": item.document,
            }
        connection.execute(_PUT_SIGHTING, list(rows.values()))
        self._make_visits(connection, batch.touched)

    def _make_visits(self, connection: Connection, touched: dict[int, tuple[int, int]]) -> None:
        """Make the visits of each touched person anew, as far as they can have changed."""
        names = {number: name for name, number in self._numbers.items()}
        facts: dict[str, PlaceFacts] = {}

        def facts_of(place: str) -> PlaceFacts:
            if place not in facts:
                facts[place] = self._places.facts(place)
            return facts[place]

        gone: list[int] = []
        new: list[dict[str, Any]] = []
        for persons in chunks(sorted(touched)):
            seen: dict[int, list[Sighting]] = {person: [] for person in persons}
            first = min(touched[person][0] for person in persons) - LOOKS_MS
            last = max(touched[person][1] for person in persons) + LOOKS_MS
            between = {"list": persons, "first": first, "last": last}
            for row in connection.execute(_SIGHTINGS, between):
                place = names.get(row.place) or self._name(connection, names, row.place)
                seen[row.person].append(
                    Sighting(
                        row.time,
                        place,
                        Direction(row.direction),
                        row.trip,
                        Quality(row.quality),
                        row.received,
                        bytes(row.scan),
                    )
                )
            there: dict[int, dict[Visit, int]] = {person: {} for person in persons}
            for row in connection.execute(_VISITS, between):
                place = names.get(row.place) or self._name(connection, names, row.place)
                there[row.person][_visit(row, place)] = row.number
            for person in persons:
                since, until = touched[person][0] - TOUCHES_MS, touched[person][1] + TOUCHES_MS
                made = {v for v in visits(seen[person], facts_of) if since <= v.start <= until}
                gone += [
                    number
                    for visit, number in there[person].items()
                    if since <= visit.start <= until and visit not in made
                ]
                new += [self._row(person, visit) for visit in made if visit not in there[person]]
        for numbers in chunks(gone):
            connection.execute(_FORGET_VISITS, {"list": numbers})
        if new:
            connection.execute(_PUT_VISIT, new)

    def _name(self, connection: Connection, names: dict[int, str], number: int) -> str:
        found = connection.execute(
            text("SELECT name FROM name WHERE number = :number"), {"number": number}
        ).scalar_one()
        self._numbers[found] = number
        names[number] = str(found)
        return names[number]

    def _row(self, person: int, visit: Visit) -> dict[str, Any]:
        return {
            "person": person,
            "place": self._numbers[visit.place],
            "trip": visit.trip,
            "start": visit.start,
            "finish": visit.end,
            "start_bound": int(visit.start_bound),
            "end_bound": int(visit.end_bound),
            "entry_scan": visit.entry,
            "exit_scan": visit.exit,
        }


def _erase(
    connection: Connection,
    sightings: str,
    stays: str,
    bounds: Mapping[str, int],
    keep: Sequence[int],
) -> Purged:
    kept = " AND person NOT IN :keep" if keep else ""

    def delete(table: str, where: str) -> int:
        statement = text(f"DELETE FROM {table} WHERE ({where}){kept}")
        values: dict[str, Any] = dict(bounds)
        if keep:
            values["keep"] = list(keep)
            statement = statement.bindparams(bindparam("keep", expanding=True))
        return connection.execute(statement, values).rowcount

    _note_highest_person(connection)
    gone_sightings, gone_visits = delete("sighting", sightings), delete("visit", stays)
    if not gone_sightings and not gone_visits:
        return Purged(0, 0, 0)
    # A token of nobody who was here within the retention is kept no longer either.
    alone = "NOT EXISTS (SELECT 1 FROM sighting WHERE sighting.person = {0}.person)"
    identifiers = connection.execute(
        text("DELETE FROM identifier WHERE " + alone.format("identifier"))
    ).rowcount
    connection.execute(text("DELETE FROM namesake WHERE " + alone.format("namesake")))
    for side in ("one", "other"):
        connection.execute(
            text(
                f"DELETE FROM link WHERE NOT EXISTS"
                f" (SELECT 1 FROM identifier WHERE identifier.number = link.{side})"
            )
        )
    connection.execute(
        text(
            "DELETE FROM conflict WHERE NOT EXISTS"
            " (SELECT 1 FROM sighting WHERE sighting.scan = conflict.scan)"
        )
    )
    return Purged(gone_sightings, gone_visits, identifiers)


def _note_highest_person(connection: Connection) -> None:
    """Before identifiers go: cases and releases name persons by numbers, and for longer."""
    highest = connection.execute(text("SELECT max(number) FROM identifier")).scalar() or 0
    if highest > int(_progress(connection, _HIGHEST_PERSON) or 0):
        _put_progress(connection, _HIGHEST_PERSON, str(highest))


def _begin_anew(connection: Connection) -> None:
    connection.execute(text("DELETE FROM unused"))
    _put_progress(connection, _REACHED, "")


def _progress(connection: Connection, what: int) -> str:
    """What is noted of *what*; "" for nothing."""
    found = connection.execute(
        text("SELECT position FROM progress WHERE id = :id"), {"id": what}
    ).scalar()
    return str(found or "")


def _put_progress(connection: Connection, what: int, says: str) -> None:
    connection.execute(
        text(
            "INSERT INTO progress (id, position) VALUES (:id, :says)"
            " ON CONFLICT (id) DO UPDATE SET position = excluded.position"
        ),
        {"id": what, "says": says},
    )


def _count_unused(connection: Connection, unused: Iterable[tuple[str, str, str]]) -> None:
    counts: dict[tuple[str, str, str], int] = {}
    for key in unused:
        counts[key] = counts.get(key, 0) + 1
    if counts:
        connection.execute(
            text(
                "INSERT INTO unused (reason, unit, day, scans)"
                " VALUES (:reason, :unit, :day, :scans)"
                " ON CONFLICT (reason, unit, day) DO UPDATE"
                " SET scans = unused.scans + excluded.scans"
            ),
            [
                {"reason": reason, "unit": unit, "day": day, "scans": scans}
                for (reason, unit, day), scans in counts.items()
            ],
        )


def _visit(row: Any, place: str) -> Visit:
    return Visit(
        place,
        row.trip,
        row.start,
        row.finish,
        Bound(row.start_bound),
        Bound(row.end_bound),
        bytes(row.entry_scan),
        bytes(row.exit_scan),
    )


_PAST = "time < :before OR time > :ahead AND received < :before"
_PAST_VISITS = (
    "finish < :before OR start > :ahead AND NOT EXISTS"
    " (SELECT 1 FROM sighting WHERE sighting.scan IN (visit.entry_scan, visit.exit_scan))"
)
_ERASED_NOW = text("UPDATE erased_scan SET erased = :now WHERE erased > :ahead")
#: Only those that are looked at by when they came in.
_RECEIVED_NOW = text(
    "UPDATE sighting SET received = :now WHERE time > :ahead AND received > :ahead"
)
_PUT_SIGHTING = text(
    "INSERT INTO sighting (scan, person, time, place, unit, trip, direction, quality, received,"
    " document) VALUES (:scan, :person, :time, :place, :unit, :trip, :direction, :quality,"
    " :received, :document) ON CONFLICT (scan) DO UPDATE SET person = excluded.person,"
    " time = excluded.time, quality = excluded.quality, received = excluded.received"
)
_PUT_VISIT = text(
    "INSERT INTO visit (person, place, trip, start, finish, start_bound, end_bound, entry_scan,"
    " exit_scan) VALUES (:person, :place, :trip, :start, :finish, :start_bound, :end_bound,"
    " :entry_scan, :exit_scan)"
)
_FORGET_VISITS = with_list("DELETE FROM visit WHERE number IN :list")
_SIGHTINGS = with_list(
    "SELECT person, time, place, trip, direction, quality, received, scan FROM sighting"
    " WHERE person IN :list AND time BETWEEN :first AND :last"
)
_VISITS = with_list(
    "SELECT number, person, place, trip, start, finish, start_bound, end_bound, entry_scan,"
    " exit_scan FROM visit WHERE person IN :list AND start BETWEEN :first AND :last"
)
