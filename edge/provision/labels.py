"""The label of a unit: its name, its place, a code to read it by, and what its lights mean."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from edge.errors import ProvisionError
from edge.files import replace_file
from edge.printing import Label, LabelSheet, Meaning
from edge.provision.deployment import Deployment
from edge.provision.inventory import UnitRecord

DIRECTIONS = {"in": "VÀO / IN", "out": "RA / OUT", "both": "VÀO - RA / IN - OUT"}

#: The signals that people at a gate ask about. Each flash: the lights, and whether it is long. A
#: test compares them with the scanner's own table.
MEANINGS = (
    Meaning((("green", True),), "Đã ghi nhận", "Counted"),
    Meaning(
        (("green", True), ("yellow", False)),
        "Đã ghi nhận, sẽ gửi khi có mạng",
        "Counted; will be sent when there is a network",
    ),
    Meaning(
        (("yellow", False), ("yellow", False)),
        "Mã này vừa được ghi nhận",
        "Counted a moment ago",
    ),
    Meaning(
        (("red", True), ("red", True)),
        "Mã này không dùng được ở đây",
        "This code cannot be used here",
    ),
    Meaning(
        (("yellow", False), ("red", False), ("yellow", False)),
        "Không đọc được mã, mời đưa lại",
        "Cannot be read; please show it again",
    ),
    Meaning(
        (("red", True), ("red yellow", True)),
        "CHƯA ghi nhận: máy không lưu được",
        "NOT counted: the unit cannot store it",
    ),
    Meaning(
        (("red yellow", True),),
        "Máy đang tạm dừng, không ghi nhận",
        "Not collecting now",
    ),
    Meaning(
        (("green yellow red", False),) * 3,
        "Máy bị lỗi, hãy báo kỹ thuật viên",
        "Out of order; call the technician",
    ),
)


def write_labels(
    path: Path, deployment: Deployment, units: Sequence[UnitRecord], made: datetime
) -> None:
    """The labels of *units*, eight on a page of A4, as a PDF in *path*. Raises EdgeError."""
    register = deployment.register
    sheet = LabelSheet(f"{deployment.settings.deployment.name}: nhãn / labels", made)
    for unit in units:
        sheet.add(
            Label(
                name=unit.id,
                place=register.place(unit.place).name,
                note=" · ".join(filter(None, (DIRECTIONS[unit.direction], unit.trip))),
                # Read by a technician's telephone; at a gate it is a code that is refused.
                code=f"edge-unit:{unit.area}/{unit.id}",
                meanings=MEANINGS,
            )
        )
    try:
        replace_file(path, [sheet.bytes()], 0o644)
    except OSError as err:
        raise ProvisionError(f"{path}: cannot write the labels: {err.strerror}") from err
