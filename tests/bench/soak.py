"""Whether reading leaks or stumbles, over very many frames: `python -m tests.bench.soak`.

Frames of all kinds go through the live reader and the one for single pictures: with codes and
without, black, white, noise, of no size, of one pixel, of 100 megapixels, with gaps between their
rows, parts of split messages; and what is no frame at all, as colour, 16 bit and damaged files. It
prints the memory of the process as it goes; what is held at the end must not be more than a few MB
above what was held when everything had been seen once.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.scanner.decoder import Decoder, Frame
from edge.scanner.golden import golden_picture
from edge.scanner.pictures import read_image
from edge.scanner.pipeline import Pipeline
from tests import scenes
from tests.drawing import draw_parts, on_wall

#: What memory may grow by, in MB, once everything was seen.
GROWTH_MB = 6.0
#: One frame in so many is of 100 megapixels, and is read as often as a single picture.
HUGE_EVERY, SINGLE_EVERY = 5000, 50


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    grown = soak(options.frames, options.seed, print)
    print(f"{'met' if grown < GROWTH_MB else 'NOT met'}: {grown:+.1f} MB; at most {GROWTH_MB:g}")


def soak(frames: int, seed: int, say: Callable[[str], object]) -> float:
    """Read so many *frames*; gives by how many MB memory grew over the last nine tenths.

    Raises whatever a frame makes the readers raise. *say* gets ten lines.
    """
    rng = np.random.default_rng(seed)
    pool = list(_frames(seed))
    live, single = Pipeline(), Decoder()
    step = max(1, frames // 10)
    settled_mb = 0.0
    with tempfile.TemporaryDirectory() as folder:
        damaged = _damaged_files(Path(folder))
        for number in range(frames):
            if number % HUGE_EVERY == 0:
                single.read(np.zeros((10_000, 10_000), np.uint8))
            frame = pool[int(rng.integers(len(pool)))]
            live.read(frame)
            if number % SINGLE_EVERY == 0:
                single.read(frame)
                _refused(live)
                for path in damaged:
                    _not_read(path)
            if (number + 1) % step == 0:
                memory_mb = resident_mb()
                settled_mb = settled_mb or memory_mb
                say(f"{number + 1:>9,} frames: {memory_mb:.1f} MB")
    live.close()
    single.close()
    return resident_mb() - settled_mb


def resident_mb() -> float:
    """What this process holds of the machine's memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def _frames(seed: int) -> Iterator[Frame]:
    rng = np.random.default_rng(seed)
    for axis in ("easy", "motion", "defocus", "glare", "multi", "inverted", "lowlight"):
        yield scenes.frame(axis, 4, seed).frame
    for number in range(3):
        yield scenes.empty(seed + number).frame
    gate = scenes.empty(seed).frame
    yield np.asfortranarray(gate)
    yield np.pad(gate, ((0, 0), (0, 64)))[:, :-64]
    yield gate[::-1, ::2]
    first, second = draw_parts("NGUYEN VAN MAU|1234|" * 3, count=2, scale=5)
    yield on_wall((first, 100, 100), (second, 500, 100))
    yield on_wall((golden_picture(6), 900, 300))
    yield np.zeros((720, 1280), np.uint8)
    yield np.full((720, 1280), 255, np.uint8)
    yield rng.integers(0, 256, (720, 1280), np.uint8)
    for shape in ((0, 0), (0, 640), (1, 1), (1, 5000), (21, 21), (43, 42)):
        yield np.full(shape, 128, np.uint8)


def _refused(live: Pipeline) -> None:
    no_frames: tuple[Any, ...] = (
        np.zeros((48, 64, 3), np.uint8),
        np.zeros((48, 64), np.uint16),
        None,
    )
    for no_frame in no_frames:
        try:
            live.read(no_frame)
        except ValueError:
            continue
        raise AssertionError("what is no frame was read")


def _damaged_files(folder: Path) -> list[Path]:
    whole = cv2.imencode(".jpg", golden_picture(10))[1].tobytes()
    files = {
        "cut.jpg": whole[: len(whole) // 3],
        "empty.png": b"",
        "text.png": b"not a picture",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _not_read(path: Path) -> None:
    try:
        read_image(path)
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main()
