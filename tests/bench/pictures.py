"""Single pictures, and what readers make of them.

A folder with an `index.json` like that of ../shared/corpus is judged by the rule of its README: a
reading is right when its text is the picture's `text`, or in its `accepted`, or lies within a
marked code. In frames that we draw, what a code holds is known, and only that is right.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.scanner.decoder import Frame
from edge.scanner.pictures import read_image
from edge.scanner.sample.drawing import HEIGHT, WIDTH
from tests import scenes
from tests.bench.readers import Reader, Reading
from tests.drawing import Corners


@dataclass(frozen=True)
class Picture:
    """A frame and what is known of the codes in it."""

    frame: Frame
    #: What to count it under.
    group: str
    #: "qr", "negative" (no QR code in it), "microqr" or "sa" (part of a split message).
    kind: str
    #: Right if exactly this was read.
    exact: frozenset[str] = frozenset()
    #: Right if this is the printable ASCII part of what was read.
    ascii_parts: frozenset[str] = frozenset()
    #: Right if read within one of these.
    marked: tuple[Corners, ...] = ()

    def codes(self) -> int:
        """How many codes there are to be read, as far as is known."""
        return len(self.marked) or len(self.exact) or 1

    def says(self, reading: Reading) -> bool:
        """Whether *reading* is the text of a code in it."""
        return any(
            text in self.exact or ascii_part(text) in self.ascii_parts for text in reading.texts
        )


@dataclass(frozen=True)
class Verdict:
    """What the readings of one picture were worth."""

    right: int
    #: Codes that were read rightly.
    codes: int
    #: Read where a code is, but not what it says.
    wrong: int
    #: Read where no code is.
    false: int


def judge(picture: Picture, readings: Sequence[Reading]) -> Verdict:
    """Apply the rule of the corpus."""
    right, wrong = 0, 0
    codes: set[object] = set()
    for reading in readings:
        mark = next((m for m in picture.marked if _holds(m, reading.points)), None)
        if mark is not None or picture.says(reading):
            right += 1
            codes.add(reading.texts if mark is None else mark)
        elif picture.kind == "qr" and not picture.marked:
            wrong += 1
    return Verdict(right, min(len(codes), picture.codes()), wrong, len(readings) - right - wrong)


def ascii_part(text: str) -> str:
    """What the corpus gives of a text whose encoding is open to doubt."""
    return "".join(letter for letter in text if " " <= letter <= "~").strip()


@dataclass
class Tally:
    """What one reader did over all pictures."""

    pictures: int = 0
    read: int = 0
    codes: int = 0
    codes_read: int = 0
    wrong: int = 0
    false: int = 0
    raised: int = 0
    ms_with: list[float] = field(default_factory=list)
    ms_without: list[float] = field(default_factory=list)
    #: Codes read, and codes, of each group.
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, picture: Picture, readings: Sequence[Reading] | None, ms: float) -> None:
        """Count *readings* of *picture*; None where the reader raised."""
        if readings is None:
            self.raised += 1
        verdict = judge(picture, readings or ())
        self.wrong += verdict.wrong
        self.false += verdict.false
        if picture.kind == "negative":
            self.ms_without.append(ms)
        if picture.kind != "qr":
            return
        self.ms_with.append(ms)
        self.pictures += 1
        self.read += verdict.right > 0
        self.codes += picture.codes()
        self.codes_read += verdict.codes
        read, codes = self.groups.get(picture.group, (0, 0))
        # Of photographs we do not know how many codes a fair reader could see: one is enough.
        new = (int(verdict.right > 0), 1) if picture.marked else (verdict.codes, picture.codes())
        self.groups[picture.group] = (read + new[0], codes + new[1])

    def rate(self, group: str = "") -> float:
        """Share read, in percent, of the groups whose names begin with *group*."""
        chosen = [counts for name, counts in self.groups.items() if name.startswith(group)]
        codes = sum(count for _, count in chosen)
        return 100 * sum(read for read, _ in chosen) / codes if codes else float("nan")


def measure(pictures: Iterable[Picture], readers: Mapping[str, Reader]) -> dict[str, Tally]:
    """Let all *readers* read all *pictures*, one after the other, in an order that turns."""
    tallies = {name: Tally() for name in readers}
    names = list(readers)
    for number, picture in enumerate(pictures):
        if number == 0:
            # What is loaded on first use is not the time of reading.
            for read in readers.values():
                timed(read, picture.frame)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            readings, ms = timed(readers[name], picture.frame)
            tallies[name].add(picture, readings, ms)
    return tallies


def timed(read: Reader, frame: Frame) -> tuple[list[Reading] | None, float]:
    """What *read* says, None if it raised, and milliseconds of this thread's processor time."""
    began = time.thread_time()
    try:
        readings: list[Reading] | None = read(frame)
    # Whatever a library raises on a picture is a result: that of a picture it could not read.
    except Exception:  # noqa: BLE001
        readings = None
    return readings, (time.thread_time() - began) * 1000


def from_corpus(folder: Path) -> Iterator[Picture]:
    """The pictures of *folder*, fitted to a frame, never enlarged.

    The camera is held as the picture is: upright ones are fitted to an upright frame.
    """
    for entry in json.loads((folder / "index.json").read_text("utf-8")):
        image = read_image(folder / entry["file"])
        height, width = image.shape
        scale = min(1.0, WIDTH / max(width, height), HEIGHT / min(width, height))
        if scale < 1.0:
            size = (round(width * scale), round(height * scale))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        yield Picture(
            frame=image,
            group=entry["source"],
            kind=entry["kind"],
            exact=frozenset([entry["text"]] if entry["text"] else []),
            ascii_parts=frozenset(text.strip() for text in entry["accepted"]),
            marked=tuple(tuple((x * scale, y * scale) for x, y in quad) for quad in _marks(entry)),
        )


def gate_frames(seed: int, each: int, levels: Sequence[int]) -> Iterator[Picture]:
    """*each* frames of every axis on *levels*, twice that of a mix, and ones without a code."""
    for number in range(seed * 1000, seed * 1000 + each):
        for level in levels:
            for axis in scenes.AXES:
                yield _picture(scenes.frame(axis, level, number))
            yield _picture(scenes.frame("mix", level, number + 500))
            yield _picture(scenes.empty(number * 10 + level))
            yield _picture(scenes.empty(number * 10 + 5 + level))


def hard_frames(seed: int, each: int) -> Iterator[Picture]:
    """*each* more frames of the two levels for which there is a target of their own."""
    for number in range(seed * 1000 + 300, seed * 1000 + 300 + each):
        for axis, level in HARD:
            yield _picture(scenes.frame(axis, level, number))


HARD = (("motion", 4), ("defocus", 4))


def _picture(scene: scenes.Scene) -> Picture:
    exact = frozenset(code.content.decode() for code in scene.codes)
    group = f"{scene.axis} {scene.level}"
    return Picture(scene.frame, group, "qr" if exact else "negative", exact)


def _marks(entry: dict[str, Any]) -> list[Any]:
    marks: list[Any] = entry["corners"] or []
    if entry["category"] == "lots" and entry["height"] > entry["width"]:
        # The index has them for the picture before it was turned: found by laying them over it.
        return [[(entry["width"] - y, x) for x, y in quad] for quad in marks]
    return marks


def _holds(mark: Corners, points: Corners) -> bool:
    x, y = np.mean(np.array(points, float), axis=0)
    return cv2.pointPolygonTest(np.array(mark, np.float32), (float(x), float(y)), False) >= 0
