"""What people type: each command asks the running desk and prints its answer as a table or JSON."""

import argparse
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge import cli
from edge.tracing import officer_commands, tools
from edge.tracing.asking import ask_desk
from edge.tracing.columns import (
    AUDIT,
    CASES,
    MEETINGS,
    NAMED,
    PERSONS,
    RELEASES,
    STAYS,
    WORKERS,
    Columns,
    meetings_of,
    show,
)
from edge.tracing.exports import add_out, export, kind_of
from edge.tracing.officer_commands import KIND_OF_NUMBER, ask_for_numbers

_WORKER = (
    "who asks, by password; else by this account"
    " / ai hỏi, bằng mật khẩu; bỏ trống thì theo tài khoản này"
)
_CASE = "as `case list` has it / mã vụ việc, như trong case list"
_RELEASE = "as `release list` has it / số, như trong release list"


def parser(default_config: Path) -> argparse.ArgumentParser:
    """The command line of `edge-trace`."""
    top = argparse.ArgumentParser(
        prog="edge-trace",
        description="The tracing desk: who was where with whom, under control."
        " / Bàn truy vết: ai đã ở đâu với ai, có kiểm soát.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(top, default_config)
    top.add_argument("--json", action="store_true", help="answers as JSON / trả lời dạng JSON")
    top.add_argument("--worker", default="", help=_WORKER)
    subs = top.add_subparsers(dest="command")
    again = cli.common_again()
    again.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="answers as JSON / trả lời dạng JSON",
    )
    again.add_argument("--worker", default=argparse.SUPPRESS, help=_WORKER)
    subs.add_parser(
        "run",
        parents=[again],
        help="open, index and answer until stopped (default)"
        " / mở, lập chỉ mục và trả lời cho đến khi dừng (mặc định)",
    )

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
    officer_commands.add_to(add)
    tools.add_to(add)
    return top


GROUPS = {
    "case": "cases: what the desk is asked for, and who agreed"
    " / vụ việc: bàn được yêu cầu gì, và ai đã duyệt",
    "release": "learning who persons are: asked for by one, approved by another"
    " / biết tên: một người xin, người khác duyệt",
    "worker": "the people of the desk; as root on its machine"
    " / người của bàn; chạy bằng root trên máy của bàn",
    "audit": "the record of who asked and saw what / sổ ghi ai đã hỏi và xem gì",
    "request": "what people ask about their own data / yêu cầu của người dân về dữ liệu của họ",
    "keys": "the desk's keys / khóa của bàn",
    "basis": "the legal basis / căn cứ pháp lý",
}

Add = Callable[[str, str, Callable[[argparse.Namespace], int]], Any]


def _add_questions(add: Add) -> None:
    for name, help_, work in (
        ("where", "where a person of the case was / một người trong vụ việc đã ở đâu", _where),
        (
            "overlaps",
            "who was with a person of the case, ranked"
            " / ai đã ở cùng một người trong vụ việc, xếp theo mức độ",
            _overlaps,
        ),
        (
            "second-ring",
            "who was with the contacts of the case / ai đã ở cùng những người tiếp xúc",
            _second_ring,
        ),
        (
            "present",
            "who was at a place or on a trip / ai đã ở một điểm hay trên một chuyến xe",
            _present,
        ),
    ):
        command = add(name, help_, work)
        command.add_argument("case", help="an approved case / mã vụ việc đã được duyệt")
        if name == "present":
            command.add_argument(
                "place",
                help="the register's id of the place / mã điểm trong danh mục",
            )
            command.add_argument("--trip", default="", help="of a vehicle / chuyến xe")
        _add_times(command)
        add_out(command)
        if name in ("where", "overlaps"):
            command.add_argument(
                "--person",
                type=int,
                default=0,
                help="another of the case / số của người khác trong vụ việc",
            )
    command = add("persons", "the persons of a case / những người trong vụ việc", _persons)
    command.add_argument("case", help=_CASE)
    command = add(
        "completeness",
        "how complete answers can be: counts alone / câu trả lời có thể đầy đủ đến đâu: chỉ số đếm",
        _completeness,
    )
    command.add_argument(
        "places",
        nargs="*",
        metavar="PLACE",
        help="these alone / chỉ các điểm này",
    )
    _add_times(command)


