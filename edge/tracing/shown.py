"""Answers as they are shown: local times, words for marks, nothing that only a program knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.errors import DeskError
from edge.tracing.answers import Certainty, Contact, Stay
from edge.tracing.places import DAY, LOCAL_MS, MINUTE
from edge.tracing.visits import Bound

#: How an end of a visit is known, vi and en.
BOUNDS: dict[Bound, tuple[str, str]] = {
    Bound.SCANNED: ("đã quét", "scanned"),
    Bound.INFERRED: ("suy ra", "inferred"),
    Bound.ESTIMATED: ("ước tính", "estimated"),
    Bound.UNTIMED: ("không rõ giờ", "time unknown"),
}
CERTAINTIES: dict[Certainty, tuple[str, str]] = {
    Certainty.SCANNED: ("đã quét", "scanned"),
    Certainty.INFERRED: ("suy ra", "inferred"),
    Certainty.ESTIMATED: ("ước tính", "estimated"),
    Certainty.POSSIBLE: ("có thể", "possible"),
}


@dataclass(frozen=True)
class ShownStay:
    """One stay. Times are local, "2021-07-02 08:30"."""

    person: int
    place: str
    place_name: str
    trip: str
    start: str
    end: str
    minutes: float
    start_is: str  #: one of the English words of BOUNDS
    end_is: str


@dataclass(frozen=True)
class ShownMeeting:
    """Two persons at one place."""

    place: str
    place_name: str
    trip: str
    start: str
    end: str
    minutes: float
    certainty: str


@dataclass(frozen=True)
class ShownContact:
    """Somebody who was where the person was."""

    person: int
    minutes: float
    certainty: str
    of: int
    meetings: tuple[ShownMeeting, ...]


@dataclass(frozen=True)
class Named:
    """Whom scans showed, as presented: no code proves who holds it."""

    person: int
    name: str
    birth_year: int
    sex: str
    phone: str
    pin: str
    bhyt: str
    qid: str
    tail: str
    documents: tuple[str, ...]


@dataclass(frozen=True)
class PersonsOfCase:
    """The persons of a case: number, ring, and others who bear the same name and year."""

    person: int
    ring: int
    #: A weak hint that they may be the same: never more.
    namesakes: tuple[int, ...]


def shown_stay(stay: Stay, names: Mapping[str, str]) -> ShownStay:
    """*stay* for people; *names*: what the register calls places."""
    return ShownStay(
        stay.person,
        stay.place,
        names.get(stay.place, stay.place),
        stay.trip,
        local_text(stay.start),
        local_text(stay.end),
        round((stay.end - stay.start) / MINUTE, 1),
        BOUNDS[stay.start_bound][1],
        BOUNDS[stay.end_bound][1],
    )


def shown_contact(contact: Contact, names: Mapping[str, str]) -> ShownContact:
    """*contact* for people."""
    return ShownContact(
        contact.person,
        round(contact.minutes, 1),
        CERTAINTIES[contact.certainty][1],
        contact.of,
        tuple(
            ShownMeeting(
                meeting.place,
                names.get(meeting.place, meeting.place),
                meeting.trip,
                local_text(meeting.start),
                local_text(meeting.end),
                round(meeting.minutes, 1),
                CERTAINTIES[meeting.certainty][1],
            )
            for meeting in contact.meetings
        ),
    )


def local_text(at: int) -> str:
    """*at*, milliseconds since 1970, as 2021-07-02 08:30 in Vietnam."""
    return datetime.fromtimestamp((at + LOCAL_MS) / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def local_moment(written: str, *, end: bool = False) -> int:
    """What somebody wrote, a day or a day and time in Vietnam, in milliseconds since 1970.

    A day alone is its beginning, or with *end* its end. Raises DeskError.
    """
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise DeskError(
            f"{written!r} is no time; write 2021-07-02, or 2021-07-02 08:30, as in Vietnam"
        ) from None
    if moment.tzinfo is None:
        at = round(moment.replace(tzinfo=UTC).timestamp() * 1000) - LOCAL_MS
    else:
        at = round(moment.timestamp() * 1000)
    return at + DAY if end and len(written) <= 10 else at
