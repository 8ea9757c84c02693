"""A unit's life on Debian 12 and 13, each booted by its own systemd: from a blank card on.

What is real: the package, the card file, systemd, the broker with its own rules, the collector.
What is not: the board, its camera (the drawn sequence) and its lights (lines in the journal).
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.demo.broker import free_port
from edge.provision.__main__ import main
from edge.provision.deployment import Deployment
from edge.storage.storage import Storage
from tests import trees
from tests.conftest import MOSQUITTO
from tests.debian.machine import START_S, Machine, until_active, why_not
from tests.fakes import eventually
from tests.provision.broker import DeploymentBroker
from tests.provision.deployments import a_deployment

ROOT = Path(__file__).parent.parent.parent
SUITES = ("bookworm", "trixie")
UNIT = "edge-scanner.service"
COMMAND_LINE = "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootwait"
SETTINGS = """
[camera]
source = "sample"
repeat = true
frame_rate = 5.0
[indicator]
kind = "terminal"
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this version of the package, and beside it one with the next."""
    if all(why_not(suite) for suite in SUITES):
        pytest.skip(why_not(SUITES[0]))
    folder = tmp_path_factory.mktemp("packages")
    now = build(folder / "now")
    subprocess.run(["dpkg-deb", "-R", now, folder / "tree"], check=True)
    control = folder / "tree/DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 9.0.0", control.read_text()))
    (folder / "next").mkdir()
    built = folder / "next" / now.name.replace(now.name.split("_")[1], "9.0.0")
    subprocess.run(["dpkg-deb", "-Zzstd", "-z1", "-b", folder / "tree", built], check=True)
    shutil.rmtree(folder / "tree")
    return folder


def build(out: Path) -> Path:
    """The package of this version for this machine, in the folder *out*."""
    arch = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    script = str(ROOT / "provisioning/deb.py")
    subprocess.run([sys.executable, script, "--arch", arch, "--out", str(out)], check=True)
    (package,) = out.glob("*.deb")
    return package


@pytest.mark.skipif("EDGE_DEBIAN" not in os.environ, reason="takes a minute: make debian")
def test_the_same_sources_give_the_same_package(packages: Path, tmp_path: Path) -> None:
    (first,) = (packages / "now").glob("*.deb")

    assert build(tmp_path).read_bytes() == first.read_bytes()


@pytest.fixture(params=SUITES)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A machine that is off, with a stock boot partition."""
    reason = why_not(request.param)
    if reason or MOSQUITTO is None:
        pytest.skip(reason or "mosquitto is missing: sudo apt install mosquitto")
    (tmp_path / "machine").mkdir()
    made = Machine(trees.tree(trees.UNITS[request.param]), tmp_path / "machine")
    boot = made.root / "boot/firmware"
    boot.mkdir(parents=True)
    (boot / "cmdline.txt").write_text(COMMAND_LINE + "\n")
    (boot / "config.txt").write_text("")
    (boot / "kernel8.img").write_bytes(b"")
    (made.root / "var/log/journal").mkdir(parents=True, exist_ok=True)
    yield made
    made.throw_away()


@pytest.fixture
def centre(tmp_path: Path) -> Iterator["Centre"]:
    """A deployment whose broker and collector run."""
    running = Centre(tmp_path)
    yield running
    running.stop()


class Centre:
    """What the unit reaches by the network."""

    def __init__(self, folder: Path) -> None:
        self.deployment = the_deployment(folder)
        self.config = str(self.deployment.folder / "provision.toml")
        self._broker = DeploymentBroker(self.deployment, folder)
        settings = self.deployment.folder / "collector/collector.toml"
        self.storage = folder / "storage.db"
        drop_in = settings.with_suffix(".d")
        drop_in.mkdir()
        (drop_in / "storage.toml").write_text(f'[storage]\nurl = "{self.storage}"\n')
        log = (folder / "collector.log").open("ab")
        command = [sys.executable, "-m", "edge.collector", "--config", str(settings)]
        self._collector = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()

    def rows(self) -> list[int]:
        """The number of each scan that is a row."""
        if not self.storage.exists():
            return []
        storage = Storage(self.storage)
        try:
            return [seq for _, _, seq, _ in storage.scan_numbers()]
        finally:
            storage.close()

    def stop(self) -> None:
        self._collector.terminate()
        self._collector.wait(60)
        self._broker.stop()


