"""`edge-scanner diag`: writes a bundle for whoever supports this unit, without personal data.

What may be in it is listed here, and nothing else is: figures, our own lines of the journal, the
settings, names and sizes of files. Scans, keys, passwords, names of networks and the lines of other
programs are not; secrets that this unit has are looked for in what was gathered all the same.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from edge import __version__, config
from edge.check_report import CheckResult
from edge.clock import SystemClock
from edge.config import secret_path
from edge.errors import EdgeError
from edge.files import replace_file
from edge.scanner.boots import BOOTS
from edge.scanner.check import check
from edge.scanner.desired import DESIRED
from edge.scanner.disk_health import mounted, wear
from edge.scanner.health_log import HEALTH_LOG
from edge.scanner.machine import read_machine
from edge.scanner.orders import ORDERS
from edge.scanner.outbox import read_outbox
from edge.scanner.pending_enrolment import IDENTITY, PENDING
from edge.scanner.repair import REPAIR
from edge.scanner.settings import ScannerSettings, UnsetSettings
from edge.scanner.setup import STATE, WIFI, board_serial
from edge.scanner.setup_window import unit_root
from edge.scanner.unset import is_unset
from edge.unit_settings import OutboxSettings

_UNITS = ("edge-scanner", "edge-setup", "edge-update", "edge-reboot", "edge-poweroff")
_JOURNAL = (
    "journalctl --no-pager --quiet --output=json --lines=4000"
    " --output-fields=MESSAGE,SYSLOG_IDENTIFIER,_TRANSPORT"
)
_JOURNAL_S = 60.0
#: Lines of ours say how grave they are and which part of us they are from.
_OURS = re.compile(r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) edge(?:\.[a-z_]+)*: ")
#: Of a fault, where it was; what it says of values stays here.
_FAULT = re.compile(r'(?:Traceback \(most recent|  File "/[^"]*", line \d+, in \w+$)')
#: Of the kernel's lines, those about the card, the supply, the camera and the memory.
_KERNEL = re.compile(r"mmc|EXT4|I/O error|oltage|unicam|imx\d|ov5647|watchdog|Out of memory", re.A)
#: Numbers of persons have nine digits or more.
_LONG_NUMBER = re.compile(r"[0-9]{9,}")
#: Shorter ones would be found everywhere.
_SECRET_CHARACTERS = 6
_LEFT_OUT = "(left out)"
#: Nobody needs more of one part.
_MOST_BYTES = 4_000_000

Journal = Callable[[list[str]], str]


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", also: argparse.ArgumentParser
) -> None:
    """Add the command to the scanner's, with the options of *also*."""
    diag = commands.add_parser(
        "diag",
        parents=[also],
        help="write a bundle for support, without personal data / gói chẩn đoán cho hỗ trợ",
    )
    diag.add_argument(
        "--to",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="default: the present one / thư mục ghi ra, mặc định: thư mục hiện tại",
    )


def run(options: argparse.Namespace) -> int:
    """Write the bundle; prints where it is."""
    print(write_bundle(options.config, options.to))
    return 0


def write_bundle(path: Path, folder: Path, journal: Journal | None = None) -> Path:
    """Write the bundle of the unit whose settings are in *path* into *folder*; gives its file.

    *journal* gives the journal for these further options, a JSON object a line. Raises EdgeError.
    """
    moment = SystemClock().now()
    parts = dict(_parts(path, journal or _read_journal))
    secrets = list(_secrets(path))
    unit = json.loads(parts["about.json"]).get("unit") or "unset"
    stamp = re.sub(r"[^0-9T]", "", moment.at[:16])
    file = folder / f"edge-diag-{unit}-{stamp}.zip"
    new = file.with_suffix(".new")
    try:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in parts.items():
                for secret in secrets:
                    text = text.replace(secret, _LEFT_OUT)
                bundle.writestr(name, text.encode(errors="replace")[-_MOST_BYTES:])
        replace_file(file, [new.read_bytes()])
        new.unlink()
    except OSError as err:
        raise EdgeError(f"{err.filename or file}: cannot write the bundle: {err.strerror}") from err
    return file


def _parts(path: Path, journal: Journal) -> Iterator[tuple[str, str]]:
    root, settings = unit_root(path), _settings(path)
    outbox = Path((settings.outbox if settings else OutboxSettings()).folder)
    unit = settings.unit.id if isinstance(settings, ScannerSettings) else None
    yield "about.json", _json(_about(unit, root))
    yield "settings.json", _json(_shown(settings) if settings else {})
    yield "check.txt", "".join(f"{each.line()}\n" for each in _check(path))
    yield "machine.json", _json(_machine(outbox, root))
    yield "outbox.json", _json(_outbox(outbox))
    for name in (HEALTH_LOG, BOOTS, REPAIR, ORDERS, DESIRED):
        yield name, _text(outbox / name)
    yield Path(STATE).name, _text(root / STATE)
    units = [f"--unit={name}" for name in _UNITS]
    yield "journal.txt", "".join(_lines(journal(units), _is_ours))
    yield "kernel.txt", "".join(_lines(journal(["--dmesg"]), _is_kernels))


