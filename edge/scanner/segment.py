"""A segment of the outbox: a small TinyDB whose storage appends checked lines to one file.

TinyDB hands its storage the whole database with every change. `SegmentStorage` finds what came and
went and appends only that, so a document costs one line and one sync:

    1a2b3c4d {"head":{...},"-":[[1,40]]}          first line of the file
    5e6f7a8b {"-":[[41,43]],"+":{"44":{...}}}     43 documents gone, one come
    9c0d1e2f {"=":{"_default":{...}}}             the whole database anew

Each begins with the CRC-32 of the rest. A removal alone changes only memory; it is written with the
next document, by `flush` or by `close`, since losing it only brings a document back. Changes within
documents are written as a whole database. A middleware that gathers several operations into one
write, as TinyDB's CachingMiddleware does, would hide such changes and must not be used; nor may an
`update` be given a function that fails midway, as its changes so far would stay in memory.
"""

import errno
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinydb import TinyDB
from tinydb.storages import Storage

from edge.ranges import Ranges, ranges_of

#: What one document may take of the room that is written ahead: a scan's line is about 850 bytes.
BYTES_PER_DOCUMENT = 1024
#: No scan's line is longer, by the limits of its fields; most of it would be the sealed identity.
LONGEST_LINE = 8192

_BLOCK = 4096
_TABLE = "_default"
_LINE = re.compile(rb"[^\n]+")
_START = re.compile(rb"[0-9a-f]{8} \{")
_NOT_OURS = re.compile(rb"[^ -~]")

Tables = dict[str, dict[str, Any]]


class Disk:
    """The disk, as far as keeping scans depends on it; tests watch it and let it fail."""

    def open(self, path: Path) -> int:
        """Open *path* to read and write, and create it if need be."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """Write *data* at *offset*; gives how many bytes were taken, which may be fewer."""
        return os.pwrite(fd, data, offset)

    def write_all(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of *data* at *offset*."""
        while data:
            taken = self.write(fd, data, offset)
            if taken <= 0:
                raise OSError(errno.EIO, "the disk takes no more bytes")
            data, offset = data[taken:], offset + taken

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Content and size are on disk when this returns."""
        # Not fsync: it would also write the time of change, which costs the card another flush.
        os.fdatasync(fd)

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)

    def sync_folder(self, folder: Path) -> None:
        """Names made in *folder* are on disk when this returns."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sizes(self, folder: Path) -> dict[str, int]:
        """The files of *folder* and their sizes in bytes."""
        found = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                # A service at work in the folder may have removed it since.
                with suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_size
        return found

    def free_bytes(self, folder: Path) -> int:
        """What is left of the disk for users other than root."""
        state = os.statvfs(folder)
        return state.f_bavail * state.f_frsize


class Segment(TinyDB):
    """A TinyDB in one file of lines."""

    def __init__(
        self, path: Path, *, read_only: bool = False, documents: int = 256, disk: Disk | None = None
    ) -> None:
        """Open *path*, made if missing, with room for so many *documents* at a time."""
        self.file = SegmentStorage(path, read_only=read_only, documents=documents, disk=disk)
        super().__init__(storage=lambda: self.file)


