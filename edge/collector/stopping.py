"""`edge-collector stops`: where a vehicle stood on a day, and how many scans each stop had."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta

from edge import cli
from edge.clock import VIETNAM, utc_text
from edge.errors import ControlError
from edge.storage.database import Database
from edge.storage.stops import StopRow, stops_of

#: So many stops of a day are told, the last: one every minute and a half.
MOST = 1000


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    stops = commands.add_parser(
        "stops",
        parents=[cli.common_again()],
        help="where a vehicle stood, coarsely, and how many scans each stop had"
        " / xe đã dừng ở đâu (khoảng chừng), mỗi nơi bao nhiêu lượt quét",
        description="For units whose settings tell where they stop (gps.position_decimals).",
    )
    stops.add_argument("unit", metavar="UNIT", help="of the vehicle / tên máy trên xe")
    stops.add_argument(
        "--day",
        default="",
        metavar="YYYY-MM-DD",
        help="local day; default: today / ngày, mặc định: hôm nay",
    )
    stops.add_argument("--json", action="store_true", help=cli.JSON_LINES)


def run_stops(database: Database, options: argparse.Namespace, now: Callable[[], datetime]) -> int:
    """Print them; gives the exit code. Raises ControlError for a day that there is not."""
    try:
        day = date.fromisoformat(options.day) if options.day else now().astimezone(VIETNAM).date()
    except ValueError:
        raise ControlError(f"--day is {options.day!r}; it must be as in 2026-12-31") from None
    begins = datetime.combine(day, time(), VIETNAM)
    since, until = (utc_text(moment.timestamp()) for moment in (begins, begins + timedelta(days=1)))
    with database.reading("read stops") as connection:
        rows = stops_of(database, connection, options.unit, MOST, since, until)
    for row in reversed(rows):
        print(json.dumps(asdict(row)) if options.json else cli.printable(_line(row)))
    return 0


def _line(row: StopRow) -> str:
    since, until = (datetime.fromisoformat(at).astimezone(VIETNAM) for at in (row.since, row.until))
    return f"{since:%H:%M}-{until:%H:%M}  {row.latitude}, {row.longitude}  {row.scans} scans"


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
