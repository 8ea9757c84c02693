"""How well and how fast readers of QR codes read, side by side: `python -m tests.bench.read`.

Without a corpus it draws its own pictures. With one it reads a folder with an `index.json` like
that of ../shared/corpus, and judges by the rule of its README: a reading is right when its text is
the picture's `text`, or in its `accepted`, or lies within a marked code.

Every reader gets the same picture, one after the other, in an order that turns from picture to
picture. Time is that of the processor, in all threads. To measure another reader, write a function
that makes it and give it a name in READERS.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zxingcpp

from edge.scanner.decoder import Decoder, Frame
from edge.scanner.pictures import read_image
from tests.drawing import HARDSHIPS, HEIGHT, WIDTH, Corners, Scene, empty_gate, gate


@dataclass(frozen=True)
class Reading:
    """What a reader says that it saw, and where."""

    #: A reader that gives bytes leaves open what they mean; then this is each text they could be.
    texts: tuple[str, ...]
    points: Corners


Reader = Callable[[Frame], list[Reading]]


def ours() -> Reader:
    decoder = Decoder()
    if decoder.zbar_missing:
        print(f"ours reads without zbar: {decoder.zbar_missing}", file=sys.stderr)
    return lambda frame: [Reading(texts_of(c.content), c.points) for c in decoder.read(frame)]


def pyzbar() -> Reader:
    from pyzbar.pyzbar import ZBarSymbol, decode

    def read(frame: Frame) -> list[Reading]:
        found = decode(frame, symbols=[ZBarSymbol.QRCODE])
        return [Reading((as_utf8(each.data),), tuple(each.polygon)) for each in found]

    return read


def zxing_defaults() -> Reader:
    family = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)

    def read(frame: Frame) -> list[Reading]:
        return [
            Reading((each.text,), tuple((p.x, p.y) for p in _corners(each.position)))
            for each in zxingcpp.read_barcodes(frame, formats=family)
        ]

    return read


def opencv() -> Reader:
    detector = cv2.QRCodeDetector()

    def read(frame: Frame) -> list[Reading]:
        _, texts, points, _ = detector.detectAndDecodeMulti(frame)
        if points is None:
            return []
        where = [tuple((float(x), float(y)) for x, y in quad) for quad in points]
        return [Reading((text,), at) for text, at in zip(texts, where, strict=True) if text]

    return read


#: Each makes a fresh reader. The first is the one that the last line speaks of.
READERS: Mapping[str, Callable[[], Reader]] = {
    "ours": ours,
    "pyzbar": pyzbar,
    "zxing-cpp": zxing_defaults,
    "opencv": opencv,
}


@dataclass(frozen=True)
class Picture:
    """A frame and what is known of the codes in it."""

    name: str
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


def texts_of(content: bytes) -> tuple[str, ...]:
    """Each text that *content* could be."""
    texts = []
    for encoding in ("utf-8", "shift_jis", "latin-1"):
        with suppress(UnicodeDecodeError):
            texts.append(content.decode(encoding))
    return tuple(texts)


def as_utf8(data: bytes) -> str:
    """What pyzbar's users make of the text that zbar guessed."""
    return data.decode(errors="replace")


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
    groups: dict[str, list[bool]] = field(default_factory=dict)

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
        self.groups.setdefault(picture.group, []).append(verdict.right > 0)
        if picture.marked or len(picture.exact) > 1:
            self.codes += picture.codes()
            self.codes_read += verdict.codes

    def rate(self) -> float:
        """Share of the pictures with a code of which one was read, in percent."""
        return _percent(self.read, self.pictures)

    def mean_ms(self) -> float:
        """Mean over the pictures with a code and those without, each kind counting half."""
        kinds = [np.mean(times) for times in (self.ms_with, self.ms_without) if times]
        return float(np.mean(kinds)) if kinds else float("nan")


def measure(pictures: Iterable[Picture], readers: Mapping[str, Reader]) -> dict[str, Tally]:
    """Let all *readers* read all *pictures*, interleaved."""
    tallies = {name: Tally() for name in readers}
    names = list(readers)
    for number, picture in enumerate(pictures):
        if number == 0:
            # What is loaded on first use is not the time of reading.
            for read in readers.values():
                _timed(read, picture.frame)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            readings, ms = _timed(readers[name], picture.frame)
            tallies[name].add(picture, readings, ms)
    return tallies


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
            name=entry["file"],
            frame=image,
            group=entry["source"],
            kind=entry["kind"],
            exact=frozenset([entry["text"]] if entry["text"] else []),
            ascii_parts=frozenset(text.strip() for text in entry["accepted"]),
            marked=tuple(tuple((x * scale, y * scale) for x, y in quad) for quad in _marks(entry)),
        )


def drawn(seed: int, each: int) -> Iterator[Picture]:
    """*each* frames of every hardship, and half as many without a code."""
    rng = np.random.default_rng(seed)
    for number in range(each):
        for hardship in HARDSHIPS:
            yield _drawn(f"{hardship} {number}", hardship, gate(rng, hardship))
            if rng.random() < 0.5:
                yield _drawn(f"empty {number}", "empty", empty_gate(rng))


