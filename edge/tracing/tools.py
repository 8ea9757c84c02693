"""Commands that need no running desk: keys, and the legal basis."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge import cli
from edge.clock import utc_text
from edge.errors import DeskError
from edge.legal_basis import LegalBasis, read_basis, write_basis
from edge.sealing import Verifier, open_signer, read_key
from edge.tracing.keys import make_keys
from edge.tracing.shown import local_moment

Add = Callable[[str, str, Callable[[argparse.Namespace], int]], Any]


def add_to(add: Add) -> None:
    """Add these commands to the command line."""
    command = add(
        "keys make",
        "what is missing: a pair of keys, the token secret"
        " / tạo những gì còn thiếu: cặp khóa, khóa bí mật của mã thay tên",
        _keys_make,
    )
    command.add_argument("folder", type=Path, help="where to / thư mục ghi ra")
    command.add_argument(
        "--another",
        action="store_true",
        help="one more pair, to change to / thêm một cặp để đổi sang",
    )
    command = add("basis make", "sign a legal basis / ký căn cứ pháp lý", _basis_make)
    command.add_argument("file", type=Path, help="where to / tệp ghi ra")
    command.add_argument(
        "--key",
        type=Path,
        required=True,
        help="the authority's; made if missing / khóa của cơ quan ban hành; chưa có thì tạo",
    )
    command.add_argument("--number", required=True, help="of the order / số văn bản")
    command.add_argument("--issuer", required=True, help="who has ordered it / cơ quan ban hành")
    command.add_argument(
        "--place",
        action="append",
        required=True,
        help='an id, "cho-*" or "*" / mã điểm, "cho-*" hoặc "*"',
    )
    command.add_argument("--start", required=True, help="the first day / ngày đầu")
    command.add_argument("--end", required=True, help="the last day / ngày cuối")
    for action in ("show", "verify"):
        command = add(
            f"basis {action}",
            "what a legal basis says, if it is its authority's"
            " / nội dung căn cứ pháp lý, nếu đúng của cơ quan ban hành",
            _basis,
        )
        command.add_argument("file", type=Path, help="the document / tệp văn bản")
        command.add_argument(
            "--key",
            type=Path,
            required=True,
            help="the authority's basis.pub / khóa công khai của cơ quan ban hành",
        )


def _keys_make(options: argparse.Namespace) -> int:
    try:
        options.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = make_keys(options.folder, another=options.another)
    except OSError as err:
        raise DeskError(f"{options.folder}: cannot write keys there: {err.strerror}") from err
    for path in made:
        print(path)
    if not made:
        print("không thiếu gì / nothing is missing")
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
        print(cli.json_line(facts))
        return 0
    for name, value in facts.items():
        print(cli.printable(f"{name:<8} {', '.join(value) if name == 'places' else value}"))
    return 0
