"""Builds the Debian packages of a unit and of the centre, from requirements.lock, for Debian 12 and
13 at once.

    python provisioning/deb.py --arch arm64 --out dist [--package edge-centre]

One package serves Python 3.11 and 3.13: what is compiled for each lies side by side under its own
name. The wheels are those of the lock, checked by their hashes, for whichever architecture, on
whichever machine. The same sources give the same bytes.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PARTS = ROOT / "provisioning" / "debian"

PYTHONS = ("3.11", "3.13")
#: What Debian calls an architecture, and what wheels call it.
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
#: From the system rather than from the lock; and what colorzero needs only while it is built.
SYSTEM = {"numpy", "setuptools"}


@dataclass(frozen=True)
class Contents:
    """What a package is made of."""

    name: str
    #: Of pyproject.toml.
    extras: tuple[str, ...]
    #: Each with the module that it runs.
    commands: Mapping[str, str]
    #: What systemd runs.
    units: tuple[str, ...]
    #: Manuals of settings, from config/.
    settings: tuple[str, ...]
    #: What comes from Debian, beside Python and what the package's control file names.
    system: tuple[str, ...] = ()
    #: For one architecture alone.
    system_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Further files, each with its folder.
    further: Mapping[str, str] = field(default_factory=dict)

    @property
    def private(self) -> str:
        """Where our Python packages lie, for nobody else to import."""
        return f"usr/lib/{self.name}"

    @property
    def documents(self) -> str:
        """Where README and manuals lie."""
        return f"usr/share/doc/{self.name}"

    def from_debian(self, arch: str) -> tuple[str, ...]:
        """What comes from Debian, for *arch*."""
        return (*self.system, *self.system_of.get(arch, ()))


SCANNER = Contents(
    name="edge-scanner",
    extras=("scanner",),
    commands={"edge-scanner": "edge.scanner"},
    units=(
        "edge-scanner.service",
        "edge-setup.service",
        "edge-setup-code.path",
        "edge-reboot.path",
        "edge-reboot.service",
        "edge-clock.path",
        "edge-clock.service",
        "edge-poweroff.path",
        "edge-poweroff.service",
        "edge-retire.path",
        "edge-retire.service",
        "edge-update.path",
        "edge-update.timer",
        "edge-update.service",
        "edge-update-fetch.service",
        "edge-update-trial.service",
    ),
    settings=("scanner",),
    system=("python3-numpy", "libzbar0t64 | libzbar0"),
    # A Pi's camera and pins, from its own system: numpy too, because picamera2 was built for that.
    system_of={"arm64": ("python3-picamera2", "python3-lgpio")},
    further={
        "systemd/50-edge-watchdog.conf": "usr/lib/systemd/system.conf.d",
        "systemd/70-edge-stick.rules": "usr/lib/udev/rules.d",
    },
)
CENTRE = Contents(
    name="edge-centre",
    extras=("collector", "dashboard", "desk", "enrolment", "provision"),
    commands={
        "edge-collector": "edge.collector",
        "edge-dashboard": "edge.dashboard",
        "edge-enrol": "edge.enrolment",
        "edge-provision": "edge.provision",
        "edge-simulate": "edge.simulate",
        "edge-trace": "edge.tracing",
    },
    units=(
        "edge-collector.service",
        "edge-dashboard.service",
        "edge-enrol.service",
        "edge-trace.service",
    ),
    settings=("collector", "dashboard", "enrol", "provision", "trace"),
)
PACKAGES = {each.name: each for each in (SCANNER, CENTRE)}

LAUNCHER = """\
#!/bin/sh
# Our Python packages are ours alone, and nothing from the present folder is ever imported.
export PYTHONPATH=/{private} PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -s -m {module} "$@"
"""
#: Who answers for a package of which nobody has said so.
NOBODY = "nobody yet: built without a maintainer <nobody@example.invalid>"
_MAINTAINER = re.compile(r"[^<>\n]+ <[^<>@\s]+@[^<>@\s]+>")
#: What pip leaves behind that says where and by whom, rather than what.
LEAVINGS = ("RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json")


def main() -> int:
    """Build the package; prints its path."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--arch", choices=tuple(ARCHITECTURES), required=True)
    parser.add_argument("--package", choices=tuple(PACKAGES), default=SCANNER.name)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--version", default=_version(), help="default: %(default)s")
    parser.add_argument("--maintainer", default=NOBODY, help="NAME <ADDRESS>; default: %(default)s")
    parser.add_argument("--sbom", action="store_true", help="only the list of what is inside")
    options = parser.parse_args()
    contents = PACKAGES[options.package]
    if options.sbom:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f"{contents.name}.cdx.json"
        path.write_text(
            bill_of_materials(contents, options.arch, options.version), encoding="utf-8"
        )
        print(path)
        return 0
    print(build(contents, options.arch, options.version, options.out, options.maintainer))
    return 0


