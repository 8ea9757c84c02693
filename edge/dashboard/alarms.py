"""Alarms: begun when what is wrong has lasted, ended when it has been away, seen to by a person."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct
from sqlalchemy import Connection, text

from edge.clock import Clock
from edge.dashboard.alarm_rules import (
    Counters,
    Finding,
    Kind,
    Limits,
    Sight,
    findings,
    is_away,
    subjects,
)
from edge.dashboard.local_time import local
from edge.storage import counts, fleet
from edge.storage.database import Database
from edge.storage.fleet import FleetUnit
from edge.storage.keeping.known_time import known_times
from edge.storage.places import Places

log = logging.getLogger(__name__)

#: How often the rules look, and how long counters are remembered for.
LOOK_EVERY_S = 15.0
REMEMBER_S = 3600.0
QUARTER_S = 900.0


class AlarmSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When alarms begin and end, and who is told."""

    raise_after_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    clear_after_s: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    #: Local hours between which nobody is told; alike for none.
    quiet_from_h: Annotated[int, Meta(ge=0, le=23)] = 22
    quiet_to_h: Annotated[int, Meta(ge=0, le=23)] = 5
    webhook_url: str = ""
    webhook_key_file: str = ""
    certificate_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    outbox_fill: Annotated[float, Meta(ge=0.1, le=1)] = 0.7
    unread: Annotated[int, Meta(ge=1)] = 20
    scans_in_a_quarter: Annotated[int, Meta(ge=1)] = 900


@dataclass(frozen=True)
class Alarm:
    """An alarm as it is kept. Times are UTC."""

    number: int
    kind: Kind
    subject: str
    place: str
    detail: str
    raised: str
    cleared: str | None
    told: str | None
    acknowledged: str | None
    acknowledger: str | None
    closed: str | None
    closer: str | None
    note: str
    mailed: str | None


_COLUMNS = (
    "number, kind, subject, place, detail, raised, cleared, told, acknowledged, acknowledger,"
    " closed, closer, note, mailed"
)


