"""Answers as tables for a terminal."""

import sys
from collections.abc import Sequence
from typing import Any

from edge import cli

Columns = Sequence[tuple[str, str]]

STAYS: Columns = (
    ("person", "người / person"),
    ("start", "từ / from"),
    ("end", "đến / to"),
    ("minutes", "phút / min"),
    ("place_name", "địa điểm / place"),
    ("trip", "chuyến / trip"),
    ("start_is", "vào / entry"),
    ("end_is", "ra / exit"),
)
#: A row is one meeting, and each says how sure it is: see `meetings_of`.
MEETINGS: Columns = (
    ("person", "người / person"),
    ("of", "với / with"),
    ("total", "tổng phút / total min"),
    ("start", "từ / from"),
    ("end", "đến / to"),
    ("minutes", "phút / min"),
    ("certainty", "độ chắc chắn / certainty"),
    ("place_name", "địa điểm / place"),
    ("trip", "chuyến / trip"),
)
CASES: Columns = (
    ("id", "vụ việc / case"),
    ("state", "trạng thái / state"),
    ("requester", "người yêu cầu / by"),
    ("approver", "người duyệt / approver"),
    ("held", "giữ / held"),
    ("purpose", "mục đích / purpose"),
)
RELEASES: Columns = (
    ("number", "số / number"),
    ("case_id", "vụ việc / case"),
    ("state", "trạng thái / state"),
    ("requester", "người yêu cầu / by"),
    ("approver", "người duyệt / approver"),
    ("persons", "người / persons"),
    ("reason", "lý do / reason"),
)
NAMED: Columns = (
    ("person", "người / person"),
    ("name", "họ tên / name"),
    ("birth_year", "năm sinh / born"),
    ("sex", "giới tính / sex"),
    ("phone", "điện thoại / phone"),
    ("pin", "số định danh / number"),
    ("bhyt", "thẻ BHYT / insurance"),
    ("qid", "QID"),
    ("documents", "giấy tờ / documents"),
)
WORKERS: Columns = (
    ("name", "tài khoản / account"),
    ("title", "chức danh / title"),
    ("roles", "vai trò / roles"),
    ("active", "hoạt động / active"),
)
PERSONS: Columns = (
    ("person", "người / person"),
    ("ring", "vòng / ring"),
    ("namesakes", "có thể trùng tên / namesakes (weak)"),
)
REQUESTS: Columns = (
    ("number", "số / number"),
    ("kind", "loại / kind"),
    ("received", "nhận / received"),
    ("due", "trả lời trước / due"),
    ("acknowledged", "đã trả lời / acknowledged"),
    ("done", "đã xong / done"),
    ("late", "quá hạn / late"),
)
AUDIT: Columns = (
    ("n", "số / number"),
    ("at", "lúc / at"),
    ("who", "ai / who"),
    ("what", "việc / what"),
    ("case", "vụ việc / case"),
    ("persons", "người / persons"),
)


def meetings_of(contacts: Sequence[Any]) -> list[dict[str, Any]]:
    """Each meeting of *contacts* as a row of its own, in their order.

    A contact's minutes are of all meetings, and its certainty that of the surest: in one row with
    them, a meeting that was estimated would pass for one that was scanned.
    """
    return [
        meeting | {name: contact[name] for name in ("person", "of")} | {"total": contact["minutes"]}
        for contact in contacts
        for meeting in contact["meetings"]
    ]


def show(as_json: bool, answer: Any, columns: Columns) -> int:
    """Print *answer* as JSON or as a table of *columns*; gives the exit code."""
    if as_json:
        print(cli.json_line(answer))
        return 0
    rows = [[title for _, title in columns]]
    rows += [
        [cli.printable(str(cell_text(row.get(name, "")))) for name, _ in columns] for row in answer
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    if not answer:
        print("(không có / none)", file=sys.stderr)
    return 0


def cell_text(value: Any) -> Any:
    """*value* as a cell: a number stays one."""
    if isinstance(value, bool):
        return "có / yes" if value else ""
    if isinstance(value, list):
        return len(value) if value and isinstance(value[0], dict) else ", ".join(map(str, value))
    return value
