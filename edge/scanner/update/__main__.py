"""What the three services of an update run: `python3 -m edge.scanner.update fetch|decide|trial`."""

import argparse
import logging
import subprocess
import sys
from pathlib import Path

from edge import cli, config
from edge.clock import SystemClock
from edge.scanner.desired import DESIRED, wished_settings
from edge.scanner.machine import read_machine
from edge.scanner.pulse import is_scanning
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
    present = Present(installed_version(), held, record.failed)
    fetch(settings, FOLDER / FETCHED, ROOT / UPDATES_KEY, present)
    return 0


def _decide() -> int:
    if not (ROOT / UPDATES_KEY).exists():
        return 0
    own = config.load(ROOT / SETTINGS, ScannerSettings)
    settings = wished_settings(ROOT / SETTINGS, Path(own.outbox.folder) / DESIRED)
    decision = Decision(
        FOLDER,
        ROOT / UPDATES_KEY,
        settings,
        SystemClock(),
        machine=lambda: read_machine(FOLDER),
        scans=is_scanning,
    )
    if decision.make():
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "start", "--no-block", TRIAL], check=True)
    return 0


def _trial() -> int:
    notifier = Notifier()
    Trial(FOLDER, UnitMachine(FOLDER), SystemClock(), ready=notifier.ready).go_on()
    return 0


if __name__ == "__main__":
    sys.exit(main())
