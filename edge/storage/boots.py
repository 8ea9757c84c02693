"""When each boot of a unit began, and the scans that are dated by it.

A unit that does not know the time says how long it has been on. Once anything of the same boot is
known to have been made at a certain time, all its scans are.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.clock import LONGEST_UPTIME_MS, TRUST, boot_offset_ms, boot_time
from edge.storage.days import can_be
from edge.storage.prepared import Prepared
from edge.storage.rows import Report
from edge.storage.summaries import Summaries
from edge.storage.writing import Writing

log = logging.getLogger(__name__)

#: So many boots are remembered in memory, to save asking for them.
CACHED_BOOTS = 100_000
#: Of a boot that only a unit's own correction tells of; what that trusted is not said.
OF_THE_UNIT = "unit"

Key = tuple[str, str]  # unit, boot


@dataclass(frozen=True)
class _Boot:
    offset_ms: int
    source: str

    @property
    def trust(self) -> int:
        return TRUST.get(self.source, 1)


class Boots:
    """What is known of boots; the newest of them in memory. For one thread."""

    def __init__(self) -> None:
        self._known: dict[Key, _Boot] = {}

    def time_of(self, unit: str, boot: str, uptime_ms: int) -> str | None:
        """The wall time *uptime_ms* into a boot, if that is known."""
        known = self._known.get((unit, boot))
        return boot_time(known.offset_ms, uptime_ms) if known else None

    def learn_from_scans(self, writing: Writing, prepared: Prepared, summaries: Summaries) -> None:
        """Have in memory what is known of the boots of scans, and learn what they tell."""
        keys = prepared.boots
        self._recall(writing, keys)
        if keys <= self._known.keys():
            return
        told: dict[Key, _Boot] = {}
        for unit, scan in prepared.scans():
            key = unit, scan.boot
            if key in self._known or key in told:
                continue
            has_clock = scan.clock != "none"
            said = scan.at if has_clock else scan.corrected
            if said is None or not can_be(said, writing.now):
                continue
            offset_ms = boot_offset_ms(said, scan.uptime_ms)
            source = str(scan.clock) if has_clock else OF_THE_UNIT
            if offset_ms is not None:
                told[key] = _Boot(offset_ms, source)
        self._learn(writing, told, summaries)

    def learn_from_reports(
        self, writing: Writing, reports: Iterable[Report], summaries: Summaries
    ) -> None:
        """Learn what *reports* tell of their boots."""
        said: dict[Key, _Boot] = {}
        for report in reports:
            message, key = report.message, (report.unit, report.message.boot)
            offset_ms = boot_offset_ms(message.at, message.uptime_ms)
            if message.clock == "none" or offset_ms is None or not can_be(message.at, writing.now):
                continue
            boot = _Boot(offset_ms, message.clock)
            if key not in said or said[key].trust < boot.trust:
                said[key] = boot
        self._recall(writing, said)
        known = self._known
        better = {
            key: boot
            for key, boot in said.items()
            if key not in known or known[key].trust < boot.trust
        }
        self._learn(writing, better, summaries)

    def forget(self) -> None:
        """Look everything up anew: what was learned may not have been kept."""
        self._known.clear()

    def _recall(self, writing: Writing, keys: Iterable[Key]) -> None:
        if len(self._known) >= CACHED_BOOTS:
            self._known.clear()
        # What is not found is not remembered: another process may learn it at any moment.
        unknown = [key for key in keys if key not in self._known]
        if not unknown:
            return
        for unit, boot, offset_ms, source in writing.ask(
            "SELECT boot.unit, boot.boot, boot.offset_ms, boot.source"
            f" FROM {writing.database.given(unit=str, boot=str)} g"
            " JOIN boot ON boot.unit = g.unit AND boot.boot = g.boot",
            unknown,
        ):
            self._known[unit, boot] = _Boot(offset_ms, source)

    def _learn(self, writing: Writing, boots: dict[Key, _Boot], summaries: Summaries) -> None:
        """Keep when *boots* began, and correct their scans."""
        if not boots:
            return
        given = [
            (*key, boot.offset_ms, boot.source) for key, boot in sorted(boots.items(), key=str)
        ]
        table = writing.database.given(unit=str, boot=str, offset_ms=int, source=str)
        writing.change(
            "INSERT INTO boot (unit, boot, offset_ms, source, received)"
            f" SELECT unit, boot, offset_ms, source, :now FROM {table} g WHERE true"
            " ON CONFLICT (unit, boot) DO UPDATE SET offset_ms = excluded.offset_ms,"
            " source = excluded.source, received = excluded.received",
            given,
            now=writing.now,
        )
        self._known |= boots
        self._correct(writing, [row[:3] for row in given], summaries)

    def _correct(
        self, writing: Writing, boots: Sequence[tuple[object, ...]], summaries: Summaries
    ) -> None:
        """Date the scans of *boots* that nobody could date until now."""
        database = writing.database
        undated = writing.ask(
            "SELECT s.number, s.unit, s.place, s.direction, s.time, s.uptime_ms, g.offset_ms"
            f" FROM {database.given(unit=str, boot=str, offset_ms=int)} g"
            " JOIN scan_undated s ON s.unit = g.unit AND s.boot = g.boot"
            " WHERE s.time_quality = 'unsynced' AND s.uptime_ms <= :longest"
            " ORDER BY s.number",
            boots,
            longest=LONGEST_UPTIME_MS,
        )
        if not undated:
            return
        corrected: Counter[str] = Counter()
        changes = []
        for row, new in zip(undated, writing.new_numbers(len(undated)), strict=True):
            number, unit, place, direction, before, uptime_ms, offset_ms = row
            time = boot_time(offset_ms, uptime_ms) or before
            summaries.add(place, unit, direction, before, scans=-1, unsynced=-1)
            summaries.add(place, unit, direction, time, scans=1)
            changes.append((number, new, time))
            corrected[unit] += 1
        # A new number, so that whoever follows the feed hears of the new time.
        writing.change(
            "UPDATE scan_undated SET time = g.time, time_quality = 'corrected', number = g.new"
            f" FROM {database.given(old=int, new=int, time=str)} g WHERE number = g.old",
            changes,
        )
        writing.change(
            "UPDATE unit SET corrected = corrected + g.count, unsynced = unsynced - g.count"
            f" FROM {database.given(unit=str, count=int)} g WHERE unit.unit = g.unit",
            list(corrected.items()),
        )
        for unit, count in corrected.items():
            log.info("%s: the time of %d scans is known now", unit, count)
