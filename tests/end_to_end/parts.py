"""The real services as processes, for tests that do to them what the field does."""

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from edge.demo.broker import NatsBroker
from edge.demo.tied import tied
from edge.identity import Identity
from edge.scanner.documents import Refusal, classify
from edge.sealing import make_key_pair
from tests.drawing import draw
from tests.fakes import LIMIT_S

#: Invented people; nothing of them may ever be found outside a seal.
SECRETS: list[str] = []

_BEEP = re.compile(rb"seq (\d+)")


def invented_cards(count: int, first: int = 0) -> list[str]:
    """The codes of *count* invented chip cards. What would identify them goes to SECRETS."""
    cards = []
    for number in range(first, first + count):
        pin, old = f"0643{number:08d}", f"9876{number:05d}"
        name = f"Phạm Thị Bịa Đặt {number}"
        home = f"Làng Tưởng Tượng {number}, Ia Bịa"
        SECRETS.extend([pin, old, "Bịa Đặt", "Tưởng Tượng", "BIA DAT"])
        cards.append(f"{pin}|{old}|{name}|17051990|Nữ|{home}|10082021")
    SECRETS[:] = sorted(set(SECRETS))
    return cards


def identity_of(card: str) -> Identity:
    """What of the code *card* would be sealed."""
    answer = classify(card.encode())
    assert not isinstance(answer, Refusal)
    return answer.identity


def write_frames(folder: Path, codes: list[str]) -> Path:
    """A folder of frames, one for each of *codes*."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, code in enumerate(codes):
        cv2.imwrite(str(folder / f"{number:05d}.png"), draw(code.encode(), scale=3))
    return folder


def beeps_in(out: Path) -> list[int]:
    """The sequence number of every scan that was signalled as counted in *out*, in order."""
    return [int(number) for number in _BEEP.findall(out.read_bytes())] if out.exists() else []


def written_forms(secret: str) -> list[bytes]:
    """*secret* as it may stand in a file: plain, escaped, in hexadecimal or base64."""
    plain = secret.encode()
    forms = [plain, secret.encode("unicode_escape"), plain.hex().encode()]
    # Base64 of the same bytes depends on where they begin.
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain + b"\0" * 3)
        middle = encoded[4 if shift else 0 : -8]
        if len(middle) >= 8:
            forms.append(middle)
    return forms


class Program:
    """A command, to be killed and started again. It writes to files in *folder*."""

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        *,
        within: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """*within*: a command that runs the one given to it in a place of its own."""
        self.out = folder / f"{name}.out"
        self.log = folder / f"{name}.log"
        self._command = tied([*within, *command])
        self._environment = os.environ | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, as systemd would."""
        with self.out.open("ab") as out, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=out, stderr=log, env=self._environment
            )

    def send(self, what: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(what)

    def stop(self, how: signal.Signals = signal.SIGTERM, limit_s: float = LIMIT_S) -> int:
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


class Service(Program):
    """One of our commands with its settings."""

    def __init__(
        self,
        role: str,
        folder: Path,
        settings: str,
        *,
        within: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.role = role
        toml = folder / f"{role}.toml"
        toml.write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", f"edge.{role}", "--config", str(toml)]
        super().__init__(role, folder, command, within=within, environment=environment)


class Deployment:
    """A broker, a collector and one scanner in *folder*."""

    def __init__(self, folder: Path, frames: Path, *, frame_rate: float = 60) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        self.folder = folder
        self.broker = NatsBroker(folder / "broker")
        self.outbox = folder / "outbox"
        self.storage = folder / "storage.db"
        settings = collector_settings(self.broker.url, self.storage)
        self.collector = Service("collector", folder, settings)
        self.scanner = Service("scanner", folder, self._scanner_settings(frames, frame_rate, True))

    def last_scanner(self, frames: Path) -> Service:
        """The scanner once more, over *frames* once: it ends when all it holds is confirmed."""
        return Service("scanner", self.folder, self._scanner_settings(frames, 60, False))

    def beeps(self) -> list[int]:
        """The sequence number of every scan that was signalled as counted, in order."""
        return beeps_in(self.scanner.out)

    def stop(self) -> None:
        """Stop whatever runs."""
        for service in (self.scanner, self.collector):
            if service.ended() is None:
                service.stop(signal.SIGKILL)
        self.broker.stop()

    def _scanner_settings(self, frames: Path, frame_rate: float, repeat: bool) -> str:
        return scanner_settings(
            self.broker.url, frames, self.outbox, frame_rate=frame_rate, repeat=repeat
        )


def collector_settings(url: str, storage: Path, *, keepalive_s: int = 30) -> str:
    """collector.toml of a collector that takes everything from the broker at *url*."""
    return f"""
receipt_key_file = "receipts.key"
[broker]
url = "{url}"
keepalive_s = {keepalive_s}
[storage]
url = "{storage}"
[retention]
erase = false
"""


def scanner_settings(
    url: str,
    frames: Path,
    outbox: Path,
    *,
    unit: str = "cong-1",
    frame_rate: float = 60,
    repeat: bool = True,
    keepalive_s: int = 30,
    keep_free_mb: int = 64,
) -> str:
    """scanner.toml of a unit that reads *frames*; its tracing.pub is looked for beside that."""
    return f"""
[unit]
id = "{unit}"
area = "thu"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[basis]
required = false
[broker]
url = "{url}"
keepalive_s = {keepalive_s}
[camera]
source = "{frames}"
frame_rate = {frame_rate}
repeat = {str(repeat).lower()}
[reading]
reread_delay_s = 0
[outbox]
folder = "{outbox}"
keep_free_mb = {keep_free_mb}
in_memory = true
[indicator]
kind = "terminal"
[publisher]
resend_s = 1
health_s = 1
"""
