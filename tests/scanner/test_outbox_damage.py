"""The outbox on a disk that fails, and what a cut or a bad card left of it."""

import errno
import os
import re
from pathlib import Path

import pytest
from tinydb.table import Document

from edge.errors import OutboxError, OutboxFull
from edge.scanner.outbox import KEEP_DAMAGED, read_outbox
from edge.scanner.segment import Segment
from tests.fakes import a_scan
from tests.scanner.crash import opened, pull_the_plug, put, segments, seqs
from tests.scanner.watched_disk import WatchedDisk

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


def test_numbers_that_only_their_confirmation_tells_of_are_not_used_again(folder: Path) -> None:
    with opened(folder) as outbox:
        kept = put(outbox, 2)
        outbox.forget([(1, 2)])
        outbox.flush()
    path = segments(folder)[-1]
    content = path.read_bytes()
    for scan in kept:
        content = content.replace(scan.id.encode(), b"0" * 32)
    path.write_bytes(content)

    with opened(folder) as outbox:
        assert outbox.next_seq == 3


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
