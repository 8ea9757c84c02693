"""Brings what a web server or a stick has for this unit: the part with a network and no rights.

apt judges it here as well, so that nothing is downloaded that root would refuse afterwards; root
does not rely on it, and judges the copy that this leaves.
"""

import glob
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from edge.errors import UpdateError, UpdateRefused
from edge.scanner.settings import ScannerSettings
from edge.scanner.update.apt import PACKAGE, STATUS, Apt, architecture, choose

log = logging.getLogger(__name__)

#: What a stick's folder is called, and what of it is looked for.
STICK = "edge-updates"
#: Within the folder of what was fetched: a small repository, and what was wrong.
MIRROR, PROBLEM = "mirror", "problem.json"
#: Longer than any that we write.
PROBLEM_BYTES = 65_536
#: Left free of the disk: scans come first.
KEEP_FREE_BYTES = 256 << 20


class Problem(Struct, frozen=True, kw_only=True):
    """Why nothing could be fetched that somebody should hear of."""

    version: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Present:
    """What the unit has."""

    installed: str
    #: The version whose package root keeps; "" for none.
    held: str
    #: Versions that it does not take again, and why.
    failed: dict[str, str]
    #: All that is installed, as dpkg keeps it.
    status: Path = STATUS


def fetch(settings: ScannerSettings, folder: Path, key: Path, present: Present) -> str:
    """Leave what is for this unit in *folder*; gives its version, "" if there is nothing new.

    Raises UpdateError where no source
    could be asked; what is forged or cannot be installed is left there as a Problem.
    """
    (folder / PROBLEM).unlink(missing_ok=True)
    sources = _sources(settings)
    trouble: UpdateError | None = None
    for number, source in enumerate(sources):
        # What apt remembers of one source is no use for another.
        apt = Apt(folder / f"apt-{number}", source, key, present.status)
        try:
            version = _fetch_one(apt, settings, folder, present)
        except UpdateRefused as err:
            _tell(folder, Problem(reason=str(err)))
            continue
        except UpdateError as err:
            trouble = err
            continue
        if version:
            return version
    shutil.rmtree(folder / MIRROR, ignore_errors=True)
    if trouble is not None:
        raise trouble
    return ""


def read_problem(folder: Path) -> Problem:
    """What was wrong with what is in *folder*: text of whoever is at the other end."""
    try:
        with (folder / PROBLEM).open("rb") as file:
            return msgspec.json.decode(file.read(PROBLEM_BYTES), type=Problem)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Problem()


def sticks(pattern: str) -> list[Path]:
    """The sticks with software on them, of those that are mounted where *pattern* says."""
    found = (Path(path) for path in sorted(glob.glob(pattern))) if pattern else ()
    return [path for path in found if (path / STICK / "InRelease").is_file()]


def _sources(settings: ScannerSettings) -> list[str]:
    found = [f"copy:{stick / STICK}" for stick in sticks(settings.carry.sticks)]
    return [*found, settings.update.url] if settings.update.url else found


def _fetch_one(apt: Apt, settings: ScannerSettings, folder: Path, present: Present) -> str:
    apt.update()
    installed = present.installed
    candidates = apt.candidates(architecture())
    unit = settings.unit
    chosen = choose(candidates, unit.id, unit.area, installed, present.failed)
    if chosen is None:
        return ""
    # Twice: once in apt's own folder, once for root to look at.
    _check_room(folder, 2 * chosen.package_bytes)
    try:
        packages = _download(apt, chosen.version, folder / "new")
        if present.held != installed and any(each.version == installed for each in candidates):
            # So that there is a way back.
            packages += _download(apt, installed, folder / "old")
    except UpdateError as err:
        _tell(folder, Problem(version=chosen.version, reason=str(err)))
        return ""
    _lay_out(apt, packages, folder / MIRROR)
    log.info("%s %s is here", PACKAGE, chosen.version)
    return chosen.version


def _download(apt: Apt, version: str, to: Path) -> list[Path]:
    """The packages of *version*, moved to where the next download does not clear them away."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    return [path.rename(to / path.name) for path in apt.download(version)]


def _lay_out(apt: Apt, packages: list[Path], mirror: Path) -> None:
    shutil.rmtree(mirror, ignore_errors=True)
    mirror.mkdir()
    index = apt.index()
    (mirror / "Packages").write_text(index)
    (mirror / "InRelease").write_bytes(apt.signed())
    for path in packages:
        # apt writes the colon of an epoch as %3a; the repository's names have no epoch.
        name, version, rest = path.name.split("_", 2)
        path.rename(mirror / f"{name}_{version.rpartition('%3a')[2]}_{rest}")


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + KEEP_FREE_BYTES:
        raise UpdateError(
            f"{free / 1e6:.0f} MB are free, {(needed + KEEP_FREE_BYTES) / 1e6:.0f} MB are needed"
        )


def _tell(folder: Path, problem: Problem) -> None:
    log.error("%s%s", f"{problem.version}: " if problem.version else "", problem.reason)
    (folder / PROBLEM).write_bytes(msgspec.json.encode(problem))