def report(tallies: Mapping[str, Tally], pictures: str) -> str:
    """All figures in Markdown."""
    lines = [f"# Readers on {pictures}", "", *_main_table(tallies), "", *_group_table(tallies)]
    return "\n".join([*lines, "", _closing(tallies)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.read", description=__doc__)
    parser.add_argument("--corpus", type=Path, help="a folder with index.json; else we draw")
    parser.add_argument("--seed", type=int, default=1, help="of what we draw")
    parser.add_argument("--each", type=int, default=20, help="frames to draw of every hardship")
    parser.add_argument("--out", type=Path, help="a folder to write read.md into as well")
    parser.add_argument(
        "--readers",
        default="ours,pyzbar,zxing-cpp,opencv",
        help=f"some of {','.join(READERS)}",
    )
    options = parser.parse_args()
    names = options.readers.split(",")
    if not set(names) <= set(READERS):
        parser.error(f"--readers: choose from {','.join(READERS)}")
    if options.corpus is not None and not (options.corpus / "index.json").is_file():
        parser.error(f"--corpus: there is no index.json in {options.corpus}")
    if options.corpus is None:
        pictures = drawn(options.seed, options.each)
        source = f"frames that we draw, seed {options.seed}"
    else:
        pictures, source = from_corpus(options.corpus), str(options.corpus)
    tallies = measure(pictures, {name: READERS[name]() for name in names})
    text = report(tallies, source)
    print(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "read.md").write_text(text + "\n", "utf-8")


def _timed(read: Reader, frame: Frame) -> tuple[list[Reading] | None, float]:
    began = time.process_time()
    try:
        readings: list[Reading] | None = read(frame)
    # Whatever a library raises on a picture is a result: that of a picture it could not read.
    except Exception:  # noqa: BLE001
        readings = None
    return readings, (time.process_time() - began) * 1000


def _marks(entry: dict[str, Any]) -> list[Any]:
    marks: list[Any] = entry["corners"] or []
    if entry["category"] == "lots" and entry["height"] > entry["width"]:
        # The index has them for the picture before it was turned: found by laying them over it.
        return [[(entry["width"] - y, x) for x, y in quad] for quad in marks]
    return marks


def _drawn(name: str, group: str, scene: Scene) -> Picture:
    exact = frozenset(content.decode() for content in scene.contents)
    return Picture(name, scene.frame, group, "qr" if exact else "negative", exact)


def _holds(mark: Corners, points: Corners) -> bool:
    x, y = np.mean(np.array(points, float), axis=0)
    return cv2.pointPolygonTest(np.array(mark, np.float32), (float(x), float(y)), False) >= 0


def _corners(at: zxingcpp.Position) -> tuple[zxingcpp.Point, ...]:
    return at.top_left, at.top_right, at.bottom_right, at.bottom_left


def _main_table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    yield (
        "| reader | pictures read | % | codes read, where marked or several "
        "| wrong text | false reads | raised | CPU ms with a code: median / p95 / mean "
        "| without: median / p95 / mean | faster than pyzbar on average, with / without |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    base = tallies.get("pyzbar")
    for name, it in tallies.items():
        yield (
            f"| {name} | {it.read} / {it.pictures} | {it.rate():.1f} "
            f"| {it.codes_read} / {it.codes} ({_percent(it.codes_read, it.codes):.1f} %) "
            f"| {it.wrong} | {it.false} | {it.raised} "
            f"| {_times(it.ms_with)} | {_times(it.ms_without)} "
            f"| {_ratio(it.ms_with, base and base.ms_with)} "
            f"/ {_ratio(it.ms_without, base and base.ms_without)} |"
        )


def _group_table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    groups = next(iter(tallies.values())).groups
    yield f"| pictures read, % | n | {' | '.join(tallies)} |"
    yield "|---|---|" + "---|" * len(tallies)
    for group, reads in groups.items():
        shares = (f"{100 * np.mean(it.groups[group]):.1f}" for it in tallies.values())
        yield f"| {group} | {len(reads)} | {' | '.join(shares)} |"


def _closing(tallies: Mapping[str, Tally]) -> str:
    mine, theirs = tallies.get("ours"), tallies.get("pyzbar")
    if mine is None or theirs is None:
        return "ours or pyzbar was not measured: nothing to compare"
    rates = f"{mine.rate():.1f} % against {theirs.rate():.1f} %"
    times = f"{mine.mean_ms():.2f} ms against {theirs.mean_ms():.2f} ms"
    more, faster = mine.rate() > theirs.rate(), mine.mean_ms() < theirs.mean_ms()
    if more and faster:
        return f"ours is ahead of pyzbar in read rate ({rates}) and CPU ({times})"
    behind = [] if more else [f"read rate ({rates})"]
    behind += [] if faster else [f"CPU ({times})"]
    return f"ours is NOT ahead of pyzbar in {' and '.join(behind)}"


def _times(ms: Sequence[float]) -> str:
    if not ms:
        return "-"
    return f"{np.median(ms):.2f} / {np.percentile(ms, 95):.2f} / {np.mean(ms):.2f}"


def _ratio(ms: Sequence[float], base: Any) -> str:
    return f"{np.mean(base) / np.mean(ms):.1f} times" if ms and base else "-"


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


if __name__ == "__main__":
    main()
