"""`edge-collector move`: from a storage in SQLite into a PostgreSQL, with all that it holds."""

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge import cli, config
from edge.storage.database import Database
from edge.storage.moving import move


def add_command(commands: Any) -> None:
    """Give the parser of `edge-collector` what is said here."""
    parser = commands.add_parser(
        "move",
        parents=[cli.common_again()],
        help="move all that a storage in SQLite holds into an empty PostgreSQL"
        " / chuyển toàn bộ kho SQLite sang PostgreSQL trống",
        description="Stop the collector, the dashboard and the tracing desk first, and afterwards"
        " name the PostgreSQL in the settings of each. It is moved whole or not at all. What comes"
        " before and after it: edge/storage/README.md."
        " / Chuyển toàn bộ kho dữ liệu từ SQLite sang PostgreSQL trống.",
    )
    parser.add_argument(
        "url",
        metavar="URL",
        help="such as postgresql://edge@db1,db2,db3/edge"
        " / địa chỉ PostgreSQL, như postgresql://edge@db1/edge",
    )
    parser.add_argument(
        "--password-file",
        type=Path,
        help="for that PostgreSQL, one line / tệp mật khẩu của PostgreSQL đó, một dòng",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="what was moved, as JSON / đã chuyển những gì, dạng JSON",
    )


def run_move(source: Database, options: argparse.Namespace) -> int:
    """Do the command."""
    password = config.secret(str(options.password_file), Path()) if options.password_file else ""
    with closing(Database(options.url, password)) as target:
        moved = move(source, target, _tell)
    if options.json:
        print(json.dumps(asdict(moved)))
        return 0
    old, new = cli.printable(source.name), cli.printable(target.name)
    print(
        f"{moved.scans} scans and all else, {moved.rows} rows, are in {new}. Now name it as"
        " storage.url in collector.toml, dashboard.toml and trace.toml, and start them. Nothing"
        f" opens {old} any more; when the new one has a backup, delete it: identities are in it,"
        " sealed."
    )
    return 0


def _tell(text: str) -> None:
    print(cli.printable(text), file=sys.stderr, flush=True)
