"""The generated users on a real NATS server: each unit has its own topics and no other's."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from edge import topics
from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.demo.broker import free_port, listens, nats_server
from edge.mqtt import Connection
from edge.provision import nats
from edge.provision.deployment import utc_now
from edge.provision.layout import AUTHORITY, BROKER
from tests.fakes import eventually
from tests.provision.deployments import a_deployment, certified


class Site:
    """A deployment with two units and a NATS server."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.deployment = a_deployment(folder / "gia-lai", "a", "b", port=self.port)
        self.broker = self.deployment.folder / BROKER
        self.folder = folder
        self.identities = {name: certified(self.deployment, name) for name in ("a", "b")}
        self.deployment.write_broker(utc_now())
        tls = ", ".join(
            f'{key}: "{self.broker / file}"'
            for key, file in (
                ("cert_file", "broker.pem"),
                ("key_file", "broker.key"),
                ("ca_file", "authority.pem"),
            )
        )
        (self.broker / "nats.conf").write_text(
            f"include ./{nats.USERS_FILE}\nserver_name: one\nlisten: 127.0.0.1:{free_port()}\n"
            f'jetstream {{ store_dir: "{folder}/js" }}\n'
            f"mqtt {{ listen: 127.0.0.1:{self.port}, tls {{ {tls}, verify_and_map: true }} }}\n"
        )
        with (folder / "nats.log").open("ab") as log:
            command = [nats_server(), "-c", str(self.broker / "nats.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(lambda: listens(self.port), "it listens")

    def connection(
        self, name: str, subscriptions: Sequence[str] = (), *, client_id: str = ""
    ) -> Connection:
        """Of the unit *name*, or of the collector; it may call itself by another *client_id*."""
        if name == "collector":
            folder = self.deployment.folder / "collector"
            files = ("collector.pem", "collector.key")
        else:
            folder, issued = self.folder / name, self.identities[name]
            folder.mkdir(exist_ok=True)
            assert issued.key is not None
            (folder / "own.pem").write_bytes(issued.key + issued.certificate)
            files = ("own.pem", "own.pem")
        settings = BrokerSettings(
            url=f"mqtts://127.0.0.1:{self.port}",
            ca_file=str(self.deployment.folder / AUTHORITY),
            certificate_file=files[0],
            key_file=files[1],
        )
        return Connection(
            settings,
            folder,
            client_id or name,
            SystemClock(),
            subscriptions=subscriptions,
            persistent=True,
        )

    def reload(self) -> None:
        """What `systemctl reload` does."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path)
    yield running
    running.stop()


def own(unit: str, channel: str) -> str:
    return topics.topic("pleiku", unit, channel)


def connected(*connections: Connection) -> None:
    for connection in connections:
        eventually(
            lambda one=connection: one.connected,  # type: ignore[misc]
            "connected",
            turn=lambda one=connection: one.step(0.05),  # type: ignore[misc]
        )


def heard(
    connection: Connection, *others: Connection, until: tuple[str, bytes] | None = None
) -> list[tuple[str, bytes]]:
    """What comes in, *until* that came, and then within some turns in which nothing more does."""
    found: list[tuple[str, bytes]] = []
    quiet = 0

    def turn() -> None:
        nonlocal quiet
        for one in (connection, *others):
            one.step(0.05)
        new = [(message.topic, message.payload) for message in connection.take()]
        quiet = 0 if new else quiet + 1
        found.extend(new)

    eventually(lambda: quiet >= 10 and (until is None or until in found), f"{until}", turn=turn)
    return found


def test_each_writes_and_reads_its_own_and_nothing_of_another(site: Site) -> None:
    units = {
        name: site.connection(name, [own(name, channel) for channel in topics.TO_UNIT])
        for name in ("a", "b")
    }
    collector = site.connection(
        "collector", [topics.every_unit("+", channel) for channel in topics.TO_CENTRE]
    )
    connected(collector, *units.values())

    for channel in topics.TO_CENTRE:
        units["a"].publish(own("a", channel), b"true", retain=channel == "status")
    for channel in topics.CHANNELS:
        units["a"].publish(own("b", channel), b"false", retain=channel == "status")
    for channel in topics.TO_UNIT:
        units["a"].publish(own("a", channel), b"false")
    last = (own("a", topics.TO_CENTRE[-1]), b"true")
    said = heard(collector, units["a"], until=last)
    assert sorted(said) == sorted((own("a", channel), b"true") for channel in topics.TO_CENTRE)

    for name in ("a", "b"):
        for channel in topics.TO_UNIT:
            collector.publish(own(name, channel), name.encode())
    for name, unit in units.items():
        own_all = [(own(name, channel), name.encode()) for channel in topics.TO_UNIT]
        assert sorted(heard(unit, collector, until=own_all[-1])) == sorted(own_all)
    for connection in (*units.values(), collector):
        connection.close()


@pytest.mark.parametrize(
    "wanted", [*(own("b", channel) for channel in topics.CHANNELS), "edge/#", "edge/v1/+/+/cmd"]
)
def test_what_is_anothers_cannot_be_subscribed_to(site: Site, wanted: str) -> None:
    unit = site.connection("a", [wanted])

    eventually(lambda: "may not subscribe" in unit.trouble, "refused", turn=lambda: unit.step(0.05))
    assert not unit.connected
    unit.close()


def test_a_revoked_unit_is_thrown_out_by_a_reload_and_the_others_stay(site: Site) -> None:
    revoked, other = site.connection("a"), site.connection("b")
    connected(revoked, other)

    site.deployment.revoke("a", utc_now())
    site.reload()

    eventually(lambda: not revoked.connected, "thrown out", turn=lambda: revoked.step(0.05))
    for _ in range(20):
        revoked.step(0.1)
        other.step(0.01)
    assert not revoked.connected
    assert other.connected
    revoked.close()
    other.close()


def test_who_takes_the_session_of_another_reads_nothing_of_it(site: Site) -> None:
    """NATS does not bind the client's id to the certificate: it lets him in, and no further."""
    victim = site.connection("a", [own("a", channel) for channel in topics.TO_UNIT])
    collector = site.connection("collector")
    connected(victim, collector)
    thief = site.connection("b", client_id="a")
    eventually(lambda: thief.connected, "he is let in", turn=lambda: thief.step(0.05))

    for channel in topics.TO_UNIT:
        collector.publish(own("a", channel), b"theirs")
    assert heard(thief, collector) == []
    thief.close()

    # Whoever it belongs to is let in again, and hears what there is to hear from then on.
    eventually(
        lambda: victim.connected and victim.session > 1,
        "it is back",
        turn=lambda: victim.step(0.05),
    )
    collector.publish(own("a", "confirmed"), b"mine")
    heard(victim, collector, until=(own("a", "confirmed"), b"mine"))
    for connection in (victim, collector):
        connection.close()
