"""The work of `edge-scanner eye`: the eye judged from the golden code, and its best focus found."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np

from edge import config
from edge.clock import Clock, SystemClock
from edge.errors import CameraError, EdgeError, EndOfFrames
from edge.scanner.camera import Camera, open_camera
from edge.scanner.decoder import Decoder
from edge.scanner.exposure import brightness
from edge.scanner.eye import Finding, of_frame, of_golden
from edge.scanner.golden import GOLDEN, Seen, golden_picture, golden_svg, seen
from edge.scanner.readers import Frame
from edge.scanner.settings import ScannerSettings

#: For so long exposure may settle before anything is judged.
SETTLE_S = 2.0
#: So many looks at the golden code are enough.
GOLDEN_LOOKS = 5
#: Frames that pass after the lens was moved, until it stands and is seen to stand.
LENS_FRAMES = 5
#: Dioptres between two places of the lens that are tried, coarsely and then finely.
_COARSE, _FINE = 1.0, 0.2


@runtime_checkable
class Focusable(Protocol):
    """A camera whose lens can be moved."""

    def lens_range(self) -> tuple[float, float] | None:
        """Least and most dioptres; None if the lens does not move."""
        ...

    def focus(self, dioptres: float) -> None:
        """Move the lens."""
        ...


def add_command(commands: Any, also: argparse.ArgumentParser) -> None:
    """Add `eye` to *commands*, with the options of *also*."""
    parser = commands.add_parser(
        "eye",
        parents=[also],
        help="judge focus, exposure, dirt and aim from the golden code; stop the service before"
        " / xem ống kính: nét, sáng, sạch, đúng hướng",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--golden",
        type=Path,
        metavar="FILE",
        help="draw it: .svg to print, .png / vẽ mã mẫu: .svg để in, hoặc .png",
    )
    what.add_argument(
        "--focus",
        action="store_true",
        help="find the best place of the lens for what is shown / tìm vị trí nét nhất của ống kính",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="look for so long (%(default)s) / nhìn trong bao nhiêu giây (%(default)s)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object instead of lines / một đối tượng JSON thay cho các dòng chữ",
    )


def run(options: argparse.Namespace) -> int:
    """`edge-scanner eye`. Gives its exit code: 1 if something is wrong."""
    if options.golden is not None:
        write_golden(options.golden)
        print(options.golden)
        return 0
    settings, clock = config.load(options.config, ScannerSettings).camera, SystemClock()
    with closing(open_camera(settings, clock)) as camera:
        if options.focus:
            best = best_focus(camera, lambda line: print(line, file=sys.stderr, flush=True))
            print(json.dumps({"focus": best}) if options.json else f"[camera]\nfocus = {best}")
            return 0
        found, figures = findings(camera, clock, options.seconds)
    if options.json:
        print(json.dumps({"findings": [each.value for each in found], "figures": figures}))
    else:
        for finding in found:
            print(f"✗ {finding.text}")
        print(figures if found else f"✓ {figures}")
    return 1 if found else 0


def write_golden(path: Path) -> None:
    """Draw the golden code into *path*: .svg prints in its true size, .png is for a screen."""
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(golden_svg(), encoding="utf-8")
        elif path.suffix.lower() == ".png":
            path.write_bytes(cv2.imencode(".png", golden_picture())[1].tobytes())
        else:
            raise EdgeError(f"{path}: the golden code is drawn as .svg (to print) or .png")
    except OSError as err:
        raise EdgeError(f"{path}: cannot be written: {err.strerror}") from err


def findings(camera: Camera, clock: Clock, seconds: float) -> tuple[list[Finding], str]:
    """What is wrong with what *camera* sees, looked at for *seconds* at most; and the figures."""
    decoder = Decoder(zbar=False)
    golden: list[Seen] = []
    frame: Frame | None = None
    for frame in _frames(camera, clock, seconds):
        if len(golden) >= GOLDEN_LOOKS:
            break
        codes = [code for code in decoder.read(frame) if code.content == GOLDEN]
        golden += [it for it in (seen(frame, code) for code in codes) if it is not None]
    if frame is None:
        raise CameraError("the camera gave no frame")
    if golden:
        it = sorted(golden, key=lambda each: each.sharpness)[len(golden) // 2]
        return of_golden(it), (
            f"mã chuẩn / golden code: {100 * it.sharpness:.0f} % sharp, light {it.light:.0f} and"
            f" dark {it.dark:.0f} of 255, {it.module_px:.1f} pixels a module"
        )
    return of_frame(frame), (
        f"mean brightness {brightness(frame):.0f} of 255; độ nét chưa xét vì không thấy mã chuẩn /"
        " sharpness not judged: no golden code in view (edge-scanner eye --golden FILE draws it)"
    )


def best_focus(camera: Camera, progress: Callable[[str], object]) -> float:
    """Where the lens stands best for what is held before it now, in dioptres.

    *progress* gets a line for each place that is tried. Raises CameraError for a fixed lens.
    """
    reach = camera.lens_range() if isinstance(camera, Focusable) else None
    if reach is None or not isinstance(camera, Focusable):
        raise CameraError("the lens of this camera does not move; turn it by hand, if it turns")
    decoder = Decoder(zbar=False)

    def sharpness(dioptres: float) -> float:
        camera.focus(dioptres)
        for _ in range(LENS_FRAMES):
            camera.capture()
        frame = camera.capture()
        codes = [code for code in decoder.read(frame) if code.content == GOLDEN]
        it = seen(frame, codes[0]) if codes else None
        # A code that is read is always better than one that is not, whose edges are compared.
        found = 1.0 + it.sharpness if it else min(1.0, _edges(frame))
        progress(f"{dioptres:.1f}: {100 * it.sharpness:.0f} %" if it else f"{dioptres:.1f}: -")
        return found

    coarse = max(_steps(*reach, _COARSE), key=sharpness)
    near = max(reach[0], coarse - _COARSE), min(reach[1], coarse + _COARSE)
    fine = max(_steps(*near, _FINE), key=sharpness)
    return round(fine, 1)


def _steps(least: float, most: float, step: float) -> list[float]:
    return [least + step * each for each in range(int((most - least) / step + 1e-6) + 1)]


def _edges(frame: Frame) -> float:
    """How strong the edges in the middle of *frame* are: far below 1."""
    height, width = frame.shape
    middle = frame[height // 4 : -height // 4 or None, width // 4 : -width // 4 or None]
    return float(np.std(cv2.Laplacian(middle, cv2.CV_32F))) / 1e4


def _frames(camera: Camera, clock: Clock, seconds: float) -> Iterator[Frame]:
    """Frames once exposure has settled; of a source that ends before, its last."""
    began = clock.monotonic()
    frame: Frame | None = None
    try:
        while clock.monotonic() - began < seconds:
            frame = camera.capture()
            if clock.monotonic() - began >= min(SETTLE_S, seconds / 2):
                yield frame
                frame = None
    except EndOfFrames:
        pass
    if frame is not None:
        yield frame