def build(contents: Contents, arch: str, version: str, out: Path, maintainer: str) -> Path:
    """The package of *version* for *arch*, in the folder *out*; *maintainer* answers for it."""
    if not _MAINTAINER.fullmatch(maintainer):
        raise SystemExit(f"deb: {maintainer!r} must be as in: Name <name@example.org>")
    epoch = _epoch()
    with tempfile.TemporaryDirectory(prefix="edge-deb-") as temporary:
        tree = Path(temporary) / "tree"
        private = tree / contents.private
        private.mkdir(parents=True)
        for python in PYTHONS:
            one = Path(temporary) / python
            _install(contents, arch, python, one)
            _merge(one, private)
        _copy_ours(contents, tree, version)
        inside = tree / contents.documents / "sbom.cdx.json"
        inside.write_text(bill_of_materials(contents, arch, version), encoding="utf-8")
        _write_control(contents, tree, arch, version, maintainer)
        _set_modes_and_times(tree, epoch)
        out.mkdir(parents=True, exist_ok=True)
        package = out / f"{contents.name}_{version}_{arch}.deb"
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", "-Zzstd", "-z9", str(tree), str(package)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"},
        )
    return package


def locked(python: str, arch: str, *extras: str) -> list[str]:
    """The lines of the lock, with their hashes, that *extras* need on that machine."""
    environment: dict[str, str] = {
        **{key: str(value) for key, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": ARCHITECTURES[arch],
        "sys_platform": "linux",
    }
    needed = set(_closure("edge-scanner", set(extras), environment)) - {"edge-scanner"} - SYSTEM
    lines = []
    for block in (ROOT / "requirements.lock").read_text(encoding="utf-8").split("\n"):
        if block and not block.startswith((" ", "#")):
            line = Requirement(block.rstrip(" \\"))
            right = line.marker is None or line.marker.evaluate(environment)
            take = right and canonicalize_name(line.name) in needed
            if take:
                lines.append(f"{line.name}{line.specifier}")
                needed.discard(canonicalize_name(line.name))
        elif block.startswith("    --hash") and take:
            lines[-1] += " " + block.strip(" \\")
    if needed:
        raise SystemExit(f"deb: not in requirements.lock: {', '.join(sorted(needed))}; make lock")
    return lines


def bill_of_materials(contents: Contents, arch: str, version: str) -> str:
    """What the package of *version* for *arch* brings, and what it takes from Debian: CycloneDX."""
    components: dict[str, dict[str, Any]] = {}
    for python in PYTHONS:
        for line in locked(python, arch, *contents.extras):
            requirement, *hashes = line.split(" --hash=sha256:")
            name, _, release = requirement.partition("==")
            url = f"pkg:pypi/{canonicalize_name(name)}@{release}"
            components[url] = {
                "type": "library",
                "bom-ref": url,
                "name": name,
                "version": release,
                "purl": url,
                # One for each file of that release that the lock allows.
                "externalReferences": [
                    {
                        "type": "distribution",
                        "url": f"https://pypi.org/project/{name}/{release}/",
                        "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
                    }
                ],
            }
    names = (name.rpartition("| ")[2] for name in contents.from_debian(arch))
    for name in ("python3", *names):
        url = f"pkg:deb/debian/{name}"
        components[url] = {"type": "library", "bom-ref": url, "name": name, "purl": url}
    ours = {"type": "application", "name": contents.name, "version": version}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**ours, "bom-ref": f"{contents.name}@{version}"}},
        "components": [components[url] for url in sorted(components)],
    }
    return json.dumps(bill, indent=2) + "\n"


def _closure(name: str, extras: set[str], environment: dict[str, str]) -> Iterator[str]:
    """*name* and all that it needs, by what is installed here; the lock says which versions."""
    seen: set[tuple[str, str]] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        yield canonicalize_name(at[0])
        for text in metadata.requires(at[0]) or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({**environment, "extra": at[1]}):
                waiting += [(canonicalize_name(need.name), extra) for extra in ("", *need.extras)]


