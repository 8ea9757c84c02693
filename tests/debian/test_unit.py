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
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.demo.broker import free_port
from edge.provision import releases
from edge.provision.__main__ import main
from edge.provision.deployment import Deployment, utc_now
from edge.scanner.identity import TOLD
from edge.scanner.update.decide import TRIAL
from edge.storage import fleet
from edge.storage.database import Database
from edge.storage.storage import Storage
from tests.debian.conftest import COMMAND_LINE, SUITES
from tests.debian.machine import START_S, Machine, build, until_active, why_not
from tests.enrolment.endpoint import Endpoint
from tests.fakes import eventually
from tests.provision.broker import DeploymentBroker
from tests.provision.deployments import a_deployment

ROOT = Path(__file__).parent.parent.parent
UNIT = "edge-scanner.service"
LOOK = "edge-update.service"
CAP_SYS_TIME = 25
#: As the scanner writes it: when this boot began, by a receiver.
ASK_FOR_CLOCK = """
import json, os, sys, time
began = time.time() + float(sys.argv[1]) - time.clock_gettime(time.CLOCK_BOOTTIME)
boot = open("/proc/sys/kernel/random/boot_id").read().strip().replace("-", "")
with open("/run/edge-scanner/clock.new", "w") as file:
    json.dump({"boot": boot, "offset_ms": round(began * 1000)}, file)
os.rename("/run/edge-scanner/clock.new", "/run/edge-scanner/clock")
"""
GOOD, MUTE, LATER, BROKEN = "9.0.0", "9.0.5", "9.1.0", "9.2.0"
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
    """A folder with this version of the package in `now`, and later ones in `later`."""
    if all(why_not(suite) for suite in SUITES):
        pytest.skip(why_not(SUITES[0]))
    folder = tmp_path_factory.mktemp("packages")
    now = build(folder / "now")
    (folder / "later").mkdir()
    subprocess.run(["dpkg-deb", "-R", now, folder / "tree"], check=True)
    software = folder / "tree/usr/lib/edge-scanner/edge"
    for version in (GOOD, LATER):
        repack(folder, now, version)
    client = software / "mqtt_client.py"
    whole = client.read_text()
    never = 'def _never(self: Client) -> None:\n    raise OSError("a fault of this version")'
    client.write_text(f"{whole}\n\n{never}\n\n\nClient.connect = _never\n")
    repack(folder, now, MUTE)
    client.write_text(whole)
    # As if somebody had tried it on a laptop alone.
    with (software / "scanner/service.py").open("a") as source:
        source.write('\nraise SystemExit("there is no such camera on a unit")\n')
    repack(folder, now, BROKEN)
    shutil.rmtree(folder / "tree")
    return folder


def repack(folder: Path, now: Path, version: str) -> None:
    """Make a package of *version* of the tree in *folder*."""
    for path, pattern, line in (
        ("DEBIAN/control", r"(?m)^Version: .*$", f"Version: {version}"),
        (
            "usr/lib/edge-scanner/edge/__init__.py",
            r"(?m)^__version__ = .*$",
            f'__version__ = "{version}"',
        ),
    ):
        file = folder / "tree" / path
        file.write_text(re.sub(pattern, line, file.read_text()))
    name = now.name.replace(now.name.split("_")[1], version)
    tree, made = str(folder / "tree"), str(folder / "later" / name)
    command = ["dpkg-deb", "-Zzstd", "-z1", "-b", tree, made]
    subprocess.run(command, check=True)


@pytest.mark.skipif("EDGE_DEBIAN" not in os.environ, reason="takes a minute: make debian")
def test_the_same_sources_give_the_same_package(packages: Path, tmp_path: Path) -> None:
    (first,) = (packages / "now").glob("*.deb")

    assert build(tmp_path).read_bytes() == first.read_bytes()


@pytest.fixture
def centre(tmp_path: Path) -> Iterator["Centre"]:
    """A deployment whose broker and collector run."""
    running = Centre(tmp_path)
    yield running
    running.stop()


