"""The outbox: keeping and forgetting, however many."""

import gc
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import OutboxError
from edge.scanner.segment import Segment
from tests.fakes import a_scan
from tests.scanner.crash import opened, pull_the_plug, put, segments, seqs
from tests.scanner.watched_disk import WatchedDisk

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
