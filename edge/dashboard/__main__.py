"""The command `edge-dashboard`: reads its settings, opens things, and loops."""

import argparse
import getpass
import json
import secrets
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from edge import cli, config
from edge.clock import SystemClock
from edge.dashboard.app import Application
from edge.dashboard.parts import accounts, build
from edge.dashboard.rights import ROLES
from edge.dashboard.scope import Scope
from edge.dashboard.service import Service
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.storing import open_database
from edge.errors import PeopleError
from edge.garbage import look_for_garbage_rarely
from edge.register import read_register
from edge.serving import Server, serve
from edge.storage.places import keep_register

DEFAULT_CONFIG = Path("/etc/edge/dashboard.toml")


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="edge-dashboard",
        description="Show what units do: pages, reports, alarms. / Trang theo dõi và báo cáo.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(parser, DEFAULT_CONFIG)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser(
        "run",
        parents=[cli.common_again()],
        help="serve the pages until stopped (the default)"
        " / phục vụ các trang cho đến khi dừng (mặc định)",
    )
    people = commands.add_parser(
        "people",
        parents=[cli.common_again()],
        help="who may sign in; makes the first operator"
        " / ai được đăng nhập; tạo người vận hành đầu tiên",
    )
    doing = people.add_subparsers(dest="doing", required=True)
    add = doing.add_parser(
        "add", parents=[cli.common_again()], help="make an account / tạo tài khoản"
    )
    add.add_argument("name", help="to sign in with / tên đăng nhập")
    add.add_argument(
        "--role", choices=ROLES, default="operator", help="default / vai trò, mặc định: %(default)s"
    )
    for kind, says, vi in (
        ("place", "a manager's place", "điểm của người quản lý"),
        ("body", "every place of this body in charge", "mọi điểm của cơ quan phụ trách này"),
        (
            "area",
            'every place in this area, such as "Phường Mẫu, Gia Lai"',
            "mọi điểm ở địa bàn này",
        ),
        ("operator", "every vehicle of this operator", "mọi xe của đơn vị này"),
    ):
        add.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            help=f"{says}; repeatable / {vi}; ghi được nhiều lần",
        )
    password = doing.add_parser(
        "password",
        parents=[cli.common_again()],
        help="give an account a new password / đặt mật khẩu mới cho tài khoản",
    )
    password.add_argument("name", help="of the account / tên đăng nhập")
    for command in (add, password):
        command.add_argument(
            "--make",
            action="store_true",
            help="make a password and print it, instead of asking for one"
            " / tự tạo mật khẩu và in ra, thay vì hỏi",
        )
    listed = doing.add_parser(
        "list", parents=[cli.common_again()], help="every account / mọi tài khoản"
    )
    listed.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    places = commands.add_parser(
        "places",
        parents=[cli.common_again()],
        help="the register of places at the centre / danh mục địa điểm ở trung tâm",
    )
    placing = places.add_subparsers(dest="doing", required=True)
    imported = placing.add_parser(
        "import",
        parents=[cli.common_again()],
        help="put the places of a register.json, as edge-provision keeps it, into storage"
        " / đưa các điểm trong register.json của edge-provision vào kho",
    )
    imported.add_argument("file", type=Path, help="register.json / tệp danh mục")
    imported.add_argument(
        "--remove",
        action="store_true",
        help="take out places that are not in the file / bỏ các điểm không có trong tệp",
    )
    imported.add_argument(
        "--json", action="store_true", help="what changed, as JSON / đã đổi gì, dạng JSON"
    )
    options = parser.parse_args(args)
    cli.set_up_logging(options.verbose)
    work = {"people": _people, "places": _places}.get(options.command, _run)
    return cli.run(lambda: work(options))


def _run(options: argparse.Namespace) -> int:
    look_for_garbage_rarely()
    settings = config.load(options.config, DashboardSettings)
    with closing(open_database(settings.storage, options.config.parent)) as database:
        people = accounts(settings, database)
        parts = build(settings, database, people, SystemClock(), options.config.parent)
        service = Service(parts)
        web = settings.web
        server = Server(
            Application(parts).asgi(),
            options.config.parent,
            host=web.host,
            port=web.port,
            certificate_file=web.certificate_file,
            key_file=web.key_file,
            proxies=web.proxies,
        )
        with closing(service):
            return serve(server, "edge-dashboard", service.step)


def _people(options: argparse.Namespace) -> int:
    settings = config.load(options.config, DashboardSettings)
    with closing(open_database(settings.storage, options.config.parent)) as database:
        people = accounts(settings, database)
        if options.doing == "list":
            for person in people.all():
                line = (
                    json.dumps(asdict(person), default=sorted)
                    if options.json
                    else f"{person.name} {person.role}"
                )
                print(line)
            return 0
        password = secrets.token_urlsafe(12) if options.make else _ask_password(options.name)
        if options.doing == "add":
            now = SystemClock().now().at
            scope = Scope.of(options.place, options.body, options.area, options.operator)
            people.add(options.name, options.role, password, now, scope)
        else:
            people.set_password(options.name, password)
        if options.make:
            print(password)
    return 0


def _places(options: argparse.Namespace) -> int:
    settings = config.load(options.config, DashboardSettings)
    register = read_register(options.file)
    with closing(open_database(settings.storage, options.config.parent)) as database:
        now = SystemClock().now().at
        change = keep_register(database, register, now, remove=options.remove)
    if options.json:
        print(json.dumps(asdict(change)))
    else:
        counted = (len(change.added), len(change.changed), len(change.removed))
        print("thêm / added {}, đổi / changed {}, bỏ / removed {}".format(*counted))
    return 0


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"mật khẩu cho / password for {name}: ")
    if password != getpass.getpass("lần nữa / again: "):
        raise PeopleError("the two passwords are not alike; nothing was changed")
    return password


if __name__ == "__main__":
    sys.exit(main())
