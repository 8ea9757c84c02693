"""A gate that we draw: invented people show their codes, for the demo and for tests.

Nothing is read from a disk and nothing is left to chance: every run draws the same frames. They are
made for 1280x720; a smaller frame shows the same scene smaller, and its finest codes are lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import zxingcpp

from edge.errors import EndOfFrames
from edge.scanner.sample_drawing import (
    HEIGHT,
    WIDTH,
    Numbers,
    Sprite,
    card,
    gate,
    paper,
    person,
    phone,
    projection,
    shifted,
)
from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

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


# Putting them before the gate. Positions are in pixels of a frame of WIDTH x HEIGHT.


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
        self._background = gate(width, height)
        self._people = [person(kind, self._scale) for kind in range(5)]
        self._noise = _noise(width, height, 3.0)
        self._strong_noise = _noise(width, height, 9.0)
        self._sprites: dict[int, Sprite] = {}
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
        moved = shifted(-x, -y) @ matrix
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
        self, sprite: Sprite, matrix: Numbers, smear: tuple[int, int]
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


def _projection(arrival: Arrival, index: int, t: int, sprite: Sprite, scale: float) -> Numbers:
    """From the pixels of *sprite* to those of a frame of WIDTH x HEIGHT."""
    dx, dy = _way(arrival, index, t)
    x, y = WIDTH / 2 + arrival.look.at[0] + dx, HEIGHT / 2 + arrival.look.at[1] + dy
    yaw, pitch, roll = (math.radians(angle) for angle in arrival.look.turned)
    turned = (yaw, pitch, roll + 0.01 * math.sin(0.5 * t + index))
    return projection(sprite, (x, y), turned, scale)


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


def _sprite(arrival: Arrival, scale: float) -> Sprite:
    look = arrival.look
    code = zxingcpp.create_barcode(
        arrival.payload, zxingcpp.BarcodeFormat.QRCode, ec_level="Q" if look.dark_mode else "M"
    )
    modules = np.array(code.to_image(scale=1, add_quiet_zones=False))
    code_px = modules.shape[0] * look.module_px * scale
    seed = sum(arrival.payload) % 97 + 3
    if look.carrier == "phone":
        return phone(modules, code_px, seed, look.dark_mode)
    if look.carrier == "paper":
        return paper(modules, code_px, seed)
    return card(modules, code_px, seed, insurance=arrival.kind == "bhyt")
