"""What a code is: one of the documents that count at a gate, or one that is politely refused.

Two tables at the end of this file decide. Only structure refuses; whatever is merely odd about a
document becomes a flag beside it, and nobody is turned away for it. Of an accepted document the
least that tracing needs is kept; of a refused code nothing but its kind and, if it is unknown, its
outer shape. All text here is written by strangers: it is compared and kept as text, never run,
fetched or logged.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Literal

import msgspec

from edge import setup_code
from edge.identity import NAME_BYTES, Identity, flag_bits
from edge.messages import DocumentKind

#: Of the 2,953 bytes that a QR code can hold; no document comes near.
MAX_CODE_BYTES = 2_048


@dataclass(frozen=True)
class Document:
    """A code that counts, and what is kept of it.

    Flags that say what is odd about it (a flag is a word of ours, never a part of the code; they
    are sealed with the identity):

        masked            number or birth date are hidden by stars; `tail` is what was left readable
        by_proxy          declared by somebody else, as for a child
        no_identifier     neither number, QID nor card: a name at most, a weak match
        prefix_unknown    the number starts with no province or country known before July 2024
        sex_mismatch      the number says another sex than the document
        year_mismatch     the number says another birth year than the document
        impossible_date   no such day in the calendar; the year is kept all the same
        odd_date          a birth date written in another way than its document asks
        odd_sex           a sex that is none of the known words; left out
        odd_number, odd_qid, odd_card, odd_phone
                          not of the form of such a value, or too long; left out, never cut
        odd_name          the name's bytes are not UTF-8; left out
        hidden_characters the name had control, direction or zero-width characters; left out of it
        name_cut          the name was longer than NAME_BYTES
    """

    kind: DocumentKind
    flags: tuple[str, ...]
    identity: Identity = field(repr=False)


class RefusalKind(StrEnum):
    """Why a code is refused, as it is counted."""

    HEALTH_CERTIFICATE = "health_certificate"
    PAYMENT = "payment"
    PLACE_CODE = "place_code"
    FOREIGN = "foreign"
    SETUP_CODE = "setup_code"
    TOO_LONG = "too_long"
    UNDECODABLE = "undecodable"
    CONTROL_CHARACTERS = "control_characters"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Refusal:
    """A code that does not count."""

    kind: RefusalKind
    #: Of an unknown code, its size and number of fields, as in "64_bytes_7_fields"; "" of others.
    shape: str = ""


def classify(code: bytes) -> Document | Refusal:
    """What *code* is. Answers for any bytes and never raises."""
    if len(code) > MAX_CODE_BYTES:
        return Refusal(RefusalKind.TOO_LONG)
    try:
        # "-sig" passes over the byte order mark that some makers of codes put in front.
        text = code.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Refusal(RefusalKind.UNDECODABLE)
    text = unicodedata.normalize("NFC", text.rstrip("\r\n "))
    for refuses, kind in _REFUSED:
        if refuses(text):
            return Refusal(kind)
    fields = text.split("|")
    for accepts, read in _ACCEPTED:
        if accepts(fields):
            return read(fields)
    return Refusal(RefusalKind.UNKNOWN, _shape(len(code), len(fields)))


def _shape(size: int, fields: int) -> str:
    # Few enough shapes to be counted one by one: sizes are rounded up, 16 fields are 16 or more.
    bucket = next(limit for limit in _SIZES if size <= limit)
    return f"{bucket}_bytes_{min(fields, 16)}_fields"


_SIZES = (16, 32, 64, 128, 256, 512, 1_024, MAX_CODE_BYTES)


def _begins(pattern: str) -> Callable[[str], object]:
    """A test whether a text begins with *pattern*, in capitals or not."""
    return re.compile(pattern, re.IGNORECASE | re.ASCII).match


def _is_place_code(text: str) -> bool:
    host = _host(text)
    return host in ("tokhaiyte.vn", "qr.tokhaiyte.vn") or host.endswith(".pccovid.gov.vn")


def _host(text: str) -> str:
    """The host of a web address, in small letters; "" if *text* is none.

    Not with urllib, which would keep the last addresses it was asked about in a cache.
    """
    found = _HOST.match(text)
    return found[1].lower().rstrip(".") if found else ""


# Whatever stands before "@" is a user, as in https://tokhaiyte.vn@example.invalid/.
_HOST = re.compile(r"https?://(?:[^/?#\\]*@)?([^/?#\\:@]*)", re.IGNORECASE | re.ASCII)


def _has_control(text: str) -> bool:
    return any(character < " " for character in text)


# Digits are spelled out everywhere: "\d" would take those of every script.
_PIN = re.compile(r"[0-9]{12}")
_NUMBER = re.compile(r"[0-9A-Za-z]{1,20}")
_QID = re.compile(r"[0-9A-Za-z-]{1,32}")
_HEALTH_CARD = re.compile(r"[A-Z]{2}[0-9][0-9A-Z]{12}|[0-9]{10}")
_PHONE = re.compile(r"\+?[0-9]{6,14}")
_TAIL = re.compile(r"[0-9A-Za-z]{1,12}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")

_QRQG_DATE = re.compile(
    r"(?P<year>[0-9]{4})[-/](?P<month>[0-9]{1,2}|\*{1,2})[-/](?P<day>[0-9]{1,2}|\*{1,2})"
)
_QRQG_DATE_AS_SPECIFIED = re.compile(r"[0-9]{4}-(?:[0-9]{2}|\*\*)-(?:[0-9]{2}|\*\*)")
_CCCD_DATE = re.compile(r"(?P<day>[0-9]{2})(?P<month>[0-9]{2})(?P<year>[0-9]{4})")
_BHYT_DATE = re.compile(r"(?:(?P<day>[0-9]{1,2})/(?P<month>[0-9]{1,2})/)?(?P<year>[0-9]{4})")


def _is_qrqg(fields: list[str]) -> bool:
    return (
        len(fields) == 6 and fields[3] in ("0", "1") and _QRQG_DATE.fullmatch(fields[2]) is not None
    )


def _read_qrqg(fields: list[str]) -> Document:
    """number | name | birth date | declared by | QID | proxy's QID < sex < card < phone ..."""
    number, name, born, declared_by, qid, extras = fields
    _, sex, card, phone = (extras.split("<") + [""] * 4)[:4]
    flags = []
    masked = "*" in number
    if masked or "*" in born:
        flags.append("masked")
    if declared_by == "1":
        flags.append("by_proxy")
    if not _QRQG_DATE_AS_SPECIFIED.fullmatch(born):
        flags.append("odd_date")
    identity = Identity(
        pin="" if masked else _kept(number, _NUMBER, "odd_number", flags),
        tail=_kept(number.rpartition("*")[2], _TAIL, "odd_number", flags) if masked else "",
        qid=_kept(qid, _QID, "odd_qid", flags),
        bhyt=_kept(card, _HEALTH_CARD, "odd_card", flags),
        phone=_kept(phone, _PHONE, "odd_phone", flags),
        name=_name(name, flags),
        birth_year=_birth_year(_QRQG_DATE, born, flags),
        sex=_sex(sex, flags),
    )
    return _document("qrqg", identity, flags)