class SegmentStorage(Storage):
    """TinyDB's storage for one segment; ids are whole numbers, as TinyDB's are.

    Opening reads the file: lines that are damaged are counted and skipped. A write that fails
    leaves the database as it was and the file closed to more: what the kernel still holds of it
    cannot be trusted, so go on in another file.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        read_only: bool = False,
        documents: int = 256,
        disk: Disk | None = None,
    ) -> None:
        self.path = Path(path)
        #: The "head" of the first line, or None if that cannot be read.
        self.head: dict[str, Any] | None = None
        #: What the file says was removed, from this segment and from others.
        self.removed = Ranges()
        self.bad_lines = 0
        #: Behind the last good line is what no write of ours can have left, cut short or not: there
        #: may have been documents.
        self.tail_damaged = False
        self._disk = disk or Disk()
        self._documents = documents
        self._unlogged = Ranges()
        self._tables: Tables | None = None
        self._size = self._end = 0
        self._broken = False
        self._fd = -1 if read_only else self._disk.open(self.path)
        try:
            self._load()
            if not read_only and not self._size:
                self._disk.sync_folder(self.path.parent)
        except OSError:
            self.abandon()
            raise

    @property
    def is_prepared(self) -> bool:
        """Whether the file has its first line and the room for others."""
        return self._size > 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    @property
    def is_full(self) -> bool:
        """Whether another line may not fit into the room written ahead, and make the file grow."""
        return self.is_prepared and self._size - self._end < LONGEST_LINE

    def prepare(
        self, head: Mapping[str, Any] | None = None, removed: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Write the first line and the room for all others; the first write does it if need be."""
        if self.is_prepared:
            return
        self._unlogged.update(removed)
        line = _line_of({"head": dict(head or {}), "-": list(self._unlogged)})
        size = _whole_blocks(len(line) + room_for(self._documents))
        try:
            # Room made of written newlines is what costs least later: into blocks that are already
            # there, a line needs one flush of the card instead of two, and a line cut short is
            # always followed by a newline.
            self._write_line(line.ljust(size, b"\n"), 0)
        except OSError:
            with suppress(OSError):
                self._disk.truncate(self._fd, 0)
            raise
        self._size, self._end = size, len(line)
        self._unlogged = Ranges()

    def read(self) -> Tables:
        """The database. Its outer dict is a copy, so that a change that fails leaves no trace."""
        if self._tables is None:
            self._load()
        return dict(self._tables or {})

    def write(self, data: Tables) -> None:
        """Make *data* the database, on disk when this returns unless only removals are new."""
        new, old = data.get(_TABLE, {}), self.read().get(_TABLE, {})
        came = {number: document for number, document in new.items() if number not in old}
        went = Ranges(ranges_of(sorted(int(number) for number in old if number not in new)))
        if not (came or went) or not self._is_rest_the_same(data):
            self._write_whole(data)
            return
        went.update(self._unlogged)
        if came:
            self._append({"-": list(went), "+": came})
            went = Ranges()
        self._unlogged = went
        self._tables = dict(data)

    def note_removed(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Log *ranges*, of this segment or of others, with the next line."""
        self._unlogged.update(ranges)

    def flush(self) -> None:
        """Write removals that no line has logged yet."""
        if self._unlogged:
            self._append({"-": list(self._unlogged)})
            self._unlogged = Ranges()

    def close(self) -> None:
        """Flush and close the file; what is in memory can still be read."""
        try:
            if self._fd >= 0 and not self._broken:
                self.flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._disk.close(fd)

    def _is_rest_the_same(self, data: Tables) -> bool:
        # A table that TinyDB has not touched is the very dict that it read, and so is a document.
        tables = self.read()
        old, new = tables.pop(_TABLE, {}), data.get(_TABLE, {})
        others = {name: table for name, table in data.items() if name != _TABLE}
        return (
            others.keys() == tables.keys()
            and all(others[name] is tables[name] for name in tables)
            and all(new[number] is old[number] for number in new.keys() & old.keys())
        )

    def _write_whole(self, data: Tables) -> None:
        # Documents may have been changed in place. Until the line is on disk, the file counts.
        self._tables = None
        self._append({"-": list(self._unlogged), "=": data})
        self._unlogged = Ranges()
        self._tables = dict(data)

    def _append(self, change: Mapping[str, Any]) -> None:
        line = _line_of(change)
        self.prepare()
        self._write_line(line, self._end)
        self._end += len(line)
        self._size = max(self._size, self._end)

    def _write_line(self, line: bytes, offset: int) -> None:
        if self._fd < 0 or self._broken:
            raise OSError(errno.EIO, "takes no more lines", str(self.path))
        self._broken = True
        self._disk.write_all(self._fd, line, offset)
        self._disk.sync(self._fd)
        self._broken = False

    def _load(self) -> None:
        content = self._disk.read(self.path)
        self._size = len(content)
        self._end = len(content.rstrip(b"\n")) + 1 if content else 0
        self._tables = {}
        self.bad_lines = changes = starts = not_ours = 0
        for match in _LINE.finditer(content):
            change = _change_in(match[0])
            if change:
                self._apply(change)
                changes += change.head is None
                starts = not_ours = 0
            else:
                self.bad_lines += 1
                starts += bool(_START.match(match[0]))
                not_ours += bool(_NOT_OURS.search(match[0]))
        # A write cut short leaves parts of one line between newlines. Bytes that are not text can
        # also be what was there before the room was written, but only until the first change.
        self.tail_damaged = starts > 1 or (changes > 0 and not_ours > 0)
        self._drop(self._unlogged)

    def _apply(self, change: "_Change") -> None:
        if change.head is not None:
            self.head = change.head
        if change.whole is not None:
            self._tables = change.whole
        self._drop(change.removed)
        self.removed.update(change.removed)
        if change.added:
            assert self._tables is not None
            self._tables.setdefault(_TABLE, {}).update(change.added)

    def _drop(self, ranges: Iterable[tuple[int, int]]) -> None:
        documents = (self._tables or {}).get(_TABLE, {})
        for first, last in ranges:
            # Most ranges are of other segments, and may be very long.
            for number in [n for n in documents if first <= int(n) <= last]:
                del documents[number]


def room_for(documents: int) -> int:
    """Bytes that are written ahead for *documents*."""
    return _whole_blocks(documents * BYTES_PER_DOCUMENT + LONGEST_LINE)


def _whole_blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


@dataclass
class _Change:
    removed: list[tuple[int, int]] = field(default_factory=list)
    added: dict[str, Any] = field(default_factory=dict)
    whole: Tables | None = None
    head: dict[str, Any] | None = None


def _line_of(change: Mapping[str, Any]) -> bytes:
    text = json.dumps(change, separators=(",", ":"), allow_nan=False).encode("ascii")
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _change_in(line: bytes) -> _Change | None:
    """What *line* says, or None if it is not whole or not of ours."""
    try:
        if line[:9] != b"%08x " % zlib.crc32(line[9:]):
            return None
        content = json.loads(line[9:])
        whole = content.get("=")
        return _Change(
            removed=list(Ranges((int(a), int(b)) for a, b in content.get("-", []))),
            added=_table_in(content.get("+", {})),
            whole=None if whole is None else {t: _table_in(d) for t, d in whole.items()},
            head=content.get("head"),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _table_in(content: dict[str, Any]) -> dict[str, Any]:
    return {str(int(number)): dict(document) for number, document in content.items()}