class Centre:
    """What the unit reaches by the network: broker, collector, and the web server of updates."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.deployment = the_deployment(folder, f"http://127.0.0.1:{port}")
        self.config = str(self.deployment.folder / "provision.toml")
        self._broker = DeploymentBroker(self.deployment, folder)
        settings = self.deployment.folder / "collector/collector.toml"
        self._settings = str(settings)
        self.storage = folder / "storage.db"
        drop_in = settings.with_suffix(".d")
        drop_in.mkdir()
        (drop_in / "storage.toml").write_text(f'[storage]\nurl = "{self.storage}"\n')
        log = (folder / "collector.log").open("ab")
        command = [sys.executable, "-m", "edge.collector", "--config", str(settings)]
        self._collector = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        web = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
        self._web = subprocess.Popen(
            [*web, "--directory", str(self.deployment.folder / "updates")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._endpoint = Endpoint(
            self.deployment, folder, port=self.deployment.settings.enrolment.port
        )

    def rows(self) -> list[int]:
        """The number of each scan that is a row."""
        if not self.storage.exists():
            return []
        storage = Storage(self.storage)
        try:
            return [seq for _, _, seq, _ in storage.scan_numbers()]
        finally:
            storage.close()

    def state(self) -> str:
        """How the office sees the unit."""
        storage = Storage(self.storage)
        try:
            return next((row.state for row in storage.units() if row.unit == "cho-1-a"), "")
        finally:
            storage.close()

    def command(self, action: str) -> "subprocess.Popen[str]":
        """Have the unit do *action*, as somebody at the centre does; ends with its answer."""
        words = ["command", action, "cho-1-a", "--wait", str(START_S), "--config", self._settings]
        command = [sys.executable, "-m", "edge.collector", *words]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def until_told(self, version: str, state: str) -> None:
        """Wait until the unit's health says so of its last update."""

        def told() -> bool:
            with closing(Database(str(self.storage))) as database, database.reading() as reading:
                unit = fleet.unit_named(reading, "cho-1-a")
            update = (unit.health.get("update") if unit else None) or {}
            return (update.get("version"), update.get("state")) == (version, state)

        eventually(told, f"the centre knows: {version} {state}", limit_s=START_S)

    def stop(self) -> None:
        self._collector.terminate()
        self._collector.wait(60)
        self._web.terminate()
        self._web.wait(60)
        self._endpoint.stop()
        self._broker.stop()


def the_deployment(folder: Path, updates: str) -> Deployment:
    made = a_deployment(
        folder / "gia-lai",
        "cho-1-a",
        port=free_port(),
        broker_folder=str(folder / "gia-lai/broker"),
        enrolment_port=free_port(),
    )
    (made.folder / "scanner.toml").write_text(SETTINGS)
    settings = made.folder / "provision.toml"
    text = settings.read_text().replace("[units]", '[units]\nsettings_file = "scanner.toml"')
    settings.write_text(f'{text}\n[updates]\nurl = "{updates}"\n')
    always_open = ["place", "add", "cho-1", "--name", "Chợ Mẫu", "--kind", "market"]
    hours = ["--hours", "00:00-00:00", "--config", str(settings)]
    assert main([*always_open, *hours]) == 0
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
    # It made its key itself; with that came the certificate that the first scan was sent with.
    key = machine.root / "var/lib/edge/identity/unit.pem"
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    eventually(
        lambda: {path.name for path in key.parent.iterdir()} - {TOLD} == {key.name},
        "what it asked with is wiped",
    )
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_uid == (machine.root / "var/lib/edge").stat().st_uid != 0
    security = machine.run("systemd-analyze", "security", "--no-pager", UNIT)
    exposure = re.search(r"Overall exposure level .*: ([0-9.]+)", security)
    assert exposure is not None
    assert float(exposure[1]) <= 1.5

    # It is killed.
    machine.kill(UNIT)
    pid = goes_on(machine, centre, pid)
    # It hangs, and the watchdog sees it.
    shorter = machine.root / "etc/systemd/system/edge-scanner.service.d"
    shorter.mkdir(parents=True)
    (shorter / "test.conf").write_text("[Service]\nWatchdogSec=15s\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    pid = goes_on(machine, centre, pid)
    machine.hang(UNIT)
    pid = goes_on(machine, centre, pid)
    assert "Watchdog timeout" in machine.run("journalctl", "--no-pager", "-u", UNIT)
    # It cannot be started, again and again: only a start of the machine mends a driver that hangs.
    hopeless = machine.root / "run/systemd/system/edge-scanner.service.d"
    machine.run("mkdir", "-p", "/run/systemd/system/edge-scanner.service.d")
    lines = "[Unit]\nStartLimitBurst=3\n[Service]\nExecStartPre=/bin/false\n"
    machine.write(hopeless / "hopeless.conf", lines)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "--no-block", UNIT)
    machine.start_anew()
    pid = goes_on(machine, centre, 0)
    # Its centre has it start the machine anew.
    asked = centre.command("reboot")
    machine.start_anew()
    is_done(asked)
    pid = goes_on(machine, centre, 0)
    # It is given new software.
    settings = (machine.root / "etc/edge/scanner.toml").read_bytes()
    pid = is_updated(machine, centre, packages / "later", pid)
    assert (machine.root / "etc/edge/scanner.toml").read_bytes() == settings
    # Somebody pulls the plug.
    machine.cut_the_power()
    machine.switch_on()
    machine.wait_until_up()
    pid = goes_on(machine, centre, 0)
    the_clock_is_asked_for(machine)
    # Its centre takes it down; nobody else does.
    is_not_emptied_without_its_centre(machine)
    goes_on(machine, centre, pid)
    # Nobody is counted any more, also after a start anew.
    is_done(centre.command("pause"))
    everything_counted_is_kept(machine, centre)
    is_retired(machine, centre)


