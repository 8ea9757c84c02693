"""A gate that we draw: invented people show their codes, for the demo and for tests.

Nothing is read from a disk and nothing is left to chance: every run draws the same frames. They are
made for 1280x720; a smaller frame shows the same scene smaller, and its finest codes are lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp

from edge.errors import EndOfFrames
from edge.scanner.settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

#: What the script counts as a second. A higher frame_rate plays it faster, a lower one slower.
FRAMES_PER_S = 15

#: The frame that everything is measured in.
WIDTH, HEIGHT = 1280, 720

#: How many frames somebody needs to come, and to go.
COMING, GOING = 9, 7

Numbers: TypeAlias = npt.NDArray[Any]


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


class SampleGate:
    """A camera before which the script is played."""

    def __init__(self, settings: CameraSettings, pace: Callable[[], None] = lambda: None) -> None:
        self.script = sample_script()
        #: How many frames the script has; a second goes by after the last person.
        self.length = max(arrival.last_frame for arrival in self.script) + FRAMES_PER_S
        self._repeat = settings.repeat
        self._pace = pace
        self._stage = _Stage(settings.width, settings.height)
        self._next = 0

    def capture(self) -> Frame:
        """The next frame, when it is due. Raises EndOfFrames after the last."""
        if self._next >= self.length and not self._repeat:
            raise EndOfFrames("the sample is over; set camera.repeat to start again at the end")
        frame = self.draw(self._next % self.length)
        self._next += 1
        self._pace()
        return frame

    def close(self) -> None:
        """End it; what is captured after that is the end."""
        self._next, self._repeat = self.length, False

    def draw(self, number: int) -> Frame:
        """Frame *number* of the script, from 0. The same number gives the same frame."""
        seen = [
            (index, arrival)
            for index, arrival in enumerate(self.script)
            if arrival.first_frame <= number <= arrival.last_frame
        ]
        return self._stage.draw(number, seen)


def write_contact_sheet(path: Path, numbers: Iterable[int], columns: int = 4) -> None:
    """Write these frames of the sample, small, into one picture. For the manual, used by hand."""
    gate = SampleGate(CameraSettings(source="sample"))
    small = [cv2.resize(gate.draw(n), (400, 225), interpolation=cv2.INTER_AREA) for n in numbers]
    small += [np.full_like(small[0], 255)] * (-len(small) % columns)
    rows = [np.hstack(small[i : i + columns]) for i in range(0, len(small), columns)]
    path.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())


# The people and what they show. All are invented.


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


# The drawing. Positions are in pixels of a frame of WIDTH x HEIGHT, sizes of things in millimetres.


@dataclass(frozen=True)
class _Sprite:
    """Something flat to be held before the camera."""

    #: Its grey times its cover, and its cover, of 0 to 255.
    pixels: Numbers
    #: Where the middle of its code is.
    middle: tuple[float, float]


class _Stage:
    """Puts people and their codes before the gate."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._scale = min(width / WIDTH, height / HEIGHT)
        self._view = np.array(
            [
                [self._scale, 0, (width - WIDTH * self._scale) / 2],
                [0, self._scale, (height - HEIGHT * self._scale) / 2],
                [0, 0, 1],
            ]
        )
        self._background = _gate(width, height)
        self._people = [_person(kind, self._scale) for kind in range(5)]
        self._noise = _noise(width, height, 3.0)
        self._strong_noise = _noise(width, height, 9.0)
        self._sprites: dict[int, _Sprite] = {}
        self._glare = _glare(self._scale)

    def draw(self, number: int, seen: list[tuple[int, Arrival]]) -> Frame:
        """Frame *number*, with those who are *seen* in it."""
        for gone in self._sprites.keys() - {index for index, _ in seen}:
            del self._sprites[gone]
        frame = self._background.copy()
        for index, arrival in seen:
            self._put_person(frame, index, arrival, number)
        for index, arrival in seen:
            self._put_sprite(frame, index, arrival, number)
        dark = max((_darkness(arrival, number) for _, arrival in seen), default=0.0)
        return self._expose(frame, number, dark)

    def _put_person(self, frame: Frame, index: int, arrival: Arrival, number: int) -> None:
        person = self._people[index % len(self._people)]
        dx, _ = _way(arrival, index, number - arrival.first_frame)
        x = (WIDTH / 2 + arrival.look.at[0] * 0.7 + dx * 1.2) * self._scale
        x += self._view[0, 2]
        height, width = person.shape[:2]
        _lay(frame, person, round(x - width / 2), self._size[1] - height)

    def _put_sprite(self, frame: Frame, index: int, arrival: Arrival, number: int) -> None:
        t = number - arrival.first_frame
        if index not in self._sprites:
            self._sprites[index] = _sprite(arrival, self._scale)
        sprite = self._sprites[index]
        matrix = self._view @ _projection(arrival, index, t, sprite, self._scale)
        smear = self._smear(arrival, index, t)
        x, y, width, height = self._seen_part(sprite, matrix, smear)
        if width <= 0 or height <= 0:
            return
        moved = _shift(-x, -y) @ matrix
        layer: Numbers = cv2.warpPerspective(sprite.pixels, moved, (width, height))
        if smear != (1, 1):
            layer = cv2.blur(layer, smear)
        _lay(frame, layer, x, y)
        if arrival.look.glare:
            self._put_glare(frame, arrival, t)

    def _smear(self, arrival: Arrival, index: int, t: float) -> tuple[int, int]:
        """How far it moves while the shutter is open, half a frame, in pixels; 1 is standing."""
        before, after = _way(arrival, index, t - 0.25), _way(arrival, index, t + 0.25)
        moves = (abs(b - a) * self._scale for a, b in zip(before, after, strict=True))
        x, y = (1 + min(60, round(move)) for move in moves)
        return x, y

    def _seen_part(
        self, sprite: _Sprite, matrix: Numbers, smear: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        height, width = sprite.pixels.shape[:2]
        corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float32)
        x, y, width, height = cv2.boundingRect(cv2.perspectiveTransform(corners, matrix))
        left, top = max(0, x - smear[0]), max(0, y - smear[1])
        right = min(self._size[0], x + width + smear[0])
        bottom = min(self._size[1], y + height + smear[1])
        return left, top, right - left, bottom - top

    def _put_glare(self, frame: Frame, arrival: Arrival, t: int) -> None:
        gone = t / (arrival.last_frame - arrival.first_frame)
        x = (WIDTH / 2 + arrival.look.at[0] - 20 + 330 * gone) * self._scale + self._view[0, 2]
        y = (HEIGHT / 2 + arrival.look.at[1] - 20) * self._scale + self._view[1, 2]
        side = self._glare.shape[0]
        part, rows, columns = _overlap(frame, self._glare, round(x - side / 2), round(y - side / 2))
        frame[rows, columns] = cv2.add(frame[rows, columns], part)

    def _expose(self, frame: Frame, number: int, dark: float) -> Frame:
        """*frame* as a sensor gives it: dimmer and noisier the less light there is."""
        width, height = self._size
        x, y = 37 * number % NOISE_PX, 53 * number % NOISE_PX
        more, less = self._strong_noise if dark > 0.5 else self._noise
        if dark:
            frame = np.asarray(cv2.convertScaleAbs(frame, alpha=1 - 0.72 * dark, beta=5), np.uint8)
        frame = np.asarray(cv2.add(frame, more[y : y + height, x : x + width]), np.uint8)
        return np.asarray(cv2.subtract(frame, less[y : y + height, x : x + width]), np.uint8)


