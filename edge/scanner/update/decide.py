"""Judges what was fetched, and begins the trial of a new version when nobody needs the unit.

Root, without a network. Everything that came from elsewhere is verified here again, and only what
was verified, in a folder where root alone writes, is put in place.
"""

import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from edge.clock import Clock
from edge.errors import UpdateError
from edge.messages import Machine
from edge.scanner.settings import ScannerSettings
from edge.scanner.update.apt import (
    PACKAGE,
    STATUS,
    Apt,
    Candidate,
    architecture,
    choose,
    installed_version,
)
from edge.scanner.update.bases import take_bases
from edge.scanner.update.conditions import why_not_now
from edge.scanner.update.fetch import MIRROR, read_problem, sum_of
from edge.scanner.update.record import FETCHED, GUARD, HELD, NEW, RESCUE, Ended, record_file

log = logging.getLogger(__name__)

#: Where our packages of Python lie, and the unit of the trial.
SOFTWARE = Path("usr/lib/edge-scanner")
TRIAL = "edge-update-trial.service"
SHIPPED, OWN = Path("usr/lib/systemd/system"), Path("etc/systemd/system")
#: What enables it.
WANTS = OWN / "multi-user.target.wants"
#: Of the software, what no trial imports.
_NOT_NEEDED = ("cv2", "opencv_python*", "zxingcpp*", "__pycache__")
#: Beside what a package becomes: what dpkg and its database need meanwhile.
MARGIN_BYTES = 64 << 20


