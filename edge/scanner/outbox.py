"""Scans on this unit's disk, from the beep until storage has confirmed them.

A folder holds `lock` (one writer), `epoch` (which life of the outbox this is) and the segments,
`seg-<number>-<first>.jsonl`: see segment.py for their lines. What makes it hold:

* Every opening, every full segment and every failed write starts a new segment, so nothing is ever
  written behind what an earlier run or a failed write may have left. The name is on disk at once;
  the content, its first line and the room for the others, comes with the first scan.
* `first` in the name is the next sequence number of that moment. What an earlier segment holds from
  there on is void: its put never returned. As the newest segment is never removed, numbers go on
  even when every scan is forgotten.
* `gone` is the set of numbers that need not be held any more: confirmed, or found damaged. It is
  nearly always 1..n. The first line of a segment has all of it, later lines what was added, so
  opening reads the names and the newest one or two segments, whatever the backlog. Every number
  below `next_seq` is gone or pending, which makes the count of pending scans exact.
* Only the oldest segment is removed, once all of it is gone; besides, one that cannot hold a scan.
  One removal is on disk before the next is made, mostly by the sync of a new name, so a cut leaves
  segments without a hole, and what lies below the oldest is gone by its name alone.
* What cannot be read is counted as damaged, and its file is put aside, not removed, in its turn.
"""

import errno
import fcntl
import logging
import re
import secrets
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
from tinydb.table import Document

from edge.errors import EdgeError, OutboxError, OutboxFull, OutboxInUse
from edge.messages import Scan
from edge.ranges import Ranges, ranges_of
from edge.scanner.segment import Disk, Segment, room_for

log = logging.getLogger(__name__)

#: TinyDB's work per scan grows with the segment; the number of files shrinks with it.
SEGMENT_SCANS = 256
#: So many damaged segments are kept for a closer look; older ones are removed.
KEEP_DAMAGED = 8

_NAME = re.compile(r"seg-([0-9]{8,})-([0-9]{16,})\.jsonl")
_ASIDE = "damaged-"
_EPOCH = re.compile(rb"([0-9a-f]{16})\n?")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Of this process at this moment, and no sign that a file is damaged.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
_NO_PERMISSION = "the folder and all in it must belong to the scanner's user"
_CURES = {
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "the card may be worn out: replace it",
    errno.EIO: "the card fails: replace it",
    errno.EEXIST: "this must be a folder: name another",
    errno.ENOENT: "name the outbox's folder",
    errno.ENOTDIR: "this must be a folder: name another",
}


@dataclass(frozen=True)
class OutboxStatus:
    """How an outbox is."""

    epoch: str
    next_seq: int
    pending: int  #: scans not yet confirmed
    bytes: int  #: disk space taken
    oldest_seq: int | None  #: the oldest pending scan, if there is one
    oldest_at: str | None  #: when that was made
    damaged: int  #: pending scans found lost or unreadable since it was opened, at most


