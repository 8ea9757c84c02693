"""Stores scans, each once, and answers questions about them. On SQLite or PostgreSQL.

A batch is one transaction. When `store` returns, its rows survive a power cut; only then may a scan
be confirmed to its unit. Several processes may store at once.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy

from edge.errors import StorageConflict
from edge.storage import feed, held, units
from edge.storage import scans as scan_rows
from edge.storage import set_aside as aside
from edge.storage.boots import Boots
from edge.storage.database import Database
from edge.storage.days import Days
from edge.storage.erasing import Erasing
from edge.storage.prepared import Prepared, count
from edge.storage.rows import FeedRow, Gap, Report, SetAside, UnitRow, UnitScans
from edge.storage.summaries import Summaries
from edge.storage.units import Tally
from edge.storage.writing import AwaitEngine, Writing, call_here

log = logging.getLogger(__name__)

#: A transaction that others were in the way of is begun again so many times.
ATTEMPTS = 5


class Storage:
    """The tables of one deployment. For one thread."""

    def __init__(self, where: str | Path, password: str = "", *, make: bool = True) -> None:
        """Open *where*, a file or a URL as `Database` takes it, making the tables if need be.

        A missing file is made, unless not *make*. Raises StorageError that says what to do.
        """
        self.database = Database(str(where), password, make=make)
        self.database.migrate("edge.storage")
        feed.keep_growing(self.database)
        self._boots = Boots()
        self._days = Days(self.database)
        #: Erases what has expired. For one thread, which may be another than this storage's.
        self.erasing = Erasing(self.database)
        self._minutes: dict[str, tuple[str, int]] = {}

    def store(
        self,
        came: Sequence[UnitScans],
        received: str,
        set_aside: Sequence[SetAside] = (),
        *,
        by_hand: bool = False,
        await_engine: AwaitEngine = call_here,
    ) -> int:
        """Keep a batch of scans in one transaction; gives how many were new.

        Scans that are rows already are harmless. *by_hand*: they did not come from the unit itself,
        which so was not seen. *await_engine* is given the calls in which the engine alone works.
        Raises StorageError, and keeps nothing of the batch, if the database cannot.
        """
        prepared = self.prepare(received)
        for each in came:
            prepared.add(each)
        return self.store_prepared(prepared, set_aside, by_hand=by_hand, await_engine=await_engine)

    def prepare(self, received: str) -> Prepared:
        """A batch for `store_prepared`, to be filled; also while that awaits the engine."""
        return Prepared(self._days, received)

    def store_prepared(
        self,
        prepared: Prepared,
        set_aside: Sequence[SetAside] = (),
        *,
        by_hand: bool = False,
        await_engine: AwaitEngine = call_here,
    ) -> int:
        """`store` what was made ready."""
        self._days.make(prepared.days)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._writing("store a batch", prepared.received, await_engine) as (
                    writing,
                    summaries,
                ):
                    # A row that is there although its number is not held needs a closer look.
                    tally = self._store(writing, prepared, summaries, trusting=attempt == 1)
                    if prepared.rows:
                        units.note_scans(writing, prepared.came, tally, by_hand=by_hand)
                    aside.keep(writing, set_aside)
                break
            except StorageConflict as err:
                if attempt == ATTEMPTS:
                    raise
                log.warning("%s; once more", err)
        if doubled := tally.doubled():
            log.warning(
                "%d scans carry numbers that are rows already under other ids: two units run"
                " under one name (%s)",
                sum(doubled.values()),
                ", ".join(sorted(doubled)),
            )
        return tally.total()

    def store_reports(self, reports: Sequence[Report], received: str) -> None:
        """Keep what units said of themselves, in one transaction. Raises StorageError."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._writing("store reports", received) as (writing, summaries):
                    units.lock(writing, {(report.unit, report.area) for report in reports})
                    units.note_reports(writing, reports)
                    self._boots.learn_from_reports(writing, reports, summaries)
                return
            except StorageConflict as err:
                if attempt == ATTEMPTS:
                    raise
                log.warning("%s; once more", err)

    def feed(self, after: int, limit: int) -> list[FeedRow]:
        """Up to *limit* scans that became rows, or whose time was corrected, after a position.

        In that order, none left out; go on from the `position` of the last one, and begin with 0. A
        scan that has come already comes again when its time is corrected. Raises StorageError.
        """
        return feed.read(self.database, after, limit)

    def expire(
        self, before_day: str, now: str, *, settled: bool = False, steady: bool = True
    ) -> list[str]:
        """Take the scans of days (UTC) before *before_day* away; gives which days there were.

        `erasing` then erases them, and those whose clock knew no day by the day on which they came
        in. Numbers held and counts stay. *now* is the time by which is erased; a day of the future
        goes by when that was noticed, and so does what came in in the future, once it is *settled*
        that it is *now* and no later. *steady*: *now* goes on as the true time does; else days of
        the future stay. Raises StorageError.
        """
        expired = self._days.expire(before_day, now, steady=steady)
        self.erasing.begin(before_day, now, settled=settled)
        return expired

    def days(self) -> list[str]:
        """The days of which there are scans, the oldest first."""
        return self._days.days()

    def count(self) -> int:
        """How many scans are rows."""
        return int(self._ask("SELECT count(*) FROM scan")[0][0])

    def scan_numbers(self) -> list[tuple[str, str, int, str]]:
        """(unit, epoch, seq, id) of every scan, in that order."""
        return self._ask("SELECT unit, epoch, seq, id FROM scan ORDER BY unit, epoch, seq, id")

    def sealed(self) -> list[tuple[str, str, bytes]]:
        """(id, key, sealed) of every scan."""
        return self._ask("SELECT id, key, sealed FROM scan ORDER BY unit, epoch, seq")

    def set_asides(self, limit: int = 100) -> list[tuple[str, str, str, int]]:
        """(received, topic, reason, bytes) of what was set aside, newest first."""
        return self._ask(
            "SELECT received, topic, reason, bytes FROM set_aside"
            " ORDER BY number DESC LIMIT :limit",
            limit=limit,
        )

    def units(self) -> list[UnitRow]:
        """Every unit that was ever heard of, by name."""
        with self.database.reading() as connection:
            return units.rows(connection)

    def gaps_to_ask_for(self, known_before: str) -> list[Gap]:
        """Gaps known since before *known_before*, of units that may be there and still have them.

        Of a unit that has announced another epoch since, the gaps of the old one are final.
        """
        with self.database.reading() as connection:
            return held.gaps_to_ask_for(connection, known_before)

    def times(self, unit: str) -> list[tuple[int, str, str, str]]:
        """(seq, at, time, time_quality) of each scan of *unit*."""
        return self._ask(
            "SELECT seq, at, time, time_quality FROM scan WHERE unit = :unit"
            " ORDER BY epoch, seq, id",
            unit=unit,
        )

    def unit_key(self, unit: str) -> bytes | None:
        """The public key by which bundles of *unit* are verified, if one was ever kept."""
        rows = self._ask("SELECT key FROM unit WHERE unit = :unit", unit=unit)
        return rows[0][0] if rows else None

    def believed_keys(self) -> dict[str, tuple[str, ...]]:
        """By which keys, by their ids, each unit knows its centre; () of one that has not said."""
        rows = self._ask("SELECT unit, centre FROM unit ORDER BY unit")
        return {unit: tuple(filter(None, centre.split(","))) for unit, centre in rows}

    def keep_unit_key(self, area: str, unit: str, key: bytes) -> None:
        """From now on verify bundles of *unit* by *key*."""
        with self.database.writing("keep a unit's key") as connection:
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO unit (unit, area, key) VALUES (:unit, :area, :key)"
                    " ON CONFLICT (unit) DO UPDATE SET key = excluded.key"
                ),
                {"unit": unit, "area": area, "key": key},
            )

    def close(self) -> None:
        """Give the database back."""
        self.database.close()

    def _store(
        self,
        writing: Writing,
        prepared: Prepared,
        summaries: Summaries,
        *,
        trusting: bool,
    ) -> Tally:
        """Make rows of those scans *prepared* that are none yet."""
        tally = Tally()
        if not prepared.rows:
            return tally
        wanted = sorted({(unit, area) for area, unit, _ in prepared.came})
        arrived = prepared.arrived
        questions = units.locking(writing, wanted), held.neighbours(writing, arrived)
        locked, neighbours = writing.ask_together(*questions)
        if units.make_missing(writing, wanted, locked):
            # Another collector may have been first with one of these.
            _, neighbours = writing.ask_together(*questions)
        before = held.hold(writing, arrived, neighbours, len(prepared.rows))
        self._boots.learn_from_scans(writing, prepared, summaries)
        rows, days, counted = prepared.rows, prepared.days, prepared.counted
        if not (trusting and before.all_new and prepared.all_dated):
            places = scan_rows.new_scans(writing, prepared, before if trusting else None)
            rows = scan_rows.rows_of(prepared, places, self._boots)
            days = [days[place] for place in places]
            counted = count(rows)
        for (minute, quality, unit, place, direction), number in counted.items():
            unsynced = number if quality == "unsynced" else 0
            tally.rows[unit, quality] += number
            summaries.add(place, unit, direction, minute, scans=number, unsynced=unsynced)
        if rows:
            scan_rows.insert(writing, rows, days)
        tally.numbers = before.new
        return tally

    @contextmanager
    def _writing(
        self, what: str, received: str, await_engine: AwaitEngine = call_here
    ) -> Iterator[tuple[Writing, Summaries]]:
        summaries = Summaries(self._minutes)
        try:
            with self.database.writing(what) as connection:
                writing = Writing(self.database, connection, received, await_engine)
                yield writing, summaries
                summaries.write(writing)
                writing.finish()
        except BaseException:
            # They may hold what was to be written, or a day that has been dropped.
            self._boots.forget()
            self._days.forget()
            raise

    def _ask(self, sql: str, **values: object) -> list[Any]:
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(sql), values)]
