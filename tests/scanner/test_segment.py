import errno
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from tinydb import where
from tinydb.operations import delete, increment
from tinydb.table import Document

from edge.scanner.disk import Disk
from edge.scanner.segment import Segment, SegmentContent, room_for


class FaultyDisk(Disk):
    """A disk that takes few bytes at a time and fails at what it is told to."""

    def __init__(self, fails: dict[str, int] | None = None, takes: int | None = None) -> None:
        self.fails = fails or {}
        self.takes = takes
        self.calls: list[str] = []

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self._call("write")
        return super().write(fd, data[: self.takes], offset)

    def sync(self, fd: int) -> None:
        self._call("sync")
        super().sync(fd)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            raise OSError(self.fails[name], "as the test wants it")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seg.jsonl"


def documents(path: Path) -> dict[int, dict[str, Any]]:
    """What a reader finds in the file at *path*."""
    return contents(Segment(path, read_only=True))


def said(path: Path) -> SegmentContent:
    """What the file at *path* says."""
    return SegmentContent(path.read_bytes())


def contents(segment: Segment) -> dict[int, dict[str, Any]]:
    return {document.doc_id: dict(document) for document in segment}


def lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in filter(None, path.read_bytes().split(b"\n")):
        checksum, _, text = line.partition(b" ")
        assert int(checksum, 16) == zlib.crc32(text)
        found.append(json.loads(text))
    return found


def test_a_document_is_one_line_written_and_synced_before_insert_returns(path: Path) -> None:
    disk = FaultyDisk()
    segment = Segment(path, disk=disk)
    segment.insert({"n": 1})
    disk.calls.clear()

    segment.insert(Document({"n": 7}, doc_id=7))

    assert disk.calls == ["write", "sync"]
    assert lines(path)[-1] == {"-": [], "+": {"7": {"n": 7}}}
    assert documents(path) == {1: {"n": 1}, 7: {"n": 7}}


def test_room_is_written_ahead_so_that_the_file_does_not_grow(path: Path) -> None:
    segment = Segment(path, documents=8)
    segment.file.prepare()
    before = path.stat()

    for n in range(8):
        segment.insert({"n": n, "text": "x" * 900})

    assert path.stat().st_size == before.st_size >= room_for(8)
    assert path.stat().st_blocks == before.st_blocks


def test_it_says_when_a_line_may_not_fit_any_more_and_still_takes_it(path: Path) -> None:
    segment = Segment(path, documents=1)
    segment.insert({"text": "x" * 500})
    assert not segment.file.is_full

    segment.insert({"text": "x" * 9000})
    assert segment.file.is_full
    segment.insert({"text": "x" * 9000})

    assert sorted(documents(path)) == [1, 2, 3]


def test_removals_wait_for_the_next_document(path: Path) -> None:
    disk = FaultyDisk()
    segment = Segment(path, disk=disk)
    segment.insert_multiple({"n": n} for n in range(1, 6))
    disk.calls.clear()

    segment.remove(doc_ids=[1, 2, 4])
    segment.file.note_removed([(100, 200)])
    assert disk.calls == []
    assert sorted(contents(segment)) == [3, 5]
    segment.insert(Document({"n": 6}, doc_id=6))

    assert lines(path)[-1]["-"] == [[1, 2], [4, 4], [100, 200]]
    assert sorted(documents(path)) == [3, 5, 6]
    assert list(said(path).removed) == [(1, 2), (4, 4), (100, 200)]


def test_flush_and_close_write_removals_once(path: Path) -> None:
    segment = Segment(path)
    segment.insert_multiple({"n": n} for n in range(1, 4))

    segment.remove(doc_ids=[1])
    segment.file.flush()
    segment.file.flush()
    assert lines(path)[2:] == [{"-": [[1, 1]]}]
    segment.remove(doc_ids=[2])
    segment.close()

    assert lines(path)[3:] == [{"-": [[2, 2]]}]
    assert sorted(documents(path)) == [3]


def test_abandoning_writes_nothing_and_reading_goes_on(path: Path) -> None:
    segment = Segment(path)
    segment.insert_multiple({"n": n} for n in range(1, 4))
    before = path.read_bytes()

    segment.remove(doc_ids=[1])
    segment.file.abandon()

    assert path.read_bytes() == before
    assert sorted(contents(segment)) == [2, 3]
    with pytest.raises(OSError, match="takes no more lines"):
        segment.insert({"n": 4})


def test_the_first_line_has_the_head_and_what_was_removed_elsewhere(path: Path) -> None:
    segment = Segment(path)
    segment.file.prepare({"epoch": "ab"}, [(1, 40)])
    segment.file.prepare({"epoch": "cd"}, [(1, 50)])

    assert lines(path) == [{"head": {"epoch": "ab"}, "-": [[1, 40]]}]
    read = said(path)
    assert read.head == {"epoch": "ab"}
    assert list(read.removed) == [(1, 40)]


