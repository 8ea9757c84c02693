"""`edge-provision unit`, `batch`, `label`, `revoke`, `retire`, `sign`, `issued`: the units."""

import argparse
import sys
from pathlib import Path

import msgspec

from edge import cli
from edge.clock import SystemClock
from edge.errors import ProvisionError
from edge.provision.certifying import sign_files, take_issued
from edge.provision.commands import Commands, add_command, add_group, deployment_of
from edge.provision.deployment import utc_now
from edge.provision.disconnecting import end_connection
from edge.provision.in_vietnamese import WORDS
from edge.provision.inventory import UNIT_COLUMNS, in_order
from edge.provision.labels import write_labels
from edge.provision.places import rows
from edge.refusals import in_both

_NAME = "the unit's name / tên máy, như cho-1-cong-2"
#: What each column of a unit is.
_OF_UNIT = {
    "place": "where it hangs / mã điểm nơi treo máy",
    "direction": "whom it counts / đếm ai: in (vào), out (ra), both (cả hai)",
    "area": "default: that of provision.toml / khu vực; mặc định như trong provision.toml",
    "trip": "of a vehicle / chuyến xe",
    "hardware": "serial number of the only Pi it may be / số sê-ri của máy Pi duy nhất được dùng",
}


def add_unit_commands(commands: Commands) -> None:
    """Give the parser of `edge-provision` what is said here."""
    _add_unit(commands)
    batch = add_command(
        commands,
        "batch",
        _batch,
        "take in the units of a table (CSV, XLSX) / nhập các máy từ bảng (CSV, XLSX)",
    )
    batch.add_argument("file", type=Path, metavar="FILE", help="the table / tệp bảng")
    label = add_command(
        commands, "label", _label, "print the labels of units / in nhãn của các máy"
    )
    label.add_argument("units", nargs="+", metavar="UNIT", help=_NAME)
    for with_labels in (batch, label):
        with_labels.add_argument(
            "--labels",
            type=Path,
            default=Path("labels.pdf"),
            metavar="FILE",
            help="where to, PDF; default / tệp PDF để in, mặc định: %(default)s",
        )
    revoke = add_command(
        commands,
        "revoke",
        _revoke,
        "keep a unit out for ever, from now on / thu hồi máy: từ nay không cho vào nữa",
    )
    gone = add_command(
        commands,
        "retire",
        _revoke,
        "note that a unit was taken down; revokes it / ghi nhận máy đã tháo và thu hồi nó",
    )
    for one in (revoke, gone):
        one.add_argument("unit", metavar="UNIT", help=_NAME)
        one.add_argument(
            "--issued",
            type=Path,
            metavar="FILE",
            help="first take in issued.jsonl, copied from where units enrol"
            " / trước hết nhập issued.jsonl chép từ nơi cấp chứng thư",
        )
    ending = add_command(
        commands,
        "disconnect",
        _disconnect,
        "end the connection that a revoked unit has open / ngắt kết nối còn mở của máy đã thu hồi",
    )
    ending.add_argument("unit", metavar="UNIT", help=_NAME)
    sign = add_command(
        commands,
        "sign",
        _sign,
        "certify units that ask by a USB stick / cấp chứng thư cho máy gửi yêu cầu bằng USB",
    )
    sign.add_argument(
        "requests",
        type=Path,
        metavar="STICK",
        help="the stick, or a file on it / USB, hoặc một tệp trên đó",
    )
    issued = add_command(
        commands,
        "issued",
        _issued,
        "take in what the enrolment endpoint has issued / nhập các chứng thư đã cấp",
    )
    issued.add_argument(
        "ledger",
        type=Path,
        metavar="FILE",
        help="issued.jsonl, copied from where units enrol / chép từ nơi cấp chứng thư",
    )


def _add_unit(commands: Commands) -> None:
    whats = add_group(commands, "unit", "the inventory of units / danh sách thiết bị")
    add = add_command(whats, "add", _unit_add, "take a unit in / thêm một máy")
    add.add_argument("id", metavar="ID", help=_NAME)
    add.add_argument("--place", required=True, help=_OF_UNIT["place"])
    add.add_argument(
        "--direction", required=True, choices=("in", "out", "both"), help=_OF_UNIT["direction"]
    )
    for key in ("area", "trip", "hardware"):
        add.add_argument(f"--{key}", default="", help=_OF_UNIT[key])
    change = add_command(
        whats,
        "change",
        _unit_change,
        "hang a unit elsewhere; then: code / chuyển máy sang cửa hay chiều khác; rồi tạo mã (code)",
    )
    change.add_argument("id", metavar="ID", help=_NAME)
    for key in UNIT_COLUMNS[1:]:
        change.add_argument(f"--{key}", help=_OF_UNIT[key])
    listed = add_command(
        whats, "list", _unit_list, "the units, a line each / các máy, mỗi máy một dòng"
    )
    listed.add_argument("--json", action="store_true", help=cli.JSON_LINES)


