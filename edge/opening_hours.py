"""When a place is open, as people write it: "mon-sat 05:00-18:00, sun 06:00-12:00".

Local time. A closing time that is not after the opening is the next day's; an empty text says
nothing, which is a place that is always open or whose hours are not known.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import groupby
from typing import Annotated, Literal, get_args

from msgspec import Meta

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)

#: How a time of day and a span of days are written, as expressions.
TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_DAY = f"(?:{'|'.join(DAYS)})"
SPAN = f"{_DAY}(?:-{_DAY})?"
_PART = rf"(?:{SPAN} )?{TIME}-{TIME}"
_PARTS = re.compile(rf"(?:({SPAN}) )?({TIME})-({TIME})")

#: A text of opening hours, as a setting.
Hours = Annotated[
    str,
    Meta(
        pattern=rf"^(?:{_PART}(?:, ?{_PART}){{0,20}})?(?![\s\S])",
        description='hours as in "mon-sat 05:00-18:00, sun 06:00-12:00", or empty',
    ),
]


@dataclass(frozen=True)
class OpenHours:
    """The same hours on some days."""

    days: tuple[Day, ...]
    opens: time
    closes: time

    def hold(self, local: datetime) -> bool:
        """Whether it is open at *local*."""
        # What opened yesterday may still be open.
        for midnight in (local, local - timedelta(days=1)):
            opens = midnight.replace(hour=self.opens.hour, minute=self.opens.minute, second=0)
            opens = opens.replace(microsecond=0)
            closes = opens.replace(hour=self.closes.hour, minute=self.closes.minute)
            if closes <= opens:
                closes += timedelta(days=1)
            if DAYS[midnight.weekday()] in self.days and opens <= local < closes:
                return True
        return False


def read_hours(text: str) -> list[OpenHours]:
    """The hours that *text* tells of. Raises ValueError with the part that cannot be read."""
    return [_read_part(part.strip()) for part in text.split(",") if part.strip()]


def hours_text(openings: Iterable[OpenHours]) -> str:
    """*openings* as `read_hours` reads them."""
    return ", ".join(
        f"{days}{hours.opens:%H:%M}-{hours.closes:%H:%M}"
        for hours in openings
        for days in _spans(hours.days)
    )


def is_open(text: str, local: datetime) -> bool:
    """Whether hours of *text* hold at *local*; never for an empty text. Raises ValueError."""
    return any(hours.hold(local) for hours in read_hours(text))


def _spans(days: Iterable[Day]) -> Iterator[str]:
    """*days* as spans from one to another, each with the blank behind it; "" for all."""
    wanted = sorted(DAYS.index(day) for day in set(days))
    if len(wanted) == len(DAYS):
        yield ""
        return
    for _, group in groupby(enumerate(wanted), key=lambda pair: pair[1] - pair[0]):
        span = [DAYS[day] for _, day in group]
        yield f"{span[0]} " if len(span) == 1 else f"{span[0]}-{span[-1]} "


def read_days(text: str) -> tuple[Day, ...]:
    """The days that *text* tells of, as in "sat" or "mon-wed+fri"; all for "".

    Raises ValueError.
    """
    if not text:
        return DAYS
    days: list[Day] = []
    for span in text.split("+"):
        first, _, last = span.partition("-")
        begin, end = (DAYS.index(day) for day in (first, last or first))
        days += DAYS[begin : end + 1] if begin <= end else DAYS[begin:] + DAYS[: end + 1]
    return tuple(dict.fromkeys(days))


def days_text(days: Iterable[Day]) -> str:
    """*days* as `read_days` reads them."""
    return "+".join(span.strip() for span in _spans(days))


def _read_part(text: str) -> OpenHours:
    match = _PARTS.fullmatch(text)
    if match is None:
        raise ValueError(text)
    days, opens, closes = match.groups()
    return OpenHours(read_days(days or ""), time.fromisoformat(opens), time.fromisoformat(closes))
