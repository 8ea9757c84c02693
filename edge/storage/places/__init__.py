"""The register of places in storage, and on which days each place was heard of."""

from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
from sqlalchemy import Connection, text

from edge.clock import utc_seconds, utc_text
from edge.errors import RegisterError
from edge.register import Place, Register, check_place
from edge.storage.database import Database
from edge.storage.summaries import LOCAL


@dataclass(frozen=True)
class Change:
    """What an import did to the register, as ids of places."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class Places:
    """The register, kept in memory until storage says that it has changed. For any thread."""

    def __init__(self) -> None:
        # One tuple, replaced as a whole: threads see the old one or the new one.
        self._kept: tuple[int, dict[str, Place]] = (-1, {})

    def all(self, connection: Connection) -> dict[str, Place]:
        """Every registered place, by its id, in order. Not to be changed."""
        version = self.version(connection)
        if self._kept[0] != version:
            rows = connection.execute(text("SELECT place, record FROM place ORDER BY place"))
            decode = msgspec.json.Decoder(Place).decode
            self._kept = (version, {row.place: decode(row.record) for row in rows})
        return self._kept[1]

    def version(self, connection: Connection) -> int:
        """Grows with every change of the register."""
        found = connection.execute(text("SELECT version FROM place_register")).scalar_one()
        return int(found)


def keep_register(
    database: Database, register: Register, now: str, *, remove: bool = False
) -> Change:
    """Put the places of *register* in, each in place of the one of its id; on disk when this ends.

    *remove*: take out those that it does not have; otherwise they stay. Raises RegisterError for a
    place that cannot be, and then changes nothing.
    """
    for place in register.places:
        check_place(place)
    records = {place.id: msgspec.json.encode(place).decode() for place in register.places}
    if len(records) != len(register.places):
        raise RegisterError("the register has a place twice; nothing was changed")
    with database.writing("keep the register") as connection:
        before = {
            row.place: row.record
            for row in connection.execute(text("SELECT place, record FROM place"))
        }
        added = tuple(sorted(records.keys() - before.keys()))
        changed = tuple(
            sorted(name for name in records.keys() & before.keys() if records[name] != before[name])
        )
        removed = tuple(sorted(before.keys() - records.keys())) if remove else ()
        for name in (*changed, *removed):
            connection.execute(text("DELETE FROM place WHERE place = :place"), {"place": name})
        if added or changed:
            connection.execute(
                text("INSERT INTO place (place, record, changed) VALUES (:place, :record, :now)"),
                [
                    {"place": name, "record": records[name], "now": now}
                    for name in (*added, *changed)
                ],
            )
        connection.execute(text("UPDATE place_register SET version = version + 1"))
    return Change(added, changed, removed)


def note_heard(database: Database, now: str) -> None:
    """Note for the local day of *now* which units have been heard of in it.

    To be called every minute or so: a unit whose only sign of a day came within the last of these
    before midnight is not noted.
    """
    today = _local_day(now)
    midnight = utc_text(utc_seconds(f"{today}T00:00:00+00:00") - LOCAL.total_seconds())
    with database.writing("note who was heard of") as connection:
        connection.execute(
            text(
                "INSERT INTO heard_by_day (day, unit, place)"
                " SELECT :day, unit, place FROM unit WHERE seen >= :midnight AND seen < :next"
                " AND place <> ''"
                " ON CONFLICT (day, unit) DO NOTHING"
            ),
            # By a clock that is behind all were heard of later.
            {"day": today, "midnight": midnight, "next": utc_text(utc_seconds(midnight) + 86_400)},
        )


def heard_of(connection: Connection, first: date, last: date) -> set[str]:
    """The places of which a unit was heard of on any day from *first* to *last*."""
    rows = connection.execute(
        text("SELECT DISTINCT place FROM heard_by_day WHERE day BETWEEN :first AND :last"),
        {"first": first.isoformat(), "last": last.isoformat()},
    )
    return {row.place for row in rows}


def _local_day(now: str) -> str:
    return utc_text(utc_seconds(now) + timedelta(hours=7).total_seconds())[:10]
