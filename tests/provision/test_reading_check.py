"""From the screen of a unit, by a photograph, to the office."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.check_report import CheckReport, CheckResult, write_report
from edge.provision.__main__ import main
from edge.scanner.checking import terminal_lines, write_picture
from tests.languages import is_in_both

REPORT = CheckReport(
    "cho-1-cong-2",
    "2026-11-25T05:00:00.000Z",
    "0.1.0",
    (
        CheckResult("settings", True, "/etc/edge/scanner.toml"),
        CheckResult("wireless", True, "wlan0: -81 dBm is weak", True),
        CheckResult("camera", False, "không có máy ảnh"),
    ),
)


def photograph(path: Path, turned: float = 7.0) -> None:
    """What a telephone makes of the screen: turned, blurred, and some noise."""
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    height, width = picture.shape
    larger = np.full((height + 300, width + 300), 40, np.uint8)
    larger[150 : 150 + height, 150 : 150 + width] = picture
    middle = (larger.shape[1] / 2, larger.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(middle, turned, 0.7)
    seen = cv2.GaussianBlur(cv2.warpAffine(larger, turn, larger.shape[::-1]), (3, 3), 0)
    noise = np.random.default_rng(1).normal(0, 8, seen.shape)
    cv2.imwrite(str(path), np.clip(seen + noise, 0, 255).astype(np.uint8))


def test_a_photograph_gives_the_same_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "check.png"
    write_picture(picture, write_report(REPORT))
    photograph(picture)

    assert main(["read-check", str(picture)]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cho-1-cong-2, 2026-11-25T05:00:00.000Z, edge-scanner 0.1.0"
    assert lines[1:] == [result.line() for result in REPORT.results]


def test_what_a_terminal_draws_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(terminal_lines(write_report(REPORT)))
    assert len(lines) < 40
    rows: list[list[int]] = []
    for line in lines:
        letters = re.sub(r"\033\[[0-9;]*m", "", line)
        assert len(letters) <= 80
        rows.append([1 if letter in "▀█" else 0 for letter in letters])
        rows.append([1 if letter in "▄█" else 0 for letter in letters])
    dark = np.kron(np.array(rows, np.uint8), np.ones((6, 6), np.uint8))
    cv2.imwrite(str(tmp_path / "screen.png"), 255 * (1 - dark))

    assert main(["read-check", "--json", str(tmp_path / "screen.png")]) == 1
    parts = [json.loads(line)["part"] for line in capsys.readouterr().out.splitlines()]
    assert parts == ["settings", "wireless", "camera"]


def test_the_text_of_a_code_does_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    well = CheckReport("a", REPORT.at, "0.1.0", (CheckResult("clock", True, "\x1b[2J"),))

    assert main(["read-check", write_report(well)]) == 0
    # Anybody may have made the code.
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_picture_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)

    assert main(["read-check", str(tmp_path / "a.png")]) == 1
    said = capsys.readouterr().err
    assert "a.png: th" in said
    assert is_in_both(said)


def test_a_picture_without_the_code_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 200), 128, np.uint8))

    assert main(["read-check", str(tmp_path / "a.png")]) == 1
    said = capsys.readouterr().err
    assert "photograph it nearer" in said
    assert is_in_both(said)
