"""What a camera at a gate sees, drawn: codes on cards, phones and paper, made hard to read.

Every scene comes of a seed and is the same each time. One hardship at a time is an axis, with
levels from 1, mild, to 5, extreme. All people and documents are invented.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from edge.scanner.decoder import Frame
from edge.scanner.sample.drawing import HEIGHT, WIDTH, Numbers, shifted
from tests import optics
from tests.drawing import Corners
from tests.props import Carrier, put_person, wall

FRAMES_PER_S = 30

#: How much of the time of a frame a shutter takes to roll over it.
_READOUT = 0.6

Range = tuple[float, float]

#: What each level of an axis does to a `Shot`: ranges to choose from, for levels 1 to 5.
AXES: Mapping[str, Mapping[str, tuple[Range, Range, Range, Range, Range]]] = {
    "easy": {},
    "scale": {"module_px": ((3.6, 4.4), (3.1, 3.6), (2.8, 3.1), (2.5, 2.8), (1.5, 2.3))},
    "tilt": {"tilt_deg": ((12, 18), (18, 24), (24, 32), (32, 42), (42, 52))},
    "motion": {"smear_modules": ((0.3, 0.5), (0.5, 0.7), (0.7, 0.95), (1.3, 1.75), (1.4, 1.95))},
    "defocus": {
        "defocus_modules": ((0.2, 0.35), (0.35, 0.5), (0.45, 0.75), (0.54, 0.86), (0.58, 0.92))
    },
    "lowlight": {
        "electrons": ((300, 420), (210, 300), (95, 170), (60, 100), (32, 70)),
        "stops": ((0.6, 0.8), (0.8, 1.0), (1.0, 1.3), (1.3, 1.6), (1.5, 1.9)),
    },
    "glare": {"glare": ((0.04, 0.07), (0.06, 0.09), (0.1, 0.155), (0.138, 0.203), (0.162, 0.243))},
    "moire": {"moire": ((0.04, 0.08), (0.07, 0.12), (0.1, 0.16), (0.14, 0.2), (0.18, 0.28))},
    "brightness": {"stops": ((0.3, 0.7), (0.7, 1.2), (1.2, 1.7), (1.7, 2.2), (2.2, 2.8))},
    "inverted": {
        "defocus_modules": ((0, 0.15), (0.15, 0.3), (0.3, 0.42), (0.4, 0.55), (0.55, 0.76))
    },
    "occlusion": {
        "covered": ((0.01, 0.02), (0.02, 0.03), (0.03, 0.04), (0.04, 0.06), (0.07, 0.11))
    },
    "rolling": {"rolling": ((0.02, 0.04), (0.04, 0.07), (0.07, 0.1), (0.1, 0.14), (0.14, 0.18))},
    "multi": {"count": ((2, 2), (2, 2), (2, 3), (3, 3), (3, 4))},
    "mix": {},
}

#: Of these three together make a mix.
MIXED = ("scale", "tilt", "motion", "defocus", "lowlight", "glare", "occlusion", "rolling")

#: What a scene without a code is called.
NONE = "none"


class Shown(NamedTuple):
    """A code in a scene: what it holds, and its corners, in the order of `Code.points`."""

    content: bytes
    corners: Corners


@dataclass(frozen=True)
class Scene:
    """A frame, the codes in it, and how it came about."""

    frame: Frame
    codes: tuple[Shown, ...]
    axis: str
    level: int
    seed: int


@dataclass(frozen=True)
class SequenceFrame:
    """One of the frames in which somebody shows a code and goes again."""

    frame: Frame
    #: Whether all of the code is within the frame.
    fully_in_view: bool
    #: What the code holds, also while it is not in view yet or any more; None where nobody comes.
    content: bytes | None


@dataclass(frozen=True)
class Shot:
    """How a frame is taken, and of what. As it is by itself, every reader can read it."""

    module_px: float = 6.0
    tilt_deg: float = 8.0
    #: How far the hand moves while the shutter is open, and how far a point is spread: in modules,
    #: because that is what decides whether they can still be told apart.
    smear_modules: float = 0.0
    defocus_modules: float = 0.0
    #: Electrons in a pixel of white; the fewer, the more noise.
    electrons: float = 6000.0
    #: Stops of light too little, or too much where negative.
    stops: float = 0.3
    #: Size of a mirrored lamp, in sides of the code.
    glare: float = 0.0
    #: Contrast of the dots of a screen.
    moire: float = 0.0
    #: Share of the code that a finger or dirt covers.
    covered: float = 0.0
    #: How far a hand moves while the shutter rolls over the frame, in heights of it.
    rolling: float = 0.0
    count: int = 1
    carriers: tuple[str, ...] = ("card", "card", "phone", "phone", "paper")
    dark_mode: bool = False


def frame(axis: str, level: int, seed: int) -> Scene:
    """A frame with one code, or several on "multi", made hard by *axis*, at *level* 1 to 5."""
    rng = _chance(axis, level, seed)
    shot = _shot(rng, axis, level)
    scene = _behind(rng)
    codes = tuple(_show(rng, scene, shot, place) for place in range(shot.count))
    return Scene(_Camera(rng, shot).take(scene), codes, axis, level, seed)


def empty(seed: int) -> Scene:
    """A frame without a code, but with people, signs and edges, in any light."""
    rng = _chance(NONE, 1, seed)
    shot = Shot(
        electrons=float(np.exp(rng.uniform(np.log(60), np.log(6000)))), stops=rng.uniform(-0.5, 1.5)
    )
    return Scene(_Camera(rng, shot).take(_behind(rng)), (), NONE, 1, seed)


def sequence(seed: int, frames: int = 75) -> list[SequenceFrame]:
    """Somebody comes with a code, moving and blurred, holds it still and goes."""
    rng = _chance("sequence", 1, seed)
    visit = _Visit(rng, frames)
    return [visit.frame(number) for number in range(frames)]


def idle_sequence(seed: int, frames: int = 75, passing: bool | None = None) -> list[SequenceFrame]:
    """Nobody shows anything: there are noise and lamps that flicker.

    *passing* is whether somebody walks by without a code; None leaves it to chance, one in three.
    """
    rng = _chance("idle", 1, seed)
    behind, camera = wall(rng), _Camera(rng, _steady(rng))
    who, by_chance = int(rng.integers(5)), rng.random() < 1 / 3
    passes = by_chance if passing is None else passing
    began, speed_px = rng.uniform(0.1, 0.5) * frames, rng.uniform(25, 60)
    shown = []
    for number in range(frames):
        grey = behind.copy()
        if passes:
            put_person(grey, who, (number - began) * speed_px - 400)
        shown.append(SequenceFrame(camera.take(optics.scene_of(grey)), False, None))
    return shown


def _chance(axis: str, level: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, level, *axis.encode()])


def _shot(rng: np.random.Generator, axis: str, level: int) -> Shot:
    shot = Shot(
        module_px=rng.uniform(3.8, 9.0),
        tilt_deg=rng.uniform(0, 12),
        smear_modules=rng.uniform(0, 0.15),
        defocus_modules=rng.uniform(0, 0.25),
        electrons=rng.uniform(2500, 8000),
        stops=rng.uniform(0.1, 0.7),
    )
    if axis == "mix":
        for part in rng.choice(MIXED, 3, replace=False):
            shot = _harder(rng, shot, str(part), int(rng.integers(1 + (level > 3), level + 1)))
        return shot
    return _harder(rng, shot, axis, level)


def _harder(rng: np.random.Generator, shot: Shot, axis: str, level: int) -> Shot:
    chosen: dict[str, Any] = {
        name: rng.uniform(*levels[level - 1]) for name, levels in AXES[axis].items()
    }
    if axis == "brightness" and rng.random() < 0.5:
        chosen["stops"] *= -0.8
    if axis == "multi":
        chosen.update(count=int(chosen["count"] + rng.random()), module_px=rng.uniform(3.2, 4.6))
        chosen.update(carriers=("phone", "phone", "paper"))
    if axis in ("moire", "inverted"):
        chosen.update(carriers=("phone",), dark_mode=axis == "inverted")
    if axis == "glare":
        chosen.update(carriers=("card", "phone"))
    return replace(shot, **chosen)


def _show(rng: np.random.Generator, scene: Numbers, shot: Shot, number: int) -> Shown:
    """Put a code into *scene*, the *number*th from the left."""
    carrier = Carrier(rng, shot.carriers, shot.module_px, shot.dark_mode, shot.covered)
    turned = _turned(rng, shot)
    place = carrier.place(_middle(rng, carrier, shot.count, number), turned)
    path = _path(rng, shot.smear_modules * carrier.module_px)
    kernel = optics.smear(shot.defocus_modules * carrier.module_px, path)
    wobble_px = 0.0
    if shot.rolling:
        place = _rolled(rng, shot.rolling) @ place
        wobble_px = shot.rolling * 12
    corners = carrier.corners(place)
    place = shifted(*_pushed_in(corners)) @ place
    corners = carrier.corners(place)
    layer = optics.seen(carrier.sprite, place, kernel, wobble_px)
    assert layer is not None
    if shot.moire:
        layer = carrier.with_dots(rng, layer, place, shot.moire)
    optics.lay(scene, layer)
    if wobble_px:
        corners[:, 0] += optics.wobble(corners[:, 1], wobble_px)
    if shot.glare:
        _mirror(rng, scene, corners, shot.glare)
    return Shown(carrier.content, tuple((float(x), float(y)) for x, y in corners))


def _turned(rng: np.random.Generator, shot: Shot) -> tuple[float, float, float]:
    lean, about = math.radians(shot.tilt_deg), rng.uniform(0, 2 * np.pi)
    roll = rng.normal(0, 0.12)
    if rng.random() < 0.1:
        roll += rng.choice((-1, 1, 2)) * np.pi / 2
    return lean * math.cos(about), lean * math.sin(about), roll


def _middle(
    rng: np.random.Generator, carrier: Carrier, count: int, number: int
) -> tuple[float, float]:
    span = WIDTH / count
    reach = carrier.side_px * 0.6
    x = span * (number + 0.5) + rng.uniform(-1, 1) * max(0, span / 2 - reach) * 0.7
    return x, HEIGHT / 2 + rng.uniform(-1, 1) * max(0, HEIGHT / 2 - reach) * 0.6


def _pushed_in(corners: Numbers) -> tuple[float, float]:
    """How to move *corners* so that all are well within the frame."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    edge = np.array([WIDTH, HEIGHT]) - 12
    x, y = np.maximum(12 - low, 0) + np.minimum(edge - high, 0)
    return float(x), float(y)


