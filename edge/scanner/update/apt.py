"""Asks apt, with one source, one key, and lists of its own: nothing of the system's is touched."""

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from edge.errors import UpdateError, UpdateRefused, UpdateStale
from edge.ring import DOWNGRADE_FIELD, FIELD, Ring, read_ring

PACKAGE = "edge-scanner"
STATUS = Path("/var/lib/dpkg/status")
#: No answer of apt takes longer, but for a download on a slow line.
LIMIT_S = 3600
#: What apt says of what was not signed by our key, or is not what was signed.
_FORGED = re.compile(
    r"not signed|BADSIG|NO_PUBKEY|EXPKEYSIG|signature|Sum mismatch|unexpected size|GPG error"
    r"|clearsigned",
    re.IGNORECASE,
)
#: ... and of a list whose Valid-Until has passed.
_ENDED = re.compile(r"\bis expired\b")
#: A list is believed for no longer after it was signed, whether or not it says until when; as
#: updates.valid_days of provision.toml, at most.
MOST_VALID_S = 730 * 86_400


@dataclass(frozen=True)
class Candidate:
    """A version of our package in the repository."""

    version: str
    ring: Ring
    downgrade: bool
    #: Of the package, and of what it becomes.
    package_bytes: int
    installed_bytes: int


class Apt:
    """One repository, as apt sees it from *folder*, which is only for this."""

    def __init__(self, folder: Path, source: str, key: Path, status: Path = STATUS) -> None:
        """*source*: a URL, or copy:/folder. *status*: what is installed, as dpkg keeps it."""
        self._folder = folder
        self._source = source
        for part in ("lists/partial", "archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        url = quote(source, safe=":/[]@~")
        (folder / "sources.list").write_text(f"deb [signed-by={key}] {url} ./\n")
        options = {
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": status,
            "Dir::State::extended_states": folder / "extended_states",
            "Dir::Cache": folder,
            "Dir::Cache::archives": folder / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": "/dev/null",
            "Dir::Log": folder,
            # Nothing is installed from here, so nobody else's lock is waited for.
            "Debug::NoLocking": "true",
            # Without a network and with few rights, as root is here, it would find no other user.
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "APT::Get::AllowUnauthenticated": "false",
            "APT::Install-Recommends": "false",
            "Acquire::Max-ValidTime": MOST_VALID_S,
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::AllowDowngradeToInsecureRepositories": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
            # We read the lists ourselves.
            "Acquire::GzipIndexes": "false",
        }
        # A file that is read first: what the system's own say would be in force before any option.
        self._config = folder / "apt.conf"
        self._config.write_text("".join(f'{key} "{value}";\n' for key, value in options.items()))

    def update(self) -> None:
        """Read what the repository has. Raises UpdateRefused if it is not of our key, UpdateStale
        if it has ended."""
        self._get("update")

    def check_age(self, seen: float) -> None:
        """Raise UpdateStale if what was read was signed before *seen*, in seconds since 1970."""
        if self.signed_at().timestamp() < seen:
            raise UpdateStale(
                f"{self._source}: its list is older than one that this unit has seen; copy the"
                " office's folder updates there anew"
            )

    def candidates(self, architecture: str) -> list[Candidate]:
        """Every version of ours for this machine."""
        return [
            Candidate(
                version=stanza["Version"],
                ring=read_ring(stanza.get(FIELD, "")),
                downgrade=stanza.get(DOWNGRADE_FIELD) == "yes",
                package_bytes=int(stanza.get("Size", "0")),
                installed_bytes=1024 * int(stanza.get("Installed-Size", "0")),
            )
            for stanza in _stanzas(self.index())
            if stanza.get("Package") == PACKAGE
            and stanza.get("Architecture") in (architecture, "all")
        ]

    def index(self) -> str:
        """The verified list of packages."""
        return "".join(path.read_text() for path in (self._folder / "lists").glob("*_Packages"))

    def signed(self) -> bytes:
        """The verified list of hashes, with its signature."""
        return b"".join(path.read_bytes() for path in (self._folder / "lists").glob("*_InRelease"))

    def signed_at(self) -> datetime:
        """When the repository was signed, as it says itself. Raises UpdateError."""
        found = re.search(rb"(?m)^Date: (.+)$", self.signed())
        try:
            return parsedate_to_datetime(found[1].decode() if found else "")
        except (TypeError, ValueError, UnicodeDecodeError):
            raise UpdateError("the repository does not say when it was signed") from None

    def download(self, version: str) -> list[Path]:
        """The verified package of *version*, and whatever it needs that is not installed."""
        self._clear()
        asked = f"{PACKAGE}={version}"
        words = ("install", "--reinstall", "--download-only", "--yes", "--allow-downgrades")
        self._get(*words, "--no-remove", asked)
        found = sorted((self._folder / "archives").glob("*.deb"))
        if not any(path.name.startswith(f"{PACKAGE}_") for path in found):
            raise UpdateError(f"apt did not download {asked}")
        return found

    def _clear(self) -> None:
        for path in (self._folder / "archives").glob("*.deb"):
            path.unlink()

    def _get(self, *words: str) -> None:
        passed = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
        try:
            done = subprocess.run(
                ["apt-get", "-q", *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=LIMIT_S,
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "LC_ALL": "C",
                    "APT_CONFIG": str(self._config),
                    **passed,
                },
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise UpdateError(f"apt-get {words[0]}: {err}") from None
        if done.returncode == 0:
            return
        said = done.stdout + done.stderr
        lines = [line for line in said.splitlines() if line.startswith(("E:", "W:", " edge-"))]
        why = f"{self._source}: {' '.join(lines) or f'apt-get {words[0]} failed'}"
        if _ENDED.search(why):
            raise UpdateStale(
                f"{self._source}: its signed list has ended, by this unit's clock. If that is"
                " right, at the office: edge-provision release renew, and copy its folder updates"
                " there anew"
            )
        raise UpdateRefused(why) if _FORGED.search(why) else UpdateError(why)


def installed_version() -> str:
    """The version of our package on this machine; "" if there is none."""
    words = ["dpkg-query", "-W", "-f", "${Version}", PACKAGE]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def architecture() -> str:
    """What Debian calls this machine."""
    return subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()


def is_newer(version: str, than: str) -> bool:
    """Whether *version* is newer, as Debian counts."""
    words = ["dpkg", "--compare-versions", version, "gt", than]
    return subprocess.run(words, check=False).returncode == 0


def choose(
    candidates: list[Candidate], unit: str, area: str, installed: str, failed: dict[str, str]
) -> Candidate | None:
    """The newest version that is for this unit; None if that is the one it has.

    An older one than *installed* is taken only where it was released as a way back.
    """
    best: Candidate | None = None
    for candidate in candidates:
        ours = candidate.ring.covers(unit, area, candidate.version)
        if not ours or candidate.version in failed:
            continue
        if best is None or is_newer(candidate.version, best.version):
            best = candidate
    back = [each for each in candidates if each.downgrade and each.version not in failed]
    for candidate in back:
        if candidate.ring.covers(unit, area, candidate.version):
            best = candidate
    if best is None or best.version == installed:
        return None
    return best if best.downgrade or is_newer(best.version, installed) else None


def _stanzas(index: str) -> list[dict[str, str]]:
    """The stanzas of a list of packages; of a field of several lines the first."""
    return [
        {
            key: value.strip()
            for key, colon, value in (line.partition(":") for line in stanza.splitlines())
            if colon and not key.startswith((" ", "\t"))
        }
        for stanza in re.split(r"\n{2,}", index)
        if stanza.strip()
    ]
