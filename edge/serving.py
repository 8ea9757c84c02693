"""Serves pages and requests: uvicorn, in a thread, so that the service's own turns go on beside it.

The home of uvicorn. What a client's certificate says, where one is asked for, is found in
`request.state.peer`.
"""

import asyncio
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge import cli
from edge.config import secret_path
from edge.errors import ConfigError
from edge.systemd import Notifier

log = logging.getLogger(__name__)

START_S = 60.0
#: How long a service waits between two of its own turns.
TURN_S = 0.5
#: How long requests may take to end when the service is told to stop.
END_S = 5.0
#: A connection of which a client's certificate may be asked lasts no longer: who says nothing on it
#: would otherwise keep its place for ever.
CONNECTION_S = 30.0
#: So many of them are served at once; others are told to come again.
CONNECTIONS = 200


class Server:
    """One web server."""

    def __init__(
        self,
        app: ASGIApp,
        beside: Path,
        *,
        host: str,
        port: int,
        certificate_file: str = "",
        key_file: str = "",
        proxies: Sequence[str] = (),
        clients_file: str = "",
    ) -> None:
        """Take the port; 0 takes a free one. *beside*: where certificate files are.

        *proxies*: addresses whose X-Forwarded-* headers are believed. *clients_file*: the authority
        of clients that may show a certificate; one that it did not sign, or that has ended, is
        refused. Raises ConfigError.
        """
        if bool(certificate_file) != bool(key_file):
            raise ConfigError("web.certificate_file and web.key_file are given both or not at all")
        self._https = bool(certificate_file)
        more: dict[str, Any] = {}
        if clients_file:
            more = {
                "http": _KnowingProtocol,
                "limit_concurrency": CONNECTIONS,
                "ssl_context_factory": _asking_clients(secret_path(clients_file, beside)),
            }
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=int(END_S),
            lifespan="off",
            ssl_certfile=secret_path(certificate_file, beside) if self._https else None,
            ssl_keyfile=secret_path(key_file, beside) if self._https else None,
            **more,
        )
        try:
            self._socket = _listen(host, port)
            # Certificates are read here, where an error can still be said in one line.
            config.load()
        except OSError as err:
            raise ConfigError(f"web: cannot serve at {host} port {port}: {err}") from err
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="web", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the pages are."""
        host, port = self._socket.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        return f"{'https' if self._https else 'http'}://{name}:{port}/"

    @property
    def serves(self) -> bool:
        """Whether it is up."""
        return self._server.started and self._thread.is_alive()

    def start(self) -> None:
        """Serve, in the background, from when this returns. Raises ConfigError."""
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ConfigError(f"web: the server at {self.url} did not start; see the log")
            time.sleep(0.02)

    def stop(self) -> None:
        """Let requests end, and stop."""
        self._server.should_exit = True
        self._thread.join(END_S + 1)
        self._socket.close()


def serve(server: Server, command: str, turn: Callable[[], object] = lambda: None) -> int:
    """Serve until we are told to stop, as *command*; gives the exit code.

    *turn* is the service's own work: it is done every half second, and systemd hears of each. A
    server that ends by itself gives 1, so that systemd starts us again. Raises ConfigError, and
    whatever *turn* raises.
    """
    notifier = Notifier()
    # From before anybody hears that we are ready: whoever does may tell us to stop at once.
    with cli.stop_signals() as stopping:
        server.start()
        print(f"{command}: {server.url}", file=sys.stderr, flush=True)
        notifier.ready(server.url)
        while not stopping() and server.serves:
            turn()
            notifier.watchdog()
            time.sleep(TURN_S)
        told = stopping()
        notifier.stopping()
        server.stop()
    return 0 if told else 1


class _KnowingProtocol(H11Protocol):
    """Tells requests what the client's certificate says, which ASGI has no place for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "peer": transport.get_extra_info("peercert")}
        self.loop.call_later(CONNECTION_S, transport.abort)


def _asking_clients(authority: Path) -> Callable[..., ssl.SSLContext]:
    def context(_: Any, usual: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        asking = usual()
        asking.minimum_version = ssl.TLSVersion.TLSv1_2
        asking.verify_mode = ssl.CERT_OPTIONAL
        asking.load_verify_locations(authority)
        # Trust ends at that authority, whoever signed it: others of the deployment are no clients.
        asking.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        return asking

    return context


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