def _path(rng: np.random.Generator, length: float) -> Numbers:
    """A way of *length* pixels through 0, straight or bent."""
    along = np.linspace(-0.5, 0.5, max(2, round(length * 3)))
    bend = rng.uniform(-0.35, 0.35)
    way = np.column_stack([along, bend * (along**2 * 4 - 0.5) / 2]) * length
    angle = rng.uniform(0, np.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.asarray(way @ np.array([[cos, sin], [-sin, cos]]))


def _rolled(rng: np.random.Generator, much: float) -> Numbers:
    """What moves while a shutter rolls over the frame: leaning, and longer or shorter."""
    angle = rng.uniform(0, 2 * np.pi)
    right, down = much * math.cos(angle), much * math.sin(angle)
    lean = np.array([[1, right, 0], [0, 1 / (1 - down), 0], [0, 0, 1]])
    middle = shifted(-WIDTH / 2, -HEIGHT / 2)
    return np.asarray(shifted(WIDTH / 2, HEIGHT / 2) @ lean @ middle)


def _mirror(rng: np.random.Generator, scene: Numbers, corners: Numbers, size: float) -> None:
    side = float(np.linalg.norm(corners[0] - corners[2])) / math.sqrt(2)
    x, y = corners.mean(axis=0) + rng.uniform(-0.4, 0.4, 2) * side
    radii = (size * side * rng.uniform(0.8, 1.4), size * side * rng.uniform(0.5, 1.0))
    optics.glare(scene, (x, y), radii, rng.uniform(0, np.pi), rng.uniform(1.5, 5))


class _Camera:
    """A camera, whose lens and lamps stay the same from frame to frame."""

    def __init__(self, rng: np.random.Generator, shot: Shot) -> None:
        self._rng = rng
        self._shot = shot
        self._vignette = rng.uniform(0.0, 0.35)
        self._slope = (rng.normal(0, 0.08), rng.normal(0, 0.08))
        self._flicker = 2.5 * shot.rolling or rng.uniform(0, 0.03)
        # The processor sharpens what is bright and smoothes what is dark.
        self._sharpen = rng.uniform(0, 0.6) if shot.electrons > 800 else rng.uniform(-0.7, 0)

    def take(self, scene: Numbers) -> Frame:
        """The frame that it gives of *scene*, which is used up."""
        optics.lit(scene, self._vignette, self._slope)
        optics.flicker(scene, self._flicker, self._rng.uniform(0, 2 * np.pi))
        light = 2.0**-self._shot.stops
        return optics.sensed(self._rng, scene, light, self._shot.electrons, self._sharpen)


class _Visit:
    """Somebody comes, holds a code before the camera, and goes."""

    def __init__(self, rng: np.random.Generator, frames: int) -> None:
        self._carrier = Carrier(rng, Shot.carriers, rng.uniform(4.0, 7.5))
        self._behind = wall(rng)
        self._who = int(rng.integers(5))
        # In frames: 1/250 to 1/60 of a second.
        self._open = FRAMES_PER_S * float(np.exp(rng.uniform(np.log(1 / 250), np.log(1 / 60))))
        electrons = 12000 * self._open * np.exp(rng.uniform(np.log(0.12), 0))
        self._camera = _Camera(rng, Shot(electrons=electrons, stops=rng.uniform(0.1, 0.8)))
        self._came, self._takes = rng.uniform(-1, 3), rng.uniform(8.5, 13.5)
        self._goes = min(self._came + self._takes + rng.uniform(18, 36), frames - 8)
        side = rng.choice((-1, 1))
        self._from = np.array([side * rng.uniform(950, 1150), rng.uniform(-100, 500)])
        self._to = np.array([rng.choice((-1, 1)) * rng.uniform(800, 1000), rng.uniform(0, 600)])
        self._eases = rng.uniform(2.0, 3.0)
        self._middle = np.array([WIDTH, HEIGHT]) / 2 + rng.uniform(-60, 60, 2)
        self._turned = _turned(rng, Shot(tilt_deg=rng.uniform(0, 15)))
        self._phases, self._tremor_px = rng.uniform(0, 6, 6), rng.uniform(0.5, 1.8)
        # Half of the cameras have to find the focus, in modules and frames.
        self._defocus = rng.uniform(0.6, 1.4) if rng.random() < 0.5 else 0.15
        self._focuses = rng.uniform(2.0, 5.0)

    def frame(self, number: int) -> SequenceFrame:
        """The frame of that *number*, from 0."""
        grey = self._behind.copy()
        put_person(grey, self._who, float(self._at(number)[0]))
        scene = optics.scene_of(grey)
        place = self._place(number)
        layer = optics.seen(self._carrier.sprite, place, self._smear(number))
        if layer is not None:
            optics.lay(scene, layer)
        corners = self._carrier.corners(place)
        seen = bool((corners >= 0).all() and (corners < (WIDTH, HEIGHT)).all())
        return SequenceFrame(self._camera.take(scene), seen, self._carrier.content)

    def _place(self, t: float) -> Numbers:
        x, y = self._at(t)
        yaw, pitch, roll = self._turned
        turned = (yaw + 0.3 * min(1.0, self._away(t)), pitch, roll + 0.01 * math.sin(0.5 * t))
        place = self._carrier.place((x, y), turned, 1 - 0.2 * min(1.0, self._away(t)))
        moved = (self._at(t + 0.5) - self._at(t - 0.5)) / HEIGHT * _READOUT
        lean = np.array([[1, moved[0], -moved[0] * y], [0, 1 + moved[1], -moved[1] * y], [0, 0, 1]])
        return np.asarray(lean @ place)

    def _smear(self, t: float) -> Numbers:
        times = t + self._open * np.linspace(-0.5, 0.5, 25)
        path = np.array([self._at(time) for time in times]) - self._at(t)
        length = np.abs(path[-1] - path[0]).max()
        path = path[:: max(1, round(12 / max(length, 1)))]
        seeking = self._defocus * math.exp(-max(0.0, t - self._came) / self._focuses)
        modules = max(0.15, seeking) + 1.2 * min(1.0, self._away(t))
        return optics.smear(modules * self._carrier.module_px, path)

    def _away(self, t: float) -> float:
        """1 where it comes from, 0 where it is held, up to 1 where it goes to."""
        if t < self._goes:
            left = 1 - min(1.0, max(0.0, t - self._came) / self._takes)
            return math.pow(left, self._eases)
        return ((t - self._goes) / 8) ** 2

    def _at(self, t: float) -> Numbers:
        """Where the middle of the code is; a hand is never quite still."""
        p, way = self._phases, self._from if t < self._goes else self._to
        x = math.sin(0.15 * t + p[0]) * 4 + math.sin(1.7 * t + p[1]) + math.sin(1.1 * t + p[2])
        y = math.sin(0.13 * t + p[3]) * 4 + math.sin(1.9 * t + p[4]) + math.sin(0.9 * t + p[5])
        hand = np.array([x, y]) * self._tremor_px
        return np.asarray(self._middle + way * self._away(t) + hand)


def _behind(rng: np.random.Generator) -> Numbers:
    """The light of what is behind, and mostly of somebody."""
    grey = wall(rng)
    if rng.random() < 0.8:
        put_person(grey, int(rng.integers(5)), rng.uniform(300, 980))
    return optics.scene_of(grey)


def _steady(rng: np.random.Generator) -> Shot:
    return Shot(electrons=rng.uniform(1500, 6000), stops=rng.uniform(0.1, 0.7))
