"""Why a register, a row of one or an account is refused, in Vietnamese; errors are English."""

import re
from collections.abc import Iterable

_WHERE = re.compile(r"^.*?, row \d+: (?:place [^:]{1,40}: )?", re.DOTALL)
_ROW = re.compile(r"^(.*?), row (\d+)((?: \(and rows [^)]*\))?): (.*)$", re.DOTALL)
#: What stands before the reason: a file, a place, a unit.
_NAMED = re.compile(r"[^:]{1,200}: ")

#: Patterns of what errors say, and the same in Vietnamese.
Words = Iterable[tuple[re.Pattern[str], str]]

#: What an error says, and the same in Vietnamese.
_SAID: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), vi)
    for pattern, vi in (
        (
            r"id is (.*); it must be .*",
            "mã {0} không dùng được: chỉ gồm 1 đến 32 ký tự a-z, 0-9 và dấu gạch nối ở giữa",
        ),
        (r"(\w+): missing; it must be given", "thiếu {0}"),
        (r"kind (.*) must be one of (.*)", "loại hình {0} không có; phải là một trong: {1}"),
        (r"hours (.*) must be as in (.*)", "giờ mở cửa {0} phải viết như {1}"),
        (r"trip (.*) must be as in (.*)", "chuyến {0} phải viết như {1}"),
        (
            r"a vehicle, and nothing else, has a number plate; kind is (.*)",
            "chỉ phương tiện (vehicle) mới có biển số, và phải có; loại hình là {0}",
        ),
        (
            r"(since|until) is (.*); it must be a date .*",
            "cột {0} là {1}; phải là ngày, như 2026-12-31",
        ),
        (
            r"plate is (.*); it must be .*",
            "biển số {0} phải viết như trên xe, ví dụ 81B-012.34",
        ),
        (
            r"(.*) without a plate; give the plate too",
            "có {0} mà không có plate; hãy ghi cả biển số",
        ),
        (r"(.*) has characters that cannot be printed", "{0} có ký tự không in được"),
        (
            r"admin areas must follow one another, oldest first",
            "các dòng của một điểm phải nối tiếp nhau theo thời gian, dòng cũ nhất trước",
        ),
        (
            r"an admin area ends on (.*), before (.*)",
            "địa bàn hết ngày {0}, trước ngày bắt đầu {1}",
        ),
        (
            r"there are no districts from (.*) on",
            "từ {0} không còn cấp huyện: để trống district",
        ),
        (r"before (.*) a district must be given", "trước {0} phải ghi huyện ở cột district"),
        (
            r"districts ended with (\S+); .*",
            "cấp huyện kết thúc {0}: ghi until là ngày đó, và thêm một dòng không có huyện từ"
            " 2025-07-01",
        ),
        # Whole files.
        (r"place (\S+) stands there twice", "điểm {0} có hai lần"),
        (
            r"the register has a place twice; .*",
            "danh mục có một điểm hai lần; chưa có gì thay đổi",
        ),
        (r"(\w+) is (.*); it must be text of at most (\d+).*", "cột {0} là {1}; tối đa {2} ký tự"),
        (r"there is no column (.*) in the first row", "dòng đầu không có cột {0}"),
        (r"column (.*) is not known; they are (.*)", "không có cột nào tên {0}; các cột là {1}"),
        (r"(\d+) bytes; a table may have (\d+): .*", "tệp {0} byte; tối đa {1}: hãy chia nhỏ"),
        (
            r"(\d+) bytes when unpacked are too many: .*",
            "tệp lớn {0} byte khi giải nén, quá lớn: hãy chia nhỏ",
        ),
        (
            r"more than (\d+) rows or (\d+) cells; .*",
            "quá {0} dòng hoặc {1} ô: hãy chia nhỏ",
        ),
        (r"has no sheet with cells", "không có trang tính nào có dữ liệu"),
        (
            r"not a whole XLSX file; .*",
            "không phải tệp XLSX nguyên vẹn; hãy lưu lại (XLSX hoặc CSV)",
        ),
        (r"not an XLSX file that can be read; .*", "không đọc được tệp XLSX này; hãy lưu lại"),
        (r"not UTF-8; .*", "không phải UTF-8; hãy lưu thành CSV UTF-8 hoặc XLSX"),
        (r"not a CSV file: (.*)", "không phải tệp CSV: {0}"),
        (r"(.* - at `.*`)", "nội dung không đúng: {0}"),
        (r"(JSON is malformed.*|Input data was truncated)", "không phải JSON nguyên vẹn: {0}"),
        (
            r"what was handed in is no longer there; .*",
            "tệp đã gửi không còn ở đây; hãy gửi lại",
        ),
        (
            r"the register has changed meanwhile; .*",
            "danh mục vừa được thay đổi; hãy gửi lại tệp",
        ),
        # Accounts.
        (r"there is a ('.*'|\".*\") already; choose another name", "đã có {0}; hãy chọn tên khác"),
        (r"there is no ('.*'|\".*\")", "không có {0}"),
        (r"a password has (\d+) to (\d+) characters", "mật khẩu có {0} đến {1} ký tự"),
        (
            r"a name is 1 to 64 of .*, not (.*)",
            "tên gồm 1 đến 64 ký tự a-z, 0-9 và . _ @ - ở giữa, không dùng được {0}",
        ),
        (
            r"only a manager has places of its own, not a role (.*)",
            "chỉ người quản lý điểm quét có phạm vi riêng, vai trò {0} thì không",
        ),
        (
            r"(.*) is the last operator; make another one first",
            "{0} là người vận hành cuối cùng; hãy tạo người khác trước",
        ),
        (
            r"(.*) signs in at another server and has no password here",
            "{0} đăng nhập ở máy chủ khác, ở đây không có mật khẩu",
        ),
    )
)


def why_file_refused(why: str, name: str, language: str) -> str:
    """*why* a file called *name* is refused, in *language*, with the place that it names."""
    said = why.removeprefix(f"{name}: ").removeprefix("register.json: ")
    place = re.match(r"place ([^:]{1,40}): ", said)
    if place is None:
        return why_refused(said, language)
    where = f"điểm {place[1]}: " if language == "vi" else place[0]
    return where + why_refused(said[place.end() :], language)


def why_refused(why: str, language: str) -> str:
    """*why* without where it stands, in *language*; in English where there are no other words."""
    said = _WHERE.sub("", why, count=1)
    return (_vietnamese(said, _SAID) if language == "vi" else "") or said


def in_both(why: str, words: Words) -> str:
    """*why*, as a command says it: in Vietnamese before the English, if there are words for it.

    By those of this module and by *words*. The row of a table stands before both.
    """
    row = _ROW.match(why)
    said = row[4] if row else why
    named = _NAMED.match(said)
    known = [*words, *_SAID]
    vi = _vietnamese(said, known) or _vietnamese(said[named.end() :] if named else said, known)
    if not vi:
        return why
    if row is None:
        return f"{vi} / {said}"
    number, others = row[2], row[3]
    in_vi = others.replace("and rows", "và các dòng")
    return f"{row[1]}, dòng {number}{in_vi} / row {number}{others}: {vi} / {said}"


def _vietnamese(said: str, words: Words) -> str:
    for pattern, vi in words:
        if match := pattern.fullmatch(said):
            return vi.format(*match.groups())
    return ""
