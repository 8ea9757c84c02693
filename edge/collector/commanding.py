"""Sends commands and desired settings to units; `edge-collector command`, `desired`, `group`.

Whoever commands writes a row; the running collector sends it. So what was asked is on record before
it is done, and nobody needs a second connection under the collector's name.
"""

import argparse
import getpass
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, get_args

from edge import cli
from edge.clock import Clock, SystemClock
from edge.collector.signers import Signers
from edge.errors import ControlError, SealError
from edge.messages import Answer, CommandAction, Status
from edge.mqtt import Connection
from edge.sessions import Sessions
from edge.signed import Order, sign_order
from edge.storage.control import OPEN, CommandRow, ConfigRow, Control
from edge.storage.control.groups import SCOPES
from edge.topics import topic

log = logging.getLogger(__name__)

#: How often the tables are looked at.
LOOK_S = 1.0
CONFIG_LOOK_S = 5.0


class Commander:
    """Part of the collector's turn. All that units are told to do passes here, and is signed."""

    def __init__(
        self,
        connection: Connection | Sessions,
        control: Control,
        clock: Clock,
        signers: Signers | None,
    ) -> None:
        """*signers* are the centre's keys; None commands nobody."""
        self._connection = connection
        self._control = control
        self._clock = clock
        self._signers = signers
        self._next_look = self._next_config_look = clock.monotonic()

    def step(self) -> None:
        """Send what is due. Raises StorageError."""
        now = self._clock.monotonic()
        if not self._connection.connected or now < self._next_look:
            return
        self._next_look = now + LOOK_S
        at = self._clock.now().at
        for area, _, command in self._control.due_commands(at):
            try:
                sent = self._send(area, "cmd", command)
            except SealError as err:
                # Whoever asks should hear it; the collector goes on storing.
                self._control.command_failed(command.id, str(err), at)
                continue
            if sent:
                self._control.command_sent(command.id, at)
        if now < self._next_config_look:
            return
        self._next_config_look = now + CONFIG_LOOK_S
        for area, unit, wished in self._control.due_configs(at):
            try:
                sent = self._send(area, "config", wished)
            except SealError as err:
                log.error("desired settings cannot be sent to %s: %s", unit, err)
                return
            if sent:
                self._control.config_sent(wished, at)

    def _send(self, area: str, channel: str, order: Order) -> bool:
        """Sign *order* and give it to the broker; False if that takes nothing. Raises SealError."""
        if self._signers is None:
            raise SealError("this collector was started without a key to sign with")
        return self._connection.publish(
            topic(area, order.unit, channel), sign_order(order, self._signers.of(order.unit))
        )

    def heard(self, messages: Iterable[tuple[str, Answer | Status]]) -> None:
        """(unit, message) of units that answered, or said that they are there, in their order.

        Raises StorageError.
        """
        at = self._clock.now().at
        revisions = {}
        for unit, message in messages:
            if isinstance(message, Answer):
                self._control.answered(unit, message, at)
            elif message.state == "online":
                revisions[unit] = message.config
        self._control.run_by(revisions, at)


_BY = (
    "who asks; this computer's user is noted too"
    " / ai yêu cầu; tài khoản máy tính này cũng được ghi lại"
)


def add_commands(commands: Any) -> None:
    """Give the parser of `edge-collector` what is said here."""
    command = commands.add_parser(
        "command",
        parents=[cli.common_again()],
        help="command units, or see who commanded what"
        " / ra lệnh cho máy, hoặc xem ai đã ra lệnh gì",
        description="Actions: " + ", ".join(get_args(CommandAction)) + ". Without an action: the"
        " newest commands and what became of them. Exit code 1 if one was not successful.",
    )
    command.add_argument(
        "action",
        nargs="?",
        choices=get_args(CommandAction),
        metavar="ACTION",
        help="what to do / làm gì",
    )
    command.add_argument(
        "units",
        nargs="*",
        metavar="UNIT",
        help=f"a unit's name, or {SCOPES} / tên máy, hoặc một trong các dạng đó",
    )
    command.add_argument(
        "--by",
        default="",
        help=_BY,
    )
    command.add_argument(
        "--minutes", type=float, default=10.0, help="then it has expired / sau đó lệnh hết hạn"
    )
    command.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="S",
        help="for the answers / chờ trả lời bao nhiêu giây",
    )
    command.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    desired = commands.add_parser(
        "desired",
        parents=[cli.common_again()],
        help="the settings that units should have / cấu hình mà các máy cần có",
        description="Without a scope: what each unit should have and has. With one"
        f" ({SCOPES}) and KEY=VALUE...: set these, as in camera.frame_rate=10; KEY="
        " takes one out. What no unit would take is refused here.",
    )
    desired.add_argument("scope", nargs="?", metavar="SCOPE", help=f"{SCOPES} / cho những máy nào")
    desired.add_argument(
        "keys",
        nargs="*",
        metavar="KEY=VALUE",
        help="what to set / đặt gì, như camera.frame_rate=10",
    )
    desired.add_argument(
        "--by",
        default="",
        help=_BY,
    )
    desired.add_argument(
        "--history",
        action="store_true",
        help="who desired what, newest first / ai đã đặt gì, mới nhất trước",
    )
    desired.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    group = commands.add_parser(
        "group",
        parents=[cli.common_again()],
        help="name groups of units, for commands and desired settings"
        " / đặt tên nhóm máy, để ra lệnh và đặt cấu hình",
        description="Without a name: the groups and their units. With one: that group alone, after"
        " units were put in or taken out.",
    )
    group.add_argument("name", nargs="?", metavar="GROUP", help="of the group / tên nhóm")
    group.add_argument(
        "--add", nargs="+", default=[], metavar="UNIT", help="put these in / thêm các máy này"
    )
    group.add_argument(
        "--remove", nargs="+", default=[], metavar="UNIT", help="take these out / bỏ các máy này"
    )
    group.add_argument(
        "--by",
        default="",
        help=_BY,
    )
    group.add_argument(
        "--history",
        action="store_true",
        help="who changed what, newest first / ai đã đổi gì, mới nhất trước",
    )


