"""The command `edge-provision`: a deployment, its places, units and broker.

Here is what concerns a deployment as a whole; the others are in the modules `*_commands`.
"""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import msgspec

from edge import cli
from edge.clock import VIETNAM, utc_text
from edge.config import check, explain
from edge.errors import EdgeError, ProvisionError
from edge.legal_basis import LegalBasis
from edge.provision import releases
from edge.provision.card_commands import add_card_commands
from edge.provision.cards import sign_document
from edge.provision.commands import Commands, add_command, deployment_of
from edge.provision.deployment import make_deployment, utc_now
from edge.provision.end_dates import end_dates
from edge.provision.in_vietnamese import WORDS
from edge.provision.layout import SETTINGS
from edge.provision.place_commands import add_place_commands
from edge.provision.reading_check import reports
from edge.provision.release_commands import add_release_commands, where_to_copy
from edge.provision.settings import ProvisionSettings
from edge.provision.unit_commands import add_unit_commands
from edge.refusals import in_both

DEFAULT_CONFIG = Path(SETTINGS)


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    options = _parser().parse_args(args)
    cli.set_up_logging(options.verbose)
    return cli.run(lambda: _do(options))


def _do(options: argparse.Namespace) -> int:
    work: Callable[[argparse.Namespace], int] = options.work
    try:
        return work(options)
    except EdgeError as err:
        raise ProvisionError(in_both(str(err), WORDS)) from err


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-provision",
        description="Make a deployment, its places, units and cards."
        " / Tạo đợt triển khai, địa điểm, thiết bị và thẻ nhớ.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(parser, DEFAULT_CONFIG)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_init(commands)
    add_place_commands(commands)
    add_unit_commands(commands)
    add_card_commands(commands)
    _add_basis(commands)
    add_release_commands(commands)
    add_command(
        commands,
        "broker",
        _broker,
        "write the files of broker and collector anew / ghi lại các tệp của broker và collector",
    )
    read = add_command(
        commands,
        "read-check",
        _read_check,
        "read the code that edge-scanner check drew / đọc mã QR của edge-scanner check",
    )
    read.add_argument(
        "sources",
        nargs="+",
        metavar="PICTURE|TEXT",
        help="photographs, or its text / ảnh chụp mã, hoặc nội dung của mã",
    )
    dates = add_command(
        commands,
        "check",
        _check,
        "when certificates and legal bases end; exit code 1 on an alarm"
        " / chứng thư, căn cứ pháp lý hết hạn khi nào; mã thoát 1 khi có báo động",
    )
    for one in (read, dates):
        one.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    return parser


def _add_basis(commands: Commands) -> None:
    basis = add_command(
        commands,
        "basis",
        _basis,
        "sign a document by which units may collect / ký căn cứ pháp lý để máy được phép ghi nhận",
    )
    basis.add_argument(
        "--number",
        required=True,
        help="of the order, as it is quoted / số văn bản, như 144/CV-BCĐ",
    )
    basis.add_argument(
        "--issuer", required=True, help="who has ordered it / cơ quan ban hành văn bản"
    )
    basis.add_argument(
        "--places",
        required=True,
        nargs="+",
        help='ids, "cho-*", or "*" for all / mã các điểm, "cho-*", hoặc "*" cho tất cả',
    )
    basis.add_argument(
        "--start",
        required=True,
        type=_day,
        metavar="DATE",
        help="its first day / ngày đầu có hiệu lực, như 2026-12-01",
    )
    basis.add_argument(
        "--end",
        required=True,
        type=_day,
        metavar="DATE",
        help="its last day / ngày cuối còn hiệu lực, như 2026-12-31",
    )


