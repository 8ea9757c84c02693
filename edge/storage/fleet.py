"""What storage knows of units, as whoever watches over them asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, text

_COLUMNS = (
    "unit, area, state, place, direction, software, last_scan, seen, unsynced, doubled, taken_over,"
    " synced + corrected + unsynced AS scans,"
    " health"
)


@dataclass(frozen=True)
class FleetUnit:
    """A unit: what it said last, and when."""

    unit: str
    area: str
    state: str  #: online, stopped, offline, or unknown
    place: str
    direction: str
    software: str
    last_scan: str | None  #: when its last scan came in, UTC
    seen: str | None  #: when it last said anything itself, UTC
    unsynced: int  #: scans whose time is not known
    doubled: str | None  #: when a number last came with a second id
    taken_over: str | None  #: when an earlier boot last came back
    scans: int  #: how many rows it has
    #: Its last health message as it came; a unit of other software may say more or less.
    health: Mapping[str, Any]


def units(connection: Connection) -> list[FleetUnit]:
    """Every unit that was ever heard of, by name."""
    return [
        _unit(row) for row in connection.execute(text(f"SELECT {_COLUMNS} FROM unit ORDER BY unit"))
    ]


def unit_named(connection: Connection, name: str) -> FleetUnit | None:
    """The unit *name*, if it was ever heard of."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM unit WHERE unit = :name"), {"name": name}
    ).one_or_none()
    return None if row is None else _unit(row)


def _unit(row: Any) -> FleetUnit:
    fields = dict(row._mapping)
    health = fields.pop("health")
    try:
        said = msgspec.json.decode(health) if health else {}
    except msgspec.DecodeError:
        said = {}
    return FleetUnit(**fields, health=said if isinstance(said, dict) else {})
