"""The generated configuration on a real Mosquitto: who comes in, who may write and read what."""

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge import certificates, config, topics
from edge.certificates import Authority, Issued
from edge.clock import SystemClock
from edge.collector.__main__ import main as collector_command
from edge.collector.connecting import connect as a_collectors_connection
from edge.collector.service import Collector
from edge.collector.settings import CollectorSettings
from edge.demo.broker import free_port
from edge.errors import ProvisionError
from edge.messages import Again
from edge.mqtt import BrokerSettings, Connection, Received
from edge.provision import mosquitto
from edge.provision.deployment import utc_now
from edge.provision.disconnecting import end_connection
from edge.provision.layout import AUTHORITY, AUTHORITY_KEY, BROKER
from edge.scanner.boots import Boots
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import Publisher
from edge.storage.storage import Storage
from edge.unit_settings import UnitSettings
from tests.conftest import MOSQUITTO
from tests.fakes import a_health, a_scan, came, eventually
from tests.provision.broker import DeploymentBroker
from tests.provision.deployments import a_deployment, certified

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="sudo apt install mosquitto")

NAMES = ("collector", "collector-2")


class Site:
    """A deployment with two units, and its broker running."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"mqtts://127.0.0.1:{self.port}"
        self.folder = folder
        self.deployment = a_deployment(
            folder / "gia-lai",
            "a",
            "b",
            port=self.port,
            broker_folder=str(folder / "gia-lai/broker"),
            collectors=2,
        )
        self.identities = {name: certified(self.deployment, name) for name in ("a", "b")}
        self.broker = DeploymentBroker(self.deployment, folder)

    def connection(
        self,
        name: str,
        issued: Issued | None = None,
        *,
        subscriptions: tuple[str, ...] = (),
        client_id: str = "",
    ) -> Connection:
        """A connection of ours as *name*, which may call itself by another *client_id*."""
        folder = self.folder / name.replace("/", "_")
        folder.mkdir(exist_ok=True)
        issued = issued or self.identities[name]
        assert issued.key is not None
        (folder / "own.pem").write_bytes(issued.certificate)
        (folder / "own.key").write_bytes(issued.key)
        settings = BrokerSettings(
            url=self.url,
            ca_file=str(self.deployment.folder / AUTHORITY),
            certificate_file="own.pem",
            key_file="own.key",
        )
        return Connection(
            settings, folder, client_id or name, SystemClock(), subscriptions=subscriptions
        )

    def collector(self, name: str = "collector") -> Connection:
        """That collector's, with the files that were made for it."""
        folder = self.deployment.folder / name
        settings = BrokerSettings(
            url=self.url,
            ca_file="authority.pem",
            certificate_file="collector.pem",
            key_file="collector.key",
        )
        channels = [topics.every_unit("+", channel) for channel in topics.TO_CENTRE]
        return Connection(settings, folder, name, SystemClock(), subscriptions=channels)

    def sharing(self, name: str) -> Connection:
        """That collector's, as it shares with others by its own settings."""
        folder = self.deployment.folder / name
        given = config.load(folder / "collector.toml", CollectorSettings)
        settings = msgspec.structs.replace(given, share="gia-lai")
        connection = a_collectors_connection(settings, folder, SystemClock())
        assert isinstance(connection, Connection)
        return connection

    def authority(self) -> Authority:
        folder = self.deployment.folder
        return Authority((folder / AUTHORITY).read_bytes(), (folder / AUTHORITY_KEY).read_bytes())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(tmp_path_factory.mktemp("site"))
    yield running
    running.broker.stop()


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """One that the test may change."""
    running = Site(tmp_path)
    yield running
    running.broker.stop()


def connect(*connections: Connection) -> None:
    for connection in connections:
        eventually_connected(connection)


def eventually_connected(connection: Connection) -> None:
    eventually(
        lambda: connection.connected,
        f"connected: {connection.trouble}",
        turn=lambda: connection.step(0.1),
    )


def refused(connection: Connection) -> str:
    """Wait until an attempt was refused; why, as a technician reads it."""
    before = connection.trouble
    eventually(
        lambda: connection.trouble not in ("", before), "refused", turn=lambda: connection.step(0.1)
    )
    assert not connection.connected
    connection.close()
    return connection.trouble


