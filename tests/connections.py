"""Turning connections until something has happened."""

from collections.abc import Callable

from edge.mqtt import Connection, Received
from tests.fakes import eventually

#: Makes a connection: see the fixture of that name.
Connect = Callable[..., Connection]


def until_connected(connection: Connection) -> None:
    eventually(lambda: connection.connected, "connected", turn=lambda: connection.step(0.05))


def receive(connection: Connection, count: int) -> list[Received]:
    received: list[Received] = []

    def turn() -> None:
        connection.step(0.05)
        received.extend(connection.take())

    eventually(lambda: len(received) >= count, f"{count} messages", turn=turn)
    return received
