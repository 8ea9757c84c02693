"""Commands of the data-protection officer: requests of persons, and the breach file."""

import argparse
import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edge import cli
from edge.errors import DeskError
from edge.files import replace_file
from edge.tracing.asking import ask_desk
from edge.tracing.breach import Breach, breach_page
from edge.tracing.columns import REQUESTS, STAYS, show

Add = Callable[[str, str, Callable[[argparse.Namespace], int]], Any]

#: What `--person` is, here and of a case.
KIND_OF_NUMBER = (
    "the kind of a number that is then asked for, never on the command line; repeatable"
    " / loại số, sẽ được hỏi sau, không ghi trên dòng lệnh; ghi được nhiều lần"
)
_REQUEST = "as `request list` has it / số, như trong request list"


def add_to(add: Add) -> None:
    """Add these commands to the command line."""
    command = add(
        "request take",
        "somebody asks about their own data / một người yêu cầu về dữ liệu của mình",
        _take,
    )
    command.add_argument(
        "kind",
        choices=("access", "erasure"),
        help="to see it, or to have it erased / xem, hoặc xóa",
    )
    command.add_argument(
        "--person",
        action="append",
        choices=("pin", "document", "bhyt", "qid"),
        required=True,
        help=KIND_OF_NUMBER,
    )
    add(
        "request list",
        "all requests; late ones were not acknowledged in two working days"
        " / mọi yêu cầu; trễ là chưa báo nhận trong hai ngày làm việc",
        _list,
    )
    command = add(
        "request acknowledge",
        "note that the person was told / ghi nhận đã báo cho người đó",
        _acknowledge,
    )
    command.add_argument("request", type=int, help=_REQUEST)
    command = add(
        "request fulfil",
        "give, or erase, what is kept of them / đưa, hoặc xóa, những gì còn lưu về họ",
        _fulfil,
    )
    command.add_argument("request", type=int, help=_REQUEST)
    command.add_argument(
        "--order",
        type=Path,
        help="of an erasure: where to write the order for edge-collector erase"
        " / khi xóa: tệp ghi lệnh cho edge-collector erase",
    )
    command = add(
        "breach",
        "which records are affected: a page to be sent within 72 h"
        " / dữ liệu nào bị ảnh hưởng: trang phải gửi trong 72 giờ",
        _breach,
    )
    command.add_argument(
        "--unit",
        required=True,
        help='a unit, or "*" for all / tên máy, hoặc "*" cho tất cả',
    )
    command.add_argument("--since", required=True, help="from when / từ lúc nào")
    command.add_argument("--until", required=True, help="until when / đến lúc nào")
    command.add_argument(
        "--detected",
        default="",
        help="when it was noticed; now if left out / phát hiện lúc nào; bỏ trống là bây giờ",
    )
    command.add_argument("--out", type=Path, help="the page, FILE.html / tệp trang ghi ra")


def ask_for_numbers(kinds: list[str]) -> list[str]:
    """A number for each of *kinds*, typed in.

    Not given as arguments: those are seen by everybody on the machine and kept by the shell.
    """
    return [f"{kind}:{getpass.getpass(f'{kind}: ')}" for kind in kinds]


def _take(options: argparse.Namespace) -> int:
    numbers = ask_for_numbers(options.person)
    request = ask_desk(options, "take_request", kind=options.kind, numbers=numbers)
    return show(options.json, [request], REQUESTS)


def _list(options: argparse.Namespace) -> int:
    return show(options.json, ask_desk(options, "requests"), REQUESTS)


def _acknowledge(options: argparse.Namespace) -> int:
    request = ask_desk(options, "acknowledge", request=options.request)
    return show(options.json, [request], REQUESTS)


def _fulfil(options: argparse.Namespace) -> int:
    kind = next(
        (r["kind"] for r in ask_desk(options, "requests") if r["number"] == options.request), ""
    )
    if kind == "erasure" and options.order is None:
        raise DeskError("an erasure needs --order FILE, for edge-collector erase to follow")
    answer = ask_desk(options, "fulfil", request=options.request)
    if kind == "access":
        return show(options.json, answer["stays"], STAYS)
    _write(options.order, json.dumps(answer["order"]).encode())
    print(cli.printable(f"{options.order}: {len(answer['order'])}; edge-collector erase FILE"))
    return 0


def _breach(options: argparse.Namespace) -> int:
    answer = ask_desk(
        options,
        "breach",
        unit=options.unit,
        since=options.since,
        until=options.until,
        detected=options.detected,
    )
    if options.json or options.out is None:
        print(cli.json_line(answer))
        return 0
    _write(options.out, breach_page(msgspec.convert(answer, Breach)).encode())
    print(cli.printable(f"{options.out}: {answer['scans']}; 72 h: {answer['tell_by']}"))
    return 0


def _write(path: Path, content: bytes) -> None:
    try:
        replace_file(path, [content])
    except OSError as err:
        raise DeskError(f"{path}: cannot write there: {err.strerror}") from err
