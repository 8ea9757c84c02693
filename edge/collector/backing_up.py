"""`edge-collector backup`: all that a storage in SQLite holds, in one file, while it is in use."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from sqlalchemy import text

from edge import cli
from edge.errors import ConfigError, StorageError
from edge.files import move_file
from edge.storage.database import Database


def add_command(commands: Any) -> None:
    """Give the parser of `edge-collector` what is said here."""
    parser = commands.add_parser(
        "backup",
        parents=[cli.common_again()],
        help="write all that a storage in SQLite holds into one file, while it is in use"
        " / sao lưu kho SQLite vào một tệp trong khi đang chạy",
        description="For PostgreSQL use pg_dump; how each is put back is said in"
        " edge/storage/README.md. The keys are not in it: keep them apart.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="a file that is not there yet / tệp chưa có"
    )
    parser.add_argument(
        "--json", action="store_true", help="what is in it, as JSON / trong đó có gì, dạng JSON"
    )


def back_up(database: Database, file: Path) -> dict[str, Any]:
    """Write what is in *database* into *file*, check it, and say what is in it.

    It is there whole or not at all. Raises ConfigError, StorageError.
    """
    if database.engine == "postgresql":
        raise ConfigError(
            f"{database.name}: this is for SQLite; for PostgreSQL use"
            " pg_dump --format=custom --file=FILE, see edge/storage/README.md"
        )
    if file.exists():
        raise ConfigError(f"{file}: there is a file already; name one that is not there")
    new = file.with_name(file.name + ".new")
    try:
        new.unlink(missing_ok=True)
        # Empty, and its owner's alone, before anything is in it.
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        database.copy_into(new)
        facts = _check(new)
        with new.open("rb+") as written:
            os.fsync(written.fileno())
        move_file(new, file)
    except OSError as err:
        new.unlink(missing_ok=True)
        if isinstance(err, StorageError):
            raise
        raise ConfigError(f"{file}: cannot write a backup: {err.strerror}") from err
    return {"file": str(file), "bytes": file.stat().st_size, **facts}


def run_backup(database: Database, options: argparse.Namespace) -> int:
    """Do the command."""
    facts = back_up(database, options.file)
    line = (
        json.dumps(facts)
        if options.json
        else f"{facts['file']}: {facts['scans']} scans, the last one received {facts['received']},"
        f" {facts['bytes'] / 1e6:.1f} MB. The keys are not in it."
    )
    print(cli.printable(line))
    return 0


def _check(file: Path) -> dict[str, Any]:
    copy = Database(str(file))
    try:
        with copy.reading("check the copy") as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if found != "ok":
                raise StorageError(
                    f"{file}: the copy is damaged, and so the storage may be: {found}"
                )
            scans = connection.execute(text("SELECT count(*) FROM scan")).scalar_one()
            received = connection.execute(text("SELECT max(last_scan) FROM unit")).scalar_one()
    finally:
        copy.close()
    return {"scans": int(scans), "received": received}
