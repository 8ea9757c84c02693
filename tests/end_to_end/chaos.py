"""Everything at once, for minutes: `make chaos MINUTES=n SEED=s`.

A schedule made from a seed kills and stops scanners, broker and collector, cuts and spoils their
networks, fills their disks and sets their clocks. Then everything heals and everything drains, and
each beep must be one row and each row one beep. Namespaces and full disks need root; what cannot be
done here is said and left out.

    python -m tests.end_to_end.chaos --minutes 10 --seed 42

Exit codes: 0 nothing was lost or repeated; 1 something was, and its evidence is kept; 2 bad usage.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.scanner.outbox import read_outbox
from edge.storage.storage import Storage
from tests.end_to_end.field import Field
from tests.end_to_end.network import Namespaces
from tests.end_to_end.parts import SECRETS, written_forms
from tests.ending import end_in_order

#: The longest that all may take to drain: back-off goes up to 60 s, sending again up to 120.
DRAIN_S = 300.0
#: Mean time from one trouble to the next.
GAP_S = 1.0
YEAR_S = 365 * 86_400
#: Frames a second: many scans, so that a kill hits one often.
FRAME_RATE = 30.0


@dataclass(frozen=True)
class Trouble:
    """A kind of trouble."""

    kind: str
    #: Who can have it: of "unit", "collector", "broker".
    whose: str
    #: Two troubles of one sort never overlap on one part; those of different sorts do.
    sort: str
    #: How long it may last, at least and at most, in seconds.
    shortest_s: float = 1.0
    longest_s: float = 8.0


TROUBLES = (
    Trouble("kill", "unit collector broker", "process", 0.0, 3.0),
    Trouble("stop", "unit collector broker", "process"),
    Trouble("restart", "unit collector", "process", 0.0, 1.0),
    Trouble("empty", "broker", "process", 0.0, 3.0),
    # The centre without power: what the broker held for the collector is gone as well.
    Trouble("blackout", "collector", "process", 0.0, 3.0),
    Trouble("cable", "unit collector broker", "link", 1.0, 15.0),
    Trouble("silence", "unit collector broker", "link", 1.0, 15.0),
    Trouble("delay", "unit collector", "way"),
    Trouble("loss", "unit collector", "way"),
    Trouble("throttle", "unit collector", "way"),
    Trouble("stall", "unit collector", "way"),
    Trouble("reset", "unit collector", "way"),
    Trouble("half-open", "unit collector", "way"),
    Trouble("portal", "unit collector", "way"),
    # Long enough for a unit to use up the room that it has written ahead.
    Trouble("full", "unit collector", "disk", 10.0, 20.0),
    Trouble("clock", "unit collector", "clock", 5.0, 30.0),
)


@dataclass(frozen=True)
class Event:
    """A trouble that happens: to whom, when, for how long."""

    kind: str
    target: str
    at_s: float
    lasts_s: float
    value: float = 0.0

    def __str__(self) -> str:
        value = f" {self.value:g}" if self.value else ""
        return f"{self.at_s:7.1f} s  {self.target:<9} {self.kind}{value}, {self.lasts_s:.1f} s"


def plan(chance: random.Random, seconds: float, field: Field) -> list[Event]:
    """Troubles for so many *seconds*: dealt from a shuffled pack of all, so that none is rare."""
    events: list[Event] = []
    busy_until: dict[tuple[str, str], float] = {}
    pack: list[tuple[Trouble, str]] = []
    at_s = 1.0
    while at_s < seconds - 1:
        if not pack:
            pack = [(t, whose) for t in TROUBLES for whose in t.whose.split() if can(t, field)]
            chance.shuffle(pack)
        trouble, whose = pack.pop()
        target = chance.choice(field.units) if whose == "unit" else whose
        lasts_s = min(chance.uniform(trouble.shortest_s, trouble.longest_s), seconds - at_s)
        value = value_of(trouble.kind, chance)
        if busy_until.get((trouble.sort, target), 0.0) < at_s:
            busy_until[trouble.sort, target] = at_s + lasts_s + 0.5
            events.append(Event(trouble.kind, target, at_s, lasts_s, value))
        at_s += chance.expovariate(1 / GAP_S)
    return events


def can(trouble: Trouble, field: Field) -> bool:
    """Whether this machine can make such a *trouble*."""
    part = field.parts["collector"]
    needs = {
        "link": isinstance(field.network, Namespaces),
        "disk": part.disk is not None,
        "clock": part.clock is not None,
    }
    return needs.get(trouble.sort, True)


def value_of(kind: str, chance: random.Random) -> float:
    """How much of a trouble of *kind*: see relay.py; of a clock, seconds."""
    if kind == "delay":
        return round(chance.uniform(0.05, 0.8), 2)
    if kind == "loss":
        return round(chance.uniform(0.02, 0.3), 2)
    if kind == "throttle":
        return float(chance.choice([2_000, 10_000, 40_000]))
    if kind == "clock":
        back_to_2021 = 1_625_000_000 - int(time.time())
        return float(chance.choice([back_to_2021, YEAR_S, chance.randint(-120, 120)]))
    return 0.0


class Chaos:
    """The hand that hurts a field and heals it."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._active: list[Event] = []

    def run(self, events: list[Event], seconds: float) -> None:
        """Start everything and let *events* happen, which end with the *seconds*."""
        self._field.start()
        coming = list(events)
        began = time.monotonic()
        while (second := time.monotonic() - began) < seconds:
            for event in [e for e in self._active if e.at_s + e.lasts_s <= second]:
                self._active.remove(event)
                self._heal(event)
            while coming and coming[0].at_s <= second:
                event = coming.pop(0)
                print(event, flush=True)
                self._active.append(event)
                self._begin(event)
            self._turn()
        while self._active:
            self._heal(self._active.pop())

    def drain(self) -> dict[str, float]:
        """Let all that is left arrive; gives the seconds that each unit took until it was empty."""
        began = time.monotonic()
        took: dict[str, float] = {}
        field = self._field
        for unit in field.units:
            field.parts[unit].end(signal.SIGTERM)
            field.use_last_scanner(unit)
            field.parts[unit].start()
        while len(took) < len(field.units) and time.monotonic() < began + DRAIN_S:
            for unit in field.units:
                if unit not in took and field.parts[unit].program.ended() == 0:
                    field.parts[unit].is_down = True
                    took[unit] = time.monotonic() - began
            self._turn()
        # It stores in turn, and may have something left of the status.
        field.parts["collector"].end(signal.SIGTERM)
        return took

    def _turn(self) -> None:
        for event in self._active:
            if event.kind == "full":
                self._fill(event.target)
        for part in self._field.parts.values():
            part.watch(time.monotonic())
        time.sleep(0.05)

    def _begin(self, event: Event) -> None:
        part = self._field.parts[event.target]
        match event.kind:
            case "kill" | "empty":
                part.end(signal.SIGKILL)
                if event.kind == "empty":
                    self._field.empty_broker()
            case "blackout":
                for name in ("collector", "broker"):
                    self._field.parts[name].end(signal.SIGKILL)
                self._field.empty_broker()
            case "restart":
                part.end(signal.SIGTERM)
            case "stop":
                part.program.send(signal.SIGSTOP)
            case "cable" | "silence":
                assert isinstance(self._field.network, Namespaces)
                self._field.network.cut(event.target, silently=event.kind == "silence")
            case "full":
                self._fill(event.target)
            case "clock":
                assert part.clock is not None
                part.clock.set(int(event.value))
            case mode:
                self._field.relay.set(event.target, mode, event.value)

    def _heal(self, event: Event) -> None:
        part = self._field.parts[event.target]
        match event.kind:
            case "kill" | "empty" | "restart" | "blackout":
                part.start()
                if event.kind == "blackout":
                    self._field.parts["broker"].start()
            case "stop":
                part.program.send(signal.SIGCONT)
            case "cable" | "silence":
                assert isinstance(self._field.network, Namespaces)
                self._field.network.mend(event.target)
            case "full":
                assert part.disk is not None
                part.disk.free()
            case "clock":
                assert part.clock is not None
                part.clock.set(0)
            case _:
                self._field.relay.set(event.target, "pass")

    def _fill(self, name: str) -> None:
        # Again and again: what is confirmed makes room.
        disk = self._field.parts[name].disk
        assert disk is not None
        disk.fill()


