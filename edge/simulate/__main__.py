"""The command `edge-simulate`: plays many units, and proves what became of their scans."""

import argparse
import json
import math
import random
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from edge import cli, config
from edge.errors import ConfigError
from edge.sealing import Sealer, make_key_pair, read_key
from edge.simulate.service import Fleet, Plan
from edge.simulate.unit import SimulatedUnit, Wrong
from edge.storage.storage import Storage

Number = TypeVar("Number", int, float)

#: How often the state is told, in seconds.
TELL_S = 5.0
#: When no unit was ever connected for so long, something is wrong that somebody must mend.
TROUBLE_S = 3.0
#: Files that are open beside the units' connections.
OTHER_FILES = 100


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    options = _parser().parse_args(args)
    cli.set_up_logging(options.verbose)
    return cli.run(lambda: simulate(options))


def simulate(options: argparse.Namespace) -> int:
    """Play the units until all is confirmed, and check. Gives the exit code."""
    plan = _plan(options)
    _allow_files(options.units + OTHER_FILES)
    chance = random.Random(options.seed)
    base, began = _start(options.start), time.time()

    def clock() -> float:
        return base + time.time() - began

    units = make_units(options, chance, _sealer(options), base)
    _tell(f"{len(units)} units, {sum(unit.made for unit in units)} scans wait already")
    began = time.time()
    fleet = Fleet(units, plan, chance, clock)
    drained_s = _play(fleet, options, clock)
    fleet.close()
    found = facts(fleet, units, drained_s)
    missing = _missing(options.storage, units) if options.storage else 0
    if options.storage:
        found["rows_missing_or_double"] = missing
    print(json.dumps(found) if options.json else _lines(found))
    in_time = drained_s <= options.seconds + options.drain_s
    _tell(_verdict(fleet, missing, looked=bool(options.storage), in_time=in_time))
    return 0 if fleet.is_done and not missing else 1


def make_units(
    options: argparse.Namespace, chance: random.Random, sealer: Sealer, now: float
) -> list[SimulatedUnit]:
    """The units of a fleet, with what waits in their outboxes. The same for the same seed."""
    units = []
    for number in range(options.units):
        faulty = chance.random() < options.clock_faults
        units.append(
            SimulatedUnit(
                name=f"{options.name}-{number:05}",
                area=f"{options.area}-{number % options.areas + 1}",
                place=f"{options.name}-cho-{number // 2:05}",
                direction="in" if number % 2 else "out",
                sealer=sealer,
                chance=random.Random(chance.randbytes(8)),
                booted_at=now - options.backlog_s - chance.uniform(60, 86_400),
                wrong=Wrong(chance.uniform(60, 40_000), now + chance.uniform(0, 120))
                if faulty
                else Wrong(),
                weight=chance.uniform(0.2, 1.8),
            )
        )
    share = options.rate / sum(unit.weight for unit in units)
    for unit in units:
        at = now - options.backlog_s
        while options.backlog_s and (at := at + unit.chance.expovariate(share * unit.weight)) < now:
            unit.scan(at)
    return units


def facts(fleet: Fleet, units: list[SimulatedUnit], drained_s: float) -> dict[str, Any]:
    """What became of a fleet."""
    totals = fleet.totals
    latencies = totals.latencies_s or [0.0]
    return {
        "units": len(units),
        "made": totals.made,
        "confirmed": totals.confirmed,
        "not_confirmed": fleet.pending,
        "published": totals.sent,
        "sent_again": sum(unit.sent_again for unit in units),
        "connections": totals.connections,
        "connections_lost": totals.failures,
        "outages": totals.outages,
        "seconds": round(drained_s, 1),
        "confirmed_a_second": round(totals.confirmed / max(drained_s, 1e-9)),
        "latency_s_median": round(statistics.median(latencies), 2),
        "latency_s_max": round(max(latencies), 1),
    }


@dataclass
class _Told:
    at: float = 0.0
    trouble: bool = False


def _play(fleet: Fleet, options: argparse.Namespace, clock: Callable[[], float]) -> float:
    """Let it run; gives the seconds until everything was confirmed, or until the limit."""
    began, told = time.monotonic(), _Told()
    limit = options.seconds + options.drain_s
    signal.signal(signal.SIGUSR1, lambda *_: fleet.end_the_day())
    with cli.stop_signals() as stopping:
        while not fleet.is_done and not stopping():
            fleet.step()
            now = time.monotonic() - began
            if not told.trouble and now >= TROUBLE_S and not fleet.totals.connections:
                told.trouble = True
                _tell(
                    f"no unit is connected to the broker: {fleet.trouble or 'it does not answer'};"
                    f" start it or correct --broker (tried for {limit:.0f} s)"
                )
            if now - told.at >= TELL_S:
                told.at = now
                _tell(
                    f"{now:5.0f} s: {fleet.connected} connected, {fleet.totals.made} made,"
                    f" {fleet.totals.confirmed} confirmed, {fleet.pending} wait"
                )
            if now > limit:
                _tell(f"given up after {limit:.0f} s")
                break
    return time.monotonic() - began


def _missing(url: str, units: list[SimulatedUnit]) -> int:
    """How many scans that were made are not a row once in storage."""
    with closing(Storage(url, make=False)) as storage:
        rows = {row.unit: row for row in storage.units()}
    wrong = 0
    for unit in units:
        row = rows.get(unit.name)
        there = row.held[unit.epoch].count(1, unit.made) if row and unit.epoch in row.held else 0
        wrong += unit.made - there + (row.doubles if row else 0)
    return wrong


