"""How many instructions reading a frame takes: the same on every machine of a kind, however busy.

    python -m tests.bench.instructions [--settings FILE]

Counted by the processor where it can be asked (`perf stat`, as on a Raspberry Pi: apt install
linux-perf), else by valgrind, which takes a minute or two for each. What Python and the libraries
take to start is measured by reading fewer frames, and taken off.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from edge.scanner.decoder import Frame
from edge.scanner.pipeline import Pipeline
from tests.bench.unit import profiled, seen
from tests.end_to_end.parts import invented_cards

WORKS = ("an empty view", "a card held still", "a new card in every frame")
#: Frames of the shorter and of the longer run.
FEW, MANY = 2, 8
_BBV = re.compile(r"Total instructions: (\d+)")


def main() -> int:
    """Count, and print a table; or do one of the works, to be counted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--settings", type=Path, help="a profile, as config/zero-2w.toml")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work, options.frames, options.settings)
        return 0
    how = counter()
    if how is None:
        print(
            "neither perf (linux-perf) nor valgrind counts here: apt install one", file=sys.stderr
        )
        return 1
    print(f"| one frame, counted by {how} | million instructions |\n|---|---|")
    for number, name in enumerate(WORKS):
        few, many = (count(how, number, frames, options.settings) for frames in (FEW, MANY))
        print(f"| {name} | {(many - few) / (MANY - FEW) / 1e6:.1f} |", flush=True)
    return 0


def work(number: int, frames: int, settings: Path | None) -> None:
    """Read *frames* frames, as the scanner does."""
    given = profiled(settings)
    pipeline = Pipeline(zbar=given.reading.zbar, budget_ms=given.reading.budget_ms)
    # All are drawn, however few are read: so that drawing is no part of the difference.
    views = [fitted(view, given.camera.width) for view in _views(number, MANY)]
    for view in views[:frames]:
        pipeline.read(view)
    pipeline.close()


def _views(number: int, frames: int) -> list[Frame]:
    if number == 0:
        return [seen(None, frame) for frame in range(frames)]
    cards = invented_cards(1 if number == 1 else frames)
    return [seen(cards[frame % len(cards)], frame) for frame in range(frames)]


def fitted(view: Frame, width: int) -> Frame:
    """*view* as wide as the camera gives it, without a library whose work would be counted."""
    step = view.shape[1] / width
    rows = (np.arange(int(view.shape[0] / step)) * step).astype(int)
    columns = (np.arange(width) * step).astype(int)
    return np.ascontiguousarray(view[rows][:, columns])


def counter() -> str | None:
    """What can count here."""
    if shutil.which("perf"):
        done = subprocess.run(
            ["perf", "stat", "-x,", "-e", "instructions:u", "true"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and done.stderr[:1].isdigit():
            return "perf"
    return "valgrind" if shutil.which("valgrind") else None


def count(how: str, number: int, frames: int, settings: Path | None) -> int:
    """The instructions of a process that does a work."""
    command = [sys.executable, "-m", "tests.bench.instructions", "--work", str(number)]
    command += ["--frames", str(frames), *(["--settings", str(settings)] if settings else [])]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    if how == "perf":
        counting = ["perf", "stat", "-x,", "-e", "instructions:u", *command]
    else:
        quiet = ["--bb-out-file=/dev/null", "--instr-count-only=yes"]
        counting = ["valgrind", "--tool=exp-bbv", *quiet, *command]
    done = subprocess.run(
        counting, capture_output=True, text=True, check=False, env=environment, timeout=1800
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(counting)}: {done.stderr[-2000:]}")
    return counted(how, done.stderr)


def counted(how: str, said: str) -> int:
    """The number in what perf or valgrind *said*."""
    if how == "perf":
        line = next(line for line in said.splitlines() if "instructions" in line)
        return int(line.split(",")[0])
    found = _BBV.search(said)
    if found is None:
        raise SystemExit(f"valgrind counted nothing: {said[-500:]}")
    return int(found.group(1))


if __name__ == "__main__":
    sys.exit(main())
