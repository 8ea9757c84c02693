"""`edge-scanner check`: what a technician runs last. A line for each part, with the cure."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from edge import config
from edge.check_report import PARTS, CheckResult
from edge.clock import Clock, SystemClock
from edge.errors import EdgeError
from edge.mqtt import Connection
from edge.scanner import running, self_test
from edge.scanner.button import Button
from edge.scanner.camera import open_camera
from edge.scanner.credentials import open_identity
from edge.scanner.decoder import Decoder
from edge.scanner.desired import with_succession
from edge.scanner.disk_health import (
    OUT_OF_MEMORY,
    SLOW_MS,
    STALL_MS,
    in_memory,
    time_writes,
    wear,
)
from edge.scanner.indicator import Signal, open_indicator
from edge.scanner.lamp import Lamp
from edge.scanner.permission import Permission
from edge.scanner.settings import ScannerSettings, UnsetSettings
from edge.scanner.setup_window import unit_root
from edge.scanner.unit_checks import Concern, board, centre, certificate, mount, wifi
from edge.scanner.unset import is_unset
from edge.scanner.vehicle_checks import gps, speaker
from edge.sealing import Sealer, read_key

#: How long the broker may take to answer.
BROKER_S = 8.0
#: For how long the golden code is looked for.
EYE_S = 3.0
#: How long the lamp is lit to be seen.
LAMP_S = 0.5


#: What can be found out beside a scanner that runs; the others want its camera and its pins.
_DEVICES = ("camera", "eye", "button", "indicator", "gps", "speaker")
#: systemd makes it for a scanner that runs, and removes it afterwards.
SCANNER_FOLDER = "run/edge-scanner"
_RUNNING = (
    "the running scanner has it; to look at it: sudo systemctl stop edge-scanner, check again"
)


def check(path: Path, clock: Clock | None = None, *, devices: bool = True) -> Iterator[CheckResult]:
    """Check the unit that *path* describes, part by part. Never raises an error of ours.

    *devices* false leaves out what the running scanner has.
    """
    clock = clock or SystemClock()
    own: ScannerSettings | None = None
    settings: UnsetSettings
    try:
        if is_unset(path):
            settings = config.load(path, UnsetSettings)
            text: str = Concern("this unit is none yet; it waits for its set-up code")
        else:
            settings = own = config.load(path, ScannerSettings)
            text = str(path)
    except EdgeError as err:
        yield CheckResult("settings", False, str(err))
        return
    yield CheckResult("settings", True, text, isinstance(text, Concern))
    looks: dict[str, Callable[[], str]] = {
        "board": board,
        "disk": lambda: _disk(settings),
        "disk health": lambda: _disk_health(settings),
        "mount": lambda: mount(settings),
        "wireless": wifi,
        "reader": _reader,
        "second reader": lambda: _second_reader(settings),
        "camera": lambda: _camera(settings, clock),
        "eye": lambda: _eye(settings, clock),
        "button": lambda: _button(settings),
        "indicator": lambda: _indicator(settings),
        "clock": lambda: _clock(clock),
        "centre": lambda: centre(
            settings if own is None else with_succession(path, own), path.parent
        ),
    }
    if settings.gps.source:
        looks["gps"] = lambda: gps(settings, clock)
    if settings.indicator.speech:
        looks["speaker"] = lambda: speaker(settings)
    if own is not None:
        looks |= _looks_at_a_unit(own, path.parent, clock)
    running = devices and (unit_root(path) / SCANNER_FOLDER).is_dir()
    for part in sorted(looks, key=list(PARTS).index):
        if part in _DEVICES and not devices:
            continue
        if part in _DEVICES and running:
            yield CheckResult(part, True, _RUNNING, concern=True)
            continue
        try:
            text = looks[part]()
            yield CheckResult(part, True, text, isinstance(text, Concern))
        except EdgeError as err:
            yield CheckResult(part, False, str(err))


def _looks_at_a_unit(
    settings: ScannerSettings, beside: Path, clock: Clock
) -> dict[str, Callable[[], str]]:
    return {
        "tracing key": lambda: _key(settings, beside),
        "legal basis": lambda: _basis(settings, beside, clock),
        "certificate": lambda: certificate(settings, beside, clock),
        "broker": lambda: _broker(settings, beside, clock),
    }


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


def _disk(settings: UnsetSettings) -> str:
    folder = Path(settings.outbox.folder)
    cure = f"make {folder} a folder on the card or disk that this user may write to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        times = time_writes(folder)
        free_mb = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize / 1e6
    except OSError as err:
        raise EdgeError(f"{folder}: {err.strerror}; {cure}") from err
    if in_memory(folder):
        raise EdgeError(f"{folder} {OUT_OF_MEMORY}")
    if free_mb < settings.outbox.keep_free_mb:
        raise EdgeError(
            f"{folder}: {free_mb:.0f} MB free, less than outbox.keep_free_mb"
            f" ({settings.outbox.keep_free_mb}); make room or use a larger card"
        )
    text = (
        f"{free_mb:.0f} MB free, a write is safe after {times.median_ms:.1f} ms,"
        f" at most {times.worst_ms:.0f} ms"
    )
    if times.median_ms > SLOW_MS or times.worst_ms > STALL_MS:
        return Concern(f"{text}: people wait; use a faster card (A1, industrial)")
    return text


def _disk_health(settings: UnsetSettings) -> str:
    text, concern = wear(Path(settings.outbox.folder))
    return Concern(text) if concern else text


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


def _second_reader(settings: UnsetSettings) -> str:
    if not settings.reading.zbar:
        return "switched off by reading.zbar"
    with closing(Decoder()) as decoder:
        if decoder.zbar_missing:
            raise EdgeError(
                f"{decoder.zbar_missing}; sudo apt install libzbar0"
                " (until then the unit reads with zxing-cpp alone)"
            )
    return "zbar is there"


def _camera(settings: UnsetSettings, clock: Clock) -> str:
    with closing(open_camera(settings.camera, clock)) as camera:
        frame = camera.capture()
    height, width = frame.shape
    return f"{settings.camera.source}: {width}x{height}{_lamp(settings)}"


def _lamp(settings: UnsetSettings) -> str:
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


def _eye(settings: UnsetSettings, clock: Clock) -> str:
    with closing(open_camera(settings.camera, clock)) as camera:
        found, figures = self_test.findings(camera, clock, EYE_S)
    if found:
        raise EdgeError("; ".join(finding.text for finding in found))
    return figures


def _button(settings: UnsetSettings) -> str:
    with closing(Button(settings)) as button:
        pin = settings.setup.button_pin
        if button.trouble:
            raise EdgeError(
                f"pin {pin} cannot be read: {button.trouble}; see that nothing else has it, or set"
                " setup.button_pin to -1"
            )
        if button.pressed:
            raise EdgeError(
                f"pin {pin} is connected to GND all the time; let go of the button, or mend its"
                " wires"
            )
    if pin < 0 or settings.indicator.kind != "gpio":
        return "none"
    hold_s = settings.setup.hold_s
    return f"pin {pin}: hold it for {hold_s:.0f} s, and the light says that it waits for a code"


def _indicator(settings: UnsetSettings) -> str:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        indicator = open_indicator(settings.indicator, nowhere, SystemClock())
        indicator.show(Signal.ACCEPTED)
        indicator.close()
    return f"{settings.indicator.kind}: you should have seen green and heard one beep"


def _broker(settings: ScannerSettings, beside: Path, clock: Clock) -> str:
    told = running.ask()
    if told is not None:
        if not told.connected:
            raise EdgeError(f"{told.broker_trouble} (scans are kept until it is back)")
        return f"the running scanner is connected to {told.broker}"
    # Nobody runs. A broker that goes by the certificate takes us for the unit: with a session that
    # is kept, what waits there for it goes on waiting, since nothing is acknowledged here.
    identity = open_identity(settings, beside, clock) if settings.enrolment.url else None
    with closing(
        Connection(
            settings.broker, beside, settings.unit.id, clock, persistent=True, identity=identity
        )
    ) as connection:
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