class Aftermath:
    """What is left, and whether it is as it must be."""

    def __init__(self, field: Field, took: dict[str, float]) -> None:
        self._field = field
        self.took = took
        storage = Storage(field.storage)
        self._numbers = storage.scan_numbers()
        self._rows = storage.units()
        storage.close()
        self.beeps = {unit: field.beeps(unit) for unit in field.units}
        self.silent = {unit: self._silent(unit) for unit in field.units}

    @property
    def rows(self) -> int:
        """How many scans are rows."""
        return len(self._numbers)

    @property
    def repeats(self) -> int:
        """How many scans came to the collector that were rows already."""
        return sum(row.repeats for row in self._rows)

    @property
    def refused(self) -> int:
        """How often somebody was told that a scan was not counted."""
        outs = [self._field.folder / unit / "scanner.out" for unit in self._field.units]
        return sum(out.read_bytes().count(b"NOT counted") for out in outs)

    def failures(self) -> list[str]:
        """What is not as it must be, a line each."""
        found = [failure for unit in self._field.units for failure in self._failures_of(unit)]
        found += [f"{row.unit}: rows are missing: {row.gaps[:5]}" for row in self._rows if row.gaps]
        ids = Counter(scan_id for *_, scan_id in self._numbers)
        found += [f"id {i} is {n} rows" for i, n in ids.most_common(3) if n > 1]
        found += self._names_in_files()
        if sum(map(len, self.beeps.values())) < 100:
            found.append("too little happened to prove anything")
        return found

    def _failures_of(self, unit: str) -> list[str]:
        found = []
        numbers = [(epoch, seq) for name, epoch, seq, _ in self._numbers if name == unit]
        stored = {seq for _, seq in numbers}
        beeps = Counter(self.beeps[unit])
        if lost := sorted(set(beeps) - stored):
            found.append(f"{unit}: {len(lost)} scans beeped and are lost: {lost[:10]}")
        if again := [seq for seq, count in beeps.items() if count > 1]:
            found.append(f"{unit}: numbers beeped twice: {again[:10]}")
        if twice := [seq for (_, seq), count in Counter(numbers).items() if count > 1]:
            found.append(f"{unit}: numbers stored twice: {twice[:10]}")
        if len({epoch for epoch, _ in numbers}) > 1:
            found.append(f"{unit}: its outbox began anew")
        silent, kills = self.silent[unit], self._field.parts[unit].kills
        if len(silent) > kills:
            found.append(f"{unit}: {len(silent)} rows never beeped, after {kills} kills: {silent}")
        if unit not in self.took:
            found.append(f"{unit}: not drained within {DRAIN_S:.0f} s")
        elif pending := read_outbox(self._field.outbox(unit)).status().pending:
            found.append(f"{unit}: {pending} scans are still pending")
        if damaged := list(self._field.outbox(unit).glob("damaged-*")):
            found.append(f"{unit}: {len(damaged)} segments of its outbox were damaged")
        return found

    def _silent(self, unit: str) -> list[int]:
        stored = {seq for name, _, seq, _ in self._numbers if name == unit}
        return sorted(stored - set(self.beeps[unit]))

    def _names_in_files(self) -> list[str]:
        # What all invented people have in common, and the numbers of a few.
        common = [secret for secret in SECRETS if not secret.isdigit()] + ["064300000"]
        forms = {form for secret in [*common, *SECRETS[::100]] for form in written_forms(secret)}
        found = []
        for path in self._field.folder.rglob("*"):
            if path.is_file() and path.suffix not in (".png", ".img", ".key", ".so"):
                content = path.read_bytes()
                found += [f"{path} holds {form!r}" for form in forms if form in content]
        return found


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, help="repeat a schedule; its moments vary a little")
    parser.add_argument("--scanners", type=int, default=3)
    parser.add_argument("--broker", choices=["nats", "mosquitto"], default="nats")
    parser.add_argument("--keep", action="store_true", help="keep the files of a good run too")
    parser.add_argument("--loopback", action="store_true", help="without namespaces")
    options = parser.parse_args(args)
    end_in_order()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    folder = Path(tempfile.mkdtemp(prefix="edge-chaos-"))
    try:
        failures = run(folder, seed, options)
    except BaseException:
        print(f"evidence: {folder}  seed: {seed}", flush=True)
        raise
    for failure in failures:
        print(f"FAILED: {failure}")
    if failures:
        print(f"evidence: {folder}  again: --seed {seed}")
        return 1
    print("every beep is one row, and every row was one beep")
    if options.keep:
        print(f"evidence: {folder}")
    else:
        shutil.rmtree(folder)
    return 0


