"""Requests to the desk over a socket of this machine, one line of JSON each way.

    {"do": "overlaps", "with": {"case": "…", "since": "2021-07-01", "until": "2021-07-21"}}
    {"answer": […]}    or    {"error": "case … is asked, not approved; nothing can be asked"}

`edge.desk_socket` is the other end. The kernel says whose account that runs under; nothing has to
be believed. A page gives "worker" and "password" of who sits before it, besides. `do` is the name
of a method of `Desk` or `Officer`, and `with` its arguments, checked against the types there.
"""

import inspect
import logging
import math
import os
import pwd
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from edge.clock import Clock
from edge.errors import ConfigError, DeskError, EdgeError
from edge.limits import RateLimit
from edge.tracing.workers import ADMINISTRATOR, Worker, Workers

log = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
#: How long the other end may take to say what it wants, and to take the answer.
PATIENCE_S = 2.0
#: So many wrong passwords at once, and then one in so many seconds.
TRIES = 5
TRY_S = 60.0
_CREDENTIALS = struct.Struct("3i")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for."""

    do: str
    with_: dict[str, Any] = msgspec.field(name="with", default_factory=dict)
    worker: str = ""
    password: str = ""


class RequestServer:
    """Answers one request after another."""

    def __init__(
        self, path: Path, answerers: Sequence[object], workers: Workers, clock: Clock
    ) -> None:
        """Listen on *path* for requests to the methods of *answerers*. Raises ConfigError.

        Everybody on this machine may speak to it.
        """
        self._path = path
        self._workers = workers
        self._clock = clock
        # Of a name from one account of this machine, so that nobody shuts out who comes through
        # another; and of an account, whatever names it tries. All that come through pages share
        # theirs, and pages let nobody try that often.
        self._of_name = RateLimit(clock, TRIES, TRY_S)
        self._of_account = RateLimit(clock, TRIES * 12, TRY_S / 12)
        self._methods = {k: v for each in answerers for k, v in _methods(each).items()}
        try:
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._socket.bind(str(path))
            # Who may ask is decided by who they are, not by who may open the socket.
            path.chmod(0o666)
            self._socket.listen(16)
        except OSError as err:
            raise ConfigError(f"desk.socket {path}: cannot listen there: {err.strerror}") from err

    def step(self, timeout_s: float) -> bool:
        """Answer one request, if one comes within *timeout_s*; gives whether one came."""
        self._socket.settimeout(timeout_s)
        try:
            connection, _ = self._socket.accept()
        except TimeoutError:
            return False
        with connection:
            try:
                self._serve(connection)
            except OSError as err:
                # Whoever asked has gone; what they saw is in the audit all the same.
                log.info("a request was not finished: %s", err)
        return True

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self, connection: socket.socket) -> None:
        line = self._line(connection)
        try:
            answer = {"answer": self._answer(line, _account(connection))}
        except EdgeError as err:
            answer = {"error": str(err)}
        connection.settimeout(PATIENCE_S)
        connection.sendall(msgspec.json.encode(answer) + b"\n")

    def _line(self, connection: socket.socket) -> bytes:
        """What the other end says, within PATIENCE_S in all: who trickles keeps nobody waiting."""
        until = self._clock.monotonic() + PATIENCE_S
        received = b""
        while b"\n" not in received and len(received) <= MOST_BYTES:
            # A socket's zero means that it does not wait at all.
            connection.settimeout(max(0.001, until - self._clock.monotonic()))
            part = connection.recv(65_536)
            if not part:
                break
            received += part
        return received[:MOST_BYTES]

    def _answer(self, line: bytes, account: tuple[int, str]) -> Any:
        try:
            request = msgspec.json.decode(line, type=Request)
            arguments, method = self._methods[request.do]
            given = msgspec.to_builtins(msgspec.convert(request.with_, arguments))
        except KeyError:
            raise DeskError(f"the desk does nothing called {request.do!r}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            raise DeskError(f"this request cannot be read: {err}") from None
        by = self._who(request, account)
        return method(by, **given)

    def _who(self, request: Request, account: tuple[int, str]) -> Worker:
        uid, name = account
        if request.worker:
            return self._signed_in(request, uid)
        if uid in (0, os.geteuid()):
            return ADMINISTRATOR
        return self._workers.known(name)

    def _signed_in(self, request: Request, uid: int) -> Worker:
        """Who gives this password. Only wrong ones count, and while one waits none is looked at."""
        tries = ((self._of_name, f"{uid} {request.worker[:32]}"), (self._of_account, str(uid)))
        wait = max(limit.wait_s(caller) for limit, caller in tries)
        if wait:
            log.warning("sign-ins from account %d have to wait", uid)
            raise DeskError(f"too many wrong passwords; try again in {math.ceil(wait)} s")
        worker = self._workers.signed_in(request.worker, request.password)
        for limit, caller in tries:
            limit.forgive(caller)
        return worker


def _methods(answerer: object) -> dict[str, tuple[type, Callable[..., Any]]]:
    """The public methods of *answerer* that take *by*, each with the struct of its arguments."""
    found: dict[str, tuple[type, Callable[..., Any]]] = {}
    for name, method in inspect.getmembers(answerer, inspect.ismethod):
        parameters = list(inspect.signature(method).parameters.values())
        if name.startswith("_") or not parameters or parameters[0].name != "by":
            continue
        hints = get_type_hints(method)
        fields = [
            (p.name, hints[p.name], *([] if p.default is p.empty else [p.default]))
            for p in parameters[1:]
        ]
        struct_ = msgspec.defstruct(
            name, fields, forbid_unknown_fields=True, kw_only=True, frozen=True
        )
        found[name] = (struct_, method)
    return found


def _account(connection: socket.socket) -> tuple[int, str]:
    """The user id and name of the other end, as the kernel knows them."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(packed)
    try:
        return uid, pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid, f"uid-{uid}"
