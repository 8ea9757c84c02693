"""`edge-provision release`: takes packages in, and says which units take which version."""

import argparse
from pathlib import Path

import msgspec

from edge.errors import ProvisionError
from edge.provision import releases
from edge.provision.commands import Commands, add_command, deployment_of
from edge.provision.deployment import Deployment, utc_now
from edge.provision.layout import UPDATES
from edge.ring import Ring


def add_release_commands(commands: Commands) -> None:
    """Give the parser of `edge-provision` what is said here."""
    release = commands.add_parser(
        "release", help="new versions of the units' software, and which units take them"
    )
    whats = release.add_subparsers(dest="what", required=True)
    add = add_command(whats, "add", _add, "take packages into the signed repository")
    add.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="as `make deb` writes them"
    )
    add.add_argument("--units", nargs="+", default=[], metavar="UNIT", help="these take it first")
    stage = add_command(whats, "stage", _stage, "say which units take a version from now on")
    stage.add_argument("version", metavar="VERSION")
    stage.add_argument("--units", nargs="+", default=[], metavar="UNIT")
    stage.add_argument("--areas", nargs="+", default=[], metavar="AREA")
    stage.add_argument("--percent", type=int, default=0, help="of all units, drawn by their names")
    stage.add_argument("--all", action="store_true", help="every unit")
    stage.add_argument(
        "--downgrade",
        action="store_true",
        help="also units that have a newer version go back to it",
    )
    withdraw = add_command(whats, "withdraw", _withdraw, "let no further unit take a version")
    withdraw.add_argument("version", metavar="VERSION")
    add_command(whats, "renew", _renew, "sign the list anew, as it is, in time")
    listed = add_command(whats, "list", _list, "the versions and their units, the newest last")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")


def _add(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    versions = releases.add(deployment, options.files)
    for version in versions:
        releases.stage(deployment, version, Ring(units=tuple(options.units)), utc_now())
        whom = " ".join(options.units) or "nobody yet: edge-provision release stage"
        print(f"{version}: for {whom}")
    if not versions:
        releases.publish(deployment, utc_now())
    print(_where(deployment))
    return 0


def _stage(options: argparse.Namespace) -> int:
    percent = 100 if options.all else options.percent
    if not 0 <= percent <= 100:
        raise ProvisionError(f"--percent is {percent}; it must be 0 to 100")
    ring = Ring(units=tuple(options.units), areas=tuple(options.areas), share=percent)
    if ring == Ring():
        raise ProvisionError("which units? --units, --areas, --percent or --all")
    deployment = deployment_of(options)
    releases.stage(deployment, options.version, ring, utc_now(), downgrade=options.downgrade)
    print(f"{options.version}: for {ring.text()}\n{_where(deployment)}")
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    releases.stage(deployment, options.version, Ring(), utc_now())
    print(f"{options.version}: for nobody\n{_where(deployment)}")
    return 0


def _renew(options: argparse.Namespace) -> int:
    deployment = deployment_of(options)
    if releases.valid_until(deployment) is None:
        raise ProvisionError("nothing was released yet; begin with: edge-provision release add")
    releases.publish(deployment, utc_now())
    print(_where(deployment))
    return 0


def _list(options: argparse.Namespace) -> int:
    for release in releases.read_releases(deployment_of(options)).releases:
        if options.json:
            print(msgspec.json.encode(release).decode())
            continue
        back = ", also as a way back" if release.downgrade else ""
        print(f"{release.version}  {release.ring.text()}{back}")
    return 0


def _where(deployment: Deployment) -> str:
    url = deployment.settings.updates.url
    to = f"the web server of {url}" if url else "a USB stick, as edge-updates"
    return (
        f"copy {deployment.folder / UPDATES} to {to}; units believe it until"
        f" {releases.valid_until(deployment):%Y-%m-%d}"
    )
