import errno
import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tinydb.table import Document

from edge.errors import OutboxError, OutboxFull, OutboxInUse
from edge.scanner.outbox import KEEP_CONFIRMED, KEEP_DAMAGED, Outbox, read_outbox
from edge.scanner.segment import Segment, room_for
from tests.fakes import FakeClock, a_scan
from tests.scanner.crash import opened, pull_the_plug, put
from tests.scanner.watched_disk import WatchedDisk

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def disk() -> WatchedDisk:
    return WatchedDisk()


def seqs(outbox: Outbox) -> list[int]:
    return [scan.seq for scan in outbox.oldest(1_000_000)]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("seg-*"))


# Keeping and forgetting


def test_scans_come_back_as_they_were_oldest_first(folder: Path) -> None:
    with opened(folder) as outbox:
        scan = a_scan(1, outbox.epoch, sealed=bytes(range(256)), trip="51b-1", clock="ntp")
        outbox.put(scan)
        more = put(outbox, 9)
        assert outbox.oldest(100) == [scan, *more]

    with opened(folder) as outbox:
        assert outbox.oldest(100) == [scan, *more]
        assert outbox.oldest(3) == [scan, *more[:2]]
        assert outbox.oldest(2, after=4) == more[3:5]
        assert outbox.oldest(5, after=10) == outbox.oldest(0) == []


def test_a_scan_is_synced_before_put_returns(folder: Path, disk: WatchedDisk) -> None:
    with opened(folder, disk) as outbox:
        for _ in range(9):
            disk.events.clear()
            put(outbox)
            newest = segments(folder)[-1].name
            assert [e[0] for e in disk.events][-2:] == ["write", "sync"]
            assert {e[1] for e in disk.events[-2:]} == {newest}


def test_a_new_segments_name_and_room_are_synced_before_the_first_scan(
    folder: Path, disk: WatchedDisk
) -> None:
    with opened(folder, disk) as outbox:
        put(outbox, 4)
        disk.events.clear()
        put(outbox)

        assert [event[0] for event in disk.events] == [
            "create", "sync_folder", "write", "sync", "write", "sync",
        ]  # fmt: skip


def test_only_the_next_number_of_this_epoch_is_taken(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 2)
        for scan in (
            a_scan(2, outbox.epoch),
            a_scan(4, outbox.epoch),
            a_scan(3, "f" * 16),
        ):
            with pytest.raises(ValueError, match="not the next scan"):
                outbox.put(scan)
        put(outbox)

        assert seqs(outbox) == [1, 2, 3]


def test_confirmed_scans_are_gone_also_after_reopening(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 12)
        outbox.forget([(1, 2), (5, 9), (11, 11)])
        assert seqs(outbox) == [3, 4, 10, 12]
        assert outbox.status().pending == 4

    with opened(folder) as outbox:
        assert seqs(outbox) == [3, 4, 10, 12]
        assert outbox.status().pending == 4


def test_forgetting_costs_no_write_until_the_next_scan(folder: Path, disk: WatchedDisk) -> None:
    outbox = opened(folder, disk)
    put(outbox, 3)
    disk.events.clear()
    outbox.forget([(1, 1), (3, 3)])
    assert disk.events == []

    put(outbox)
    pull_the_plug(outbox)

    assert seqs(opened(folder)) == [2, 4]


def test_flush_writes_what_was_forgotten_once(folder: Path, disk: WatchedDisk) -> None:
    outbox = opened(folder, disk)
    put(outbox, 3)
    outbox.forget([(1, 1), (3, 3)])
    disk.events.clear()

    outbox.flush()
    outbox.flush()
    assert [event[0] for event in disk.events] == ["write", "sync"]
    pull_the_plug(outbox)

    assert seqs(opened(folder)) == [2]


def test_flush_in_a_run_without_scans_is_kept_too(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 6)
    outbox = opened(folder)
    outbox.forget([(2, 3)])
    outbox.flush()
    pull_the_plug(outbox)

    with opened(folder) as outbox:
        assert seqs(outbox) == [1, 4, 5, 6]


def test_numbers_that_are_not_pending_are_not_forgotten(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 3)
        outbox.forget([(1, 1)])
        outbox.forget([(0, 1), (-5, 0), (4, 4), (4, 10**15), (3, 2), (1, 1)])
        assert outbox.status().pending == 2

        put(outbox, 2)
        assert seqs(outbox) == [2, 3, 4, 5]
        outbox.forget([(3, 10**15)])
        put(outbox)

    with opened(folder) as outbox:
        assert seqs(outbox) == [2, 6]


