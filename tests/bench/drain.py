"""How fast a backlog drains, beside what bare paho publishes to the same broker.

    python -m tests.bench.drain [--scans N] [--rounds R]

Ours is the whole way: from the outbox through the broker into storage, confirmed and forgotten.
Bare paho publishes payloads of the same size at QoS 1, with as many unacknowledged (IN_FLIGHT).
Both run in turn, on each broker that is here; the ratio is of the medians.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.clock import SystemClock
from edge.collector.service import Collector, subscriptions
from edge.demo.broker import NatsBroker
from edge.mqtt import BrokerSettings, Connection
from edge.scanner.boots import Boots
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import IN_FLIGHT, Publisher
from edge.scanner.settings import UnitSettings
from edge.storage.storage import Storage
from tests.conftest import MOSQUITTO, Broker, Mosquitto
from tests.fakes import a_health, a_scan


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| broker | bare paho, messages/s | ours, scans/s, confirmed | ratio |")
    print("|---|---|---|---|")
    for kind in ("nats", "mosquitto"):
        if kind == "mosquitto" and MOSQUITTO is None:
            continue
        bare, ours = [], []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
                folder = Path(name)
                broker: Broker = NatsBroker(folder) if kind == "nats" else Mosquitto(folder)
                try:
                    size = len(a_scan(1).encode())
                    bare.append(bare_paho(broker, options.scans, size))
                    ours.append(drain(broker, folder, options.scans))
                finally:
                    broker.stop()
        ratio = statistics.median(ours) / statistics.median(bare)
        print(
            f"| {kind} | {statistics.median(bare):,.0f} | {statistics.median(ours):,.0f}"
            f" | {ratio:.0%} |",
            flush=True,
        )
    return 0


def bare_paho(broker: Broker, messages: int, size: int) -> float:
    """Messages a second that paho alone gets acknowledged."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare")
    client.max_inflight_messages_set(65_535)
    acknowledged = [0]

    def count(*_: object) -> None:
        acknowledged[0] += 1

    client.on_publish = count
    client.connect("127.0.0.1", broker.port)
    while not client.is_connected():
        client.loop(0.1)
    payload = bytes(size)
    began, sent = time.monotonic(), 0
    while acknowledged[0] < messages:
        while sent < messages and sent - acknowledged[0] < IN_FLIGHT:
            client.publish("bare/t", payload, qos=1)
            sent += 1
        client.loop(0.1)
    took_s = time.monotonic() - began
    client.disconnect()
    return messages / took_s


def drain(broker: Broker, folder: Path, scans: int) -> float:
    """Scans a second from a full outbox until the last is confirmed and forgotten."""
    collecting = multiprocessing.get_context("spawn").Process(
        target=collect, args=(broker.url, folder), daemon=True
    )
    collecting.start()
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
    began = time.monotonic()
    while outbox.pending:
        publisher.step(1.0)
    took_s = time.monotonic() - began
    outbox.close()
    collecting.terminate()
    collecting.join()
    return scans / took_s


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


if __name__ == "__main__":
    sys.exit(main())
