"""Releases of the units' software: a signed apt repository, and for which units each version is.

The repository is a folder, `updates/`, for any web server or a USB stick: the packages, an index of
them (`Packages`) and a signed list of its hashes (`InRelease`). Which units a version is for stands
in the index, so the office stages a release by publishing the folder anew. What apt has to know of
a package is asked of dpkg-deb.
"""

import gzip
import hashlib
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from edge.errors import ProvisionError
from edge.files import replace_file
from edge.legal_basis import listed
from edge.provision.cards import current_documents
from edge.provision.deployment import Deployment
from edge.provision.layout import UPDATES, UPDATES_KEY, UPDATES_PUBLIC
from edge.provision.openpgp import clear_sign, make_key
from edge.ring import DOWNGRADE_FIELD, FIELD, Ring

#: What is published for whom.
RELEASES = "releases.json"
PACKAGE = "edge-scanner"

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~-]*")
_ARCHITECTURES = ("all", "amd64", "arm64")
_VALID_UNTIL = re.compile(r"(?m)^Valid-Until: (.+)$")


class Release(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A version of the software, and who is to have it."""

    version: str
    ring: Ring = Ring()
    #: Whether units that have a newer version go back to it.
    downgrade: bool = False


class Releases(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that were published, in the order in which they came."""

    v: Literal[1] = 1
    releases: tuple[Release, ...] = ()

    def find(self, version: str) -> Release:
        """The release of *version*. Raises ProvisionError if there is none."""
        for release in self.releases:
            if release.version == version:
                return release
        raise ProvisionError(
            f"there is no release {version!r}; take its package in with: edge-provision release"
            " add FILE..."
        )


def add(deployment: Deployment, files: list[Path]) -> list[str]:
    """Take packages into the repository; a new version is nobody's until it is staged.

    Gives the versions of ours among them. Raises ProvisionError.
    """
    folder = deployment.folder / UPDATES
    with deployment.changing():
        folder.mkdir(exist_ok=True)
        versions = []
        for file in files:
            name, version, architecture = _about(file)
            plain = version.rpartition(":")[2]
            _take(file, folder / f"{name}_{plain}_{architecture}.deb")
            if name == PACKAGE:
                versions.append(version)
    return sorted(set(versions))


def stage(
    deployment: Deployment, version: str, ring: Ring, now: datetime, *, downgrade: bool = False
) -> None:
    """Make *version* that of *ring* and of nobody else, and publish it. Raises ProvisionError.

    With a newer version that somebody is to have, an older one is a way back no longer: units take
    a way back before anything else, and would never have the newer one.
    """
    _check(deployment, ring)
    known = read_releases(deployment)
    if not any((deployment.folder / UPDATES).glob(f"{PACKAGE}_{version}_*.deb")):
        known.find(version)
    release = Release(version=version, ring=ring, downgrade=downgrade)
    others = tuple(
        msgspec.structs.replace(other, downgrade=False)
        if other.downgrade and ring != Ring() and _is_newer(version, other.version)
        else other
        for other in known.releases
        if other.version != version
    )
    with deployment.changing():
        _write(deployment, Releases(releases=(*others, release)))
        _publish(deployment, now)


def publish(deployment: Deployment, now: datetime) -> Path:
    """Write the index anew and sign it; gives the repository's folder. Raises ProvisionError."""
    with deployment.changing():
        return _publish(deployment, now)


def valid_until(deployment: Deployment) -> datetime | None:
    """Until when units believe what is published; None while nothing is. Raises ProvisionError.

    What was published before there was such a date is to be published anew: as if it had ended.
    """
    path = deployment.folder / UPDATES / "InRelease"
    try:
        found = _VALID_UNTIL.search(path.read_text())
        return parsedate_to_datetime(found[1]) if found else datetime.fromtimestamp(0, UTC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise ProvisionError(
            f"{path}: not a list of releases ({err}); write it anew: edge-provision release renew"
        ) from None


def read_releases(deployment: Deployment) -> Releases:
    """What is published for whom. Raises ProvisionError."""
    path = deployment.folder / RELEASES
    try:
        return msgspec.json.decode(path.read_bytes(), type=Releases)
    except FileNotFoundError:
        return Releases()
    except msgspec.DecodeError as err:
        raise ProvisionError(f"{path}: not a list of releases: {err}") from None


def _is_newer(version: str, than: str) -> bool:
    words = ["dpkg", "--compare-versions", version, "gt", than]
    return subprocess.run(words, check=False).returncode == 0


def _about(file: Path) -> tuple[str, str, str]:
    """Name, version and architecture of the package in *file*."""
    if shutil.which("dpkg-deb") is None:
        raise ProvisionError("dpkg-deb is missing; releases are made on a Debian or Ubuntu")
    fields = {
        key: value.strip()
        for key, _, value in (line.partition(":") for line in _control(file).splitlines())
    }
    found = fields.get("Package", ""), fields.get("Version", ""), fields.get("Architecture", "")
    name, version, architecture = found
    right = _NAME.fullmatch(name) and architecture in _ARCHITECTURES
    if not (right and _VERSION.fullmatch(version.rpartition(":")[2])):
        raise ProvisionError(f"{file}: not a package for units: {' '.join(found)!r}")
    return found


def _control(file: Path) -> str:
    done = subprocess.run(
        ["dpkg-deb", "--field", str(file)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ProvisionError(f"{file}: not a Debian package: {said[-1] if said else '?'}")
    return done.stdout


def _take(file: Path, to: Path) -> None:
    if file.resolve() == to.resolve():
        return
    if to.exists() and _sum(to) != _sum(file):
        raise ProvisionError(
            f"{file}: the repository has another {to.name}; units that took that one would not take"
            " this one, so give it a new version"
        )
    new = to.with_name(to.name + ".new")
    shutil.copyfile(file, new)
    new.chmod(0o644)
    new.rename(to)


def _check(deployment: Deployment, ring: Ring) -> None:
    units = {unit.id: unit for unit in deployment.inventory.units}
    for name in ring.units:
        if name not in units:
            raise ProvisionError(f"there is no unit {name!r}; see: edge-provision unit list")
    for area in ring.areas:
        if not any(unit.area == area for unit in units.values()):
            raise ProvisionError(f"no unit is in the area {area!r}; see: edge-provision unit list")


def _publish(deployment: Deployment, now: datetime) -> Path:
    folder = deployment.folder / UPDATES
    folder.mkdir(exist_ok=True)
    releases = {release.version: release for release in read_releases(deployment).releases}
    stanzas = [_stanza(file, releases) for file in sorted(folder.glob("*.deb"))]
    index = "\n".join(stanzas).encode()
    # No time in it: the same packages give the same bytes.
    indices = {"Packages": index, "Packages.gz": gzip.compress(index, mtime=0)}
    # Before anything is written: where it cannot be, units still find what fits the list of before.
    head = _release_text(deployment, indices, now)
    for name, content in indices.items():
        replace_file(folder / name, [content], mode=0o644)
    if not (deployment.folder / UPDATES_KEY).exists():
        # A deployment from before there were updates. Cards have the key from now on.
        private, public = deployment.folder / UPDATES_KEY, deployment.folder / UPDATES_PUBLIC
        make_key(private, public, f"edge {deployment.settings.deployment.name}")
    signed = clear_sign(deployment.folder / UPDATES_KEY, head)
    # Last: until it is there, units believe what was there before.
    replace_file(folder / "InRelease", [signed], mode=0o644)
    return folder


def _stanza(file: Path, releases: dict[str, Release]) -> str:
    name, version, _ = _about(file)
    ours = ""
    if name == PACKAGE and (release := releases.get(version)) is not None:
        ours = f"{FIELD}: {release.ring.text()}\n"
        ours += f"{DOWNGRADE_FIELD}: yes\n" if release.downgrade else ""
    return (
        f"{_control(file).rstrip()}\n{ours}Filename: ./{file.name}\nSize: {file.stat().st_size}\n"
        f"SHA256: {_sum(file)}\n"
    )


def _release_text(deployment: Deployment, indices: dict[str, bytes], now: datetime) -> str:
    settings = deployment.settings
    until = now + timedelta(days=settings.updates.valid_days)
    sums = "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} {path}\n"
        for path, content in indices.items()
    )
    return (
        f"Origin: edge {settings.deployment.name}\nLabel: {PACKAGE}\nSuite: edge\n"
        f"Date: {format_datetime(now, usegmt=True)}\n"
        # Whoever holds the web server cannot keep units at an old list for longer.
        f"Valid-Until: {format_datetime(until, usegmt=True)}\n"
        f"Architectures: {' '.join(_ARCHITECTURES)}\n"
        f"{listed(current_documents(deployment, now))}"
        f"SHA256:\n{sums}"
    )


def _write(deployment: Deployment, releases: Releases) -> None:
    text = msgspec.json.format(msgspec.json.encode(releases), indent=2)
    replace_file(deployment.folder / RELEASES, [text, b"\n"])


def _sum(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
