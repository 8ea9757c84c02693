"""Serves the pages: uvicorn, in a thread, so that the service's own turns go on beside it."""

import logging
import socket
import threading
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from edge.config import secret_path
from edge.dashboard.settings import WebSettings
from edge.errors import ConfigError

log = logging.getLogger(__name__)

START_S = 15.0
#: How long requests may take to end when the service is told to stop.
END_S = 5.0


class Server:
    """One web server."""

    def __init__(self, app: Starlette, web: WebSettings, beside: Path) -> None:
        """Take the port. *beside*: where certificate files are. Raises ConfigError."""
        if bool(web.certificate_file) != bool(web.key_file):
            raise ConfigError("web.certificate_file and web.key_file are given both or not at all")
        self._https = bool(web.certificate_file)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(web.proxies),
            forwarded_allow_ips=list(web.proxies),
            timeout_graceful_shutdown=int(END_S),
            lifespan="off",
            ssl_certfile=secret_path(web.certificate_file, beside) if self._https else None,
            ssl_keyfile=secret_path(web.key_file, beside) if self._https else None,
        )
        try:
            self._socket = _listen(web.host, web.port)
            # Certificates are read here, where an error can still be said in one line.
            config.load()
        except OSError as err:
            raise ConfigError(f"web: cannot serve at {web.host} port {web.port}: {err}") from err
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
