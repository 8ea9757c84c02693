"""PROVINCE.md, followed to the letter: its brokers hold, its databases follow each other."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge import topics
from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.collector.__main__ import main
from edge.demo.broker import nats_server
from edge.mqtt import Connection
from edge.provision.deployment import Deployment, utc_now
from edge.storage.storage import Storage
from tests.end_to_end.province import Brokers, Databases, block, replaced
from tests.fakes import a_scan, came, eventually
from tests.provision.deployments import a_deployment, certified

HOST = "mqtt.gialai.example.vn"
#: Whether to take the time to let what leads die.
WHOLE = "EDGE_PROVINCE" in os.environ
NOW = "2021-07-02T09:00:00.000Z"


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = a_deployment(tmp_path / "gia-lai", "cong-1", host=HOST, collectors=2)
    made.write_broker(utc_now())
    return made


@pytest.fixture
def brokers(tmp_path: Path, deployment: Deployment) -> Iterator[Brokers]:
    started = Brokers(tmp_path, deployment.folder / "broker", nats_server())
    yield started
    started.stop()


def test_one_name_leads_to_whichever_broker_lives(
    brokers: Brokers, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brokers.bound_queue()
    brokers.let_in_users_alone()
    asked = socket.getaddrinfo

    def three(host: str, port: int, *rest: Any, **more: Any) -> list[Any]:
        names = brokers.addresses if host == HOST else [host]
        return [found for name in names for found in asked(name, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", three)
    collector = connection(deployment, "collector", tmp_path, [topics.every_unit("pleiku", "scan")])
    unit = connection(deployment, "cong-1", tmp_path)
    with closing(collector), closing(unit):

        def turn() -> None:
            collector.step(0.05)
            unit.step(0.05)

        def hears(said: bytes) -> bool:
            # As a unit does: again, until it is confirmed.
            if unit.connected:
                unit.publish(topics.topic("pleiku", "cong-1", "scan"), said)
            heard = collector.take()
            for message in heard:
                collector.ack(message)
            return said in {message.payload for message in heard}

        eventually(lambda: collector.connected and unit.connected, "both connected", turn=turn)
        eventually(lambda: hears(b"before"), "heard", turn=turn)
        if not WHOLE:
            return
        # Both came to the first that answers, which dies.
        brokers.servers[0].kill()
        eventually(lambda: hears(b"after"), "heard by another", turn=turn)


def connection(
    deployment: Deployment, name: str, folder: Path, subscriptions: list[str] | None = None
) -> Connection:
    """Of the collector, by its folder; of a unit, by a certificate for it."""
    own = deployment.folder / name
    if subscriptions is None:
        own = folder / name
        own.mkdir()
        issued = certified(deployment, name)
        assert issued.key is not None
        (own / f"{name}.pem").write_bytes(issued.certificate)
        (own / f"{name}.key").write_bytes(issued.key)
        shutil.copy(deployment.folder / "broker/authority.pem", own)
    settings = BrokerSettings(
        url=f"mqtts://{HOST}:8883",
        ca_file="authority.pem",
        certificate_file=f"{name}.pem",
        key_file=f"{name}.key",
    )
    return Connection(
        settings,
        own,
        name,
        SystemClock(),
        subscriptions=subscriptions or (),
        persistent=subscriptions is not None,
    )


@pytest.mark.skipif(not WHOLE, reason="takes a minute: make province")
def test_databases_follow_each_other_and_a_dump_is_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="edge-province-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        databases = Databases(folder)
        try:
            databases.wait("Leader", "Replica", "Sync Standby")
            made = databases.shell(block("# once, on one of them"))
            assert made.split() == ["CREATE", "ROLE", "CREATE", "DATABASE"]
            databases.await_database("edge")
            config = collector_settings(tmp_path, databases.network)

            assert main(["--config", str(config), "audit"]) == 0
            assert "no unit was ever heard of" in capsys.readouterr().err
            store(databases, 1)
            (leader,) = [one for one, role in databases.states().items() if role == "Leader"]
            databases.kill(leader)
            databases.wait("Leader", "Sync Standby")
            store(databases, 2)
            databases.start(leader)
            databases.wait("Leader", "Replica", "Sync Standby")

            assert main(["--config", str(config), "audit"]) == 0
            assert "complete to 2" in capsys.readouterr().out
            dump_and_put_back(databases, tmp_path)
            trial = config.with_name("trial.toml")
            drop_in = (tmp_path / "collector.d/province.toml").read_text()
            trial.write_text(drop_in.replace('/edge"', '/trial"'))
            assert main(["--config", str(trial), "audit"]) == 0
            assert "complete to 2" in capsys.readouterr().out
        finally:
            databases.stop()


def collector_settings(folder: Path, network: str) -> Path:
    """The page's drop-in beside settings that say nothing, and the password that it names."""
    config = folder / "collector.toml"
    config.write_text("")
    (folder / "db-password").write_text("EDGE-PASSWORD\n")
    (folder / "collector.d").mkdir()
    drop_in = block("# /etc/edge/collector.d/province.toml of c1")
    (folder / "collector.d/province.toml").write_text(replaced(drop_in, {"10.20.0.": network}))
    return config


def store(databases: Databases, seq: int) -> None:
    hosts = ",".join(databases.network + number for number in ("11", "12", "13"))
    with closing(Storage(f"postgresql://edge@{hosts}/edge", "EDGE-PASSWORD")) as storage:
        scan = a_scan(seq, at=NOW, clock="ntp")
        assert storage.store([came("pleiku", "cong-1", scan)], NOW) == 1


def dump_and_put_back(databases: Databases, folder: Path) -> None:
    """The page's commands of the backup, and of its trial."""
    lines = [f"{databases.network}{number}:*:*:edge:EDGE-PASSWORD" for number in ("11", "12", "13")]
    (folder / ".pgpass").write_text("\n".join(lines) + "\n")
    (folder / ".pgpass").chmod(0o600)
    (folder / "backup").mkdir()
    words = {"/root/.pgpass": str(folder / ".pgpass"), "/backup": str(folder / "backup")}
    databases.shell(replaced(block("# each night"), words))
    (dump,) = (folder / "backup").iterdir()
    make = block("# once, on one of them").splitlines()
    made = [line for line in make if "CREATE ROLE" not in line]
    databases.shell("\n".join(made).replace("DATABASE edge", "DATABASE trial"))
    databases.await_database("trial")
    words = {"/root/.pgpass": str(folder / ".pgpass"), "THE-DUMP": str(dump)}
    databases.shell(replaced(block("# each month"), words))
