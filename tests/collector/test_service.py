"""The collector on real brokers: commit, then acknowledge, then confirm."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edge.clock import SystemClock
from edge.collector.connecting import subscriptions
from edge.collector.service import Collector, confirmed_ranges
from edge.collector.signers import Signers
from edge.errors import StorageError
from edge.messages import (
    Again,
    Answer,
    Confirmed,
    ConfirmedRange,
    Message,
    MissingRange,
    Update,
    check_of,
    scans_message,
)
from edge.mqtt import BrokerSettings, Connection
from edge.sealing import Signer, Verifier
from edge.signed import is_confirmed
from edge.storage.storage import Storage
from edge.topics import topic
from tests.conftest import Broker
from tests.fakes import FakeClock, FakeConnection, a_health, a_scan, a_status, eventually

KEY = Signer(b"c" * 32)


class Centre:
    """A collector on a broker, and a unit's side of the talk."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self.storage = Storage(folder / "storage.db")
        self.collector = self.start()
        self.unit = self._connection("cong-1", [topic("pleiku", "cong-1", "confirmed")])
        self.until(lambda: self.unit.connected, "unit connected")

    def start(self, storage: Storage | None = None) -> Collector:
        self.connection = self._connection("collector", subscriptions(["+"]), persistent=True)
        collector = Collector(
            self.connection, storage or self.storage, SystemClock(), signers=Signers(KEY)
        )
        eventually(
            lambda: self.connection.connected,
            "collector connected",
            turn=lambda: collector.step(0.02),
        )
        return collector

    def _connection(self, name: str, topics: list[str], persistent: bool = False) -> Connection:
        return Connection(
            BrokerSettings(url=self._broker.url),
            self._folder,
            name,
            SystemClock(),
            subscriptions=topics,
            persistent=persistent,
        )

    def until(self, holds: Callable[[], object], what: str) -> None:
        self.confirmations: list[Confirmed] = getattr(self, "confirmations", [])

        def turn() -> None:
            self.unit.step(0.01)
            for message in self.unit.take():
                self.unit.ack(message)
                confirmed = Confirmed.decode(message.payload)
                assert is_confirmed(confirmed, "cong-1", Verifier(KEY.public_key))
                self.confirmations.append(confirmed)
            self.collector.step(0.01)

        eventually(holds, what, turn=turn)

    def send(self, payload: bytes, channel: str = "scan", unit: str = "cong-1") -> None:
        where = topic("pleiku", unit, channel)
        eventually(
            lambda: self.unit.publish(where, payload), "room", turn=lambda: self.unit.step(0.05)
        )

    def confirmed(self) -> set[int]:
        return {
            seq
            for message in self.confirmations
            for r in message.ranges
            for seq in range(r.first, r.last + 1)
        }

    def close(self) -> None:
        self.unit.close()
        self.connection.close()
        self.storage.close()


@pytest.fixture
def centre(broker: Broker, tmp_path: Path) -> Iterator[Centre]:
    centre = Centre(broker, tmp_path)
    yield centre
    centre.close()


def test_scans_are_stored_and_confirmed_by_ranges(centre: Centre) -> None:
    scans = [a_scan(seq) for seq in range(1, 31)]

    for scan in scans:
        centre.send(scan.encode())
    centre.until(lambda: len(centre.confirmed()) == 30, "all confirmed")

    assert centre.storage.count() == 30
    ids = {scan.seq: scan.id for scan in scans}
    for message in centre.confirmations:
        for r in message.ranges:
            assert r.check == check_of(ids[seq] for seq in range(r.first, r.last + 1))


def test_a_repeat_is_confirmed_again_and_stored_once(centre: Centre) -> None:
    scan = a_scan(1)
    centre.send(scan.encode())
    centre.until(lambda: len(centre.confirmations) == 1, "confirmed")

    centre.send(scan.encode())
    centre.until(lambda: len(centre.confirmations) == 2, "confirmed again")

    assert centre.storage.count() == 1
    assert centre.collector.totals.repeats == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x00\x01binary noise\xff", "not JSON"),
        (b'{"v": 7}', "version 7"),
        (b"x" * 900_000, "900000 bytes are more than"),
        (a_scan(5).encode().replace(b'"cccd"', b'"\\u001b[31m=1+1"'), "not of this version"),
    ],
)
def test_a_bad_message_is_set_aside_alone_and_those_behind_it_flow(
    centre: Centre, payload: bytes, reason: str
) -> None:
    centre.send(a_scan(1).encode())
    centre.send(payload)
    centre.send(a_scan(2).encode())

    centre.until(lambda: centre.confirmed() == {1, 2}, "the good ones confirmed")
    centre.until(lambda: len(centre.storage.set_asides()) == 1, "the bad one set aside")

    assert reason in centre.storage.set_asides()[0][2]


