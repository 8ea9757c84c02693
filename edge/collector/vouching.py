"""`edge-collector clock`: by which time is erased, and a person's word that the clock is right."""

import argparse
from datetime import date, datetime
from pathlib import Path

from edge import cli
from edge.chain import Chain
from edge.clock import VIETNAM, Clock
from edge.collector.commanding import who
from edge.errors import ControlError
from edge.storage.database import Database
from edge.storage.keeping.known_time import DO, Known, KnownTime

_SOURCES = {
    "ntp": "máy chủ thời gian / a time server",
    "gnss": "máy thu GPS / a GPS receiver",
    "rtc": "đồng hồ phần cứng / its hardware clock",
    "none": "chưa có gì / nothing",
}
_VOUCHED = _SOURCES | {"person": "một người / a person", "": "chưa có ai / nobody"}


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    clock = commands.add_parser(
        "clock",
        parents=[cli.common_again()],
        help="by which time scans are erased on this machine, and why not by its clock"
        " / máy này xóa theo giờ nào, và vì sao không theo đồng hồ",
        description="Days are erased by a clock that a time server or a GPS receiver has set. In a"
        " network without one they are erased by what is known of the time: it goes on while this"
        " machine is on, and by up to a week more after it was off. When it was off for longer, or"
        " at first where it has no hardware clock, say once what day it is. Exit code 1 while"
        " erasing is held back or late.",
    )
    clock.add_argument(
        "--today",
        metavar="YYYY-MM-DD",
        help="the day of today, from a calendar: vouches for this machine's clock if it says the"
        " same / ngày hôm nay theo lịch: xác nhận đồng hồ của máy nếu đồng hồ cũng chỉ ngày đó",
    )
    clock.add_argument("--json", action="store_true", help="one JSON object / một đối tượng JSON")


def run_clock(
    database: Database, options: argparse.Namespace, clock: Clock, collector: str, receipts: Path
) -> int:
    """Show it, or vouch; gives the exit code. Raises ControlError, ChainError, StorageError.

    That somebody vouched, and for which time, is an entry among the *receipts*.
    """
    time, moment = KnownTime(database, collector), clock.now()
    known = time.now(moment)
    if options.today:
        shown = _local(moment.at)
        if _day(options.today) != shown.date():
            raise ControlError(
                f"this machine's clock says {shown:%Y-%m-%d %H:%M}, not {options.today}; set it"
                " first, as by: sudo timedatectl set-ntp false; sudo timedatectl set-time"
                " 'YYYY-MM-DD HH:MM'"
            )
        facts = {"who": who(""), "today": options.today, "known": known.at, "clock": moment.clock}
        Chain(receipts).append(moment.at, "clock vouched for", facts)
        known = time.vouch(moment)
    for line in [_json(known, moment.clock)] if options.json else _lines(known, moment.clock):
        print(line)
    return 1 if known.trouble else 0


def _lines(known: Known, source: str) -> list[str]:
    lines = [
        f"đồng hồ / clock: {_local(known.clock):%Y-%m-%d %H:%M} ({_SOURCES[source]})",
        f"xác nhận bởi / vouched for by: {_VOUCHED[known.vouched]}",
        f"xóa theo / erased by: {_local(known.erases_by):%Y-%m-%d %H:%M}"
        if known.erases_by
        else "xóa theo / erased by: không xóa / nothing is erased",
    ]
    if known.trouble:
        lines += [*known.says, *DO]
    return lines


def _json(known: Known, source: str) -> str:
    return cli.json_line(
        {
            "clock": known.clock,
            "source": source,
            "vouched": known.vouched,
            "erases_by": known.erases_by,
            "trouble": known.trouble,
            "off_s": known.off_s,
            "held_back": known.held_back,
        }
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ControlError(f"--today is {text!r}; it must be as in 2026-12-31") from None


def _local(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone(VIETNAM)
