"""How fast a backlog drains, beside what bare paho publishes to the same broker.

    python -m tests.bench.drain [--scans N] [--rounds R]

Ours is the whole way: from the outbox through the broker into storage, confirmed and forgotten.
Bare paho publishes payloads of the same size at QoS 1, with as many unacknowledged (IN_FLIGHT).
Both run in turn, on each broker that is here; the ratio is of the medians. Processor time is given
for each process, since a machine with two cores has to run three of them.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.collector.connecting import subscriptions
from edge.collector.service import Collector
from edge.demo.broker import NatsBroker
from edge.mqtt import Connection
from edge.scanner.boots import Boots
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import IN_FLIGHT, Publisher
from edge.storage.storage import Storage
from edge.unit_settings import UnitSettings
from tests.conftest import MOSQUITTO, Mosquitto
from tests.fakes import a_health, a_scan


@dataclass(frozen=True)
class Run:
    """What one run took."""

    per_s: float
    #: Processor time a message, in µs: of the client or publisher, the broker, the collector.
    client_us: float
    broker_us: float
    collector_us: float = 0.0


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(
        "| broker | bare paho, messages/s | ours, scans/s, confirmed | ratio"
        " | µs a message: bare client, broker | ours: publisher, broker, collector |"
    )
    print("|---|---|---|---|---|---|")
    for kind in ("nats", "mosquitto"):
        if kind == "mosquitto" and MOSQUITTO is None:
            continue
        bare, ours = [], []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
                folder = Path(name)
                broker = NatsBroker(folder) if kind == "nats" else Mosquitto(folder)
                try:
                    size = len(a_scan(1).encode())
                    bare.append(bare_paho(broker, options.scans, size))
                    ours.append(drain(broker, folder, options.scans))
                finally:
                    broker.stop()
        rates = _median(bare, lambda run: run.per_s), _median(ours, lambda run: run.per_s)
        print(
            f"| {kind} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.0%}"
            f" | {_median(bare, lambda run: run.client_us):.0f},"
            f" {_median(bare, lambda run: run.broker_us):.0f}"
            f" | {_median(ours, lambda run: run.client_us):.0f},"
            f" {_median(ours, lambda run: run.broker_us):.0f},"
            f" {_median(ours, lambda run: run.collector_us):.0f} |",
            flush=True,
        )
    return 0


def bare_paho(broker: NatsBroker | Mosquitto, messages: int, size: int) -> Run:
    """What paho alone takes to have *messages* of *size* bytes acknowledged."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare")
    # The window is ours; for one of its own paho would look through all that is under way at each
    # acknowledgement.
    client.max_inflight_messages_set(0)
    acknowledged = [0]

    def count(*_: object) -> None:
        acknowledged[0] += 1

    client.on_publish = count
    client.connect("127.0.0.1", broker.port)
    while not client.is_connected():
        client.loop(0.1)
    payload = bytes(size)
    broker_s, client_s = _cpu_s(broker.process.pid), time.process_time()
    began, sent = time.monotonic(), 0
    while acknowledged[0] < messages:
        while sent < messages and sent - acknowledged[0] < IN_FLIGHT:
            client.publish("bare/t", payload, qos=1)
            sent += 1
        client.loop(0.1)
    took_s = time.monotonic() - began
    broker_s, client_s = _cpu_s(broker.process.pid) - broker_s, time.process_time() - client_s
    client.disconnect()
    return Run(messages / took_s, client_s / messages * 1e6, broker_s / messages * 1e6)


def drain(broker: NatsBroker | Mosquitto, folder: Path, scans: int) -> Run:
    """From a full outbox until the last scan is confirmed and forgotten."""
    collecting = multiprocessing.get_context("spawn").Process(
        target=collect, args=(broker.url, folder), daemon=True
    )
    collecting.start()
    assert collecting.pid is not None
    outbox = Outbox(folder / "outbox", max_bytes=10**11, keep_free_bytes=0)
    for _ in range(scans):
        outbox.put(a_scan(outbox.next_seq, outbox.epoch))
    connection = Connection(
        BrokerSettings(url=broker.url),
        folder,
        "cong-1",
        SystemClock(),
        subscriptions=["edge/v1/bench/cong-1/confirmed"],
    )
    publisher = Publisher(
        connection,
        outbox,
        UnitSettings(id="cong-1", area="bench", place="cho", direction="in", tracing_key_file="x"),
        SystemClock(),
        software="bench",
        health=a_health,
        boots=Boots(folder / "boots.json"),
    )
    while not (folder / "collecting").exists():
        time.sleep(0.05)
    pids = broker.process.pid, collecting.pid
    before = [_cpu_s(pid) for pid in pids]
    publisher_s, began = time.process_time(), time.monotonic()
    while outbox.pending:
        publisher.step(1.0)
    took_s, publisher_s = time.monotonic() - began, time.process_time() - publisher_s
    broker_s, collector_s = (
        _cpu_s(pid) - earlier for pid, earlier in zip(pids, before, strict=True)
    )
    outbox.close()
    connection.close()
    collecting.terminate()
    collecting.join()
    each = 1e6 / scans
    return Run(scans / took_s, publisher_s * each, broker_s * each, collector_s * each)


def collect(url: str, folder: Path) -> None:
    """A collector, until it is ended."""
    connection = Connection(
        BrokerSettings(url=url),
        folder,
        "collector",
        SystemClock(),
        subscriptions=subscriptions(["+"]),
        persistent=True,
    )
    collector = Collector(connection, Storage(folder / "storage.db"), SystemClock())
    while True:
        collector.step()
        if connection.connected and not (folder / "collecting").exists():
            (folder / "collecting").touch()


def _cpu_s(pid: int) -> float:
    """Processor time that a process has taken, of its own and of the system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(runs: list[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(of(run) for run in runs)


if __name__ == "__main__":
    sys.exit(main())