def _plan(options: argparse.Namespace) -> Plan:
    password = ""
    if options.password_file:
        password = config.secret(str(options.password_file), Path())
    return Plan(
        broker=options.broker,
        rate=options.rate,
        scan_for_s=options.seconds,
        user=options.username,
        password=password,
        outages_a_day=options.outages_a_day,
        outage_s=options.outage_s,
        health_s=options.health_s,
        rush_hours=bool(options.start),
        spread_s=options.spread_s,
        subscription_qos=options.subscription_qos,
    )


def _start(start: str) -> float:
    """The moment at which the simulation begins: now, or today at *start* of Vietnam's clock."""
    if not start:
        return time.time()
    try:
        at = datetime.strptime(start, "%H:%M")
    except ValueError:
        raise ConfigError(f"--start is {start!r}; it must be 00:00 to 23:59") from None
    midnight = (time.time() + 7 * 3600) // 86_400 * 86_400 - 7 * 3600
    return midnight + at.hour * 3600 + at.minute * 60


def _allow_files(count: int) -> None:
    """See that *count* files may be open at once: a shell often gives 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count or soft == resource.RLIM_INFINITY:
        return
    if hard < count and hard != resource.RLIM_INFINITY:
        raise ConfigError(
            f"each unit has a connection, and this process may have {hard} files open, not {count};"
            f" raise that (ulimit -Hn {count}, as root) or play fewer units, in several processes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _sealer(options: argparse.Namespace) -> Sealer:
    if options.tracing_key:
        return Sealer(read_key(options.tracing_key))
    # Nobody will ever open these.
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder) / "tracing.pub"
        make_key_pair(public, Path(folder) / "tracing.key")
        return Sealer(read_key(public))


def _lines(found: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):<24} {value}" for name, value in found.items())


def _verdict(fleet: Fleet, missing: int, *, looked: bool, in_time: bool) -> str:
    if not fleet.is_done and in_time:
        return f"stopped early, with {fleet.pending} scans that were not confirmed yet"
    if missing:
        return f"WRONG: {missing} scans are no row in storage, or more than one"
    if fleet.pending:
        return f"WRONG: {fleet.pending} scans were not confirmed"
    return "right: every scan was confirmed" + (" and is a row once" if looked else "")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-simulate",
        description="Play many units at a broker, with the real messages and seals."
        " / Mô phỏng nhiều thiết bị quét gửi lên máy chủ MQTT.",
        epilog="SIGUSR1 lets people stop passing. Exit codes: 0 everything was confirmed (and is a"
        " row once), 1 not, 2 bad usage.",
    )
    number = parser.add_argument
    broker = "mqtt://127.0.0.1:1883"
    number("--broker", default=broker, help="several of a cluster with commas; default:"
           " %(default)s; without TLS, so let it listen there for this machine alone")  # fmt: skip
    number("--username", default="")
    number("--password-file", type=Path)
    number("--units", type=_within(int, 1), default=100,
           help="each has a connection; default: %(default)s")  # fmt: skip
    number("--areas", type=_within(int, 1), default=1,
           help="into so many areas; default: %(default)s")  # fmt: skip
    number("--rate", type=_within(float, 0), default=10.0,
           help="scans a second of all; default: %(default)s")  # fmt: skip
    number("--seconds", type=_within(float, 0), default=60.0,
           help="so long people pass; default: %(default)s")  # fmt: skip
    number("--drain-s", type=_within(float, 0), default=600.0,
           help="then wait so long for confirmations; default: %(default)s")  # fmt: skip
    number("--backlog-s", type=_within(float, 0), default=0.0,
           help="scans of so long wait at the beginning; default: none")  # fmt: skip
    number("--spread-s", type=_within(float, 0), default=0.0,
           help="units connect within so long, a real unit within 60 s after an hour without a"
           " broker; default: all at once")  # fmt: skip
    number("--subscription-qos", type=int, default=0, choices=(0, 1), help="as units do: 0")
    number("--start", default="", help="hour in Vietnam at which it begins, such as 06:30: people"
           " then come as that hour has it, up to three times the rate, and nobody at night;"
           " default: evenly")  # fmt: skip
    number("--outages-a-day", type=_within(float, 0), default=0.0,
           help="of each unit's network; default: none")  # fmt: skip
    number("--outage-s", type=_within(float, 0.001), default=60.0,
           help="their mean length; default: %(default)s")  # fmt: skip
    number("--clock-faults", type=_within(float, 0, 1), default=0.0, help="share of units whose"
           " clock is not set at first, 0 to 1; default: none")  # fmt: skip
    number("--health-s", type=_within(float, 1), default=60.0,
           help="each unit says how it is so often; default: %(default)s")  # fmt: skip
    number("--seed", type=int, default=1, help="the same fleet and people for the same number")
    number("--name", default="sim", help="units are called <name>-00001; default: %(default)s")
    number("--area", default="sim", help="areas are called <area>-1; default: %(default)s")
    number("--tracing-key", type=Path, help="public key to seal to; default: one made for this")
    number("--storage", default="", help="in the end look in this storage for each scan, a file or"
           " URL as in collector.toml")  # fmt: skip
    number("--json", action="store_true", help="print the result as one JSON object")
    number("-v", "--verbose", action="store_true")
    return parser


def _within(kind: type[Number], least: float, most: float = math.inf) -> Callable[[str], Number]:
    """For argparse: reads a number of *kind* from *least* to *most*, which infinity is not."""

    def number(text: str) -> Number:
        value = kind(text)
        if not math.isfinite(value) or not least <= value <= most:
            limit = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"{text!r} must be {limit}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