def test_confirmed_segments_are_removed_oldest_first_and_never_the_newest(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 12)
        outbox.forget([(5, 12)])
        assert len(segments(folder)) == 3

        outbox.forget([(1, 4)])
        assert len(segments(folder)) == 1
        assert outbox.status().pending == 0
        assert outbox.status().bytes == segments(folder)[0].stat().st_size


def test_numbers_go_on_when_everything_was_forgotten(folder: Path) -> None:
    for run in range(1, 6):
        with opened(folder) as outbox:
            assert outbox.next_seq == (run - 1) * 5 + 1
            put(outbox, 5)
            outbox.forget([(1, outbox.next_seq)])
    for _ in range(3):
        with opened(folder) as outbox:
            assert outbox.next_seq == 26
            assert outbox.status().pending == 0
            assert len(segments(folder)) == 1


def test_the_epoch_stays_and_the_run_grows(folder: Path) -> None:
    seen = []
    for _ in range(4):
        with opened(folder) as outbox:
            seen.append((outbox.epoch, outbox.run))
            put(outbox, 9)

    assert re.fullmatch("[0-9a-f]{16}", seen[0][0])
    assert {epoch for epoch, _ in seen} == {seen[0][0]}
    runs = [run for _, run in seen]
    assert runs == sorted(set(runs))


