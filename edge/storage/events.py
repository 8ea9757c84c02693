"""What happened to each unit, one line for each change, for whoever has to find out why."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from edge.storage.writing import Writing

#: So many events of a unit are kept; one that flaps pushes out only its own.
KEEP = 200


@dataclass(frozen=True)
class UnitEvent:
    """Something that happened to a unit."""

    at: str  #: UTC
    kind: str  #: online, stopped, offline, or doubled
    detail: str  #: software and place as announced


def note(writing: Writing, unit: str, kind: str, detail: str) -> None:
    """Add an event of *unit*, and let go of the oldest.

    One that only says again what the last one said is left out; going online is always new.
    """
    writing.change(
        "INSERT INTO unit_event (unit, at, kind, detail)"
        " SELECT CAST(:unit AS TEXT), CAST(:now AS TEXT), CAST(:kind AS TEXT),"
        " CAST(:detail AS TEXT) WHERE CAST(:kind AS TEXT) = 'online' OR CAST(:kind AS TEXT) <>"
        " coalesce((SELECT kind FROM unit_event WHERE unit = CAST(:unit AS TEXT)"
        " ORDER BY number DESC LIMIT 1), '')",
        unit=unit,
        now=writing.now,
        kind=kind,
        detail=detail,
    )
    writing.change(
        "DELETE FROM unit_event WHERE unit = :unit AND number <= (SELECT number FROM unit_event"
        " WHERE unit = :unit ORDER BY number DESC LIMIT 1 OFFSET :keep)",
        unit=unit,
        keep=KEEP,
    )


def at_place_since(connection: Connection, unit: str, place: str) -> str | None:
    """Since when *unit* has been at *place*, UTC, as far as its events that are kept tell.

    None where the newest of them does not tell of it there.
    """
    since = None
    for event in events_of(connection, unit, KEEP):
        # What is noted ends with the place that was announced.
        if event.detail.rpartition(" ")[2] != place:
            break
        since = event.at
    return since


def events_of(connection: Connection, unit: str, most: int = 50) -> list[UnitEvent]:
    """The newest events of *unit*, the newest first."""
    rows = connection.execute(
        text(
            "SELECT at, kind, detail FROM unit_event WHERE unit = :unit"
            " ORDER BY number DESC LIMIT :most"
        ),
        {"unit": unit, "most": most},
    )
    return [UnitEvent(*row) for row in rows]
