"""What can be asked of the tracing desk from its page, and how its answers are laid out.

Each is a method of the desk's, by its name, with the fields that a person fills in. Names of people
are not among them: whom an approved release names is given by `edge-trace` alone, at the desk, so
that no identity ever passes through this service.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge.dashboard.local_time import number_text

Kind = Literal["text", "date", "number", "persons", "numbers", "yes"]


@dataclass(frozen=True)
class Field:
    """Something to be filled in."""

    name: str
    vi: str
    en: str
    kind: Kind = "text"
    required: bool = True


@dataclass(frozen=True)
class Action:
    """Something that can be asked for."""

    do: str
    vi: str
    en: str
    fields: tuple[Field, ...]
    #: The answer's columns: key, Vietnamese, English.
    columns: tuple[tuple[str, str, str], ...]
    changes: bool = False


_CASE = Field("case", "Mã vụ việc", "Case")
_SINCE = Field("since", "Từ ngày", "From", "date")
_UNTIL = Field("until", "Đến ngày", "To", "date")
_PERSON = Field("person", "Người số (0: người của vụ việc)", "Person (0: of the case)", "number")
_RELEASE = Field("release", "Số đề nghị", "Release", "number")
_APPROVE = Field("approve", "Đồng ý", "Approve", "yes", required=False)
_CASE_COLUMNS = (
    ("id", "Vụ việc", "Case"),
    ("state", "Trạng thái", "State"),
    ("purpose", "Mục đích", "Purpose"),
    ("requester", "Người đề nghị", "Asked by"),
    ("asked", "Lúc", "At"),
    ("approver", "Người duyệt", "Decided by"),
    ("held", "Giữ lại", "Held"),
)
_RELEASE_COLUMNS = (
    ("number", "Số", "No."),
    ("case_id", "Vụ việc", "Case"),
    ("state", "Trạng thái", "State"),
    ("persons", "Người", "Persons"),
    ("reason", "Lý do", "Reason"),
    ("requester", "Người đề nghị", "Asked by"),
    ("approver", "Người duyệt", "Decided by"),
)
_STAY_COLUMNS = (
    ("person", "Người số", "Person"),
    ("place_name", "Điểm", "Place"),
    ("trip", "Chuyến", "Trip"),
    ("start", "Từ", "From"),
    ("end", "Đến", "Until"),
    ("minutes", "Phút", "Minutes"),
    ("start_is", "Lúc vào", "Entry is"),
    ("end_is", "Lúc ra", "Exit is"),
)
_CONTACT_COLUMNS = (
    ("person", "Người số", "Person"),
    ("of", "Gặp người", "Met"),
    ("minutes", "Phút", "Minutes"),
    ("certainty", "Độ chắc", "Certainty"),
    ("where", "Ở đâu", "Where"),
)

ACTIONS: tuple[Action, ...] = (
    Action("cases", "Các vụ việc", "Cases", (), _CASE_COLUMNS),
    Action(
        "open_case",
        "Đề nghị vụ việc",
        "Ask for a case",
        (
            Field("purpose", "Mục đích", "Purpose"),
            Field(
                "numbers",
                "Về ai: pin:…, bhyt:…, qid:…",
                "About whom: pin:…, bhyt:…, qid:…",
                "numbers",
                required=False,
            ),
        ),
        _CASE_COLUMNS,
        changes=True,
    ),
    Action("decide_case", "Duyệt vụ việc", "Decide a case", (_CASE, _APPROVE), _CASE_COLUMNS, True),
    Action("hold_case", "Giữ dữ liệu vụ việc", "Hold a case", (_CASE,), _CASE_COLUMNS, True),
    Action("close_case", "Đóng vụ việc", "Close a case", (_CASE,), _CASE_COLUMNS, True),
    Action(
        "persons",
        "Những người của vụ việc",
        "Persons of a case",
        (_CASE,),
        (
            ("person", "Người số", "Person"),
            ("ring", "Vòng", "Ring"),
            ("namesakes", "Trùng tên", "Namesakes"),
        ),
    ),
    Action("where", "Đã ở đâu", "Where were they", (_CASE, _SINCE, _UNTIL, _PERSON), _STAY_COLUMNS),
    Action(
        "present",
        "Ai đã ở điểm này",
        "Who was at a place",
        (
            _CASE,
            Field("place", "Mã điểm quét", "Place"),
            _SINCE,
            _UNTIL,
            Field("trip", "Chuyến", "Trip", required=False),
        ),
        _STAY_COLUMNS,
    ),
    Action(
        "overlaps",
        "Ai đã ở cùng",
        "Who was with them",
        (_CASE, _SINCE, _UNTIL, _PERSON),
        _CONTACT_COLUMNS,
    ),
    Action("second_ring", "Vòng hai", "Second ring", (_CASE, _SINCE, _UNTIL), _CONTACT_COLUMNS),
    Action(
        "completeness",
        "Dữ liệu đầy đủ đến đâu",
        "How complete is it",
        (_SINCE, _UNTIL),
        (
            ("place", "Điểm", "Place"),
            ("day", "Ngày", "Day"),
            ("scans_in", "Vào", "In"),
            ("scans_out", "Ra", "Out"),
            ("scans_both", "Không rõ hướng", "Either way"),
            ("unsynced", "Chưa rõ giờ", "Of unknown time"),
            ("units", "Thiết bị", "Units"),
        ),
    ),
    Action("releases", "Các đề nghị nêu tên", "Releases", (), _RELEASE_COLUMNS),
    Action(
        "ask_release",
        "Đề nghị nêu tên",
        "Ask for names",
        (
            _CASE,
            Field("persons", "Người số, cách nhau bằng dấu phẩy", "Persons", "persons"),
            Field("reason", "Lý do", "Reason"),
        ),
        _RELEASE_COLUMNS,
        changes=True,
    ),
    Action(
        "decide_release",
        "Duyệt nêu tên",
        "Decide a release",
        (_RELEASE, _APPROVE),
        _RELEASE_COLUMNS,
        changes=True,
    ),
    Action(
        "audit",
        "Nhật ký",
        "Audit",
        (Field("case", "Mã vụ việc", "Case", required=False),),
        (
            ("n", "Số", "No."),
            ("at", "Lúc", "At"),
            ("who", "Ai", "Who"),
            ("what", "Việc", "What"),
            ("case", "Vụ việc", "Case"),
        ),
    ),
)


#: In which columns one of the desk's own words stands, and what they are in Vietnamese.
_WORDED = frozenset({"certainty", "start_is", "end_is", "state"})
WORDS_VI = {
    "scanned": "đã quét",
    "inferred": "suy ra",
    "estimated": "ước tính",
    "time unknown": "không rõ giờ",
    "possible": "có thể",
    "asked": "chờ duyệt",
    "approved": "đã duyệt",
    "refused": "từ chối",
    "closed": "đã đóng",
}


def arguments_of(action: Action, field: Callable[[str], str]) -> dict[str, Any]:
    """What was filled in, as the desk takes it. Raises ValueError for what is no number."""
    return {
        one.name: _argument(one, field(one.name).strip())
        for one in action.fields
        if one.required or one.kind == "yes" or field(one.name).strip()
    }


def rows_of(action: Action, answer: Any, language: str) -> list[list[str]]:
    """An answer as rows of text under the action's columns, in *language*."""
    if action.do == "completeness":
        answer = answer["days"]
    found: Sequence[Mapping[str, Any]] = answer if isinstance(answer, list) else [answer]
    return [[_cell(row, key, language) for key, _, _ in action.columns] for row in found]


def _argument(field: Field, text: str) -> Any:
    if field.kind == "number":
        return int(text or "0")
    if field.kind == "persons":
        return [int(part) for part in text.replace(",", " ").split()]
    if field.kind == "numbers":
        return text.replace(",", " ").split()
    return text == "yes" if field.kind == "yes" else text


def _cell(row: Mapping[str, Any], key: str, language: str) -> str:
    if key == "where":
        # Each with its own mark: the contact's is that of the surest.
        return "; ".join(
            f"{m['place_name']} {m['start']} - {m['end']} ({_word(m['certainty'], language)})"
            for m in row.get("meetings", [])
        )
    value = row.get(key, "")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "✓" if value else ""
    if isinstance(value, int | float):
        return number_text(value, language, 1 if isinstance(value, float) else 0)
    return _word(str(value), language) if key in _WORDED else str(value)


def _word(word: str, language: str) -> str:
    return WORDS_VI.get(word, word) if language == "vi" else word