def test_all_operations_of_tinydb_are_there_after_reopening(path: Path) -> None:
    segment = Segment(path)
    steps: list[Any] = [
        lambda: segment.insert({"n": 1, "deep": {"list": [1, None, "đường", 1.5]}}),
        lambda: segment.insert_multiple([{"n": 2}, Document({"n": 9}, doc_id=9), {"n": 3}]),
        lambda: segment.update({"seen": True}, where("n") == 2),
        lambda: segment.update(increment("n"), doc_ids=[1, 77]),
        lambda: segment.update(delete("seen"), where("seen").exists()),
        lambda: segment.update_multiple([({"m": 1}, where("n") == 9), ({"m": 2}, where("n") == 3)]),
        lambda: segment.upsert({"n": 9, "up": 1}, where("n") == 9),
        lambda: segment.upsert({"n": 50}, where("n") == 50),
        lambda: segment.upsert(Document({"n": 60}, doc_id=60)),
        lambda: segment.remove(where("n") == 3),
        lambda: segment.insert(Document({"n": 3, "again": 1}, doc_id=3)),
        lambda: segment.table("other").insert({"a": 1}),
        lambda: segment.table("other").insert({"a": 2}),
        lambda: segment.insert({"n": 70}),
        lambda: segment.table("other").update({"b": 1}),
        lambda: segment.table("third", persist_empty=True),
        lambda: segment.drop_table("other"),
        lambda: segment.truncate(),
        lambda: segment.insert({"n": 80}),
        lambda: segment.drop_tables(),
        lambda: segment.insert({"n": 90}),
    ]
    for step in steps:
        step()
        segment.file.flush()

        again = Segment(path, read_only=True)
        assert again.tables() >= segment.tables() - {"_default"}
        for name in {"_default", *segment.tables()}:
            assert {d.doc_id: dict(d) for d in again.table(name)} == {
                d.doc_id: dict(d) for d in segment.table(name)
            }
    assert contents(segment) == {1: {"n": 90}}


def test_an_existing_file_can_be_gone_on_with(path: Path) -> None:
    with Segment(path) as segment:
        segment.insert({"n": 1})
    with Segment(path) as segment:
        segment.insert({"n": 2})

    assert documents(path) == {1: {"n": 1}, 2: {"n": 2}}


@pytest.mark.parametrize("bad", [{"x": object()}, {"x": float("nan")}, {"x": b"bytes"}])
def test_what_is_not_json_is_refused_and_leaves_no_trace(path: Path, bad: dict[str, Any]) -> None:
    segment = Segment(path)
    segment.insert({"n": 1})

    with pytest.raises((TypeError, ValueError)):
        segment.insert(bad)
    with pytest.raises((TypeError, ValueError)):
        segment.update(bad, doc_ids=[1])
    segment.insert({"n": 2})

    assert documents(path) == contents(segment)
    assert list(contents(segment).values()) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_changes_nothing_and_is_the_last(path: Path, call: str, number: int) -> None:
    disk = FaultyDisk()
    segment = Segment(path, disk=disk)
    segment.insert({"n": 1})

    disk.fails[call] = number
    with pytest.raises(OSError, match="as the test wants it") as caught:
        segment.insert({"n": 2})
    assert caught.value.errno == number
    disk.fails.clear()

    assert contents(segment) == {1: {"n": 1}}
    with pytest.raises(OSError, match="takes no more lines"):
        segment.insert({"n": 3})
    segment.close()
    assert documents(path)[1] == {"n": 1}


def test_a_failed_update_leaves_the_document_as_it_is_on_disk(path: Path) -> None:
    disk = FaultyDisk()
    segment = Segment(path, disk=disk)
    segment.insert_multiple([{"n": 1}, {"n": 2}])
    segment.remove(doc_ids=[2])

    disk.fails["write"] = errno.EIO
    with pytest.raises(OSError, match="as the test wants it"):
        segment.update({"n": 99})

    assert contents(segment) == {1: {"n": 1}}


def test_a_file_whose_room_cannot_be_written_takes_no_space(path: Path) -> None:
    disk = FaultyDisk({"sync": errno.ENOSPC})
    segment = Segment(path, disk=disk)

    with pytest.raises(OSError, match="as the test wants it"):
        segment.file.prepare()

    assert path.stat().st_size == 0


def test_short_writes_are_continued(path: Path) -> None:
    segment = Segment(path, documents=1, disk=FaultyDisk(takes=100))

    segment.insert({"text": "x" * 950})

    assert documents(path) == {1: {"text": "x" * 950}}


def test_a_disk_that_takes_nothing_is_an_error_and_no_endless_loop(path: Path) -> None:
    segment = Segment(path, disk=FaultyDisk(takes=0))

    with pytest.raises(OSError, match="no more bytes"):
        segment.insert({"n": 1})


def written(path: Path, numbers: range) -> bytearray:
    """The bytes of a segment that holds *numbers*."""
    segment = Segment(path, documents=8)
    segment.file.prepare({"epoch": "ab"}, [(1, 3)])
    for n in numbers:
        segment.insert(Document({"text": "x" * 50}, doc_id=n))
    segment.close()
    return bytearray(path.read_bytes())


