"""Puts a version in place, looks whether the unit reaches scanning with it, and goes back if not.

It runs from a copy of the software of before (`make_guard`), so it does not change under itself.
Each step is on record before it is done, and doing it again does no harm: whenever the power goes,
the next start goes on where it was, before the scanner starts.
"""

import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.clock import Clock
from edge.errors import UpdateError
from edge.scanner.pulse import PULSE, read_pulse
from edge.scanner.update.apt import PACKAGE
from edge.scanner.update.decide import remove_guard
from edge.scanner.update.fetch import sum_of
from edge.scanner.update.record import HELD, NEW, RESCUE, Ended, record_file

log = logging.getLogger(__name__)

#: How long a version may take to scan, and for how long it must, with the same process.
TRIAL_S, STEADY_S = 120.0, 15.0
#: How long it may take to its broker, once it scans. A network is slower than a camera.
BROKER_S = 300.0
#: A service that ended by itself so often will not come up.
MOST_ENDS = 3
#: So often may the power, or whatever else, cut a trial short; then it is back to what was.
MOST_STARTS = 5
LOOK_S = 0.5
#: How long another dpkg is waited for, and what is said while there is one.
LOCKED_S = 300.0
_LOCKED = re.compile(r"locked by another process|unable to (?:acquire|lock)")

SCANNER = "edge-scanner.service"


@dataclass(frozen=True)
class Seen:
    """What is to be seen of the scanner."""

    active: bool
    #: Ends since it was last started on purpose.
    ends: int
    #: Of the process that scans; all empty while none does.
    pid: int = 0
    version: str = ""
    frames: int = 0
    #: To its broker; None of a version that does not tell.
    connected: bool | None = None


class Busy(UpdateError):
    """Another dpkg is at work, for longer than one waits; nothing was done."""


class Machine(Protocol):
    """What a trial does to the machine."""

    def install(self, packages: list[Path]) -> str:
        """Put *packages* in place; why it failed, "" if it did not. Raises Busy."""
        ...

    def seen(self) -> Seen:
        """How the scanner is."""
        ...

    def clean(self) -> None:
        """Remove what the trial needed."""
        ...


