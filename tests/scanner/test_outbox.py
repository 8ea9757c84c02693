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
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from tinydb.table import Document

from edge.errors import OutboxError, OutboxFull, OutboxInUse
from edge.messages import Scan
from edge.scanner.outbox import KEEP_DAMAGED, Outbox, read_outbox
from edge.scanner.segment import Disk, Segment, room_for
from tests.fakes import a_scan

REPOSITORY = Path(__file__).parents[2]


class WatchedDisk(Disk):
    """A disk that notes what is done to it, and fails at what it is told to. Syncs are only noted.

    An event is (what, name, ...): enough to tell what a power cut may leave: see `Cut`.
    """

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.reads = 0
        self.fails: dict[str, int] = {}
        self.takes: int | None = None
        self.free = 1 << 40
        self._names: dict[int, str] = {}

    def open(self, path: Path) -> int:
        is_new = not path.exists()
        if is_new:
            self._note("create", path.name)
        fd = super().open(path)
        self._names[fd] = path.name
        return fd

    def read(self, path: Path) -> bytes:
        self.reads += 1
        self._fail_if_told("read")
        return super().read(path)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        if "write" in self.fails and len(data) > 1:
            # What fails may be half done.
            half = data[: len(data) // 2]
            self.events.append(("write", self._names[fd], offset, half))
            super().write(fd, half, offset)
        taken = data[: self.takes]
        self._note("write", self._names[fd], offset, taken)
        return super().write(fd, taken, offset)

    def truncate(self, fd: int, size: int) -> None:
        self._note("truncate", self._names[fd], size)
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self._note("sync", self._names[fd])

    def sync_folder(self, folder: Path) -> None:
        self._note("sync_folder", folder.name)

    def rename(self, old: Path, new: Path) -> None:
        self._note("rename", old.name, new.name)
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._note("unlink", path.name)
        super().unlink(path)

    def free_bytes(self, folder: Path) -> int:
        return self.free

    def _note(self, what: str, *more: object) -> None:
        self._fail_if_told(what)
        self.events.append((what, *more))

    def _fail_if_told(self, what: str) -> None:
        if what in self.fails:
            raise OSError(self.fails[what], os.strerror(self.fails[what]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def disk() -> WatchedDisk:
    return WatchedDisk()


def opened(folder: Path, disk: Disk | None = None, segment_scans: int = 4) -> Outbox:
    return Outbox(
        folder,
        max_bytes=1 << 40,
        keep_free_bytes=0,
        segment_scans=segment_scans,
        disk=disk or WatchedDisk(),
    )


def put(outbox: Outbox, number: int = 1) -> list[Scan]:
    """Put so many new scans; gives them."""
    scans = []
    for _ in range(number):
        scans.append(a_scan(outbox.next_seq, outbox.epoch))
        outbox.put(scans[-1])
    return scans


def pull_the_plug(outbox: Outbox) -> None:
    """Let go of the folder without the goodbye of `close`."""
    outbox._release()
    outbox._lock.close()


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


def test_a_record_that_is_no_scan_is_counted_and_passed_over(folder: Path) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 3)
    path = segments(folder)[-1]
    path.unlink()
    segment = Segment(path)
    segment.file.prepare({"epoch": outbox.epoch})
    for scan in kept:
        fields = msgspec.to_builtins(scan)
        if scan.seq == 2:
            fields["place"] = "Not A Name"
        segment.insert(Document(fields, doc_id=scan.seq))
    segment.close()

    with opened(folder) as outbox:
        assert seqs(outbox) == [1, 3]
        assert (outbox.status().pending, outbox.status().damaged) == (2, 1)


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
        assert view.status() == outbox.status()
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
        "from edge.scanner.segment import Disk\n"
        "from tests.scanner.test_outbox import opened, put\n"
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


# Power cuts, simulated


@dataclass
class File:
    """A file's content on disk, and what was done to it since its last sync."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def after(self, fate: str, rng: random.Random) -> bytes:
        """Its content when what was not synced is lost, kept, torn, or has left only its size."""
        content = bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                if fate != "lost":
                    content[offset:] = b""
                continue
            end = offset + len(data)
            if fate != "lost":
                content.extend(bytes(max(0, end - len(content))))
            for start in range(offset // 512 * 512, end, 512):
                low, high = max(start, offset), min(start + 512, end)
                if fate == "kept" or (fate == "torn" and rng.random() < 0.5):
                    content[low:high] = data[low - offset : high - offset]
        return bytes(content)

    def sync(self) -> None:
        self.durable, self.pending = self.after("kept", random.Random()), []


class Cut:
    """A folder on a disk, fed with the events of a WatchedDisk; gives what a cut may leave of it.

    File data that was not synced may be there or not, by sectors; names that were not synced may be
    there or not, in the order they were made in, or if *is_ordered* is false in any.
    """

    def __init__(self, contents: dict[str, bytes], *, is_ordered: bool = True) -> None:
        self._names = {name: File(content) for name, content in contents.items()}
        self._durable = dict(self._names)
        self._pending: list[tuple[str, str, File]] = []
        self._is_ordered = is_ordered

    def feed(self, event: tuple[object, ...]) -> None:
        match event:
            case ("create", str(name)):
                self._change("link", name, File())
            case ("write", str(name), int(offset), bytes(data)):
                self._names[name].pending.append((offset, data))
            case ("truncate", str(name), int(size)):
                self._names[name].pending.append((size, None))
            case ("sync", str(name)):
                self._names[name].sync()
            case ("rename", str(old), str(new)):
                self._change("link", new, self._names[old])
                self._change("unlink", old, self._names[old])
            case ("unlink", str(name)):
                self._change("unlink", name, self._names[name])
            case ("sync_folder", "outbox"):
                self._durable, self._pending = dict(self._names), []

    def leaves(self, rng: random.Random) -> Iterator[dict[str, bytes]]:
        number = len(self._pending)
        some = rng.randrange(number + 1)
        picks = [self._pending[:n] for n in sorted({0, some, number})]
        if not self._is_ordered:
            picks = [[change for change in self._pending if rng.random() < 0.5] for _ in range(3)]
        for changes in picks:
            names = dict(self._durable)
            for change in changes:
                self._apply(names, *change)
            for fate in ("lost", "kept", "torn", "torn", "sized"):
                yield {name: file.after(fate, rng) for name, file in names.items()}

    def _change(self, what: str, name: str, file: File) -> None:
        self._pending.append((what, name, file))
        self._apply(self._names, what, name, file)

    @staticmethod
    def _apply(names: dict[str, File], what: str, name: str, file: File) -> None:
        if what == "link":
            names[name] = file
        else:
            names.pop(name, None)


@dataclass
class Told:
    """What the outbox has said until the cut, and what it had been asked."""

    epoch: str = ""
    run: int = 0
    tried: set[str] = field(default_factory=set)
    kept: dict[int, str] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)

    def feed(self, event: tuple[object, ...]) -> None:
        match event:
            case ("opened", str(epoch), int(run)):
                self.epoch, self.run = epoch, run
            case ("tried", str(scan_id)):
                self.tried.add(scan_id)
            case ("kept", int(seq), str(scan_id)):
                assert seq not in self.kept
                self.kept[seq] = scan_id
            case ("forgotten", int(seq)):
                self.forgotten.add(seq)

    def check(self, outbox: Outbox) -> None:
        scans = outbox.oldest(1000)
        pending = {scan.seq: scan.id for scan in scans}
        assert [scan.seq for scan in scans] == sorted(pending)
        lost = {seq for seq in self.kept if seq not in pending} - self.forgotten
        assert not lost
        assert set(pending.values()) <= self.tried
        assert all(self.kept.get(seq, scan_id) == scan_id for seq, scan_id in pending.items())
        assert outbox.next_seq > max(self.kept, default=0)
        assert outbox.run > self.run
        assert outbox.epoch == (self.epoch or outbox.epoch)
        assert outbox.status().pending == len(pending)
        assert outbox.status().damaged == 0


def work(folder: Path, disk: WatchedDisk, rng: random.Random, steps: int) -> None:
    """Use the outbox in *folder* for a while; what it says becomes events among the disk's."""
    outbox = opened(folder, disk, segment_scans=3)
    disk.events.append(("opened", outbox.epoch, outbox.run))
    for _ in range(steps):
        chance = rng.random()
        disk.fails = {rng.choice(("write", "sync")): errno.EIO} if chance < 0.2 else {}
        if chance < 0.7:
            scan = a_scan(outbox.next_seq, outbox.epoch, sealed=rng.randbytes(330))
            disk.events.append(("tried", scan.id))
            with suppress(OutboxError):
                outbox.put(scan)
                disk.events.append(("kept", scan.seq, scan.id))
        elif chance < 0.9:
            for scan in outbox.oldest(rng.randrange(6)):
                disk.events.append(("forgotten", scan.seq))
                outbox.forget([(scan.seq, scan.seq)])
        elif chance < 0.95:
            outbox.flush()
        else:
            pull_the_plug(outbox)
            outbox = opened(folder, disk, segment_scans=3)
            disk.events.append(("opened", outbox.epoch, outbox.run))
    pull_the_plug(outbox)


@pytest.mark.parametrize("is_ordered", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_no_power_cut_loses_a_scan(tmp_path: Path, seed: int, is_ordered: bool) -> None:
    rng = random.Random(seed)
    disk = WatchedDisk()
    (tmp_path / "outbox").mkdir()
    work(tmp_path / "outbox", disk, rng, steps=24)
    cut, told = Cut({}, is_ordered=is_ordered), Told()
    seen = set()
    for event in disk.events:
        cut.feed(event)
        told.feed(event)
        for contents in cut.leaves(rng):
            state = hash(frozenset(contents.items())), event[0] in ("opened", "kept", "forgotten")
            if state in seen:
                continue
            seen.add(state)
            after = tmp_path / f"{len(seen)}" / "outbox"
            after.mkdir(parents=True)
            for name, content in contents.items():
                (after / name).write_bytes(content)
            disk = WatchedDisk()
            with opened(after, disk, segment_scans=3) as outbox:
                told.check(outbox)
                kept = put(outbox, 2)
            with opened(after, segment_scans=3) as outbox:
                assert outbox.oldest(1000)[-2:] == kept
            if len(seen) % 15 == 0:
                check_cuts_of_recovery(after, contents, disk, told, kept, rng, is_ordered)
    assert len(seen) > 50


def check_cuts_of_recovery(
    folder: Path,
    contents: dict[str, bytes],
    disk: WatchedDisk,
    told: Told,
    kept: list[Scan],
    rng: random.Random,
    is_ordered: bool,
) -> None:
    """Cut the power again while what the first cut left was being opened and written to."""
    cut = Cut(contents, is_ordered=is_ordered)
    told = Told(told.epoch, told.run, told.tried | {scan.id for scan in kept}, told.kept,
                told.forgotten)  # fmt: skip
    for number, event in enumerate(disk.events):
        cut.feed(event)
        for contents in islice(cut.leaves(rng), 7):
            again = folder.parent / f"{number}-{rng.random()}" / "outbox"
            again.mkdir(parents=True)
            for name, content in contents.items():
                (again / name).write_bytes(content)
            with opened(again, segment_scans=3) as outbox:
                told.check(outbox)
