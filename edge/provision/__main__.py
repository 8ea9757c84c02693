"""The command `edge-provision`: a deployment, its places, units and broker."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import msgspec

from edge import cli
from edge.card import read_card
from edge.clock import VIETNAM, utc_text
from edge.config import check, explain
from edge.errors import ConfigError, ProvisionError
from edge.legal_basis import LegalBasis
from edge.place_table import COLUMNS, place_from
from edge.provision.boot_partition import (
    check_boot_partition,
    progress_bar,
    write_boot_partition,
)
from edge.provision.cards import make_batch_card, make_card, next_unit, sign_document
from edge.provision.certifying import sign_files, take_issued
from edge.provision.codes import SHEET, make_codes, write_codes
from edge.provision.deployment import Deployment, make_deployment, utc_now
from edge.provision.end_dates import end_dates
from edge.provision.inventory import UNIT_COLUMNS
from edge.provision.labels import write_labels
from edge.provision.layout import SETTINGS
from edge.provision.places import places_from_table, rows
from edge.provision.reading_check import reports
from edge.provision.release_commands import add_release_commands
from edge.provision.settings import ProvisionSettings
from edge.register import KINDS

DEFAULT_CONFIG = Path(SETTINGS)


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    options = _parser().parse_args(args)
    cli.set_up_logging(options.verbose)
    work: Callable[[argparse.Namespace], int] = options.work
    return cli.run(lambda: work(options))


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
    _add_place(commands)
    _add_unit(commands)
    _add_card(commands)
    _add_code(commands)
    batch = _command(commands, "batch", _batch, "take in the units of a table (CSV, XLSX)")
    batch.add_argument("file", type=Path, metavar="FILE")
    label = _command(commands, "label", _label, "print the labels of units")
    label.add_argument("units", nargs="+", metavar="UNIT")
    for with_labels in (batch, label):
        with_labels.add_argument(
            "--labels", type=Path, default=Path("labels.pdf"), help="default: %(default)s"
        )
    basis = _command(commands, "basis", _basis, "sign a document by which units may collect")
    basis.add_argument("--number", required=True, help="of the order, as it is quoted")
    basis.add_argument("--issuer", required=True, help="who has ordered it")
    basis.add_argument("--places", required=True, nargs="+", help='ids, "cho-*", or "*" for all')
    basis.add_argument("--start", required=True, type=_day, metavar="DATE", help="its first day")
    basis.add_argument("--end", required=True, type=_day, metavar="DATE", help="its last day")
    add_release_commands(commands)
    _command(commands, "broker", _broker, "write the files of broker and collector anew")
    revoke = _command(commands, "revoke", _revoke, "keep a unit out for ever, from now on")
    issued_help = "issued.jsonl, copied from where units enrol"
    gone = _command(commands, "retire", _revoke, "note that a unit was taken down; revokes it")
    for one in (revoke, gone):
        one.add_argument("unit", metavar="UNIT")
        one.add_argument("--issued", type=Path, metavar="FILE", help=f"first take in {issued_help}")
    sign = _command(commands, "sign", _sign, "certify units that ask by a USB stick")
    sign.add_argument("requests", type=Path, metavar="STICK", help="the stick, or a file on it")
    issued = _command(commands, "issued", _issued, "take in what the enrolment endpoint has issued")
    issued.add_argument("ledger", type=Path, metavar="FILE", help=issued_help)
    read = _command(
        commands, "read-check", _read_check, "read the code that edge-scanner check drew"
    )
    read.add_argument("sources", nargs="+", metavar="PICTURE|TEXT", help="photographs, or its text")
    read.add_argument("--json", action="store_true", help="one JSON object a line")
    dates = _command(commands, "check", _check, "when certificates end; exit code 1 on an alarm")
    dates.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    work: Callable[[argparse.Namespace], int],
    says: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, parents=[cli.common_again()], help=says, description=says)
    parser.set_defaults(work=work)
    return parser


def _add_init(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    init = _command(commands, "init", _init, "make a new deployment in an empty folder")
    init.add_argument("folder", type=Path, metavar="FOLDER")
    init.add_argument("--name", required=True, help="of the deployment: a-z, 0-9, hyphens")
    init.add_argument("--broker", required=True, metavar="HOST", help="where units reach it")
    init.add_argument("--port", type=int, default=8883, help="default: %(default)s")
    init.add_argument("--area", required=True, help="of units for which no other is given")


def _add_place(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    places = commands.add_parser("place", help="the register of places")
    whats = places.add_subparsers(dest="what", required=True)
    add = _command(whats, "add", _place_add, "put a place into the register, or change it")
    add.add_argument("id", metavar="ID")
    add.add_argument("--name", required=True)
    add.add_argument(
        "--kind", required=True, choices=tuple(KINDS), metavar="KIND", help=", ".join(KINDS)
    )
    add.add_argument("--address", default="")
    add.add_argument("--since", default="", metavar="DATE", help="of the area it lies in")
    add.add_argument("--until", default="", metavar="DATE", help="its last day there")
    add.add_argument("--province", default="")
    add.add_argument("--district", default="", help="only until 2025-06-30")
    add.add_argument("--commune", default="")
    add.add_argument("--body", default="", help="in charge; else the one that the letter names")
    add.add_argument("--hours", default="", metavar="TEXT", help='such as "mon-sat 05:00-18:00"')
    add.add_argument("--plate", default="", help="of a vehicle")
    add.add_argument("--route", default="", help="of a vehicle")
    add.add_argument("--trips", default="", help='of a vehicle, such as "sang-1@05:30 chieu-1"')
    add.add_argument("--operator", default="", help="the company that runs a vehicle")
    listed = _command(whats, "list", _place_list, "the places, a line each")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    imports = _command(whats, "import", _place_import, "take places from a table (CSV, XLSX)")
    imports.add_argument("file", type=Path, metavar="FILE")


def _add_unit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    units = commands.add_parser("unit", help="the inventory of units")
    whats = units.add_subparsers(dest="what", required=True)
    add = _command(whats, "add", _unit_add, "take a unit in")
    add.add_argument("id", metavar="ID")
    add.add_argument("--place", required=True)
    add.add_argument("--direction", required=True, choices=("in", "out", "both"))
    add.add_argument("--area", default="")
    add.add_argument("--trip", default="")
    add.add_argument("--hardware", default="", help="serial number of the only Pi it may be")
    change = _command(whats, "change", _unit_change, "hang a unit elsewhere; then: code")
    change.add_argument("id", metavar="ID")
    for key in UNIT_COLUMNS[1:]:
        change.add_argument(f"--{key}")
    listed = _command(whats, "list", _unit_list, "the units, a line each")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_card(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    card = _command(commands, "card", _card, "write the card of a unit, on its boot partition")
    card.add_argument("boot", type=Path, metavar="BOOT", help="where the card's bootfs appears")
    which = card.add_mutually_exclusive_group(required=True)
    which.add_argument("--unit", metavar="ID")
    which.add_argument("--next", action="store_true", help="the next unit without a card")
    which.add_argument(
        "--batch", metavar="NAME", help="any unit of this batch; each becomes itself by its code"
    )
    packages = card.add_mutually_exclusive_group(required=True)
    packages.add_argument(
        "--packages", type=Path, metavar="FOLDER", help="with the .deb files to be installed"
    )
    packages.add_argument(
        "--no-packages", action="store_true", help="for a unit that has the software"
    )


def _add_code(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    code = _command(commands, "code", _code, "make set-up codes, to be shown to units' cameras")
    code.add_argument("units", nargs="+", metavar="UNIT")
    code.add_argument(
        "--batch", metavar="NAME", help="the units have this batch's card and are none yet"
    )
    code.add_argument("--wifi", action="store_true", help="with the wireless network")
    code.add_argument("--broker", action="store_true", help="with the broker's address")
    code.add_argument(
        "--enrol", action="store_true", help="with a token, for a unit whose certificate has ended"
    )
    code.add_argument(
        "--to", type=Path, default=Path("codes"), metavar="FOLDER", help="default: %(default)s"
    )


def _deployment(options: argparse.Namespace) -> Deployment:
    if options.config.name != SETTINGS:
        raise ConfigError(f"--config must name the {SETTINGS} in a deployment's folder")
    return Deployment(options.config.parent)


def _init(options: argparse.Namespace) -> int:
    table = {
        "deployment": {"name": options.name},
        "broker": {"host": options.broker, "port": options.port},
        "units": {"area": options.area},
    }
    settings = check(table, ProvisionSettings, "cannot make this deployment")
    deployment = make_deployment(options.folder, settings, utc_now())
    print(f"{deployment.folder}: a new deployment; read its README.md")
    return 0


def _place_add(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    place = place_from({column: getattr(options, column) for column in COLUMNS}, "place add")
    deployment.put_places(deployment.register.with_places([place]))
    print(f"{place.id}: {place.name}")
    return 0


def _place_list(options: argparse.Namespace) -> int:
    today = date.today()
    for place in _deployment(options).register.places:
        if options.json:
            print(msgspec.json.encode(place).decode())
            continue
        area = place.admin_on(today)
        where = ", ".join(filter(None, (area.commune, area.province))) if area else "?"
        print(f"{place.id:<32} {KINDS[place.kind].vi}: {place.name}; {where}; {place.responsible}")
    return 0


def _place_import(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    places = places_from_table(options.file)
    deployment.put_places(deployment.register.with_places(places))
    print(f"{len(places)} places")
    return 0


def _unit_add(options: argparse.Namespace) -> int:
    row = {key: getattr(options, key) for key in UNIT_COLUMNS}
    (unit,) = _deployment(options).add_units([row])
    print(f"{unit.id}: {unit.area}, {unit.place}, {unit.direction}")
    return 0


def _unit_change(options: argparse.Namespace) -> int:
    keys = [key for key in UNIT_COLUMNS if key != "id" and getattr(options, key) is not None]
    changes = {key: getattr(options, key) for key in keys}
    unit = _deployment(options).change_unit(options.id, **changes)
    print(f"{unit.id}: {unit.area}, {unit.place}, {unit.direction}; now make its code")
    return 0


def _batch(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    taken = deployment.add_units(
        row for _, row in rows(options.file, UNIT_COLUMNS[:3], UNIT_COLUMNS)
    )
    write_labels(options.labels, deployment, taken, utc_now())
    print(f"{len(taken)} units; their labels are in {options.labels}; now: card BOOT --next")
    return 0


def _label(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    units = [deployment.inventory.unit(name) for name in options.units]
    write_labels(options.labels, deployment, units, utc_now())
    print(options.labels)
    return 0


def _unit_list(options: argparse.Namespace) -> int:
    for unit in _deployment(options).inventory.units:
        if options.json:
            print(msgspec.json.encode(unit).decode())
            continue
        given = [f"{what} {n}" for what, n in (("card", unit.card), ("code", unit.code)) if n]
        gone = "retired" if unit.retired else "revoked" if unit.revoked else ""
        state = gone or ", ".join(given) or "no card yet"
        print(f"{unit.id:<32} {unit.area} {unit.place} {unit.direction} {unit.trip} {state}")
    return 0


def _card(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    check_boot_partition(options.boot, options.packages)
    if options.batch:
        name = f"batch {options.batch}"
        card = make_batch_card(deployment, options.batch)
    else:
        name = next_unit(deployment).id if options.next else options.unit
        card = make_card(deployment, name, utc_now())
    country = deployment.settings.wifi.country
    write_boot_partition(options.boot, card, options.packages, country, progress_bar)
    number = read_card(card).number
    if not options.batch:
        deployment.card_written(name, number)
    print(f"{name}: card {number} is written; eject it properly")
    return 0


def _code(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    made = make_codes(
        deployment,
        options.units,
        batch=options.batch,
        now=utc_now(),
        wifi=options.wifi,
        broker=options.broker,
        enrol=options.enrol,
    )
    write_codes(options.to, deployment, made, utc_now())
    for one in made:
        print(f"{one.unit.id}: set-up code {one.code.number}, {options.to / one.unit.id}.png")
    print(f"{options.to / SHEET}: to print; whoever sees a code may use it once, and no longer")
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
    print(f"{sign_document(_deployment(options), basis)}: goes onto every card from now on")
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
    print(_deployment(options).write_broker(utc_now()))
    return 0


def _sign(options: argparse.Namespace) -> int:
    for answer in sign_files(_deployment(options), options.requests, utc_now()):
        print(answer)
    return 0


def _issued(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    taken = take_issued(deployment, options.ledger, utc_now())
    print(f"{taken.new} certificates are new, {taken.replaced} were replaced by newer ones")
    if taken.replaced:
        folder = deployment.settings.broker.folder
        print(
            "These are shut out once broker/revoked.pem is copied to"
            f" {folder} on the broker's machine, then: systemctl reload mosquitto"
        )
    return 0


def _revoke(options: argparse.Namespace) -> int:
    deployment = _deployment(options)
    if options.issued is not None:
        take_issued(deployment, options.issued, utc_now())
    retired = options.command == "retire"
    unit = deployment.revoke(options.unit, utc_now(), retired=retired)
    folder = deployment.settings.broker.folder
    print(
        f"{unit.id} is {'retired and ' if retired else ''}revoked, with {len(unit.certificates)}"
        " certificates. Copy broker/revoked.pem"
        f" and broker/rules.acl to {folder} on the broker's machine, then: systemctl reload"
        " mosquitto; and enrolment/revoked.txt to /etc/edge-enrol where units enrol"
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
    for end in end_dates(_deployment(options), now):
        alarm = alarm or end.alarm
        if options.json:
            facts = {"what": end.what, "ends": end.not_after.isoformat(), "alarm": end.alarm}
            print(json.dumps(facts))
            continue
        days = (end.not_after - now).days
        cure = f"; {end.cure}" if end.alarm else ""
        print(f"{'✗' if end.alarm else '✓'} {end.what}: {days} days left{cure}")
    return 1 if alarm else 0


if __name__ == "__main__":
    sys.exit(main())
