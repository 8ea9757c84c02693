"""The command `edge-scanner outbox`: what waits, and how it is carried by hand."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from edge import config
from edge.clock import SystemClock
from edge.scanner.carrier import export, forget, read_centre, read_confirmed
from edge.scanner.desired import with_succession
from edge.scanner.disk import as_owner_of, explained
from edge.scanner.held import OutboxStatus
from edge.scanner.outbox import Outbox, read_outbox
from edge.scanner.schedule import Schedule
from edge.scanner.settings import ScannerSettings
from edge.sealing import open_signer

MB = 1_000_000


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", also: argparse.ArgumentParser
) -> None:
    """Add the command to the scanner's, with the options of *also*."""
    outbox = commands.add_parser(
        "outbox", help="the scans that are not confirmed yet / các lượt chưa gửi xong"
    )
    # Of its own: what is added to *also* would be every later command's.
    also = argparse.ArgumentParser(add_help=False, parents=[also])
    also.add_argument(
        "--folder",
        type=Path,
        help="an outbox elsewhere, as on a pulled card"
        " / lượt chưa gửi ở nơi khác, như trên thẻ đã tháo",
    )
    whats = outbox.add_subparsers(dest="what", required=True)
    whats.add_parser(
        "list",
        parents=[also],
        help="the scans, a JSON line each / từng lượt quét, mỗi lượt một dòng JSON",
    )
    whats.add_parser(
        "status",
        parents=[also],
        help="how many, how old, how much room: JSON"
        " / bao nhiêu lượt, từ lúc nào, còn chỗ bao nhiêu: JSON",
    )
    what = whats.add_parser(
        "export",
        parents=[also],
        help="write them into a bundle, as onto a USB stick / ghi chúng thành gói, như vào USB",
    )
    what.add_argument(
        "to", type=Path, metavar="FOLDER", help="such as the stick / nơi ghi ra, như USB"
    )
    what = whats.add_parser(
        "receipt",
        parents=[also],
        help="forget what the centre's receipt for a bundle confirms"
        " / bỏ các lượt mà biên nhận của trung tâm đã xác nhận",
    )
    what.add_argument(
        "receipt", type=Path, metavar="FILE", help="from the centre / biên nhận của trung tâm"
    )


def run(options: argparse.Namespace) -> int:
    """Do what the command says; gives its exit code. Raises EdgeError."""
    if options.what == "export":
        return _export(options)
    if options.what == "receipt":
        return _receipt(options)
    if options.what == "list":
        for scan in read_outbox(_folder(options)).scans():
            # The sealed identity stays where it is: nobody here can read it.
            facts = ("seq", "id", "epoch", "at", "place", "direction", "document")
            print(json.dumps({fact: getattr(scan, fact) for fact in facts}))
        return 0
    print(json.dumps(dataclasses.asdict(_status(options))))
    return 0


def _status(options: argparse.Namespace) -> OutboxStatus:
    if options.folder is not None and not options.config.exists():
        # A card that was pulled out: how much it may hold stands in its own unit's settings.
        return read_outbox(_folder(options)).status()
    limits = config.load(options.config, ScannerSettings).outbox
    return read_outbox(
        _folder(options),
        max_bytes=limits.max_mb * MB,
        keep_free_bytes=limits.keep_free_mb * MB,
    ).status()


def _export(options: argparse.Namespace) -> int:
    settings = config.load(options.config, ScannerSettings)
    key = open_signer(Path(settings.carry.key_file))
    schedule = Schedule(settings.unit, settings.vehicle)
    path = export(_folder(options), options.to, settings.unit, schedule, key, SystemClock())
    print(path)
    return 0


def _receipt(options: argparse.Namespace) -> int:
    own = config.load(options.config, ScannerSettings)
    settings = with_succession(options.config, own)
    folder = _folder(options)
    centre = read_centre(settings.carry, options.config.parent)
    # Before anything of the outbox is touched, and as whoever asks: a stick may be root's.
    confirmed = read_confirmed(options.receipt, settings.unit.id, centre)
    with (
        explained(folder),
        as_owner_of(folder),
        Outbox(folder, max_bytes=sys.maxsize, keep_free_bytes=0) as outbox,
    ):
        print(f"{forget(outbox, confirmed)} scans are confirmed")
    return 0


def _folder(options: argparse.Namespace) -> Path:
    if options.folder is not None:
        return Path(options.folder)
    return Path(config.load(options.config, ScannerSettings).outbox.folder)
