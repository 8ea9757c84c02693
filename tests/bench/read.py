"""How well and how fast readers of QR codes read, side by side: `python -m tests.bench.read`.

It draws frames of a gate and sequences of them, and with --corpus also reads a folder of
photographs with an `index.json`. Every reader gets the same frame, one after the other, in an order
that turns. Time is that of the processor, in the thread that reads. The tables go to standard
output and with a plot into --out; the last lines say which of our targets are met.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from tests import scenes
from tests.bench.pictures import Picture, Tally, from_corpus, gate_frames, hard_frames, measure
from tests.bench.plot import Dot, write_plot
from tests.bench.readers import LIVE, OURS, READERS, Reader
from tests.bench.report import (
    groups_table,
    levels_table,
    pictures_table,
    sequences_table,
    targets,
)
from tests.bench.sequences import Watch, watch

#: Frames of each axis and level, levels, frames of those with a target of their own, sequences.
FULL, QUICK = (4, (1, 2, 3, 4, 5), 40, 20), (1, (2, 4), 3, 2)

#: Ours is there as the live reader; OpenCV takes as long as all others together.
NOT_IN_SEQUENCES = (OURS, "opencv")


def main() -> None:
    options = _options()
    names = options.readers.split(",")
    chosen = {name: READERS[name] for name in READERS if name in names}
    # The readers are compared on one processor; threads of OpenCV would not be counted.
    cv2.setNumThreads(1)
    text, panels = _measured(options, chosen)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "read.md").write_text(text + "\n", "utf-8")
    if panels:
        write_plot(options.out / "read.png", panels)
    print(f"\nwritten: {options.out}/read.md and read.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.read", description=__doc__)
    parser.add_argument("--corpus", type=Path, help="a folder with index.json, read as well")
    parser.add_argument("--gate", type=int, help="frames of each axis and level; 0 for none")
    parser.add_argument("--sequences", type=int, help="how many; 0 for none")
    parser.add_argument("--quick", action="store_true", help="very few of all: does it run?")
    parser.add_argument("--seed", type=int, default=1, help="of what we draw")
    parser.add_argument("--out", type=Path, default=Path(".bench"), help="a folder for the results")
    parser.add_argument("--readers", default=",".join(READERS), help="some of %(default)s")
    options = parser.parse_args()
    gate, options.levels, hard, sequences = QUICK if options.quick else FULL
    options.gate = gate if options.gate is None else options.gate
    options.hard = hard if options.gate else 0
    options.sequences = sequences if options.sequences is None else options.sequences
    if not set(options.readers.split(",")) <= set(READERS):
        parser.error(f"--readers: choose from {','.join(READERS)}")
    if options.corpus is not None and not (options.corpus / "index.json").is_file():
        parser.error(f"--corpus: there is no index.json in {options.corpus}")
    return options


def _measured(
    options: argparse.Namespace, chosen: Mapping[str, Callable[[], Reader]]
) -> tuple[str, list[tuple[str, list[Dot]]]]:
    """The report, and the panels of the plot."""
    # The live reader is for frames that follow one another.
    single = {name: make for name, make in chosen.items() if name != LIVE}
    lines, panels = [f"# Readers of QR codes, measured (seed {options.seed})"], []
    gate: dict[str, Tally] = {}
    hard: dict[str, Tally] = {}
    watches: dict[str, Watch] = {}
    if options.corpus is not None:
        tallies = _measure(from_corpus(options.corpus), single)
        sources = sorted(next(iter(tallies.values())).groups)
        lines += ["", f"## Pictures of {options.corpus}", "", *pictures_table(tallies), ""]
        lines += groups_table(tallies, sources)
        panels.append(("Photographs", _dots(tallies)))
    if options.gate:
        gate = _measure(gate_frames(options.seed, options.gate, options.levels), single)
        hard = _measure(hard_frames(options.seed, options.hard), single)
        lines += ["", "## Gate frames that we draw", "", *pictures_table(gate), ""]
        lines += [*groups_table(gate, [f"{axis} " for axis in scenes.AXES]), ""]
        lines += levels_table(gate)
        panels.append(("Gate frames that we draw", _dots(gate)))
    if options.sequences:
        seeds = range(options.seed * 1000, options.seed * 1000 + options.sequences)
        live = {name: make for name, make in chosen.items() if name not in NOT_IN_SEQUENCES}
        watches = watch(live, seeds, seeds[: -(-options.sequences // 6)])
        lines += ["", f"## Sequences: {options.sequences}", "", *sequences_table(watches)]
    if met := list(targets(gate, hard, watches)):
        lines += ["", "## Targets", "", *met]
    return "\n".join(lines), panels


def _measure(
    pictures: Iterable[Picture], readers: Mapping[str, Callable[[], Reader]]
) -> dict[str, Tally]:
    return measure(pictures, {name: make() for name, make in readers.items()})


def _dots(tallies: Mapping[str, Tally]) -> list[Dot]:
    return [
        Dot(name, it.rate(), float(np.mean(it.ms_with)), name == OURS)
        for name, it in tallies.items()
    ]


if __name__ == "__main__":
    main()
