"""What storage knows of units, as whoever watches over them asks for it."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, text

_COLUMNS = (
    "unit, area, state, place, direction, software, last_scan, seen, unsynced, doubled, taken_over,"
    " synced + corrected + unsynced AS scans,"
    " health"
)


class FleetUnit(msgspec.Struct, frozen=True):
    """A unit: what it said last, and when."""

    unit: str
    area: str
    state: str  #: online, stopped, offline, retired, or unknown
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


def units(connection: Connection, places: Iterable[str] | None = None) -> list[FleetUnit]:
    """Every unit that was ever heard of, by name; of *places*, None for all."""
    if places is None:
        rows = connection.execute(text(f"SELECT {_COLUMNS} FROM unit ORDER BY unit"))
    else:
        statement = text(f"SELECT {_COLUMNS} FROM unit WHERE place IN :places ORDER BY unit")
        rows = connection.execute(
            statement.bindparams(bindparam("places", expanding=True)), {"places": sorted(places)}
        )
    return [_unit(row) for row in rows.all()]


def unit_named(connection: Connection, name: str) -> FleetUnit | None:
    """The unit *name*, if it was ever heard of."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM unit WHERE unit = :name"), {"name": name}
    ).one_or_none()
    return None if row is None else _unit(row)


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _unit(row: Row[Any]) -> FleetUnit:
    fields: list[Any] = list(row)
    health = fields[-1]
    try:
        fields[-1] = _decode(health) if health else {}
    except msgspec.MsgspecError:
        # Of a collector that is newer, or older, than this.
        fields[-1] = {}
    return FleetUnit(*fields)
