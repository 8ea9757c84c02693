"""The command `edge-scanner check`: its lines, and the QR code that a photograph takes along."""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import zxingcpp

from edge import __version__, cli, config
from edge.check_report import CheckReport, CheckResult, write_report
from edge.clock import SystemClock
from edge.errors import EdgeError
from edge.scanner.check import check
from edge.scanner.readers import Frame

#: Light modules around a code, as the standard asks; a terminal has room for less.
_MARGIN, _TERMINAL_MARGIN = 4, 2
_SCALE = 8


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", also: argparse.ArgumentParser
) -> None:
    """Add the command to the scanner's, with the options of *also*."""
    checks = commands.add_parser(
        "check",
        parents=[also],
        help="check this unit: a line each, with the cure, and a QR code of them for the office"
        " / kiểm tra máy: mỗi phần một dòng, kèm cách sửa",
    )
    checks.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    checks.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write the QR code into this file, PNG / ghi mã QR vào tệp PNG này",
    )


def run(options: argparse.Namespace) -> int:
    """Check; exit code 1 if anything does not work."""
    results: list[CheckResult] = []
    for result in check(options.config):
        results.append(result)
        print(result.json() if options.json else result.line(), flush=True)
    code = write_report(report(options.config, results))
    if options.picture is not None:
        write_picture(options.picture, code)
    if sys.stdout.isatty() and not options.json:
        _draw(code)
    return 0 if all(result.ok for result in results) else 1


def _draw(code: str) -> None:
    lines = list(terminal_lines(code))
    columns, rows = shutil.get_terminal_size()
    needed = len(_modules(code, _TERMINAL_MARGIN))
    if columns < needed or rows <= len(lines):
        print(
            f"\nMã QR cần {needed} cột, {len(lines) + 1} dòng / the QR code needs a terminal of"
            f" {needed} columns and {len(lines) + 1} rows; or: edge-scanner check --picture FILE"
        )
        return
    print("\nChụp ảnh mã này gửi văn phòng / Photograph this code for the office:\n")
    print("\n".join(lines))


def report(path: Path, results: list[CheckResult]) -> CheckReport:
    """*results* of the unit whose settings are in *path*."""
    try:
        unit = config.read(path).get("unit", {}).get("id")
    except EdgeError:
        unit = None
    return CheckReport(
        unit if isinstance(unit, str) else None,
        SystemClock().now().at,
        __version__,
        tuple(results),
    )


def write_picture(path: Path, code: str) -> None:
    """Draw *code* into the PNG *path*. Raises EdgeError."""
    dark = np.kron(_modules(code, _MARGIN), np.ones((_SCALE, _SCALE), np.uint8))
    encoded, picture = cv2.imencode(".png", 255 * (1 - dark))
    try:
        if encoded:
            path.write_bytes(picture.tobytes())
    except OSError as err:
        raise EdgeError(f"{path}: cannot write the picture: {err.strerror}") from err


def terminal_lines(code: str) -> Iterator[str]:
    """*code* drawn with letters, two rows of modules in a line; dark on light on any terminal."""
    dark = _modules(code, _TERMINAL_MARGIN)
    if len(dark) % 2:
        dark = np.vstack([dark, np.zeros((1, dark.shape[1]), np.uint8)])
    letters = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
    for upper, lower in zip(dark[::2], dark[1::2], strict=True):
        row = "".join(letters[int(a), int(b)] for a, b in zip(upper, lower, strict=True))
        yield f"\033[30;107m{row}\033[0m"


def _modules(code: str, margin: int) -> Frame:
    """*code* as a QR code: 1 for a dark module, and *margin* light ones around."""
    made = zxingcpp.create_barcode(code, zxingcpp.BarcodeFormat.QRCode, ec_level="L")
    light = np.asarray(made.to_image(scale=1, add_quiet_zones=False))
    return np.pad((light < 128).astype(np.uint8), margin)
