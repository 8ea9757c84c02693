"""The outbox where room is short, and what is confirmed and kept for a while."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import OutboxError, OutboxFull
from edge.scanner.outbox import KEEP_CONFIRMED, Outbox, read_outbox
from edge.scanner.segment import room_for
from tests.fakes import LIMIT_S, FakeClock, a_scan
from tests.scanner.crash import opened, put, segments, seqs
from tests.scanner.watched_disk import WatchedDisk

# Full


def test_at_its_limit_it_refuses_new_scans_and_keeps_the_old(folder: Path) -> None:
    limit = 2 * room_for(4) + 10_000
    with Outbox(folder, max_bytes=limit, keep_free_bytes=0, segment_scans=4) as outbox:
        kept = put(outbox, 8)
        names = sorted(os.listdir(folder))
        for _ in range(5):
            with pytest.raises(OutboxFull, match=f"8 scans have reached the limit of {limit}"):
                put(outbox)
        assert outbox.oldest(100) == kept
        assert outbox.status().bytes <= limit
        assert len(os.listdir(folder)) <= len(names) + 1

        outbox.forget([(1, 4)])
        kept = kept[4:] + put(outbox)
        assert outbox.oldest(100) == kept


def test_a_part_of_the_disk_stays_free(folder: Path, disk: WatchedDisk) -> None:
    with Outbox(
        folder, max_bytes=1 << 40, keep_free_bytes=1 << 30, segment_scans=4, disk=disk
    ) as outbox:
        kept = put(outbox, 2)
        disk.free = 1 << 29
        kept += put(outbox, 2)  # Their room is already there.
        with pytest.raises(OutboxFull, match="must stay free"):
            put(outbox)
        disk.free = 1 << 31
        kept += put(outbox)
        assert outbox.oldest(100) == kept


@pytest.mark.parametrize("lacks", [0, 1])
def test_what_stays_free_is_what_is_left_when_the_next_scans_have_their_room(
    folder: Path, disk: WatchedDisk, lacks: int
) -> None:
    free = 1 << 30
    room = room_for(4)
    disk.free = free + room - lacks
    with Outbox(
        folder, max_bytes=1 << 40, keep_free_bytes=free, segment_scans=4, disk=disk
    ) as outbox:
        if lacks:
            with pytest.raises(OutboxFull, match="must stay free"):
                put(outbox)
        else:
            put(outbox)


def test_on_a_full_disk_scans_can_be_sent_and_that_makes_room(
    folder: Path, disk: WatchedDisk
) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 6)
        run = outbox.run
    disk.fails = dict.fromkeys(("create", "write"), errno.ENOSPC)
    for _ in range(3):
        with opened(folder, disk) as outbox:
            assert outbox.run > run
            run = outbox.run
            assert outbox.oldest(100) == kept
            with pytest.raises(OutboxFull, match="disk is full"):
                put(outbox)
            outbox.flush()
    with opened(folder, disk) as outbox:
        outbox.forget([(1, 6)])
        disk.fails.clear()
        put(outbox)
        assert seqs(outbox) == [7]


def test_of_a_disk_that_takes_no_writes_any_more_scans_can_be_sent(
    folder: Path, disk: WatchedDisk, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 6)
    operations = ("create", "write", "rename", "unlink", "truncate")
    disk.fails = dict.fromkeys(operations, errno.EROFS)
    disk.read_only = True
    for _ in range(2):
        with opened(folder, disk) as outbox:
            assert outbox.oldest(100) == kept
            assert not outbox.has_room()
            with pytest.raises(OutboxError, match="worn out"):
                put(outbox)
            outbox.forget([(1, 6)])
            outbox.flush()
            assert outbox.pending == 0
            assert outbox.next_seq == 7
    assert "put in another card" in caplog.text
    # It was only a cable.
    with opened(folder) as outbox:
        assert outbox.oldest(100) == kept
        put(outbox)
        assert seqs(outbox) == [1, 2, 3, 4, 5, 6, 7]


def test_what_cannot_be_removed_from_such_a_disk_fills_no_journal(
    folder: Path, disk: WatchedDisk, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder) as outbox:
        put(outbox, 100)
    disk.fails = dict.fromkeys(("create", "write", "rename", "unlink"), errno.EROFS)
    disk.read_only = True
    with opened(folder, disk) as outbox:
        outbox.forget([(1, 100)])
        caplog.clear()
        for _ in range(10):
            assert not outbox.has_room()
        assert len(outbox._held.done()) > KEEP_CONFIRMED
        assert not caplog.records


#: In a mount namespace of its own: a file system that takes an outbox, and then nothing any more.
READ_ONLY = """
import subprocess, sys
from pathlib import Path
from edge.scanner.outbox import Outbox
from tests.fakes import a_scan

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
with Outbox(folder / "outbox", max_bytes=10**9, keep_free_bytes=0) as outbox:
    outbox.put(a_scan(1, outbox.epoch))
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
with Outbox(folder / "outbox", max_bytes=10**9, keep_free_bytes=0) as outbox:
    print([scan.seq for scan in outbox.oldest(10)], outbox.has_room())
