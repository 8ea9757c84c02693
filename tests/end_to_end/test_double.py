"""A copied card: two units under one name, on each kind of broker. Noticed, and nothing is lost."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.collector.connecting import subscriptions
from edge.collector.service import Collector
from edge.mqtt import Connection
from edge.scanner.boots import Boots
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import Publisher
from edge.storage.storage import Storage
from edge.topics import topic
from edge.unit_settings import UnitSettings
from tests.conftest import Broker
from tests.fakes import FakeClock, a_health, a_scan, eventually

UNIT = UnitSettings(
    id="cong-1", area="pleiku", place="cho-1", direction="in", tracing_key_file="tracing.pub"
)
SCANS = 30


class Unit:
    """One of the two: its own outbox and boot, the other's name."""

    def __init__(self, broker: Broker, folder: Path, boot: str, stack: ExitStack) -> None:
        self.clock = FakeClock(boot=boot)
        self.outbox = Outbox(folder / "outbox", max_bytes=10**9, keep_free_bytes=0)
        stack.callback(self.outbox.close)
        for _ in range(SCANS):
            self.outbox.put(a_scan(self.outbox.next_seq, self.outbox.epoch, boot=boot))
        channels = ("confirmed", "again")
        self.connection = Connection(
            BrokerSettings(url=broker.url),
            folder,
            UNIT.id,
            self.clock,
            subscriptions=[topic(UNIT.area, UNIT.id, channel) for channel in channels],
            persistent=True,
        )
        stack.callback(self.connection.close)
        self.publisher = Publisher(
            self.connection,
            self.outbox,
            UNIT,
            self.clock,
            software="0.1.0",
            health=a_health,
            boots=Boots(folder / "boots.json"),
        )
        self.noticed = False

    def step(self) -> None:
        self.publisher.step(0.02)
        # Waiting to connect again takes the test no time. What the broker does takes it real time:
        # there this clock may not run ahead of it.
        self.clock.advance(0.5 if self.connection.readable is None else 0.1)
        self.noticed = self.noticed or self.connection.suspects_double


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("copied", [True, False], ids=["a copied card", "a name given twice"])
def test_two_units_under_one_name_are_noticed_on_both_sides_and_lose_nothing(
    broker: Broker, tmp_path: Path, stack: ExitStack, copied: bool
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "outbox").mkdir(parents=True)
    if copied:
        for folder in (first, second):
            (folder / "outbox" / "epoch").write_text("e" * 16 + "\n")
    storage = Storage(tmp_path / "storage.db")
    stack.callback(storage.close)
    clock = SystemClock()
    centre = Connection(
        BrokerSettings(url=broker.url),
        tmp_path,
        "collector",
        clock,
        subscriptions=subscriptions(["+"]),
        persistent=True,
    )
    stack.callback(centre.close)
    collector = Collector(centre, storage, clock)
    eventually(lambda: centre.connected, "a collector", turn=lambda: collector.step(0.02))
    units = [Unit(broker, first, "a" * 32, stack), Unit(broker, second, "b" * 32, stack)]

    def turn() -> None:
        for unit in units:
            unit.step()
        collector.step(0.01)

    eventually(lambda: all(u.noticed for u in units), "noticed by both", limit_s=60, turn=turn)
    eventually(
        lambda: not any(u.outbox.pending for u in units), "all confirmed", limit_s=90, turn=turn
    )

    assert storage.count() == 2 * SCANS
    (row,) = storage.units()
    assert row.takeovers > 0
    assert row.doubles == (SCANS if copied else 0)
