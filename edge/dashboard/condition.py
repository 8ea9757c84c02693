"""Says how a unit and a place are, from what storage knows. One judgement for every page."""

from collections.abc import Iterator, Mapping, Sequence
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
#: A scan that has waited for so long is trouble: of a unit that gets confirmations it does not
#: believe, and of any other that is connected.
UNBELIEVED_S, UNCONFIRMED_S = 600.0, 1800.0


@dataclass(frozen=True)
class Trouble:
    """Something about a unit that a technician should look at, and what to do about it."""

    vi: str
    en: str
    do: tuple[str, str]


#: What to do about a unit that is away.
AWAY = ("Kiểm tra nguồn điện và mạng.", "Check power and network.")
DOUBLE = Trouble(
    "hai thiết bị dùng chung một tên",
    "two units under one name",
    (
        "Tìm thẻ nhớ bị sao chép và cấp lại thiết bị.",
        "Find the copied card and provision the unit anew.",
    ),
)
CLOCK = Trouble(
    "đồng hồ chưa đúng",
    "clock is not set",
    ("Cho thiết bị kết nối mạng để lấy giờ.", "Let the unit reach a time server."),
)
FILLING = Trouble(
    "bộ nhớ chờ gửi sắp đầy",
    "outbox is filling",
    (
        "Nối mạng cho thiết bị, hoặc chép lượt quét ra USB.",
        "Connect the unit, or carry its scans on a USB stick.",
    ),
)
EYE = Trouble(
    "máy ảnh không nhìn rõ",
    "camera does not see well",
    ("Lau ống kính, bỏ vật che.", "Clean the lens, remove what covers it."),
)
ENDING = Trouble(
    "chứng thư sắp hết hạn",
    "the certificate is near its end",
    (
        "Thiết bị tự gia hạn qua edge-enrol: kiểm tra mạng đến đó. Nếu vẫn không được, tạo mã mới:"
        " edge-provision code, thêm --enrol.",
        "The unit renews it by itself at edge-enrol: see that it gets there. If not, make it"
        " a code: edge-provision code, with --enrol.",
    ),
)
_NOT_KEPT = Trouble(
    "có lượt quét không lưu được",
    "scans could not be kept",
    (
        "Người quét đã được báo là CHƯA ghi nhận. Kiểm tra thẻ nhớ của thiết bị.",
        "Whoever passed was told that it did not count. Check the unit's card.",
    ),
)
_POWER = Trouble(
    "nguồn điện yếu",
    "the power supply is weak",
    ("Thay bộ nguồn hoặc dây nguồn.", "Replace the power supply or its cable."),
)
_HOT = Trouble(
    "máy quá nóng",
    "the machine is too hot",
    ("Che nắng, để thoáng quanh thiết bị.", "Give it shade and air."),
)
_FULL = Trouble(
    "đĩa sắp đầy",
    "the disk is nearly full",
    (
        "Nối mạng để thiết bị gửi hết lượt chờ; nếu vẫn đầy thì thay thẻ nhớ lớn hơn.",
        "Let it send what waits; if it is still full, use a larger card.",
    ),
)
_MENDED = Trouble(
    "máy ảnh hỏng, cần người đến",
    "the camera is broken, somebody must go there",
    (
        "Cắm lại dây máy ảnh; nếu vẫn hỏng thì thay máy ảnh.",
        "Plug the camera in again; replace it if that is in vain.",
    ),
)
_NOT_UPDATED = Trouble(
    "cập nhật không thành công",
    "the last update failed",
    (
        "Thiết bị vẫn chạy bản cũ. Xem lý do ở trang của thiết bị, rồi cập nhật lại.",
        "The unit goes on with the version before. Its page says why; then update again.",
    ),
)
_DAMAGED = Trouble(
    "có bản ghi hỏng trên thẻ nhớ",
    "damaged records on its disk",
    ("Thay thẻ nhớ; chép lượt quét ra trước.", "Replace the card; export its scans before."),
)
UNBELIEVED = Trouble(
    "không tin xác nhận của máy chủ, lượt quét nằm lại trên thiết bị",
    "it does not believe the centre's confirmations, its scans stay on it",
    (
        "Khóa của máy chủ thu nhận đã đổi, hoặc có kẻ giả mạo trên broker. Chạy edge-collector key"
        " --units để biết thiết bị nào chưa tin khóa; cho ký thêm bằng khóa cũ"
        " (former_receipt_key_files) hoặc đưa receipts.pub mới cho thiết bị.",
        "The collector's key has changed, or somebody at the broker pretends to be it."
        " edge-collector key --units tells which units do not believe the key; let it sign with the"
        " former one too (former_receipt_key_files), or give the unit the new receipts.pub.",
    ),
)
UNCONFIRMED = Trouble(
    "lượt quét gửi đi không được xác nhận",
    "its scans are sent and not confirmed",
    (
        "Lượt quét vẫn nằm an toàn trên thiết bị. Xem nhật ký của edge-collector, chạy"
        " edge-collector set-aside, và kiểm tra quyền của thiết bị trên broker.",
        "Its scans are safe on the unit. See the collector's log, run edge-collector set-aside,"
        " and check what the broker lets the unit do.",
    ),
)


