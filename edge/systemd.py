"""Tells systemd that a service is ready, alive or stopping. Without systemd it does nothing."""

import logging
import os
import socket

log = logging.getLogger(__name__)

#: For so long may systemd be too busy to take what must not get lost: that a service is ready.
PATIENCE_S = 5.0


class Notifier:
    """The other end of `Type=notify`. That nobody listens any more never stops a service."""

    def __init__(self, address: str | None = None) -> None:
        """*address*: where to send; None takes it from the environment, as systemd sets it."""
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._complained = False

    def ready(self, status: str = "") -> None:
        """The service does its work now."""
        self._send(f"READY=1\nSTATUS={status}", PATIENCE_S)

    def watchdog(self) -> None:
        """The service made progress."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1", PATIENCE_S)

    def _send(self, message: str, patience_s: float = 0.0) -> None:
        if not self._address:
            return
        # A leading "@" is how systemd writes an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            # A watchdog's turn is taken many times a second: one that is not heard costs no frame.
            sock.settimeout(patience_s)
            try:
                sock.sendto(message.encode(), address)
            except OSError as err:
                if not self._complained:
                    self._complained = True
                    log.warning("systemd does not hear %s: %s", message.partition("=")[0], err)