def run(folder: Path, seed: int, options: argparse.Namespace) -> list[str]:
    """All of it, in *folder*; prints what happens and gives what is wrong in the end."""
    print(f"seed {seed}, {options.minutes:g} minutes, {options.broker}", flush=True)
    seconds = options.minutes * 60
    with ExitStack() as stack:
        field = Field(
            folder,
            stack,
            scanners=options.scanners,
            broker=options.broker,
            frame_rate=FRAME_RATE,
            loopback=options.loopback,
            small_disks=True,
            own_clocks=True,
        )
        for missing in field.missing:
            print(f"left out: {missing}")
        events = plan(random.Random(seed), seconds, field)
        chaos = Chaos(field)
        chaos.run(events, seconds)
        print("all is healed; draining", flush=True)
        aftermath = Aftermath(field, chaos.drain())
        print_table(field, events, aftermath)
        failures = aftermath.failures()
        if failures:
            field.save()
    return failures


def print_table(field: Field, events: list[Event], aftermath: Aftermath) -> None:
    """The summary, in Markdown."""
    kinds = Counter(event.kind for event in events)
    falls = {name: dict(part.falls) for name, part in field.parts.items() if part.falls}
    lines = {
        "events": len(events),
        "of these": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        "kills of scanners": sum(field.parts[unit].kills for unit in field.units),
        "ended by themselves (exit codes)": falls or "none",
        "beeps": sum(map(len, aftermath.beeps.values())),
        "rows": aftermath.rows,
        "rows that a kill kept from beeping": sum(map(len, aftermath.silent.values())),
        "told not counted, the disk being full": aftermath.refused,
        "repeats at the collector": aftermath.repeats,
        "longest drain": f"{max(aftermath.took.values(), default=DRAIN_S):.1f} s",
    }
    print("\n| | |\n|---|---|")
    for label, value in lines.items():
        print(f"| {label} | {value} |")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
