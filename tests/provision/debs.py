"""Small Debian packages that are called as ours."""

import subprocess
from pathlib import Path

CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: a package of a test
"""


def a_package(folder: Path, version: str, name: str = "edge-scanner") -> Path:
    """A package with nothing but a file that says its *version*."""
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL.format(name=name, version=version))
    (tree / "usr/share" / name).mkdir(parents=True)
    (tree / "usr/share" / name / "version").write_text(version)
    made = folder / f"{name}_{version}_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made
