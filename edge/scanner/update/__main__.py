"""What the three services of an update run: `python3 -m edge.scanner.update fetch|decide|trial`."""

import argparse
import hashlib
import logging
import subprocess
import sys
from pathlib import Path

from edge import cli, config
from edge.clock import SystemClock
from edge.scanner.desired import signed_wish, with_wished
from edge.scanner.machine import read_machine
from edge.scanner.pulse import is_connected, is_scanning
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import SETTINGS, UPDATES_KEY
from edge.scanner.update.apt import installed_version
from edge.scanner.update.decide import TRIAL, Decision, whole_version
from edge.scanner.update.fetch import Present, fetch
from edge.scanner.update.record import FETCHED, FOLDER, HELD, record_file
from edge.scanner.update.trial import Trial, UnitMachine
from edge.systemd import Notifier

log = logging.getLogger(__name__)

ROOT = Path("/")


def main(args: list[str] | None = None) -> int:
    """Run one service; gives its exit code."""
    parser = argparse.ArgumentParser(prog="edge-update", description=__doc__)
    parser.add_argument("step", choices=("fetch", "decide", "trial"))
    cli.set_up_logging(verbose=False)
    step = parser.parse_args(args).step
    return cli.run({"fetch": _fetch, "decide": _decide, "trial": _trial}[step])


def _fetch() -> int:
    if not (ROOT / UPDATES_KEY).exists():
        log.info("this unit's card brought no key for updates")
        return 0
    settings = config.load(ROOT / SETTINGS, ScannerSettings)
    record = record_file(FOLDER).read()
    held = whole_version(FOLDER / HELD, record.held)
    # By another key, as with a card of another deployment, what was seen is no measure.
    ours = record.key == hashlib.sha256((ROOT / UPDATES_KEY).read_bytes()).hexdigest()
    signed_at = record.signed_at if ours else 0.0
    # What is in place of a version that failed, and cannot be taken back, is none to go by.
    installed = record.before if record.stuck else installed_version()
    present = Present(installed, held, record.failed, signed_at, record.stuck)
    fetch(settings, FOLDER / FETCHED, ROOT / UPDATES_KEY, present)
    return 0


def _decide() -> int:
    if not (ROOT / UPDATES_KEY).exists():
        return 0
    settings = settings_of_root(ROOT / SETTINGS, FOLDER)
    decision = Decision(
        FOLDER,
        ROOT / UPDATES_KEY,
        settings,
        SystemClock(),
        machine=lambda: read_machine(FOLDER),
        scans=is_scanning,
        connected=is_connected,
    )
    if decision.make():
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "start", "--no-block", TRIAL], check=True)
    return 0


def settings_of_root(own: Path, folder: Path) -> ScannerSettings:
    """The settings of the file *own*, with when the centre wishes for updates, as root knows it.

    *folder* is root's own. Raises EdgeError.
    """
    settings = config.load(own, ScannerSettings)
    centre, wished = signed_wish(own, settings)
    file = record_file(folder)
    record = file.read()
    before = record.wish
    update = record.believe(wished, settings.unit.id, centre)
    # While a trial lasts the record is the trial's.
    if record.wish != before and record.phase == "idle":
        file.write(record)
    return with_wished(own, {"update": update})


def _trial() -> int:
    notifier = Notifier()
    Trial(FOLDER, UnitMachine(FOLDER), SystemClock(), ready=notifier.ready).go_on()
    return 0


if __name__ == "__main__":
    sys.exit(main())
