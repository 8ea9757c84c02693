"""What the desk must know of a place to tell how long somebody was there."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from edge.errors import RegisterError
from edge.opening_hours import DAYS
from edge.register import Opening, Place, Register, read_register

log = logging.getLogger(__name__)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
#: Asia/Ho_Chi_Minh has been UTC+7 since 1975, without daylight saving.
LOCAL_MS = 7 * HOUR

#: How long people usually stay at a place of each kind, in minutes. Our choice, in the manner of
#: the Corona-Warn-App's default lengths; a visit that ends by it is marked estimated.
USUAL_STAY_MIN: dict[str, int] = {
    "office": 480,
    "factory": 540,
    "lodging": 720,
    "food": 90,
    "bar": 180,
    "dance": 180,
    "karaoke": 180,
    "massage_beauty": 90,
    "gym": 90,
    "meeting": 180,
    "hospital": 180,
    "apartment": 720,
    "school": 480,
    "station": 60,
    "shelter": 30,
    "vehicle": 90,
    "mall": 120,
    "market": 90,
    "essential_store": 30,
    "funeral_wedding": 180,
    "tourism": 180,
    "worship": 90,
}
#: Of a place that the register does not have.
UNKNOWN_STAY_MIN = 120
#: An exit belongs to an entry no longer ago than this; a stallholder's day is shorter.
LONGEST_PAIR_MS = 16 * HOUR
#: Where people sleep.
LONGEST_NIGHT_MS = 24 * HOUR
_NIGHT = ("lodging", "apartment", "hospital")


@dataclass(frozen=True)
class PlaceFacts:
    """How visits at one place are closed. Times are milliseconds since 1970."""

    name: str
    usual_stay_ms: int = UNKNOWN_STAY_MIN * MINUTE
    longest_ms: int = LONGEST_PAIR_MS
    vehicle: bool = False
    hours: tuple[Opening, ...] = ()

    def toggle_ms(self) -> int:
        """At a door for both directions: a second scan within this is an exit, later an entry."""
        return min(2 * self.usual_stay_ms, self.longest_ms)

    def closes_after(self, at: int) -> int | None:
        """When the place next closes after *at*; None if it is not known to be open then."""
        closings = [closes for opens, closes in self._openings(at) if opens <= at < closes]
        return max(closings, default=None)

    def opened_before(self, at: int) -> int | None:
        """When the place opened before *at*; None if it is not known to be open then."""
        openings = [opens for opens, closes in self._openings(at) if opens < at <= closes]
        return min(openings, default=None)

    def _openings(self, at: int) -> list[tuple[int, int]]:
        found = []
        today = local_midnight(at)
        # Yesterday's hours may run into today.
        for day in (today - DAY, today):
            name = DAYS[datetime.fromtimestamp((day + LOCAL_MS) / 1000, UTC).weekday()]
            for opening in self.hours:
                if name in opening.days:
                    opens, closes = _of_day(opening.opens), _of_day(opening.closes)
                    found.append((day + opens, day + closes + (DAY if closes <= opens else 0)))
        return found


def local_midnight(at: int) -> int:
    """The local midnight at or before *at*, in milliseconds since 1970."""
    return (at + LOCAL_MS) // DAY * DAY - LOCAL_MS


def next_midnight(at: int) -> int:
    """The local midnight after *at*."""
    return local_midnight(at) + DAY


class Places:
    """The facts of every place, from the register; of one that it lacks, cautious ones."""

    def __init__(self, register: Register | None = None) -> None:
        self._facts: dict[str, PlaceFacts] = {}
        self.names: dict[str, str] = {}
        self.know(register)

    def know(self, register: Register | None) -> None:
        """From now on go by *register*."""
        places = register.places if register else ()
        self._facts = {place.id: _facts(place) for place in places}
        self.names = {place.id: place.name for place in places}

    def facts(self, place: str) -> PlaceFacts:
        """What is known of *place*."""
        return self._facts.get(place) or PlaceFacts(place)


class RegisterFile:
    """The file of the register, which may be changed while the desk runs."""

    def __init__(self, path: Path) -> None:
        """Raises RegisterError."""
        self._path = path
        self._seen = self._stamp()
        self.places = Places(read_register(path))

    def look(self) -> None:
        """Take up what was changed. What cannot be read is told, and the places stay."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.places.know(read_register(self._path))
        except RegisterError as err:
            log.error("%s; until then the desk goes by what it read before", err)
        else:
            log.info("%s: %d places", self._path, len(self.places.names))

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size, state.st_ino


def _facts(place: Place) -> PlaceFacts:
    return PlaceFacts(
        name=place.name,
        usual_stay_ms=USUAL_STAY_MIN.get(place.kind, UNKNOWN_STAY_MIN) * MINUTE,
        longest_ms=LONGEST_NIGHT_MS if place.kind in _NIGHT else LONGEST_PAIR_MS,
        vehicle=place.kind == "vehicle",
        hours=place.hours,
    )


def _of_day(moment: time) -> int:
    return int(timedelta(hours=moment.hour, minutes=moment.minute).total_seconds() * 1000)


FactsByPlace = Mapping[str, PlaceFacts]
