"""From a batch card to a counting gate by codes alone, on the real processes.

What is not real: the board's pins, and systemd, whose part (starting root's work when the scanner
has left a code, and the scanner anew when it ends) the test plays; tests/debian has the real one.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from edge import config
from edge.demo.broker import NatsBroker
from edge.provision.__main__ import main
from edge.provision.deployment import Deployment
from edge.scanner.outbox import read_outbox
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup_by_code import REQUEST
from edge.sealing import Signer
from edge.setup_code import write_setup_code
from edge.storage.storage import Storage
from tests.drawing import draw
from tests.end_to_end.parts import Program, collector_settings, invented_cards
from tests.fakes import eventually
from tests.provision.deployments import a_deployment
from tests.provision.test_boot_partition import a_boot_partition
from tests.setup_codes import a_code

UNIT = "cho-1-cong-2"
#: Of each step, on a machine that has much else to do.
LIMIT_S = 300.0


class Unit:
    """A unit's system, from its first start on, and what stands before its camera."""

    def __init__(self, folder: Path, deployment: Deployment, broker: NatsBroker) -> None:
        self.folder = folder
        self.root, self.view, self.thumb = folder / "root", folder / "view", folder / "thumb"
        self.boot = a_boot_partition(folder / "bootfs")
        self._provision = str(deployment.folder / "provision.toml")
        drop_ins = self.root / "etc/edge/scanner.d"
        drop_ins.mkdir(parents=True)
        (self.root / REQUEST).parent.mkdir(parents=True)
        self.settings = self.root / "etc/edge/scanner.toml"
        (drop_ins / "test.toml").write_text(
            f"""
[basis]
required = false
[broker]
url = "{broker.url}"
ca_file = ""
certificate_file = ""
key_file = ""
[camera]
source = "{self.view}"
repeat = true
frame_rate = 10
[reading]
reread_delay_s = 0
[outbox]
folder = "{folder}/outbox"
in_memory = true
[carry]
sticks = ""
key_file = "{folder}/unit.key"
"""
        )
        self.pins(False)
        self._asked = 0.0
        command = ["-m", "tests.end_to_end.with_button", "--config", str(self.settings)]
        self.scanner = Program(
            "scanner",
            folder,
            [sys.executable, *command],
            environment={"BUTTON": str(self.thumb)},
        )

    def provision(self, *args: str) -> None:
        assert main([*args, "--config", self._provision]) == 0

    def code(self, *args: str) -> Path:
        """The picture that the office sends to the technician's telephone."""
        to = Path(tempfile.mkdtemp(dir=self.folder))
        self.provision("code", UNIT, *args, "--to", str(to))
        return to / f"{UNIT}.png"

    def pins(self, there: bool) -> None:
        """Lights and button on pins, or lines of text instead."""
        path = self.root / "etc/edge/scanner.d/pins.toml"
        kind = "gpio" if there else "terminal"
        path.write_text(f'[indicator]\nkind = "{kind}"\n[setup]\nhold_s = 1.0\n')

    def show(self, *pictures: Path) -> None:
        """Have the camera see these, one after the other, from its next opening on."""
        shutil.rmtree(self.view, ignore_errors=True)
        self.view.mkdir()
        for number, picture in enumerate(pictures):
            shutil.copy(picture, self.view / f"{number:03d}.png")

    def setup(self) -> int:
        """What root does: at the start of the machine, and when the scanner has left a code."""
        command = ["setup", "--boot", str(self.boot), "--root", str(self.root)]
        with (self.folder / "setup.log").open("ab") as log:
            return subprocess.run(
                [sys.executable, "-m", "edge.scanner", *command],
                stdout=log,
                stderr=log,
                check=False,
            ).returncode

    def systemd(self) -> None:
        """One turn of what systemd does."""
        request = self.root / REQUEST
        if request.exists() and request.stat().st_mtime != self._asked:
            self._asked = request.stat().st_mtime
            self.setup()
        if self.scanner.ended() is not None:
            assert self.scanner.ended() == 0, self.log()
            self.scanner.start()

    def until(self, *said: str) -> None:
        """Wait until the scanner has *said* each, playing systemd meanwhile."""
        eventually(
            lambda: all(each in self.log() + self.out() for each in said),
            f"{said}",
            limit_s=LIMIT_S,
            turn=self.systemd,
        )

    def log(self) -> str:
        return self.scanner.log.read_text()

    def out(self) -> str:
        return self.scanner.out.read_text()

    def who(self) -> tuple[str, str, str]:
        unit = config.load(self.settings, ScannerSettings).unit
        return unit.id, unit.place, unit.direction

    def places(self) -> list[str]:
        """The place of each scan that waits, in order."""
        return [scan.place for scan in read_outbox(self.folder / "outbox").scans()]


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = a_deployment(tmp_path / "gia-lai", UNIT)
    settings = str(made.folder / "provision.toml")
    place = ["place", "add", "cho-2", "--name", "Chợ Mẫu Hai", "--kind", "market"]
    assert main([*place, "--config", settings]) == 0
    return made


