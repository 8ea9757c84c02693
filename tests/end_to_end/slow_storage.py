"""Makes the storage slow for a while and proves what follows: the collector's memory and the
broker's queue are bounded, units keep, and afterwards all is stored once and nobody stampedes.

    python -m tests.end_to_end.slow_storage --with nats mosquitto [--seconds 600] [--units 300]

`nats`: a NATS server whose queue is bounded, and PostgreSQL on which each transaction of a
collector waits in a trigger. `mosquitto`: a Mosquitto with few queued messages, and SQLite on which
somebody else holds the lock for most of the time.
"""

import argparse
import json
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import psycopg

from edge.demo.broker import NatsBroker
from edge.demo.tied import tied
from edge.storage.storage import Storage
from tests.conftest import Mosquitto
from tests.end_to_end.parts import Service
from tests.ending import end_in_order
from tests.fakes import eventually
from tests.postgresql import PostgresqlServer

#: What the broker may hold for the collector.
QUEUE_BYTES, QUEUE_MESSAGES = 1_000_000, 60
#: What the collector may take in memory beyond what it had before: what a broker may give it in
#: advance, 1,000 messages of twenty scans.
MEMORY_KB = 30_000
#: Of each scan no more copies than this are sent, as a mean: what a full queue has let go of has to
#: be sent again, and may be let go of again.
MOST_SENT = 2.5


class Slow(Protocol):
    """A storage that can be made slow."""

    url: str

    def slow_down(self, seconds: float) -> None:
        """Let each transaction take *seconds* and more."""

    def recover(self) -> None:
        """Let it be as it was."""


class SlowPostgresql:
    """PostgreSQL; a trigger sleeps in each transaction of a collector."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        server = PostgresqlServer(folder)
        stack.callback(server.stop)
        self.url = server.new_database()
        Storage(self.url).close()

    def slow_down(self, seconds: float) -> None:
        self._do(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END'",
            "CREATE TRIGGER slow AFTER INSERT ON scans_by_day FOR EACH STATEMENT"
            " EXECUTE FUNCTION slow()",
        )

    def recover(self) -> None:
        self._do("DROP TRIGGER slow ON scans_by_day", "DROP FUNCTION slow")

    def _do(self, *statements: str) -> None:
        with psycopg.connect(self.url) as connection:
            for statement in statements:
                connection.execute(statement)


class SlowSqlite:
    """SQLite; somebody else writes, and holds the lock again and again."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.url = str(folder / "storage.db")
        Storage(self.url).close()
        self._recovered = threading.Event()
        stack.callback(self._recovered.set)

    def slow_down(self, seconds: float) -> None:
        threading.Thread(target=self._hold, args=(seconds,), daemon=True).start()

    def recover(self) -> None:
        self._recovered.set()

    def _hold(self, seconds: float) -> None:
        other = sqlite3.connect(self.url, timeout=60, isolation_level=None)
        while not self._recovered.is_set():
            other.execute("BEGIN IMMEDIATE")
            self._recovered.wait(seconds)
            other.execute("ROLLBACK")
            self._recovered.wait(seconds / 20)
        other.close()


class Queue(Protocol):
    """A broker whose queue is bounded."""

    url: str

    def is_full(self) -> bool:
        """Whether it holds, or has held, as much as it may."""


class NatsQueue:
    """A NATS server; it says what its queue of MQTT messages holds."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._broker = NatsBroker(folder, queue_bytes=QUEUE_BYTES)
        stack.callback(self._broker.stop)
        self.url = self._broker.url

    def is_full(self) -> bool:
        held = self._broker.queue()["bytes"]
        assert held <= QUEUE_BYTES
        # One more message of twenty scans would be too much.
        return bool(held > 0.95 * QUEUE_BYTES)


class MosquittoQueue:
    """A Mosquitto; its log says when it lets go of something."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self._log = folder / "mosquitto.log"
        settings = f"max_inflight_messages 200\nlog_dest file {self._log}\nuser root\n"
        broker = Mosquitto(folder, "allow_anonymous true\n" + settings, queued=QUEUE_MESSAGES)
        stack.callback(broker.stop)
        self.url = broker.url

    def is_full(self) -> bool:
        return "messages are being dropped for client collector" in self._log.read_text()


def main(args: list[str] | None = None) -> int:
    """Play, slow down, recover, prove. Gives the exit code."""
    options = _parser().parse_args(args)
    each = [argparse.Namespace(**vars(options), kind=kind) for kind in options.kinds]
    return 0 if all(map(_holds, each)) else 1


