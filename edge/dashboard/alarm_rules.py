"""What is an alarm. Each rule looks at what storage knows now and names what it found.

A finding with `raises` begins an alarm if it lasts; one without only keeps an alarm open that began
before, so that a value that trembles at its limit does not come and go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from edge.clock import utc_seconds, utc_text
from edge.dashboard.condition import (
    AWAY,
    CLOCK,
    DOUBLE,
    DOUBLE_S,
    ENDING,
    EYE,
    FILLING,
    UNBELIEVED,
    UNCONFIRMED,
    UNCONFIRMED_S,
)
from edge.dashboard.local_time import local
from edge.opening_hours import DAYS
from edge.register import Opening, Place
from edge.storage.fleet import FleetUnit
from edge.storage.keeping import SHORTEST
from edge.storage.keeping.known_time import DO, Known

Kind = Literal[
    "place-silent",
    "unit-offline",
    "unbelieved",
    "unconfirmed",
    "outbox-filling",
    "clock-wrong",
    "certificate-ending",
    "camera-blocked",
    "unreadable",
    "impossible-rate",
    "double-unit",
    "centre-clock",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: What each is called, and what somebody should do about it: Vietnamese, English.
NAMES: dict[Kind, tuple[str, str]] = {
    "place-silent": ("Điểm không có lượt quét trong giờ mở cửa", "No scans in opening hours"),
    "unit-offline": ("Thiết bị mất kết nối", "Unit offline"),
    "unbelieved": ("Xác nhận có chữ ký không đúng", "Confirmations not signed by the centre"),
    "unconfirmed": ("Lượt quét không được xác nhận", "Scans not confirmed"),
    "outbox-filling": ("Bộ nhớ chờ gửi sắp đầy", "Outbox filling"),
    "clock-wrong": ("Đồng hồ chưa đúng", "Clock not set"),
    "certificate-ending": ("Chứng thư sắp hết hạn", "Certificate near its end"),
    "camera-blocked": ("Máy ảnh bị che hoặc mờ", "Camera blocked or blurred"),
    "unreadable": ("Nhiều mã không đọc được", "Many codes unreadable"),
    "impossible-rate": ("Số lượt quét cao bất thường", "More scans than can be"),
    "double-unit": ("Hai thiết bị dùng chung một tên", "Two units with one identity"),
    "centre-clock": (
        "Đồng hồ máy chủ thu nhận không đáng tin",
        "Clock of a collector cannot be relied on",
    ),
}
ADVICE: dict[Kind, tuple[str, str]] = {
    "place-silent": (
        "Hỏi người phụ trách điểm; xem thiết bị có hoạt động không.",
        "Ask whoever is in charge; see whether the unit works.",
    ),
    "unit-offline": AWAY,
    "unbelieved": UNBELIEVED.do,
    "unconfirmed": UNCONFIRMED.do,
    "outbox-filling": FILLING.do,
    "clock-wrong": CLOCK.do,
    "certificate-ending": ENDING.do,
    "camera-blocked": EYE.do,
    "unreadable": ("Lau ống kính, kiểm tra ánh sáng.", "Clean the lens, check the light."),
    "impossible-rate": (
        "Xem có ai đưa cùng một loạt mã nhiều lần.",
        "See whether somebody shows codes again and again.",
    ),
    "double-unit": DOUBLE.do,
    "centre-clock": DO,
}

#: A collector says each hour what it knows of the time; after so long it is not there any more.
GONE_S = 2 * 86_400.0


@dataclass(frozen=True)
class Limits:
    """From when on something is an alarm."""

    silent_unit_s: float = 600.0
    silent_place_s: float = 7200.0
    fill: float = 0.7
    fill_well: float = 0.6
    certificate_s: float = 90 * 86_400.0
    #: Of codes that stayed in view, so many were not read, and at least this part of all.
    unread: int = 20
    unread_share: float = 0.5
    #: So long the same scan has been the oldest that a unit, though it is connected, waits with.
    unconfirmed_s: float = UNCONFIRMED_S
    #: Scans of one unit in a quarter of an hour: a scan a second all the time.
    scans_in_a_quarter: int = 900


@dataclass(frozen=True)
class Finding:
    """Something that a rule found."""

    kind: Kind
    subject: str  #: a unit, a place or a collector
    place: str  #: whose manager is concerned; "" if not known
    detail: str = ""  #: a number or a word that says more
    raises: bool = True


@dataclass(frozen=True)
class Sight:
    """What the rules look at."""

    now: str
    units: Sequence[FleetUnit]
    register: Mapping[str, Place]
    #: The most scans of each unit in this quarter of an hour or the one before.
    in_a_quarter: Mapping[str, int]
    #: The counters of each unit about an hour ago.
    hour_ago: Mapping[str, "Counters"]
    #: For how long the oldest scan of each unit has been the same, in seconds, while it told so.
    waited_s: Mapping[str, float]
    #: What collectors know of the time.
    known: Sequence[Known] = ()
    #: The first day of which anything was counted.
    first_day: date | None = None


def findings(sight: Sight, limits: Limits) -> Iterator[Finding]:
    """Everything that the rules find."""
    for unit in sight.units:
        yield from _of_unit(unit, sight, limits)
    last_scan: dict[str, str] = {}
    for unit in sight.units:
        if unit.last_scan:
            last_scan[unit.place] = max(unit.last_scan, last_scan.get(unit.place, ""))
    for place in sight.register.values():
        if place.hours and _is_silent(place, last_scan.get(place.id), sight.now, limits):
            yield Finding("place-silent", place.id, place.id, last_scan.get(place.id, ""))
    for known in sight.known:
        if _is_troubled(known, sight):
            yield Finding("centre-clock", known.collector, "", f"{known.trouble} {known.off_days}")


class Counters(NamedTuple):
    """What a unit has counted since its scanner started."""

    unread: int  #: codes that stayed in view without being read
    read: int
    unbelieved: int  #: confirmations that its centre had not signed

    @classmethod
    def of(cls, health: Mapping[str, Any]) -> "Counters":
        """As they stand in *health*."""
        refused = health.get("refused")
        others = sum(_count(n) for n in refused.values()) if isinstance(refused, dict) else 0
        read = _count(health.get("accepted")) + _count(health.get("repeated")) + others
        return cls(_count(health.get("unread")), read, _count(health.get("unbelieved")))

    def since(self, before: "Counters") -> "Counters":
        """What has come since *before*."""
        return Counters(*(later - then for later, then in zip(self, before, strict=True)))


def is_away(unit: FleetUnit, now: str, limits: Limits) -> bool:
    """Whether nothing comes from *unit*: by its last will, or for long."""
    silent = unit.seen is None or _age(unit.seen, now) > limits.silent_unit_s
    return unit.state == "offline" or silent


def is_open(place: Place, moment: datetime) -> bool:
    """Whether *place* is open at the local *moment*, by its own hours."""
    return any(_covers(hours, moment) for hours in place.hours)


def _of_unit(unit: FleetUnit, sight: Sight, limits: Limits) -> Iterator[Finding]:
    health, now = unit.health, sight.now

    def found(kind: Kind, detail: str = "", *, raises: bool = True) -> Finding:
        return Finding(kind, unit.unit, unit.place, detail, raises)

    if unit.state == "retired":
        return
    if is_away(unit, now, limits):
        if unit.state != "stopped":
            yield found("unit-offline", unit.seen or "")
        # What it said last is old: nothing else of its own is judged by it.
        return
    fill = health.get("fill")
    if isinstance(fill, int | float) and fill >= limits.fill_well:
        yield found("outbox-filling", f"{100 * fill:.0f} %", raises=fill >= limits.fill)
    if health.get("clock") == "none":
        yield found("clock-wrong")
    ends = health.get("certificate_ends")
    # As text, since what a unit says may be of a day that there is not.
    if isinstance(ends, str) and ends < utc_text(utc_seconds(now) + limits.certificate_s):
        yield found("certificate-ending", ends[:10])
    eye = health.get("eye", "good")
    if eye not in ("good", "unjudged"):
        yield found("camera-blocked", str(eye)[:40])
    counters = Counters.of(health)
    lately = counters.since(sight.hour_ago.get(unit.unit, counters))
    unread, codes = lately.unread, lately.unread + max(lately.read, 0)
    if unread >= limits.unread and unread >= limits.unread_share * codes:
        yield found("unreadable", f"{unread} / {codes}")
    if lately.unbelieved > 0:
        yield found("unbelieved", str(lately.unbelieved))
    elif sight.waited_s.get(unit.unit, 0.0) >= limits.unconfirmed_s:
        yield found("unconfirmed", str(_count(health.get("pending"))))
    if sight.in_a_quarter.get(unit.unit, 0) > limits.scans_in_a_quarter:
        yield found("impossible-rate", str(sight.in_a_quarter[unit.unit]))
    if any(at and _age(at, now) < DOUBLE_S for at in (unit.doubled, unit.taken_over)):
        yield found("double-unit")


def _is_silent(place: Place, last_scan: str | None, now: str, limits: Limits) -> bool:
    """Open for so long already, and no scan in all that time."""
    begun = local(now) - timedelta(seconds=limits.silent_place_s)
    if not (is_open(place, local(now)) and is_open(place, begun)):
        return False
    return last_scan is None or _age(last_scan, now) > limits.silent_place_s


def _covers(hours: Opening, moment: datetime) -> bool:
    today, yesterday = DAYS[moment.weekday()], DAYS[moment.weekday() - 1]
    time = moment.time()
    if hours.opens <= hours.closes:
        return today in hours.days and hours.opens <= time < hours.closes
    # Over midnight: the evening of its day, or the morning after.
    return (today in hours.days and time >= hours.opens) or (
        yesterday in hours.days and time < hours.closes
    )


def _age(at: str, now: str) -> float:
    return utc_seconds(now) - utc_seconds(at)


def _is_troubled(known: Known, sight: Sight) -> bool:
    """Whether somebody should look after the clock of a collector."""
    if known.trouble == "nobody":
        # There is time for it until the first day may be past its time.
        first = sight.first_day
        return first is not None and (local(sight.now).date() - first).days >= SHORTEST
    # One that has said nothing for days may have been taken down.
    is_there = known.trouble == "behind" or _age(known.clock, sight.now) < GONE_S
    return bool(known.trouble) and is_there


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def subjects(found: Iterable[Finding]) -> dict[tuple[Kind, str], Finding]:
    """*found* by kind and subject."""
    return {(finding.kind, finding.subject): finding for finding in found}
