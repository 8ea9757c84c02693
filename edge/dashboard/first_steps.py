"""What whoever sets a deployment up does next, until places and units are there."""

from dataclasses import dataclass

from edge.dashboard.bases import Bases
from edge.dashboard.people import People


@dataclass(frozen=True)
class Step:
    """One thing to do, Vietnamese and English."""

    done: bool
    what: tuple[str, str]
    how: tuple[str, str]
    path: str  #: the page where it is done; "" where that is another machine


class FirstSteps:
    """The way from an empty store to the first scan."""

    def __init__(self, bases: Bases, people: People) -> None:
        self._bases, self._people = bases, people

    def read(self, now: str, *, places: int, units: int, scans: int) -> list[Step]:
        """Every step and whether it is done; none when there are places, units and scans."""
        if places and units and scans:
            return []
        valid = any(basis.start <= now < basis.end for basis in self._bases.read().bases)
        managers = any(person.role == "manager" for person in self._people.all())
        return [
            Step(
                bool(places),
                ("Nhập danh mục điểm quét", "Hand in the register of places"),
                (
                    "Một bảng tính có mã (id), tên (name) và loại hình (kind) của từng điểm là đủ.",
                    "A spreadsheet with the id, name and kind of each place will do.",
                ),
                "/set-up#upload",
            ),
            Step(
                valid,
                ("Ký căn cứ pháp lý", "Sign the legal basis"),
                (
                    "Thiết bị chỉ quét khi có căn cứ còn hiệu lực. Ký bằng edge-provision basis,"
                    " rồi ghi thư mục của căn cứ vào [set_up] trong dashboard.toml để thấy ở đây.",
                    "Units scan only while one is valid. Sign it with edge-provision basis, and"
                    " name its folder in [set_up] of dashboard.toml to see it here.",
                ),
                "/set-up#basis",
            ),
            Step(
                bool(units),
                ("Cài thiết bị đầu tiên", "Set the first unit up"),
                (
                    "Thêm bằng edge-provision unit add, ghi thẻ nhớ bằng edge-provision card. Thiết"
                    " bị hiện ở đây khi kết nối lần đầu.",
                    "Add it with edge-provision unit add, and write its card with edge-provision"
                    " card. It shows here when it connects for the first time.",
                ),
                "",
            ),
            Step(
                bool(scans),
                ("Quét thử một mã", "Scan a code to try it"),
                (
                    "Đưa một mã QR trước thiết bị. Lượt quét hiện ở đây sau vài giây.",
                    "Show a QR code to the unit. The scan is here within seconds.",
                ),
                "",
            ),
            Step(
                managers,
                ("Tạo tài khoản cho người quản lý điểm", "Make accounts for place managers"),
                (
                    "Mỗi người chỉ thấy các điểm của mình.",
                    "Each sees the own places alone.",
                ),
                "/people",
            ),
        ]