def test_scans_that_came_together_are_stored_and_a_bad_one_among_them_is_set_aside_alone(
    centre: Centre,
) -> None:
    good = [a_scan(seq).encode() for seq in range(1, 20)]
    bad = a_scan(20).encode().replace(b'"cccd"', b'"\\u001b[31m"')

    centre.send(scans_message([*good[:7], bad, *good[7:]]))
    centre.send(b"[" + b",".join([b"{}"] * 200) + b"]")

    centre.until(lambda: centre.confirmed() == set(range(1, 20)), "the good ones confirmed")
    centre.until(lambda: len(centre.storage.set_asides()) == 2, "the bad ones set aside")
    reasons = {reason for _, _, reason, _ in centre.storage.set_asides()}
    assert any("not of this version" in reason for reason in reasons)
    assert any("more than 100" in reason for reason in reasons)
    assert sum(len(message.ranges) for message in centre.confirmations) == 1


def test_a_batch_is_bounded_in_scans_however_they_came(tmp_path: Path) -> None:
    class Watched(Storage):
        sizes: ClassVar[list[int]] = []

        def store_prepared(self, *batch: Any, **how: Any) -> int:
            self.sizes.append(len(batch[0].rows))
            return super().store_prepared(*batch, **how)

    connection, storage = FakeConnection(), Watched(tmp_path / "storage.db")
    collector = Collector(connection, storage, FakeClock(), batch_scans=50)  # type: ignore[arg-type]
    connection.come_up()
    for first in range(1, 200, 20):
        scans = [a_scan(seq).encode() for seq in range(first, first + 20)]
        connection.deliver(topic("pleiku", "cong-1", "scan"), scans_message(scans))
    eventually(lambda: collector.totals.stored == 200, "stored", turn=lambda: collector.step(0))

    assert Watched.sizes == [60, 60, 60, 20]
    storage.close()


def test_a_message_of_10_mb_is_set_aside_without_keeping_it(
    mosquitto: Broker, tmp_path: Path
) -> None:
    centre = Centre(mosquitto, tmp_path)
    centre.send(b"x" * 10_000_000)
    centre.send(a_scan(1).encode())
    centre.until(lambda: centre.confirmed() == {1}, "the one behind it confirmed")
    centre.until(lambda: len(centre.storage.set_asides()) == 1, "the large one set aside")
    size = (tmp_path / "storage.db").stat().st_size
    centre.close()

    assert size < 1_000_000


def test_a_strange_unit_name_is_set_aside(centre: Centre) -> None:
    centre.unit.publish("edge/v1/pleiku/CONG;1/scan", a_scan(1).encode())
    centre.send(a_scan(2).encode())

    centre.until(lambda: centre.confirmed() == {2}, "the good one confirmed")
    centre.until(lambda: len(centre.storage.set_asides()) == 1, "the strange one set aside")


def test_a_collector_says_how_far_it_lags_and_what_waits(tmp_path: Path) -> None:
    connection, storage, clock = FakeConnection(), Storage(tmp_path / "storage.db"), FakeClock()
    collector = Collector(connection, storage, clock, batch_scans=2)  # type: ignore[arg-type]
    connection.come_up()
    for seq, minute in enumerate((20, 28, 30), 1):
        scan = a_scan(seq, clock="ntp", at=f"2021-07-02T01:{minute}:00.000Z")
        connection.deliver(topic("pleiku", "cong-1", "scan"), scan.encode())
    now = clock.now().at

    collector.step(0)
    # Two are stored, one waits.
    assert collector.totals.in_hand == 1
    eventually(lambda: collector.totals.stored == 3, "stored", turn=lambda: collector.step(0))

    assert now == "2021-07-02T01:46:40.000Z"
    assert collector.totals.youngest_s == 16 * 60 + 40
    assert collector.totals.in_hand == 0
    assert collector.totals.unconfirmed == 0
    storage.close()


def test_what_no_database_takes_is_set_aside_and_ends_nothing(database_url: str) -> None:
    connection, storage = FakeConnection(), Storage(database_url)
    collector = Collector(connection, storage, FakeClock(), signers=Signers(KEY))  # type: ignore[arg-type]
    connection.come_up()
    at = "2021-07-02T01:31:00.000Z"
    hostile: list[tuple[str, Message]] = [
        ("status", a_status(software="1.0\0")),
        ("health", a_health(software="1.0\0")),
        ("health", a_health(setup="\0")),
        ("health", a_health(repair_reason="\0")),
        ("health", a_health(refused={"\0": 1})),
        ("health", a_health(update=Update(version="\0", state="failed", at=at))),
        ("health", a_health(update=Update(version="", state="failed", reason="\0", at=at))),
        ("answer", Answer(about="command", to="c" * 32, state="failed", at=at, reason="\0")),
        ("answer", Answer(about="command", to="c" * 32, state="failed", at=at, detail="\0")),
        ("scan", a_scan(2, clock="ntp", at="2026-02-31T01:31:00.000Z")),
        ("scan", a_scan(3, clock="ntp", at="2026-19-39T29:59:69.000Z")),
    ]
    for channel, message in hostile:
        connection.deliver(topic("pleiku", "cong-1", channel), message.encode())
    connection.deliver(topic("pleiku", "cong-1", "scan"), a_scan(1).encode())
    eventually(lambda: collector.totals.stored == 1, "stored", turn=lambda: collector.step(0))

    assert len(storage.set_asides()) == len(hostile)
    (payload,) = connection.on("confirmed")
    assert [(r.first, r.last) for r in Confirmed.decode(payload).ranges] == [(1, 1)]
    storage.close()