def _way(arrival: Arrival, index: int, t: float) -> tuple[float, float]:
    """How far from its place the code is, *t* frames after it began to come."""
    side = 1 if arrival.look.at[0] > 0 else -1
    goes_on = 1 if abs(arrival.look.at[0]) > 200 else -1  # those at the edge leave as they came
    go = arrival.last_frame - arrival.first_frame + 1 - GOING
    x = 2.2 * math.sin(0.9 * t + index) + 1.2 * math.sin(0.31 * t + 2 * index)
    y = 1.8 * math.sin(0.63 * t + 3 * index)
    if t < COMING:
        away = (1 - (t + 1) / COMING) ** 3
        return x + side * 900 * away, y + 560 * away
    away = max(0.0, (t - go + 1) / GOING) ** 2
    return x + side * goes_on * 1000 * away, y + 480 * away


def _darkness(arrival: Arrival, number: int) -> float:
    """From 0 to 1; it comes and goes with the person, within a third of a second."""
    if not arrival.look.dim:
        return 0.0
    edge = min(number - arrival.first_frame, arrival.last_frame - number)
    return min(1.0, edge / 5)


def _projection(arrival: Arrival, index: int, t: int, sprite: _Sprite, scale: float) -> Numbers:
    """From the pixels of *sprite* to those of a frame of WIDTH x HEIGHT."""
    dx, dy = _way(arrival, index, t)
    x, y = WIDTH / 2 + arrival.look.at[0] + dx, HEIGHT / 2 + arrival.look.at[1] + dy
    yaw, pitch, roll = (math.radians(angle) for angle in arrival.look.turned)
    roll += 0.01 * math.sin(0.5 * t + index)
    turn = _turn(yaw, 0, 2) @ _turn(pitch, 1, 2) @ _turn(roll, 0, 1)
    far = 1400.0  # how strongly what is turned away grows small
    see = np.array([[far, 0, x], [0, far, y], [0, 0, 1]])
    place = np.column_stack([turn[:, :2] / scale, [0, 0, far]])
    return np.asarray(see @ place @ _shift(-sprite.middle[0], -sprite.middle[1]))


