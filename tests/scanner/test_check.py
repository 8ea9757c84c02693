"""`edge-scanner check`: a line for each part, and the cure where one is broken."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.check_report import read_report
from edge.demo.broker import NatsBroker
from edge.scanner.__main__ import main
from edge.scanner.decoder import Decoder
from edge.sealing import make_key_pair


def settings(folder: Path, url: str, **more: str) -> Path:
    make_key_pair(folder / "tracing.pub", folder / "tracing.key")
    (folder / "scanner.toml").write_text(
        f"""
[unit]
id = "cong-1"
area = "pleiku"
place = "cho-1"
direction = "in"
tracing_key_file = "{more.get("key", "tracing.pub")}"
[basis]
required = {more.get("basis", "false")}
[broker]
url = "{url}"
[camera]
source = "{more.get("source", "sample")}"
lamp_pin = {more.get("lamp_pin", "-1")}
[outbox]
folder = "{more.get("outbox", folder / "outbox")}"
keep_free_mb = {more.get("keep_free_mb", "1")}
[indicator]
kind = "{more.get("indicator", "terminal")}"
"""
    )
    return folder / "scanner.toml"


def check(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, tuple[bool, str]]]:
    code = main(["--config", str(path), "check", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, {line["part"]: (line["ok"], line["text"]) for line in lines}


def test_a_unit_that_is_well_has_no_line_that_needs_a_cure(
    tmp_path: Path, nats: NatsBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(settings(tmp_path, nats.url)), "check"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 18
    # Here, it was set up by hand, for a broker that lets everybody in.
    concerns = {line for line in lines if line.startswith("‼ ")}
    assert all(
        any(part in line for part in ("certificate", "board", "centre")) for line in concerns
    )
    assert len(concerns) == 3
    assert all(line.startswith("✓ ") for line in set(lines) - concerns)
    assert any("máy ảnh / camera" in line for line in lines)


@pytest.mark.parametrize(
    ("part", "broken", "cure"),
    [
        ("legal basis", {"basis": "true"}, "this unit does not collect"),
        ("tracing key", {"key": "missing.pub"}, "missing.pub: cannot read the key"),
        ("disk", {"outbox": "/proc/outbox"}, "make /proc/outbox a folder"),
        ("disk", {"keep_free_mb": "999999"}, "make room or use a larger card"),
        ("camera", {"source": "/nowhere/frames"}, "/nowhere/frames"),
        ("camera", {"source": "/dev/video99"}, "/dev/video99"),
        ("camera", {"lamp_pin": "12"}, "the lamp on pin 12 cannot be switched"),
        ("indicator", {"indicator": "gpio"}, ""),
    ],
)
def test_what_is_broken_is_named_with_its_cure_and_the_rest_is_still_checked(
    part: str,
    broken: dict[str, str],
    cure: str,
    tmp_path: Path,
    nats: NatsBroker,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = check(settings(tmp_path, nats.url, **broken), capsys)

    assert code == 1
    # Without a camera there is no eye either, and without pins no button.
    alone = ["camera", "eye"] if "source" in broken else [part]
    alone = ["button", *alone] if "indicator" in broken else alone
    assert [name for name, (ok, _) in found.items() if not ok] == alone
    assert cure in found[part][1]
    assert len(found) == 18


def test_a_folder_in_memory_is_no_place_for_scans(
    tmp_path: Path, nats: NatsBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    mounts = [line.split(" ") for line in Path("/proc/mounts").read_text().splitlines()]
    in_memory = [
        Path(mount)
        for _, mount, kind, *_ in mounts
        if kind == "tmpfs" and os.access(mount, os.W_OK) and os.statvfs(mount).f_bavail > 1000
    ]
    if not in_memory:
        pytest.skip("no tmpfs is mounted here that this user may write to")
    folder = in_memory[0] / "edge-test-outbox"

    code, found = check(settings(tmp_path, nats.url, outbox=str(folder)), capsys)
    shutil.rmtree(folder, ignore_errors=True)

    assert code == 1
    assert "gone with the power" in found["disk"][1]


def test_a_broker_that_is_away_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.scanner.check.BROKER_S", 0.5)
    code, found = check(settings(tmp_path, "mqtt://127.0.0.1:1"), capsys)

    assert code == 1
    assert "nobody listens at 127.0.0.1:1" in found["broker"][1]


def test_a_unit_that_waits_for_its_code_is_checked_on_the_bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings(tmp_path, "mqtt://127.0.0.1:1")
    text = path.read_text()
    path.write_text(text[text.index("[basis]") :])

    code, found = check(path, capsys)

    assert code == 0
    assert "waits for its set-up code" in found["settings"][1]
    assert {"camera", "disk", "button", "clock"} < set(found)
    assert not {"broker", "certificate", "legal basis", "tracing key"} & set(found)


def test_what_the_running_scanner_has_is_left_to_it(
    tmp_path: Path, nats: NatsBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "etc/edge"
    folder.mkdir(parents=True)
    (tmp_path / "run/edge-scanner").mkdir(parents=True)

    code, found = check(settings(folder, nats.url, source="/dev/video99"), capsys)

    assert code == 0
    for part in ("camera", "eye", "button", "indicator"):
        assert "sudo systemctl stop edge-scanner" in found[part][1]


def test_the_office_reads_all_of_it_from_a_picture(
    tmp_path: Path, nats: NatsBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = settings(tmp_path, nats.url, basis="true"), tmp_path / "check.png"

    assert main(["--config", str(path), "check", "--picture", str(picture)]) == 1

    lines = capsys.readouterr().out.splitlines()
    frame = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    assert frame is not None
    with closing(Decoder(zbar=False)) as decoder:
        (code,) = decoder.read(frame.astype(np.uint8))
    report = read_report(code.content.decode())
    assert report.unit == "cong-1"
    assert [result.line() for result in report.results] == [line[:193] for line in lines]


def test_settings_that_cannot_be_read_are_the_only_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = check(tmp_path / "scanner.toml", capsys)

    assert code == 1
    assert list(found) == ["settings"]
