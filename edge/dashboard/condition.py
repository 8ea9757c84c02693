"""Says how a unit and a place are, from what storage knows. One judgement for every page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from edge.clock import utc_seconds, utc_text
from edge.storage.fleet import FleetUnit

UnitCondition = Literal["offline", "silent", "troubled", "working", "retired"]
PlaceCondition = Literal["failing", "partly", "troubled", "quiet", "working", "empty"]

#: The worst first, as lists show them.
UNIT_ORDER: tuple[UnitCondition, ...] = ("offline", "silent", "troubled", "working", "retired")
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
#: A certificate that ends so soon is trouble; alarms may begin earlier, by their own settings.
CERTIFICATE_S = 30 * 86_400.0
#: From this on a Pi slows down; below this share of the disk free, little is left.
HOT_C, DISK_FREE = 80.0, 0.05
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
_POWER = Trouble("nguồn điện yếu", "the power supply is weak")
_HOT = Trouble("máy quá nóng", "the machine is too hot")
_FULL = Trouble("đĩa sắp đầy", "the disk is nearly full")
_MENDED = Trouble("máy ảnh hỏng, cần người đến", "the camera is broken, somebody must go there")
_ENDING = Trouble("chứng thư sắp hết hạn", "the certificate is near its end")
_NOT_UPDATED = Trouble("cập nhật không thành công", "the last update failed")
_DAMAGED = Trouble("có bản ghi hỏng trên thẻ nhớ", "damaged records on its disk")


def condition_of(unit: FleetUnit, now: str, silent_after_s: float) -> UnitCondition:
    """How *unit* is at *now*."""
    if unit.state == "retired":
        return "retired"
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
    if health.get("repair") == "exhausted":
        found.append(_MENDED)
    ends = health.get("certificate_ends")
    if isinstance(ends, str) and ends < _before(now, -CERTIFICATE_S):
        found.append(_ENDING)
    update = health.get("update")
    if isinstance(update, dict) and update.get("state") in ("rolled_back", "failed"):
        found.append(_NOT_UPDATED)
    found += _of_machine(health.get("machine"))
    return found


def _of_machine(machine: Any) -> Iterator[Trouble]:
    if not isinstance(machine, dict):
        return
    if machine.get("under_voltage") is True:
        yield _POWER
    if _number(machine.get("temperature_c")) >= HOT_C:
        yield _HOT
    free, total = machine.get("disk_free_bytes"), _number(machine.get("disk_total_bytes"))
    if total and _number(free) < DISK_FREE * total:
        yield _FULL


def condition_of_place(
    units: Sequence[UnitCondition], last_scan: str | None, now: str, quiet_after_s: float
) -> PlaceCondition:
    """How a place is whose units are in these conditions: never better than any of them."""
    units = [condition for condition in units if condition != "retired"]
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
