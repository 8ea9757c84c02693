"""The command `edge-scanner setup`: takes a card file or a set-up code, as root."""

import argparse
import logging
import sys
import time
from contextlib import closing
from pathlib import Path

from edge.clock import SystemClock
from edge.errors import IndicatorError
from edge.scanner.indicator import Signal, open_indicator
from edge.scanner.retiring import finish_retiring
from edge.scanner.setup import Setup, set_up
from edge.scanner.setup_by_code import finish_code, take_code

log = logging.getLogger(__name__)

#: How long it takes to tell whether a card was taken.
SETUP_S = 1.5


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the scanner's."""
    setup = commands.add_parser(
        "setup",
        help="take the card file on the boot partition, or the set-up code that was read"
        " / nhận thẻ hoặc mã cài đặt",
    )
    setup.add_argument(
        "--boot",
        type=Path,
        default=Path("/boot/firmware"),
        metavar="FOLDER",
        help="where the boot partition is / nơi gắn phân vùng khởi động",
    )
    setup.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="FOLDER",
        help="of the unit's own system / hệ thống của máy",
    )


def run(options: argparse.Namespace) -> int:
    """Take what there is; exit code 1 if it was refused."""
    boot, root = options.boot, options.root
    finish_retiring(root)
    # What the start of the machine finds is told here; the scanner itself tells what it asked for.
    found = [_told(done) for done in (set_up(boot, root), finish_code(boot, root)) if done]
    asked = take_code(boot, root)
    if asked is not None:
        _log(asked)
        found.append(asked)
    return 0 if all(done.applied for done in found) else 1


def _told(done: Setup) -> Setup:
    _log(done)
    if done.settings is not None:
        try:
            with closing(
                open_indicator(done.settings.indicator, sys.stdout, SystemClock())
            ) as indicator:
                indicator.show(Signal.SET_UP if done.applied else Signal.NOT_SET_UP)
                time.sleep(SETUP_S)
        except IndicatorError as err:
            # What was done is done; the card and the log say so as well.
            log.warning("%s", err)
    return done


def _log(done: Setup) -> None:
    log.log(logging.INFO if done.applied else logging.ERROR, "%s", done.text)
