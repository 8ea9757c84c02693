"""Places as people type them: rows of a spreadsheet, and back into one."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from edge.config import explain
from edge.errors import RegisterError
from edge.opening_hours import OpenHours, hours_text, read_hours
from edge.register import AdminArea, Place, Trip, check_place
from edge.tables import Cell, Kind, read_rows, write_table
from edge.trips import TimedTrip, read_trip

#: The columns of a table of places; those behind "kind" may be missing.
COLUMNS = (
    "id",
    "name",
    "kind",
    "address",
    "since",
    "until",
    "province",
    "district",
    "commune",
    "body",
    "hours",
    "plate",
    "route",
    "trips",
    "operator",
)
REQUIRED = COLUMNS[:3]
#: Where a column's value stands in a place: people know the column.
_INSIDE = re.compile(r"^(?:admin\[\d+\]|vehicle)\.")


@dataclass(frozen=True)
class Refused:
    """A row that is no place."""

    row: int  #: as a spreadsheet numbers it
    id: str  #: as it stands there
    why: str


@dataclass(frozen=True)
class PlaceTable:
    """What was in a table. A place of which any row is refused is not among *places*."""

    places: list[Place]
    refused: list[Refused]


def read_places(file: BinaryIO, name: str) -> PlaceTable:
    """The places in a table with a row of column names; several rows of one id are its areas.

    *name*: of the file, for errors. Raises TableError for what is no table of places.
    """
    places: dict[str, Place] = {}
    refused: list[Refused] = []
    for number, row in read_rows(file, name, REQUIRED, COLUMNS):
        try:
            place = place_from(row, f"{name}, row {number}")
            if place.id in places:
                known = places[place.id]
                place = msgspec.structs.replace(known, admin=(*known.admin, *place.admin))
                _check(place, f"{name}, row {number}")
        except RegisterError as err:
            refused.append(Refused(number, row.get("id", "").strip(), str(err)))
        else:
            places[place.id] = place
    wrong = {one.id for one in refused}
    return PlaceTable([place for place in places.values() if place.id not in wrong], refused)


def write_places(out: BinaryIO, kind: Kind, places: Iterable[Place]) -> int:
    """Write *places* as a table that `read_places` reads back; gives how many rows."""
    return write_table(out, kind, COLUMNS, _rows(places), "register")


def place_from(row: Mapping[str, str], source: str) -> Place:
    """The place that *row* tells of; *source* says where it stands, for the error's text.

    Raises RegisterError.
    """
    text = {key: (value or "").strip() for key, value in row.items() if key in COLUMNS}
    table: dict[str, Any] = {
        key: text[key] for key in ("id", "name", "kind", "address", "body") if text.get(key)
    }
    if text.get("commune") or text.get("province"):
        table["admin"] = [_area(text)]
    if text.get("hours"):
        table["hours"] = _openings(text["hours"], source)
    lost = [key for key in ("route", "trips", "operator") if text.get(key)]
    if lost and not text.get("plate"):
        raise RegisterError(f"{source}: {', '.join(lost)} without a plate; give the plate too")
    if text.get("plate"):
        table["vehicle"] = {
            "plate": text["plate"].upper().replace(" ", ""),
            "route": text.get("route", ""),
            "operator": text.get("operator", ""),
            "trips": [_trip(trip, source) for trip in text.get("trips", "").split()],
        }
    try:
        place = msgspec.convert(table, Place, strict=False)
    except msgspec.ValidationError as err:
        why = _INSIDE.sub("", explain(err, table, Place))
        raise RegisterError(f"{source}: {why}") from None
    _check(place, source)
    return place


def trip_text(trip: Trip) -> str:
    """*trip* as a table has it, such as "sang-1@05:30"."""
    if trip.departs is None:
        return trip.id
    return str(TimedTrip(trip.id, trip.departs, trip.arrives, trip.days))


def _check(place: Place, source: str) -> None:
    try:
        check_place(place)
    except RegisterError as err:
        raise RegisterError(f"{source}: {err}") from None


def _area(text: Mapping[str, str]) -> dict[str, Any]:
    area: dict[str, Any] = {
        "since": text.get("since") or "2025-07-01",
        "province": text.get("province", ""),
        "commune": text.get("commune", ""),
    }
    for key in ("until", "district"):
        if text.get(key):
            area[key] = text[key]
    return area


def _openings(text: str, source: str) -> list[dict[str, Any]]:
    try:
        return [
            {"days": hours.days, "opens": hours.opens, "closes": hours.closes}
            for hours in read_hours(text)
        ]
    except ValueError as err:
        raise RegisterError(
            f'{source}: hours {str(err)!r} must be as in "mon-sat 05:00-18:00, sun 06:00-12:00"'
        ) from None


def _trip(text: str, source: str) -> dict[str, Any]:
    if "@" not in text:
        return {"id": text}
    try:
        trip = read_trip(text)
    except ValueError:
        raise RegisterError(
            f"{source}: trip {text!r} must be as in sang-1@05:30, toi-2@23:30-01:10 or"
            " cho@06:00/sat-sun"
        ) from None
    return {
        "id": trip.id,
        "departs": trip.departs,
        "arrives": trip.arrives,
        "days": trip.days,
    }


def _rows(places: Iterable[Place]) -> Iterator[tuple[Cell, ...]]:
    for place in places:
        # The first row has all of it, the others a further area each.
        for area in place.admin or (None,):
            cells = {"id": place.id, "name": place.name, "kind": place.kind}
            if place.vehicle is not None:
                cells["plate"] = place.vehicle.plate
            if area is None or area is place.admin[0]:
                cells |= {"address": place.address, "body": place.body, **_more(place)}
            if area is not None:
                cells |= _area_cells(area)
            yield tuple(cells.get(column, "") for column in COLUMNS)


def _more(place: Place) -> dict[str, str]:
    hours = [OpenHours(one.days, one.opens, one.closes) for one in place.hours]
    found = {"hours": hours_text(hours)}
    if place.vehicle is not None:
        found |= {
            "route": place.vehicle.route,
            "trips": " ".join(trip_text(trip) for trip in place.vehicle.trips),
            "operator": place.vehicle.operator,
        }
    return found


def _area_cells(area: AdminArea) -> dict[str, str]:
    return {
        "since": area.since.isoformat(),
        "until": area.until.isoformat() if area.until else "",
        "province": area.province,
        "district": area.district or "",
        "commune": area.commune,
    }
