"""`edge-scanner wipe` and `retire`: a unit that is taken down."""

import argparse
from typing import Any

from edge import config
from edge.clock import SystemClock
from edge.errors import EdgeError
from edge.refusals import in_both
from edge.scanner.in_vietnamese import WORDS
from edge.scanner.retiring import retire
from edge.scanner.settings import ScannerSettings, UnsetSettings
from edge.scanner.setup_window import unit_root
from edge.scanner.unset import is_unset
from edge.scanner.wiping import clear_retained, wipe, wipe_unset


def add_commands(commands: Any, also: argparse.ArgumentParser) -> None:
    """Give the parser of `edge-scanner` what is said here; *also* is common to all commands."""
    wiping = commands.add_parser(
        "wipe",
        parents=[also],
        help="empty a unit that is taken down; its scanner must be stopped / xóa máy đã tháo",
    )
    wiping.add_argument(
        "unit",
        metavar="UNIT",
        help="its name, to be sure; of a unit that is none yet, its batch's"
        " / tên máy, để chắc chắn; máy chưa có tên thì ghi tên lô",
    )
    wiping.add_argument(
        "--lose-scans",
        action="store_true",
        help="even those that nobody has confirmed / bỏ cả các lượt chưa được xác nhận",
    )
    commands.add_parser(
        "retire",
        parents=[also],
        help="what root does when the centre has retired this unit / xóa máy mà trung tâm cho thôi",
    )


def run_wipe(options: argparse.Namespace) -> int:
    """Do `wipe`; gives the exit code."""
    try:
        _wipe(options)
    except EdgeError as err:
        raise EdgeError(in_both(str(err), WORDS)) from err
    return 0


def _wipe(options: argparse.Namespace) -> None:
    if is_unset(options.config):
        unset = config.load(options.config, UnsetSettings)
        wipe_unset(unset, options.unit, unit_root(options.config))
        print("máy này đã trống / this unit is empty")
        return
    settings = config.load(options.config, ScannerSettings)
    lost = wipe(
        settings,
        options.unit,
        lose_scans=options.lose_scans,
        root=unit_root(options.config),
        farewell=lambda: clear_retained(settings, options.config.parent, SystemClock()),
    )
    print(
        f"{options.unit} đã trống; mất {lost} lượt / is empty; {lost} scans are lost. Ở văn phòng /"
        f" at the office: edge-provision retire {options.unit}"
    )


def run_retire(options: argparse.Namespace) -> int:
    """Do `retire`; gives the exit code."""
    print(retire(options.config, unit_root(options.config)))
    return 0
