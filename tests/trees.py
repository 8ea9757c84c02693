"""Debian trees, for tests of what another system than this one does.

A tree is a folder with a whole Debian 12 or 13, the systems of units, made once with debootstrap
from the mirror that this machine uses and kept in the user's cache (`~/.cache/edge-scanner/trees`,
or `EDGE_TREES`). Another is made when its recipe changes. Making and entering one needs root.

    python -m tests.trees camera      make the tree of that name now

Whoever comes second waits for whoever makes it.
"""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEFAULT_MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

#: What nobody has asked for in so long is removed when another of its name is made.
UNUSED_S = 86_400.0

#: Files are not synced and manuals are not unpacked: a tree that was cut short is made anew.
DPKG = "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n"
#: Backports and mirrors may be behind their own dates.
APT = 'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\n'


@dataclass(frozen=True)
class Recipe:
    """What a tree has beyond the smallest Debian."""

    name: str
    packages: tuple[str, ...] = ()
    suite: str = "trixie"
    #: Packages that come from the suite's backports.
    backports: tuple[str, ...] = ()
    #: What is installed with pip into /venv, which sees the system's packages as well.
    python: tuple[str, ...] = ()
    #: Files that are written in the end: path within the tree to content.
    files: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Changes with everything that the tree is made of."""
        facts = (
            self.suite,
            DPKG,
            APT,
            self.packages,
            self.backports,
            self.python,
            dict(self.files),
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def cannot() -> str | None:
    """Why no tree can be made or entered here, with the way out; None if one can."""
    if os.geteuid() != 0:
        return "a Debian tree needs root: sudo -E .venv/bin/python -m pytest ..."
    if shutil.which("debootstrap", path=_path()) is None:
        return "debootstrap is missing: sudo apt install debootstrap"
    return None


def tree(recipe: Recipe) -> Path:
    """The folder of *recipe*'s tree, made if need be. Raises RuntimeError if that fails."""
    base = Recipe(_BASES[recipe.suite], suite=recipe.suite)
    made = _made(base, lambda folder: _debootstrap(folder, recipe.suite))
    return _made(recipe, lambda folder: _furnish(folder, made, recipe))


def is_made(recipe: Recipe) -> bool:
    """Whether the tree of *recipe* is there."""
    return _folder(recipe).exists()


def within(
    folder: Path, command: Sequence[str], *, binds: Mapping[Path, str] | None = None
) -> list[str]:
    """The command that runs *command* in the tree *folder*.

    *binds* are folders of this machine and where they appear in the tree. The mounts are private to
    the command and end with it.
    """
    lines = ["set -e", "mount --make-rprivate /"]
    for inside in ("/proc", "/sys", "/dev"):
        lines.append(f"mount --rbind {inside} {shlex.quote(str(folder))}{inside}")
    for outside, inside in (binds or {}).items():
        target = shlex.quote(f"{folder}{inside}")
        lines.append(f"mkdir -p {target}")
        lines.append(f"mount --bind {shlex.quote(str(outside))} {target}")
    lines.append(f"exec chroot {shlex.quote(str(folder))} {shlex.join(command)}")
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines)]


def _made(recipe: Recipe, make: Callable[[Path], None]) -> Path:
    folder = _folder(recipe)
    trees = folder.parent
    trees.mkdir(parents=True, exist_ok=True)
    with _locked(trees / f"{recipe.name}.lock"):
        if not folder.exists():
            for old in trees.glob(f"{recipe.name}-{'[0-9a-f]' * 12}"):
                # Another checkout may be at work in one of its own.
                if time.time() - old.stat().st_mtime > UNUSED_S:
                    shutil.rmtree(old)
            new = trees / f"{recipe.name}.new"
            if new.exists():
                shutil.rmtree(new)
            print(f"trees: making {folder}, once", file=sys.stderr, flush=True)
            make(new)
            new.rename(folder)
        os.utime(folder)
    return folder


def _folder(recipe: Recipe) -> Path:
    trees = Path(os.environ.get("EDGE_TREES") or _cache() / "edge-scanner" / "trees")
    return trees / f"{recipe.name}-{recipe.digest()}"


