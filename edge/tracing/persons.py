"""Persons: tokens that documents showed together.

Two groups are joined when one document shows a token of each, unless each has a 12-digit number of
its own: nobody has two, so that is two cards in one hand or a forged code, and it is noted instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, text

from edge.messages import DocumentKind
from edge.tracing.listed import rows_of
from edge.tracing.tokens import Token
from edge.tracing.visits import Sighting

#: So many namesakes are remembered as written, to save writing them again.
CACHED = 200_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A scan whose seal was opened: its tokens and where it was, and nothing else of the person."""

    tokens: tuple[Token, ...]
    #: The weak token of name and birth year, if there is one.
    namesake: Token | None
    unit: str
    document: DocumentKind
    sighting: Sighting


class PersonsOfBatch:
    """The persons of one batch, found or made by their tokens."""

    def __init__(
        self, connection: Connection, namesakes: set[tuple[bytes, int]], highest: int
    ) -> None:
        """*highest*: no number up to this is given to anybody new."""
        self._connection = connection
        self._highest = highest
        self._namesakes = namesakes
        #: token -> (number, person, kind)
        self._known: dict[bytes, tuple[int, int, str]] = {}
        self._new: list[dict[str, Any]] = []
        self._links: dict[tuple[int, int], dict[str, Any]] = {}
        self._joined: dict[int, int] = {}
        self._next = 0
        #: person -> the earliest and latest time that changed
        self.touched: dict[int, tuple[int, int]] = {}

    def touch(self, person: int, time: int) -> None:
        """Note that something of *person* changed at *time*."""
        person = self.joined(person)
        first, last = self.touched.get(person, (time, time))
        self.touched[person] = (min(first, time), max(last, time))

    def joined(self, person: int) -> int:
        """Whom *person* was joined with in this batch, or themself."""
        while person in self._joined:
            person = self._joined[person]
        return person

    def persons(self, opened: Sequence[Opened]) -> list[int]:
        """The person of each scan; new tokens, links and namesakes are written."""
        self._look_up({t.value for item in opened for t in _tokens(item)})
        found = [self._person(item) for item in opened]
        if self._new:
            self._connection.execute(_PUT_IDENTIFIER, self._new)
        if self._links:
            self._connection.execute(_PUT_LINK, list(self._links.values()))
        self._note_namesakes(opened, found)
        return found

    def _look_up(self, tokens: set[bytes]) -> None:
        newest = self._connection.execute(text("SELECT max(number) FROM identifier")).scalar() or 0
        self._next = 1 + max(newest, self._highest)
        for row in rows_of(
            self._connection,
            "SELECT token, number, person, kind FROM identifier WHERE token IN :list",
            sorted(tokens),
        ):
            self._known[bytes(row.token)] = (row.number, row.person, row.kind)

    def _person(self, item: Opened) -> int:
        tokens = _tokens(item)
        known = [self._known[t.value] for t in tokens if t.value in self._known]
        persons = list(dict.fromkeys(self.joined(person) for _, person, _ in known))
        if not persons:
            person = self._next
            for token in tokens:
                self._make(token, person)
        elif len(persons) == 1 and len(known) == len(tokens):
            return persons[0]
        elif self._pins(tokens, persons) > 1:
            return self._keep_apart(item, tokens, persons)
        else:
            person = min(persons)
            for other in persons:
                if other != person:
                    self._join(other, person)
            for token in tokens:
                if token.value not in self._known:
                    self._make(token, person)
        self._link(item, tokens)
        return person

    def _make(self, token: Token, person: int) -> None:
        self._known[token.value] = (self._next, person, token.kind)
        self._new.append(
            {"number": self._next, "kind": token.kind, "token": token.value, "person": person}
        )
        self._next += 1

    def _pins(self, tokens: Sequence[Token], persons: Sequence[int]) -> int:
        """How many 12-digit numbers there would be in one person."""
        pins = {token.value for token in tokens if token.kind == "pin"}
        pins |= {
            value
            for value, (_, person, kind) in self._known.items()
            if kind == "pin" and self.joined(person) in persons
        }
        for row in rows_of(
            self._connection,
            "SELECT token FROM identifier WHERE kind = 'pin' AND person IN :list",
            list(persons),
        ):
            pins.add(bytes(row.token))
        return len(pins)

    def _keep_apart(self, item: Opened, tokens: Sequence[Token], persons: Sequence[int]) -> int:
        strongest = tokens[0]
        if strongest.value not in self._known:
            self._make(strongest, self._next)
        _, person, _ = self._known[strongest.value]
        other = next((p for p in persons if p != self.joined(person)), person)
        self._connection.execute(
            text(
                "INSERT INTO conflict (scan, time, document, one, other)"
                " VALUES (:scan, :time, :document, :one, :other) ON CONFLICT DO NOTHING"
            ),
            {
                "scan": item.sighting.scan,
                "time": item.sighting.time,
                "document": item.document,
                "one": self.joined(person),
                "other": other,
            },
        )
        return self.joined(person)

    def _join(self, other: int, person: int) -> None:
        """Make *other* and *person* one. Rare: once for two kinds of document of one person."""
        self._joined[other] = person
        names = {"other": other, "person": person}
        for table in ("identifier", "sighting", "visit"):
            self._connection.execute(
                text(f"UPDATE {table} SET person = :person WHERE person = :other"), names
            )
        self._connection.execute(
            text(
                "INSERT INTO namesake (token, person) SELECT token, :person FROM namesake"
                " WHERE person = :other ON CONFLICT DO NOTHING"
            ),
            names,
        )
        self._connection.execute(text("DELETE FROM namesake WHERE person = :other"), names)
        self._connection.execute(
            text(
                "INSERT INTO case_person (case_id, person, ring) SELECT case_id, :person, ring"
                " FROM case_person WHERE person = :other ON CONFLICT (case_id, person) DO UPDATE"
                # Who is nearer stays so.
                " SET ring = CASE WHEN excluded.ring < case_person.ring THEN excluded.ring"
                " ELSE case_person.ring END"
            ),
            names,
        )
        self._connection.execute(text("DELETE FROM case_person WHERE person = :other"), names)
        for row in self._new:
            if row["person"] == other:
                row["person"] = person
        times = self._connection.execute(
            text("SELECT min(time), max(time) FROM sighting WHERE person = :person"), names
        ).one()
        for time in times:
            if time is not None:
                self.touch(person, time)
        if other in self.touched:
            for time in self.touched.pop(other):
                self.touch(person, time)

    def _link(self, item: Opened, tokens: Sequence[Token]) -> None:
        numbers = sorted(self._known[token.value][0] for token in tokens)
        for one, other in pairwise(numbers):
            self._links.setdefault(
                (one, other),
                {
                    "one": one,
                    "other": other,
                    "scan": item.sighting.scan,
                    "document": item.document,
                },
            )

    def _note_namesakes(self, opened: Sequence[Opened], persons: Sequence[int]) -> None:
        new = set()
        for item, person in zip(opened, persons, strict=True):
            if item.namesake is not None and item.tokens:
                new.add((item.namesake.value, self.joined(person)))
        new -= self._namesakes
        if len(self._namesakes) > CACHED:
            self._namesakes.clear()
        self._namesakes |= new
        if new:
            self._connection.execute(
                text(
                    "INSERT INTO namesake (token, person) VALUES (:token, :person)"
                    " ON CONFLICT DO NOTHING"
                ),
                [{"token": token, "person": person} for token, person in sorted(new)],
            )


def _tokens(item: Opened) -> tuple[Token, ...]:
    """By what somebody is filed: a name alone only where there is nothing else."""
    if item.tokens or item.namesake is None:
        return item.tokens
    return (item.namesake,)


_PUT_IDENTIFIER = text(
    "INSERT INTO identifier (number, kind, token, person) VALUES (:number, :kind, :token, :person)"
)
_PUT_LINK = text(
    "INSERT INTO link (one, other, scan, document) VALUES (:one, :other, :scan, :document)"
    " ON CONFLICT DO NOTHING"
)
