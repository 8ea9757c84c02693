"""What `edge-scanner check` found, as lines and as a QR code that a photograph takes to the office.

`EDGECHECK1:` and then, in base45, the report as MessagePack, deflated with a dictionary of what
such reports say. Nothing personal is in it: names of parts, figures, and our own sentences.
"""

import json
import zlib
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge import base45
from edge.errors import ReportError
from edge.messages import Name, Utc

PREFIX = "EDGECHECK1:"
#: A text is cut to this in a code; on the screen it is whole.
TEXT_CHARACTERS = 160
#: More than any report has, inflated.
_MAX_BYTES = 16_384
_MAX_PARTS = 64

#: What a unit has, and what it is called in Vietnamese.
PARTS = {
    "settings": "cấu hình",
    "tracing key": "khóa truy vết",
    "legal basis": "căn cứ pháp lý",
    "certificate": "chứng thư",
    "board": "bo mạch",
    "disk": "ổ đĩa",
    "disk health": "tuổi thọ ổ đĩa",
    "mount": "gắn ổ đĩa",
    "wireless": "mạng Wi-Fi",
    "reader": "bộ đọc mã",
    "second reader": "bộ đọc thứ hai",
    "camera": "máy ảnh",
    "eye": "mắt đọc",
    "button": "nút cài đặt",
    "indicator": "đèn và còi",
    "broker": "máy chủ MQTT",
    "clock": "đồng hồ",
    "centre": "khóa trung tâm",
    "gps": "bộ thu GPS",
    "speaker": "loa",
}

#: Part of version 1: codes that were made with another one cannot be read with this.
_PHRASES = (
    "there is no legal basis; /etc/edge/basis.pub: cannot read the key: No such file or directory;"
    " until /etc/edge/basis has a valid document of cho-1, this unit does not collectnobody listens"
    " at 127.0.0.1; start the broker or correct broker.url (scans are kept until it is back)ended"
    " on 2026-; scans are kept, but cannot be sent until theno space left; make room or use a"
    " larger card: people wait; use a faster card (A1, industrial) has reached the end of its life;"
    " put in another card: edge-provision card10 % of its life usedmean brightness 1 of 255; độ nét"
    " chưa xét vì không thấy mã chuẩn / sharpness not judged: no golden code in view (edge-scanner"
    " eye --golden FILE draws it)mã chuẩn / golden code: 9 % sharp, light 2 and dark  of 255, 4."
    " pixels a module/dev/mmcblk0p2SD32Gterminal:"
    "settings/etc/edge/scanner.tomltracing keyidentities are sealed to key legal basis of , until"
    "certificateof  days leftnone: whoever reaches the broker is let in; use certificates in the"
    " fieldboardno serial number, card 10000000 of not set up by a card; a code or a card sets it"
    " updisk MB free, a write is safe after  ms, at most disk healthtells no wear; no errorsmount/"
    " (ext4), rw,noatime,relatime,errors=remount-rowirelesswlan0: - dBm is weak; move the antenna"
    " or the access pointno wireless network in usereaderreads a test code exactlysecond reader"
    "zbar is therecamerapi: 1280x720eyeno golden code within 3 s: light 120 of 255sharpness 0."
    "buttonpin 23: hold it for 3 s, and the light says that it waits for a set-up codeindicator"
    "gpio: you should have seen green and heard one beepbrokerclock, set by ntprtcnone, not set by"
    " anything yet; scans carry the time since boot as wellcannot read it: No such file or"
    " directory; write a card2026-11-25T00:00:00.000Z0.1.0 mqtts://.vn:8883 answers after  ms"
).encode()


@dataclass(frozen=True)
class CheckResult:
    """What was found of one part."""

    part: str
    ok: bool
    text: str
    #: It works, but should be seen to.
    concern: bool = False

    def line(self) -> str:
        """For a person."""
        names = " / ".join(filter(None, (PARTS.get(self.part), self.part)))
        return f"{self.mark} {names:<30} {self.text}"

    @property
    def mark(self) -> Literal["✓", "‼", "✗"]:
        """✓ works, ‼ works but should be seen to, ✗ does not work."""
        return "‼" if self.concern else "✓" if self.ok else "✗"

    def json(self) -> str:
        """For a program."""
        facts = {"part": self.part, "ok": self.ok, "concern": self.concern, "text": self.text}
        return json.dumps(facts)


class _Line(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    part: Annotated[str, Meta(max_length=32)]
    mark: Literal[0, 1, 2]
    text: Annotated[str, Meta(max_length=TEXT_CHARACTERS)]


class _Report(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    unit: Name | None
    at: Utc
    software: Annotated[str, Meta(max_length=40)]
    lines: Annotated[tuple[_Line, ...], Meta(max_length=_MAX_PARTS)]


@dataclass(frozen=True)
class CheckReport:
    """All that a check found."""

    #: None of a unit that waits for its set-up code.
    unit: str | None
    #: When, by the unit's own clock, UTC.
    at: str
    software: str
    results: tuple[CheckResult, ...]


def write_report(report: CheckReport) -> str:
    """*report* as the text of a QR code."""
    lines = tuple(
        _Line(each.part, 1 if each.concern else 0 if each.ok else 2, each.text[:TEXT_CHARACTERS])
        for each in report.results
    )
    packed = msgspec.msgpack.encode(_Report(report.unit, report.at, report.software, lines))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_PHRASES)
    return PREFIX + base45.encode(deflate.compress(packed) + deflate.flush())


def read_report(text: str) -> CheckReport:
    """The report in *text*, of a code that anybody may have made. Raises ReportError."""
    if not text.startswith(PREFIX):
        raise ReportError(f"this is no code of edge-scanner check; one begins with {PREFIX}")
    inflate = zlib.decompressobj(-15, zdict=_PHRASES)
    try:
        packed = inflate.decompress(base45.decode(text[len(PREFIX) :]), _MAX_BYTES)
        if not inflate.eof or inflate.unused_data:
            raise ReportError("the code of the check is not whole; photograph it again, nearer")
        report = msgspec.msgpack.decode(packed, type=_Report)
    except (ValueError, zlib.error, msgspec.DecodeError, RecursionError) as err:
        if isinstance(err, ReportError):
            raise
        raise ReportError(
            "the code of the check is damaged, or of another version; photograph it again, nearer"
        ) from None
    results = (CheckResult(x.part, x.mark < 2, x.text, x.mark == 1) for x in report.lines)
    return CheckReport(report.unit, report.at, report.software, tuple(results))
