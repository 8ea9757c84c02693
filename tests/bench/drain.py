"""How fast a backlog drains, beside what bare paho publishes to the same broker.

    python -m tests.bench.drain [--scans N] [--rounds R]

Ours is the whole way: from the outbox through the broker into storage, confirmed and forgotten.
Bare paho publishes payloads of the same size at QoS 1, with as many unacknowledged (IN_FLIGHT).
Both run in turn, on each broker that is here; the ratio is of the medians. Processor time is given
for each process, since a machine with two cores has to run three of them. Bytes on the wire are
those of the unit's connection as the kernel has counted them, both ways, and the heads of TCP and
IP that they would need on Ethernet: of a segment for each 1,448 bytes, and of one that acknowledges
for each two of those.
"""

import argparse
import math
import multiprocessing
import os
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

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
from edge.unit_settings import PublisherSettings, UnitSettings
from tests.conftest import MOSQUITTO, Mosquitto
from tests.fakes import a_health, a_scan

#: What edge-provision writes into Mosquitto's configuration that matters to this.
AS_MADE = "allow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 2000\n"
#: What a segment carries on Ethernet, and what its heads of IP and TCP take, with time stamps.
SEGMENT_BYTES, HEAD_BYTES = 1448, 52


@dataclass(frozen=True)
class Run:
    """What one run took."""

    per_s: float
    #: Processor time a message, in µs: of the client or publisher, the broker, the collector.
    client_us: float
    broker_us: float
    collector_us: float = 0.0
    #: Bytes on the wire a message, both ways.
    wire: float = 0.0


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(
        "| broker, scans a message | bare paho, messages/s | ours, scans/s, confirmed | ratio"
        " | µs a message: bare client, broker | ours, a scan: publisher, broker, collector"
        " | bytes on the wire: bare, ours |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind in ("nats", "mosquitto"):
        if kind == "nats" or MOSQUITTO is not None:
            compare(kind, options.scans, options.rounds)
    return 0


def compare(kind: str, scans: int, rounds: int) -> None:
    """Bare paho beside ours, with one scan to a message and with as many as is usual."""
    size = len(a_scan(1).encode())
    bare: list[Run] = []
    ours: dict[int, list[Run]] = {1: [], PublisherSettings().scans_a_message: []}
    for _ in range(rounds):
        bare.append(on_new_broker(kind, lambda broker, _: bare_paho(broker, scans, size)))
        for most, runs in ours.items():
            runs.append(on_new_broker(kind, partial(drain, scans=scans, most=most)))
    for most, runs in ours.items():
        line(f"{kind}, {most}", bare, runs)


def on_new_broker(kind: str, what: Callable[[NatsBroker | Mosquitto, Path], Run]) -> Run:
    """What *what* took on a broker that has nothing else to do."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        broker = NatsBroker(folder) if kind == "nats" else Mosquitto(folder, AS_MADE)
        try:
            return what(broker, folder)
        finally:
            broker.stop()


def line(name: str, bare: list[Run], ours: list[Run]) -> None:
    """One line of the table."""

    def medians(runs: list[Run], *of: str) -> str:
        return ", ".join(f"{_median(runs, attrgetter(field)):.0f}" for field in of)

    rates = [_median(runs, attrgetter("per_s")) for runs in (bare, ours)]
    print(
        f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.0%}"
        f" | {medians(bare, 'client_us', 'broker_us')}"
        f" | {medians(ours, 'client_us', 'broker_us', 'collector_us')}"
        f" | {medians(bare, 'wire')}, {medians(ours, 'wire')} |",
        flush=True,
    )


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
    wire = _wire_bytes(client.socket())
    client.disconnect()
    return Run(
        messages / took_s,
        client_s / messages * 1e6,
        broker_s / messages * 1e6,
        wire=wire / messages,
    )


def drain(broker: NatsBroker | Mosquitto, folder: Path, scans: int, most: int) -> Run:
    """From a full outbox until the last scan is confirmed and forgotten; *most* to a message."""
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
        scans_a_message=most,
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
    wire = _wire_bytes(connection._socket())
    outbox.close()
    connection.close()
    collecting.terminate()
    collecting.join()
    each = 1e6 / scans
    return Run(
        scans / took_s, publisher_s * each, broker_s * each, collector_s * each, wire=wire / scans
    )


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


def _wire_bytes(connected: Any) -> float:
    """What a connection has carried, both ways, with its heads."""
    with socket.socket(fileno=os.dup(connected.fileno())) as sock:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    # tcpi_bytes_acked and tcpi_bytes_received of linux/tcp.h.
    ways: tuple[int, int] = struct.unpack_from("QQ", info, 120)
    segments = sum(math.ceil(way / SEGMENT_BYTES) for way in ways)
    return sum(ways) + 1.5 * segments * HEAD_BYTES


def _cpu_s(pid: int) -> float:
    """Processor time that a process has taken, of its own and of the system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(runs: list[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(of(run) for run in runs)


if __name__ == "__main__":
    sys.exit(main())
