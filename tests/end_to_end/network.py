"""What the field does to the parts of a test: networks, a relay in the way, full disks, clocks.

Each part may stand in a network namespace of its own. They hang on a bridge in one more, the hub,
and nothing of it touches the machine's own network. The relay stands in the hub, between each part
and the broker: a cut on one side of it is a true black hole for whoever is on that side.
"""

import fcntl
import json
import os
import secrets
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from edge.demo.tied import tied

_LOCKS = Path("/run/lock")


class Undo:
    """What a run has taken from the machine, given back at its end; after a crash, by the next."""

    def __init__(self) -> None:
        for path in _LOCKS.glob("edge-test-*"):
            with path.open() as left, suppress(BlockingIOError):
                # While its owner lives it is locked.
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _undo(left.read())
                path.unlink(missing_ok=True)
        self._path = _LOCKS / f"edge-test-{os.getpid()}-{secrets.token_hex(3)}"
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def later(self, *command: str) -> None:
        """Run *command* at the end, before those that were given earlier."""
        self._file.write(json.dumps(command) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Give everything back."""
        _undo(self._path.read_text())
        self._path.unlink()
        self._file.close()


def _undo(commands: str) -> None:
    for line in reversed(commands.splitlines()):
        # It may be gone already; the others are to go nevertheless.
        subprocess.run(json.loads(line), capture_output=True, check=False)


class Network(Protocol):
    """Where parts stand and how they reach each other."""

    def within(self, name: str) -> list[str]:
        """The command that runs another one where *name* is."""
        ...

    def address(self, name: str) -> str:
        """Where *name* is reached from the hub; of "hub", from everywhere."""
        ...


class Loopback:
    """Everybody on this machine's own loopback."""

    def within(self, name: str) -> list[str]:
        return []

    def address(self, name: str) -> str:
        return "127.0.0.1"


class Namespaces:
    """A namespace for each of some names, and the hub between them."""

    def __init__(self, names: Sequence[str], undo: Undo) -> None:
        self._mark = f"edge-{secrets.token_hex(3)}"
        self._numbers = {name: number for number, name in enumerate(["hub", *names], start=1)}
        for name in self._numbers:
            undo.later("ip", "netns", "del", self._space(name))
            _do("ip", "netns", "add", self._space(name))
            self._ip(name, "link", "set", "lo", "up")
        self._ip("hub", "link", "add", "bridge", "type", "bridge")
        self._ip("hub", "addr", "add", f"{self.address('hub')}/24", "dev", "bridge")
        self._ip("hub", "link", "set", "bridge", "up")
        for name in names:
            self._join(name)

    @staticmethod
    def why_not() -> str:
        """Why there can be none on this machine; "" if there can."""
        if os.geteuid() != 0:
            return "not root"
        if shutil.which("ip") is None:
            return "ip is missing: sudo apt install iproute2"
        probe = f"edge-{secrets.token_hex(3)}"
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
        return made.stderr.decode().strip() if made.returncode else ""

    def within(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", self._space(name)]

    def address(self, name: str) -> str:
        return f"10.99.0.{self._numbers[name]}"

    def cut(self, name: str, *, silently: bool) -> None:
        """Part *name* from the hub: as if its cable were pulled, or *silently* with no sign."""
        if silently:
            self._ip("hub", "link", "set", self._port(name), "type", "bridge_slave", "state", "0")
        else:
            self._ip("hub", "link", "set", self._port(name), "down")

    def mend(self, name: str) -> None:
        """Let *name* reach the hub again."""
        self._ip("hub", "link", "set", self._port(name), "up")
        self._ip("hub", "link", "set", self._port(name), "type", "bridge_slave", "state", "3")

    def use_name_server(self, name: str, undo: Undo) -> None:
        """Let programs that are started in *name* from now on ask the hub for addresses."""
        folder = Path("/etc/netns") / self._space(name)
        undo.later("rm", "-r", str(folder))
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {self.address('hub')}\n")

    def _join(self, name: str) -> None:
        port, space = self._port(name), self._space(name)
        self._ip("hub", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("hub", "link", "set", port, "master", "bridge", "up")
        self._ip(name, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        self._ip(name, "link", "set", "eth0", "up")

    def _space(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def _port(self, name: str) -> str:
        return f"to-{self._numbers[name]}"

    def _ip(self, name: str, *command: str) -> None:
        _do("ip", "-n", self._space(name), *command)


class Relay:
    """The relays of all parts, in one process: see relay.py."""

    def __init__(
        self,
        routes: Mapping[str, int],
        to: tuple[str, int],
        log: Path,
        *,
        within: Sequence[str] = (),
        address: str = "127.0.0.1",
        name_server: bool = False,
    ) -> None:
        """Each name of *routes* gets a port at *address* that leads *to* the broker.

        *name_server*: there is one too, which at first says nothing.
        """
        given = [f"{name}={port}" for name, port in routes.items()]
        command = [sys.executable, "-m", "tests.end_to_end.relay"]
        command += ["--listen", address, "--to", f"{to[0]}:{to[1]}"]
        command += ["--names"] if name_server else []
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                tied([*within, *command, *given]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        assert ready == b"ready\n", f"the relay did not start: {log.read_text()[-500:]}"

    def set(self, route: str, mode: str, value: float = 0.0) -> None:
        """From now on treat what passes on *route* so: see relay.py for the modes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{route} {mode} {value}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """End it, and with it all connections."""
        self._process.kill()
        self._process.communicate()


class SmallDisk:
    """A file system of its own in *folder*, small enough to be filled."""

    def __init__(self, folder: Path, megabytes: int, undo: Undo) -> None:
        image = folder.with_suffix(".img")
        with image.open("wb") as file:
            file.truncate(megabytes * 1_000_000)
        folder.mkdir(parents=True)
        _do("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        undo.later("umount", "-l", str(folder))
        _do("mount", "-o", "loop", str(image), str(folder))
        self.folder = folder
        self._ballast = folder / "ballast"

    @staticmethod
    def why_not(folder: Path) -> str:
        """Why there can be none on this machine; "" if there can. Tries it in *folder*."""
        if os.geteuid() != 0:
            return "not root"
        undo = Undo()
        try:
            SmallDisk(folder / "probe", 8, undo)
        except (OSError, subprocess.CalledProcessError) as err:
            return f"no loop device can be mounted: {getattr(err, 'stderr', '') or err}"
        finally:
            undo.close()
        return ""

    def fill(self) -> None:
        """Leave no room, whatever has been freed."""
        with self._ballast.open("ab") as file:
            size, step = file.tell(), 1 << 30
            while step >= 1024:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)


class ShiftedClock:
    """A wall clock that can be set while a process runs; see clock_shift.c."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {"LD_PRELOAD": str(library), "EDGE_CLOCK_SHIFT": str(file)}

    def set(self, seconds: int) -> None:
        """Let it differ from the true clock by *seconds*."""
        # In place: processes have it mapped.
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))


def build_clock_shift(folder: Path) -> Path | str:
    """The library that shifts clocks, made in *folder*; or why it cannot be made."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return "no C compiler: sudo apt install gcc"
    library = folder / "clock_shift.so"
    source = Path(__file__).with_name("clock_shift.c")
    try:
        _do(compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source))
    except subprocess.CalledProcessError as err:
        return str(err.stderr.decode()[:200])
    return library


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
