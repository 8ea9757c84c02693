"""Places as people type them: a row of a table, or the options of a command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.config import explain
from edge.errors import ProvisionError, RegisterError
from edge.opening_hours import read_hours
from edge.register import Place, check_place
from edge.tables import read_table
from edge.trips import read_trip

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
    if text.get("plate"):
        table["vehicle"] = {
            "plate": text["plate"].upper().replace(" ", ""),
            "route": text.get("route", ""),
            "operator": text.get("operator", ""),
            "trips": [_trip(trip, source) for trip in text.get("trips", "").split()],
        }
    try:
        place = msgspec.convert(table, Place, strict=False)
        check_place(place)
    except msgspec.ValidationError as err:
        raise RegisterError(f"{source}: {explain(err, table, Place)}") from None
    except RegisterError as err:
        raise RegisterError(f"{source}: {err}") from None
    return place


def places_from_table(path: Path) -> list[Place]:
    """The places in a table with a row of column names; several rows of one id are its areas.

    Raises RegisterError that names file and row, and takes nothing then.
    """
    places: dict[str, Place] = {}
    for number, row in rows(path, ("id", "name", "kind"), COLUMNS):
        place = place_from(row, f"{path}, row {number}")
        if place.id in places:
            known = places[place.id]
            place = msgspec.structs.replace(known, admin=(*known.admin, *place.admin))
            try:
                check_place(place)
            except RegisterError as err:
                raise RegisterError(f"{path}, row {number}: {err}") from None
        places[place.id] = place
    return list(places.values())


def rows(
    path: Path, required: tuple[str, ...], known: tuple[str, ...]
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table (CSV, XLSX) with their numbers, each as column to text.

    Rows without any text are not counted. Raises TableError or ProvisionError.
    """
    try:
        with path.open("rb") as file:
            table = list(read_table(file, str(path)))
    except OSError as err:
        raise ProvisionError(f"{path}: cannot read it: {err.strerror}") from err
    columns = [name.lower() for name in table[0]] if table else []
    if missing := [name for name in required if name not in columns]:
        raise ProvisionError(f"{path}: there is no column {missing[0]!r} in the first row")
    if unknown := [name for name in columns if name and name not in known]:
        raise ProvisionError(
            f"{path}: column {unknown[0]!r} is not known; they are {', '.join(known)}"
        )
    return [
        (number, dict(zip(columns, row, strict=False)))
        for number, row in enumerate(table[1:], start=2)
    ]


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
