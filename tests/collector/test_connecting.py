"""What a collector listens to; and several that share it on a real Mosquitto, of which some die."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import config
from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.collector.__main__ import main
from edge.collector.connecting import connect as a_connection
from edge.collector.connecting import ending, leave, sessions, subscriptions
from edge.collector.former import TRIES, WELL_S, FormerSessions
from edge.collector.settings import CollectorSettings
from edge.demo.broker import QUEUE, NatsBroker, ask_nats
from edge.demo.tied import tied
from edge.errors import ConfigError
from edge.messages import Scan
from edge.mqtt import Connection, Received
from edge.storage.broker_sessions import BrokerSessions
from edge.storage.keeping.known_time import KnownTime, known_times
from edge.storage.storage import Storage
from edge.topics import topic
from tests.conftest import MOSQUITTO, Broker, Mosquitto
from tests.connections import Connect, receive, until_connected
from tests.end_to_end.parts import Service
from tests.fakes import LIMIT_S, FakeClock, FakeConnection, a_scan, a_status, eventually


def test_what_a_collector_of_two_areas_hears() -> None:
    heard = subscriptions(["pleiku", "chu-se"])

    assert "edge/v1/chu-se/+/scan" in heard
    assert "edge/v1/pleiku/+/status" in heard
    assert len(heard) == 8


@pytest.mark.parametrize(
    ("areas", "names"),
    [
        (("+",), ["c", "c_scan_all"]),
        (("pleiku", "chu-se"), ["c", "c_scan_pleiku", "c_scan_chu-se"]),
        (("pleiku", "pleiku"), ["c", "c_scan_pleiku"]),
        (("pleiku", "+"), ["c", "c_scan_all"]),
    ],
)
def test_the_scans_of_each_area_have_a_session_and_nothing_is_heard_twice(
    areas: tuple[str, ...], names: list[str]
) -> None:
    found = sessions(CollectorSettings(id="c", areas=areas))

    assert list(found) == names
    heard = [topic for topics in found.values() for topic in topics]
    assert len(heard) == len(set(heard)) == 4 * (len(names) - 1)


class Away:
    """A collector that was there once, and a unit in each of two areas that sends meanwhile."""

    def __init__(self, url: str, folder: Path, connect: Connect, *, sessions: str = "auto") -> None:
        self.storage = Storage(folder / "storage.db")
        self.kept = BrokerSessions(self.storage.database, "collector")
        self._broker = BrokerSettings(url=url, username="collector")
        self._folder, self._sessions = folder, sessions
        self.unit = connect(url, "cong-1", settings={"username": "cong-1"})
        until_connected(self.unit)
        self.heard: list[Received] = []
        self.come()
        eventually(lambda: self.now.connected, "connected", turn=lambda: self.now.step(0.05))
        self.now.disconnect(LIMIT_S)

    def come(self, sessions: str = "", areas: Sequence[str] = ("pleiku", "chu-se")) -> None:
        """Be there again, with as many *sessions*, for these *areas*."""
        how = {"areas": areas, "sessions": sessions or self._sessions}
        settings = msgspec.structs.replace(
            msgspec.convert(how, CollectorSettings), broker=self._broker
        )
        self.now = a_connection(settings, self._folder, SystemClock(), self.kept)
        end = partial(ending, settings, self._folder, SystemClock())
        self.clock = FakeClock()
        self.former = FormerSessions(self.now, self.kept, self.clock, end)

    def send(self, count: int) -> None:
        """So many scans of each area, until the broker has them."""
        sent = 0

        def turn() -> None:
            nonlocal sent
            with self.unit.together():
                while sent < 2 * count and self.unit.in_flight < 500:
                    area = ("pleiku", "chu-se")[sent % 2]
                    scan = a_scan(sent // 2 + 1).encode()
                    sent += self.unit.publish(topic(area, "cong-1", "scan"), scan)
            self.unit.step(0.01)

        eventually(lambda: sent == 2 * count and not self.unit.in_flight, "taken", turn=turn)

    def turn(self) -> None:
        """Hear what there is, and acknowledge none of it."""
        self.now.step(0.05)
        self.heard.extend(self.now.take())

    def end_the_former(self) -> None:
        """Let what is no longer wanted be ended, as after a while."""
        self.former.step()
        self.clock.advance(WELL_S)

        def turn() -> None:
            self.now.step(0.01)
            self.former.step()

        wanted = {name: set(topics) for name, topics in self.now.hears.items()}
        eventually(lambda: self.kept.all() == wanted, "ended", turn=turn)

    def close(self) -> None:
        self.now.close()
        self.storage.close()


def consumers(broker: NatsBroker, what: str) -> list[Any]:
    """*what* the server says of each subscription that it keeps messages for."""
    answer = ask_nats(broker._client_port, f"CONSUMER.LIST.{QUEUE}", {})
    return [consumer.get(what) for consumer in answer["consumers"]]


def await_consumers(broker: NatsBroker, count: int) -> None:
    """Until it has so many: it grants the end of one before it has taken it away."""
    eventually(lambda: len(consumers(broker, "name")) == count, f"{count} subscriptions")


def test_of_a_backlog_in_two_areas_nothing_waits_until_it_is_sent_again(
    tmp_path: Path, connect: Connect
) -> None:
    # What a server drops of its window of 1,000 comes again after this: long after the test.
    broker = NatsBroker(tmp_path / "nats", ack_wait_s=3600)
    try:
        away = Away(broker.url, tmp_path, connect)
        # What is handed to a connection that has just ended would come after that time too.
        eventually(lambda: not any(consumers(broker, "push_bound")), "it is known to be away")
        away.send(700)

        away.come()
        before, count = away.now.session, len(("reports", "pleiku", "chu-se"))
        eventually(
            lambda: len(away.heard) == 1400 or away.now.session > before + count,
            "all of it",
            turn=away.turn,
        )
        if away.now.session > before + count:
            pytest.skip("the server has closed a connection: this machine is too busy; again alone")
        away.close()
    finally:
        broker.stop()


def test_scans_are_heard_once_where_one_session_has_heard_all_before(
    broker: Broker, connect: Connect, tmp_path: Path
) -> None:
    away = Away(broker.url, tmp_path, connect, sessions="one")
    away.come("auto")
    eventually(lambda: away.now.connected, "connected", turn=away.turn)

    away.send(5)
    away.unit.publish(topic("pleiku", "cong-1", "health"), b"the last")
    eventually(lambda: not away.unit.in_flight, "taken", turn=lambda: away.unit.step(0.05))
    eventually(lambda: len(away.heard) >= 11, "all of it", turn=away.turn)

    assert len(away.heard) == 11
    if isinstance(broker, NatsBroker):
        # One of each area for its scans, and three for all else.
        await_consumers(broker, 2 * (1 + 3))
    away.close()


def test_what_a_collector_no_longer_stores_the_broker_keeps_no_longer(
    broker: Broker, connect: Connect, tmp_path: Path
) -> None:
    away = Away(broker.url, tmp_path, connect)

    away.come(areas=["pleiku"])
    eventually(lambda: away.now.connected, "connected", turn=away.turn)
    away.end_the_former()

    away.send(3)
    away.unit.publish(topic("chu-se", "cong-1", "health"), b"of the other area")
    away.unit.publish(topic("pleiku", "cong-1", "health"), b"the last")
    away.unit.step(0.05)
    eventually(lambda: len(away.heard) >= 4, "what it stores", turn=away.turn)
    assert {message.topic.split("/")[2] for message in away.heard} == {"pleiku"}
    if isinstance(broker, NatsBroker):
        await_consumers(broker, 1 + 3)
    # Nothing waits for a session that has ended: it would come now.
    away.come()
    eventually(lambda: away.now.connected, "connected", turn=away.turn)
    away.heard.clear()
    away.unit.publish(topic("chu-se", "cong-1", "scan"), b"the next")
    away.unit.step(0.05)

    def of_the_other() -> list[bytes]:
        return [message.payload for message in away.heard if "chu-se" in message.topic]

    eventually(of_the_other, "the next", turn=away.turn)
    assert of_the_other() == [b"the next"]
    away.close()


def test_a_collector_that_has_one_session_now_ends_the_others(
    broker: Broker, connect: Connect, tmp_path: Path
) -> None:
    away = Away(broker.url, tmp_path, connect)

    away.come("one")
    eventually(lambda: away.now.connected, "connected", turn=away.turn)
    away.end_the_former()

    assert list(away.kept.all()) == ["collector"]
    if isinstance(broker, NatsBroker):
        await_consumers(broker, 2 * 4)
    away.close()


def test_who_leaves_ends_the_sessions_of_earlier_settings_too(
    broker: Broker, connect: Connect, tmp_path: Path
) -> None:
    away = Away(broker.url, tmp_path, connect)
    settings = CollectorSettings(areas=("pleiku",), broker=BrokerSettings(url=broker.url))

    names = leave(settings, tmp_path, SystemClock(), LIMIT_S, away.kept)

    assert sorted(names) == ["collector", "collector_scan_chu-se", "collector_scan_pleiku"]
    assert away.kept.all() == {}
    if isinstance(broker, NatsBroker):
        await_consumers(broker, 0)
    away.close()


def test_a_broker_that_knows_all_sessions_by_one_name_is_given_one(
    tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is missing: sudo apt install mosquitto")
    # As edge-provision sets it up, but for the certificates. Without acknowledgements it gives 20.
    mosquitto = Mosquitto(tmp_path, "allow_anonymous true\nuse_username_as_clientid true\n")
    try:
        away = Away(mosquitto.url, tmp_path, connect, sessions="one")
        away.send(4)

        away.come("auto")
        eventually(lambda: "knows all sessions" in caplog.text, "noticed", turn=away.turn)
        eventually(lambda: away.now.connected, "there", turn=away.turn)
        session = away.now.session
        away.send(4)
        for area in ("pleiku", "chu-se"):
            away.unit.publish(topic(area, "cong-1", "health"), b"the last")
        away.unit.step(0.05)

        def whole() -> bool:
            lasts = [m for m in away.heard if m.payload == b"the last"]
            held = [m for m in away.heard if away.now.holds(m)]
            return len(lasts) == 2 and len(held) == 18

        eventually(whole, "what waited and what came", turn=away.turn)
        assert away.now.session == session
        # There never were others, and nobody comes under their names to end them.
        away.end_the_former()
        assert away.now.session == session
        away.close()
    finally:
        mosquitto.stop()


class TakingOurs:
    """A connection to end a former session, at a broker that gives it the place of ours."""

    connected = False

    def __init__(self, ours: FakeConnection) -> None:
        self._ours = ours

    def step(self, _: float) -> None:
        self._ours.connected = False

    def close(self) -> None:
        pass


def test_a_former_session_that_the_broker_takes_for_ours_is_let_go(tmp_path: Path) -> None:
    ours, clock, made = FakeConnection(), FakeClock(), []
    ours.hears = {"collector": ("all",)}  # type: ignore[attr-defined]
    storage = Storage(tmp_path / "storage.db")
    kept = BrokerSessions(storage.database, "collector")
    kept.note({"collector_scan_pleiku": ["some"]})

    def end(name: str) -> TakingOurs:
        made.append(name)
        return TakingOurs(ours)

    former = FormerSessions(ours, kept, clock, end)  # type: ignore[arg-type]
    for _ in range(30):
        former.step()
        clock.advance(WELL_S)
        # It comes back by itself.
        ours.connected = True
        former.step()
        clock.advance(WELL_S)
        former.step()
        former.step()

    assert made == ["collector_scan_pleiku"] * TRIES
    assert kept.all() == {"collector": {"all"}}
    storage.close()


def test_sharing_is_refused_where_nothing_would_be_delivered(tmp_path: Path) -> None:
    settings = CollectorSettings(share="gia-lai", sessions="each")

    with pytest.raises(ConfigError, match="only Mosquitto"):
        a_connection(settings, tmp_path, SystemClock())


def test_a_share_that_is_no_name_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"share": "a/#"}, CollectorSettings)


def a_sharing(name: str, url: str, folder: Path) -> Connection:
    settings = CollectorSettings(id=name, share="gia-lai", broker=BrokerSettings(url=url))
    connection = a_connection(settings, folder, SystemClock())
    assert isinstance(connection, Connection)
    return connection


def test_each_message_goes_to_one_of_them_and_how_a_unit_is_to_all(
    mosquitto: Mosquitto, connect: Connect, tmp_path: Path
) -> None:
    both = [a_sharing(name, mosquitto.url, tmp_path) for name in ("one", "two")]
    unit = connect(mosquitto.url, "cong-1")
    for connection in (unit, *both):
        until_connected(connection)
    heard: list[list[Received]] = [[], []]

    def turn() -> None:
        unit.step(0.01)
        for connection, messages in zip(both, heard, strict=True):
            connection.step(0.01)
            messages += (taken := connection.take())
            for message in taken:
                connection.ack(message)

    unit.publish(topic("pleiku", "cong-1", "status"), a_status().encode(), retain=True)
    for seq in range(1, 101):
        unit.publish(topic("pleiku", "cong-1", "scan"), a_scan(seq).encode())
    eventually(lambda: sum(map(len, heard)) == 102, "all heard", turn=turn)

    scans = [[m for m in messages if m.topic.endswith("/scan")] for messages in heard]
    assert min(map(len, scans)) > 20
    numbers = [Scan.decode(message.payload).seq for messages in scans for message in messages]
    assert sorted(numbers) == list(range(1, 101))
    late = a_sharing("late", mosquitto.url, tmp_path)
    until_connected(late)
    (retained,) = receive(late, 1)
    assert retained.topic.endswith("/status")
    for connection in (*both, late):
        connection.close()


@pytest.mark.parametrize("sessions", ["one", "auto"])
def test_a_collector_that_leaves_is_kept_nothing_for(
    broker: Broker,
    connect: Connect,
    tmp_path: Path,
    sessions: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toml = tmp_path / "collector.toml"
    toml.write_text(
        f'id = "one"\nareas = ["pleiku"]\nsessions = "{sessions}"\n[broker]\nurl = "{broker.url}"\n'
        f'[storage]\nurl = "{tmp_path}/none.db"\n'
    )
    settings = config.load(toml, CollectorSettings)
    away = a_connection(settings, tmp_path, SystemClock())
    eventually(lambda: away.connected, "connected", turn=lambda: away.step(0.05))
    away.disconnect(5)
    unit = connect(broker.url, "cong-1")
    until_connected(unit)
    unit.publish(topic("pleiku", "cong-1", "scan"), a_scan(1).encode())
    eventually(lambda: not unit.in_flight, "taken", turn=lambda: unit.step(0.05))

    assert main(["leave", "--config", str(toml)]) == 0

    told = capsys.readouterr()
    assert "session one has ended" in told.out
    assert "sessions of earlier settings are not known" in told.err
    # With its storage: what it knew of the time is no alarm for ever either.
    with closing(Storage(tmp_path / "none.db")) as storage:
        for name in ("one", "two"):
            KnownTime(storage.database, name).look(SystemClock().now())
        assert main(["leave", "--config", str(toml)]) == 0
        with storage.database.reading() as connection:
            assert [known.collector for known in known_times(connection)] == ["two"]
    back = a_connection(settings, tmp_path, SystemClock())
    eventually(lambda: back.connected, "connected", turn=lambda: back.step(0.05))
    unit.publish(topic("pleiku", "cong-1", "scan"), a_scan(2).encode())
    heard: list[Received] = []

    def turn() -> None:
        unit.step(0.01)
        back.step(0.05)
        heard.extend(back.take())

    eventually(lambda: heard, "what comes from now on", turn=turn)
    assert [Scan.decode(message.payload).seq for message in heard] == [2]
    back.close()
    away.close()


def says(service: Service, text: str) -> bool:
    return text in service.log.read_text()


class Sharing:
    """Collectors that share all areas of one broker and one storage."""

    def __init__(self, folder: Path, url: str, count: int) -> None:
        self.storage = str(folder / "storage.db")
        Storage(self.storage).close()
        self.all = [self._one(folder, url, number) for number in range(count)]

    def _one(self, folder: Path, url: str, number: int) -> Service:
        home = folder / f"collector-{number}"
        home.mkdir()
        settings = f"""
            id = "collector-{number}"
            share = "gia-lai"
            batch_scans = 20
            receipt_key_file = "receipts.key"
            [storage]
            url = "{self.storage}"
            [broker]
            url = "{url}"
            [retention]
            erase = false
        """
        service = Service("collector", home, settings)
        service.start()
        return service

    def stop(self) -> None:
        for service in self.all:
            if service.ended() is None:
                service.stop(signal.SIGKILL)


def test_collectors_share_the_work_and_when_one_dies_the_others_go_on(tmp_path: Path) -> None:
    mosquitto = Mosquitto(tmp_path)
    sharing = Sharing(tmp_path, mosquitto.url, 3)
    options = f"--broker {mosquitto.url} --storage {sharing.storage} --units 30 --rate 60"
    fleet = subprocess.Popen(
        tied(
            [sys.executable, "-m", "edge.simulate", *options.split(), "--seconds", "300", "--json"]
        ),
        stdout=subprocess.PIPE,
    )
    storage = Storage(sharing.storage)
    try:
        eventually(lambda: storage.count() > 100, "the first stored")
        for one in sharing.all:
            eventually(partial(says, one, "sharing the scans of +"), "it says so")
            eventually(partial(says, one, "connected to"), "it is there")

        # One dies for good, one is started again as systemd does, and then the other two at once.
        sharing.all[0].stop(signal.SIGKILL)
        before = storage.count()
        eventually(lambda: storage.count() > before + 200, "the others go on")
        sharing.all[1].stop(signal.SIGKILL)
        sharing.all[1].start()
        before = storage.count()
        eventually(lambda: storage.count() > before + 200, "and go on")
        sharing.all[1].stop(signal.SIGKILL)
        sharing.all[2].stop()
        sharing.all[2].start()
        fleet.send_signal(signal.SIGUSR1)
        found = json.loads(fleet.communicate(timeout=700)[0])
    finally:
        fleet.kill()
        sharing.stop()
        mosquitto.stop()
    assert found["rows_missing_or_double"] == 0, found
    assert found["confirmed"] == found["made"] == storage.count() > 500
    storage.close()