def _unit_add(options: argparse.Namespace) -> int:
    row = {key: getattr(options, key) for key in UNIT_COLUMNS}
    (unit,) = deployment_of(options).add_units([row])
    print(f"{unit.id}: {unit.area}, {unit.place}, {unit.direction}")
    return 0


def _unit_change(options: argparse.Namespace) -> int:
    keys = [key for key in UNIT_COLUMNS if key != "id" and getattr(options, key) is not None]
    changes = {key: getattr(options, key) for key in keys}
    unit = deployment_of(options).change_unit(options.id, **changes)
    print(
        f"{unit.id}: {unit.area}, {unit.place}, {unit.direction}; giờ hãy tạo mã và nhãn mới / now:"
        f" edge-provision code {unit.id}; edge-provision label {unit.id}"
    )
    return 0


def _unit_list(options: argparse.Namespace) -> int:
    for unit in deployment_of(options).inventory.units:
        if options.json:
            print(msgspec.json.encode(unit).decode())
            continue
        given = [f"{what} {n}" for what, n in (("card", unit.card), ("code", unit.code)) if n]
        gone = "retired" if unit.retired else "revoked" if unit.revoked else ""
        state = gone or ", ".join(given) or "no card yet"
        print(f"{unit.id:<32} {unit.area} {unit.place} {unit.direction} {unit.trip} {state}")
    return 0


def _batch(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    table = rows(options.file, UNIT_COLUMNS[:3], UNIT_COLUMNS)
    taken = deployment.add_units(
        (row for _, row in table), [f"{options.file}, row {number}" for number, _ in table]
    )
    # In the order in which `card --next` writes them: labels are stuck on one after the other.
    taken.sort(key=lambda unit: in_order(unit.id))
    write_labels(options.labels, deployment, taken, utc_now())
    print(
        f"{len(taken)} máy; nhãn trong {options.labels}; tiếp theo: card BOOT --next"
        f" / {len(taken)} units; their labels are in {options.labels}; now: card BOOT --next"
    )
    return 0


def _label(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    units = [deployment.inventory.unit(name) for name in options.units]
    write_labels(options.labels, deployment, units, utc_now())
    print(f"{options.labels}: nhãn để in / labels to print")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    if options.issued is not None:
        take_issued(deployment, options.issued, utc_now())
    retired = options.command == "retire"
    unit = deployment.revoke(options.unit, utc_now(), retired=retired)
    folder = deployment.settings.broker.folder
    vi, en = ("đã tháo và thu hồi", "retired and revoked") if retired else ("đã thu hồi", "revoked")
    print(
        f"{unit.id}: {vi} / {en}, {len(unit.certificates)} chứng thư / certificates\n"
        f"1. chép / copy broker/revoked.pem, broker/rules.acl -> {folder};"
        " systemctl reload mosquitto\n"
        "2. chép / copy enrolment/revoked.txt -> /etc/edge-enrol (nơi cấp chứng thư / where units"
        " enrol)\n"
        f"3. edge-provision disconnect {unit.id}"
    )
    return 0


def _disconnect(options: argparse.Namespace) -> int:
    end_connection(deployment_of(options), options.unit, SystemClock())
    print(
        f"{options.unit}: kết nối đã bị ngắt và máy không vào lại được"
        " / its connection has ended, and it did not come in again"
    )
    return 0


def _sign(options: argparse.Namespace) -> int:
    signed = sign_files(deployment_of(options), options.requests, utc_now())
    for answer in signed.answers:
        print(f"{answer}: cắm USB lại vào máy đó / put the stick into that unit again")
    for why in signed.refused[:-1]:
        print(f"error: {cli.printable(in_both(why, WORDS))}", file=sys.stderr)
    if signed.refused:
        raise ProvisionError(signed.refused[-1])
    return 0


def _issued(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    taken = take_issued(deployment, options.ledger, utc_now())
    print(
        f"{taken.new} chứng thư mới, {taken.replaced} đã có chứng thư mới hơn thay"
        f" / {taken.new} certificates are new, {taken.replaced} were replaced by newer ones"
    )
    if taken.replaced:
        folder = deployment.settings.broker.folder
        print(
            f"Chép broker/revoked.pem vào {folder} trên máy broker rồi chạy systemctl reload"
            " mosquitto; từ đó chứng thư đã bị thay không vào được nữa / These are shut out once"
            f" broker/revoked.pem is copied to {folder} on the broker's machine, then: systemctl"
            " reload mosquitto"
        )
    return 0
