"""A unit that is none yet, as the processes that its card and its codes make of it.

What is not real: the board's pins, and systemd, whose part (starting root's work when the scanner
has left a code, and the scanner anew when it ends) the test plays; tests/debian has the real one.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

from edge import config
from edge.provision.__main__ import main
from edge.provision.deployment import Deployment
from edge.scanner.outbox import read_outbox
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup_by_code import REQUEST
from edge.storage.storage import Storage
from tests.drawing import draw
from tests.end_to_end.parts import Program
from tests.fakes import eventually
from tests.provision.test_boot_partition import a_boot_partition

UNIT = "cho-1-cong-2"
#: Of each step, on a machine that has much else to do.
LIMIT_S = 300.0


class Unit:
    """A unit's system, from its first start on, and what stands before its camera."""

    def __init__(self, folder: Path, deployment: Deployment, here: str) -> None:
        """*here* are settings of this test's own, over those of card and codes."""
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
{here}"""
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


def picture(folder: Path, name: str, content: bytes) -> Path:
    """A picture of the code *content*."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.png"
    cv2.imwrite(str(path), draw(content, scale=4))
    return path


def rows(path: Path) -> list[tuple[str, str]]:
    """Unit and place of each row of the storage at *path*, in the order of their numbers."""
    if not path.exists():
        return []
    storage = Storage(path)
    try:
        found = sorted(storage.feed(0, 100_000), key=lambda row: row.seq)
        return [(row.unit, row.place) for row in found]
    finally:
        storage.close()