@pytest.fixture
def unit(tmp_path: Path, deployment: Deployment) -> Iterator[Unit]:
    broker = NatsBroker(tmp_path / "broker")
    unit = Unit(tmp_path, deployment, broker)
    try:
        yield unit
    finally:
        if unit.scanner.ended() is None:
            unit.scanner.stop()
        broker.stop()


def picture(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.png"
    cv2.imwrite(str(path), draw(content, scale=4))
    return path


def test_from_a_batch_card_to_a_counting_gate_and_on_to_another_door(
    unit: Unit, tmp_path: Path, deployment: Deployment
) -> None:
    pictures = tmp_path / "pictures"
    person, other = (
        picture(pictures, f"person-{at}", card.encode())
        for at, card in enumerate(invented_cards(2, first=7000))
    )
    foreign = picture(pictures, "foreign", write_setup_code(a_code(), Signer(b"z" * 32)).encode())
    wifi = picture(pictures, "wifi", b"WIFI:S:mau;T:WPA;P:mat khau 1;;")

    # 1: a card, the same for forty. 2: the code, on a telephone. 3: plugged in, and shown the code.
    unit.provision("card", str(unit.boot), "--batch", "lo-1", "--no-packages")
    mine = unit.code("--batch", "lo-1")
    unit.show(foreign, person, wifi, mine, person)
    assert unit.setup() == 0
    unit.scanner.start()
    unit.until("Đang chờ mã cài đặt", "not of this unit's deployment", "Đã cài đặt xong", "(seq 1)")

    assert unit.who() == (UNIT, "cho-1", "in")
    # Nobody was counted before, and from then on nothing but people is.
    first = unit.out().index("(seq 1)")
    assert unit.out().index("Đã cài đặt xong") < first
    unit.until("refused: setup_code", "refused: foreign")
    assert "ĐÃ CÀI ĐẶT XONG" in (unit.boot / "edge-scanner/result.txt").read_text()

    # Another door, while scans wait: the office changes its inventory, and sends the next code.
    unit.provision("unit", "change", UNIT, "--place", "cho-2", "--direction", "out")
    moved = unit.code()
    assert unit.scanner.stop() == 0
    before = unit.places()
    assert before
    assert set(before) == {"cho-1"}
    unit.pins(True)
    unit.show(moved, mine, foreign, other)
    unit.scanner.start()
    # Without a thumb on the button it is a code like any other.
    unit.until("refused: setup_code")
    eventually(
        lambda: len(unit.places()) > len(before),
        "people are counted",
        limit_s=LIMIT_S,
        turn=unit.systemd,
    )
    assert unit.who() == (UNIT, "cho-1", "in")
    unit.thumb.touch()
    unit.until(f"unit {UNIT}, cho-2, out; set-up code 3")
    unit.thumb.unlink()
    eventually(lambda: "cho-2" in unit.places(), "counts there", limit_s=LIMIT_S, turn=unit.systemd)
    assert unit.who() == (UNIT, "cho-2", "out")

    # The code that made it is not taken again, whoever holds the button.
    unit.thumb.touch()
    unit.until("the set-up code is for a unit that is none yet", "is not newer than 3")
    unit.thumb.unlink()
    assert unit.who() == (UNIT, "cho-2", "out")
    assert unit.scanner.stop() == 0

    # What waited is delivered as what it was, under the one name that the unit has.
    waiting = unit.places()
    storage = tmp_path / "storage.db"
    rows = delivered(unit, tmp_path, storage, len(waiting))
    assert [place for _, place in rows[: len(waiting)]] == waiting
    assert waiting == sorted(waiting)
    assert {name for name, _ in rows} == {UNIT}
    for secret in ("EDGE1:", "mat khau"):
        assert secret not in unit.log() + unit.out()


def delivered(unit: Unit, folder: Path, path: Path, least: int) -> list[tuple[str, str]]:
    """Unit and place of each row, in order, when at least so many have come."""
    settings = folder / "collector.toml"
    # The unit believes its own deployment's collector alone.
    shutil.copy(folder / "gia-lai/collector/receipts.key", folder / "receipts.key")
    url = config.load(unit.settings, ScannerSettings).broker.url
    settings.write_text(collector_settings(url, path))
    collector = Program(
        "collector", folder, [sys.executable, "-m", "edge.collector", "--config", str(settings)]
    )
    collector.start()
    unit.scanner.start()
    try:
        eventually(lambda: len(rows(path)) >= least, "rows", limit_s=LIMIT_S, turn=unit.systemd)
    finally:
        unit.scanner.stop()
        collector.stop()
    return rows(path)


def rows(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    storage = Storage(path)
    try:
        found = sorted(storage.feed(0, 100_000), key=lambda row: row.seq)
        return [(row.unit, row.place) for row in found]
    finally:
        storage.close()
