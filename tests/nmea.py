"""What a GPS receiver of an invented bus says, second by second."""

from collections.abc import Iterator
from datetime import UTC, datetime

#: Of nowhere in particular, near Pleiku.
LATITUDE, LONGITUDE = 13.97245, 108.00206
KNOT_M_S = 0.514444


def sentence(text: str) -> bytes:
    """*text* as a sentence, with its sum."""
    total = 0
    for byte in text.encode("ascii"):
        total ^= byte
    return f"${text}*{total:02X}\r\n".encode("ascii")


def rmc(at: float, speed_m_s: float = 0.0, north: float = 0.0, *, valid: bool = True) -> bytes:
    """Where the bus is *at*, so many degrees *north* of where it began."""
    when = datetime.fromtimestamp(at, UTC)
    if not valid:
        return sentence(f"GNRMC,{when:%H%M%S}.00,V,,,,,,,{when:%d%m%y},,,N")
    place = f"{_degrees(LATITUDE + north, 2)},N,{_degrees(LONGITUDE, 3)},E"
    return sentence(
        f"GNRMC,{when:%H%M%S}.00,A,{place},{speed_m_s / KNOT_M_S:.3f},0.0,{when:%d%m%y},,,A"
    )


def gga(at: float, north: float = 0.0) -> bytes:
    """The same with height and number of satellites."""
    when = datetime.fromtimestamp(at, UTC)
    place = f"{_degrees(LATITUDE + north, 2)},N,{_degrees(LONGITUDE, 3)},E"
    return sentence(f"GNGGA,{when:%H%M%S}.00,{place},1,08,1.0,750.0,M,0.0,M,,")


def a_ride(began: float, seconds: int) -> Iterator[bytes]:
    """It stands for half a minute, goes for half a minute, and so on; with each second's lines."""
    north = 0.0
    for second in range(seconds):
        speed = 0.1 if second // 30 % 2 == 0 else 12.0
        north += speed / 111_000
        at = began + second
        yield rmc(at, speed, north) + gga(at, north)


def _degrees(value: float, digits: int) -> str:
    whole = int(value)
    return f"{whole:0{digits}d}{(value - whole) * 60:08.5f}"
