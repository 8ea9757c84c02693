"""Groups of units that the office names, and which units a scope means."""

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy

from edge.errors import ControlError
from edge.storage.database import Database
from edge.topics import is_name

#: From the widest to the nearest.
SCOPES = "all, area:NAME, place:NAME, group:NAME or unit:NAME"


class Groups:
    """The table of groups. For one thread; its tables are those of control."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def groups(self) -> dict[str, list[str]]:
        """The units of each group that has any, by name."""
        rows = self._ask(
            "SELECT name, units FROM unit_group g WHERE number ="
            " (SELECT max(number) FROM unit_group n WHERE n.name = g.name) ORDER BY name"
        )
        return {name: units for name, text in rows if (units := json.loads(text))}

    def of_units(self) -> dict[str, list[str]]:
        """The groups of each unit that is in one, in the order of their names."""
        found: dict[str, list[str]] = {}
        for name, units in self.groups().items():
            for unit in units:
                found.setdefault(unit, []).append(name)
        return found

    def set_group(self, name: str, units: Iterable[str], by: str, now: str) -> list[str]:
        """From now on group *name* is *units*, none of them for no group; gives them in order.

        Raises ControlError for a name that cannot be, and for a unit that nobody has heard of.
        """
        if not is_name(name):
            raise ControlError(f"group {name!r} must be 1 to 32 of a-z, 0-9 and inner hyphens")
        wanted = sorted(set(units))
        known = {unit for (unit,) in self._ask("SELECT unit FROM unit")}
        for unit in wanted:
            if unit not in known:
                raise ControlError(
                    f"no unit called {unit!r} was ever heard of; see edge-collector audit"
                )
        with self._database.writing("group units") as connection:
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO unit_group (name, units, set_by, set_at)"
                    " VALUES (:name, :units, :by, :now)"
                ),
                {"name": name, "units": json.dumps(wanted), "by": by, "now": now},
            )
        return wanted

    def history(self, limit: int = 100) -> list[tuple[str, str, str, str]]:
        """(when, who, group, its units as JSON) of what was changed, newest first."""
        return self._ask(
            "SELECT set_at, set_by, name, units FROM unit_group ORDER BY number DESC LIMIT :limit",
            limit=limit,
        )

    def units_of(self, scope: str) -> list[str]:
        """The units that *scope* means now, by name; a name alone is a unit's.

        Raises ControlError for a scope that is none or means nobody.
        """
        kind, _, name = scope.rpartition(":")
        if scope == "all":
            rows = self._ask("SELECT unit FROM unit ORDER BY unit")
        elif kind in ("area", "place") and name:
            rows = self._ask(f"SELECT unit FROM unit WHERE {kind} = :name ORDER BY unit", name=name)
        elif kind == "group" and name:
            rows = [(unit,) for unit in self.groups().get(name, [])]
        elif kind in ("", "unit") and name:
            rows = self._ask("SELECT unit FROM unit WHERE unit = :name", name=name)
        else:
            raise ControlError(f"{scope!r} must be {SCOPES}, or a unit's name")
        if not rows:
            what = f"called {scope!r}" if kind in ("", "unit") else f"of {scope!r}"
            raise ControlError(f"no unit {what} was ever heard of; see edge-collector audit")
        return [unit for (unit,) in rows]

    def _ask(self, sql: str, **values: object) -> list[Any]:
        with self._database.reading("group units") as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(sql), values)]
