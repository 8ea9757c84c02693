"""A register that somebody hands in: read, compared with the one there is, then taken.

A file can take out or bend a thousand places at once, so what it would do is shown first. It waits
in storage meanwhile, and is taken only if the register has not changed since.
"""

import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import text

from edge.clock import utc_seconds, utc_text
from edge.errors import RegisterError
from edge.opening_hours import OpenHours, hours_text
from edge.place_table import Refused, read_places, trip_text
from edge.register import Place, Register, check_place
from edge.storage.database import Database
from edge.storage.places import Change, Places, keep_register
from edge.tables import check_unpacked

#: What nobody takes is forgotten after this.
KEPT_S = 86_400.0


@dataclass(frozen=True)
class HandedIn:
    """What was in a file."""

    places: list[Place]
    refused: list[Refused]


@dataclass(frozen=True)
class Difference:
    """Something of a place that would be another: before, after. Texts as a table has them."""

    what: str  #: a field of Place
    before: str
    after: str


@dataclass(frozen=True)
class Preview:
    """What taking a file would do."""

    places: list[Place]  #: that would be put in
    added: list[Place]
    changed: list[tuple[Place, list[Difference]]]
    removed: list[Place]
    same: int
    refused: list[Refused]

    @property
    def does_something(self) -> bool:
        """Whether there is anything to take."""
        return bool(self.added or self.changed or self.removed)


#: What a spreadsheet may have when it is unpacked: the pages share their memory with all who look.
MAX_UNPACKED_BYTES = 30_000_000


def read_handed_in(content: bytes, name: str) -> HandedIn:
    """The places in a register.json, CSV or XLSX called *name*.

    Raises RegisterError or TableError for what is none of these.
    """
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _read_json(content)
    file = io.BytesIO(content)
    check_unpacked(file, name, MAX_UNPACKED_BYTES)
    found = read_places(file, name)
    return HandedIn(found.places, found.refused)


def compare(before: Mapping[str, Place], handed_in: HandedIn, *, remove: bool) -> Preview:
    """What *handed_in* would change. A place of a refused row is never removed."""
    changed: list[tuple[Place, list[Difference]]] = []
    added, kept = [], []
    for place in handed_in.places:
        known = before.get(place.id)
        different = differences(known, place) if known is not None else []
        if known is None:
            added.append(place)
        elif different:
            changed.append((place, different))
        # The same hours can be written in several ways: what tells the same stays as it is.
        kept.append(place if known is None or different else known)
    there = {place.id for place in kept} | {one.id for one in handed_in.refused}
    gone = [place for name, place in before.items() if name not in there]
    same = len(kept) - len(added) - len(changed)
    return Preview(kept, added, changed, gone if remove else [], same, handed_in.refused)


def differences(before: Place, after: Place) -> list[Difference]:
    """What of a place differs, in the order in which a place has it."""
    return [
        Difference(name, old, new)
        for (name, old), new in zip(_texts(before).items(), _texts(after).values(), strict=True)
        if old != new
    ]


class Drafts:
    """Registers that wait to be taken. For any thread."""

    def __init__(self, database: Database, places: Places) -> None:
        self._database, self._places = database, places

    def keep(self, preview: Preview, person: str, now: str, *, remove: bool) -> str:
        """Keep what is shown; gives under which name."""
        name = secrets.token_urlsafe(18)
        register = Register(places=tuple(preview.places))
        with self._database.writing("keep a register that was handed in") as connection:
            connection.execute(
                text("DELETE FROM register_draft WHERE made < :old OR person = :person"),
                {"old": utc_text(utc_seconds(now) - KEPT_S), "person": person},
            )
            connection.execute(
                text(
                    "INSERT INTO register_draft (id, person, made, version, remove, content)"
                    " VALUES (:id, :person, :now, :version, :remove, :content)"
                ),
                {
                    "id": name,
                    "person": person,
                    "now": now,
                    "version": self._places.version(connection),
                    "remove": int(remove),
                    "content": msgspec.json.encode(register).decode(),
                },
            )
        return name

    def take(self, name: str, person: str, now: str) -> Change:
        """Make the register what *person* was shown as *name*. Raises RegisterError if it is gone,
        or if the register has changed since."""
        with self._database.writing("take a register") as connection:
            row = connection.execute(
                text(
                    "SELECT version, remove, content FROM register_draft"
                    " WHERE id = :id AND person = :person"
                ),
                {"id": name, "person": person},
            ).one_or_none()
            version = self._places.version(connection)
            connection.execute(text("DELETE FROM register_draft WHERE id = :id"), {"id": name})
        if row is None:
            raise RegisterError("what was handed in is no longer there; hand it in once more")
        if row.version != version:
            raise RegisterError("the register has changed meanwhile; hand the file in once more")
        register = msgspec.json.decode(row.content, type=Register)
        return keep_register(self._database, register, now, remove=bool(row.remove))


def _read_json(content: bytes) -> HandedIn:
    try:
        register = msgspec.json.decode(content, type=Register)
    except msgspec.DecodeError as err:
        raise RegisterError(f"register.json: {err}") from None
    seen: set[str] = set()
    for place in register.places:
        check_place(place)
        if place.id in seen:
            raise RegisterError(f"register.json: place {place.id} stands there twice")
        seen.add(place.id)
    return HandedIn(list(register.places), [])


def _texts(place: Place) -> dict[str, str]:
    areas = [
        ", ".join(part for part in (area.commune, area.district, area.province) if part)
        + f" ({area.since} – {area.until or ''})"
        for area in place.admin
    ]
    vehicle = place.vehicle
    trips = [] if vehicle is None else [trip_text(trip) for trip in vehicle.trips]
    return {
        "name": place.name,
        "kind": place.kind,
        "address": place.address,
        "admin": "; ".join(areas),
        "body": place.body,
        "hours": hours_text(OpenHours(one.days, one.opens, one.closes) for one in place.hours),
        "vehicle": ""
        if vehicle is None
        else " · ".join(
            part for part in (vehicle.plate, vehicle.route, vehicle.operator, *trips) if part
        ),
    }
