"""How many instructions a unit's work takes: the same on every machine of a kind, however busy.

    python -m tests.bench.instructions [--settings FILE]      (make bench BENCH=instructions)

Counted by the processor where it can be asked (`perf stat`, as on a Raspberry Pi: apt install
linux-perf), else by valgrind, which takes a minute or two for each. Of a frame, and of a scan from
what was read to the disk, what Python and the libraries take to start is measured by doing fewer,
and taken off. The start is that of the whole service, from nothing to its first scan and its end.

Beside what is counted stands how long it takes a Cortex-A53 at 1 GHz (Zero 2 W), estimated: see
`a53_ms` for what that assumes. On a Pi itself, read the counts, and take times from
`make bench BENCH=unit`.
"""

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np

from edge.clock import SystemClock
from edge.messages import Scan
from edge.scanner.decoder import Frame
from edge.scanner.documents import Refusal, classify
from edge.scanner.outbox import Outbox
from edge.scanner.pipeline import Pipeline
from edge.sealing import Sealer, make_key_pair, read_key
from tests.bench.unit import machine, profiled, seen, unit, write
from tests.end_to_end.parts import beeps_in, invented_cards

WORKS = (
    "a frame of an empty view",
    "a frame with a card held still",
    "a frame with a new card",
    "a scan, from what was read to the disk",
)
KEEPING = 3
#: Frames, and scans, of the shorter and of the longer run.
FEW, MANY = 2, 8
FEW_SCANS, MANY_SCANS = 50, 250
#: A start may take so long under valgrind.
LONGEST_START_S = 600.0
#: Instructions that a Cortex-A53 completes in a cycle, from slow to fast: it takes up to two, in
#: order; code like Python's, which waits for memory and mispredicts, gets half of one to one.
A53_IPC = (0.5, 1.0)
#: Instructions of it for one that was counted on x86-64, from few to many: scalar code needs about
#: as many, code for vectors up to twice as many, as its are half as wide.
A53_FOR_ONE = (1.0, 1.5)
A53_GHZ = 1.0
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
    print(f"{machine()}, {platform.machine()}, Python {platform.python_version()}\n")
    print(
        f"| counted by {how} | million instructions | ms on a Zero 2 W, estimated |\n|---|---|---|"
    )
    for number, name in enumerate(WORKS):
        least, most = (FEW_SCANS, MANY_SCANS) if number == KEEPING else (FEW, MANY)
        few, many = (count(how, number, times, options.settings) for times in (least, most))
        tell(name, (many - few) / (most - least))
    tell("the service, to its first scan and its end", count_start(how, options.settings))
    return 0


def tell(name: str, instructions: float) -> None:
    """A line of the table."""
    least, most = a53_ms(instructions)
    digits = 0 if most >= 10 else 1
    span = f"{least:.{digits}f} to {most:.{digits}f}"
    print(f"| {name} | {instructions / 1e6:.1f} | {span} |", flush=True)


def a53_ms(instructions: float) -> tuple[float, float]:
    """How long so many, counted on x86-64, take a Cortex-A53 at 1 GHz: from least to most, in ms.

    An estimate, by A53_IPC and A53_FOR_ONE; nobody has measured it.
    """
    per_ms = A53_GHZ * 1e6
    (slow, fast), (few, many) = A53_IPC, A53_FOR_ONE
    return instructions * few / fast / per_ms, instructions * many / slow / per_ms


def work(number: int, frames: int, settings: Path | None) -> None:
    """Read *frames* frames, as the scanner does, or keep so many scans."""
    if number == KEEPING:
        keep(frames)
        return
    given = profiled(settings)
    pipeline = Pipeline(zbar=given.reading.zbar, budget_ms=given.reading.budget_ms)
    # All are drawn, however few are read: so that drawing is no part of the difference.
    views = [fitted(view, given.camera.width) for view in _views(number, MANY)]
    for view in views[:frames]:
        pipeline.read(view)
    pipeline.close()


def keep(scans: int) -> None:
    """Take *scans* codes for what they are, seal them and put them into an outbox."""
    codes = [card.encode() for card in invented_cards(MANY_SCANS)]
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        public, private = Path(folder, "tracing.pub"), Path(folder, "tracing.key")
        make_key_pair(public, private)
        sealer = Sealer(read_key(public))
        with Outbox(Path(folder, "outbox"), max_bytes=10**9, keep_free_bytes=0) as outbox:
            for code in codes[:scans]:
                document = classify(code)
                assert not isinstance(document, Refusal)
                moment, scan_id = clock.now(), uuid.uuid4().hex
                outbox.put(
                    Scan(
                        id=scan_id,
                        epoch=outbox.epoch,
                        seq=outbox.next_seq,
                        place="cho-1",
                        direction="in",
                        document=document.kind,
                        at=moment.at,
                        boot=moment.boot,
                        uptime_ms=moment.uptime_ms,
                        clock=moment.clock,
                        key=sealer.key_id,
                        sealed=sealer.seal(document.identity, scan_id),
                    )
                )


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
    command = [*counting(how), *command]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=1800
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return counted(how, done.stderr)


def count_start(how: str, settings: Path | None) -> int:
    """The instructions of the whole service, from its start to its first scan, and of its end."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        if settings:
            (folder / "scanner.d").mkdir()
            shutil.copyfile(settings, folder / "scanner.d" / "profile.toml")
        still = write(folder / "still", [seen(invented_cards(1)[0])])
        service = unit(folder, str(still), "start", within=counting(how))
        service.start()
        deadline = time.monotonic() + LONGEST_START_S
        while not beeps_in(service.out):
            if service.ended() is not None or time.monotonic() > deadline:
                raise SystemExit(f"nothing was accepted:\n{service.log.read_text()[-2000:]}")
            time.sleep(0.01)
        # perf runs it as a child, and valgrind is it.
        children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        os.kill(int(children[0]) if children else service.pid, signal.SIGTERM)
        service.wait(LONGEST_START_S)
        return counted(how, service.log.read_text())


def counting(how: str) -> list[str]:
    """The command that counts the one given to it."""
    if how == "perf":
        return ["perf", "stat", "-x,", "-e", "instructions:u"]
    quiet = ["--bb-out-file=/dev/null", "--instr-count-only=yes"]
    return ["valgrind", "--tool=exp-bbv", *quiet]


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
