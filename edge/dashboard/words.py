"""What units and alarms say in short, in people's words: Vietnamese, English."""

from edge.dashboard.alarm_rules import Kind
from edge.dashboard.local_time import day_text, local, number_text
from edge.storage.keeping.known_time import says

#: How a unit sees, by its own word.
EYES: dict[str, tuple[str, str]] = {
    "good": ("nhìn rõ", "sees well"),
    "unjudged": ("chưa đánh giá", "not judged yet"),
    "covered": ("bị che", "covered"),
    "dark": ("quá tối", "too dark"),
    "bright": ("quá sáng", "too bright"),
    "veiled": ("mờ đục", "veiled"),
    "blurred": ("mất nét", "out of focus"),
    "spot": ("có vết bẩn", "a spot on it"),
    "far": ("quá xa", "too far"),
    "off": ("lệch hướng", "off its aim"),
}

#: Which way a scan was.
WAYS: dict[str, tuple[str, str]] = {
    "in": ("vào", "in"),
    "out": ("ra", "out"),
    "both": ("không rõ hướng", "either way"),
}
#: What set a clock.
CLOCKS: dict[str, tuple[str, str]] = {
    "ntp": ("máy chủ thời gian (NTP)", "time server (NTP)"),
    "rtc": ("đồng hồ có pin (RTC)", "battery clock (RTC)"),
    "gnss": ("vệ tinh (GNSS)", "satellites (GNSS)"),
    "none": ("chưa đặt giờ", "not set"),
}


#: What follows the number that is an alarm's detail.
_COUNTED: dict[Kind, tuple[str, str]] = {
    "impossible-rate": (" lượt trong 15 phút", " scans in 15 min"),
    "unbelieved": (" lần trong một giờ", " in an hour"),
    "unconfirmed": (" lượt đang chờ", " scans wait"),
}


def in_language(words: tuple[str, str], language: str) -> str:
    """The one of *words* that is of *language*."""
    return words[0] if language == "vi" else words[1]


def detail_text(kind: Kind, detail: str, language: str) -> str:
    """What an alarm's detail says to a person; "" if it has none. A rule wrote it: see there."""
    if not detail:
        return ""
    if kind == "camera-blocked":
        return in_language(EYES.get(detail, (detail, detail)), language)
    if kind in ("place-silent", "unit-offline"):
        return in_language(("lần cuối", "last"), language) + f" {local(detail):%H:%M %d/%m/%Y}"
    if kind == "certificate-ending":
        try:
            # Of the unit's own word only the form is certain.
            day = day_text(local(f"{detail}T00:00:00Z").date(), language)
        except ValueError:
            return detail
        return in_language(("hết hạn", "ends"), language) + f" {day}"
    if kind == "unreadable":
        unread, _, all_codes = detail.partition(" / ")
        of = in_language(("trên", "of"), language)
        return f"{_number(unread, language)} {of} {_number(all_codes, language)}"
    if kind == "centre-clock":
        trouble, _, days = detail.partition(" ")
        return in_language(says(trouble, int(days)), language)  # type: ignore[arg-type]
    if kind in _COUNTED:
        return _number(detail, language) + in_language(_COUNTED[kind], language)
    return detail


def _number(text: str, language: str) -> str:
    return number_text(int(text), language) if text.isascii() and text.isdigit() else text