def test_two_outboxes_have_two_epochs(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as one, opened(tmp_path / "b") as other:
        assert one.epoch != other.epoch


def test_its_status_counts_pending_scans_bytes_and_the_oldest(folder: Path) -> None:
    with opened(folder) as outbox:
        assert (outbox.status().oldest_seq, outbox.status().oldest_at) == (None, None)
        put(outbox, 6)
        outbox.put(a_scan(7, outbox.epoch, at="2021-07-02T02:00:00.000Z"))
        outbox.forget([(1, 6)])

        status = outbox.status()
        assert (status.epoch, status.next_seq, status.pending) == (outbox.epoch, 8, 1)
        assert (status.oldest_seq, status.oldest_at) == (7, "2021-07-02T02:00:00.000Z")
        assert status.bytes == sum(path.stat().st_size for path in segments(folder))
        assert status.damaged == 0


def test_a_closed_outbox_refuses(folder: Path) -> None:
    outbox = opened(folder)
    scan = a_scan(1, outbox.epoch)
    outbox.close()
    outbox.close()

    works: list[Callable[[], object]] = [
        lambda: outbox.put(scan), lambda: outbox.oldest(1), lambda: outbox.forget([(1, 1)]),
        outbox.status, outbox.flush,
    ]  # fmt: skip
    for work in works:
        with pytest.raises(OutboxError, match="closed"):
            work()


# Many


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox of 1,050 segments with a scan each; tests leave it as they found it."""
    folder = tmp_path_factory.mktemp("thousand") / "outbox"
    with opened(folder, segment_scans=1) as outbox:
        put(outbox, 1050)
        assert len(segments(folder)) == 1050
    return folder


def test_opening_a_thousand_segments_reads_two_files(thousand: Path) -> None:
    disk = WatchedDisk()
    before = segments(thousand)
    with opened(thousand, disk, segment_scans=1) as outbox:
        # The epoch, the last segment of the run before, and this run's own, still empty.
        assert disk.reads == 3
        assert outbox.next_seq == 1051
        assert outbox.oldest(2, after=600)[0].seq == 601
        assert disk.reads == 5
        assert outbox.status().pending == 1050
    for path in set(segments(thousand)) - set(before):
        path.unlink()


def test_a_put_does_the_same_work_with_and_without_a_backlog(folder: Path, thousand: Path) -> None:
    def work(path: Path) -> list[object]:
        disk = WatchedDisk()
        before = segments(path)
        with opened(path, disk, segment_scans=2) as outbox:
            put(outbox, 2)
            reads = disk.reads
            disk.events.clear()
            put(outbox, 6)
            assert disk.reads - reads == 3  # the new segments, when they are made
            found: list[object] = [event[0] for event in disk.events]
        for segment in set(segments(path)) - set(before):
            segment.unlink()
        return found

    assert work(thousand) == work(folder)


def test_draining_reads_each_file_once_and_keeps_few_in_memory(thousand: Path) -> None:
    copy = thousand.parent / "copy"
    copy.mkdir()
    for path in thousand.iterdir():
        (copy / path.name).hardlink_to(path)
    disk = WatchedDisk()
    others = number_of_segments_in_memory()
    with opened(copy, disk, segment_scans=1) as outbox:
        while scans := outbox.oldest(1):
            outbox.forget([(scans[0].seq, scans[0].seq)])
            if scans[0].seq % 100 == 0:
                assert number_of_segments_in_memory() - others <= 3
        assert disk.reads <= 1050 + 3
        assert outbox.status().bytes == 0
    assert len(segments(copy)) == 1


def number_of_segments_in_memory() -> int:
    return sum(isinstance(thing, Segment) for thing in gc.get_objects())


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


# Failing writes

FAILURES = [
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("sync", errno.EIO),
    ("sync", errno.ENOSPC),
    ("create", errno.EIO),
    ("sync_folder", errno.EIO),
]


@pytest.mark.parametrize(("what", "number"), FAILURES)
@pytest.mark.parametrize("before", [0, 2, 4])
def test_after_a_failed_put_the_number_is_free_and_nothing_kept_is_lost(
    folder: Path, disk: WatchedDisk, what: str, number: int, before: int
) -> None:
    outbox = opened(folder, disk)
    kept = put(outbox, before)
    disk.fails = {what: number}
    if what in ("create", "sync_folder") and before != 4:
        put(outbox, 4 - before)
        kept = outbox.oldest(100)
    refused = a_scan(outbox.next_seq, outbox.epoch)
    for _ in range(3):
        with pytest.raises(OutboxFull if number == errno.ENOSPC else OutboxError):
            outbox.put(refused)
        assert outbox.oldest(100) == kept
    disk.fails.clear()
    kept += put(outbox, 3)
    assert outbox.oldest(100) == kept
    pull_the_plug(outbox)

    outbox = opened(folder, disk)
    assert outbox.oldest(100) == kept
    assert outbox.status().pending == len(kept)
    assert outbox.status().damaged == 0
    assert outbox.next_seq == len(kept) + 1


def test_a_scan_whose_sync_failed_is_void_although_its_line_is_whole(
    folder: Path, disk: WatchedDisk
) -> None:
    outbox = opened(folder, disk)
    kept = put(outbox, 2)
    disk.fails = {"sync": errno.EIO}
    refused = a_scan(3, outbox.epoch)
    with pytest.raises(OutboxError, match="card fails"):
        outbox.put(refused)
    disk.fails.clear()
    pull_the_plug(outbox)
    assert refused.id.encode() in b"".join(path.read_bytes() for path in segments(folder))

    outbox = opened(folder)
    assert outbox.oldest(100) == kept
    assert outbox.next_seq == 3


def test_a_disk_that_goes_on_failing_gathers_no_files(folder: Path, disk: WatchedDisk) -> None:
    with opened(folder, disk) as outbox:
        kept = put(outbox, 3)
        disk.fails = {"sync": errno.EIO}
        for _ in range(20):
            with pytest.raises(OutboxError):
                put(outbox)
        assert len(segments(folder)) == 2
        disk.fails.clear()
        assert outbox.oldest(100) == kept


def test_short_writes_lose_nothing(folder: Path, disk: WatchedDisk) -> None:
    disk.takes = 100
    with opened(folder, disk) as outbox:
        kept = put(outbox, 6)
    with opened(folder) as outbox:
        assert outbox.oldest(100) == kept


def test_a_flush_that_fails_is_only_told(
    folder: Path, disk: WatchedDisk, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder, disk) as outbox:
        put(outbox, 3)
        outbox.forget([(1, 1)])
        disk.fails = {"sync": errno.EIO}
        outbox.flush()
        assert "not noted" in caplog.text
        disk.fails.clear()
        put(outbox)
    with opened(folder) as outbox:
        assert seqs(outbox) == [2, 3, 4]


def test_a_segment_that_cannot_be_removed_yet_is_removed_later(
    folder: Path, disk: WatchedDisk
) -> None:
    with opened(folder, disk) as outbox:
        put(outbox, 12)
        disk.fails = {"unlink": errno.EIO}
        outbox.forget([(1, 6)])
        assert (seqs(outbox), len(segments(folder))) == ([*range(7, 13)], 3)
        disk.fails.clear()
        outbox.forget([(7, 7)])
        assert (seqs(outbox), len(segments(folder))) == ([*range(8, 13)], 2)


def test_the_number_of_damaged_scans_outlives_a_restart(folder: Path) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 12)
    path = segments(folder)[1]
    path.write_bytes(path.read_bytes().replace(kept[5].id.encode(), b"0" * 32))
    with opened(folder) as outbox:
        assert len(outbox.oldest(100)) == 11
        assert outbox.status().damaged == 1
        put(outbox)
        outbox.forget([(1, 12)])
    for _ in range(2):
        with opened(folder) as outbox:
            assert outbox.status().damaged == 1
            assert read_outbox(folder).status().damaged == 1
            put(outbox)


# What a cut or a bad card left


def test_empty_and_half_made_newest_segments_are_harmless(folder: Path) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 6)
        outbox.forget([(1, 1)])
    for content in (b"", b"\n" * 5000, bytes(9000), b'1234abcd {"head":{"ep', b"\xff" * 99):
        (folder / f"seg-{outbox.run + 10:08}-{7:016}.jsonl").write_bytes(content)
        with opened(folder) as outbox:
            assert outbox.oldest(100) == kept[1:]
            assert outbox.status().pending == 5
            assert outbox.next_seq == 7
            assert outbox.status().damaged == 0


def test_without_its_first_line_the_newest_segment_leans_on_the_one_before(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 4)
        outbox.forget([(2, 2)])
        put(outbox, 4)
        outbox.forget([(4, 4)])
        put(outbox, 2)
        outbox.forget([(9, 9)])
    newest = segments(folder)[-1]
    content = bytearray(newest.read_bytes())
    content[20] ^= 1
    newest.write_bytes(content)

    with opened(folder) as outbox:
        # 4 was noted in that first line only; to send it once more is harmless.
        assert seqs(outbox) == [1, 3, 4, 5, 6, 7, 8, 10]
        assert outbox.status().pending == 8
        assert outbox.status().damaged == 0


def test_no_cut_between_making_and_removing_segments_matters(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 8)
        old = {path: path.read_bytes() for path in segments(folder)}
        outbox.forget([(1, 8)])
        put(outbox, 3)
        assert not set(old) & set(segments(folder))
    for path, content in old.items():
        path.write_bytes(content)

    with opened(folder) as outbox:
        assert seqs(outbox) == [9, 10, 11]
        assert outbox.status().pending == 3
        assert len(segments(folder)) == 2


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("how", ["missing", "nul", "garbage", "folder", "truncated"])
def test_a_lost_older_segment_is_counted_and_does_not_stop_the_others(
    folder: Path, at: int, how: str
) -> None:
    with opened(folder) as outbox:
        put(outbox, 12)
    path = segments(folder)[at]
    size = path.stat().st_size
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes({"nul": bytes(size), "garbage": os.urandom(size), "truncated": b""}[how])

    with opened(folder) as outbox:
        assert outbox.status().next_seq == 13
        left = [n for n in range(1, 13) if not at * 4 < n <= at * 4 + 4]
        assert seqs(outbox) == left
        assert outbox.status().pending == 8
        # What was the oldest segment and is no more has left no trace but its number.
        assert outbox.status().damaged == (0 if (at, how) == (0, "missing") else 4)
        put(outbox)
        outbox.forget([(1, 12)])
        assert seqs(outbox) == [13]
    aside = list(folder.glob("damaged-*"))
    assert len(aside) == (0 if (at, how) == (0, "missing") else 1)


def test_a_newest_segment_that_cannot_be_read_costs_no_number_twice(
    folder: Path, disk: WatchedDisk
) -> None:
    with opened(folder) as outbox:
        put(outbox, 6)
    path = segments(folder)[-1]
    path.unlink()
    path.mkdir()

    with opened(folder, disk) as outbox:
        assert outbox.next_seq == 9
        put(outbox)
        assert seqs(outbox) == [1, 2, 3, 4, 9]
        assert outbox.status().pending == 5
    with opened(folder) as outbox:
        assert outbox.next_seq == 10


def test_a_damaged_end_of_the_newest_segment_costs_no_number_twice(folder: Path) -> None:
    with opened(folder, segment_scans=8) as outbox:
        put(outbox, 4)
    path = segments(folder)[-1]
    content = path.read_bytes()
    start = [match.start() for match in re.finditer(b"\n[0-9a-f]", content)][2]
    path.write_bytes(content[: start + 1] + bytes(len(content) - start))

    with opened(folder, segment_scans=8) as outbox:
        assert outbox.next_seq == 9
        assert seqs(outbox) == [1, 2]


def test_a_bad_line_is_counted_and_its_segment_put_aside_in_its_turn(folder: Path) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 6)
    path = segments(folder)[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(kept[1].id.encode(), b"0" * 32))

    with opened(folder) as outbox:
        assert outbox.oldest(100) == [kept[0], *kept[2:]]
        assert outbox.status().pending == 5
        assert outbox.status().damaged == 1
        outbox.forget([(1, 4)])
    (aside,) = folder.glob("damaged-*")
    assert aside.name == "damaged-" + path.name
    with opened(folder) as outbox:
        assert outbox.oldest(100) == kept[4:]
        assert outbox.status().bytes > aside.stat().st_size


def written_by_newer_software(folder: Path, seq: int) -> None:
    """Give scan *seq* of the only segment a field that this software does not know."""
    (path,) = segments(folder)
    segment = Segment(path, read_only=True)
    path.unlink()
    newer = Segment(path)
    newer.file.prepare({"epoch": (folder / "epoch").read_text().strip()})
    for document in segment:
        fields = dict(document) | ({"new": 1} if document.doc_id == seq else {})
        newer.insert(Document(fields, document.doc_id))
    newer.close()


def test_a_scan_of_newer_software_is_counted_apart_and_kept(folder: Path) -> None:
    with opened(folder) as outbox:
        put(outbox, 3)
    written_by_newer_software(folder, 2)
    path = segments(folder)[0]

    for _ in range(2):
        with opened(folder) as outbox:
            assert 2 not in seqs(outbox)
            status = outbox.status()
            assert (status.unknown, status.damaged) == (1, 0)
            outbox.forget([(1, 1), (3, 3)])
            assert outbox.status().pending == 1
    assert b'"new":1' in path.read_bytes()

    with opened(folder) as outbox:
        outbox.forget([(2, 2)])
        assert (outbox.status().unknown, outbox.status().pending) == (0, 0)
    assert not path.exists()


def test_only_a_few_damaged_segments_are_kept(folder: Path) -> None:
    number = KEEP_DAMAGED + 3
    with opened(folder, segment_scans=1) as outbox:
        put(outbox, number + 1)
    for path in segments(folder)[:number]:
        path.write_bytes(b"bad")

    with opened(folder, segment_scans=1) as outbox:
        assert seqs(outbox) == [number + 1]
        outbox.forget([(number + 1, number + 1)])

    assert len(list(folder.glob("damaged-*"))) == KEEP_DAMAGED


def test_too_many_open_files_are_no_damage(folder: Path, disk: WatchedDisk) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 12)
    with opened(folder, disk) as outbox:
        disk.fails = {"read": errno.EMFILE}
        with pytest.raises(OutboxError):
            outbox.oldest(100)
        disk.fails.clear()
        assert outbox.oldest(100) == kept
        assert outbox.status().damaged == 0


@pytest.mark.parametrize("content", [None, b"", b"\0" * 17, b"0123456789ABCDEF\n", b"\xff\xfe"])
@pytest.mark.parametrize("pending", [0, 5])
def test_a_lost_epoch_is_found_again_in_the_segments(
    folder: Path, content: bytes | None, pending: int
) -> None:
    with opened(folder) as outbox:
        put(outbox, 5)
        outbox.forget([(1, 5 - pending)])
    (folder / "epoch").unlink()
    if content is not None:
        (folder / "epoch").write_bytes(content)

    with opened(folder) as again:
        assert again.epoch == outbox.epoch
        assert again.next_seq == 6
    assert (folder / "epoch").read_text() == outbox.epoch + "\n"


def test_a_cut_while_the_epoch_was_written_leaves_a_new_one(folder: Path) -> None:
    folder.mkdir()
    (folder / "epoch.new").write_bytes(b"0123456789abcdef and more")
    with opened(folder) as outbox:
        put(outbox)
    assert (folder / "epoch").read_text() == outbox.epoch + "\n"
    assert not (folder / "epoch.new").exists()


def test_other_files_in_the_folder_do_not_matter(folder: Path) -> None:
    folder.mkdir()
    for name in ("seg-1-2.jsonl", "seg-00000001-0000000000000001.jsonl.bak", "lost+found", "x"):
        (folder / name).write_bytes(b"?")
    with opened(folder) as outbox:
        put(outbox, 5)
        outbox.forget([(1, 5)])
    assert (folder / "lost+found").read_bytes() == b"?"


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


@pytest.mark.parametrize(
    ("number", "cure"), [(errno.EROFS, "worn out"), (errno.EACCES, "scanner's user")]
)
def test_a_folder_that_cannot_be_written_says_what_to_do(
    folder: Path, disk: WatchedDisk, number: int, cure: str
) -> None:
    opened(folder).close()
    disk.fails = {"create": number}
    with pytest.raises(OutboxError, match=cure):
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