def settle(*connections: Connection, publisher: Connection) -> None:
    """Turn all of them until what *publisher* sent was acknowledged."""

    def turn() -> None:
        for connection in (*connections, publisher):
            connection.step(0.02)

    eventually(lambda: not publisher.in_flight, "acknowledged", turn=turn)
    for _ in range(3):
        turn()


def own(site: Site, channel: str, unit: str) -> str:
    return topics.topic("pleiku", unit, channel)


def test_each_side_writes_and_reads_its_own(site: Site) -> None:
    unit = site.connection(
        "a", subscriptions=tuple(own(site, channel, "a") for channel in topics.TO_UNIT)
    )
    collector = site.collector()
    connect(collector, unit)

    for channel in topics.TO_CENTRE:
        unit.publish(own(site, channel, "a"), b"up")
    settle(collector, publisher=unit)
    for channel in topics.TO_UNIT:
        collector.publish(own(site, channel, "a"), b"down")
    settle(unit, publisher=collector)

    assert {m.topic for m in collector.take()} == {own(site, c, "a") for c in topics.TO_CENTRE}
    assert {m.topic for m in unit.take()} == {own(site, c, "a") for c in topics.TO_UNIT}
    unit.close()
    collector.close()


def test_two_collectors_have_names_of_their_own_and_share_what_units_send(site: Site) -> None:
    unit = site.connection("a")
    both = [site.sharing(name) for name in NAMES]
    connect(unit, *both)

    for _ in range(10):
        unit.publish(own(site, "scan", "a"), b"one")
    settle(*both, publisher=unit)

    assert [len(connection.take()) for connection in both] == [5, 5]
    receipts = {(site.deployment.folder / n / "receipts.key").read_bytes() for n in NAMES}
    assert len(receipts) == 1, "units believe one key"
    for connection in (unit, *both):
        connection.close()


