"""Why a row of a register, or an account, is refused, in Vietnamese; errors are English."""

import re

_WHERE = re.compile(r"^.*?, row \d+: (?:place [^:]{1,40}: )?", re.DOTALL)

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
            r"admin\[\d+\]\.(since|until) is (.*); it must be .*",
            "cột {0} là {1}; phải là ngày, như 2026-12-31",
        ),
        (
            r"vehicle\.plate is (.*); it must be .*",
            "biển số {0} phải viết như trên xe, ví dụ 81B-012.34",
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
        # Accounts.
        (r"there is a (.*) already; choose another name", "đã có {0}; hãy chọn tên khác"),
        (r"there is no (.*)", "không có {0}"),
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


def why_refused(why: str, language: str) -> str:
    """*why* without where it stands, in *language*; in English where there are no other words."""
    said = _WHERE.sub("", why, count=1)
    if language == "vi":
        for pattern, vi in _SAID:
            if match := pattern.fullmatch(said):
                return vi.format(*match.groups())
    return said
