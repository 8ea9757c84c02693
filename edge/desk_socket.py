"""Asks the tracing desk that runs on this machine, over its socket.

One line of JSON each way: what to do, with which arguments, and for a page, the name and password
of who sits before it; without these the kernel says whose account asks. What can be asked for are
the methods of `edge.tracing.desk.Desk`.
"""

import socket
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import DeskError

#: How long an answer may take, in seconds.
ANSWER_S = 120.0


def ask(path: Path, do: str, worker: str = "", password: str = "", /, **arguments: Any) -> Any:
    """What the desk that listens on *path* answers. Raises DeskError with its refusal."""
    request = {"do": do, "with": arguments, "worker": worker, "password": password}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode(request) + b"\n")
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                answer = file.read()
    except OSError as err:
        raise DeskError(
            f"{path}: the desk does not answer ({err.strerror or err}); is edge-trace running?"
        ) from err
    said = msgspec.json.decode(answer) if answer else {"error": "the desk gave no answer"}
    if "error" in said:
        raise DeskError(said["error"])
    return said["answer"]