def test_who_asks_units_again_by_hand_leaves_the_collector_its_session(
    own_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_site.deployment.folder / "collector"
    (folder / "collector.d").mkdir()
    (folder / "collector.d/storage.toml").write_text(f'[storage]\nurl = "{tmp_path}/storage.db"\n')
    settings = config.load(folder / "collector.toml", CollectorSettings)
    connection = a_collectors_connection(settings, folder, SystemClock())
    storage = Storage(tmp_path / "storage.db")
    storage.store([came("pleiku", "a", a_scan(2))], SystemClock().now().at)
    collector = Collector(connection, storage, SystemClock())
    unit = own_site.connection("a", subscriptions=(own(own_site, "again", "a"),))
    monkeypatch.setattr("edge.collector.__main__.TAKEN_S", 300.0)
    heard: list[bytes] = []

    def turn() -> None:
        unit.step(0.01)
        heard.extend(message.payload for message in unit.take())
        collector.step(0.02)

    eventually(lambda: unit.connected and connection.connected, "both there", turn=turn)
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(
            collector_command, ["--config", str(folder / "collector.toml"), "audit", "--ask"]
        )
        eventually(asked.done, "asked", turn=turn)
    assert asked.result() == 1, "something is missing"
    eventually(lambda: heard, "the unit heard it", turn=turn)

    assert [(r.first, r.last) for r in Again.decode(heard[0]).ranges] == [(1, 1)]
    assert connection.session == 1
    assert connection.connected
    unit.close()
    connection.close()
    collector.close()
    storage.close()


def test_a_unit_cannot_write_in_the_name_of_another_nor_of_the_centre(site: Site) -> None:
    unit, other = (
        site.connection("a"),
        site.connection("b", subscriptions=(own(site, "again", "b"),)),
    )
    collector = site.collector()
    connect(collector, unit, other)

    for channel in topics.CHANNELS:
        unit.publish(own(site, channel, "b"), b"false", retain=True)
    unit.publish(own(site, "confirmed", "a"), b"false")
    unit.publish("edge/v1/pleiku/a/b/scan", b"false")
    unit.publish("$SYS/broker/uptime", b"false")
    settle(collector, other, publisher=unit)
    unit.publish(own(site, "scan", "a"), b"true")
    settle(collector, other, publisher=unit)

    assert [m.payload for m in collector.take()] == [b"true"]
    assert other.take() == []
    for connection in (unit, other, collector):
        connection.close()


def test_a_unit_cannot_read_anything_of_another(site: Site) -> None:
    theirs = (own(site, channel, "b") for channel in topics.CHANNELS)
    everything = ("#", "edge/#", "edge/v1/+/+/confirmed", *theirs, "$SYS/#")
    unit, collector = site.connection("a", subscriptions=everything), site.collector()
    other = site.connection("b")
    connect(collector, unit, other)

    for channel in topics.TO_UNIT:
        collector.publish(own(site, channel, "b"), b"theirs", retain=True)
    for channel in topics.TO_CENTRE:
        other.publish(own(site, channel, "b"), b"theirs")
    settle(unit, publisher=other)
    collector.publish(own(site, "confirmed", "a"), b"mine")
    settle(unit, other, publisher=collector)

    assert {(m.topic, m.payload) for m in unit.take()} == {(own(site, "confirmed", "a"), b"mine")}
    for channel in topics.TO_UNIT:
        collector.publish(own(site, channel, "b"), b"", retain=True)
    settle(publisher=collector)
    for connection in (unit, other, collector):
        connection.close()


def test_a_unit_cannot_take_the_session_of_another(site: Site) -> None:
    other, unit = site.connection("b"), site.connection("a", client_id="b")
    connect(other)
    session = other.session
    connect(unit)

    unit.publish(own(site, "scan", "a"), b"x")
    settle(other, publisher=unit)

    assert other.connected
    assert other.session == session
    unit.close()
    other.close()


def bad_identities(site: Site) -> dict[str, Issued]:
    """Certificates that must not let anybody in."""
    stranger = Authority.make("edge gia-lai", utc_now())[0]
    return {
        "of another authority": stranger.issue_client("a", utc_now(), 30),
        "expired": site.authority().issue_client("a", utc_now() - timedelta(days=60), 30),
        "the broker's own": broker_identity(site),
    }


def broker_identity(site: Site) -> Issued:
    folder = site.deployment.folder / BROKER
    certificate = (folder / mosquitto.CERTIFICATE_FILE).read_bytes()
    facts = certificates.facts(certificate)
    key = (folder / mosquitto.KEY_FILE).read_bytes()
    return Issued(certificate, key, facts.serial, facts.not_after)


@pytest.mark.parametrize("which", ["of another authority", "expired", "the broker's own"])
def test_a_certificate_that_is_not_a_units_does_not_come_in(site: Site, which: str) -> None:
    assert refused(site.connection("a", bad_identities(site)[which]))


def test_nobody_comes_in_without_a_certificate_or_without_tls(site: Site) -> None:
    ca = str(site.deployment.folder / AUTHORITY)
    for settings in (
        BrokerSettings(url=site.url, ca_file=ca),
        BrokerSettings(url=site.url.replace("mqtts", "mqtt")),
        BrokerSettings(url=site.url, ca_file=ca, username="a"),
    ):
        assert refused(Connection(settings, site.folder, "a", SystemClock()))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_an_old_tls_is_refused(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(site.deployment.folder / AUTHORITY))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1

    with (
        socket.create_connection(("127.0.0.1", site.port)) as sock,
        pytest.raises(ssl.SSLError, match="alert protocol version"),
    ):
        context.wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.mark.parametrize("name", ["x/b", "+", "#", "b/#", "a/+"])
def test_a_name_with_a_meaning_for_topics_gains_nothing_even_if_it_were_signed(
    site: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "is_name", lambda text: True)
    issued = site.authority().issue_client(name, utc_now(), 30)
    assert issued.key is not None
    (site.folder / "bad.pem").write_bytes(issued.certificate + issued.key)
    collector, other = (
        site.collector(),
        site.connection("b", subscriptions=(own(site, "again", "b"),)),
    )
    connect(collector, other)

    bad = paho.Client(CallbackAPIVersion.VERSION2, client_id="b", protocol=paho.MQTTv5)
    bad.tls_set(str(site.deployment.folder / AUTHORITY), str(site.folder / "bad.pem"))
    got: list[bytes] = []
    bad.on_message = lambda _, __, message: got.append(bytes(message.payload))
    bad.connect("127.0.0.1", site.port)
    bad.loop_start()
    bad.subscribe([("#", 1), (own(site, "confirmed", "b"), 1)])
    for channel in topics.CHANNELS:
        bad.publish(own(site, channel, "b"), b"false", qos=1)
    other.publish(own(site, "scan", "b"), b"true")
    settle(collector, publisher=other)
    collector.publish(own(site, "confirmed", "b"), b"theirs")
    settle(other, publisher=collector)
    bad.disconnect()
    bad.loop_stop()

    assert [m.payload for m in collector.take()] == [b"true"]
    assert other.take() == []
    assert got == []
    other.close()
    collector.close()


def test_a_revoked_unit_is_cut_off_where_it_is_and_keeps_its_scans(
    own_site: Site, tmp_path: Path
) -> None:
    """MQTT 3.1.1 acknowledges what the rules refuse: only a confirmation makes a unit forget."""
    site = own_site
    collector, other, unit = site.collector(), site.connection("b"), site.connection("a")
    connect(collector, other, unit)
    outbox = Outbox(tmp_path / "outbox", max_bytes=10_000_000, keep_free_bytes=0)
    boots = Boots(tmp_path / "boots.json")
    who = UnitSettings(id="a", area="pleiku", place="cho-1", direction="in", tracing_key_file="x")
    publisher = Publisher(
        unit, outbox, who, SystemClock(), software="0.1.0", health=a_health, boots=boots
    )

    site.deployment.revoke("a", utc_now())
    site.broker.reload()
    outbox.put(a_scan(epoch=outbox.epoch))
    acknowledged: list[bool] = []

    def turn() -> None:
        publisher.step(0.02)
        collector.step(0.02)
        acknowledged.append(not unit.in_flight)

    eventually(lambda: acknowledged[-3:] == [True] * 3 and publisher.connected, "sent", turn=turn)
    other.publish(own(site, "scan", "b"), b"after it")
    settle(collector, publisher=other)

    # Not even its status came through, and what it kept it still has.
    assert received(collector) == [(own(site, "scan", "b"), b"after it")]
    assert outbox.pending == 1
    unit.close()
    assert refused(site.connection("a"))
    connect(other)
    boots.close()
    outbox.close()
    other.close()
    collector.close()


def test_without_the_list_of_the_issuing_authority_none_of_its_units_comes_in(
    own_site: Site,
) -> None:
    """The way to be rid of an issuing authority whose key was stolen."""
    collector = own_site.collector()
    connect(collector)
    collector.close()
    lists = own_site.deployment.folder / BROKER / mosquitto.REVOCATIONS_FILE
    end = b"-----END X509 CRL-----\n"
    lists.write_bytes(lists.read_bytes().partition(end)[0] + end)
    own_site.broker.reload()

    assert refused(own_site.connection("a"))
    collector = own_site.collector()
    connect(collector)
    collector.close()


def received(connection: Connection) -> list[tuple[str, bytes]]:
    messages: list[Received] = connection.take()
    return [(message.topic, message.payload) for message in messages]


def test_the_office_ends_the_connection_that_a_revoked_unit_has_open(
    own_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = own_site
    monkeypatch.setattr("edge.provision.disconnecting.BROKER_S", 120.0)
    unit = site.connection("a")
    connect(unit)
    turns = Turns(unit)
    with pytest.raises(ProvisionError, match="was not revoked"):
        end_connection(site.deployment, "a", SystemClock())

    # The broker has not heard of it yet: the unit comes back, and the office is told.
    site.deployment.revoke("a", utc_now())
    with turns, pytest.raises(ProvisionError, match="in again"):
        end_connection(site.deployment, "a", SystemClock(), stay_s=60.0)
    eventually(lambda: unit.connected, "it is back", turn=lambda: unit.step(0.02))

    site.broker.reload()
    assert unit.connected
    with turns:
        end_connection(site.deployment, "a", SystemClock(), stay_s=5.0)

    assert not unit.connected
    assert refused(site.connection("a"))


class Turns:
    """The turns of a connection, in a thread of its own while this is entered."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self._connection.step(0.05)
