"""Times and numbers as people here read them. Viet Nam keeps one time all year."""

from datetime import UTC, date, datetime, timedelta, timezone

from edge.clock import utc_seconds

_SWAPPED = str.maketrans(",.", ".,")
HO_CHI_MINH = timezone(timedelta(hours=7), "Asia/Ho_Chi_Minh")


def local(utc: str) -> datetime:
    """A UTC time of storage in local time."""
    return datetime.fromtimestamp(utc_seconds(utc), UTC).astimezone(HO_CHI_MINH)


def local_day(utc: str) -> date:
    """The local day of a UTC time."""
    return local(utc).date()


def clock_text(utc: str | None, now: str, language: str) -> str:
    """A moment beside *now*: the hour alone if it is of today."""
    if not utc:
        return "–"
    moment = local(utc)
    if moment.date() == local_day(now):
        return f"{moment:%H:%M}"
    return f"{moment:%H:%M %d/%m}" if language == "vi" else f"{moment:%d %b %H:%M}"


def clock_text_or(utc: str, now: str, language: str) -> str:
    """The same of a time that somebody else wrote; what is no time stays as it is."""
    try:
        return clock_text(utc, now, language)
    except (ValueError, OverflowError):
        return utc


def day_text_or(utc: str, language: str) -> str:
    """The local day of a time that somebody else wrote; what is no time stays as it is."""
    try:
        return day_text(local_day(utc), language)
    except (ValueError, OverflowError):
        return utc


def second_text(utc: str, now: str, language: str) -> str:
    """A moment beside *now* to the second: the hour alone if it is of today."""
    moment = local(utc)
    if moment.date() == local_day(now):
        return f"{moment:%H:%M:%S}"
    return f"{moment:%H:%M:%S %d/%m}" if language == "vi" else f"{moment:%d %b %H:%M:%S}"


def ago_text(utc: str | None, now: str, language: str) -> str:
    """How long ago, in one unit: "3 phút trước"."""
    if not utc:
        return "chưa bao giờ" if language == "vi" else "never"
    seconds = max(0.0, utc_seconds(now) - utc_seconds(utc))
    for length, vi, en in ((86_400, "ngày", "d"), (3600, "giờ", "h"), (60, "phút", "min")):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {vi} trước" if language == "vi" else f"{count} {en} ago"
    return "vừa xong" if language == "vi" else "just now"


def day_text(day: date, language: str) -> str:
    """A day in full."""
    return f"{day:%d/%m/%Y}" if language == "vi" else f"{day:%d %b %Y}"


def number_text(number: float | None, language: str, decimals: int = 0) -> str:
    """A number with its thousands apart: 12.345,6 here, 12,345.6 in English."""
    if number is None:
        return "–"
    text = f"{number:,.{decimals}f}"
    return text.translate(_SWAPPED) if language == "vi" else text