class Decision:
    """One look at what is there."""

    def __init__(
        self,
        folder: Path,
        key: Path,
        settings: ScannerSettings,
        clock: Clock,
        machine: Callable[[], Machine],
        scans: Callable[[], bool],
        connected: Callable[[], bool],
        installed: Callable[[], str] = installed_version,
        root: Path = Path("/"),
        status: Path = STATUS,
    ) -> None:
        """*scans*, *connected*: whether the version *installed* has frames, and its broker, now.

        *root*, and *status*, what dpkg keeps, are for tests.
        """
        self._folder = folder
        self._key = key
        self._settings = settings
        self._clock = clock
        self._machine = machine
        self._scans = scans
        self._connected = connected
        self._installed = installed
        self._root = root
        self._status = status
        self._file = record_file(folder)
        self._record = self._file.read()
        known = hashlib.sha256(key.read_bytes()).hexdigest()
        if self._record.key != known:
            self._record.key, self._record.signed_at, self._record.failed = known, 0.0, {}
            self._file.write(self._record)

    def make(self) -> bool:
        """Prepare the trial of a new version, if there is one and the time is right.

        True if `systemctl start edge-update-trial` is next. Raises UpdateError.
        """
        if self._record.stuck:
            self._help()
            return False
        if self._record.phase != "idle":
            log.info("%s is on trial already", self._record.version)
            return False
        problem = read_problem(self._folder / FETCHED)
        if problem.reason:
            self._tell(problem.version, "failed", problem.reason)
        mirror = self._folder / FETCHED / MIRROR
        if not mirror.is_dir():
            return False
        apt = Apt(self._folder / "apt", f"copy:{mirror}", self._key, self._status)
        version = ""
        try:
            apt.update()
            self._check_age(apt)
            take_bases(apt.signed(), self._root)
            chosen = self._choose(apt.candidates(architecture()), self._installed())
            if chosen is None:
                if not problem.reason:
                    self._forget_passing()
                return False
            version = chosen.version
            why = self._why_not_now(chosen, scans=True)
            if why:
                self._tell(version, "waiting", why)
                return False
            self._prepare(apt, chosen)
        except UpdateError as err:
            self._tell(version, "failed", str(err))
            raise
        return True

    def _help(self) -> None:
        """Leave a way out for a unit that cannot go back: the version of before, or a newer one.

        The trial, which goes on trying, takes it and nothing else; and the record is the trial's.
        Raises UpdateError.
        """
        record, mirror = self._record, self._folder / FETCHED / MIRROR
        rescue = self._folder / RESCUE
        if rescue.is_dir() or not mirror.is_dir():
            return
        apt = Apt(self._folder / "apt", f"copy:{mirror}", self._key, self._status)
        apt.update()
        apt.check_age(record.signed_at)
        candidates = apt.candidates(architecture())
        if whole_version(self._folder / HELD, record.held) == record.before:
            way_out = self._choose(candidates, record.before)
        else:
            known = (each for each in candidates if each.version == record.before)
            way_out = next(known, None) or self._choose(candidates, record.before)
        if way_out is None:
            return
        why = self._why_not_now(way_out, scans=self._scans())
        if why:
            log.warning("%s would help, but: %s", way_out.version, why)
            return
        new = rescue.with_name(rescue.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for package in apt.download(way_out.version):
            package.rename(new / package.name)
        os.sync()
        new.rename(rescue)
        log.warning("%s is to help this unit, which cannot go back", way_out.version)

    def _choose(self, candidates: list[Candidate], installed: str) -> Candidate | None:
        unit = self._settings.unit
        return choose(candidates, unit.id, unit.area, installed, self._record.failed)

    def _check_age(self, apt: Apt) -> None:
        apt.check_age(self._record.signed_at)
        signed_at = apt.signed_at().timestamp()
        if signed_at > self._record.signed_at:
            self._record.signed_at = signed_at
            self._file.write(self._record)

    def _why_not_now(self, chosen: Candidate, *, scans: bool) -> str:
        needed = 2 * (chosen.package_bytes + chosen.installed_bytes) + MARGIN_BYTES
        update, now = self._settings.update, self._clock.now()
        return why_not_now(update, now, self._machine(), needed, scans=scans)

    def _prepare(self, apt: Apt, chosen: Candidate) -> None:
        before = self._installed()
        self._hold(apt, before)
        new = self._folder / NEW
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for package in apt.download(chosen.version):
            package.rename(new / package.name)
        make_guard(self._folder, self._root)
        # All of it is on disk before it is begun.
        os.sync()
        now = self._clock.now()
        record = self._record
        record.phase, record.version, record.before = "installing", chosen.version, before
        record.boot, record.starts, record.reason = now.boot, 0, ""
        record.needs_frames = self._scans()
        record.needs_broker = self._connected() and record.unsure != chosen.version
        record.lacks_broker = False
        self._file.write(record)
        log.info("putting %s in place of %s", chosen.version, before)

    def _hold(self, apt: Apt, version: str) -> None:
        """Have the package of *version*, to go back to. Raises UpdateError."""
        held = self._folder / HELD
        held.mkdir(exist_ok=True)
        if whole_version(held, self._record.held) == version:
            return
        try:
            found = apt.download(version)
        except UpdateError:
            raise UpdateError(
                f"there would be no way back: neither this unit nor the repository has the package"
                f" of {version}; put that one into the repository as well"
            ) from None
        for old in held.glob("*.deb"):
            old.unlink()
        for package in found:
            if package.name.startswith(f"{PACKAGE}_"):
                package.rename(held / package.name)
                self._record.held = sum_of(held / package.name)
                self._file.write(self._record)

    def _forget_passing(self) -> None:
        """What was wrong with a source is no longer, and what waited was withdrawn."""
        last = self._record.last
        if last and (last.state == "waiting" or (last.state == "failed" and not last.version)):
            self._record.last = None
            self._file.write(self._record)

    def _tell(self, version: str, state: Ended, reason: str) -> None:
        if self._record.tell(version, state, reason, self._clock.now()):
            log.log(logging.INFO if state == "waiting" else logging.ERROR, "%s: %s", state, reason)
            self._file.write(self._record)


def held_version(held: Path) -> str:
    """Of which version the package in *held* is; "" if there is none."""
    for package in held.glob(f"{PACKAGE}_*.deb"):
        words = ["dpkg-deb", "--field", str(package), "Version"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return ""


def whole_version(held: Path, known: str) -> str:
    """As `held_version`; "" too for a package that is not what it was, by its SHA-256 *known*."""
    try:
        sums = [sum_of(path) for path in held.glob(f"{PACKAGE}_*.deb")]
    except OSError:
        return ""
    return "" if known and sums != [known] else held_version(held)


def make_guard(folder: Path, root: Path) -> None:
    """Keep the present software as it is, beside the one that dpkg is going to replace.

    Without what only scanning needs, which is nearly all of its size. Its unit file lies where no
    package touches it.
    """
    guard = folder / GUARD
    shutil.rmtree(guard, ignore_errors=True)
    shutil.copytree(root / SOFTWARE, guard, ignore=shutil.ignore_patterns(*_NOT_NEEDED))
    own = root / OWN / TRIAL
    shutil.copyfile(root / SHIPPED / TRIAL, own)
    link = root / WANTS / TRIAL
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(Path("/") / OWN / TRIAL)


def remove_guard(folder: Path, root: Path) -> None:
    """The trial is over."""
    (root / WANTS / TRIAL).unlink(missing_ok=True)
    (root / OWN / TRIAL).unlink(missing_ok=True)
    for part in (NEW, RESCUE):
        shutil.rmtree(folder / part, ignore_errors=True)
    shutil.rmtree(folder / GUARD, ignore_errors=True)
