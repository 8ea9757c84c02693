"""Places as people type them: a row of a table, or the options of a command."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import ProvisionError, RegisterError
from edge.register import DAYS, Place, check_place

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
)
_HOURS = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? )?([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})")
#: A province has fewer places than this.
_TABLE_BYTES = 50_000_000


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
        table["hours"] = [_opening(part.strip(), source) for part in text["hours"].split(",")]
    if text.get("plate"):
        table["vehicle"] = {
            "plate": text["plate"].upper().replace(" ", ""),
            "route": text.get("route", ""),
            "trips": [_trip(trip) for trip in text.get("trips", "").split()],
        }
    try:
        place = msgspec.convert(table, Place, strict=False)
        check_place(place)
    except (msgspec.ValidationError, RegisterError) as err:
        raise RegisterError(f"{source}: {err}") from None
    return place


def places_from_table(path: Path) -> list[Place]:
    """The places in a table with a line of column names; several lines of one id are its areas.

    Raises RegisterError that names file and line, and takes nothing then.
    """
    places: dict[str, Place] = {}
    for number, row in rows(path, ("id", "name", "kind"), COLUMNS):
        place = place_from(row, f"{path}, line {number}")
        if place.id in places:
            known = places[place.id]
            place = msgspec.structs.replace(known, admin=(*known.admin, *place.admin))
            try:
                check_place(place)
            except RegisterError as err:
                raise RegisterError(f"{path}, line {number}: {err}") from None
        places[place.id] = place
    return list(places.values())


def rows(
    path: Path, required: tuple[str, ...], known: tuple[str, ...]
) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV with their numbers, each as column to text. Raises ProvisionError."""
    try:
        if path.stat().st_size > _TABLE_BYTES:
            raise ProvisionError(f"{path}: too large for such a table")
        # The BOM that Excel writes, and the separator of a Vietnamese one.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise ProvisionError(f"{path}: cannot read it as text in UTF-8: {err}") from err
    head = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=";" if ";" in head else ",", strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or []]
        if missing := [name for name in required if name not in columns]:
            raise ProvisionError(f"{path}: there is no column {missing[0]!r} in the first line")
        if unknown := [name for name in columns if name not in known]:
            raise ProvisionError(
                f"{path}: column {unknown[0]!r} is not known; they are {', '.join(known)}"
            )
        reader.fieldnames = columns
        return [
            (reader.line_num, {key: value or "" for key, value in row.items() if key})
            for row in reader
        ]
    except csv.Error as err:
        raise ProvisionError(f"{path}, line {reader.line_num}: {err}") from None


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


def _opening(text: str, source: str) -> dict[str, Any]:
    match = _HOURS.fullmatch(text)
    if not match or any(day and day not in DAYS for day in match.group(1, 2)):
        raise RegisterError(
            f'{source}: hours {text!r} must be as in "mon-sat 05:00-18:00, sun 06:00-12:00"'
        )
    first, last, opens, closes = match.groups()
    days: list[str] = list(DAYS)
    if first:
        begin, end = days.index(first), days.index(last or first)
        days = days[begin : end + 1] if begin <= end else days[begin:] + days[: end + 1]
    return {"days": days, "opens": f"{opens}:00", "closes": f"{closes}:00"}


def _trip(text: str) -> dict[str, Any]:
    name, _, departs = text.partition("@")
    return {"id": name, "departs": f"{departs}:00"} if departs else {"id": name}