def _holds(options: argparse.Namespace) -> bool:
    """Whether all held with a broker of one kind."""
    with tempfile.TemporaryDirectory(prefix="edge-slow-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        queue: Queue
        storage: Slow
        if options.kind == "nats":
            queue, storage = NatsQueue(folder / "nats", stack), SlowPostgresql(folder / "pg", stack)
        else:
            queue = MosquittoQueue(folder / "mosquitto", stack)
            storage = SlowSqlite(folder / "sqlite", stack)
        found = _play(folder, queue, storage, options, stack)
    print(json.dumps(found), flush=True)
    return all(found["holds"].values())


def _play(
    folder: Path, queue: Queue, storage: Slow, options: argparse.Namespace, stack: ExitStack
) -> dict[str, Any]:
    collector = Service("collector", folder, _settings(queue, storage, options))
    collector.start()
    stack.callback(lambda: collector.stop(signal.SIGKILL))
    eventually(lambda: "connected to" in collector.log.read_text(), "connected")
    before_kb = _peak_kb(collector)
    storage.slow_down(options.slow_s)
    fleet = _fleet(folder, queue, storage, options)
    stack.callback(fleet.kill)
    eventually(queue.is_full, "the broker's queue is full", limit_s=options.seconds + 300)
    time.sleep(options.seconds)
    took_kb = _peak_kb(collector) - before_kb
    recovered = time.monotonic()
    storage.recover()
    fleet.send_signal(signal.SIGUSR1)
    out, _ = fleet.communicate(timeout=600)
    found: dict[str, Any] = json.loads(out)
    with open(folder / "fleet.log", encoding="utf-8") as log:
        waiting = [int(wait) for wait in re.findall(r"(\d+) wait$", log.read(), re.MULTILINE)]
    rows = Storage(storage.url)
    found |= {
        "collector_took_kb": took_kb,
        "most_waited_at_units": max(waiting),
        "recovered_in_s": round(time.monotonic() - recovered, 1),
        "rows": rows.count(),
    }
    rows.close()
    found["holds"] = {
        "each is a row once": found["rows"] == found["made"] == found["confirmed"],
        "the collector's memory is bounded": took_kb < MEMORY_KB,
        "units kept what the broker did not": max(waiting) > QUEUE_MESSAGES,
        "nobody stampeded": found["published"] < MOST_SENT * found["made"],
        "the collector lived through it": collector.ended() is None,
    }
    return found


def _settings(queue: Queue, storage: Slow, options: argparse.Namespace) -> str:
    # One at a Mosquitto, as edge-provision writes it: then what units say of themselves fills the
    # queue of the scans too.
    sessions = "auto" if options.kind == "nats" else "one"
    return f"""
        sessions = "{sessions}"
        batch_scans = 100
        receipt_key_file = "receipts.key"
        [storage]
        url = "{storage.url}"
        [broker]
        url = "{queue.url}"
        [retention]
        erase = false
    """


def _fleet(
    folder: Path, queue: Queue, storage: Slow, options: argparse.Namespace
) -> "subprocess.Popen[bytes]":
    words = {
        "--broker": queue.url,
        "--storage": storage.url,
        "--units": options.units,
        "--rate": options.rate,
        "--backlog-s": options.backlog / options.rate,
        "--seconds": 86_400,
        "--drain-s": 600,
        "--seed": options.seed,
    }
    command = [sys.executable, "-m", "edge.simulate", "--json"]
    with (folder / "fleet.log").open("wb") as log:
        return subprocess.Popen(
            tied([*command, *(str(word) for pair in words.items() for word in pair)]),
            stdout=subprocess.PIPE,
            stderr=log,
        )


def _peak_kb(service: Service) -> int:
    """The most memory that *service* has had resident."""
    status = Path(f"/proc/{service.pid}/status").read_text(encoding="utf-8")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(peak)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = ("nats", "mosquitto")
    parser.add_argument("--with", dest="kinds", nargs="+", choices=kinds, required=True)
    number = parser.add_argument
    number("--seconds", type=float, default=600.0, help="slow for so long, once the queue is full")
    number("--slow-s", type=float, default=5.0, help="what each transaction waits for")
    number("--units", type=int, default=300)
    number("--backlog", type=int, default=6000, help="scans that wait at the beginning")
    number("--rate", type=float, default=20.0)
    number("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
