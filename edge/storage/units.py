"""What is known of each unit, from its scans and from what it says of itself."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sqlalchemy

from edge.messages import Health, Status
from edge.ranges import Ranges
from edge.storage import events, stops
from edge.storage.rows import Report, UnitRow, UnitScans
from edge.storage.writing import Question, Writing

log = logging.getLogger(__name__)

#: Two units under one name are noticed if both announced themselves within so many sessions.
KEEP_SESSIONS = 20


@dataclass
class Tally:
    """What a batch brought that was not there."""

    #: New rows, by unit and quality of time.
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Numbers newly held, by unit.
    numbers: Counter[str] = field(default_factory=Counter)

    def of(self, unit: str) -> int:
        """New rows of *unit*."""
        rows = self.rows
        return rows[unit, "synced"] + rows[unit, "corrected"] + rows[unit, "unsynced"]

    def total(self) -> int:
        """New rows of all units."""
        return self.rows.total()

    def doubled(self) -> dict[str, int]:
        """How many rows have a number that others have too, by unit."""
        if self.rows.total() == self.numbers.total():
            return {}
        more = {unit: self.of(unit) - self.numbers[unit] for unit, _ in self.rows}
        return {unit: count for unit, count in more.items() if count}


def lock(writing: Writing, units: Iterable[tuple[str, str]]) -> None:
    """Have *units* (name, area) for this transaction alone, and make those that are new."""
    wanted = sorted(set(units))
    make_missing(writing, wanted, *writing.ask_together(locking(writing, wanted)))


def locking(writing: Writing, wanted: Sequence[tuple[str, str]]) -> Question:
    """Asks which of the units *wanted* (name, area) there are, and locks them.

    What is kept of a unit (its numbers, boots, sessions, counts) is read and then changed. All who
    write take its row first, and in one order, so that nobody waits in a circle. A transaction of
    SQLite has everything for itself.
    """
    given = writing.database.given(unit=str, area=str)
    lock = " FOR UPDATE OF unit" if writing.database.engine == "postgresql" else ""
    return (
        f"SELECT unit.unit FROM {given} g JOIN unit ON unit.unit = g.unit ORDER BY unit.unit{lock}",
        wanted,
        {},
    )


def make_missing(
    writing: Writing, wanted: Sequence[tuple[str, str]], locked: Iterable[tuple[str, ...]]
) -> bool:
    """Make and lock those of *wanted* that are not among the *locked*; whether there were any."""
    there = {unit for (unit,) in locked}
    new = list({unit: area for unit, area in wanted if unit not in there}.items())
    if new:
        writing.change(
            "INSERT INTO unit (unit, area)"
            f" SELECT unit, area FROM {writing.database.given(unit=str, area=str)} g"
            " ORDER BY unit ON CONFLICT DO NOTHING",
            new,
        )
        writing.ask_together(locking(writing, new))
    return bool(new)


def note_scans(writing: Writing, came: Sequence[UnitScans], tally: Tally, *, by_hand: bool) -> None:
    """Count the scans that *came* for their units, which were seen if it was not *by_hand*."""
    counts: Counter[str] = Counter()
    areas: dict[str, str] = {}
    for area, unit, scans in came:
        counts[unit] += len(scans)
        areas[unit] = area
    counted = {"synced": int, "corrected": int, "unsynced": int, "repeats": int, "doubles": int}
    given = writing.database.given(unit=str, area=str, **counted)
    writing.change_at_end(
        f"""
        INSERT INTO unit (unit, area, last_scan, seen, synced, corrected, unsynced, repeats,
                          doubles, doubled)
        SELECT unit, area, CAST(:now AS TEXT), CAST(:seen AS TEXT), synced, corrected, unsynced,
               repeats, doubles, CASE WHEN doubles > 0 THEN CAST(:now AS TEXT) END
        FROM {given} g WHERE true ORDER BY unit
        ON CONFLICT (unit) DO UPDATE SET
            last_scan = excluded.last_scan, seen = coalesce(excluded.seen, unit.seen),
            synced = unit.synced + excluded.synced,
            corrected = unit.corrected + excluded.corrected,
            unsynced = unit.unsynced + excluded.unsynced,
            repeats = unit.repeats + excluded.repeats, doubles = unit.doubles + excluded.doubles,
            doubled = coalesce(excluded.doubled, unit.doubled)
        """,
        [
            (
                unit,
                areas[unit],
                tally.rows[unit, "synced"],
                tally.rows[unit, "corrected"],
                tally.rows[unit, "unsynced"],
                count - tally.of(unit),
                tally.of(unit) - tally.numbers[unit],
            )
            for unit, count in counts.items()
        ],
        now=writing.now,
        seen=None if by_hand else writing.now,
    )


def note_reports(writing: Writing, reports: Sequence[Report]) -> None:
    """Keep what units said of themselves, in their order."""
    if not reports:
        return
    _note_seen(writing, reports)
    _note_health(writing, reports)
    for report in reports:
        message = report.message
        if isinstance(message, Status):
            _note_status(writing, report, message)
        elif message.on_board is not None:
            stops.note(writing, report.unit, message.on_board.stops)


def _note_seen(writing: Writing, reports: Sequence[Report]) -> None:
    seen: dict[str, tuple[str, str | None]] = {}
    for report in reports:
        message, (_, before) = report.message, seen.get(report.unit, ("", None))
        from_itself = not (isinstance(message, Status) and message.state == "offline")
        is_there = from_itself and not report.retained
        seen[report.unit] = (report.area, writing.now if is_there else before)
    writing.change(
        "INSERT INTO unit (unit, area, seen) SELECT unit, area, seen"
        f" FROM {writing.database.given(unit=str, area=str, seen=str)} g WHERE true ORDER BY unit"
        " ON CONFLICT (unit) DO UPDATE SET seen = coalesce(excluded.seen, unit.seen)",
        [(unit, area, at) for unit, (area, at) in seen.items()],
    )


def _note_health(writing: Writing, reports: Sequence[Report]) -> None:
    # In one statement: the units of a province say so 250 times a second, and scan 78 times.
    newest = {
        report.unit: report.message.encode().decode()
        for report in reports
        if isinstance(report.message, Health)
    }
    if newest:
        writing.change(
            "UPDATE unit SET health = g.health"
            f" FROM {writing.database.given(unit=str, health=str)} g WHERE unit.unit = g.unit",
            list(newest.items()),
        )


def _note_status(writing: Writing, report: Report, message: Status) -> None:
    values = {"unit": report.unit, "area": report.area}
    if _is_news(writing, report.unit, message):
        events.note(writing, report.unit, message.state, f"{message.software} {message.place}")
        writing.change(
            """
            UPDATE unit SET area = :area, epoch = :epoch, boot = :boot,
                -- Its goodbye does not undo that it was retired; that it is back does.
                state = CASE WHEN state = 'retired' AND CAST(:state AS TEXT) <> 'online'
                             THEN state ELSE :state END,
                birth = :birth, place = :place, direction = :direction, software = :software,
                centre = :centre
            WHERE unit = :unit
            """,
            **values,
            state=message.state,
            epoch=message.epoch,
            boot=message.boot,
            birth=message.birth,
            place=message.place,
            direction=message.direction,
            software=message.software,
            centre=",".join(message.centre),
        )


def _is_news(writing: Writing, unit: str, status: Status) -> bool:
    """Whether *status* tells how the unit is, or is of a session that has been followed."""
    sessions = writing.ask(
        "SELECT birth, turn FROM session WHERE unit = :unit AND epoch = :epoch AND boot = :boot",
        unit=unit,
        epoch=status.epoch,
        boot=status.boot,
    )
    session = tuple(sessions[0]) if sessions else None
    if status.state == "online":
        # What a broker delivers twice is none; births grow within an epoch's boot.
        if session is not None and status.birth <= session[0]:
            return False
        _announced(writing, unit, status, session)
        return True
    epoch, birth = writing.ask("SELECT epoch, birth FROM unit WHERE unit = :unit", unit=unit)[0]
    # Births of different epochs cannot be compared; a known one has been followed by this.
    return bool(status.birth >= birth if status.epoch == epoch else session is None)


def _announced(
    writing: Writing, unit: str, status: Status, session: tuple[int, int] | None
) -> None:
    """Note an announcement. A boot that is back after another one is of another machine."""
    (turn,) = writing.ask(
        "SELECT coalesce(max(turn), 0) FROM session WHERE unit = :unit", unit=unit
    )[0]
    if session is not None and session[1] != turn:
        writing.change(
            "UPDATE unit SET takeovers = takeovers + 1, taken_over = :now WHERE unit = :unit",
            now=writing.now,
            unit=unit,
        )
        events.note(writing, unit, "doubled", status.place)
        log.warning("%s: an earlier boot is back: two units run under one name", unit)
    writing.change(
        "INSERT INTO session (unit, epoch, boot, birth, since, turn)"
        " VALUES (:unit, :epoch, :boot, :birth, :now, :turn)"
        " ON CONFLICT (unit, epoch, boot) DO UPDATE SET birth = excluded.birth,"
        " turn = excluded.turn",
        unit=unit,
        epoch=status.epoch,
        boot=status.boot,
        birth=status.birth,
        now=writing.now,
        turn=turn + 1,
    )
    writing.change(
        "DELETE FROM session WHERE unit = :unit AND turn < (SELECT min(turn) FROM (SELECT turn"
        " FROM session WHERE unit = :unit ORDER BY turn DESC LIMIT :keep) AS newest)",
        unit=unit,
        keep=KEEP_SESSIONS,
    )


def rows(connection: sqlalchemy.Connection) -> list[UnitRow]:
    """Every unit that was ever heard of, by name."""
    numbers: dict[str, dict[str, Ranges]] = {}
    begun: dict[str, dict[str, str]] = {}
    for unit, epoch, first, last, since in connection.exec_driver_sql(
        "SELECT unit, epoch, first, last,"
        " min(since) OVER (PARTITION BY unit, epoch) AS begun FROM held"
        " ORDER BY unit, begun, epoch, first"
    ):
        numbers.setdefault(unit, {}).setdefault(epoch, Ranges()).add(first, last)
        begun.setdefault(unit, {})[epoch] = since
    return [
        UnitRow(*[*row, numbers.get(row.unit, {}), begun.get(row.unit, {})])
        for row in connection.exec_driver_sql(
            "SELECT unit, area, state, epoch, place, direction, last_scan, seen, synced,"
            " corrected, unsynced, repeats, doubles, doubled, takeovers, taken_over"
            " FROM unit ORDER BY unit"
        )
    ]