def the_clock_is_asked_for(machine: Machine) -> None:
    """A scanner asks by its GPS receiver, and root looks for itself. It sets no clock here: a
    container's is that of the machine that it runs on."""
    bounds = int(machine.run("sh", "-c", "grep CapBnd /proc/1/status").split()[1], 16)
    assert not bounds & 1 << CAP_SYS_TIME

    def ask(off_s: float, answer: str) -> None:
        machine.run("rm", "-f", "/run/systemd/timesync/synchronized")
        # With a /proc as the service has it: bookworm shows it the boot of the machine there, and a
        # command of ours the container's.
        own_proc = ("-p", "ProtectProc=invisible", "-p", "ProtectKernelTunables=yes")
        machine.run(
            "systemd-run", "--wait", "-q", *own_proc, "python3", "-c", ASK_FOR_CLOCK, str(off_s)
        )
        eventually(
            lambda: answer in machine.run("journalctl", "--no-pager", "-u", "edge-clock.service"),
            answer,
            limit_s=START_S,
        )
        eventually(
            lambda: machine.property("edge-clock.service", "ActiveState") != "activating",
            "it has ended",
            limit_s=START_S,
        )

    ask(0, "no GPS receiver")
    assert not machine.run("ls", "/run/edge-gnss").strip().endswith("synchronized")
    (machine.root / "etc/edge/scanner.d/gps.toml").write_text('[gps]\nsource = "/dev/serial0"\n')
    ask(0, "the clock was off by")
    assert machine.run("ls", "/run/edge-gnss").strip() == "synchronized"
    # As far as the last step, which our own filter of system calls would let it do.
    ask(3, "this machine does not let its clock be set")
    assert "clock_settime" in machine.property("edge-clock.service", "SystemCallFilter").split()
    (machine.root / "etc/edge/scanner.d/gps.toml").unlink()


def is_not_emptied_without_its_centre(machine: Machine) -> None:
    """A scanner that was taken over asks root to empty the unit."""
    (machine.root / "var/lib/edge/retire.json").write_text('{"order":{},"signature":""}')
    machine.run("touch", "/run/edge-scanner/retire")

    eventually(
        lambda: (
            "nothing was emptied"
            in machine.run("journalctl", "--no-pager", "-u", "edge-retire.service")
        ),
        "root believes the centre alone",
        limit_s=START_S,
    )
    assert not (machine.root / "var/lib/edge/retire.json").exists()


