"""What the full service of a unit takes: start, memory, processor; a table to paste.

    python -m tests.bench.unit [--camera pi] [--settings FILE]      (make bench BENCH=unit)

The real service, as a process, with no network. Without --camera it sees pictures: a card that is
held still, then nothing, then one card after another. What decoding the pictures themselves takes,
which a camera does not, is measured beside it and taken off. With `--camera pi`, on a Raspberry Pi,
it sees what is there: hold a card before it at the start, then leave it alone; reading is left out.
With `--settings`, as those of config/zero-2w.toml, the unit has these beside. The service's own
environment, as systemd gives it, is that of systemd/edge-scanner.service.

How many instructions a frame takes, which does not depend on what else a machine does:
`make bench BENCH=instructions`.
"""

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edge import config
from edge.clock import SystemClock
from edge.scanner.camera import open_camera
from edge.scanner.decoder import Frame
from edge.scanner.settings import ScannerSettings
from edge.sealing import make_key_pair
from edge.unit_settings import CameraSettings
from tests.drawing import draw, on_wall
from tests.end_to_end.parts import Service, beeps_in, invented_cards, scanner_settings

ROOT = Path(__file__).parents[2]
#: Nobody listens there.
NO_BROKER = "mqtt://127.0.0.1:9"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process took of the processor, in shares of one core, and of memory."""

    share: float
    resident_mb: float
    own_mb: float
    peak_mb: float


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camera", default="", help="pi, or a webcam; default: pictures")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--settings", type=Path, help="a profile, as config/zero-2w.toml")
    options = parser.parse_args()
    camera = profiled(options.settings).camera
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        if options.settings:
            (folder / "scanner.d").mkdir()
            shutil.copyfile(options.settings, folder / "scanner.d" / "profile.toml")
        frames = f"{camera.width}x{camera.height}, {camera.frame_rate:g} frames a second"
        print(f"{machine()}, Python {platform.python_version()}; {frames}\n")
        print("| what | measured | target |\n|---|---|---|")
        cards = write(folder / "cards", [seen(card) for card in invented_cards(20)])
        still = write(folder / "still", [seen(invented_cards(1)[0])])
        empty = write(folder / "empty", [seen(None, number) for number in range(20)])
        start_s, cpu_s = start(folder, options.camera or str(still))
        print(f"| start to the first scan accepted | {start_s:.2f} s | under 2 s |")
        print(f"| of which processor time | {cpu_s:.2f} s | |")
        idle = run(folder, options.camera or str(empty), options.seconds)
        own = 0.0 if options.camera else decoding_share(empty, camera)
        print(f"| memory, now | {idle.resident_mb:.0f} MB | under 120 MB |")
        print(f"| of which its own, and no file's | {idle.own_mb:.0f} MB | |")
        print(f"| memory, most | {idle.peak_mb:.0f} MB | |")
        print(f"| idle, of one core | {100 * (idle.share - own):.1f} % | under 15 % |")
        if not options.camera:
            busy = run(folder, str(cards), options.seconds)
            print(
                f"| a new card every frame, of one core |"
                f" {100 * (busy.share - decoding_share(cards, camera)):.1f} % | |"
            )
            print(f"| memory then, most | {busy.peak_mb:.0f} MB | under 120 MB |")
    return 0


def start(folder: Path, source: str) -> tuple[float, float]:
    """Seconds from starting the process to its first beep, and its processor time until then."""
    service = unit(folder, source, "start")
    began = time.monotonic()
    service.start()
    process = pid(service)
    while not beeps_in(service.out):
        if service.ended() is not None or time.monotonic() - began > 60:
            raise SystemExit(f"nothing was accepted; see {service.log}:\n{service.log.read_text()}")
        time.sleep(0.005)
    took_s, cpu_s = time.monotonic() - began, processor_s(process)
    service.stop(signal.SIGTERM)
    return took_s, cpu_s


def run(folder: Path, source: str, seconds: float) -> Usage:
    """What the service takes, once it has settled."""
    service = unit(folder, source, f"run-{Path(source).name}")
    service.start()
    process = pid(service)
    time.sleep(4.0)
    before_s, began = processor_s(process), time.monotonic()
    time.sleep(seconds)
    share = (processor_s(process) - before_s) / (time.monotonic() - began)
    status = Path(f"/proc/{process}/status").read_text()
    usage = Usage(share, *(megabytes(status, what) for what in ("VmRSS", "RssAnon", "VmHWM")))
    service.stop(signal.SIGTERM)
    return usage


def profiled(profile: Path | None) -> ScannerSettings:
    """The settings of a unit with those of *profile* beside."""
    unit = {"id": "x", "area": "x", "place": "x", "direction": "in", "tracing_key_file": "x"}
    tables = [config.read(profile)] if profile else []
    return config.check(
        config.merged([{"unit": unit, "broker": {}}, *tables]), ScannerSettings, str(profile)
    )


def environment() -> dict[str, str]:
    """What systemd gives the service beside its own, but for the pins, which are not here."""
    text = (ROOT / "systemd" / "edge-scanner.service").read_text()
    pairs = [pair for line in re.findall(r"(?m)^Environment=(.*)$", text) for pair in line.split()]
    return {
        name: value
        for name, _, value in (pair.partition("=") for pair in pairs)
        if name != "GPIOZERO_PIN_FACTORY"
    }


def decoding_share(pictures: Path, camera: CameraSettings) -> float:
    """What decoding *pictures* as *camera* does takes of one core: a real one does not need it."""
    settings = msgspec.structs.replace(camera, source=str(pictures), repeat=True)
    source = open_camera(settings, SystemClock(), wait=lambda _: None)
    frames = 60
    source.capture()
    began = time.thread_time()
    for _ in range(frames):
        source.capture()
    took_s = time.thread_time() - began
    source.close()
    return took_s / frames * camera.frame_rate


def unit(folder: Path, source: str, name: str, *, within: Sequence[str] = ()) -> Service:
    """The service of a unit that sees *source*, with an outbox of its own.

    *within*: a command that runs the one given to it, as to count its instructions.
    """
    settings = scanner_settings(NO_BROKER, Path(source), folder / name, frame_rate=15.0)
    settings = settings.replace("reread_delay_s = 0", "reread_delay_s = 5")
    # paho takes dnspython if it is there. Units have none; here other tests brought it.
    (folder / "sitecustomize.py").write_text('import sys\nsys.modules["dns"] = None\n')
    given = environment() | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return Service("scanner", folder, settings, within=within, environment=given)


def seen(card: str | None, number: int = 0) -> Frame:
    """A gate's view, with a card or without; the noise is that of frame *number*."""
    view = on_wall(*([] if card is None else [(draw(card.encode(), scale=4), 400, 200)]))
    noise = np.random.default_rng(number).normal(0, 3, view.shape)
    return np.asarray(np.clip(view + noise, 0, 255), np.uint8)


def write(folder: Path, pictures: list[Frame]) -> Path:
    """*pictures* as files that are quick to decode."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:03d}.bmp"), picture)
    return folder


def pid(service: Service) -> int:
    """The process of *service*."""
    assert service._process is not None
    return service._process.pid


def processor_s(process: int) -> float:
    """Processor time of *process* so far, its own and the kernel's for it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def megabytes(status: str, name: str) -> float:
    """*name* of /proc/<pid>/status."""
    line = next(line for line in status.splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024 / 1e6


def machine() -> str:
    """What this is measured on."""
    model = Path("/proc/device-tree/model")
    if model.exists():
        return model.read_bytes().rstrip(b"\0").decode()
    names = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout
    found = [line.partition(":")[2].strip() for line in names.splitlines() if "Model name" in line]
    return f"{found[0] if found else platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
