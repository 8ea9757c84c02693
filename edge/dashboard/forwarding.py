"""Passes counts, or sealed scans, on to another authority's system, from a position that is kept.

A `Source` says what comes after a position, a `Receiver` takes it; the position moves only when it
was taken. So each piece arrives once or more, whatever happens in between, and the other side puts
it in by its key: a day and place, or a scan's id. The example receiver is `posting.Poster`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct
from sqlalchemy import text

from edge.clock import Clock
from edge.dashboard.local_time import local_day
from edge.errors import DeliveryError
from edge.storage import counts, feed
from edge.storage.database import Database

log = logging.getLogger(__name__)

#: After a delivery that failed, so long until the next attempt.
AGAIN_S = 60.0
#: How far back the first counts go.
FIRST_DAYS = 7
#: Late scans change a day's counts: it is sent again on so many days after it.
SETTLING_DAYS = 2


class ForwardSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """To whom what is passed on."""

    url: str = ""
    key_file: str = ""
    ca_file: str = ""
    what: Literal["counts", "scans"] = "counts"
    batch_scans: Annotated[int, Meta(ge=1, le=5000)] = 500


class Receiver(Protocol):
    """Another authority's system."""

    def post(self, content: object) -> None:
        """Take *content*; kept there when this returns. Raises DeliveryError."""
        ...


@dataclass(frozen=True)
class Piece:
    """What is passed on in one go, and the position after it."""

    content: Mapping[str, object]
    position: str


class Source(Protocol):
    """What there is to pass on."""

    def after(self, position: str, now: str) -> Piece | None:
        """What comes after *position*, "" being the beginning; None if nothing does yet."""
        ...


class CountSource:
    """The counts of each day that is over, by place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, position: str, now: str) -> Piece | None:
        # A position is the day on which it was sent and the day it is about.
        today = local_day(now)
        sent_on, _, last = position.partition("/")
        if sent_on == today.isoformat():
            day = date.fromisoformat(last) + timedelta(days=1)
        elif last:
            day = date.fromisoformat(last) - timedelta(days=SETTLING_DAYS - 1)
        else:
            day = today - timedelta(days=FIRST_DAYS)
        if last > today.isoformat():
            # Of a clock that was ahead: nothing would be passed on until then.
            day = today - timedelta(days=FIRST_DAYS)
        if day >= today:
            return None
        with self._database.reading() as connection:
            # By scans, which go by units' clocks: who was heard of when goes by this one.
            first = counts.first_day_counted(connection)
            if first is not None and today < first:
                # By a clock that is behind, and from its year on every day would be sent.
                return None
            found = counts.by_place(connection, day, day)
        places = [
            {"place": place, "in": count.into, "out": count.out, "both": count.both}
            for place, count in sorted(found.items())
        ]
        content = {"v": 1, "kind": "counts", "day": day.isoformat(), "places": places}
        return Piece(content, f"{today}/{day}")


class ScanSource:
    """Scans as they became rows or got a better time; who passed stays sealed."""

    def __init__(self, database: Database, most: int) -> None:
        self._database, self._most = database, most

    def after(self, position: str, now: str) -> Piece | None:
        rows = feed.read(self._database, int(position or 0), self._most)
        if not rows:
            return None
        scans = [
            {
                "id": row.id,
                "unit": row.unit,
                "place": row.place,
                "direction": row.direction,
                "trip": row.trip,
                "time": row.time,
                "time_quality": row.time_quality,
                "key": row.key,
                "sealed": row.sealed,
            }
            for row in rows
        ]
        return Piece({"v": 1, "kind": "scans", "scans": scans}, str(rows[-1].position))


class Forwarder:
    """Passes on what one source has to one receiver. For one thread."""

    def __init__(
        self,
        name: str,
        source: Source,
        receiver: Receiver,
        database: Database,
        clock: Clock,
        is_anothers: Callable[[], bool] = lambda: False,
    ) -> None:
        """*name*: under which its position is kept.

        *is_anothers*: whether another dashboard passes on by now.
        """
        self._is_anothers = is_anothers
        self._name, self._source, self._receiver = name, source, receiver
        self._database, self._clock = database, clock
        self._not_before = 0.0

    def step(self) -> bool:
        """Pass on one piece, if there is one; whether it did. A failure is tried again later."""
        if self._clock.monotonic() < self._not_before:
            return False
        piece = self._source.after(self._position(), self._clock.now().at)
        if piece is None or self._is_anothers():
            self._not_before = self._clock.monotonic() + 5.0
            return False
        try:
            self._receiver.post(piece.content)
        except DeliveryError as err:
            log.warning("forwarding: %s", err)
            self._not_before = self._clock.monotonic() + AGAIN_S
            return False
        self._keep(piece.position)
        return True

    def _position(self) -> str:
        with self._database.reading() as connection:
            found = connection.execute(
                text("SELECT position FROM forwarded WHERE name = :name"), {"name": self._name}
            ).scalar_one_or_none()
        return str(found or "")

    def _keep(self, position: str) -> None:
        with self._database.writing("keep how far was forwarded") as connection:
            connection.execute(
                text(
                    "INSERT INTO forwarded (name, position) VALUES (:name, :position)"
                    " ON CONFLICT (name) DO UPDATE SET position = excluded.position"
                ),
                {"name": self._name, "position": position},
            )