def _turn(angle: float, first: int, second: int) -> Numbers:
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
    return matrix


def _shift(x: float, y: float) -> Numbers:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)


def _lay(frame: Frame, layer: Numbers, x: int, y: int) -> None:
    """Lay *layer*, its grey times its cover and its cover, over *frame*."""
    part, rows, columns = _overlap(frame, layer, x, y)
    if part.size:
        grey, cover = cv2.split(part)
        under = cv2.multiply(frame[rows, columns], cv2.bitwise_not(cover), scale=1 / 255)
        frame[rows, columns] = cv2.add(under, grey)


def _overlap(frame: Frame, layer: Numbers, x: int, y: int) -> tuple[Numbers, slice, slice]:
    """The part of *layer* that falls into *frame* when it lies at x, y, and where that is."""
    left, top = max(0, x), max(0, y)
    right = min(frame.shape[1], x + layer.shape[1])
    bottom = min(frame.shape[0], y + layer.shape[0])
    rows, columns = slice(top, max(top, bottom)), slice(left, max(left, right))
    return layer[top - y : rows.stop - y, left - x : columns.stop - x], rows, columns


NOISE_PX = 64


def _noise(width: int, height: int, strength: float) -> tuple[Numbers, Numbers]:
    """What a sensor adds and takes away, a little larger than a frame, to be moved about."""
    chance = np.random.default_rng(144)
    noise = chance.normal(0, strength, (height + NOISE_PX, width + NOISE_PX)).round()
    return noise.clip(0, 255).astype(np.uint8), (-noise).clip(0, 255).astype(np.uint8)


def _glare(scale: float) -> Numbers:
    reach = np.linspace(-2.4, 2.4, max(3, round(230 * scale)))
    spot = 420 * np.exp(-(reach[:, None] ** 2) - reach[None, :] ** 2)
    return spot.clip(0, 255).astype(np.uint8)


