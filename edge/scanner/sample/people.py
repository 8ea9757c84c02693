"""Who comes to the gate that we draw, and what they show. All of them are invented."""

from dataclasses import dataclass
from typing import Literal

#: What the script counts as a second. A higher frame_rate plays it faster, a lower one slower.
FRAMES_PER_S = 15

#: How many frames somebody needs to come, and to go.
COMING, GOING = 9, 7


@dataclass(frozen=True)
class Look:
    """How a code is shown."""

    carrier: Literal["card", "phone", "paper"] = "card"
    module_px: float = 4.0
    #: Where the code is held, in pixels from the middle of the frame.
    at: tuple[int, int] = (0, 0)
    #: How it is turned, in degrees: about the upright, about the level, in the picture.
    turned: tuple[float, float, float] = (0.0, 0.0, 0.0)
    dark_mode: bool = False
    glare: bool = False
    dim: bool = False


@dataclass(frozen=True)
class Arrival:
    """Somebody shows a code: what the scanner ought to make of it, and when it can."""

    payload: bytes
    #: As `documents.classify` names it: a kind of document, or of refusal.
    kind: str
    accepted: bool
    first_frame: int
    last_frame: int
    look: Look


def sample_script() -> tuple[Arrival, ...]:
    """Everybody who comes to the gate, in order. Somebody who comes twice is in it twice."""
    arrivals = []
    leaving = 8
    for payload, kind, hold_s, after, look in _SCENES:
        first = leaving + after
        leaving = first + COMING + round(hold_s * FRAMES_PER_S)
        arrivals.append(
            Arrival(
                payload=payload.encode(),
                kind=kind,
                accepted=kind in ("qrqg", "cccd", "can_cuoc", "bhyt"),
                first_frame=first,
                last_frame=leaving + GOING - 1,
                look=look,
            )
        )
    return tuple(arrivals)


def _cccd(pin: str, name: str, born: str, sex: str, home: str, issued: str, old: str = "") -> str:
    return "|".join((pin, old, name, born, sex, f"{home}, Gia Lai", issued))


def _qrqg(number: str, name: str, born: str, qid: int, sex: int, phone: str = "") -> str:
    return f"{number}|{name}|{born}|0|{169900000000000000 + qid}|<{sex}<<{phone}"


def _bhyt(card: str, name: str, born: str, sex: int) -> str:
    return (
        f"{card}|{name.encode().hex()}|{born}|{sex}|-|64 - 001|01/01/2022|-|20/12/2021|-|-|4"
        "|01/01/2026|0123456789abcdef-7102|$"
    )


_HEALTH_CERTIFICATE = (
    "HC1:NCFOXN%TSMAHN-HLN4YW6+*OXYQQ7C9%ORX4KC99:FBKATIO893T$K.Y9+D3SA3/-2E%5G%5TW5A 6+O6XL6Q3"
    "QR$P*NIV1J: 2Q+UMDRQ*N8%M*NI-9I739I%KY*NECI77HDTN5VF/5UM$B:ZJ83BV+3FMSR S/43WZJ$7K+ CUEDRCK"
    "-9C1QD 0KN6RVH57Q4UYQD*O%+Q.SQBDOBKLP64-HQ/HQ+DR-DP-3AKZ56DE/.QC$Q3J62:6LZ6499Q$95:UENEUW66"
    "46C46846OR6KK9%OCUF5LDC+G9QJPRB0B2039GN95N14GUUP+PRWD-1EBT7XQG: B$NI4L6GTA%UG/YL WO*Z7ON1M/"
    "LJ.VY88*$02EO1A7 POHGA5RJQB2*+15YD4L7VBESCRU+4ECM35W58HZ%6%Y146J ZP6/KID22L20ZV:.NOX2O0H/C4"
    "TIB0$TXQESMH24E-LP**RCSP5QF3H0BNQCJE"
)
_HELD_LONG = _cccd(
    "064185000116", "Ksor H'Thử", "09121985", "Nữ", "Làng Mẫu, Ia Thử, Chư Sê", "02032022"
)

