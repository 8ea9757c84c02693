"""What people type: each command asks the running desk and prints its answer as a table or JSON."""

import argparse
import getpass
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge import cli, config
from edge.clock import SystemClock, utc_text
from edge.desk_socket import ask
from edge.errors import DeskError
from edge.legal_basis import LegalBasis, read_basis, write_basis
from edge.sealing import Verifier, open_signer, read_key
from edge.tables import write_table
from edge.tracing.columns import (
    AUDIT,
    CASES,
    CONTACTS,
    NAMED,
    PERSONS,
    RELEASES,
    STAYS,
    WORKERS,
    cell_text,
    show,
)
from edge.tracing.keys import make_keys
from edge.tracing.settings import TraceSettings
from edge.tracing.shown import local_moment


def parser(default_config: Path) -> argparse.ArgumentParser:
    """The command line of `edge-trace`."""
    top = argparse.ArgumentParser(
        prog="edge-trace",
        description="The tracing desk: who was where with whom, under control."
        " / Bàn truy vết: ai đã ở đâu với ai, có kiểm soát.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(top, default_config)
    top.add_argument("--json", action="store_true", help="answers as JSON")
    top.add_argument("--worker", default="", help="who asks, by password; else by this account")
    subs = top.add_subparsers(dest="command")
    again = cli.common_again()
    again.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    again.add_argument("--worker", default=argparse.SUPPRESS)
    subs.add_parser("run", parents=[again], help="open, index and answer until stopped (default)")

    def add(name: str, help_: str, work: Callable[[argparse.Namespace], int]) -> Any:
        group, _, action = name.partition(" ")
        if action:
            if group not in groups:
                made = subs.add_parser(group, help=GROUPS[group])
                groups[group] = made.add_subparsers(dest="action", required=True)
            found = groups[group].add_parser(action, parents=[again], help=help_)
        else:
            found = subs.add_parser(name, parents=[again], help=help_)
        found.set_defaults(work=work)
        return found

    groups: dict[str, Any] = {}
    _add_questions(add)
    _add_control(add)
    _add_tools(add)
    return top


GROUPS = {
    "case": "cases: what the desk is asked for, and who agreed",
    "release": "learning who persons are: asked for by one, approved by another",
    "worker": "the people of the desk; as root on its machine",
    "audit": "the record of who asked and saw what",
    "keys": "the desk's keys",
    "basis": "the legal basis",
}

Add = Callable[[str, str, Callable[[argparse.Namespace], int]], Any]


def _add_questions(add: Add) -> None:
    for name, help_, work in (
        ("where", "where a person of the case was", _where),
        ("overlaps", "who was with a person of the case, ranked", _overlaps),
        ("second-ring", "who was with the contacts of the case", _second_ring),
        ("present", "who was at a place or on a trip", _present),
    ):
        command = add(name, help_, work)
        command.add_argument("case", help="an approved case")
        if name == "present":
            command.add_argument("place", help="the register's id of the place")
            command.add_argument("--trip", default="")
        _add_times(command)
        if name in ("where", "overlaps"):
            command.add_argument("--person", type=int, default=0, help="another of the case")
    command = add("persons", "the persons of a case", _persons)
    command.add_argument("case")
    command = add("completeness", "how complete answers can be: counts alone", _completeness)
    command.add_argument("places", nargs="*", metavar="PLACE")
    _add_times(command)


def _add_times(command: Any) -> None:
    command.add_argument("--since", required=True, help="2021-07-01, or 2021-07-01 08:30")
    command.add_argument("--until", required=True, help="the same; a day is meant to its end")


def _add_control(add: Add) -> None:
    command = add("case open", "ask for a case", _case_open)
    command.add_argument("--purpose", required=True)
    command.add_argument(
        "--person",
        action="append",
        choices=("pin", "document", "bhyt", "qid"),
        default=[],
        help="the kind of a number that is then asked for, never on the command line; repeatable",
    )
    for action, approve in (("approve", True), ("refuse", False)):
        command = add(f"case {action}", "as a second person", _case_decide)
        command.add_argument("case")
        command.set_defaults(approve=approve)
        command = add(f"release {action}", "as a second person", _release_decide)
        command.add_argument("release", type=int)
        command.set_defaults(approve=approve)
    for action, help_, do in (
        ("close", "end a case", "close_case"),
        ("hold", "keep its records past the retention, until it is closed", "hold_case"),
    ):
        command = add(f"case {action}", help_, _case_do)
        command.add_argument("case")
        command.set_defaults(do=do)
    add("case list", "all cases", _case_list)
    command = add("release ask", "ask who persons of a case are", _release_ask)
    command.add_argument("case")
    command.add_argument("persons", nargs="+", type=int, metavar="PERSON")
    command.add_argument("--reason", required=True)
    add("release list", "all releases", _release_list)
    command = add("release show", "the names of an approved release, for who asked", _release_show)
    command.add_argument("release", type=int)
    command.add_argument("--out", type=Path, help="write them into FILE.csv or FILE.xlsx instead")
    command = add("worker put", "appoint a worker, or change their roles", _worker_put)
    command.add_argument("name", help="their account on this machine")
    command.add_argument("--title", default="")
    command.add_argument("--roles", required=True, help="tracer,approver,officer,auditor,venue")
    command.add_argument("--password", action="store_true", help="ask for one, for pages")
    command = add("worker remove", "let a worker do nothing any more", _worker_remove)
    command.add_argument("name")
    add("worker list", "everybody who ever was one", _worker_list)
    command = add("audit list", "the newest entries", _audit_list)
    command.add_argument("--case", default="")
    command.add_argument("--last", type=int, default=100)
    command = add("audit verify", "whether the record is whole", _audit_verify)
    command.add_argument("--head", default="", help="a hash that was noted earlier")


def _add_tools(add: Add) -> None:
    command = add("keys make", "a new pair of keys, and the token secret if none", _keys_make)
    command.add_argument("folder", type=Path)
    command = add("basis make", "sign a legal basis", _basis_make)
    command.add_argument("file", type=Path)
    command.add_argument("--key", type=Path, required=True, help="the authority's; made if missing")
    command.add_argument("--number", required=True)
    command.add_argument("--issuer", required=True)
    command.add_argument("--place", action="append", required=True, help='an id, "cho-*" or "*"')
    command.add_argument("--start", required=True)
    command.add_argument("--end", required=True, help="the last day")
    for action in ("show", "verify"):
        command = add(
            f"basis {action}", "what a legal basis says, if it is its authority's", _basis
        )
        command.add_argument("file", type=Path)
        command.add_argument("--key", type=Path, required=True, help="the authority's basis.pub")


# Questions


def _where(options: argparse.Namespace) -> int:
    times = {"since": options.since, "until": options.until}
    stays = _ask(options, "where", case=options.case, person=options.person, **times)
    return show(options.json, stays, STAYS)


def _present(options: argparse.Namespace) -> int:
    stays = _ask(
        options,
        "present",
        case=options.case,
        place=options.place,
        trip=options.trip,
        since=options.since,
        until=options.until,
    )
    return show(options.json, stays, STAYS)


def _overlaps(options: argparse.Namespace) -> int:
    times = {"since": options.since, "until": options.until}
    contacts = _ask(options, "overlaps", case=options.case, person=options.person, **times)
    return show(options.json, contacts, CONTACTS)


def _second_ring(options: argparse.Namespace) -> int:
    times = {"since": options.since, "until": options.until}
    contacts = _ask(options, "second_ring", case=options.case, **times)
    return show(options.json, contacts, CONTACTS)


def _persons(options: argparse.Namespace) -> int:
    return show(options.json, _ask(options, "persons", case=options.case), PERSONS)


def _completeness(options: argparse.Namespace) -> int:
    found = _ask(
        options,
        "completeness",
        since=options.since,
        until=options.until,
        places=options.places,
    )
    if options.json:
        return show(options.json, found, ())
    columns = ("place", "day", "scans_in", "scans_out", "scans_both", "unsynced", "units")
    show(options.json, found["days"], [(name, name) for name in columns])
    for unit, day in found["silent"]:
        print(f"{day}  {unit}: không có lượt quét / no scans")
    for reason, unit, scans in found["unused"]:
        print(cli.printable(f"{unit}: {scans} {reason}"))
    return 0


# Control


def _case_open(options: argparse.Namespace) -> int:
    # Asked for, not given as an argument: arguments are seen by everybody on the machine and kept
    # in the history of the shell.
    numbers = [f"{kind}:{getpass.getpass(f'{kind}: ')}" for kind in options.person]
    case = _ask(options, "open_case", purpose=options.purpose, numbers=numbers)
    return show(options.json, [case], CASES)


def _case_decide(options: argparse.Namespace) -> int:
    case = _ask(options, "decide_case", case=options.case, approve=options.approve)
    return show(options.json, [case], CASES)


def _case_do(options: argparse.Namespace) -> int:
    return show(options.json, [_ask(options, options.do, case=options.case)], CASES)


def _case_list(options: argparse.Namespace) -> int:
    return show(options.json, _ask(options, "cases"), CASES)


def _release_ask(options: argparse.Namespace) -> int:
    release = _ask(
        options, "ask_release", case=options.case, persons=options.persons, reason=options.reason
    )
    return show(options.json, [release], RELEASES)


def _release_decide(options: argparse.Namespace) -> int:
    release = _ask(options, "decide_release", release=options.release, approve=options.approve)
    return show(options.json, [release], RELEASES)


def _release_list(options: argparse.Namespace) -> int:
    return show(options.json, _ask(options, "releases"), RELEASES)


def _release_show(options: argparse.Namespace) -> int:
    if options.out is None:
        return show(options.json, _ask(options, "named", release=options.release), NAMED)
    kind = options.out.suffix.lower().removeprefix(".")
    if kind not in ("csv", "xlsx"):
        raise DeskError(f"{options.out}: an export is a .csv or an .xlsx file")
    named = _ask(options, "named", release=options.release, exported_as=kind)
    release = next(r for r in _ask(options, "releases") if r["number"] == options.release)
    now = SystemClock().now().at
    # Every export can be traced to a person: on each row, and it is in the audit besides.
    traced = [release["requester"], release["case_id"], str(options.release), now]
    header = [title for _, title in NAMED] + ["xuất bởi / by", "vụ việc / case", "số", "lúc / at"]
    rows = ([cell_text(row[name]) for name, _ in NAMED] + traced for row in named)
    try:
        with options.out.open("xb") as file:
            options.out.chmod(0o600)
            count = write_table(file, kind, header, rows, release["case_id"])
    except OSError as err:
        raise DeskError(f"{options.out}: cannot write there: {err.strerror}") from err
    print(f"{options.out}: {count}")
    return 0


def _worker_put(options: argparse.Namespace) -> int:
    worker = _ask(
        options,
        "put_worker",
        name=options.name,
        title=options.title,
        roles=options.roles,
        password=getpass.getpass("mật khẩu / password: ") if options.password else "",
    )
    return show(options.json, [worker], WORKERS)


def _worker_remove(options: argparse.Namespace) -> int:
    print(cli.printable(_ask(options, "remove_worker", name=options.name)))
    return 0


def _worker_list(options: argparse.Namespace) -> int:
    return show(options.json, _ask(options, "workers"), WORKERS)


def _audit_list(options: argparse.Namespace) -> int:
    return show(options.json, _ask(options, "audit", case=options.case, last=options.last), AUDIT)


def _audit_verify(options: argparse.Namespace) -> int:
    head = _ask(options, "verify_audit", head=options.head)
    if options.json:
        return show(options.json, head, ())
    print(f"nguyên vẹn / whole: {head['entries']} entries, head {head['hash']}")
    return 0


# Tools that need no running desk


def _keys_make(options: argparse.Namespace) -> int:
    try:
        options.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = make_keys(options.folder)
    except OSError as err:
        raise DeskError(f"{options.folder}: cannot write keys there: {err.strerror}") from err
    print(f"{options.folder / name}.pub: cho thiết bị / for units\n{options.folder / name}.key")
    return 0


def _basis_make(options: argparse.Namespace) -> int:
    signer = open_signer(options.key)
    basis = LegalBasis(
        number=options.number,
        issuer=options.issuer,
        places=tuple(options.place),
        issued=utc_text(datetime.now(UTC).timestamp()),
        start=utc_text(local_moment(options.start) / 1000),
        end=utc_text(local_moment(options.end, end=True) / 1000),
    )
    write_basis(options.file, basis, signer)
    print(options.file)
    return 0


def _basis(options: argparse.Namespace) -> int:
    basis = read_basis(options.file, Verifier(read_key(options.key)))
    facts = {name: getattr(basis, name) for name in basis.__struct_fields__}
    if options.json:
        print(json.dumps(facts, ensure_ascii=False))
        return 0
    for name, value in facts.items():
        print(cli.printable(f"{name:<8} {', '.join(value) if name == 'places' else value}"))
    return 0


# Printing


def _ask(options: argparse.Namespace, do: str, **arguments: Any) -> Any:
    settings = config.load(options.config, TraceSettings)
    if options.worker and not hasattr(options, "password_given"):
        options.password_given = getpass.getpass("mật khẩu / password: ")
    password = options.password_given if options.worker else ""
    return ask(Path(settings.desk.socket), do, options.worker, password, **arguments)