def condition_of(unit: FleetUnit, now: str, silent_after_s: float) -> UnitCondition:
    """How *unit* is at *now*."""
    return judge(unit, now, silent_after_s)[0]


def judge(unit: FleetUnit, now: str, silent_after_s: float) -> tuple[UnitCondition, list[Trouble]]:
    """How *unit* is at *now*, and what is wrong with it besides."""
    troubles = troubles_of(unit, now)
    if unit.state == "retired":
        return "retired", troubles
    if unit.state in ("offline", "stopped"):
        return "offline", troubles
    if unit.seen is None or unit.seen < _before(now, silent_after_s):
        return "silent", troubles
    return "troubled" if troubles else "working", troubles


def troubles_of(unit: FleetUnit, now: str) -> list[Trouble]:
    """What is wrong with *unit* by its own word, and by what storage saw."""
    health = unit.health
    found = []
    if any(at and at > _before(now, DOUBLE_S) for at in (unit.doubled, unit.taken_over)):
        found.append(DOUBLE)
    if health.get("clock") == "none":
        found.append(CLOCK)
    if _number(health.get("fill")) >= FILL:
        found.append(FILLING)
    if health.get("eye", "good") not in ("good", "unjudged"):
        found.append(EYE)
    if _number(health.get("not_kept")) > 0:
        found.append(_NOT_KEPT)
    if _number(health.get("damaged")) > 0:
        found.append(_DAMAGED)
    found += _of_waiting(unit, now)
    if health.get("repair") == "exhausted":
        found.append(_MENDED)
    ends = health.get("certificate_ends")
    if isinstance(ends, str) and ends < _before(now, -CERTIFICATE_S):
        found.append(ENDING)
    update = health.get("update")
    if isinstance(update, dict) and update.get("state") in ("rolled_back", "failed"):
        found.append(_NOT_UPDATED)
    found += _of_machine(health.get("machine"))
    return found


def _of_waiting(unit: FleetUnit, now: str) -> Iterator[Trouble]:
    """Whether scans that it could send stay on it."""
    waited_s = _waited_s(unit.health)
    if _number(unit.health.get("unbelieved")) > 0:
        # One that did believe another confirmation since then has got rid of its scans.
        if waited_s >= UNBELIEVED_S:
            yield UNBELIEVED
    elif waited_s >= UNCONFIRMED_S and (
        unit.last_scan is None or unit.last_scan < _before(now, UNBELIEVED_S)
    ):
        # One that was away sends what it kept: that comes in.
        yield UNCONFIRMED


def _waited_s(health: Mapping[str, Any]) -> float:
    """For how long its oldest scan has waited, by its own clock; 0 if none does."""
    at, oldest = health.get("at"), health.get("oldest")
    if not isinstance(at, str) or not isinstance(oldest, str):
        return 0.0
    try:
        return utc_seconds(at) - utc_seconds(oldest)
    except (ValueError, OverflowError):
        # Of a unit's word only the form is certain.
        return 0.0


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