def the_deployment(folder: Path) -> Deployment:
    made = a_deployment(
        folder / "gia-lai",
        "cho-1-a",
        port=free_port(),
        broker_folder=str(folder / "gia-lai/broker"),
    )
    (made.folder / "scanner.toml").write_text(SETTINGS)
    settings = made.folder / "provision.toml"
    text = settings.read_text().replace("[units]", '[units]\nsettings_file = "scanner.toml"')
    settings.write_text(text)
    return Deployment(made.folder)


def test_from_a_blank_card_to_a_beeping_gate_and_through_what_the_field_does(
    machine: Machine, packages: Path, centre: Centre
) -> None:
    boot = machine.root / "boot/firmware"
    order = ["--number", "1/TN", "--issuer", "UBND", "--start", "2020-01-01", "--end", "2099-12-31"]
    assert main(["basis", *order, "--places", "*", "--config", centre.config]) == 0

    # Three steps, as the field card counts them, and nothing is typed on the unit.
    # 1: a stock card is written (here: the tree of Debian) and put in.
    # 2: one command makes it the next unit's.
    write = ["card", str(boot), "--next", "--packages", str(packages / "now")]
    assert main([*write, "--config", centre.config]) == 0
    # 3: the unit is plugged in. It installs, starts again by itself, and scans.
    machine.switch_on()
    machine.wait_until_off()
    assert "ĐÃ CÀI PHẦN MỀM" in (boot / "edge-scanner/result.txt").read_text()
    machine.switch_on()
    machine.wait_until_up()
    pid = until_active(machine, UNIT)
    eventually(centre.rows, "the first scan is a row", limit_s=START_S)

    assert "ĐÃ CÀI ĐẶT XONG" in (boot / "edge-scanner/result.txt").read_text()
    assert {path.name for path in (boot / "edge-scanner").iterdir()} == {"result.txt"}
    assert (boot / "cmdline.txt").read_text().split()[:-1] == COMMAND_LINE.split()
    key = machine.root / "var/lib/edge/identity/unit.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_uid == (machine.root / "var/lib/edge").stat().st_uid != 0
    security = machine.run("systemd-analyze", "security", "--no-pager", UNIT)
    exposure = re.search(r"Overall exposure level .*: ([0-9.]+)", security)
    assert exposure is not None
    assert float(exposure[1]) <= 1.5

    # It is killed.
    machine.kill(UNIT, "KILL")
    pid = goes_on(machine, centre, pid)
    # It hangs, and the watchdog sees it.
    shorter = machine.root / "etc/systemd/system/edge-scanner.service.d"
    shorter.mkdir(parents=True)
    (shorter / "test.conf").write_text("[Service]\nWatchdogSec=15s\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    pid = goes_on(machine, centre, pid)
    machine.kill(UNIT, "STOP")
    pid = goes_on(machine, centre, pid)
    assert "Watchdog timeout" in machine.run("journalctl", "--no-pager", "-u", UNIT)
    # It is upgraded, and goes back to what it was.
    settings = (machine.root / "etc/edge/scanner.toml").read_bytes()
    for which, version in (("next", "9.0.0"), ("now", "")):
        (package,) = (packages / which).glob("*.deb")
        shutil.copy(package, machine.root / "root" / package.name)
        machine.run("dpkg", "-i", f"/root/{package.name}")
        installed = machine.run("dpkg-query", "-W", "-f", "${Version} ${Status}", "edge-scanner")
        assert installed.startswith(version)
        assert installed.endswith("install ok installed")
        pid = goes_on(machine, centre, pid)
    assert (machine.root / "etc/edge/scanner.toml").read_bytes() == settings
    # Somebody pulls the plug.
    machine.cut_the_power()
    machine.switch_on()
    machine.wait_until_up()
    goes_on(machine, centre, 0)

    everything_counted_is_kept(machine, centre)


def goes_on(machine: Machine, centre: Centre, pid: int) -> int:
    """Wait until it is back, as another process, and new scans become rows; gives the process."""
    pid = until_active(machine, UNIT, after=pid)
    before = max(centre.rows(), default=0)
    eventually(lambda: max(centre.rows(), default=0) > before, "scans go on", limit_s=START_S)
    return pid


def everything_counted_is_kept(machine: Machine, centre: Centre) -> None:
    machine.run("systemctl", "stop", UNIT)
    lines = machine.run("edge-scanner", "outbox", "list").splitlines()
    waiting = {json.loads(line)["seq"] for line in lines}
    journal = machine.run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT)
    beeps = {int(number) for number in re.findall(r"\(seq (\d+)\)", journal)}
    rows = centre.rows()

    assert beeps
    assert len(rows) == len(set(rows))
    assert beeps <= set(rows) | waiting
    assert set(rows) | waiting == set(range(1, max({*rows, *waiting}) + 1))