def _debootstrap(folder: Path, suite: str) -> None:
    _run(
        "debootstrap",
        "--variant=minbase",
        "--include=ca-certificates",
        suite,
        str(folder),
        _mirror(),
    )
    (folder / "etc/dpkg/dpkg.cfg.d/tree").write_text(DPKG)
    (folder / "etc/apt/apt.conf.d/tree").write_text(APT)
    sources = [f"deb {_mirror()} {part} main" for part in (suite, f"{suite}-backports")]
    (folder / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
    # The registry's certificate may be one that only this machine knows.
    if CERTIFICATES.exists():
        shutil.copy(CERTIFICATES, folder / "etc/ssl/certs/ca-certificates.crt")


def _furnish(folder: Path, base: Path, recipe: Recipe) -> None:
    _run("cp", "-a", "--reflink=auto", str(base), str(folder))
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    _inside(folder, "apt-get", "update", "-q")
    if recipe.backports:
        suite = f"{recipe.suite}-backports"
        _inside(folder, "apt-get", "install", "-qy", "-t", suite, *recipe.backports)
    if recipe.packages:
        _inside(folder, "apt-get", "install", "-qy", *recipe.packages)
    if recipe.python:
        _inside(folder, "python3", "-m", "venv", "--system-site-packages", "/venv")
        _inside(folder, "/venv/bin/pip", "install", "-q", *recipe.python)
    _inside(folder, "apt-get", "clean")
    for path, content in recipe.files.items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


def _inside(folder: Path, *command: str) -> None:
    _run(*within(folder, command))


def _run(*command: str) -> None:
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.lower().endswith("_proxy") or name in ("PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
    }
    environment = passed | {
        "PATH": _path(),
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
        "PIP_CERT": str(CERTIFICATES),
        "HOME": "/root",
    }
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError(f"{shlex.join(command[:3])} ...: {os.linesep.join(said)}")


def locked(*names: str) -> tuple[str, ...]:
    """The versions of the packages *names* that requirements.lock has, as pip wants them."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    versions = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^ ;\\]+)", text))
    return tuple(f"{name}=={versions[name]}" for name in names)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mirror() -> str:
    """The Debian mirror that this machine uses."""
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.is_file():
            found = re.search(
                r"(?m)^(?:deb |URIs: *).*?(https?://\S+/debian)/?(?:\s|$)", path.read_text()
            )
            if found and "snapshot" not in found[1]:
                return found[1]
    return DEFAULT_MIRROR


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"


CAMERA = Recipe(
    "camera",
    packages=(
        *("python3-venv", "python3-dev", "gcc", "libc6-dev", "libcap-dev"),  # for picamera2
        "libzbar0t64",
    ),
    backports=("python3-libcamera",),
    python=(
        "picamera2==0.3.38",
        *locked("cryptography", "numpy", "opencv-python-headless", "msgspec", "paho-mqtt"),
        *locked("pynacl", "tinydb", "zxing-cpp", "pyzbar", "pytest"),
    ),
)

#: A unit without its board, booted in tests/debian.
UNITS = {
    suite: Recipe(
        f"unit-{suite}",
        packages=(
            *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "iproute2", "procps"),
            *("python3", "python3-numpy", "fonts-dejavu-core", zbar),
        ),
        suite=suite,
    )
    for suite, zbar in (("bookworm", "libzbar0"), ("trixie", "libzbar0t64"))
}

RECIPES = {recipe.name: recipe for recipe in (CAMERA, *UNITS.values())}
#: What the smallest tree of each suite is called.
_BASES = {"trixie": "base", "bookworm": "base_bookworm"}


def main(arguments: Sequence[str]) -> None:
    """Make the trees that are named; with --quiet no word about what cannot be."""
    quiet = "--quiet" in arguments
    if reason := cannot():
        sys.exit(None if quiet else f"trees: {reason}")
    for name in arguments:
        if name != "--quiet":
            folder = tree(RECIPES[name])
            print("" if quiet else folder, end="" if quiet else "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