def _install(contents: Contents, arch: str, python: str, to: Path) -> None:
    requirements = to.with_suffix(".txt")
    lines = locked(python, arch, *contents.extras)
    requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
    machine = ARCHITECTURES[arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in (28, 27, 26, 24, 17)]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"),
            *("--implementation", "cp", "--python-version", python),
            *(f"--platform={name}" for name in (*platforms, f"manylinux2014_{machine}")),
            *("--target", str(to), "-r", str(requirements)),
        ],
        check=True,
    )
    shutil.rmtree(to / "bin", ignore_errors=True)


def _merge(one: Path, into: Path) -> None:
    """Put what is for one Python beside what is there; the same name must be the same file."""
    for path in sorted(one.rglob("*")):
        # Among them what a wheel's builder says of its own machine.
        left = ".dist-info" in {parent.suffix for parent in path.parents} and (
            path.name in LEAVINGS or path.parent.name == "sboms"
        )
        # What only tells types to a checker is not needed on a unit.
        if path.is_dir() or left or path.suffix == ".pyi":
            continue
        target = into / path.relative_to(one)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise SystemExit(
                f"deb: {path.relative_to(one)} differs between {' and '.join(PYTHONS)}"
            )
        shutil.copyfile(path, target)


def _copy_ours(contents: Contents, tree: Path, version: str) -> None:
    software = tree / contents.private / "edge"
    shutil.copytree(ROOT / "edge", software, ignore=shutil.ignore_patterns("__pycache__"))
    (software / "__init__.py").write_text(
        (ROOT / "edge" / "__init__.py").read_text().replace(f'"{_version()}"', f'"{version}"')
    )
    for source, folder, name in (
        (PARTS / contents.name / "sysusers.conf", "usr/lib/sysusers.d", f"{contents.name}.conf"),
        *((ROOT / "systemd" / name, "usr/lib/systemd/system", "") for name in contents.units),
        *((ROOT / path, folder, "") for path, folder in contents.further.items()),
    ):
        (tree / folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tree / folder / (name or source.name))
    writer = [sys.executable, str(ROOT / "provisioning/documents.py")]
    subprocess.run([*writer, str(tree / contents.documents), *contents.settings], check=True)
    (tree / "usr/bin").mkdir(parents=True)
    for command, module in contents.commands.items():
        text = LAUNCHER.format(private=contents.private, module=module)
        (tree / "usr/bin" / command).write_text(text)
    if contents is SCANNER:
        _make_prompts(tree / "usr/share/edge-scanner/prompts")


def _make_prompts(folder: Path) -> None:
    """The sentences of units with a loudspeaker: 1.6 MB, 0.7 MB of the package."""
    if shutil.which("espeak-ng") is None:
        print("deb: without spoken prompts: sudo apt install espeak-ng", file=sys.stderr)
        return
    command = [sys.executable, str(ROOT / "provisioning/prompts.py"), str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _write_control(
    contents: Contents, tree: Path, arch: str, version: str, maintainer: str
) -> None:
    folder = tree / "DEBIAN"
    folder.mkdir()
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    sizes_kb = sum(-(-path.stat().st_size // 1024) for path in files)
    control = (PARTS / contents.name / "control").read_text(encoding="utf-8")
    system = "".join(f", {name}" for name in contents.from_debian(arch))
    (folder / "control").write_text(
        control.format(
            version=version, arch=arch, system=system, size=sizes_kb, maintainer=maintainer
        ),
        encoding="utf-8",
    )
    (folder / "md5sums").write_text(
        "".join(
            f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"
            for path in files
        ),
        encoding="utf-8",
    )
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(PARTS / contents.name / script, folder / script)


def _set_modes_and_times(tree: Path, epoch: int) -> None:
    programs = {*(tree / "usr/bin").iterdir(), *(tree / "DEBIAN").glob("p*")}
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (epoch, epoch))


def _version() -> str:
    text = (ROOT / "edge" / "__init__.py").read_text(encoding="utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def _epoch() -> int:
    """When the sources were last changed, as far as anybody tells."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(asked.stdout) if asked.returncode == 0 and asked.stdout.strip() else 1_700_000_000


if __name__ == "__main__":
    sys.exit(main())