def is_retired(machine: Machine, centre: Centre) -> None:
    """Its centre retires it: nothing of it is left, and it does not start again."""
    machine.run("systemctl", "start", UNIT)
    until_active(machine, UNIT)

    def is_ordered() -> bool:
        asked = centre.command("retire")
        said, _ = asked.communicate(timeout=2 * START_S)
        # Refused while a scan waits that nobody has confirmed.
        assert asked.returncode == 0 or "not confirmed yet" in said, said
        return asked.returncode == 0

    eventually(is_ordered, "all is confirmed, and it retires", limit_s=START_S)

    state = machine.root / "etc/edge"
    eventually(lambda: not (state / "setup.json").exists(), "it is empty", limit_s=START_S)
    eventually(
        lambda: machine.property("edge-retire.service", "ActiveState") == "inactive",
        "root is ready",
        limit_s=START_S,
    )
    assert "was retired by the centre" in machine.run(
        "journalctl", "--no-pager", "-u", "edge-retire.service"
    )
    assert not (state / "scanner.toml").exists()
    assert not list((machine.root / "var/lib/edge/identity").iterdir())
    assert not (machine.root / "var/lib/edge/outbox").exists()
    assert machine.property(UNIT, "ActiveState") == "inactive"
    assert centre.state() == "retired"
    if "EDGE_DEBIAN" not in os.environ:
        return
    # Nor after the next start of the machine.
    machine.cut_the_power()
    machine.switch_on()
    machine.wait_until_up()
    assert machine.property(UNIT, "ConditionResult") == "no"


def is_updated(machine: Machine, centre: Centre, later: Path, pid: int) -> int:
    """Take the unit through good, broken and forged software; gives the scanner's process."""
    office = Office(centre, later)
    # Units set no clock in a container; on a board timesyncd does this.
    machine.run("install", "-D", "/dev/null", "/run/systemd/timesync/synchronized")

    # People come and go: it waits, and says so to its centre, which has asked.
    office.release(GOOD, "--all")
    is_done(centre.command("update"))
    centre.until_told(GOOD, "waiting")
    assert "the place is open" in outcome(machine)["reason"]
    # It is open day and night, so its office sets a window.
    drop_in = machine.root / "etc/edge/scanner.d/window.toml"
    drop_in.parent.mkdir()
    drop_in.write_text('[update]\nwindow = "00:00-00:00"\n')
    update(machine)
    until_ended(machine)
    assert outcome(machine)["state"] == "installed", outcome(machine)
    assert installed(machine) == GOOD
    pid = goes_on(machine, centre, pid)
    centre.until_told(GOOD, "installed")

    if "EDGE_DEBIAN" in os.environ:
        pid = is_taken_back_for_its_broker(machine, centre, office, pid)

    # With the list came the legal basis that the office has signed, though the card had it too.
    document = centre.deployment.folder / "legal-basis/1-TN.json"
    (brought,) = (machine.root / "etc/edge/basis").glob("office-*.json")
    assert brought.read_bytes() == document.read_bytes()

    # What does not scan is taken back, and not tried again.
    office.release(BROKEN, "--units", "cho-1-a")
    update(machine)
    until_ended(machine)
    back = outcome(machine)
    assert (back["version"], back["state"]) == (BROKEN, "rolled_back"), back
    assert installed(machine) == GOOD
    pid = goes_on(machine, centre, pid)
    update(machine)
    assert outcome(machine) == back
    assert installed(machine) == GOOD

    # What is not signed by the deployment is refused.
    office.forge()
    update(machine)
    forged = outcome(machine)
    assert forged["state"] == "failed"
    office.publish()

    # The power goes while dpkg puts files in place, and again while it is judged.
    office.release(LATER, "--all")
    update(machine)
    eventually(lambda: phase(machine) == "installing", "it is being put in place", limit_s=START_S)
    eventually(lambda: unpacking(machine), "files are replaced", limit_s=START_S)
    for _ in range(2):
        machine.cut_the_power()
        assert phase(machine) != "idle"
        machine.switch_on()
        machine.wait_until_up()
        eventually(lambda: phase(machine) in ("trial", "idle"), "it went on", limit_s=START_S)
    until_ended(machine)
    assert (outcome(machine)["version"], outcome(machine)["state"]) == (LATER, "installed")
    assert installed(machine) == LATER
    assert not (machine.root / "etc/systemd/system" / TRIAL).exists()
    assert not (machine.root / "var/lib/edge-update/guard").exists()
    return goes_on(machine, centre, 0)