def _settings(path: Path) -> UnsetSettings | None:
    try:
        return config.load(path, UnsetSettings if is_unset(path) else ScannerSettings)
    except EdgeError:
        # What is wrong with them is a line of the check.
        return None


def _about(unit: str | None, root: Path) -> dict[str, Any]:
    packages = {each.name: each.version for each in metadata.distributions()}
    release = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    return {
        "unit": unit,
        "software": __version__,
        "at": msgspec.to_builtins(SystemClock().now()),
        "system": release.get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "board": _text(root / "proc/device-tree/model").strip("\0\n "),
        "serial": board_serial(root),
        "python": sys.version.split()[0],
        "packages": dict(sorted(packages.items())),
    }


def _shown(settings: UnsetSettings) -> dict[str, Any]:
    table: dict[str, Any] = msgspec.to_builtins(settings)
    table["broker"].pop("username", None)
    return table


def _check(path: Path) -> Iterable[CheckResult]:
    # The running scanner has the camera and the pins.
    return check(path, devices=False)


def _machine(outbox: Path, root: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"machine": msgspec.to_builtins(read_machine(outbox, root))}
    with suppress(OSError):
        facts["mount"] = mounted(outbox, root)
    try:
        facts["disk"] = wear(outbox, root)[0]
    except (EdgeError, OSError) as err:
        facts["disk"] = str(err)
    facts["uptime_s"] = _text(root / "proc/uptime").split(" ")[0]
    facts["clock_synchronized"] = (root / "run/systemd/timesync/synchronized").exists()
    facts["network"] = {
        interface.name: _text(interface / "operstate").strip()
        for interface in sorted((root / "sys/class/net").glob("*"))
    }
    return facts


def _outbox(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    try:
        facts["status"] = msgspec.to_builtins(read_outbox(folder).status())
        facts["files"] = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    except (EdgeError, OSError) as err:
        facts["error"] = str(err)
    return facts


def _read_journal(options: list[str]) -> str:
    try:
        done = subprocess.run(
            [*_JOURNAL.split(" "), *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_JOURNAL_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as err:
        return json.dumps({"MESSAGE": f"WARNING edge: the journal cannot be read: {err}"})
    return done.stdout.decode(errors="replace")


def _lines(journal: str, wanted: Callable[[dict[str, Any], str], bool]) -> Iterator[str]:
    """The lines of *journal* that are *wanted*, each with its time in microseconds."""
    for line in journal.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        message = entry.get("MESSAGE") if isinstance(entry, dict) else None
        # What is no text, journalctl gives as a list of bytes.
        if isinstance(message, str) and message.isprintable() and wanted(entry, message):
            at = str(entry.get("__REALTIME_TIMESTAMP", ""))
            yield f"{at if at.isdigit() else ''} {_LONG_NUMBER.sub('#', message)}\n"


def _is_ours(entry: dict[str, Any], message: str) -> bool:
    return (
        entry.get("SYSLOG_IDENTIFIER") == "systemd"
        or _OURS.match(message) is not None
        or _FAULT.match(message) is not None
    )


def _is_kernels(entry: dict[str, Any], message: str) -> bool:
    return entry.get("_TRANSPORT") == "kernel" and _KERNEL.search(message) is not None


def _secrets(path: Path) -> Iterator[str]:
    """What this unit must not tell, as far as whoever runs this may read it."""
    root, settings = unit_root(path), _settings(path)
    identity = root / IDENTITY
    found = [
        *(line for file in identity.glob("*.pem*") for line in _key_lines(file)),
        *re.findall(r'"token":\s*"([^"]*)"', _text(identity / PENDING)),
    ]
    for password in re.findall(r"(?m)^psk=(.*)$", _text(root / WIFI)):
        found += [password, password.replace("\\s", " ").replace("\\\\", "\\")]
    if settings is not None:
        broker = settings.broker
        found += _key_lines(Path(settings.carry.key_file))
        for file in filter(None, (broker.password_file, broker.key_file)):
            found += _key_lines(secret_path(file, path.parent))
    return (secret for secret in found if len(secret) >= _SECRET_CHARACTERS)


def _key_lines(path: Path) -> list[str]:
    """The lines of a key or a password, but for those that say what it is."""
    return [line for line in _text(path).splitlines() if not line.startswith("-----")]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, indent=1)
