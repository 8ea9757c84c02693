"""A Debian that is booted by its own systemd, in systemd-nspawn: a unit without its board.

Its tree is made once (tests/trees.py) and kept; each machine writes into a layer of its own. It
shares the network of this machine, so that it reaches the broker of a test.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests import trees
from tests.fakes import eventually

ROOT = Path(__file__).parent.parent.parent

#: A start, and what is installed in it, on a machine that has much else to do.
START_S = 240.0

#: The one that `make test` makes, which has most in common with the tree for the camera; `make
#: debian` makes both.
SHORT = "trixie"

_NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")

#: How systemd-nspawn ends when its machine wants to start anew, with --keep-unit.
REBOOTS = 133

#: What a systemd says of itself that takes orders.
STATES = ("initializing", "starting", "running", "degraded")


def build(out: Path, package: str = "edge-scanner") -> Path:
    """The *package* of this version for this machine, in the folder *out*."""
    arch = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    script = str(ROOT / "provisioning/deb.py")
    words = ["--arch", arch, "--package", package, "--out", str(out)]
    subprocess.run([sys.executable, script, *words], check=True)
    (built,) = out.glob("*.deb")
    return built


def why_not(suite: str) -> str:
    """Why no machine of *suite* can be booted here; "" if one can."""
    for tool in ("systemd-nspawn", "nsenter", "dpkg-deb"):
        if shutil.which(tool) is None:
            return f"{tool} is missing: sudo apt install systemd-container util-linux dpkg"
    if not (suite == SHORT or os.environ.get("EDGE_DEBIAN") or trees.is_made(trees.UNITS[suite])):
        return f"there is no tree of {suite} yet: sudo make debian makes it, in minutes"
    return trees.cannot() or ""


class Machine:
    """One machine. It is off until it is switched on."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.root = folder / "root"
        self._log = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0
        for name in ("root", "upper", "work"):
            (folder / name).mkdir()
        options = f"lowerdir={tree},upperdir={folder}/upper,workdir={folder}/work"
        self._try("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        # Root in a container of others may not start one of its own.
        self._try(*_NSPAWN, "-D", str(self.root), "/bin/true")

    def _try(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            self.throw_away()
            pytest.skip(f"{command[0]} is not allowed here: {done.stderr[-300:]}")

    def switch_on(self) -> None:
        """Start it as a board does, with the kernel's command line of its boot partition.

        Returns at once. A container would keep that line over a reboot, so whatever asks for one
        switches it off instead, and the test switches it on again.
        """
        line = (self.root / "boot/firmware/cmdline.txt").read_text().split()
        words = [w.replace("=reboot", "=exit") for w in line if w.startswith("systemd.")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(*_NSPAWN, "-b", "-D", str(self.root), "--kill-signal=SIGKILL"),
                    *(f"--machine=edge-{os.getpid()}", "--resolv-conf=off", "--timezone=off"),
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )

    def wait_until_off(self) -> None:
        """Until it has switched itself off."""
        assert self._process is not None
        self._process.wait(START_S)

    def wait_until_up(self) -> None:
        """Until its systemd takes orders."""
        eventually(self._find_init, "the machine has started", limit_s=START_S)
        eventually(
            lambda: self.run("systemctl", "is-system-running").strip() in STATES,
            "its systemd answers",
            limit_s=START_S,
        )

    def start_anew(self) -> None:
        """Wait until it starts itself anew, and until its systemd takes orders again."""
        assert self._process is not None
        # A container asks whoever runs it to start it anew, by this exit code.
        assert self._process.wait(START_S) == REBOOTS, self.console()
        self.switch_on()
        self.wait_until_up()

    def write(self, path: Path, text: str) -> None:
        """Write a file of the running machine that is in its memory, such as one in /run."""
        inside = "/" / path.relative_to(self.root)
        self.run("sh", "-c", f"cat > {shlex.quote(str(inside))} <<'END'\n{text}END\n")

    def cut_the_power(self) -> None:
        """Every process of it is gone at once."""
        assert self._process is not None
        if self._find_init():
            os.kill(self._init, signal.SIGKILL)
        self._process.wait(60)
        self._init = 0

    def throw_away(self) -> None:
        """Off, and nothing of it remains mounted."""
        if self._process is not None and self._process.poll() is None:
            self.cut_the_power()
        subprocess.run(["umount", "--lazy", self.root], check=False)

    def run(self, *command: str) -> str:
        """What *command* says inside; "" where it cannot be run."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._init), "-a", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.stdout.decode(errors="replace")

    def property(self, unit: str, name: str) -> str:
        """What its systemd says of *unit*."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def main_pid(self, unit: str) -> int:
        """The main process of *unit*, as it is numbered inside; 0 for none."""
        said = self.property(unit, "MainPID")
        return int(said) if said.isdigit() else 0

    def kill(self, unit: str) -> None:
        """Have the main process of *unit* gone at once."""
        self._until_replaced(unit, "KILL")

    def hang(self, unit: str) -> None:
        """Let the main process of *unit* do nothing until its systemd has ended it for that."""
        self._until_replaced(unit, "STOP")

    def _until_replaced(self, unit: str, name: str) -> None:
        pid = self.main_pid(unit)
        assert pid, f"{unit} has no process: {self.console()}"

        def is_replaced() -> bool:
            now = self.main_pid(unit)
            if now == pid:
                # Again and again: on a loaded machine one that was stopped has gone on.
                self.run("kill", f"-{name}", str(pid))
            return now not in (0, pid)

        # Not as fast as it can: a systemd that is asked all the time sees no watchdog's time.
        pause = partial(time.sleep, 0.5)
        eventually(is_replaced, f"{unit} has another process", limit_s=START_S, turn=pause)

    def console(self) -> str:
        """The end of what it wrote on its console, for a test that fails."""
        return self._log.read_text(errors="replace")[-4000:]

    def _find_init(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the machine is off: {self.console()}"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            pids = [int(pid) for pid in children.read_text().split()]
            # Before it is systemd it is a helper, which goes away.
            found = [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == "systemd\n"]
        except OSError:
            return False
        self._init = found[0] if found else 0
        return bool(found)


def until_active(machine: Machine, unit: str, after: int = 0, limit_s: float = START_S) -> int:
    """Wait until *unit* is active with another main process than *after*; gives the process."""
    deadline = time.monotonic() + limit_s
    while True:
        pid = machine.main_pid(unit)
        if machine.property(unit, "ActiveState") == "active" and pid not in (0, after):
            return pid
        said = machine.run("journalctl", "-b", "-n", "40", "--no-pager", "-u", unit)
        assert time.monotonic() < deadline, f"{unit} is not active: {said}\n{machine.console()}"
        time.sleep(0.2)
