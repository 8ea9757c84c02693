"""The outbox between threads, processes, those who only look, and a kill."""

import errno
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import OutboxError, OutboxInUse
from edge.scanner.outbox import read_outbox
from tests.scanner.crash import opened, pull_the_plug, put
from tests.scanner.watched_disk import WatchedDisk

REPOSITORY = Path(__file__).parents[2]


# Who may open it


def test_a_second_opening_is_refused(folder: Path) -> None:
    with opened(folder), pytest.raises(OutboxInUse, match="another process"):
        opened(folder)
    opened(folder).close()


def test_an_outbox_open_in_another_process_is_refused(folder: Path) -> None:
    with a_process("outbox = opened(folder); print('open'); input()", folder) as process:
        assert next(lines_of(process)) == "open"
        with pytest.raises(OutboxInUse, match=re.escape(str(folder))):
            opened(folder)
        assert read_outbox(folder).status().pending == 0


def test_a_folder_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutboxError, match=r"file.*must be a folder") as caught:
            opened(path)
        assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_says_what_to_do(folder: Path, disk: WatchedDisk) -> None:
    opened(folder).close()
    disk.fails = {"create": errno.EACCES}
    with pytest.raises(OutboxError, match="scanner's user"):
        opened(folder, disk)
    opened(folder).close()


# Looking only


def test_a_reader_sees_what_is_pending_while_the_outbox_is_open(folder: Path) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 10)
        outbox.forget([(1, 5)])
        put_later = kept[5:] + put(outbox)
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

        view = read_outbox(folder)
        assert list(view.scans()) == put_later
        theirs = outbox.status()
        assert (view.status().room_scans, view.status().fill) == (None, None)
        assert view.status() == replace(theirs, room_scans=None, fill=None, hours_left=None)
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_reader_does_not_mind_segments_that_are_removed_meanwhile(folder: Path) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 20)
        view = read_outbox(folder)
        scans = view.scans()
        assert next(scans) == kept[0]

        outbox.forget([(1, 12)])
        assert list(scans) == kept[1:4] + kept[12:]
        assert view.status().pending == 20
        assert view.status().damaged == 0


def test_a_reader_reads_a_pulled_card(folder: Path) -> None:
    outbox = opened(folder)
    kept = put(outbox, 7)
    pull_the_plug(outbox)
    (folder / "lock").unlink()
    (folder / "epoch").unlink()
    names = sorted(os.listdir(folder))

    view = read_outbox(folder)

    assert list(view.scans()) == kept
    assert (view.status().epoch, view.status().next_seq) == (outbox.epoch, 8)
    assert sorted(os.listdir(folder)) == names


def test_a_reader_says_where_there_is_no_outbox(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(OutboxError, match="name the"):
            read_outbox(path)
    assert not (tmp_path / "none").exists()


# Threads, kills, cuts


def test_a_thread_that_puts_and_one_that_forgets_lose_nothing(folder: Path) -> None:
    number = 400
    sent: list[str] = []
    failures: list[BaseException] = []
    with opened(folder) as outbox:

        def send() -> None:
            try:
                while len(sent) < number:
                    scans = outbox.oldest(7, after=0)
                    sent.extend(scan.id for scan in scans)
                    outbox.forget((scan.seq, scan.seq) for scan in scans)
                    outbox.status()
                    outbox.flush()
            except BaseException as err:
                failures.append(err)
                raise

        thread = threading.Thread(target=send)
        thread.start()
        kept = [scan.id for scan in put(outbox, number)]
        thread.join(60)
        assert not failures
        assert sent == kept
        assert outbox.status().pending == 0


@pytest.mark.parametrize("seed", range(3))
def test_numbers_never_repeat_over_many_runs(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    kept: dict[int, str] = {}
    forgotten: set[int] = set()
    runs = [0]
    for _ in range(50):
        outbox = opened(folder, segment_scans=rng.choice((1, 3, 4)))
        assert outbox.run > runs[-1]
        runs.append(outbox.run)
        assert outbox.next_seq == max(kept, default=0) + 1
        pending = {scan.seq: scan.id for scan in outbox.oldest(10_000)}
        assert pending.items() <= kept.items()
        assert set(kept) - forgotten <= set(pending)
        assert outbox.status().pending == len(pending)
        for _ in range(rng.randrange(8)):
            if rng.random() < 0.6:
                for scan in put(outbox, rng.randrange(4)):
                    assert scan.seq not in kept
                    kept[scan.seq] = scan.id
            else:
                first = rng.randrange(1, outbox.next_seq + 3)
                ranges = [(first, first + rng.randrange(12))]
                outbox.forget(ranges)
                forgotten |= set(range(ranges[0][0], ranges[0][1] + 1)) & set(kept)
        if rng.random() < 0.3:
            outbox.close()
        else:
            pull_the_plug(outbox)
    assert len(kept) > 100


def test_a_killed_process_loses_no_scan_and_repeats_no_number(folder: Path) -> None:
    seen: dict[int, str] = {}
    for round_ in range(4):
        code = (
            "outbox = opened(folder, Disk())\n"
            "while True:\n"
            "    (scan,) = put(outbox)\n"
            "    print(scan.seq, scan.id, flush=True)\n"
            "    if scan.seq % 5 == 0: outbox.forget([(scan.seq - 3, scan.seq - 3)])\n"
        )
        with a_process(code, folder) as process:
            told = lines_of(process)
            for _ in range(30 + round_):
                seq, scan_id = next(told).split()
                assert int(seq) not in seen
                seen[int(seq)] = scan_id
            process.send_signal(signal.SIGKILL)
            for line in told:
                if re.fullmatch(r"\d+ [0-9a-f]{32}", line):
                    assert int(line.split()[0]) not in seen
                    seen[int(line.split()[0])] = line.split()[1]
        with opened(folder) as outbox:
            pending = {scan.seq: scan.id for scan in outbox.oldest(10_000)}
            assert outbox.next_seq in (max(seen) + 1, max(seen) + 2)
            # One may be kept whose line was not told any more.
            seen |= {seq: pending[seq] for seq in pending if seq > max(seen)}
            assert pending.items() <= seen.items()
            assert all(seq in pending for seq in seen if seq % 5 != 2)
            assert outbox.status().damaged == 0


def a_process(code: str, folder: Path) -> subprocess.Popen[str]:
    start = (
        "from pathlib import Path\n"
        "from edge.scanner.disk import Disk\n"
        "from tests.scanner.crash import opened, put\n"
        f"folder = Path({str(folder)!r})\n"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", start + code],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line.rstrip("\n")