def test_with_own_blocks_no_line_shares_a_block(path: Path) -> None:
    segment = Segment(path, documents=4, own_blocks=True)
    segment.insert(Document({"text": "x" * 700}, doc_id=1))
    segment.insert(Document({"text": "x" * 5000}, doc_id=2))
    segment.remove(doc_ids=[1])
    segment.file.flush()
    segment.insert(Document({"text": "x"}, doc_id=3))
    size = path.stat().st_size
    content = path.read_bytes()

    starts = [match.start() for match in re.finditer(rb"[^\n]+", content)]
    assert starts == [0, 4096, 2 * 4096, 4 * 4096, 5 * 4096]
    assert sorted(documents(path)) == [2, 3]
    assert said(path).own_blocks
    assert size == path.stat().st_size >= room_for(4, own_blocks=True)


def test_with_own_blocks_a_spoiled_block_takes_one_document(path: Path) -> None:
    segment = Segment(path, documents=4, own_blocks=True)
    for number in range(1, 5):
        segment.insert(Document({"text": "x" * 700}, doc_id=number))
    content = bytearray(path.read_bytes())
    for block, left in ((4, [1, 2, 3]), (2, [1, 3])):
        content[block * 4096 : (block + 1) * 4096] = b"\xff" * 4096
        path.write_bytes(content)
        assert sorted(documents(path)) == left
        assert said(path).tail_damaged
        assert said(path).tail_blocks == 1
        assert said(path).bad_lines == 4 - len(left)


def test_a_document_that_is_there_is_not_added_again(path: Path) -> None:
    segment = Segment(path)
    segment.insert(Document({"n": 1}, doc_id=1))
    with pytest.raises(ValueError, match="there already"):
        segment.insert(Document({"n": 2}, doc_id=1))
    assert segment.insert({"n": 2}) == 2
    assert documents(path) == contents(segment) == {1: {"n": 1}, 2: {"n": 2}}


@pytest.mark.parametrize("change", ["cut", "filler", "nul", "garble"])
def test_a_last_line_hurt_at_any_byte_costs_only_itself(path: Path, change: str) -> None:
    whole = written(path, range(4, 7))
    end = len(whole.rstrip(b"\n"))
    start = whole.rindex(b"\n", 0, end) + 1
    for at in range(start, end):
        hurt = bytearray(whole)
        if change == "cut":
            del hurt[at:]
        elif change == "filler":
            hurt[at:end] = b"\n" * (end - at)
        elif change == "nul":
            hurt[at:] = bytes(len(hurt) - at)
        else:
            hurt[at] ^= 0x01
        path.write_bytes(hurt)

        segment = Segment(path, read_only=True)

        assert sorted(contents(segment)) == [4, 5], at
        assert said(path).head == {"epoch": "ab"}
        assert said(path).bad_lines == (1 if at > start or change in ("nul", "garble") else 0)
        assert said(path).tail_damaged == (change == "nul")


def test_hurt_and_glued_lines_are_counted_and_later_ones_kept(path: Path) -> None:
    whole = written(path, range(4, 9))
    parts = [line + b"\n" for line in bytes(whole).rstrip(b"\n").split(b"\n")]
    parts[2] = parts[2][:40]  # glued to the next
    parts[4] = b"\0" * 90 + b"\n"
    path.write_bytes(b"".join(parts))

    segment = Segment(path, read_only=True)

    assert sorted(contents(segment)) == [4, 8]
    assert said(path).bad_lines == 2
    assert not said(path).tail_damaged


def test_a_tail_that_no_cut_explains_is_told_from_one_cut_short(path: Path) -> None:
    whole = written(path, range(4, 9))
    parts = [line + b"\n" for line in bytes(whole).rstrip(b"\n").split(b"\n")]

    def tail_damaged(*tail: bytes) -> bool:
        path.write_bytes(b"".join([*parts[:3], *tail]))
        return said(path).tail_damaged

    assert not tail_damaged()
    assert not tail_damaged(parts[3][:30], b"\n" * 90, parts[3][40:60])
    assert tail_damaged(parts[3][:30], b"\n", parts[4][:30])
    assert tail_damaged(b"\n" * 90, b"\0" * 90)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n" * 5000,
        bytes(5000),
        b"\xff" * 5000,
        b"00000000 {}\n",
        b"b5b2bdb2 [1]\n",
        b'%08x {"-":[[5,1]]}\n' % zlib.crc32(b'{"-":[[5,1]]}'),
        b'%08x {"+":{"x":1}}\n' % zlib.crc32(b'{"+":{"x":1}}'),
        b'%08x {"=":[7]}\n' % zlib.crc32(b'{"=":[7]}'),
        b"%08x " % zlib.crc32(b"[" * 100_000) + b"[" * 100_000,
    ],
)
def test_any_file_can_be_opened(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    segment = Segment(path, read_only=True)

    assert contents(segment) == {}
    assert said(path).head is None


def test_a_missing_file_cannot_be_read(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Segment(path, read_only=True)
    assert not path.exists()