class Alarms:
    """The alarms in storage. For any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self) -> list[Alarm]:
        """Those that nobody has closed, the newest first."""
        return self._ask("closed IS NULL ORDER BY raised DESC, number DESC", {})

    def past(self, most: int = 200) -> list[Alarm]:
        """Those that were closed, the newest first."""
        return self._ask(
            "closed IS NOT NULL ORDER BY closed DESC, number DESC LIMIT :most", {"most": most}
        )

    def untaken(self, connection: Connection) -> Counter[str]:
        """How many last on that nobody has taken yet, by place; "" where that is not known."""
        rows = connection.execute(
            text(
                "SELECT place, count(*) AS number FROM alarm WHERE closed IS NULL"
                " AND cleared IS NULL AND acknowledged IS NULL GROUP BY place"
            )
        )
        return Counter({row.place: row.number for row in rows})

    def acknowledge(self, numbers: Iterable[int], who: str, now: str) -> None:
        """*who* has seen them and sees to them."""
        self._change(
            "acknowledged = :now, acknowledger = :who",
            "number = :number AND acknowledged IS NULL AND closed IS NULL",
            [{"number": number, "who": who, "now": now} for number in numbers],
        )

    def close(self, numbers: Iterable[int], who: str, note: str, now: str) -> None:
        """*who* says that they are over, with a word on what it was."""
        self._change(
            "closed = :now, closer = :who, note = :note",
            "number = :number AND closed IS NULL",
            [{"number": number, "who": who, "note": note, "now": now} for number in numbers],
        )

    def begin(self, finding: Finding, now: str) -> None:
        """A new alarm."""
        with self._database.writing("begin an alarm") as connection:
            connection.execute(
                text(
                    "INSERT INTO alarm (kind, subject, place, detail, raised)"
                    " VALUES (:kind, :subject, :place, :detail, :now)"
                ),
                {
                    "kind": finding.kind,
                    "subject": finding.subject,
                    "place": finding.place,
                    "detail": finding.detail,
                    "now": now,
                },
            )

    def clear(self, number: int, now: str | None) -> None:
        """What it was about has ended; with None it is back."""
        self._change("cleared = :now", "number = :number", [{"number": number, "now": now}])

    def note_told(
        self,
        connection: Connection,
        alarms: Sequence[Alarm],
        now: str,
        way: Literal["told", "mailed"],
    ) -> None:
        """The webhook was *told* of *alarms*, or a mail that tells of them waits to go."""
        connection.execute(
            text(f"UPDATE alarm SET {way} = :now WHERE number = :number"),
            [{"number": alarm.number, "now": now} for alarm in alarms],
        )

    def _ask(self, which: str, values: Mapping[str, object]) -> list[Alarm]:
        with self._database.reading() as connection:
            rows = connection.execute(text(f"SELECT {_COLUMNS} FROM alarm WHERE {which}"), values)
            return [Alarm(*row) for row in rows]

    def _change(self, change: str, which: str, values: list[dict[str, object]]) -> None:
        if not values:
            return
        with self._database.writing("change an alarm") as connection:
            connection.execute(text(f"UPDATE alarm SET {change} WHERE {which}"), values)


@dataclass(frozen=True)
class _Oldest:
    """The oldest scan that a unit waits with."""

    scan: str  #: when it was made
    since: float  #: when the unit first said so
    uptime: object  #: of the unit, when it last did
    told: float  #: when that was


class Watch:
    """Applies the rules, one look at a time, and keeps alarms by what it sees. For one thread."""

    def __init__(
        self,
        database: Database,
        places: Places,
        alarms: Alarms,
        clock: Clock,
        settings: AlarmSettings,
        limits: Limits,
    ) -> None:
        self._database, self._places, self._alarms = database, places, alarms
        self._clock, self._settings, self._limits = clock, settings, limits
        self._looked_at: float | None = None
        #: Since when each finding has lasted, and each open alarm's cause has been away.
        self._since: dict[tuple[Kind, str], float] = {}
        self._away: dict[int, float] = {}
        #: Counters of each unit as they stood, oldest first.
        self._counters: list[tuple[float, dict[str, Counters]]] = []
        self._oldest: dict[str, _Oldest] = {}
        #: How many scans of each unit there were, oldest first.
        self._totals: list[tuple[float, dict[str, int]]] = []

    def step(self) -> None:
        """One look, if it is due. Raises StorageError."""
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        found = subjects(findings(self._sight(now), self._limits))
        at = self._clock.now().at
        open_alarms = {(alarm.kind, alarm.subject): alarm for alarm in self._alarms.open()}
        self._begin(found, open_alarms, now, at)
        self._end(found, open_alarms, now, at)

    def _sight(self, now: float) -> Sight:
        at = self._clock.now().at
        with self._database.reading() as connection:
            units = fleet.units(connection)
            register = self._places.all(connection)
            rates = self._rates(connection, units, now, at)
            known, first_day = known_times(connection), counts.first_day(connection)
        counters = {unit.unit: Counters.of(unit.health) for unit in units}
        self._counters.append((now, counters))
        while len(self._counters) > 1 and self._counters[0][0] < now - REMEMBER_S:
            del self._counters[0]
        # A unit that started anew counts from zero: there is nothing to compare with.
        hour_ago = {
            unit: before
            for unit, before in self._counters[0][1].items()
            if unit in counters and all(map(int.__le__, before, counters[unit]))
        }
        waited_s = self._waited(units, now, at)
        return Sight(at, units, register, rates, hour_ago, waited_s, known, first_day)

    def _waited(self, units: Sequence[FleetUnit], now: float, at: str) -> dict[str, float]:
        """For how long each unit's oldest scan has been the same, in seconds.

        By what it says again and again: its clock may be wrong, and one that is away, or sends what
        it kept meanwhile, is no trouble.
        """
        oldest: dict[str, _Oldest] = {}
        for unit in units:
            scan, uptime = unit.health.get("oldest"), unit.health.get("uptime_ms")
            if not isinstance(scan, str) or is_away(unit, at, self._limits):
                continue
            before = self._oldest.get(unit.unit)
            if before is None or before.scan != scan:
                before = _Oldest(scan, now, uptime, now)
            told = before.told if before.uptime == uptime else now
            oldest[unit.unit] = _Oldest(scan, before.since, uptime, told)
        self._oldest = oldest
        return {unit: scan.told - scan.since for unit, scan in oldest.items()}

    def _rates(
        self, connection: Connection, units: Sequence[FleetUnit], now: float, at: str
    ) -> dict[str, int]:
        """The most scans of a unit in this quarter of an hour or the one before.

        Only units that sent that many lately are looked up; most of those have caught up with scans
        of an outage, which is no wonder.
        """
        self._totals.append((now, {unit.unit: unit.scans for unit in units}))
        while len(self._totals) > 1 and self._totals[0][0] < now - 2 * QUARTER_S:
            del self._totals[0]
        before = self._totals[0][1]
        rates = {}
        for unit in units:
            if unit.scans - before.get(unit.unit, unit.scans) <= self._limits.scans_in_a_quarter:
                continue
            moments = [local(at) - timedelta(seconds=back) for back in (0.0, QUARTER_S)]
            rates[unit.unit] = max(
                counts.in_quarter(
                    connection,
                    moment.date(),
                    moment.hour * 4 + moment.minute // 15,
                    unit.place,
                    unit.unit,
                )
                for moment in moments
            )
        return rates

    def _begin(
        self,
        found: Mapping[tuple[Kind, str], Finding],
        open_alarms: Mapping[tuple[Kind, str], Alarm],
        now: float,
        at: str,
    ) -> None:
        raising = {key: finding for key, finding in found.items() if finding.raises}
        # Of an open one it begins anew: what goes on when a person closes it must last again.
        self._since = {
            key: now if key in open_alarms else self._since.get(key, now) for key in raising
        }
        for key, finding in raising.items():
            if key not in open_alarms and now - self._since[key] >= self._settings.raise_after_s:
                log.info("alarm: %s %s", finding.kind, finding.subject)
                self._alarms.begin(finding, at)

    def _end(
        self,
        found: Mapping[tuple[Kind, str], Finding],
        open_alarms: Mapping[tuple[Kind, str], Alarm],
        now: float,
        at: str,
    ) -> None:
        away = {}
        for key, alarm in open_alarms.items():
            if key in found:
                if alarm.cleared is not None:
                    self._alarms.clear(alarm.number, None)
                continue
            away[alarm.number] = self._away.get(alarm.number, now)
            lasted = now - away[alarm.number]
            if alarm.cleared is None and lasted >= self._settings.clear_after_s:
                self._alarms.clear(alarm.number, at)
        self._away = away
