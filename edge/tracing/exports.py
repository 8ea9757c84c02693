"""Answers as files for a spreadsheet, each row of which says whose it is and until when to keep it.

A row that was copied out of its file can still be traced to who exported it, and is in the audit
besides. What was exported is its holder's: nothing can erase it there, so it names the day by which
they must.
"""

import argparse
import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from edge import cli, config
from edge.clock import SystemClock, utc_seconds
from edge.errors import DeskError
from edge.tables import write_table
from edge.tracing.columns import Columns, cell_text
from edge.tracing.settings import TraceSettings
from edge.tracing.shown import local_text

TRACED = (
    "xuất bởi / by",
    "vụ việc / case",
    "số / number",
    "lúc / at",
    "xóa trước / erase before",
)


def add_out(command: Any) -> None:
    """Add `--out` to the command line of a question."""
    command.add_argument(
        "--out",
        type=Path,
        help="write it into FILE.csv or FILE.xlsx instead / ghi vào tệp .csv hoặc .xlsx",
    )


def kind_of(out: Path | None) -> Literal["", "csv", "xlsx"]:
    """What kind of file *out* is; "" for none. Raises DeskError, before anything is asked."""
    if out is None:
        return ""
    match out.suffix.lower():
        case ".csv":
            return "csv"
        case ".xlsx":
            return "xlsx"
    raise DeskError(f"{out}: an export is a .csv or an .xlsx file")


def export(
    options: argparse.Namespace, case: str, columns: Columns, rows: Sequence[Any], number: str = ""
) -> int:
    """Write *rows* of *case* into `options.out`, which must not be there yet; gives the exit code.

    *number*: of the release, where it is one. Raises DeskError.
    """
    out, kind = options.out, kind_of(options.out)
    assert kind
    now = SystemClock().now().at
    by = options.worker or pwd.getpwuid(os.geteuid()).pw_name
    traced = [by, case, number, now, erase_before(options.config, now)]
    header = [title for _, title in columns] + list(TRACED)
    cells = ([cell_text(row[name]) for name, _ in columns] + traced for row in rows)
    try:
        with out.open("xb") as file:
            out.chmod(0o600)
            count = write_table(file, kind, header, cells, case)
    except OSError as err:
        raise DeskError(f"{out}: cannot write there: {err.strerror}") from err
    print(cli.printable(f"{out}: {count}"))
    return 0


def erase_before(settings: Path, now: str) -> str:
    """The local day before which what is exported at *now* must be erased, as 2021-07-23.

    The desk's retention from now on, although what it tells of is older.
    """
    days = config.load(settings, TraceSettings).index.retention_days
    return local_text(round(utc_seconds(now) * 1000) + days * 86_400_000)[:10]
