"""`edge-provision place`: the register of places."""

import argparse
from datetime import date
from pathlib import Path

import msgspec

from edge import cli
from edge.place_table import COLUMNS, place_from
from edge.provision.commands import Commands, add_command, add_group, deployment_of
from edge.provision.places import places_from_table
from edge.register import KINDS

#: What more may be said of a place: the option, what stands behind it, and what it is.
_WHERE = (
    ("address", "TEXT", "street and number / số nhà, đường"),
    ("since", "DATE", "first day in that area / ngày đầu thuộc địa bàn đó"),
    ("until", "DATE", "last day there / ngày cuối thuộc địa bàn đó"),
    ("province", "TEXT", "province or city / tỉnh, thành phố"),
    ("district", "TEXT", "only until 2025-06-30 / huyện, chỉ đến 2025-06-30"),
    ("commune", "TEXT", "commune or ward / xã, phường"),
    (
        "body",
        "TEXT",
        "in charge; else the one that the letter names"
        " / cơ quan phụ trách; bỏ trống thì theo công văn",
    ),
    ("hours", "TEXT", 'opening hours / giờ mở cửa, như "mon-sat 05:00-18:00"'),
    ("plate", "TEXT", "of a vehicle / biển số xe"),
    ("route", "TEXT", "of a vehicle / tuyến xe"),
    ("trips", "TEXT", 'of a vehicle / các chuyến xe, như "sang-1@05:30 chieu-1"'),
    ("operator", "TEXT", "the company that runs a vehicle / đơn vị vận tải"),
)


def add_place_commands(commands: Commands) -> None:
    """Give the parser of `edge-provision` what is said here."""
    whats = add_group(commands, "place", "the register of places / danh mục địa điểm")
    add = add_command(
        whats,
        "add",
        _place_add,
        "put a place into the register, or change it / thêm hoặc sửa một điểm trong danh mục",
    )
    add.add_argument(
        "id", metavar="ID", help="of the place: a-z, 0-9, hyphens / mã của điểm, như cho-1"
    )
    add.add_argument("--name", required=True, help="as people know it / tên thường gọi")
    kinds = "; ".join(f"{kind}: {words.vi} / {words.en}" for kind, words in KINDS.items())
    add.add_argument(
        "--kind",
        required=True,
        choices=tuple(KINDS),
        metavar="KIND",
        help=f"its kind / loại hình. {kinds}",
    )
    for option, metavar, says in _WHERE:
        add.add_argument(f"--{option}", default="", metavar=metavar, help=says)
    listed = add_command(
        whats, "list", _place_list, "the places, a line each / các điểm, mỗi điểm một dòng"
    )
    listed.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    imports = add_command(
        whats,
        "import",
        _place_import,
        "take places from a table (CSV, XLSX) / nhập các điểm từ bảng (CSV, XLSX)",
    )
    imports.add_argument("file", type=Path, metavar="FILE", help="the table / tệp bảng")


def _place_add(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    place = place_from({column: getattr(options, column) for column in COLUMNS}, "place add")
    deployment.put_places(deployment.register.with_places([place]))
    print(f"{place.id}: {place.name}")
    return 0


def _place_list(options: argparse.Namespace) -> int:
    today = date.today()
    for place in deployment_of(options).register.places:
        if options.json:
            print(msgspec.json.encode(place).decode())
            continue
        area = place.admin_on(today)
        where = ", ".join(filter(None, (area.commune, area.province))) if area else "?"
        print(f"{place.id:<32} {KINDS[place.kind].vi}: {place.name}; {where}; {place.responsible}")
    return 0


def _place_import(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    places = places_from_table(options.file)
    deployment.put_places(deployment.register.with_places(places))
    print(f"đã nhập {len(places)} điểm / {len(places)} places were taken in")
    return 0
