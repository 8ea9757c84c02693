"""The real services as processes, for tests that do to them what the field does."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2

from edge.demo.broker import NatsBroker
from edge.sealing import make_key_pair
from tests.drawing import draw

#: Invented people; nothing of them may ever be found outside a seal.
SECRETS: list[str] = []

_BEEP = re.compile(rb"seq (\d+)")


def invented_cards(count: int) -> list[str]:
    """The codes of *count* invented chip cards. What would identify them goes to SECRETS."""
    cards = []
    for number in range(count):
        pin, old = f"0643{number:08d}", f"9876{number:05d}"
        name = f"Phạm Thị Bịa Đặt {number}"
        home = f"Làng Tưởng Tượng {number}, Ia Bịa"
        SECRETS.extend([pin, old, "Bịa Đặt", "Tưởng Tượng", "BIA DAT"])
        cards.append(f"{pin}|{old}|{name}|17051990|Nữ|{home}|10082021")
    SECRETS[:] = sorted(set(SECRETS))
    return cards


def write_frames(folder: Path, codes: list[str]) -> Path:
    """A folder of frames, one for each of *codes*."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, code in enumerate(codes):
        cv2.imwrite(str(folder / f"{number:05d}.png"), draw(code.encode(), scale=3))
    return folder


class Service:
    """One of our commands, to be killed and started again. It writes to files in *folder*."""

    def __init__(self, role: str, folder: Path, settings: str) -> None:
        self.role = role
        self._folder = folder
        self._toml = folder / f"{role}.toml"
        self._toml.write_text(settings, encoding="utf-8")
        self.out = folder / f"{role}.out"
        self.log = folder / f"{role}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, as systemd would."""
        with self.out.open("ab") as out, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"edge.{self.role}", "--config", str(self._toml)],
                stdout=out,
                stderr=log,
            )

    def stop(self, how: signal.Signals = signal.SIGTERM, limit_s: float = 20) -> int:
        """Send it *how* and wait for its end; gives its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(how)
        return self._process.wait(limit_s)

    def ended(self) -> int | None:
        """Its exit code, if it has ended."""
        return None if self._process is None else self._process.poll()

    def wait(self, limit_s: float) -> int:
        """Wait for it to end by itself; gives its exit code."""
        assert self._process is not None
        return self._process.wait(limit_s)


class Deployment:
    """A broker, a collector and one scanner in *folder*."""

    def __init__(self, folder: Path, frames: Path, *, frame_rate: float = 60) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        self.folder = folder
        self.broker = NatsBroker(folder / "broker")
        self.outbox = folder / "outbox"
        self.storage = folder / "storage.db"
        self.collector = Service("collector", folder, self._collector_settings())
        self.scanner = Service("scanner", folder, self._scanner_settings(frames, frame_rate, True))

    def last_scanner(self, frames: Path) -> Service:
        """The scanner once more, over *frames* once: it ends when all it holds is confirmed."""
        return Service("scanner", self.folder, self._scanner_settings(frames, 60, False))

    def beeps(self) -> list[int]:
        """The sequence number of every scan that was signalled as counted, in order."""
        return [int(number) for number in _BEEP.findall(self.scanner.out.read_bytes())]

    def stop(self) -> None:
        """Stop whatever runs."""
        for service in (self.scanner, self.collector):
            if service.ended() is None:
                service.stop(signal.SIGKILL)
        self.broker.stop()

    def _collector_settings(self) -> str:
        return f"""
[broker]
url = "{self.broker.url}"
[storage]
file = "{self.folder}/storage.db"
"""

    def _scanner_settings(self, frames: Path, frame_rate: float, repeat: bool) -> str:
        return f"""
[unit]
id = "cong-1"
area = "thu"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[broker]
url = "{self.broker.url}"
[camera]
source = "{frames}"
frame_rate = {frame_rate}
repeat = {str(repeat).lower()}
[reading]
reread_delay_s = 0
[outbox]
folder = "{self.folder}/outbox"
[indicator]
kind = "terminal"
[publisher]
resend_s = 1
health_s = 1
"""
