"""`edge-provision card` and `code`: how a unit learns who it is."""

import argparse
import sys
from pathlib import Path

from edge.card import read_card
from edge.errors import ProvisionError
from edge.provision.boot_partition import (
    check_boot_partition,
    progress_bar,
    unused_card,
    write_boot_partition,
    wrong_machine,
)
from edge.provision.cards import (
    is_covered,
    make_batch_card,
    make_card,
    new_units,
    next_unit,
    without_card,
)
from edge.provision.codes import SHEET, make_codes, write_codes
from edge.provision.commands import Commands, add_command, deployment_of
from edge.provision.deployment import Deployment, utc_now


def add_card_commands(commands: Commands) -> None:
    """Give the parser of `edge-provision` what is said here."""
    _add_card(commands)
    _add_code(commands)


def _add_card(commands: Commands) -> None:
    card = add_command(
        commands,
        "card",
        _card,
        "write the card of a unit, on its boot partition"
        " / ghi thẻ nhớ của một máy, lên phân vùng khởi động",
    )
    card.add_argument(
        "boot",
        type=Path,
        metavar="BOOT",
        help="where the card's bootfs appears / thư mục nơi bootfs của thẻ hiện ra",
    )
    which = card.add_mutually_exclusive_group(required=True)
    which.add_argument("--unit", metavar="ID", help="for this unit / cho máy này")
    which.add_argument(
        "--next",
        action="store_true",
        help="for the next unit without a card / cho máy kế tiếp chưa có thẻ",
    )
    which.add_argument(
        "--batch",
        metavar="NAME",
        help="for any unit of this batch; each becomes itself by its code"
        " / cho mọi máy của lô này; mỗi máy nhận tên bằng mã riêng",
    )
    packages = card.add_mutually_exclusive_group(required=True)
    packages.add_argument(
        "--packages",
        type=Path,
        metavar="FOLDER",
        help="with the .deb files to be installed / thư mục gói phần mềm (.deb) sẽ cài",
    )
    packages.add_argument(
        "--no-packages",
        action="store_true",
        help="for a unit that has the software / máy đã có phần mềm",
    )


def _add_code(commands: Commands) -> None:
    code = add_command(
        commands,
        "code",
        _code,
        "make set-up codes, to be shown to units' cameras"
        " / tạo mã cài đặt để đưa ra trước ống kính của máy",
    )
    code.add_argument("units", nargs="*", metavar="UNIT", help="for these units / cho các máy này")
    code.add_argument(
        "--new",
        action="store_true",
        help="every unit that has neither card nor code yet / mọi máy chưa có thẻ và chưa có mã",
    )
    code.add_argument(
        "--batch",
        metavar="NAME",
        help="the units have this batch's card and are none yet"
        " / các máy dùng thẻ của lô này và chưa có tên",
    )
    code.add_argument(
        "--wifi", action="store_true", help="with the wireless network / kèm mạng Wi-Fi"
    )
    code.add_argument(
        "--broker", action="store_true", help="with the broker's address / kèm địa chỉ broker"
    )
    code.add_argument(
        "--enrol",
        action="store_true",
        help="with a token, for a unit whose certificate has ended"
        " / kèm mã xin chứng thư, cho máy hết hạn chứng thư",
    )
    code.add_argument(
        "--to",
        type=Path,
        default=Path("codes"),
        metavar="FOLDER",
        help="where to; default / thư mục ghi ra, mặc định: %(default)s",
    )


def _card(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    check_boot_partition(options.boot, options.packages)
    if options.batch:
        name = f"batch {options.batch}"
        card = make_batch_card(deployment, options.batch)
    else:
        name = _next(deployment, options.boot) if options.next else options.unit
        card = make_card(deployment, name, utc_now())
    country = deployment.settings.wifi.country
    write_boot_partition(options.boot, card, options.packages, country, progress_bar)
    number = read_card(card).number
    if not options.batch:
        deployment.card_written(name, number)
    print(
        f"{name}: đã ghi thẻ số {number}; tháo thẻ an toàn"
        f" / card {number} is written; eject it properly"
    )
    _warn(deployment, card, options.packages)
    if options.next and (left := sum(1 for _ in without_card(deployment))):
        print(f"còn {left} máy chưa có thẻ / {left} units have no card yet")
    return 0


def _next(deployment: Deployment, boot: Path) -> str:
    """The unit whose turn it is, unless the card that was written last is still in."""
    name = next_unit(deployment).id
    if (other := unused_card(boot)) and other != name:
        raise ProvisionError(
            f"{boot} has the card of unit {other}, which was not taken yet; put the next card in,"
            f" or, to give {other} up, name {name} with --unit"
        )
    return name


def _warn(deployment: Deployment, written: bytes, packages: Path | None) -> None:
    """Say of a card that was written what its unit would lack."""
    card = read_card(written)
    _warn_of_basis(deployment, card.unit.place if card.unit is not None else "")
    if packages is not None and wrong_machine(packages):
        print(
            f"‼ gói trong {packages} không phải cho Raspberry Pi (arm64) / the packages in"
            f" {packages} are not for a Raspberry Pi (arm64)",
            file=sys.stderr,
        )


def _warn_of_basis(deployment: Deployment, place: str) -> None:
    """Say so if no legal basis covers *place*; "" for any place."""
    if not is_covered(deployment, place, utc_now()):
        print(
            f"‼ chưa có căn cứ pháp lý còn hiệu lực cho {place or 'điểm nào'}: máy sẽ không ghi"
            " nhận ai. Chạy edge-provision basis rồi ghi thẻ cho máy / no legal basis that is not"
            f" over covers {place or 'any place'}: the unit will count nobody. Run edge-provision"
            " basis, and write the unit a card",
            file=sys.stderr,
        )


def _code(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    if bool(options.units) == options.new:
        raise ProvisionError("which units? name them, or --new for all with neither card nor code")
    made = make_codes(
        deployment,
        new_units(deployment) if options.new else options.units,
        batch=options.batch,
        now=utc_now(),
        wifi=options.wifi,
        broker=options.broker,
        enrol=options.enrol,
    )
    write_codes(options.to, deployment, made, utc_now())
    for one in made:
        picture = options.to / f"{one.unit.id}.png"
        print(f"{one.unit.id}: mã cài đặt số / set-up code {one.code.number}, {picture}")
    print(
        f"{options.to / SHEET}: để in; mỗi mã dùng một lần, ai thấy trước có thể dùng trước"
        " / to print; a code works once, for whoever shows it first"
    )
    for place in sorted({one.unit.place for one in made}):
        _warn_of_basis(deployment, place)
    return 0
