"""Says how a unit and a place are, from what storage knows. One judgement for every page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from edge.clock import utc_seconds, utc_text
from edge.storage.fleet import FleetUnit

UnitCondition = Literal["offline", "silent", "troubled", "working"]
PlaceCondition = Literal["failing", "partly", "troubled", "quiet", "working", "empty"]

#: The worst first, as lists show them.
UNIT_ORDER: tuple[UnitCondition, ...] = ("offline", "silent", "troubled", "working")
PLACE_ORDER: tuple[PlaceCondition, ...] = (
    "failing",
    "partly",
    "troubled",
    "quiet",
    "empty",
    "working",
)

#: How full an outbox is when that is trouble.
FILL = 0.7
#: Two units under one name are trouble for so long after they last showed.
DOUBLE_S = 86_400.0


@dataclass(frozen=True)
class Trouble:
    """Something about a unit that a technician should look at."""

    vi: str
    en: str


_DOUBLE = Trouble("hai thiết bị dùng chung một tên", "two units under one name")
_CLOCK = Trouble("đồng hồ chưa đúng", "clock is not set")
_FILLING = Trouble("bộ nhớ chờ gửi sắp đầy", "outbox is filling")
_EYE = Trouble("máy ảnh không nhìn rõ", "camera does not see well")
_NOT_KEPT = Trouble("có lượt quét không lưu được", "scans could not be kept")
_DAMAGED = Trouble("có bản ghi hỏng trên thẻ nhớ", "damaged records on its disk")


def condition_of(unit: FleetUnit, now: str, silent_after_s: float) -> UnitCondition:
    """How *unit* is at *now*."""
    if unit.state in ("offline", "stopped"):
        return "offline"
    if unit.seen is None or unit.seen < _before(now, silent_after_s):
        return "silent"
    return "troubled" if troubles_of(unit, now) else "working"


def troubles_of(unit: FleetUnit, now: str) -> list[Trouble]:
    """What is wrong with *unit* by its own word, and by what storage saw."""
    health = unit.health
    found = []
    if any(at and at > _before(now, DOUBLE_S) for at in (unit.doubled, unit.taken_over)):
        found.append(_DOUBLE)
    if health.get("clock") == "none":
        found.append(_CLOCK)
    if _number(health.get("fill")) >= FILL:
        found.append(_FILLING)
    if health.get("eye", "good") not in ("good", "unjudged"):
        found.append(_EYE)
    if _number(health.get("not_kept")) > 0:
        found.append(_NOT_KEPT)
    if _number(health.get("damaged")) > 0:
        found.append(_DAMAGED)
    return found


def condition_of_place(
    units: Sequence[UnitCondition], last_scan: str | None, now: str, quiet_after_s: float
) -> PlaceCondition:
    """How a place is whose units are in these conditions: never better than any of them."""
    if not units:
        return "empty"
    away = sum(condition in ("offline", "silent") for condition in units)
    if away == len(units):
        return "failing"
    if away:
        return "partly"
    if "troubled" in units:
        return "troubled"
    if last_scan is None or last_scan < _before(now, quiet_after_s):
        return "quiet"
    return "working"


@lru_cache(maxsize=256)
def _before(now: str, seconds: float) -> str:
    """So long before *now*. Times of storage are all of one form: their order is that of text."""
    return utc_text(utc_seconds(now) - seconds)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
