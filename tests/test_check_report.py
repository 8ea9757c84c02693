import random
import zlib
from typing import Any

import msgspec
import pytest

from edge import base45
from edge.check_report import _PHRASES, PARTS, PREFIX, CheckReport, CheckResult, read_report
from edge.check_report import write_report as write
from edge.errors import ReportError

AT = "2026-11-25T05:00:00.000Z"
WELL = CheckReport(
    "cho-1-cong-2", AT, "0.1.0", tuple(CheckResult(part, True, "") for part in PARTS)
)
FULL = CheckReport(
    "cho-1-cong-2",
    AT,
    "0.1.0",
    (
        CheckResult("settings", True, "/etc/edge/scanner.toml"),
        CheckResult("certificate", True, "of cho-1-cong-2, 700 days left"),
        CheckResult("disk", True, "24000 MB free, a write is safe after 6.1 ms, at most 31 ms"),
        CheckResult("disk health", True, "SD32G 08/2025, 90 % of its life used: soon", True),
        CheckResult("wireless", True, "wlan0: -81 dBm is weak; move the antenna", True),
        CheckResult("camera", False, "máy ảnh không trả lời / the camera does not answer"),
    ),
)


def packed(table: Any) -> str:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_PHRASES)
    data = deflate.compress(msgspec.msgpack.encode(table)) + deflate.flush()
    return PREFIX + base45.encode(data)


@pytest.mark.parametrize("report", [WELL, FULL, CheckReport(None, AT, "", ())])
def test_a_report_is_read_as_it_was_written(report: CheckReport) -> None:
    assert read_report(write(report)) == report


def test_it_is_small_enough_for_a_terminal() -> None:
    # 80 columns: at level L, 1,000 characters are version 19, of 93 modules; 440 are 11, of 61.
    assert len(write(FULL)) < 440


def test_a_long_text_is_cut_and_the_rest_is_there() -> None:
    report = CheckReport("a", AT, "0.1.0", (CheckResult("camera", False, "x" * 500),))

    assert read_report(write(report)).results[0].text == "x" * 160


@pytest.mark.parametrize("report", [WELL, FULL])
def test_what_is_damaged_is_refused(report: CheckReport) -> None:
    dice = random.Random(1)
    whole = write(report)

    for end in range(len(PREFIX), len(whole)):
        with pytest.raises(ReportError):
            read_report(whole[:end])
    for _ in range(300):
        at = dice.randrange(len(PREFIX), len(whole))
        changed = whole[:at] + dice.choice("0AZ $%*") + whole[at + 1 :]
        try:
            read_report(changed)
        except ReportError as err:
            assert "\n" not in str(err)  # noqa: PT017


@pytest.mark.parametrize(
    "table",
    [
        ["A B", AT, "", []],
        ["a", "yesterday", "", []],
        ["a", AT, "x" * 50, []],
        ["a", AT, "", [["p", 3, ""]]],
        ["a", AT, "", [["p" * 40, 0, ""]]],
        ["a", AT, "", [["p", 0, "x" * 161]]],
        ["a", AT, "", [["p", 0, ""]] * 65],
        ["a", AT, "", [], "more"],
        {},
        "x" * 100_000,
    ],
    ids=str,
)
def test_what_anybody_may_write_is_checked(table: Any) -> None:
    with pytest.raises(ReportError):
        read_report(packed(table))


def test_another_code_is_none_of_a_check() -> None:
    with pytest.raises(ReportError, match="begins with EDGECHECK1:"):
        read_report("https://example.vn")
