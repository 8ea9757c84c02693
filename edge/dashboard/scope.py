"""What a manager has: single places, those of a body, those in an area, an operator's vehicles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, get_args

from sqlalchemy import Connection, text

from edge.register import AdminArea, Place

ScopeKind = Literal["body", "area", "operator"]
SCOPE_KINDS: tuple[ScopeKind, ...] = get_args(ScopeKind)


@dataclass(frozen=True)
class Scope:
    """Which places somebody has. What is empty gives none."""

    places: frozenset[str] = field(default=frozenset())
    bodies: frozenset[str] = field(default=frozenset())
    areas: frozenset[str] = field(default=frozenset())
    operators: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(
        cls,
        places: Iterable[str] = (),
        bodies: Iterable[str] = (),
        areas: Iterable[str] = (),
        operators: Iterable[str] = (),
    ) -> "Scope":
        """A scope of these names; empty ones are left out."""
        given = (places, bodies, areas, operators)
        return cls(*(frozenset(name for name in names if name) for names in given))

    def values(self, kind: ScopeKind) -> frozenset[str]:
        """The names of *kind*."""
        return {"body": self.bodies, "area": self.areas, "operator": self.operators}[kind]

    def __bool__(self) -> bool:
        return any((self.places, self.bodies, self.areas, self.operators))

    def among(self, register: Mapping[str, Place], day: date) -> frozenset[str]:
        """The ids of all its places: as they lie on *day*, with those that the register lacks."""
        if not (self.bodies or self.areas or self.operators):
            return self.places
        return self.places | {place.id for place in register.values() if self._has(place, day)}

    def _has(self, place: Place, day: date) -> bool:
        if place.body in self.bodies:
            return True
        if place.vehicle is not None and place.vehicle.operator in self.operators:
            return True
        return not self.areas.isdisjoint(names_of(place.admin_on(day)))


def names_of(area: AdminArea | None) -> list[str]:
    """What *area* and those that it lies in are called, each with all above it."""
    if area is None:
        return []
    levels = [level for level in (area.commune, area.district, area.province) if level]
    return [", ".join(levels[number:]) for number in range(len(levels))]


def choices(register: Mapping[str, Place], day: date) -> dict[ScopeKind, list[str]]:
    """What there is to choose of, by kind."""
    places = register.values()
    vehicles = [place.vehicle for place in places if place.vehicle is not None]
    return {
        "body": sorted({place.body for place in places if place.body}),
        "area": sorted({name for place in places for name in names_of(place.admin_on(day))}),
        "operator": sorted({vehicle.operator for vehicle in vehicles if vehicle.operator}),
    }


def read_scopes(connection: Connection, person: str | None = None) -> dict[str, Scope]:
    """The scope of each person that has one; of *person*, None for all."""
    which = "" if person is None else " WHERE person = :person"
    rows = connection.execute(
        text(
            f"SELECT person, 'place' AS kind, place AS value FROM person_place{which}"
            f" UNION ALL SELECT person, kind, value FROM person_scope{which}"
        ),
        {} if person is None else {"person": person},
    )
    found: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        found.setdefault(row.person, {}).setdefault(row.kind, set()).add(row.value)
    return {
        name: Scope.of(*(kinds.get(kind, ()) for kind in ("place", *SCOPE_KINDS)))
        for name, kinds in found.items()
    }


def keep_scope(connection: Connection, person: str, scope: Scope) -> None:
    """Give *person* this scope and no other."""
    connection.execute(text("DELETE FROM person_place WHERE person = :name"), {"name": person})
    connection.execute(text("DELETE FROM person_scope WHERE person = :name"), {"name": person})
    if scope.places:
        connection.execute(
            text("INSERT INTO person_place (person, place) VALUES (:name, :place)"),
            [{"name": person, "place": place} for place in sorted(scope.places)],
        )
    rows = [
        {"name": person, "kind": kind, "value": value}
        for kind in SCOPE_KINDS
        for value in sorted(scope.values(kind))
    ]
    if rows:
        connection.execute(
            text("INSERT INTO person_scope (person, kind, value) VALUES (:name, :kind, :value)"),
            rows,
        )
