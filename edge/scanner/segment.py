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

A card that is not power-safe may turn a whole block into garbage when the power goes while a part
of it is written. With *own_blocks* no line shares a block with another, so it takes none along.
"""

import errno
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct, field
from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document, Table

from edge.ranges import Ranges, ranges_of
from edge.scanner.disk import Disk

#: What one document may take of the room that is written ahead: a scan's line is about 850 bytes.
BYTES_PER_DOCUMENT = 1024
#: No scan's line is longer, by the limits of its fields; most of it would be the sealed identity.
LONGEST_LINE = 8192

_BLOCK = 4096
_TABLE = "_default"
_FILLER = b"\n" * _BLOCK
_LINE = re.compile(rb"\n*+([^\n]++)")
_START = re.compile(rb"[0-9a-f]{8} \{")
_NOT_OURS = re.compile(rb"[^ -~]")

Tables = dict[str, dict[str, Any]]


class SegmentTable(Table):
    """A table to which a document with a number is added without a look at all others."""

    def insert(self, document: Mapping[str, Any]) -> int:
        """Insert *document*; gives its number. Raises ValueError if it is there already."""
        storage = self._storage
        if (
            not isinstance(document, Document)
            or not isinstance(storage, SegmentStorage)
            or self.name != _TABLE
        ):
            return super().insert(document)
        storage.add(document.doc_id, document)
        self._next_id = None
        self.clear_cache()
        return document.doc_id


class Segment(TinyDB):
    """A TinyDB in one file of lines."""

    table_class = SegmentTable

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        documents: int = 256,
        own_blocks: bool = False,
        disk: Disk | None = None,
    ) -> None:
        """Open *path*, made if missing, with room for so many *documents* at a time."""
        self.file = SegmentStorage(
            path, read_only=read_only, documents=documents, own_blocks=own_blocks, disk=disk
        )
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
        own_blocks: bool = False,
        disk: Disk | None = None,
    ) -> None:
        self.path = Path(path)
        self._disk = disk or Disk()
        self._documents = documents
        self._own_blocks = own_blocks
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
        head = dict(head or {}) | ({"own_blocks": True} if self._own_blocks else {})
        line = self._line_of({"head": head, "-": list(self._unlogged)})
        size = _whole_blocks(len(line) + room_for(self._documents, own_blocks=self._own_blocks))
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

    def add(self, number: int, document: Mapping[str, Any]) -> None:
        """Add *document* to the default table, on disk when this returns."""
        if self._tables is None:
            self._load()
        assert self._tables is not None
        table = self._tables.get(_TABLE, {})
        if str(number) in table:
            raise ValueError(f"document {number} is there already")
        self._append({"-": list(self._unlogged), "+": {str(number): document}})
        self._unlogged = Ranges()
        self._tables.setdefault(_TABLE, table)[str(number)] = dict(document)

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
        line = self._line_of(change)
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

    def _line_of(self, change: Mapping[str, Any]) -> bytes:
        line = _line_of(change)
        return line.ljust(_whole_blocks(len(line)), b"\n") if self._own_blocks else line

    def _load(self) -> None:
        content = SegmentContent(self._disk.read(self.path))
        self._size = content.size
        self._end = _whole_blocks(content.end) if self._own_blocks else content.end
        self._tables = {}
        for line in content.lines:
            if line.whole is not None:
                self._tables = {name: _decoded(table) for name, table in line.whole.items()}
            self._drop(line.removed)
            if line.added:
                self._tables.setdefault(_TABLE, {}).update(_decoded(line.added))
        self._drop(self._unlogged)

    def _drop(self, ranges: Iterable[tuple[int, int]]) -> None:
        documents = (self._tables or {}).get(_TABLE, {})
        for first, last in ranges:
            # Most ranges are of other segments, and may be very long.
            for number in [n for n in documents if first <= int(n) <= last]:
                del documents[number]


class Line(Struct, frozen=True):
    """One line of a segment."""

    head: dict[str, Any] | None = None
    removed: list[tuple[int, int]] = field(name="-", default_factory=list)
    added: dict[int, Raw] = field(name="+", default_factory=dict)
    whole: dict[str, dict[int, Raw]] | None = field(name="=", default=None)


class SegmentContent:
    """What the file of a segment says. Lines that are damaged are counted and skipped."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        #: Where the last line ends, good or bad.
        self.end = _end_of(content)
        self.lines: list[Line] = []
        #: The "head" of the first line, or None if that cannot be read.
        self.head: dict[str, Any] | None = None
        #: What the file says was removed, from this segment and from others.
        self.removed = Ranges()
        self.bad_lines = 0
        #: Behind the last good line is what no write of ours can have left, cut short or not: there
        #: may have been documents.
        self.tail_damaged = False
        #: In how many blocks there are parts of lines behind the last good one.
        self.tail_blocks = 0
        self._read(content)

    @property
    def own_blocks(self) -> bool:
        """Whether no line shares a block with another."""
        return bool(self.head and self.head.get("own_blocks"))

    def documents(self) -> Iterator[tuple[int, Raw]]:
        """Every document that was ever added, by its number, as JSON."""
        for line in self.lines:
            yield from line.added.items()

    def _read(self, content: bytes) -> None:
        changes = starts = not_ours = 0
        tail: set[int] = set()
        for match in _LINE.finditer(content, 0, self.end):
            text, (start, end) = match[1], match.span(1)
            line = _line_in(text)
            if line is None:
                self.bad_lines += 1
                starts += bool(_START.match(text))
                not_ours += bool(_NOT_OURS.search(text))
                tail.update(range(start // _BLOCK, (end - 1) // _BLOCK + 1))
                line = self._line_behind(text, start)
            if line is not None:
                self._take(line)
                changes += line.head is None
                starts = not_ours = 0
                tail.clear()
        self.tail_blocks = len(tail)
        # A write cut short leaves parts of one line between newlines. Bytes that are not text can
        # also be what was there before the room was written, but only until the first change.
        self.tail_damaged = starts > 1 or (changes > 0 and not_ours > 0)

    def _line_behind(self, text: bytes, start: int) -> Line | None:
        """A line that what spoiled the block before is glued to."""
        if not self.own_blocks:
            return None
        places = range(_whole_blocks(start + 1) - start, len(text), _BLOCK)
        return next(filter(None, (_line_in(text[place:]) for place in places)), None)

    def _take(self, line: Line) -> None:
        self.lines.append(line)
        if line.head is not None:
            self.head = line.head
        if line.removed:
            self.removed.update(line.removed)


def room_for(documents: int, *, own_blocks: bool = False) -> int:
    """Bytes that are written ahead for *documents*."""
    each = _BLOCK if own_blocks else BYTES_PER_DOCUMENT
    return _whole_blocks(documents * each + LONGEST_LINE)


def _end_of(content: bytes) -> int:
    """Where *content* has nothing but room any more, one newline behind the last line."""
    end = len(content)
    while end >= _BLOCK and content[end - _BLOCK : end] == _FILLER:
        end -= _BLOCK
    last = content[max(0, end - _BLOCK) : end]
    end -= len(last) - len(last.rstrip(b"\n"))
    return end + 1 if end else 0


def _whole_blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _line_of(change: Mapping[str, Any]) -> bytes:
    text = json.dumps(change, separators=(",", ":"), allow_nan=False).encode("ascii")
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _line_in(line: bytes) -> Line | None:
    """What *line* says, or None if it is not whole or not of ours."""
    text = line[9:]
    if line[:9] != b"%08x " % zlib.crc32(text):
        return None
    try:
        found = msgspec.json.decode(text, type=Line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.removed and any(first > last for first, last in found.removed):
        return None
    return found


def _decoded(table: Mapping[int, Raw]) -> dict[str, Any]:
    return {str(number): msgspec.json.decode(raw) for number, raw in table.items()}