class _Sheet:
    """Draws in millimetres on something transparent.

    Drawn on black with soft edges, grey is times its cover by itself.
    """

    def __init__(self, width: float, height: float, px_per_mm: float) -> None:
        self.px_per_mm = px_per_mm
        shape = (math.ceil(height * px_per_mm), math.ceil(width * px_per_mm))
        self.grey = np.zeros(shape, np.uint8)
        self.cover = np.zeros(shape, np.uint8)

    def area(self, points: npt.ArrayLike, grey: int) -> None:
        """Fill the area between *points*."""
        fixed = np.rint(np.asarray(points, float) * self.px_per_mm * 16).astype(np.int32)
        for plane, value in ((self.grey, grey), (self.cover, 255)):
            cv2.fillPoly(plane, [fixed], (value,), cv2.LINE_AA, 4)

    def box(self, x: float, y: float, w: float, h: float, grey: int, corner: float = 0.0) -> None:
        """Fill a rectangle with rounded corners."""
        if not corner:
            self.area([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], grey)
            return
        angles = np.radians(np.arange(0, 360, 6))
        to_x, to_y = np.cos(angles), np.sin(angles)
        points_x = x + w / 2 + np.sign(to_x.round(6)) * (w / 2 - corner) + corner * to_x
        points_y = y + h / 2 + np.sign(to_y.round(6)) * (h / 2 - corner) + corner * to_y
        self.area(np.column_stack([points_x, points_y]), grey)

    def oval(self, x: float, y: float, rx: float, ry: float, grey: int, turn: float = 0.0) -> None:
        """Fill an ellipse around x, y, turned by degrees."""
        angles, turn = np.radians(np.arange(0, 360, 6)), math.radians(turn)
        a, b = rx * np.cos(angles), ry * np.sin(angles)
        points_x = x + a * math.cos(turn) - b * math.sin(turn)
        points_y = y + a * math.sin(turn) + b * math.cos(turn)
        self.area(np.column_stack([points_x, points_y]), grey)

    def words(self, x: float, y: float, w: float, h: float, grey: int, seed: int) -> None:
        """A line of print, too small to be read: strokes of different height, in words."""
        end, step = x + w, seed
        while x < end - h:
            step = step * 37 % 101
            for letter in range(2 + step % 5):
                tall = (step + letter * letter) % 3 == 0
                self.box(x, y if tall else y + 0.3 * h, 0.42 * h, h if tall else 0.7 * h, grey)
                x += 0.66 * h
            x += 0.5 * h

    def title(self, x: float, y: float, h: float, text: str, grey: int) -> None:
        """Large print, *h* high, its foot at y."""
        at = (round(x * self.px_per_mm), round(y * self.px_per_mm))
        size = h * self.px_per_mm / 21
        thick = max(1, round(size * 1.6))
        cv2.putText(
            self.grey, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (grey,), thick, cv2.LINE_AA
        )

    def code(self, x: float, y: float, side: float, modules: Numbers) -> None:
        """A code of *side* millimetres around x, y; *modules* holds its greys."""
        px = round(side * self.px_per_mm)
        large = cv2.resize(modules, None, fx=12, fy=12, interpolation=cv2.INTER_NEAREST)
        drawn = cv2.resize(large, (px, px), interpolation=cv2.INTER_AREA)
        left, top = (round(value * self.px_per_mm - px / 2) for value in (x, y))
        self.grey[top : top + px, left : left + px] = drawn

    def sprite(self, x: float, y: float) -> _Sprite:
        """What was drawn, with the softness of a lens; its code is around x, y."""
        pixels = cv2.GaussianBlur(np.dstack([self.grey, self.cover]), (0, 0), 0.65)
        return _Sprite(pixels, (x * self.px_per_mm, y * self.px_per_mm))


def _sprite(arrival: Arrival, scale: float) -> _Sprite:
    look = arrival.look
    code = zxingcpp.create_barcode(
        arrival.payload, zxingcpp.BarcodeFormat.QRCode, ec_level="Q" if look.dark_mode else "M"
    )
    bits = np.array(code.to_image(scale=1, add_quiet_zones=False))
    draw = {"card": _card, "phone": _phone, "paper": _paper}[look.carrier]
    return draw(arrival, bits, bits.shape[0] * look.module_px * scale)


def _card(arrival: Arrival, bits: Numbers, code_px: float) -> _Sprite:
    """A plastic card of 85 x 54 mm, its code printed at 18 mm, held by its lower edge."""
    insurance = arrival.kind == "bhyt"
    side = 24.0 if insurance else 18.0
    sheet = _Sheet(110, 175, code_px / side)
    seed = sum(arrival.payload) % 97 + 3
    _arm(sheet, 46, 58)
    sheet.box(10, 6, 85.6, 54, 188, 3.2)
    sheet.box(10.4, 6.4, 84.8, 53.2, 204, 3)
    _engrave(sheet, 10.4, 6.4, 84.8, 53.2)
    x, y = (24.5, 40.0) if insurance else (81.0, 21.0)
    sheet.oval(17, 13, 4.2, 4.2, 150)
    sheet.oval(17, 13, 3.1, 3.1, 190)
    sheet.title(24, 13, 2.6, "THE BAO HIEM Y TE" if insurance else "CAN CUOC CONG DAN", 84)
    sheet.title(24, 18, 2.0, "MAU - SAMPLE", 120)
    if insurance:
        for line in range(6):
            sheet.words(42, 24 + 5 * line, 48 - line % 3 * 6, 1.7, 92, seed + line)
        sheet.words(13.5, 22, 20, 2.2, 80, seed + 7)
    else:
        _portrait(sheet, 14.5, 22, seed)
        for line in range(6):
            long = 26 if line < 3 else 44
            sheet.words(38, 25 + 5.4 * line, long - line % 2 * 4, 1.8, 88, seed + line)
        sheet.words(13.5, 55, 30, 1.5, 130, seed + 8)
    sheet.box(x - side * 0.58, y - side * 0.58, side * 1.16, side * 1.16, 222)
    sheet.code(x, y, side, np.where(bits > 0, 222, 44).astype(np.uint8))
    _thumb(sheet, 48, 59)
    return sheet.sprite(x, y)


