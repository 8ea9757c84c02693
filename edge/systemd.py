"""Tells systemd that a service is ready, alive or stopping. Without systemd it does nothing."""

import os
import socket


class Notifier:
    """The other end of `Type=notify`."""

    def __init__(self, address: str | None = None) -> None:
        """*address*: where to send; None takes it from the environment, as systemd sets it."""
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address

    def ready(self, status: str = "") -> None:
        """The service does its work now."""
        self._send(f"READY=1\nSTATUS={status}")

    def watchdog(self) -> None:
        """The service made progress."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading "@" is how systemd writes an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(message.encode(), address)
