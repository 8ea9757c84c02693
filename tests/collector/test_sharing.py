"""Several collectors: each stores its areas, and when one dies nothing is lost or double."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.collector.service import Collector
from edge.demo.broker import NatsBroker
from edge.messages import Confirmed
from edge.storage.storage import Storage
from edge.topics import topic
from tests.end_to_end.parts import Service
from tests.fakes import LIMIT_S, FakeClock, FakeConnection, a_scan, eventually
from tests.postgresql import PostgresqlServer


class Gated(Storage):
    """A storage whose engine waits until the test lets it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.may_end = threading.Event()

    def store_prepared(self, *batch: Any, **how: Any) -> int:
        await_engine = how.pop("await_engine")

        def await_it_late(call: Callable[[], None]) -> None:
            def later() -> None:
                assert self.may_end.wait(LIMIT_S)
                call()

            await_engine(later)

        return super().store_prepared(*batch, await_engine=await_it_late, **how)


def a_backlog(connection: FakeConnection, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        connection.deliver(topic("pleiku", "cong-1", "scan"), a_scan(seq).encode())


def confirmed(connection: FakeConnection) -> list[tuple[int, int]]:
    return [
        (part.first, part.last)
        for payload in connection.on("confirmed")
        for part in Confirmed.decode(payload).ranges
    ]


def test_the_next_batch_is_received_while_one_is_stored_and_none_is_confirmed_early(
    database_url: str,
) -> None:
    connection, storage, clock = FakeConnection(), Gated(database_url), FakeClock()
    collector = Collector(connection, storage, clock, batch_scans=50)  # type: ignore[arg-type]
    connection.come_up()
    a_backlog(connection, 1, 50)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            # The engine has the first batch.
            a_backlog(connection, 51, 120)
        if turns == 5:
            assert confirmed(connection) == []
            storage.may_end.set()

    connection.turn = turn
    eventually(lambda: collector.totals.stored == 120, "stored", turn=lambda: collector.step(0))

    assert turns > 5
    assert confirmed(connection) == [(1, 50), (51, 100), (101, 120)]
    assert connection.woken >= 1
    collector.close()
    storage.close()


def test_a_connection_that_ends_while_the_engine_commits_costs_repeats_and_no_scan(
    database_url: str,
) -> None:
    connection, storage, clock = FakeConnection(), Gated(database_url), FakeClock()
    collector = Collector(connection, storage, clock, batch_scans=50)  # type: ignore[arg-type]
    scans = [a_scan(seq).encode() for seq in range(1, 71)]

    def deliver(payloads: list[bytes]) -> None:
        for payload in payloads:
            connection.deliver(topic("pleiku", "cong-1", "scan"), payload)

    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            # The engine has the first fifty, these are in hand.
            deliver(scans[50:])
        if turns == 3:
            connection.go_down()
        if turns == 4:
            connection.come_up()
            # Of the last connection nothing was acknowledged.
            deliver(scans)
        if turns == 5:
            assert confirmed(connection) == []
            storage.may_end.set()

    connection.turn = turn
    connection.come_up()
    deliver(scans[:50])
    eventually(
        lambda: collector.totals.stored + collector.totals.repeats == 120,
        "all came in once more",
        turn=lambda: collector.step(0),
    )

    assert (collector.totals.stored, storage.count()) == (70, 70)
    assert confirmed(connection) == [(1, 50), (1, 50), (51, 70)]
    collector.close()
    storage.close()


def test_one_of_two_dies_the_other_goes_on_and_takes_its_areas(
    nats: NatsBroker, postgresql_server: PostgresqlServer, tmp_path: Path
) -> None:
    url = postgresql_server.new_database()

    def a_collector(name: str, areas: list[str]) -> Service:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        settings = f"""
            id = "{name}"
            areas = {json.dumps(areas)}
            receipt_key_file = "receipts.key"
            [storage]
            url = "{url}"
            [broker]
            url = "{nats.url}"
        """
        service = Service("collector", folder, settings)
        service.start()
        return service

    one, two = a_collector("one", ["sim-1"]), a_collector("two", ["sim-2"])
    options = f"--broker {nats.url} --storage {url} --units 40 --areas 2 --rate 40 --seconds 8"
    fleet = subprocess.Popen(
        [sys.executable, "-m", "edge.simulate", *options.split(), "--drain-s", "300", "--json"],
        stdout=subprocess.PIPE,
    )
    storage = Storage(url)
    try:
        eventually(
            lambda: {row.area for row in storage.units() if row.scans} == {"sim-1", "sim-2"},
            "both store",
        )
        one.stop(signal.SIGKILL)
        two.stop()
        two = a_collector("two", ["sim-1", "sim-2"])
        found = json.loads(fleet.communicate(timeout=400)[0])
    finally:
        fleet.kill()
        two.stop()
    assert found["rows_missing_or_double"] == 0, found
    assert found["confirmed"] == found["made"] == storage.count() > 200
    storage.close()
    postgresql_server.drop_database(url)