def _is_cccd(fields: list[str]) -> bool:
    return (
        7 <= len(fields) <= 12
        and _PIN.fullmatch(fields[0]) is not None
        and _CCCD_DATE.fullmatch(fields[3]) is not None
    )


def _read_cccd(fields: list[str]) -> Document:
    """number | old number | name | birth date | sex | address | issued | [parents and others]"""
    number, _, name, born, sex, *_ = fields
    flags: list[str] = []
    identity = Identity(
        pin=_kept(number, _PIN, "odd_number", flags),
        name=_name(name, flags),
        birth_year=_birth_year(_CCCD_DATE, born, flags),
        sex=_sex(sex, flags),
    )
    return _document("cccd" if len(fields) == 7 else "can_cuoc", identity, flags)


def _is_bhyt(fields: list[str]) -> bool:
    return (
        len(fields) >= 14
        and _HEX.fullmatch(fields[1]) is not None
        and _HEALTH_CARD.fullmatch(fields[0]) is not None
    )


def _read_bhyt(fields: list[str]) -> Document:
    """card | name in hex | birth date or year | sex | address | facility | dates and others | $"""
    card, name, born, sex, *_ = fields
    flags: list[str] = []
    identity = Identity(
        bhyt=_kept(card, _HEALTH_CARD, "odd_card", flags),
        name=_name(_from_hex(name, flags), flags),
        birth_year=_birth_year(_BHYT_DATE, born, flags),
        sex=_sex(sex, flags),
    )
    return _document("bhyt", identity, flags)


def _document(kind: DocumentKind, identity: Identity, flags: list[str]) -> Document:
    if not (identity.pin or identity.tail or identity.qid or identity.bhyt):
        flags.append("no_identifier")
    if _PIN.fullmatch(identity.pin):
        flags.extend(_pin_flags(identity))
    identity = msgspec.structs.replace(identity, flags=flag_bits(flags))
    return Document(kind, tuple(dict.fromkeys(flags)), identity)


def _kept(value: str, form: re.Pattern[str], flag: str, flags: list[str]) -> str:
    """*value* if it has the *form*; else "", and *flag* says so."""
    value = value.strip()
    # "", "-", "00": how the platforms write that there is none. It must not become a person.
    if not value.strip("0-"):
        return ""
    if form.fullmatch(value):
        return value
    flags.append(flag)
    return ""


