"""`edge-collector key`: the centre's key, by which units know it, and how it is changed."""

import argparse
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge import cli, config
from edge.collector.settings import CollectorSettings
from edge.collector.signers import Signers
from edge.errors import ConfigError
from edge.sealing import Signer, key_id, open_signer, read_key
from edge.succession import added


def add_command(commands: Any) -> None:
    """Give the parser of `edge-collector` what is said here."""
    parser = commands.add_parser(
        "key",
        parents=[cli.common_again()],
        help="the public key by which units know receipts and orders: their receipts.pub"
        " / khóa công khai để máy nhận ra biên nhận và lệnh: receipts.pub của máy",
        description="Without an option: the key itself, for a unit's receipts.pub. A key is changed"
        " with no visit to any unit: --new makes one and says what to do, in its order.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--new",
        type=Path,
        metavar="FILE",
        help="make a key to change to, in FILE / tạo khóa mới để đổi sang, ghi vào tệp",
    )
    what.add_argument(
        "--units",
        action="store_true",
        help="which units believe the newest key; exit code 1 if one does not"
        " / máy nào đã tin khóa mới nhất; mã thoát 1 nếu còn máy chưa tin",
    )


def open_signers(settings: CollectorSettings, beside: Path) -> Signers:
    """The keys to sign with. The first of all is made when there is none yet. Raises SealError."""
    former = [
        Signer(read_key(config.secret_path(file, beside)))
        for file in settings.former_receipt_key_files
    ]
    return Signers(newest_signer(settings, beside), former)


def newest_signer(settings: CollectorSettings, beside: Path) -> Signer:
    """The key that units are to believe. The first of all is made when there is none yet.

    Raises SealError.
    """
    path = config.secret_path(settings.receipt_key_file, beside)
    if settings.former_receipt_key_files:
        # Made on a collector that was not given it, it would be one that no unit ever believes.
        return Signer(read_key(path))
    return open_signer(path)


def change_key(
    new: Path, settings: CollectorSettings, beside: Path, desired: Mapping[str, Any]
) -> Iterator[str]:
    """Make a key in *new*; gives what is to be done then, line by line.

    *desired*: the settings desired of all units so far. Raises ConfigError, SealError.
    """
    if new.exists():
        raise ConfigError(f"{new}: there is a file already; name one that is not there")
    before = newest_signer(settings, beside)
    key = open_signer(new.absolute()).public_key
    known = desired.get("carry", {}).get("successions", [])
    wish = json.dumps(added(known, key, before), separators=(",", ":"))
    former = json.dumps([settings.receipt_key_file, *settings.former_receipt_key_files])
    yield f"{new}: a new key, {key_id(key)}. Nothing is changed yet. Now, in this order:"
    yield "1. edge-collector key --units"
    yield "   whoever has not said yet what it believes, as units of an older software, is updated"
    yield "   first: from the next step on it is told with the new key"
    yield f"2. in collector.toml: receipt_key_file = {json.dumps(str(new.absolute()))}"
    yield f"   and former_receipt_key_files = {former};"
    yield "   every collector must have all these files, readable for its user; start each anew"
    yield f"3. edge-collector desired all 'carry.successions={wish}' carry.newest_key_only=false"
    yield "4. put it into the deployment's folder as collector/receipts.key, for new cards"
    yield "5. once `edge-collector key --units` says that every unit believes it:"
    yield "   edge-collector desired all carry.newest_key_only=true"
    yield "6. once every unit has that: take former_receipt_key_files out, and start each anew"


def units_lines(newest: bytes, believed: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Which units believe the key *newest*; *believed*: by which keys each knows its centre."""
    name = key_id(newest)
    without = {unit: keys for unit, keys in believed.items() if name not in keys}
    for unit, keys in without.items():
        yield f"{unit}  believes {' or '.join(keys) or 'whoever confirms, or has not said yet'}"
    yield f"{len(believed) - len(without)} of {len(believed)} units believe the newest key, {name}"


def public_text(key: Signer) -> str:
    """The public part of *key* as a unit's receipts.pub has it."""
    return base64.b64encode(key.public_key).decode()


def run(
    settings: CollectorSettings,
    options: argparse.Namespace,
    desired: Mapping[str, Any],
    believed: Mapping[str, Sequence[str]],
) -> int:
    """Do what *options* ask; gives the exit code. Raises ConfigError, SealError."""
    beside = options.config.parent
    if options.new is not None:
        print("\n".join(map(cli.printable, change_key(options.new, settings, beside, desired))))
        return 0
    newest = newest_signer(settings, beside).public_key
    print("\n".join(map(cli.printable, units_lines(newest, believed))))
    return 0 if all(key_id(newest) in keys for keys in believed.values()) else 1
