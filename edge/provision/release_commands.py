"""`edge-provision release`: takes packages in, and says which units take which version."""

import argparse
import sys
from pathlib import Path

import msgspec

from edge import cli
from edge.errors import ProvisionError
from edge.provision import releases
from edge.provision.commands import Commands, add_command, add_group, deployment_of
from edge.provision.deployment import Deployment, utc_now
from edge.provision.layout import UPDATES
from edge.ring import Ring

_VERSION = "as `release list` has it / như trong `release list`, ví dụ 0.2.0"


def add_release_commands(commands: Commands) -> None:
    """Give the parser of `edge-provision` what is said here."""
    whats = add_group(
        commands,
        "release",
        "new versions of the units' software, and which units take them"
        " / phần mềm mới của thiết bị, và máy nào nhận",
    )
    add = add_command(
        whats,
        "add",
        _add,
        "take packages into the signed repository / đưa gói vào kho phần mềm đã ký",
    )
    add.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="as `make deb` writes them / gói .deb do `make deb` tạo",
    )
    add.add_argument(
        "--units",
        nargs="+",
        default=[],
        metavar="UNIT",
        help="these take it first / các máy nhận trước",
    )
    stage = add_command(
        whats,
        "stage",
        _stage,
        "say which units take a version from now on / từ nay máy nào nhận phiên bản này",
    )
    stage.add_argument("version", metavar="VERSION", help=_VERSION)
    stage.add_argument(
        "--units", nargs="+", default=[], metavar="UNIT", help="these units / các máy này"
    )
    stage.add_argument(
        "--areas",
        nargs="+",
        default=[],
        metavar="AREA",
        help="units of these areas / máy của các khu vực này",
    )
    stage.add_argument(
        "--percent",
        type=int,
        default=0,
        help="of all units, drawn by their names / phần trăm số máy, chọn theo tên",
    )
    stage.add_argument("--all", action="store_true", help="every unit / mọi máy")
    stage.add_argument(
        "--downgrade",
        action="store_true",
        help="also units that have a newer version go back to it"
        " / cả máy đang có bản mới hơn cũng trở về bản này",
    )
    withdraw = add_command(
        whats,
        "withdraw",
        _withdraw,
        "let no further unit take a version / không máy nào nhận thêm phiên bản này",
    )
    withdraw.add_argument("version", metavar="VERSION", help=_VERSION)
    add_command(
        whats,
        "renew",
        _renew,
        "sign the list anew, as it is, in time / ký lại danh sách trước khi hết hạn",
    )
    listed = add_command(
        whats,
        "list",
        _list,
        "the versions and their units, the newest last"
        " / các phiên bản và máy nhận, bản mới nhất ở cuối",
    )
    listed.add_argument("--json", action="store_true", help=cli.JSON_LINES)


def _add(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    versions = releases.add(deployment, options.files)
    for version in versions:
        releases.stage(deployment, version, Ring(units=tuple(options.units)), utc_now())
        then = "" if options.units else f": edge-provision release stage {version} --units ..."
        print(f"{version}: {_for(Ring(units=tuple(options.units)))}{then}")
    if not versions:
        releases.publish(deployment, utc_now())
    print(where_to_copy(deployment))
    return 0


def _stage(options: argparse.Namespace) -> int:
    percent = 100 if options.all else options.percent
    if not 0 <= percent <= 100:
        raise ProvisionError(f"--percent is {percent}; it must be 0 to 100")
    ring = Ring(units=tuple(options.units), areas=tuple(options.areas), share=percent)
    if ring == Ring():
        raise ProvisionError("for whom? --units, --areas, --percent or --all")
    deployment = deployment_of(options)
    releases.stage(deployment, options.version, ring, utc_now(), downgrade=options.downgrade)
    print(f"{options.version}: {_for(ring)}\n{where_to_copy(deployment)}")
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    releases.stage(deployment, options.version, Ring(), utc_now())
    print(f"{options.version}: {_for(Ring())}\n{where_to_copy(deployment)}")
    return 0


def _renew(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    if releases.valid_until(deployment) is None:
        raise ProvisionError(
            "nothing was released yet; begin with: edge-provision release add FILE.deb"
        )
    releases.publish(deployment, utc_now())
    print(where_to_copy(deployment))
    return 0


def _list(options: argparse.Namespace) -> int:
    known = releases.read_releases(deployment_of(options)).releases
    if not known:
        print(
            "chưa có phiên bản nào; bắt đầu bằng edge-provision release add TỆP.deb"
            " / there is no release yet; begin with: edge-provision release add FILE.deb",
            file=sys.stderr,
        )
    for release in known:
        if options.json:
            print(msgspec.json.encode(release).decode())
            continue
        back = "; kể cả để trở về / also as a way back" if release.downgrade else ""
        print(f"{release.version}  {_for(release.ring)}{back}")
    return 0


def _for(ring: Ring) -> str:
    """Whom *ring* names, for people."""
    if ring.share == 100:
        return "mọi máy / every unit"
    parts = [f"máy / units {', '.join(ring.units)}"] if ring.units else []
    parts += [f"khu vực / areas {', '.join(ring.areas)}"] if ring.areas else []
    parts += [f"{ring.share} % số máy / of all units"] if ring.share else []
    return "; ".join(parts) or "không máy nào / nobody"


def where_to_copy(deployment: Deployment) -> str:
    """Where the folder of updates is to be copied, and until when units believe it."""
    folder, url = deployment.folder / UPDATES, deployment.settings.updates.url
    vi, en = (
        (f"lên máy chủ web {url}", f"to the web server of {url}")
        if url
        else ("vào USB, tên là edge-updates", "to a USB stick, as edge-updates")
    )
    until = f"{releases.valid_until(deployment):%Y-%m-%d}"
    return (
        f"Chép {folder} {vi}; thiết bị tin danh sách này đến {until}"
        f" / copy it {en}; units believe it until {until}"
    )
