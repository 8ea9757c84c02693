"""`edge-provision place`: the register of places."""

import argparse
from datetime import date
from pathlib import Path

import msgspec

from edge.place_table import COLUMNS, place_from
from edge.provision.commands import Commands, add_command, deployment_of
from edge.provision.places import places_from_table
from edge.register import KINDS


def add_place_commands(commands: Commands) -> None:
    """Give the parser of `edge-provision` what is said here."""
    places = commands.add_parser("place", help="the register of places")
    whats = places.add_subparsers(dest="what", required=True)
    add = add_command(whats, "add", _place_add, "put a place into the register, or change it")
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
    listed = add_command(whats, "list", _place_list, "the places, a line each")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    imports = add_command(whats, "import", _place_import, "take places from a table (CSV, XLSX)")
    imports.add_argument("file", type=Path, metavar="FILE")


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
    print(f"{len(places)} places")
    return 0