def _engrave(sheet: _Sheet, x: float, y: float, w: float, h: float) -> None:
    """Fine waves, as they are printed under the writing of a card."""
    left, top, right, bottom = (round(v * sheet.px_per_mm) for v in (x, y, x + w, y + h))
    across = np.arange(right - left)[None, :] / sheet.px_per_mm
    down = np.arange(bottom - top)[:, None] / sheet.px_per_mm
    waves = 4 * np.sin(2.1 * (down + 3 * np.sin(across / 9))) + 9 * (across / w - down / h)
    part = sheet.grey[top:bottom, left:right]
    inside = sheet.cover[top:bottom, left:right] == 255
    part[inside] = (part + waves).clip(0, 255).astype(np.uint8)[inside]


def _portrait(sheet: _Sheet, x: float, y: float, seed: int) -> None:
    sheet.box(x, y, 20, 27, 176)
    sheet.oval(x + 10, y + 10, 5.4, 6.6, 60 + seed % 30)
    sheet.oval(x + 10, y + 11.2, 4.4, 5.6, 152)
    sheet.area([(x + 1, y + 27), (x + 4, y + 20.5), (x + 16, y + 20.5), (x + 19, y + 27)], 96)


def _phone(arrival: Arrival, bits: Numbers, code_px: float) -> _Sprite:
    """A phone of 72 x 150 mm that shows a code, bright on dark in dark mode."""
    side = 50.0
    sheet = _Sheet(116, 240, code_px / side)
    paper, ink, print_ = (26, 214, 170) if arrival.look.dark_mode else (234, 22, 70)
    seed = sum(arrival.payload) % 97 + 3
    _arm(sheet, 58, 130)
    for finger in range(4):
        sheet.oval(22, 66 + 17 * finger, 9, 6.4, 128 - 4 * finger, -8)
    sheet.box(22, 6, 72, 150, 34, 9)
    sheet.box(24.5, 9, 67, 144, paper, 7)
    sheet.box(24.5, 20, 67, 12, 96 if arrival.look.dark_mode else 88)
    sheet.words(30, 24.5, 34, 3.4, 224, seed)
    sheet.words(32, 11.5, 14, 2.4, print_, seed + 1)
    sheet.words(80, 11.5, 8, 2.4, print_, seed + 2)
    sheet.words(36, 39, 44, 3.2, print_, seed + 3)
    sheet.words(42, 46, 32, 2.4, (paper + print_) // 2, seed + 4)
    x, y = 58.0, 84.0
    sheet.code(x, y, side, np.where(bits > 0, paper, ink).astype(np.uint8))
    for line in range(3):
        sheet.words(34, 120 + 6 * line, 48 - 9 * line, 2.6, print_, seed + 5 + line)
    sheet.box(38, 139, 40, 8, 110, 4)
    sheet.box(48, 149.5, 20, 1.2, print_, 0.5)
    sheet.oval(95, 104, 12, 7.4, 146, 74)
    return sheet.sprite(x, y)


def _paper(arrival: Arrival, bits: Numbers, code_px: float) -> _Sprite:
    """A slip of 74 x 105 mm with a code of 50 mm."""
    side = 50.0
    sheet = _Sheet(94, 215, code_px / side)
    seed = sum(arrival.payload) % 97 + 3
    _arm(sheet, 46, 108)
    sheet.box(10, 6, 74, 105, 216)
    _engrave(sheet, 10, 6, 74, 105)
    sheet.words(18, 14, 58, 4, 70, seed)
    sheet.words(24, 22, 46, 2.6, 110, seed + 1)
    x, y = 47.0, 58.0
    sheet.code(x, y, side, np.where(bits > 0, 222, 40).astype(np.uint8))
    for line in range(3):
        sheet.words(18, 90 + 5.5 * line, 56 - 8 * line, 2.4, 90, seed + 2 + line)
    _thumb(sheet, 46, 109)
    return sheet.sprite(x, y)


def _arm(sheet: _Sheet, x: float, y: float) -> None:
    """The hand and arm behind what is held at x, y."""
    bottom = sheet.grey.shape[0] / sheet.px_per_mm + 1
    sheet.area([(x - 17, y + 34), (x + 19, y + 34), (x + 30, bottom), (x - 22, bottom)], 126)
    sheet.area([(x - 23, y + 62), (x + 27, y + 58), (x + 40, bottom), (x - 30, bottom)], 74)
    sheet.oval(x, y + 22, 22, 26, 132)
    for finger in range(4):
        sheet.oval(x - 14 + 10 * finger, y + 2 + abs(finger - 1) * 2, 5.2, 13, 120 + 5 * finger)


def _thumb(sheet: _Sheet, x: float, y: float) -> None:
    """The thumb before what is held, its tip a little above x, y."""
    for step, grey in enumerate((118, 126, 131, 135, 138)):
        shrink = 0.9 * step
        sheet.oval(x - 0.2 * step, y + 17.5, 8.6 - shrink, 25.5 - shrink, grey, -12)
    sheet.oval(x - 4.0, y - 1.6, 4.2, 4.9, 146, -12)
    sheet.oval(x - 3.9, y - 1.0, 3.4, 4.1, 160, -12)


def _person(kind: int, scale: float) -> Numbers:
    """Somebody behind the code, out of focus, with a mask and one of several hats or none."""
    sheet = _Sheet(800, 640, 0.25)
    cloth, skin, hair = (70, 96, 128, 58, 110)[kind], 142, (34, 40, 30, 60, 36)[kind]
    sheet.area([(40, 640), (90, 470), (250, 400), (550, 400), (710, 470), (760, 640)], cloth)
    sheet.area([(330, 330), (470, 330), (500, 430), (300, 430)], skin - 22)
    sheet.oval(400, 230, 118, 146, hair)
    sheet.oval(400, 262, 104, 136, skin)
    sheet.area([(302, 268), (498, 268), (470, 372), (400, 398), (330, 372)], 196)
    for eye in (358, 442):
        sheet.oval(eye, 238, 16, 8, 60)
    if kind == 0:
        sheet.area([(400, 30), (170, 190), (400, 216), (630, 190)], 176)
    elif kind == 2:
        sheet.oval(400, 160, 126, 104, 88)
        sheet.box(270, 176, 260, 22, 60)
    elif kind == 3:
        sheet.area([(280, 170), (300, 100), (500, 100), (520, 170), (600, 190), (280, 190)], 120)
    soft = cv2.GaussianBlur(np.dstack([sheet.grey, sheet.cover]), (0, 0), 3.2)
    return np.asarray(cv2.resize(soft, None, fx=4 * scale, fy=4 * scale))


#: Left edge, width, roof and grey of each.
_STALLS = (
    (0, 210, 210, 96),
    (190, 170, 250, 120),
    (340, 130, 280, 104),
    (830, 140, 270, 112),
    (950, 170, 240, 90),
    (1090, 200, 200, 118),
)


def _gate(width: int, height: int) -> Frame:
    """What a unit at a gate looks at all day: a road, stalls and a roof, out of focus."""
    sheet = _Sheet(WIDTH, HEIGHT, 0.5)
    sheet.box(0, 0, WIDTH, HEIGHT, 186)
    sheet.area([(0, 430), (WIDTH, 430), (WIDTH, HEIGHT), (0, HEIGHT)], 138)
    sheet.area([(520, 430), (760, 430), (1180, HEIGHT), (140, HEIGHT)], 156)
    for x, w, top, grey in _STALLS:
        sheet.box(x, top, w, 460 - top + w // 5, grey)
        sheet.area(
            [(x - 20, top + 34), (x + 10, top), (x + w - 10, top), (x + w + 20, top + 34)], 70
        )
        for crate in range(3):
            sheet.oval(x + w * (crate + 0.7) / 3.4, 452 + w / 9, w / 8, w / 10, 150 + 25 * crate)
    sheet.area([(0, 0), (WIDTH, 0), (WIDTH, 96), (900, 128), (380, 128), (0, 96)], 66)
    sheet.box(468, 128, 344, 44, 206)
    for x in (60, 1164):
        sheet.box(x, 90, 56, 560, 84)
    soft = cv2.GaussianBlur(sheet.grey, (0, 0), 6)
    corner = np.hypot(*np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)))
    scene = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    return (scene * (1.04 - 0.16 * corner**2)).clip(0, 255).astype(np.uint8)
