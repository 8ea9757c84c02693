"""`make run` as a newcomer meets it: the sample sequence, all the way into storage."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from edge.demo.live import REFUSALS
from edge.scanner.outbox import read_outbox
from edge.scanner.sample.people import sample_script
from edge.storage.storage import Storage
from tests.end_to_end.parts import invented_cards, write_frames
from tests.fakes import LIMIT_S, eventually


def demo(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge.demo", "--folder", str(folder), "--once", *more],
        capture_output=True,
        text=True,
        timeout=4 * LIMIT_S,
        check=False,
    )


def total(output: str, label: str) -> int:
    match = re.search(rf"{label}\s+(\d+)", output.partition("Tổng cộng")[2])
    assert match, f"{label!r} is not in:\n{output}"
    return int(match.group(1))


def test_the_sample_sequence_is_stored_once_confirmed_and_gone_from_the_unit(
    tmp_path: Path,
) -> None:
    script = sample_script()
    expected = [arrival.kind for arrival in script]
    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout

    storage = Storage(tmp_path / "storage.db")
    rows = storage.scan_numbers()
    storage.close()
    documents = {"qrqg", "cccd", "can_cuoc", "bhyt"}
    people = len({a.payload for a in script if a.kind in documents})
    assert people >= 12, expected
    # Whoever is shown for long is counted again if the machine stood still for the reread delay.
    accepted = total(done.stdout, "accepted")
    assert accepted >= people
    assert [seq for _, _, seq, _ in rows] == list(range(1, accepted + 1))
    assert read_outbox(tmp_path / "outbox").status().pending == 0
    assert total(done.stdout, "stored") == accepted
    assert total(done.stdout, "confirmed") == accepted
    assert total(done.stdout, "still on the unit") == 0
    for kind in {a.kind for a in script} - documents:
        assert re.search(rf"refused\s+\d+\s+{re.escape(REFUSALS[kind])}", done.stdout), kind
    # Never what a code said, on the screen or in a log.
    logs = done.stdout + "".join(p.read_text() for p in tmp_path.glob("*.log"))
    for arrival in script:
        for part in re.split(rb"[|<;&?/]", arrival.payload):
            if len(part) >= 9:
                assert part.decode() not in logs


def test_a_visitors_own_folder_is_read_and_a_second_run_goes_on_counting(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames", invented_cards(5))

    first = demo(tmp_path / "run", "--frames", str(frames))
    second = demo(tmp_path / "run", "--frames", str(frames))

    assert total(first.stdout, "stored") == 5, first.stdout + first.stderr
    assert total(second.stdout, "stored") == 5, second.stdout + second.stderr
    storage = Storage(tmp_path / "run" / "storage.db")
    assert [seq for _, _, seq, _ in storage.scan_numbers()] == list(range(1, 11))
    storage.close()


def test_ctrl_c_stops_everything_and_prints_totals(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge.demo", "--folder", str(tmp_path / "run")],
            stdout=file,
            stderr=file,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        eventually(lambda: b"confirmed" in output.read_bytes(), "a confirmed scan")
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 0

    text = output.read_text()
    assert total(text, "still on the unit") == 0
    assert "Traceback" not in text
    assert [p for p in Path("/proc").glob("[0-9]*") if str(tmp_path) in command_line(p)] == []


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        # It has ended since it was listed.
        return ""


def test_the_dashboard_shows_the_samples_scans_live(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge.demo", "--folder", str(tmp_path / "run")],
            stdout=file,
            stderr=file,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        told = re.compile(r"dashboard: (\S+) \((\w+), (\S+)\)")
        eventually(lambda: told.search(output.read_text()), "the address")
        match = told.search(output.read_text())
        assert match
        url, name, password = match.groups()
        browser = build_opener(HTTPCookieProcessor())
        form = urlencode({"name": name, "password": password}).encode()
        eventually(lambda: _opens(browser, f"{url}sign-in"), "a page")
        browser.open(f"{url}sign-in", form).read()

        def scans() -> int:
            page = browser.open(url).read().decode()
            assert "Chợ Mẫu, cổng 1" in page
            return int(page.partition('<span class="big">')[2].partition("<")[0])

        eventually(lambda: scans() >= 2, "two scans on the page")
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 0


def _opens(browser: OpenerDirector, url: str) -> bool:
    try:
        browser.open(url).read()
    except URLError:
        return False
    return True


def test_frames_that_are_not_there_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    missing = demo(tmp_path / "run", "--frames", str(tmp_path / "missing"))
    no_camera = demo(tmp_path / "run", "--camera", "97")
    empty = demo(tmp_path / "run", "--frames", str(tmp_path / "empty"))

    assert [done.returncode for done in (missing, no_camera, empty)] == [1, 1, 1]
    assert missing.stderr.startswith("error: no frames at ")
    assert no_camera.stderr.startswith("error: no camera at /dev/video97; ")
    assert "error: " in empty.stderr
    assert "empty" in empty.stderr
    assert "Out of order; call the technician" in (tmp_path / "run" / "scanner.log").read_text()
    assert "Traceback" not in empty.stderr + empty.stdout


def test_two_demonstrations_do_not_share_a_folder(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        done = demo(tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: another demonstration runs in {tmp_path}; ")


def test_a_broker_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    done = demo(tmp_path, "--broker", "mqtt://127.0.0.1:1")

    assert done.returncode == 1
    assert "nobody listens at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_outbox_can_be_listed_while_the_scanner_is_away(tmp_path: Path) -> None:
    from edge.scanner.outbox import Outbox
    from tests.fakes import a_scan

    with Outbox(tmp_path / "outbox", max_bytes=10**9, keep_free_bytes=0) as outbox:
        for seq in (1, 2, 3):
            outbox.put(a_scan(seq, outbox.epoch))
        listed = edge_scanner("outbox", "list", "--folder", str(tmp_path / "outbox"))
        status = edge_scanner("outbox", "status", "--folder", str(tmp_path / "outbox"))

    assert [json.loads(line)["seq"] for line in listed.stdout.splitlines()] == [1, 2, 3]
    assert "sealed" not in listed.stdout
    facts = json.loads(status.stdout)
    assert (facts["pending"], facts["next_seq"]) == (3, 4)
    assert facts["bytes"] > 0


def edge_scanner(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge.scanner", *args],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