def _add_times(command: Any) -> None:
    command.add_argument(
        "--since",
        required=True,
        help="from when, 2021-07-01, or 2021-07-01 08:30 / từ lúc nào",
    )
    command.add_argument(
        "--until",
        required=True,
        help="until when; a day is meant to its end / đến lúc nào; ghi ngày là đến hết ngày",
    )


def _add_control(add: Add) -> None:
    command = add("case open", "ask for a case / xin mở vụ việc", _case_open)
    command.add_argument("--purpose", required=True, help="what it is for / mục đích")
    command.add_argument(
        "--person",
        action="append",
        choices=("pin", "document", "bhyt", "qid"),
        default=[],
        help=KIND_OF_NUMBER,
    )
    for action, approve in (("approve", True), ("refuse", False)):
        command = add(
            f"case {action}", "as a second person / với tư cách người thứ hai", _case_decide
        )
        command.add_argument("case", help=_CASE)
        command.set_defaults(approve=approve)
        command = add(
            f"release {action}", "as a second person / với tư cách người thứ hai", _release_decide
        )
        command.add_argument("release", type=int, help=_RELEASE)
        command.set_defaults(approve=approve)
    for action, help_, do in (
        ("close", "end a case / kết thúc vụ việc", "close_case"),
        (
            "hold",
            "keep its records past the retention, until it is closed"
            " / giữ dữ liệu của vụ việc quá hạn lưu, đến khi kết thúc",
            "hold_case",
        ),
    ):
        command = add(f"case {action}", help_, _case_do)
        command.add_argument("case", help=_CASE)
        command.set_defaults(do=do)
    add("case list", "all cases / mọi vụ việc", _case_list)
    command = add(
        "release ask",
        "ask who persons of a case are / xin biết những người trong vụ việc là ai",
        _release_ask,
    )
    command.add_argument("case", help=_CASE)
    command.add_argument(
        "persons",
        nargs="+",
        type=int,
        metavar="PERSON",
        help="their numbers / số của những người đó",
    )
    command.add_argument("--reason", required=True, help="why / vì sao")
    add("release list", "all releases / mọi lần xin biết tên", _release_list)
    command = add(
        "release show",
        "the names of an approved release, for who asked / tên đã được duyệt, cho người đã xin",
        _release_show,
    )
    command.add_argument("release", type=int, help=_RELEASE)
    add_out(command)
    command = add(
        "worker put",
        "appoint a worker, or change their roles / cử người làm việc, hoặc đổi vai trò",
        _worker_put,
    )
    command.add_argument(
        "name",
        help="their account on this machine / tài khoản của họ trên máy này",
    )
    command.add_argument("--title", default="", help="their post / chức danh")
    command.add_argument(
        "--roles",
        required=True,
        help="with commas"
        " / vai trò, cách nhau bằng dấu phẩy: tracer,approver,officer,auditor,venue",
    )
    command.add_argument(
        "--password",
        action="store_true",
        help="ask for one, for pages / hỏi mật khẩu, để dùng các trang",
    )
    command = add(
        "worker remove",
        "let a worker do nothing any more / cho một người thôi làm việc",
        _worker_remove,
    )
    command.add_argument("name", help="their account / tài khoản của họ")
    add("worker list", "everybody who ever was one / mọi người đã từng làm việc", _worker_list)
    command = add("audit list", "the newest entries / các mục mới nhất", _audit_list)
    command.add_argument("--case", default="", help="of this case alone / chỉ của vụ việc này")
    command.add_argument(
        "--last",
        type=int,
        default=100,
        help="so many; default / bao nhiêu mục, mặc định: %(default)s",
    )
    command = add(
        "audit verify", "whether the record is whole / sổ có còn nguyên vẹn không", _audit_verify
    )
    command.add_argument(
        "--head",
        default="",
        help="a hash that was noted earlier / mã băm đã ghi lại trước đây",
    )