class Outbox:
    """The scans of this unit. Any thread may call any method."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        keep_free_bytes: int,
        segment_scans: int = SEGMENT_SCANS,
        disk: Disk | None = None,
    ) -> None:
        """Open the outbox in *folder*, made if missing. Raises OutboxInUse, OutboxError."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep_free_bytes = keep_free_bytes
        self._segment_scans = segment_scans
        self._disk = disk or Disk()
        self._mutex = threading.Lock()
        self._active: Segment | None = None
        self._unlogged = False
        self._removal_unsynced = False
        with _explained(folder):
            _make_folder(folder, self._disk)
            self._lock = _lock(folder)
            try:
                self._held = _Held(folder, segment_scans, self._disk)
                self.epoch = self._held.epoch or self._start_epoch()
                self._number = max((file.number for file in self._held.files), default=0)
                self._begin_or_renumber()
            except BaseException:
                self._lock.close()
                raise
        #: The number of this opening, larger than that of any before.
        self.run = self._number
        log.info("%s: %d scans pending, next is %d", folder, self._held.pending, self.next_seq)

    @property
    def next_seq(self) -> int:
        """The number of the next scan."""
        return self._held.next_seq

    def put(self, scan: Scan) -> None:
        """Keep *scan*, on disk when this returns. Raises OutboxFull, OutboxError.

        It must have this epoch and the next number. After an error that number is free again; only
        if the power is cut during the error may the scan turn out to be kept.
        """
        with self._opened() as held:
            if (scan.epoch, scan.seq) != (self.epoch, held.next_seq):
                raise ValueError(f"{scan.seq} of epoch {scan.epoch} is not the next scan")
            document = Document(msgspec.to_builtins(scan), doc_id=scan.seq)
            segment = self._ready()
            with self._leaving_if_it_fails():
                segment.insert(document)
            self._unlogged = False
            held.next_seq = held.files[-1].end = scan.seq + 1

    def oldest(self, n: int, after: int = 0) -> list[Scan]:
        """The *n* oldest pending scans with a number above *after*."""
        with self._opened() as held:
            return list(islice(held.scans(after), n))

    def forget(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Scans *first* to *last* of each range are confirmed. Numbers not pending are ignored.

        It is on disk with the next scan or `flush`. A power cut before brings them back, to be sent
        and confirmed again.
        """
        with self._opened() as held:
            new = held.forget(ranges)
            if new:
                self._unlogged = True
                if self._active is not None:
                    self._active.file.note_removed(new)
                self._tidy()

    def status(self) -> OutboxStatus:
        """How the outbox is now."""
        with self._opened() as held:
            return held.status(self.epoch)

    def flush(self) -> None:
        """Write down what was forgotten, for when no scan comes to take it along."""
        with self._opened():
            self._flush()

    def close(self) -> None:
        """Flush and let go of the folder. Closing twice is harmless."""
        with self._mutex:
            if not self._lock.closed:
                self._flush()
                self._release()
                self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _opened(self) -> Iterator["_Held"]:
        with self._mutex, _explained(self._folder):
            if self._lock.closed:
                raise OutboxError(f"{self._folder}: the outbox is closed")
            yield self._held

    def _flush(self) -> None:
        # Where no segment holds a scan, the name of the only one says it all.
        if not self._unlogged or self._held.files[0].first == self.next_seq:
            return
        try:
            active = self._ready()
            with self._leaving_if_it_fails():
                active.file.flush()
            self._unlogged = False
        except OutboxFull:
            pass  # The next segment's first line will have it.
        except OSError as err:
            # Safe to go on: at worst, confirmed scans are sent again.
            log.warning("%s: what was confirmed is not noted: %s", self._folder, err)

    def _ready(self) -> Segment:
        """The active segment, with room for a scan; a new one if need be."""
        full = self._held.next_seq - self._held.files[-1].first >= self._segment_scans
        if self._active is None or full or self._active.file.is_full:
            self._begin()
        active = self._active
        assert active is not None
        if not active.file.is_prepared:
            self._check_room()
            with self._leaving_if_it_fails():
                active.file.prepare({"epoch": self.epoch}, self._held.gone)
            self._held.files[-1].size = active.file.size
        return active

    def _check_room(self) -> None:
        coming = room_for(self._segment_scans)
        if self._held.bytes + coming > self._max_bytes:
            raise OutboxFull(
                f"{self._folder}: {self._held.pending} scans have reached the limit of"
                f" {self._max_bytes} bytes: connect the unit so that it can send them"
            )
        if self._disk.free_bytes(self._folder) - coming < self._keep_free_bytes:
            raise OutboxFull(
                f"{self._folder}: {self._keep_free_bytes} bytes of the disk must stay free:"
                " make room, or connect the unit so that it can send its scans"
            )

    def _begin(self) -> None:
        """Start the next segment: its name is on disk when this returns."""
        self._release()
        held = self._held
        self._number += 1
        file = _File(self._number, held.next_seq, held.next_seq)
        path = self._folder / file.name
        try:
            self._active = Segment(path, documents=self._segment_scans, disk=self._disk)
        except OSError:
            with suppress(OSError):
                self._disk.unlink(path)
            raise
        self._removal_unsynced = False
        held.add(file, self._active)
        self._tidy()

    def _begin_or_renumber(self) -> None:
        """Start the run's segment. Where the disk has no room for a name, the newest is renamed.

        That is not written to, but its scans can be sent, which makes room.
        """
        try:
            self._begin()
        except OSError as err:
            if err.errno not in _NO_ROOM or not self._held.files:
                raise
            log.warning("%s: the disk is full: scans can be sent, not kept", self._folder)
            old, new = self._held.renumber_newest(self._number)
            self._disk.rename(self._folder / old, self._folder / new)
            self._disk.sync_folder(self._folder)

    @contextmanager
    def _leaving_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # What the kernel and the disk now have of this segment is anyone's guess. The name of
            # the next makes void what the write may have left there.
            self._release()
            with suppress(OSError):
                self._begin()
            raise

    def _release(self) -> None:
        # Not flushed: the first line of the next segment will have everything.
        if self._active is not None:
            self._active.file.abandon()
            self._active = None

    def _tidy(self) -> None:
        """Remove the segments of which nothing is needed."""
        files = self._held.files
        while len(files) > 1 and self._held.is_done(files[0]) and self._remove(files[0]):
            pass
        # One that never held a scan: its first write failed, or none came.
        if len(files) > 1 and files[-2].first == files[-2].end:
            self._remove(files[-2])

    def _remove(self, file: "_File") -> bool:
        path = self._folder / file.name
        try:
            if self._removal_unsynced:
                self._disk.sync_folder(self._folder)
            self._removal_unsynced = True
            if file.damaged:
                self._put_aside(file)
            else:
                self._disk.unlink(path)
        except FileNotFoundError:
            pass  # As it should be, whoever did it.
        except OSError as err:
            log.warning("%s cannot be removed: %s", path, err)
            return False
        self._held.drop(file)
        return True

    def _put_aside(self, file: "_File") -> None:
        aside, name = self._held.aside, _ASIDE + file.name
        self._disk.rename(self._folder / file.name, self._folder / name)
        aside[name] = file.size
        log.error("%s is kept: scans in it could not be read", self._folder / name)
        for old in sorted(aside)[:-KEEP_DAMAGED]:
            self._disk.unlink(self._folder / old)
            del aside[old]

    def _start_epoch(self) -> str:
        """The epoch of a new outbox; if only its file is lost, the one that was."""
        pending = next(self._held.scans(), None)
        epoch = (pending.epoch if pending else self._held.seen_epoch) or secrets.token_hex(8)
        # Whoever may not read the folder above has not made this one, and need not sync it.
        with suppress(PermissionError):
            self._disk.sync_folder(self._folder.parent)
        new = self._folder / "epoch.new"
        fd = self._disk.open(new)
        try:
            self._disk.truncate(fd, 0)
            self._disk.write_all(fd, f"{epoch}\n".encode(), 0)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        # The new name is synced along with that of the segment that comes next.
        self._disk.rename(new, self._folder / "epoch")
        return epoch


class OutboxView:
    """An outbox as it was when this was made, to read only."""

    def __init__(self, held: "_Held") -> None:
        self._held = held
        self._status = held.status(held.epoch or held.seen_epoch or "")

    def status(self) -> OutboxStatus:
        """How it was. What was confirmed shortly before may still count as pending."""
        return self._status

    def scans(self) -> Iterator[Scan]:
        """The pending scans, oldest first, without those confirmed meanwhile."""
        with _explained(self._held.folder):
            yield from self._held.scans()


def read_outbox(folder: Path) -> OutboxView:
    """Look into an outbox, in use or not, without writing anything. Raises OutboxError."""
    with _explained(folder):
        for _ in range(10):
            view = OutboxView(held := _Held(folder, SEGMENT_SCANS, Disk(), is_shared=True))
            # What was removed while we read may have been the newest of our list.
            if not held.has_vanished:
                break
    if not held.files and not held.epoch:
        raise OutboxError(f"{folder}: no outbox is here: name the folder with the seg-*.jsonl")
    return view


@dataclass(slots=True)
class _File:
    """A segment, as far as its name tells."""

    number: int
    first: int
    end: int  #: the next segment's first: numbers from here on are not of this one
    size: int = 0
    damaged: bool = False

    @property
    def name(self) -> str:
        return f"seg-{self.number:08}-{self.first:016}.jsonl"


class _Held:
    """What a folder holds. It only reads, and has at most three segments in memory."""

    def __init__(
        self, folder: Path, segment_scans: int, disk: Disk, *, is_shared: bool = False
    ) -> None:
        self.folder = folder
        self._disk = disk
        self._is_shared = is_shared
        self._segments: dict[int, Segment] = {}
        sizes = disk.sizes(folder)
        self.aside = {name: size for name, size in sizes.items() if name.startswith(_ASIDE)}
        self.files = _files_in(sizes)
        self.epoch = self._read_epoch()
        self.seen_epoch: str | None = None
        self.next_seq = 1
        self.gone = Ranges()
        self.damaged = 0
        self.has_vanished = False
        if self.files:
            self._find_out(segment_scans)

    @property
    def pending(self) -> int:
        return self.next_seq - 1 - len(self.gone)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files) + sum(self.aside.values())

    def status(self, epoch: str) -> OutboxStatus:
        oldest = next(self.scans(), None)
        return OutboxStatus(
            epoch=epoch,
            next_seq=self.next_seq,
            pending=self.pending,
            bytes=self.bytes,
            oldest_seq=oldest.seq if oldest else None,
            oldest_at=oldest.at if oldest else None,
            damaged=self.damaged,
        )

    def scans(self, after: int = 0) -> Iterator[Scan]:
        """The pending scans above *after*, oldest first. Damage is noted and passed over."""
        at = bisect_right(self.files, after + 1, key=lambda file: file.first) - 1
        for file in self.files[max(at, 0) :]:
            if self.is_done(file):
                continue
            segment = self._load(file)
            for document in segment if segment is not None else ():
                seq = document.doc_id
                if seq <= after or not file.first <= seq < file.end or seq in self.gone:
                    continue
                try:
                    yield msgspec.convert(document, Scan)
                except msgspec.ValidationError:
                    self._lose(file, [(seq, seq)])

    def forget(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Give up *ranges*; gives those of them that were pending."""
        last = self.next_seq - 1
        new = [gap for a, b in ranges for gap in self.gone.gaps(max(a, 1), min(b, last))]
        self.gone.update(new)
        if new:
            for segment in self._segments.values():
                if ids := [d.doc_id for d in segment if d.doc_id in self.gone]:
                    segment.remove(doc_ids=ids)
        return new

    def is_done(self, file: _File) -> bool:
        """Whether nothing in *file* is pending."""
        return file.first >= file.end or self.gone.covers(file.first, file.end - 1)

    def add(self, file: _File, segment: Segment) -> None:
        self.files.append(file)
        self._keep(file, segment)

    def drop(self, file: _File) -> None:
        self.files.remove(file)
        self._segments.pop(file.number, None)

    def renumber_newest(self, number: int) -> tuple[str, str]:
        """Give the newest segment *number*; gives its old and its new name."""
        newest = self.files[-1]
        self._segments.pop(newest.number, None)
        old, newest.number = newest.name, number
        return old, newest.name

    def _find_out(self, segment_scans: int) -> None:
        """The next number and what is gone, from the newest segments back to a good first line."""
        newest = self.files[-1]
        found = []
        for file in reversed(self.files):
            segment = self._read(file)
            found.append((file, segment))
            if file is newest:
                self.next_seq = _next_seq(newest, segment, segment_scans)
            if segment is not None:
                self.gone.update(segment.file.removed)
                if segment.file.head is not None:
                    self.seen_epoch = segment.file.head.get("epoch")
                    break
        # Numbers that were forgotten had been given out, even if nothing else tells of them.
        newest.end = self.next_seq = max(self.next_seq, *(b + 1 for _, b in self.gone), 1)
        if self.files[0].first > 1:
            self.gone.add(1, self.files[0].first - 1)
        for file, segment in found:
            self._keep(file, segment)

    def _load(self, file: _File) -> Segment | None:
        segment = self._segments.get(file.number)
        if segment is None:
            segment = self._read(file)
            self._keep(file, segment)
        return segment

    def _read(self, file: _File) -> Segment | None:
        try:
            return Segment(self.folder / file.name, read_only=True, disk=self._disk)
        except OSError as err:
            if err.errno in _PASSING:
                raise
            if self._is_shared and err.errno == errno.ENOENT:
                self.has_vanished = True
            else:
                log.error("%s cannot be read: %s", self.folder / file.name, err)
            return None

    def _keep(self, file: _File, segment: Segment | None) -> None:
        """Note what *segment* lacks, and have it in memory until others are needed more."""
        held = Ranges(ranges_of(_numbers_in(segment)))
        self._lose(file, held.gaps(file.first, file.end - 1))
        if segment is not None:
            while len(self._segments) > 2:
                spare = [n for n in self._segments if n != self.files[-1].number]
                del self._segments[spare[0]]
            self._segments[file.number] = segment

    def _lose(self, file: _File, ranges: Iterable[tuple[int, int]]) -> None:
        lost = [gap for a, b in ranges for gap in self.gone.gaps(a, b)]
        self.gone.update(lost)
        if lost and not self.has_vanished:
            number = sum(b - a + 1 for a, b in lost)
            self.damaged += number
            file.damaged = True
            log.error("%s: %d scans are lost: %s", self.folder / file.name, number, lost[:5])

    def _read_epoch(self) -> str | None:
        try:
            found = _EPOCH.fullmatch(self._disk.read(self.folder / "epoch"))
        except OSError as err:
            if err.errno in _PASSING:
                raise
            found = None
        if self.files and not found:
            log.error("%s cannot be read", self.folder / "epoch")
        return found[1].decode() if found else None


def _files_in(sizes: dict[str, int]) -> list[_File]:
    """The segments by their numbers, each with the end that the next one's name gives it."""
    names = [(match, size) for name, size in sizes.items() if (match := _NAME.fullmatch(name))]
    files = [_File(int(match[1]), int(match[2]), 0, size) for match, size in names]
    files.sort(key=lambda file: file.number)
    for file, following in pairwise(files):
        file.end = following.first
    return files


def _numbers_in(segment: Segment | None) -> list[int]:
    # A TinyDB without documents is false, hence no "if segment".
    return [] if segment is None else sorted(document.doc_id for document in segment)


def _next_seq(newest: _File, segment: Segment | None, segment_scans: int) -> int:
    last = max(_numbers_in(segment), default=0)
    if segment is None or segment.file.tail_damaged:
        # What it held may have been sent, so no number that it can have held is used again.
        return max(newest.first + segment_scans, last + 1)
    return max(newest.first, last + 1)


def _make_folder(folder: Path, disk: Disk) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent, disk)
        disk.make_folder(folder)
        disk.sync_folder(folder.parent)


def _lock(folder: Path) -> BinaryIO:
    lock = open(folder / "lock", "ab")  # noqa: SIM115 - open as long as the outbox is
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise OutboxInUse(
            f"{folder}: another process has this outbox open; stop that first, or only look:"
            " edge-scanner outbox status"
        ) from None
    return lock


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into ours, with what to do about them."""
    try:
        yield
    except EdgeError:
        raise
    except OSError as err:
        if err.errno in _NO_ROOM:
            raise OutboxFull(f"{folder}: the disk is full: make room on it") from err
        cure = _CURES.get(err.errno or 0, "")
        raise OutboxError(f"{folder}: {err.strerror or err}{cure and ': '}{cure}") from err