def is_taken_back_for_its_broker(
    machine: Machine, centre: Centre, office: "Office", pid: int
) -> int:
    """What scans and never connects is taken back, as the version before connects again."""
    judge = machine.root / "usr/lib/edge-scanner/edge/scanner/update/trial.py"
    office.release(MUTE, "--units", "cho-1-a")
    # A network may come back just as the one before is in place, so that is wanted twice.
    for ended in (f"{GOOD} has one again, so it is tried once more", f"{GOOD} has one again"):
        # As it came with the package, also when that is put back.
        shorter = judge.read_text().replace("BROKER_S = 300.0", "BROKER_S = 30.0")
        assert shorter != judge.read_text()
        judge.write_text(shorter)

        update(machine)
        until_ended(machine)

        back = outcome(machine)
        assert (back["version"], back["state"]) == (MUTE, "rolled_back"), back
        assert back["reason"].endswith(ended), back
        assert installed(machine) == GOOD
        pid = goes_on(machine, centre, pid)
    assert MUTE in state(machine)["failed"]
    centre.until_told(MUTE, "rolled_back")
    return pid


class Office:
    """Releases software, and the web server that has it."""

    def __init__(self, centre: Centre, later: Path) -> None:
        self._centre = centre
        self._later = later
        self.folder = centre.deployment.folder / "updates"

    def release(self, version: str, *ring: str) -> None:
        """Take the package of *version* in, for the units of *ring*."""
        (package,) = self._later.glob(f"*_{version}_*.deb")
        config = ["--config", self._centre.config]
        assert main(["release", "add", str(package), *config]) == 0
        assert main(["release", "stage", version, *ring, *config]) == 0

    def forge(self) -> None:
        """Somebody has changed what the web server has."""
        path = self.folder / "InRelease"
        path.write_bytes(path.read_bytes().replace(b"Suite: edge", b"Suite: evil"))

    def publish(self) -> None:
        """Publish as it was."""
        releases.publish(self._centre.deployment, utc_now())


def update(machine: Machine) -> None:
    """Look for new software, as the timer does; a trial may go on afterwards."""
    # Joined to a look that is under way, it would not see what has changed since that began.
    eventually(
        lambda: machine.property(LOOK, "ActiveState") in ("inactive", "failed"),
        "an earlier look is over",
        limit_s=START_S,
    )
    machine.run("systemctl", "start", LOOK)


def state(machine: Machine) -> dict[str, Any]:
    path = machine.root / "var/lib/edge-update/state.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def phase(machine: Machine) -> str:
    return str(state(machine).get("phase"))


def outcome(machine: Machine) -> dict[str, str]:
    """What the unit tells the centre of its last update."""
    last = state(machine).get("last")
    assert last, machine.run("journalctl", "--no-pager", "-u", "edge-update*")
    return {key: str(value) for key, value in last.items()}


def until_ended(machine: Machine) -> None:
    eventually(lambda: phase(machine) == "idle", "the trial has ended", limit_s=START_S)
    eventually(
        lambda: machine.property(TRIAL, "ActiveState") == "inactive",
        "its service has ended",
    )


def installed(machine: Machine) -> str:
    said = machine.run("dpkg-query", "-W", "-f", "${Version} ${Status}", "edge-scanner")
    assert said.endswith("install ok installed"), said
    return said.partition(" ")[0]


def unpacking(machine: Machine) -> bool:
    """Whether dpkg is at work on our files."""
    return any((machine.root / "usr/lib/edge-scanner").rglob("*.dpkg-new")) or (
        "install ok installed"
        not in machine.run("dpkg-query", "-W", "-f", "${Status}", "edge-scanner")
    )


def is_done(command: "subprocess.Popen[str]") -> None:
    """Wait for the unit's answer to *command*: it did as it was told."""
    said, _ = command.communicate(timeout=2 * START_S)
    assert command.returncode == 0, said


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