# Questions


def _where(options: argparse.Namespace) -> int:
    stays = _asked(options, "where", person=options.person)
    return _answered(options, stays, stays, STAYS)


def _present(options: argparse.Namespace) -> int:
    stays = _asked(options, "present", place=options.place, trip=options.trip)
    return _answered(options, stays, stays, STAYS)


def _overlaps(options: argparse.Namespace) -> int:
    contacts = _asked(options, "overlaps", person=options.person)
    return _answered(options, contacts, meetings_of(contacts), MEETINGS)


def _second_ring(options: argparse.Namespace) -> int:
    contacts = _asked(options, "second_ring")
    return _answered(options, contacts, meetings_of(contacts), MEETINGS)


def _asked(options: argparse.Namespace, do: str, **arguments: Any) -> Any:
    times = {"since": options.since, "until": options.until}
    kind = kind_of(options.out)
    return ask_desk(options, do, case=options.case, exported_as=kind, **times, **arguments)


def _answered(options: argparse.Namespace, answer: Any, rows: Any, columns: Columns) -> int:
    if options.out is not None:
        return export(options, options.case, columns, rows)
    return show(options.json, answer if options.json else rows, columns)


def _persons(options: argparse.Namespace) -> int:
    return show(options.json, ask_desk(options, "persons", case=options.case), PERSONS)


def _completeness(options: argparse.Namespace) -> int:
    found = ask_desk(
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
    numbers = ask_for_numbers(options.person)
    case = ask_desk(options, "open_case", purpose=options.purpose, numbers=numbers)
    return show(options.json, [case], CASES)


def _case_decide(options: argparse.Namespace) -> int:
    case = ask_desk(options, "decide_case", case=options.case, approve=options.approve)
    return show(options.json, [case], CASES)


def _case_do(options: argparse.Namespace) -> int:
    return show(options.json, [ask_desk(options, options.do, case=options.case)], CASES)


def _case_list(options: argparse.Namespace) -> int:
    return show(options.json, ask_desk(options, "cases"), CASES)


def _release_ask(options: argparse.Namespace) -> int:
    release = ask_desk(
        options, "ask_release", case=options.case, persons=options.persons, reason=options.reason
    )
    return show(options.json, [release], RELEASES)


def _release_decide(options: argparse.Namespace) -> int:
    release = ask_desk(options, "decide_release", release=options.release, approve=options.approve)
    return show(options.json, [release], RELEASES)


def _release_list(options: argparse.Namespace) -> int:
    return show(options.json, ask_desk(options, "releases"), RELEASES)


def _release_show(options: argparse.Namespace) -> int:
    if options.out is None:
        return show(options.json, ask_desk(options, "named", release=options.release), NAMED)
    kind = kind_of(options.out)
    named = ask_desk(options, "named", release=options.release, exported_as=kind)
    case = next(
        r["case_id"] for r in ask_desk(options, "releases") if r["number"] == options.release
    )
    return export(options, case, NAMED, named, str(options.release))


def _worker_put(options: argparse.Namespace) -> int:
    worker = ask_desk(
        options,
        "put_worker",
        name=options.name,
        title=options.title,
        roles=options.roles,
        password=getpass.getpass("mật khẩu / password: ") if options.password else "",
    )
    return show(options.json, [worker], WORKERS)


def _worker_remove(options: argparse.Namespace) -> int:
    print(cli.printable(ask_desk(options, "remove_worker", name=options.name)))
    return 0


def _worker_list(options: argparse.Namespace) -> int:
    return show(options.json, ask_desk(options, "workers"), WORKERS)


def _audit_list(options: argparse.Namespace) -> int:
    return show(
        options.json, ask_desk(options, "audit", case=options.case, last=options.last), AUDIT
    )


def _audit_verify(options: argparse.Namespace) -> int:
    head = ask_desk(options, "verify_audit", head=options.head)
    if options.json:
        return show(options.json, head, ())
    print(f"nguyên vẹn / whole: {head['entries']} entries, head {head['hash']}")
    return 0
