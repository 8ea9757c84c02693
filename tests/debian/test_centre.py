"""The services of the centre, installed by their package and run by their own units.

What is real: the package, systemd and its hardening, the broker with its own rules, the keys.
"""

import shutil
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.demo.broker import free_port
from edge.mqtt import Connection
from edge.provision.__main__ import main
from edge.provision.deployment import Deployment
from edge.storage.storage import Storage
from edge.topics import topic
from tests.debian.machine import START_S, Machine, build, until_active, why_not
from tests.fakes import a_scan, eventually
from tests.provision.broker import DeploymentBroker
from tests.provision.deployments import a_deployment, certified

SERVICES = ("edge-collector", "edge-dashboard", "edge-trace", "edge-enrol")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if all(why_not(suite) for suite in ("bookworm", "trixie")):
        pytest.skip(why_not("trixie"))
    return build(tmp_path_factory.mktemp("centre"), "edge-centre")


class Office:
    """A deployment with its broker, whose folders are copied to the machine of the centre."""

    def __init__(self, folder: Path) -> None:
        self.enrol, self.web = free_port(), free_port()
        self.deployment: Deployment = a_deployment(
            folder / "gia-lai",
            "cho-1-a",
            port=free_port(),
            broker_folder=str(folder / "gia-lai/broker"),
        )
        self.folder = self.deployment.folder
        self.broker = DeploymentBroker(self.deployment, folder)

    def move_in(self, machine: Machine, manuals: Path) -> None:
        """Put everything where the manuals say, and nothing else."""
        etc = machine.root / "etc"
        (etc / "edge").mkdir(exist_ok=True)
        for file in (self.folder / "collector").iterdir():
            shutil.copy(file, etc / "edge" / file.name)
        machine.run("sh", "-c", "chown edge-collector /etc/edge/*.key")
        shutil.copytree(self.folder / "enrolment", etc / "edge-enrol")
        settings = etc / "edge-enrol/enrol.toml"
        settings.write_text(settings.read_text().replace("port = 8884", f"port = {self.enrol}"))
        machine.run("chown", "-R", "edge-enrol", "/etc/edge-enrol")
        shutil.copy(self.folder / "register.json", etc / "edge/register.json")
        shutil.copytree(self.folder / "tracing-desk", etc / "edge/tracing-desk")
        shutil.copy(self.folder / "tracing.pub", etc / "edge/tracing-desk/tracing.pub")
        machine.run("edge-trace", "keys", "make", "/etc/edge/tracing-desk")
        machine.run("chmod", "-R", "go=", "/etc/edge/tracing-desk")
        order = ["basis", "--number", "1/TN", "--issuer", "UBND", "--places", "*"]
        days = ["--start", "2020-01-01", "--end", "2099-12-31"]
        assert main([*order, *days, "--config", str(self.folder / "provision.toml")]) == 0
        shutil.copy(self.folder / "legal-basis/basis.pub", etc / "edge/basis.pub")
        (etc / "edge/basis").mkdir()
        for document in (self.folder / "legal-basis").glob("*.json"):
            shutil.copy(document, etc / "edge/basis" / document.name)
        shutil.copy(manuals / "trace.toml", etc / "edge/trace.toml")
        web = f'[web]\nport = {self.web}\n[tracing]\nsocket = "/run/edge-trace/desk.sock"\n'
        (etc / "edge/dashboard.toml").write_text(web)

    def publish(self, scans: int) -> None:
        """Send scans as the unit."""
        issued = certified(self.deployment, "cho-1-a")
        assert issued.key is not None
        (self.folder / "unit.pem").write_bytes(issued.certificate)
        (self.folder / "unit.key").write_bytes(issued.key)
        settings = BrokerSettings(
            url=f"mqtts://127.0.0.1:{self.deployment.settings.broker.port}",
            ca_file="authority/authority.pem",
            certificate_file="unit.pem",
            key_file="unit.key",
        )
        connection = Connection(settings, self.folder, "cho-1-a", SystemClock())

        def is_connected() -> bool:
            connection.step(0.1)
            return connection.connected

        eventually(is_connected, "the unit is connected", limit_s=START_S)
        for seq in range(1, scans + 1):
            connection.publish(topic("pleiku", "cho-1-a", "scan"), a_scan(seq).encode())
        for _ in range(20):
            connection.step(0.1)
        connection.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    one = Office(tmp_path)
    yield one
    one.broker.stop()


def test_the_services_of_the_centre_work_under_their_own_units(
    machine: Machine, package: Path, office: Office
) -> None:
    shutil.copy(package, machine.root / "root" / package.name)
    machine.switch_on()
    machine.wait_until_up()
    said = machine.run("dpkg", "-i", f"/root/{package.name}")
    assert "ii  edge-centre" in machine.run("dpkg", "-l", "edge-centre"), said
    office.move_in(machine, Path(__file__).parent.parent.parent / "config")

    pids = {}
    for service in SERVICES:
        machine.run("systemctl", "enable", "--now", "--no-block", f"{service}.service")
        pids[service] = until_active(machine, f"{service}.service")

    # Each does what it is for.
    office.publish(3)
    storage = machine.root / "var/lib/edge/storage.db"
    eventually(lambda: rows(storage) == [1, 2, 3], "scans are rows", limit_s=START_S)
    with urllib.request.urlopen(f"http://127.0.0.1:{office.web}/healthz", timeout=60) as answer:
        assert answer.status == 200
    authority = str(office.folder / "authority/authority.pem")
    trusted = ssl.create_default_context(cafile=authority)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"https://127.0.0.1:{office.enrol}/", context=trusted, timeout=60)
    assert refused.value.code in (404, 405)
    # Asked over its socket: the desk has no network.
    machine.run("edge-trace", "worker", "put", "root", "--roles", "tracer")
    assert "root  " in machine.run("edge-trace", "worker", "list")

    # ... and goes on doing it, by the same process, and with little to attack.
    for service, pid in pids.items():
        unit = f"{service}.service"
        # What it says itself; systemd says what a container does not allow it.
        log = machine.run("journalctl", "--no-pager", "-t", service)
        assert machine.main_pid(unit) == pid, log
        assert machine.property(unit, "NRestarts") == "0", log
        assert "Operation not permitted" not in log, log
        assert "Read-only file system" not in log, log
    # Started anew with the machine, it is all there.
    machine.cut_the_power()
    machine.switch_on()
    machine.wait_until_up()
    for service in SERVICES:
        until_active(machine, f"{service}.service")
    assert rows(storage) == [1, 2, 3]


def rows(path: Path) -> list[int]:
    """The numbers of the scans that are rows."""
    if not path.exists():
        return []
    storage = Storage(path)
    try:
        return sorted(seq for _, _, seq, _ in storage.scan_numbers())
    finally:
        storage.close()
