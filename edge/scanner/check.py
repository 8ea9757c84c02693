"""`edge-scanner check`: what a technician runs last. A line for each part, with the cure."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge import config
from edge.clock import Clock, SystemClock
from edge.errors import EdgeError
from edge.mqtt import Connection
from edge.scanner import self_test
from edge.scanner.camera import open_camera
from edge.scanner.decoder import Decoder
from edge.scanner.indicator import Signal, open_indicator
from edge.scanner.lamp import Lamp
from edge.scanner.permission import Permission
from edge.scanner.settings import ScannerSettings
from edge.scanner.unit_checks import Concern, board, certificate, mount, wifi
from edge.sealing import Sealer, read_key

#: How long the broker may take to answer.
BROKER_S = 8.0
#: For how long the golden code is looked for.
EYE_S = 3.0
#: How long the lamp is lit to be seen.
LAMP_S = 0.5


@dataclass(frozen=True)
class CheckResult:
    """What was found of one part."""

    part: str
    part_vi: str
    ok: bool
    text: str
    #: It works, but should be seen to.
    concern: bool = False

    def line(self) -> str:
        """For a person."""
        return f"{self.mark} {self.part_vi + ' / ' + self.part:<28} {self.text}"

    @property
    def mark(self) -> str:
        """✓ works, ‼ works but should be seen to, ✗ does not work."""
        return "‼" if self.concern else "✓" if self.ok else "✗"

    def json(self) -> str:
        """For a program."""
        facts = {"part": self.part, "ok": self.ok, "concern": self.concern, "text": self.text}
        return json.dumps(facts)


def check(path: Path, clock: Clock | None = None) -> Iterator[CheckResult]:
    """Check the unit that *path* describes, part by part. Never raises an error of ours."""
    clock = clock or SystemClock()
    try:
        settings = config.load(path, ScannerSettings)
    except EdgeError as err:
        yield CheckResult("settings", "cấu hình", False, str(err))
        return
    yield CheckResult("settings", "cấu hình", True, str(path))
    parts: list[tuple[str, str, Callable[[], str]]] = [
        ("tracing key", "khóa truy vết", lambda: _key(settings, path.parent)),
        ("legal basis", "căn cứ pháp lý", lambda: _basis(settings, path.parent, clock)),
        ("certificate", "chứng thư", lambda: certificate(settings, path.parent, clock.now())),
        ("board", "bo mạch", board),
        ("disk", "ổ đĩa", lambda: _disk(settings)),
        ("mount", "gắn ổ đĩa", lambda: mount(settings)),
        ("wireless", "mạng Wi-Fi", wifi),
        ("reader", "bộ đọc mã", _reader),
        ("second reader", "bộ đọc thứ hai", lambda: _second_reader(settings)),
        ("camera", "máy ảnh", lambda: _camera(settings, clock)),
        ("eye", "mắt đọc", lambda: _eye(settings, clock)),
        ("indicator", "đèn và còi", lambda: _indicator(settings)),
        ("broker", "máy chủ MQTT", lambda: _broker(settings, path.parent, clock)),
        ("clock", "đồng hồ", lambda: _clock(clock)),
    ]
    for part, part_vi, look in parts:
        try:
            text = look()
            yield CheckResult(part, part_vi, True, text, isinstance(text, Concern))
        except EdgeError as err:
            yield CheckResult(part, part_vi, False, str(err))


def _key(settings: ScannerSettings, beside: Path) -> str:
    sealer = Sealer(read_key(config.secret_path(settings.unit.tracing_key_file, beside)))
    return f"identities are sealed to key {sealer.key_id}"


def _basis(settings: ScannerSettings, beside: Path, clock: Clock) -> str:
    if not settings.basis.required:
        return "not asked for: basis.required is false"
    permission = Permission(settings.basis, beside, settings.unit.place, clock)
    if reason := permission.reason():
        raise EdgeError(
            f"{reason}; until {beside / settings.basis.folder} has a valid document of"
            f" {settings.unit.place}, this unit does not collect"
        )
    basis = permission.covering()
    return f"{basis.number} of {basis.issuer}, until {basis.end}" if basis else ""


def _disk(settings: ScannerSettings) -> str:
    folder = Path(settings.outbox.folder)
    cure = f"make {folder} a folder on the card or disk that this user may write to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="check-") as file:
            file.write(b"x" * 4096)
            file.flush()
            began = time.monotonic()
            os.fdatasync(file.fileno())
            took_ms = (time.monotonic() - began) * 1000
        free_mb = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize / 1e6
    except OSError as err:
        raise EdgeError(f"{folder}: {err.strerror}; {cure}") from err
    if _in_memory(folder):
        raise EdgeError(f"{folder} is in memory and gone with the power; {cure}")
    if free_mb < settings.outbox.keep_free_mb:
        raise EdgeError(
            f"{folder}: {free_mb:.0f} MB free, less than outbox.keep_free_mb"
            f" ({settings.outbox.keep_free_mb}); make room or use a larger card"
        )
    return f"{free_mb:.0f} MB free, a write is safe after {took_ms:.1f} ms"


def _in_memory(folder: Path) -> bool:
    best = ("", "")
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, mount, kind, *_ = line.split(" ")
        inside = folder.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1] in ("tmpfs", "ramfs")


def _reader() -> str:
    import numpy as np
    import zxingcpp

    content = "Trần Thị Mẫu"
    code = zxingcpp.create_barcode(content, zxingcpp.BarcodeFormat.QRCode)
    with closing(Decoder(zbar=False)) as decoder:
        codes = decoder.read(np.array(code.to_image(scale=4)))
    if [code.content for code in codes] != [content.encode()]:
        raise EdgeError("the reader does not read its own test code; reinstall edge-scanner")
    return "reads a test code exactly"


def _second_reader(settings: ScannerSettings) -> str:
    if not settings.reading.zbar:
        return "switched off by reading.zbar"
    with closing(Decoder()) as decoder:
        if decoder.zbar_missing:
            raise EdgeError(
                f"{decoder.zbar_missing}; sudo apt install libzbar0"
                " (until then the unit reads with zxing-cpp alone)"
            )
    return "zbar is there"


def _camera(settings: ScannerSettings, clock: Clock) -> str:
    with closing(open_camera(settings.camera, clock)) as camera:
        frame = camera.capture()
    height, width = frame.shape
    return f"{settings.camera.source}: {width}x{height}{_lamp(settings)}"


def _lamp(settings: ScannerSettings) -> str:
    if (pin := settings.camera.lamp_pin) < 0:
        return ""
    lamp = Lamp(pin)
    lamp.light(True)
    time.sleep(LAMP_S)
    lamp.close()
    if lamp.trouble:
        raise EdgeError(
            f"the lamp on pin {pin} cannot be switched: {lamp.trouble}; see that nothing else has"
            " the pin, or set camera.lamp_pin to -1"
        )
    return f"; you should have seen the lamp on pin {pin}"


def _eye(settings: ScannerSettings, clock: Clock) -> str:
    with closing(open_camera(settings.camera, clock)) as camera:
        found, figures = self_test.findings(camera, clock, EYE_S)
    if found:
        raise EdgeError("; ".join(finding.text for finding in found))
    return figures


def _indicator(settings: ScannerSettings) -> str:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        indicator = open_indicator(settings.indicator, nowhere, SystemClock())
        indicator.show(Signal.ACCEPTED)
        indicator.close()
    return f"{settings.indicator.kind}: you should have seen green and heard one beep"


def _broker(settings: ScannerSettings, beside: Path, clock: Clock) -> str:
    # A name of its own: under the unit's the broker would end the running scanner's session.
    name = f"{settings.unit.id}-check"
    with closing(Connection(settings.broker, beside, name, clock)) as connection:
        deadline = clock.monotonic() + BROKER_S
        began = clock.monotonic()
        while not connection.connected and clock.monotonic() < deadline:
            connection.step(0.2)
        if not connection.connected:
            raise EdgeError(f"{connection.trouble} (scans are kept until it is back)")
        took_ms = (clock.monotonic() - began) * 1000
        connection.disconnect(1.0)
        return f"{connection.address} answers after {took_ms:.0f} ms"


def _clock(clock: Clock) -> str:
    now = clock.now()
    if now.clock == "none":
        return f"{now.at}, not set by anything yet; scans carry the time since boot as well"
    return f"{now.at}, set by {now.clock}"