#: What is shown, what it is, seconds that it is held, frames between the one before leaving and
#: this one coming (fewer than none: both are there at once), and how.
_SCENES: tuple[tuple[str, str, float, int, Look], ...] = (
    (
        _cccd(
            "064190000101", "Trần Thị Mẫu", "17051990", "Nữ",
            "Tổ 9, Phường Thử Nghiệm, Pleiku", "10082021", "230000101",
        ),
        "cccd", 2.0, 0, Look(at=(150, -70), module_px=4.3),
    ),
    (
        _qrqg("064088000102", "LE VAN THU", "1988-03-09", 102, 1, "0900000102"),
        "qrqg", 1.5, 4, Look("phone", 5.5, at=(-90, 0), turned=(6, 0, -5)),
    ),
    (
        _cccd(
            "064201000103", "Rcom Thử Nghiệm", "01012001", "Nam", "Làng Mẫu, Ia Thử", "05092024"
        ) + "||||",
        "can_cuoc", 2.5, 4, Look(at=(120, -40), module_px=4.0, turned=(24, -14, 8)),
    ),
    (
        "00020101021138540010A00000072701240006970400011000000000000208QRIBFTTA53037045802VN"
        "63045382",
        "payment", 1.2, 5, Look("phone", 5.0, at=(60, 10), turned=(-5, 4, 3)),
    ),
    (
        _bhyt("GD4640000000105", "Phạm Văn Ví Dụ", "24/11/1957", 1),
        "bhyt", 2.5, 4, Look(at=(-120, 60), module_px=3.4, turned=(-6, 3, -3)),
    ),
    (
        _cccd(
            "064183000106", "Nguyễn Thị Thí Dụ", "30061983", "Nữ", "Phường Mẫu, An Khê", "11112021"
        ),
        "cccd", 2.6, 5, Look(at=(-250, -60), module_px=3.1, turned=(5, 0, 4)),
    ),
    (
        _qrqg("******000107", "SIU H'MAU", "1995-**-**", 107, 2),
        "qrqg", 2.4, -42, Look("phone", 4.8, at=(390, 0), turned=(-8, 3, 6)),
    ),
    (
        _qrqg("******000108", "VO MINH MAU", "1999-**-**", 108, 1),
        "qrqg", 2.0, 6, Look("phone", 5.2, at=(30, -10), turned=(4, 6, -4), dark_mode=True),
    ),
    (
        "https://tokhaiyte.vn/?page=Group.checkin&groupId=0123456789abcdef01234567",
        "place_code", 1.2, 5, Look("paper", 5.0, at=(-60, 20), turned=(10, 5, 6)),
    ),
    (
        _cccd(
            "064072000109", "Đinh Văn Thí", "15081972", "Nam", "Làng Thử, Kbang", "20052022",
            "230000109",
        ),
        "cccd", 3.0, 5, Look(at=(60, -20), module_px=2.7, turned=(3, 0, -2)),
    ),
    (
        _bhyt("0000000110", "Rơ Châm Ví Dụ", "1969", 2),
        "bhyt", 2.0, 4, Look(at=(-100, 80), module_px=3.6, turned=(-4, -6, 5)),
    ),
    (
        "WIFI:T:WPA;S:quan-nuoc;P:matkhau123;;",
        "foreign", 1.0, 5, Look("phone", 6.0, at=(-40, 0), turned=(0, 4, 7)),
    ),
    (
        _cccd("064093000111", "Kpă Y Thử", "03031993", "Nam", "Làng Mẫu, Ia Pa", "17072023"),
        "cccd", 3.0, 6, Look(at=(140, -60), module_px=4.4, turned=(-5, 4, -4), dim=True),
    ),
    (
        _cccd(
            "064189000112", "Hồ Thị Nghiệm", "28021989", "Nữ", "Xã Thử, Đak Đoa", "09102024"
        ) + "||||",
        "can_cuoc", 3.4, 6, Look(at=(110, -50), module_px=4.0, turned=(4, 8, 3), glare=True),
    ),
    (
        _qrqg("230000113", "BUI VAN GIA", "1964-10-20", 113, 1, "0900000113"),
        "qrqg", 1.5, 5, Look("paper", 5.6, at=(70, 0), turned=(-8, 4, -9)),
    ),
    (_HELD_LONG, "cccd", 3.6, 5, Look(at=(130, -60), module_px=4.1, turned=(-3, 5, 2))),
    (_HELD_LONG, "cccd", 0.8, 12, Look(at=(90, -30), module_px=4.1, turned=(6, 2, -6))),
    (
        _HEALTH_CERTIFICATE,
        "health_certificate", 2.0, 5, Look("phone", 3.6, at=(-20, 0), turned=(3, 2, 2)),
    ),
    (
        _cccd(
            "064204000117", "Lý Văn Mẫu Nhanh", "12122004", "Nam", "Phường Thử, Ayun Pa", "01082024"
        ) + "||||",
        "can_cuoc", 0.5, 4, Look(at=(120, -30), module_px=4.0),
    ),
    (
        _cccd(
            "064196000118", "Đặng Thị Mẫu Hai", "04041996", "Nữ", "Xã Mẫu, Mang Yang", "06062025"
        ) + "||||",
        "can_cuoc", 2.6, 7, Look(at=(-240, -70), module_px=3.0, turned=(8, -3, -3)),
    ),
    (
        _qrqg("C0000119", "JOHN SAMPLE", "1980-02-03", 119, 1, "0900000119"),
        "qrqg", 2.2, -40, Look("phone", 4.6, at=(400, 10), turned=(-10, 0, -5)),
    ),
    (
        "VE XE 0000417 PLEIKU-CHU SE GHE 12A",
        "unknown", 1.0, 6, Look("paper", 6.0, at=(0, 10), turned=(5, -6, 12)),
    ),
    (
        _cccd(
            "064220000120", "Siu Mẫu", "02112020", "Nam", "Làng Mẫu, Ia Thử", "15072024"
        ) + "||Siu Cha Mẫu|Rơ Mẹ Mẫu|",
        "can_cuoc", 2.0, 5, Look(at=(100, -40), module_px=3.9, turned=(-12, 8, 10)),
    ),
    (
        _bhyt("DN4640000000121", "Trương Thị Ví Dụ", "07/07/1991", 2),
        "bhyt", 2.4, 5, Look(at=(-90, 70), module_px=3.5, turned=(-14, -10, -8)),
    ),
)  # fmt: skip