def _add_init(commands: Commands) -> None:
    init = add_command(
        commands,
        "init",
        _init,
        "make a new deployment in an empty folder / tạo đợt triển khai mới trong thư mục trống",
    )
    init.add_argument("folder", type=Path, metavar="FOLDER", help="an empty folder / thư mục trống")
    init.add_argument(
        "--name",
        required=True,
        help="of the deployment: a-z, 0-9, hyphens / tên đợt triển khai: a-z, 0-9, dấu gạch nối",
    )
    init.add_argument(
        "--broker",
        required=True,
        metavar="HOST",
        help="where units reach it / địa chỉ broker mà thiết bị kết nối đến",
    )
    init.add_argument(
        "--port", type=int, default=8883, help="default / cổng, mặc định: %(default)s"
    )
    init.add_argument(
        "--area",
        required=True,
        help="of units for which no other is given / khu vực của máy không ghi khu vực riêng",
    )


def _init(options: argparse.Namespace) -> int:
    table = {
        "deployment": {"name": options.name},
        "broker": {"host": options.broker, "port": options.port},
        "units": {"area": options.area},
    }
    settings = check(table, ProvisionSettings, "cannot make this deployment")
    deployment = make_deployment(options.folder, settings, utc_now())
    print(
        f"{deployment.folder}: đã tạo đợt triển khai; đọc README.md trong đó"
        " / a new deployment; read its README.md"
    )
    return 0


def _basis(options: argparse.Namespace) -> int:
    if options.end < options.start:
        raise ProvisionError(
            f"basis: its last day {options.end} is before its first day {options.start};"
            " correct --start or --end"
        )
    table = {
        "number": options.number,
        "issuer": options.issuer,
        "places": options.places,
        "issued": utc_text(utc_now().timestamp()),
        "start": _midnight(options.start),
        "end": _midnight(options.end + timedelta(days=1)),
    }
    try:
        basis = msgspec.convert(table, LegalBasis)
    except msgspec.ValidationError as err:
        raise ProvisionError(f"basis: {explain(err, table, LegalBasis)}") from None
    deployment = deployment_of(options)
    print(
        f"{sign_document(deployment, basis)}: mọi thẻ ghi từ nay mang theo nó"
        " / goes onto every card from now on"
    )
    if releases.valid_until(deployment) is None:
        print(
            "Máy đã treo: ghi thẻ mới, hoặc chép tệp này vào /etc/edge/basis của máy / a unit that"
            " hangs already: a new card, or this file into its /etc/edge/basis"
        )
    else:
        releases.publish(deployment, utc_now())
        print(
            "Máy đã treo nhận nó cùng danh sách phần mềm / units that hang already get it with the"
            f" list of updates. {where_to_copy(deployment)}"
        )
    return 0


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 2000 <= day.year < 3000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a date such as 2026-12-31")
    return day


def _midnight(day: date) -> str:
    """When *day* begins in Vietnam."""
    return utc_text(datetime.combine(day, time(), VIETNAM).timestamp())


def _broker(options: argparse.Namespace) -> int:
    written = deployment_of(options).write_broker(utc_now())
    print(
        f"{written}: đã ghi lại; chép broker/, collector/ và enrolment/ về máy của chúng rồi khởi"
        " động lại dịch vụ / written anew; copy broker/, collector/ and enrolment/ to their"
        " machines, restart what runs there"
    )
    return 0


def _read_check(options: argparse.Namespace) -> int:
    failed = False
    for report in reports(options.sources):
        if not options.json:
            unit = report.unit or "a unit without a name"
            print(cli.printable(f"{unit}, {report.at}, edge-scanner {report.software}"))
        for result in report.results:
            failed = failed or not result.ok
            print(result.json() if options.json else cli.printable(result.line()))
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> int:
    alarm = False
    now = utc_now()
    for end in end_dates(deployment_of(options), now):
        alarm = alarm or end.alarm
        if options.json:
            facts = {"what": end.what, "ends": end.not_after.isoformat(), "alarm": end.alarm}
            print(json.dumps(facts))
            continue
        days = (end.not_after - now).days
        cure = f"; {end.cure}" if end.alarm else ""
        mark = "✗" if end.alarm else "✓"
        print(f"{mark} {end.vi} / {end.what}: còn {days} ngày / {days} days left{cure}")
    return 1 if alarm else 0


if __name__ == "__main__":
    sys.exit(main())