"""


def test_a_file_system_that_has_become_read_only_can_be_sent_from(tmp_path: Path) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = [*inside, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs a mount namespace: run as root, or allow users to have theirs")
    command = [*inside, sys.executable, "-c", READ_ONLY, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1] False\n"


def test_a_first_opening_on_a_full_disk_says_so(folder: Path, disk: WatchedDisk) -> None:
    disk.fails = {"create": errno.ENOSPC}
    with pytest.raises(OutboxFull, match="disk is full"):
        opened(folder, disk)


def test_the_status_says_how_much_room_is_left(folder: Path) -> None:
    limit = 3 * room_for(4) + 10_000
    with Outbox(folder, max_bytes=limit, keep_free_bytes=0, segment_scans=4) as outbox:
        fills = []
        for number in range(12):
            status = outbox.status()
            assert status.room_scans == 12 - number
            fills.append(status.fill)
            put(outbox)
        assert fills == pytest.approx([number / 12 for number in range(12)], abs=1e-4)
        assert (outbox.status().room_scans, outbox.status().fill) == (0, 1.0)

        outbox.forget([(1, 4)])
        assert outbox.status().room_scans == 4
        assert outbox.status().fill == pytest.approx(8 / 12, abs=1e-4)


def test_the_status_says_for_how_many_hours_the_room_will_do(folder: Path) -> None:
    with Outbox(
        folder, max_bytes=2 * room_for(16) + 9000, keep_free_bytes=0, segment_scans=16
    ) as outbox:
        assert outbox.status().hours_left is None
        # One a minute; in between the unit was off for a night.
        for boot, first_ms in (("a" * 32, 0), ("b" * 32, 5000)):
            for minute in range(5):
                outbox.put(
                    a_scan(
                        outbox.next_seq,
                        outbox.epoch,
                        boot=boot,
                        uptime_ms=first_ms + minute * 60_000,
                    )
                )
        status = outbox.status()
        assert (status.scans_per_hour, status.room_scans) == (60.0, 22)
        assert status.hours_left == pytest.approx(22 / 60, abs=0.1)
        view = read_outbox(folder, max_bytes=1 << 30, keep_free_bytes=0).status()
        assert view.scans_per_hour == 60.0
        assert view.hours_left is not None


def test_it_knows_beforehand_whether_a_scan_has_room(folder: Path, disk: WatchedDisk) -> None:
    with Outbox(
        folder, max_bytes=1 << 40, keep_free_bytes=1 << 30, segment_scans=4, disk=disk
    ) as outbox:
        assert outbox.has_room()
        disk.events.clear()
        assert outbox.has_room()
        put(outbox, 3)
        assert [event[0] for event in disk.events] == ["write", "sync"] * 3
        disk.free = 1 << 29
        assert outbox.has_room()
        put(outbox)
        assert not outbox.has_room()
        disk.free = 1 << 31
        assert outbox.has_room()
        disk.read_only = True
        assert not outbox.has_room()


def test_it_knows_beforehand_that_the_disk_fails(folder: Path, disk: WatchedDisk) -> None:
    with opened(folder, disk) as outbox:
        kept = put(outbox, 4)
        disk.fails = {"sync": errno.EIO}
        for _ in range(5):
            assert not outbox.has_room()
        assert len(segments(folder)) <= 3
        disk.fails.clear()
        assert outbox.has_room()
        assert outbox.oldest(9) == kept


# Confirmed, and asked for again


def kept_for(folder: Path, clock: FakeClock, **limits: int) -> Outbox:
    return Outbox(
        folder,
        max_bytes=limits.get("max_bytes", 1 << 40),
        keep_free_bytes=0,
        segment_scans=4,
        grace_s=60.0,
        monotonic=clock.monotonic,
        disk=WatchedDisk(),
    )


def test_confirmed_scans_can_be_recalled_for_a_while(folder: Path) -> None:
    clock = FakeClock()
    with kept_for(folder, clock) as outbox:
        scans = put(outbox, 10)
        outbox.forget([(1, 9)])
        assert outbox.oldest(100) == scans[9:]

        assert outbox.recall([(2, 3), (8, 20)]) == [*scans[1:3], *scans[7:]]
        assert outbox.recall([(1, 10)], limit=3) == scans[:3]
        assert outbox.status().pending == 1

        clock.advance(61)
        outbox.forget([(10, 10)])
        assert outbox.recall([(1, 10)]) == scans[8:]


def test_confirmed_scans_can_be_recalled_after_a_restart(folder: Path) -> None:
    clock = FakeClock()
    with kept_for(folder, clock) as outbox:
        scans = put(outbox, 10)
        outbox.forget([(1, 10)])
    with kept_for(folder, clock) as outbox:
        assert outbox.oldest(100) == []
        assert outbox.recall([(1, 10)]) == scans
        assert outbox.next_seq == 11


def test_only_a_few_confirmed_segments_are_kept(folder: Path) -> None:
    with kept_for(folder, FakeClock()) as outbox:
        put(outbox, 4 * (KEEP_CONFIRMED + 5))
        outbox.forget([(1, outbox.next_seq)])
        assert len(segments(folder)) == KEEP_CONFIRMED + 1


def test_confirmed_segments_give_way_to_new_scans(folder: Path) -> None:
    with kept_for(folder, FakeClock(), max_bytes=3 * room_for(4) + 10_000) as outbox:
        for _ in range(10):
            scans = put(outbox, 4)
            outbox.forget([(scans[0].seq, scans[-1].seq)])
        kept = put(outbox, 12)
        assert outbox.oldest(100) == kept
        with pytest.raises(OutboxFull):
            put(outbox)


@pytest.mark.parametrize("what", ["create", "write"])
def test_confirmed_segments_give_way_on_a_disk_that_others_filled(
    folder: Path, disk: WatchedDisk, what: str
) -> None:
    with opened(folder, disk, grace_s=60.0) as outbox:
        put(outbox, 8)
        outbox.forget([(1, 8)])
        assert len(segments(folder)) == 2
        disk.fails = {what: errno.ENOSPC}
        assert not outbox.has_room()
        assert len(segments(folder)) == 1
        disk.fails.clear()
        put(outbox)
        assert seqs(outbox) == [9]


def test_a_segment_is_not_removed_before_an_older_one(folder: Path) -> None:
    clock = FakeClock()
    with kept_for(folder, clock) as outbox:
        put(outbox, 12)
        outbox.forget([(5, 8)])
        clock.advance(59)
        outbox.forget([(1, 4)])
        clock.advance(2)
        outbox.forget([(9, 9)])
        assert len(segments(folder)) == 3


def test_what_is_gone_with_the_power_keeps_nothing_new(folder: Path) -> None:
    with Outbox(folder, max_bytes=10**7, keep_free_bytes=0) as outbox:
        outbox.put(a_scan(1, outbox.epoch))

    with Outbox(folder, max_bytes=10**7, keep_free_bytes=0, is_volatile=True) as outbox:
        assert not outbox.has_room()
        with pytest.raises(OutboxError, match="gone with the power; turn off the overlay"):
            outbox.put(a_scan(2, outbox.epoch))
        # What is there can be sent.
        assert [scan.seq for scan in outbox.oldest(10)] == [1]
        outbox.forget([(1, 1)])
        outbox.flush()
        assert outbox.pending == 0