def _name(text: str, flags: list[str]) -> str:
    """A name as it was given, but only what a reader would see of it; NFC, cut to NAME_BYTES.

    A formula start or an apostrophe is a part of a name here. Whoever exports it must escape it.
    """
    visible = "".join(char for char in text if unicodedata.category(char) not in _INVISIBLE)
    if visible != text:
        flags.append("hidden_characters")
    # Again, since what was taken out may have stood between a letter and its mark.
    name = unicodedata.normalize("NFC", " ".join(visible.split()))
    packed = name.encode()
    if len(packed) > NAME_BYTES:
        flags.append("name_cut")
        # Drops the character that the cut went through.
        name = packed[:NAME_BYTES].decode(errors="ignore").rstrip()
    return name


# Controls; directions, joiners and zero-width spaces; separators of lines and of paragraphs.
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})


def _from_hex(text: str, flags: list[str]) -> str:
    try:
        return bytes.fromhex(text).decode()
    except UnicodeDecodeError:
        flags.append("odd_name")
        return ""


def _birth_year(form: re.Pattern[str], text: str, flags: list[str]) -> int:
    """The year of a birth date of this *form*; 0 if there is none."""
    if not text.strip(" -"):
        return 0
    found = form.fullmatch(text)
    if not found:
        flags.append("odd_date")
        return 0
    year = int(found["year"])
    try:
        date(year, _known(found["month"]), _known(found["day"]))
    except ValueError:
        flags.append("impossible_date")
    return year


def _known(part: str | None) -> int:
    # Left out, hidden by stars, or 00 as for those who know but their year: any will do.
    return 1 if part is None or "*" in part else int(part) or 1


Sex = Literal["", "m", "f"]
_SEXES: dict[str, Sex] = {"1": "m", "nam": "m", "2": "f", "nữ": "f", "nu": "f"}


def _sex(text: str, flags: list[str]) -> Sex:
    word = text.strip().lower()
    # "0": not known.
    if not word.strip("0-"):
        return ""
    if word not in _SEXES:
        flags.append("odd_sex")
    return _SEXES.get(word, "")


def _pin_flags(identity: Identity) -> list[str]:
    """What a 12-digit number says against the rest of the document.

    Only numbers given before July 2024 are sure to be built like this: hence flags, not refusals.
    """
    pin = identity.pin
    sex = "m" if int(pin[3]) % 2 == 0 else "f"
    born = 1900 + 100 * (int(pin[3]) // 2) + int(pin[4:6])
    flags = []
    if pin[:3] not in _PROVINCES and not 101 <= int(pin[:3]) <= 295:
        flags.append("prefix_unknown")
    if identity.sex and identity.sex != sex:
        flags.append("sex_mismatch")
    if identity.birth_year and identity.birth_year != born:
        flags.append("year_mismatch")
    return flags


# The 63 provinces until July 2025, whose codes stay in the numbers: 064 is Gia Lai. 101 to 295 are
# countries, for births that were registered abroad.
_PROVINCE_CODES = """
001 002 004 006 008 010 011 012 014 015 017 019 020 022 024 025 026 027 030 031 033 034 035 036 037
038 040 042 044 045 046 048 049 051 052 054 056 058 060 062 064 066 067 068 070 072 074 075 077 079
080 082 083 084 086 087 089 091 092 093 094 095 096
"""
_PROVINCES = frozenset(_PROVINCE_CODES.split())

_ELSEWHERE = r"https?://|WIFI:|BEGIN:VCARD|MECARD:|tel:|mailto:|otpauth:|NZCOVIDTRACER:"

# The two tables. They are asked from the top, and the first test that holds decides.
_REFUSED: tuple[tuple[Callable[[str], object], RefusalKind], ...] = (
    (_begins(r"HC[1-9A-Z]:|shc:/"), RefusalKind.HEALTH_CERTIFICATE),
    # Taken by setup_window.py while that is open, and by nobody otherwise.
    (_begins(setup_code.PREFIX), RefusalKind.SETUP_CODE),
    (_begins(r"000201"), RefusalKind.PAYMENT),  # EMVCo: VietQR, VNPay, ZaloPay
    (_begins(r"2\|99\|"), RefusalKind.PAYMENT),  # MoMo, between persons: has a phone and a name
    (_is_place_code, RefusalKind.PLACE_CODE),
    (_begins(_ELSEWHERE), RefusalKind.FOREIGN),
    # Only now: a visiting card has line ends by right.
    (_has_control, RefusalKind.CONTROL_CHARACTERS),
)

_ACCEPTED: tuple[tuple[Callable[[list[str]], bool], Callable[[list[str]], Document]], ...] = (
    (_is_qrqg, _read_qrqg),
    (_is_cccd, _read_cccd),
    (_is_bhyt, _read_bhyt),
)