def test_scans_sent_while_the_collector_is_away_are_stored_when_it_is_back(centre: Centre) -> None:
    centre.connection.close()
    for seq in range(1, 21):
        centre.send(a_scan(seq).encode())

    centre.collector = centre.start()
    centre.until(lambda: len(centre.confirmed()) == 20, "all confirmed")


def test_what_a_broker_delivers_before_it_grants_the_subscriptions_is_confirmed(
    tmp_path: Path,
) -> None:
    connection, storage = FakeConnection(), Storage(tmp_path / "storage.db")
    collector = Collector(connection, storage, FakeClock(), signers=Signers(KEY))  # type: ignore[arg-type]
    connection.come_up()
    connection.connected = False
    for seq in (1, 2, 3):
        connection.deliver(topic("pleiku", "cong-1", "scan"), a_scan(seq).encode())
        collector.step(0)
    assert storage.count() == 0
    connection.connected = True
    collector.step(0)

    assert storage.count() == 3
    (payload,) = connection.on("confirmed")
    assert [(r.first, r.last) for r in Confirmed.decode(payload).ranges] == [(1, 3)]
    storage.close()


def test_a_storage_that_fails_ends_the_collector_and_nothing_is_confirmed(
    centre: Centre,
) -> None:
    class FullDisk(Storage):
        def store_prepared(self, *_: object, **__: object) -> int:
            raise StorageError("database or disk is full")

    centre.connection.close()
    full = FullDisk(centre._folder / "storage.db")
    centre.collector = centre.start(full)
    centre.send(a_scan(1).encode())

    with pytest.raises(StorageError):
        centre.until(lambda: False, "never")
    full.close()
    assert centre.confirmations == []

    # systemd starts it again, with room on the disk: the broker delivers the scan once more.
    centre.connection.close()
    centre.collector = centre.start()
    centre.until(lambda: centre.confirmed() == {1}, "confirmed after all")


def test_nothing_is_confirmed_before_it_is_committed(centre: Centre) -> None:
    order: list[str] = []

    class Watched(Storage):
        def store_prepared(self, *batch: Any, **how: Any) -> int:
            new = super().store_prepared(*batch, **how)
            order.append("committed")
            return new

    class Telling(Collector):
        def _confirm(self, scans: object) -> None:
            order.append("confirmed")
            super()._confirm(scans)  # type: ignore[arg-type]

    storage = Watched(centre._folder / "storage.db")
    centre.collector = Telling(centre.connection, storage, SystemClock(), signers=Signers(KEY))
    centre.send(a_scan(1).encode())
    centre.until(lambda: centre.confirmed() == {1}, "confirmed")
    storage.close()

    assert order[:2] == ["committed", "confirmed"]


def test_status_and_health_are_kept(centre: Centre) -> None:
    status = a_status(birth=3)
    centre.send(status.encode(), "status")
    centre.send(a_health(accepted=5).encode(), "health")

    centre.until(lambda: [row.state for row in centre.storage.units()] == ["online"], "status kept")


def test_a_unit_is_asked_for_what_stays_missing_and_the_gap_closes(centre: Centre) -> None:
    asked: list[Again] = []
    unit = centre._connection("cong-1-again", [topic("pleiku", "cong-1", "again")])
    eventually(lambda: unit.connected, "unit connected", turn=lambda: unit.step(0.02))
    centre.collector = Collector(
        centre.connection, centre.storage, SystemClock(), gap_ask_s=0.2, signers=Signers(KEY)
    )
    for seq in (1, 2, 4):
        centre.send(a_scan(seq).encode())

    def is_asked() -> bool:
        unit.step(0.0)
        asked.extend(Again.decode(message.payload) for message in unit.take())
        return bool(asked)

    centre.until(is_asked, "the unit is asked")
    assert asked[0].ranges == (MissingRange(3, 3),)
    centre.send(a_scan(3).encode())
    centre.until(lambda: not centre.storage.units()[0].gaps, "the gap closed")
    unit.close()


def test_ranges_end_where_numbers_are_missing_or_double() -> None:
    assert confirmed_ranges([]) == []
    ids = {1: "1", 2: "2", 4: "4", 5: "56", 6: "7"}
    numbers = [(seq, one * 32) for seq in (4, 1, 6, 5, 2, 1) for one in ids[seq]]

    assert confirmed_ranges(numbers) == [
        ConfirmedRange(1, 2, check_of(["1" * 32, "2" * 32])),
        ConfirmedRange(4, 4, check_of(["4" * 32])),
        ConfirmedRange(5, 5, check_of(["5" * 32])),
        ConfirmedRange(5, 5, check_of(["6" * 32])),
        ConfirmedRange(6, 6, check_of(["7" * 32])),
    ]
