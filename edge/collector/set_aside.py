"""`edge-collector set-aside`: the messages that could not be read, and why."""

import argparse

from edge import cli
from edge.storage.storage import Storage

#: So many are shown, if nobody says how many.
SHOWN = 20


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to *commands*."""
    aside = commands.add_parser(
        "set-aside",
        parents=[cli.common_again()],
        help="the messages that could not be read, newest first, and why"
        " / các thông điệp không đọc được, mới nhất trước, và lý do",
        description="What is no scan, status or health is set aside and never confirmed. Its topic"
        " names the unit; a unit that sends such is to be updated, or looked at: it may be"
        " somebody else.",
    )
    aside.add_argument(
        "--most",
        type=int,
        default=SHOWN,
        metavar="N",
        help=f"so many; default / bao nhiêu, mặc định: {SHOWN}",
    )
    aside.add_argument("--json", action="store_true", help=cli.JSON_LINES)


def run_set_aside(storage: Storage, options: argparse.Namespace) -> int:
    """Print them; gives the exit code. What was in them is not shown: it may be personal."""
    for received, topic, reason, size in storage.set_asides(max(0, options.most)):
        if options.json:
            row = {"received": received, "topic": topic, "reason": reason, "bytes": size}
            print(cli.json_line(row))
        else:
            print(cli.printable(f"{received}  {topic}  {size} bytes: {reason}"))
    return 0