def run_command(control: Control, options: argparse.Namespace) -> int:
    """`edge-collector command`; gives the exit code. Raises ControlError."""
    if options.action is None:
        rows = control.commands()
        _print(((vars(row), command_line(row)) for row in rows), as_json=options.json)
        if not rows:
            print("no unit was ever commanded", file=sys.stderr)
        return 0
    if not options.units:
        raise ControlError("which units? edge-collector command ACTION UNIT...")
    by, now = who(options.by), SystemClock().now().at
    asked = [
        row.id
        for scope in options.units
        for row in control.command(scope, options.action, by, now, options.minutes * 60)
    ]
    rows = _wait(lambda: [control.find(command_id) for command_id in asked], options.wait)
    _print(((vars(row), command_line(row)) for row in rows), as_json=options.json)
    return 0 if all(row.state == "successful" for row in rows) else 1


def run_desired(control: Control, options: argparse.Namespace) -> int:
    """`edge-collector desired`; gives the exit code. Raises ControlError."""
    if options.history:
        for when, by, scope, settings in control.history():
            print(cli.printable(f"{when}  {by}  {scope}  {settings}"))
        return 0
    if options.scope is not None:
        wished = control.desired(options.scope)
        for key in options.keys:
            set_key(wished, key)
        if options.keys:
            control.desire(options.scope, wished, who(options.by), SystemClock().now().at)
        print(json.dumps(wished))
        return 0
    configs = control.configs()
    _print(((vars(row), config_line(row)) for row in configs), as_json=options.json)
    if not configs:
        print("no unit was ever heard of", file=sys.stderr)
    return 0


def run_group(control: Control, options: argparse.Namespace) -> int:
    """`edge-collector group`; gives the exit code. Raises ControlError."""
    groups = control.groups
    if options.history:
        for when, by, name, units in groups.history():
            print(cli.printable(f"{when}  {by}  {name}  {units}"))
        return 0
    if options.name is None:
        for name, members in groups.groups().items():
            print(f"{name}  {' '.join(members)}")
        return 0
    members = groups.groups().get(options.name, [])
    if options.add or options.remove:
        wanted = {*members, *options.add}.difference(options.remove)
        by = who(options.by)
        members = groups.set_group(options.name, wanted, by, SystemClock().now().at)
    print(f"{options.name}  {' '.join(members)}")
    return 0


def set_key(tables: dict[str, dict[str, Any]], text: str) -> None:
    """Do in *tables* what TABLE.KEY=VALUE says; without a value the key goes. Raises ControlError.

    A value is JSON, or, where it is none, text.
    """
    path, equals, value = text.partition("=")
    table, dot, key = path.partition(".")
    if not (equals and dot and table and key):
        raise ControlError(f"{text!r} must be TABLE.KEY=VALUE, as in camera.frame_rate=10")
    if value:
        try:
            tables.setdefault(table, {})[key] = json.loads(value)
        except ValueError:
            tables.setdefault(table, {})[key] = value
        return
    tables.get(table, {}).pop(key, None)
    if not tables.get(table, {"": ""}):
        del tables[table]


def who(by: str) -> str:
    """Who asks, for the record: the user of this computer, behind the name *by* if one is given."""
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    return f"{by} ({user})" if by else user


def command_line(row: CommandRow) -> str:
    """One command for people."""
    reason = f": {row.reason}" if row.reason else ""
    detail = f"\n{row.detail}" if row.detail else ""
    one_of = f" ({row.scope})" if row.scope not in ("", row.unit) else ""
    asked = f"{row.asked}  {row.asked_by}  {row.unit}{one_of}  {row.action}"
    return f"{asked}  {row.state}{reason}{detail}"


def config_line(row: ConfigRow) -> str:
    """What one unit should have, and has, for people."""
    state = "has it" if row.desired == row.running else row.state or "not sent yet"
    reason = f": {row.reason}" if row.reason and row.desired != row.running else ""
    return f"{row.unit}  {row.desired}  {state}{reason}  {json.dumps(row.settings)}"


def _wait(look: Callable[[], list[CommandRow]], seconds: float) -> list[CommandRow]:
    until = time.monotonic() + seconds
    rows = look()
    while any(row.state in OPEN for row in rows) and time.monotonic() < until:
        time.sleep(0.3)
        rows = look()
    return rows


def _print(rows: Iterable[tuple[dict[str, Any], str]], as_json: bool = False) -> None:
    for facts, line in rows:
        # Only line ends of our own: what a unit wrote cannot act on a terminal.
        text = json.dumps(facts) if as_json else "\n".join(map(cli.printable, line.split("\n")))
        print(text, file=sys.stdout, flush=True)