class Trial:
    """One trial, or the rest of one."""

    def __init__(
        self,
        folder: Path,
        machine: Machine,
        clock: Clock,
        ready: Callable[[], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """*ready* is called when the package is whole, so that the scanner may start."""
        self._folder = folder
        self._machine = machine
        self._clock = clock
        self._ready = ready
        self._pause = pause
        self._file = record_file(folder)
        self._record = self._file.read()

    def go_on(self) -> None:
        """Bring it to its end. Raises UpdateError where even the way back fails, for now."""
        record = self._record
        if record.phase == "idle":
            self._ready()
            self._machine.clean()
            return
        self._begin()
        if record.phase == "back":
            self._take_help()
        if record.phase == "installing":
            self._install()
        if record.phase == "trial":
            self._ready()
            why = self._judge()
            if record.lacks_broker:
                # Whose fault that is, is not known before the version of before was looked at.
                self._turn_back(why, for_good=False)
            elif why:
                self._turn_back(why)
            else:
                self._finish()
        if record.phase == "back":
            self._go_back()
        if record.phase == "before":
            self._ready()
            self._compare()
        self._ready()
        self._machine.clean()

    def _begin(self) -> None:
        record, boot = self._record, self._clock.now().boot
        record.starts += 1
        if record.boot == boot:
            # In one boot the scanner goes on with what is there until it is replaced.
            self._ready()
        record.boot = boot
        if record.starts > MOST_STARTS and record.phase in ("installing", "trial"):
            # A night of power cuts says nothing of the version; two such trials may.
            again, record.cut = record.cut == record.version, record.version
            self._turn_back(f"it was cut short {record.starts - 1} times", for_good=again)
        self._file.write(record)

    def _install(self) -> None:
        record = self._record
        try:
            why = self._machine.install(sorted((self._folder / NEW).glob("*.deb")))
        except Busy as err:
            # Another time, and it was no fault of the version; but half of it may be in place.
            half = record.starts > 1
            record.starts -= 1
            record.phase = "installing" if half else "idle"
            self._tell("waiting", str(err))
            if half:
                raise
            return
        if why:
            self._turn_back(why)
        else:
            record.phase = "trial"
            self._file.write(record)

    def _judge(self) -> str:
        """Why the new version is no good; "" if it scans, with its broker where it had one before.

        If it is for want of the broker alone, the record says so.
        """
        record = self._record
        until = self._clock.monotonic() + TRIAL_S
        steady: Seen | None = None
        since = 0.0
        give_up: float | None = None
        while True:
            seen, now = self._machine.seen(), self._clock.monotonic()
            if not (seen.active and seen.version == record.version):
                steady = None
            elif steady is None or steady.pid != seen.pid:
                steady, since = seen, now
            elif now - since >= STEADY_S and (
                seen.frames > steady.frames or not record.needs_frames
            ):
                if seen.connected is not False or not record.needs_broker:
                    log.info("%s scans", record.version)
                    return ""
                give_up = now + BROKER_S if give_up is None else give_up
                until = now + TRIAL_S
                if now >= give_up:
                    record.lacks_broker = True
                    return f"it scans, but had no connection to its broker within {BROKER_S:.0f} s"
            if seen.ends >= MOST_ENDS:
                return f"it ended by itself {seen.ends} times"
            if now >= until:
                lacks = "no frames" if seen.version == record.version else "not scanning"
                return f"{lacks} within {TRIAL_S:.0f} s"
            self._pause(LOOK_S)

    def _turn_back(self, why: str, *, for_good: bool = True) -> None:
        record = self._record
        log.error("%s: %s; going back to %s", record.version, why, record.before)
        record.phase, record.reason = "back", why
        if for_good:
            record.fail(record.version, why)
        self._file.write(record)

    def _take_help(self) -> None:
        """Take what was found for a unit that cannot go back: its lost package, or another way on.

        Each step may be done again after a power cut; what is lost by one is found again.
        """
        record, rescue = self._record, self._folder / RESCUE
        if not record.stuck or not any(rescue.glob(f"{PACKAGE}_*.deb")):
            return
        if lost := _packages_of(rescue, record.before):
            held = self._folder / HELD
            held.mkdir(exist_ok=True)
            record.held = sum_of(lost[0])
            for old in held.glob("*.deb"):
                old.unlink()
            lost[0].rename(held / lost[0].name)
            shutil.rmtree(rescue, ignore_errors=True)
        else:
            new = self._folder / NEW
            shutil.rmtree(new, ignore_errors=True)
            rescue.rename(new)
            record.phase, record.version, record.reason = "installing", _version_in(new), ""
            # It has no way back, so what scans is taken.
            record.needs_broker = record.lacks_broker = False
            # As if begun before: what is in place is nothing to stay at while another dpkg works.
            record.starts = 2
            log.warning("cannot go back to %s: trying %s", record.before, record.version)
        os.sync()
        self._file.write(record)

    def _go_back(self) -> None:
        record = self._record
        try:
            why = self._machine.install(_packages_of(self._folder / HELD, record.before))
        except Busy as err:
            why = str(err)
        if why:
            why = f"cannot go back to {record.before}, trying again: {why}"
            # Before the next try, which may be as vain: somebody has to come.
            self._tell("failed", f"{record.reason}; {why}" if record.reason else why)
            self._ready()
            raise UpdateError(why)
        if record.lacks_broker:
            record.phase = "before"
            self._file.write(record)
        else:
            self._end("rolled_back", record.reason)

    def _compare(self) -> None:
        """Whether the version of before has the broker that the new one lacked."""
        record = self._record
        until = self._clock.monotonic() + BROKER_S
        while self._clock.monotonic() < until:
            seen = self._machine.seen()
            if seen.active and seen.version == record.before and seen.connected:
                # A network may have come back just now, for all units at once; twice it has not.
                again, record.lacked = record.lacked == record.version, record.version
                why = f"{record.reason}; {record.before} has one again"
                if again:
                    record.fail(record.version, why)
                self._end("rolled_back", why if again else f"{why}, so it is tried once more")
                return
            self._pause(LOOK_S)
        # A network or a broker that is away is no fault of the version.
        record.unsure = record.version
        self._end("rolled_back", f"{record.reason}; nor has {record.before}, so it is tried again")

    def _finish(self) -> None:
        """What is in place now is what is gone back to the next time."""
        held = self._folder / HELD
        held.mkdir(exist_ok=True)
        before = list(held.glob("*.deb"))
        for package in (self._folder / NEW).glob(f"{PACKAGE}_*.deb"):
            shutil.copyfile(package, held / f"{package.name}.new")
            os.sync()
            (held / f"{package.name}.new").rename(held / package.name)
            before = [path for path in before if path.name != package.name]
            self._record.held = sum_of(held / package.name)
        self._end("installed", "")
        for path in before:
            path.unlink()

    def _end(self, state: Ended, reason: str) -> None:
        self._record.phase = "idle"
        self._tell(state, reason)

    def _tell(self, state: Ended, reason: str) -> None:
        record = self._record
        record.tell(record.version, state, reason, self._clock.now())
        self._file.write(record)


def _packages_of(held: Path, version: str) -> list[Path]:
    """The package of *version* in *held*; its name may say an epoch in apt's way or not at all."""
    wanted = version.rpartition(":")[2]
    return [
        path
        for path in sorted(held.glob(f"{PACKAGE}_*.deb"))
        if path.name.split("_")[1].rpartition("%3a")[2] == wanted
    ]


def _version_in(folder: Path) -> str:
    """Of which version the package in *folder* is, as apt has named it."""
    (package,) = folder.glob(f"{PACKAGE}_*.deb")
    return package.name.split("_")[1].replace("%3a", ":")


class UnitMachine:
    """This machine, by its dpkg and its systemd."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self, packages: list[Path]) -> str:
        """See Machine."""
        if not packages:
            return "its package is gone"
        # What a power cut left half-way first; what it says is said again by what comes then.
        _dpkg("--configure", "-a")
        return _dpkg("--install", *map(str, packages))

    def seen(self) -> Seen:
        """See Machine."""
        names = "ActiveState,MainPID,NRestarts"
        done = subprocess.run(
            ["systemctl", "show", "-p", names, SCANNER], capture_output=True, text=True, check=False
        )
        said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        pulse = read_pulse(PULSE)
        active = said.get("ActiveState") == "active" and said.get("MainPID") == str(pulse.pid)
        ends = int(said.get("NRestarts") or 0)
        return Seen(active, ends, pulse.pid, pulse.software, pulse.frames, pulse.connected)

    def clean(self) -> None:
        """See Machine."""
        remove_guard(self._folder, Path("/"))
        subprocess.run(["systemctl", "daemon-reload"], check=False)


def _dpkg(*words: str) -> str:
    """Run dpkg; why it failed, "" if it did not. Raises Busy."""
    until = time.monotonic() + LOCKED_S
    while True:
        done = subprocess.run(
            ["dpkg", "--force-confold", "--force-confdef", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C",
                "DEBIAN_FRONTEND": "noninteractive",
            },
        )
        said = done.stdout.strip()
        if done.returncode == 0:
            return ""
        if _LOCKED.search(said) and time.monotonic() >= until:
            raise Busy(f"another dpkg has been at work for {LOCKED_S:.0f} s")
        if not _LOCKED.search(said):
            log.error("dpkg %s: %s", words[0], said[-2000:])
            return f"dpkg: {' '.join(said.splitlines()[-3:])}"
        time.sleep(2)
