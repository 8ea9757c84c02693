"""Brings what a web server or a stick has for this unit: the part with a network and no rights.

apt judges it here as well, so that nothing is downloaded that root would refuse afterwards; root
does not rely on it, and judges the copy that this leaves.
"""

import glob
import hashlib
import logging
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from edge.errors import UpdateError, UpdateRefused, UpdateStale
from edge.files import read_small
from edge.scanner.record import RecordFile
from edge.scanner.settings import ScannerSettings
from edge.scanner.update.apt import PACKAGE, STATUS, Apt, architecture, choose

log = logging.getLogger(__name__)

#: What a stick's folder is called, and what of it is looked for.
STICK = "edge-updates"
#: Within the folder of what was fetched: a small repository, and what was wrong.
MIRROR, PROBLEM = "mirror", "problem.json"
#: Beside them, for the next look.
BROUGHT = "brought.json"
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
    #: When the newest list was signed that it has ever believed, in seconds since 1970.
    signed_at: float = 0.0
    #: Whether it cannot go back to *installed* from a version that failed.
    stuck: bool = False
    #: All that is installed, as dpkg keeps it.
    status: Path = STATUS


class _Brought(Struct, frozen=True, kw_only=True):
    """What was left in the mirror, so that it is not downloaded again while it waits."""

    #: SHA-256 of the signed list.
    release: str = ""
    versions: tuple[str, ...] = ()
    #: SHA-256 of each package, by its name in the mirror.
    sums: dict[str, str] = {}


def fetch(settings: ScannerSettings, folder: Path, key: Path, present: Present) -> str:
    """Leave what is for this unit in *folder*; gives its version, "" if there is nothing new.

    All sources are asked, and the one that was signed last says what there is: on an older stick
    lies what has been withdrawn since. Where none answers, or only with a list that is too old,
    what was left before stays, as it may wait for its hour. Raises UpdateError where no source
    could be asked; what is forged, too old or cannot be installed is left there as a Problem, also
    beside a server that cannot be asked: somebody stands there with a stick.
    """
    (folder / PROBLEM).unlink(missing_ok=True)
    answered: list[tuple[datetime, Apt]] = []
    stale: UpdateStale | None = None
    trouble: UpdateError | None = None
    for number, source in enumerate(_sources(settings)):
        # What apt remembers of one source is no use for another.
        apt = Apt(folder / f"apt-{number}", source, key, present.status)
        try:
            apt.update()
            apt.check_age(present.signed_at)
            answered.append((apt.signed_at(), apt))
        except UpdateRefused as err:
            _tell(folder, Problem(reason=str(err)))
        except UpdateStale as err:
            stale = err
        except UpdateError as err:
            trouble = err
    if answered:
        _, newest = max(answered, key=lambda each: each[0])
        return _bring(newest, settings, folder, present)
    if stale is not None:
        _tell(folder, Problem(reason=str(stale)))
    if trouble is not None:
        raise trouble
    return ""


def read_problem(folder: Path) -> Problem:
    """What was wrong with what is in *folder*: text of whoever is at the other end."""
    try:
        return msgspec.json.decode(read_small(folder / PROBLEM), type=Problem)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem()


def sticks(pattern: str) -> list[Path]:
    """The sticks with software on them, of those that are mounted where *pattern* says."""
    found = (Path(path) for path in sorted(glob.glob(pattern))) if pattern else ()
    return [path for path in found if (path / STICK / "InRelease").is_file()]


def _sources(settings: ScannerSettings) -> list[str]:
    found = [f"copy:{stick / STICK}" for stick in sticks(settings.carry.sticks)]
    return [*found, settings.update.url] if settings.update.url else found


def _bring(apt: Apt, settings: ScannerSettings, folder: Path, present: Present) -> str:
    installed, unit = present.installed, settings.unit
    candidates = apt.candidates(architecture())
    chosen = choose(candidates, unit.id, unit.area, installed, present.failed)
    versions: tuple[str, ...] = (chosen.version,) if chosen is not None else ()
    lacks = present.held != installed and (present.stuck or chosen is not None)
    if lacks and any(each.version == installed for each in candidates):
        # So that there is a way back.
        versions += (installed,)
    version = versions[0] if versions else ""
    release = hashlib.sha256(apt.signed()).hexdigest()
    if _is_here(folder, release, versions):
        return version
    packages: list[Path] = []
    try:
        if chosen is not None:
            # Twice: once in apt's own folder, once for root to look at.
            _check_room(folder, 2 * chosen.package_bytes)
        for number, each in enumerate(versions):
            packages += _download(apt, each, folder / f"new-{number}")
    except UpdateError as err:
        _tell(folder, Problem(version=version, reason=str(err)))
        return ""
    # Where nothing is for this unit as well: so root learns how old the newest list is.
    _lay_out(apt, packages, folder / MIRROR)
    sums = {path.name: sum_of(path) for path in (folder / MIRROR).glob("*.deb")}
    brought = _Brought(release=release, versions=versions, sums=sums)
    RecordFile(folder / BROUGHT, _Brought, mode=0o644).write(brought)
    if version:
        log.info("%s %s is here", PACKAGE, version)
    return version


def _is_here(folder: Path, release: str, versions: tuple[str, ...]) -> bool:
    """Whether the mirror holds just this, undamaged."""
    known = RecordFile(folder / BROUGHT, _Brought).read()
    if (known.release, known.versions) != (release, versions):
        return False
    mirror = folder / MIRROR
    try:
        whole = all(sum_of(mirror / name) == known.sums[name] for name in known.sums)
        return whole and sum_of(mirror / "InRelease") == release and (mirror / "Packages").is_file()
    except OSError:
        return False


def sum_of(path: Path) -> str:
    """The SHA-256 of the file *path*, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
