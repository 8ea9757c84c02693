"""What an outbox's folder holds: all segments by their names, and the scans of a few in memory.

This only reads, and never has more than three segments in memory, whatever the backlog; outbox.py
writes and says what the files mean.
"""

import errno
import logging
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from edge.errors import BadMessage
from edge.messages import Scan
from edge.ranges import Ranges, ranges_of
from edge.scanner.disk import PASSING, Disk
from edge.scanner.epoch import read_epoch
from edge.scanner.segment import SegmentContent, room_for

log = logging.getLogger(__name__)

#: So many are read into memory at a time, and removed at a time.
SEGMENT_SCANS = 256
#: So begins the name of a segment that was found damaged, once nothing in it is pending.
ASIDE = "damaged-"

_NAME = re.compile(r"seg-([0-9]{8,})-([0-9]{16,})\.jsonl")
#: The rate at which scans come is judged over this many.
_RECENT_SCANS = 256


@dataclass(frozen=True)
class OutboxStatus:
    """How an outbox is. What depends on its limits is None where these are not known."""

    epoch: str
    next_seq: int
    pending: int  #: scans not yet confirmed
    bytes: int  #: disk space taken
    oldest_seq: int | None  #: the oldest pending scan, if there is one
    oldest_at: str | None  #: when that was made
    damaged: int  #: pending scans ever found lost or unreadable, at most
    #: pending scans found so far that this software cannot read: they wait for one that can
    unknown: int = 0
    room_scans: int | None = None  #: about how many more can be kept if none is confirmed
    fill: float | None = None  #: 0.0 empty to 1.0 full, as a part of all that can be kept
    scans_per_hour: float | None = None  #: at which they came lately; None if too few did
    hours_left: float | None = None  #: until it is full, at that rate and if none is confirmed


@dataclass(frozen=True)
class Limits:
    """How much of the disk an outbox may take, and in which portions."""

    max_bytes: int
    keep_free_bytes: int
    segment_scans: int = SEGMENT_SCANS
    own_blocks: bool = False

    @property
    def segment_bytes(self) -> int:
        """What the next segment will take."""
        return room_for(self.segment_scans, own_blocks=self.own_blocks)


@dataclass(slots=True)
class SegmentFile:
    """A segment, as far as its name tells."""

    number: int
    first: int
    end: int  #: the next segment's first: numbers from here on are not of this one
    size: int = 0
    damaged: bool = False
    is_open: bool = False  #: scans can still be added
    done_at: float | None = None  #: since when nothing in it is pending

    @property
    def name(self) -> str:
        return f"seg-{self.number:08}-{self.first:016}.jsonl"


@dataclass
class _Page:
    """The scans of one segment, confirmed or not."""

    scans: dict[int, Scan] = field(default_factory=dict)
    #: Scans of other versions of this software, or with fields that it does not know.
    unknown: set[int] = field(default_factory=set)


class Held:
    """What a folder holds."""

    def __init__(
        self, folder: Path, segment_scans: int, disk: Disk, *, is_shared: bool = False
    ) -> None:
        """Look into *folder*; with *is_shared* another process may be at work in it."""
        self.folder = folder
        self._disk = disk
        self._is_shared = is_shared
        self._pages: dict[int, _Page] = {}
        sizes = disk.sizes(folder)
        self.aside = {name: size for name, size in sizes.items() if name.startswith(ASIDE)}
        self.files = _files_in(sizes)
        self.epoch = read_epoch(folder, disk)
        if self.files and self.epoch is None:
            log.error("%s cannot be read", folder / "epoch")
        self.seen_epoch: str | None = None
        self.own_blocks = False
        self.next_seq = 1
        self.gone = Ranges()
        self.unknown = Ranges()
        self.damaged = 0
        self.has_vanished = False
        self._recent: deque[tuple[str, int]] = deque(maxlen=_RECENT_SCANS)
        if self.files:
            self._find_out(segment_scans)

    @property
    def pending(self) -> int:
        return self.next_seq - 1 - len(self.gone)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files) + sum(self.aside.values())

    def status(self, epoch: str, limits: Limits | None) -> OutboxStatus:
        """How it is, with the room that *limits* leave, where these are known."""
        oldest = next(self.scans(), None)
        room = None if limits is None else self.room_scans(limits)
        rate = self._scans_per_hour()
        return OutboxStatus(
            epoch=epoch,
            next_seq=self.next_seq,
            pending=self.pending,
            bytes=self.bytes,
            oldest_seq=oldest.seq if oldest else None,
            oldest_at=oldest.at if oldest else None,
            damaged=self.damaged,
            unknown=len(self.unknown),
            room_scans=room,
            fill=None if room is None else self._fill(room),
            scans_per_hour=None if rate is None else round(rate, 1),
            hours_left=None if room is None or not rate else round(room / rate, 1),
        )

    def scans(self, after: int = 0) -> Iterator[Scan]:
        """The pending scans above *after*, oldest first. Damage is noted and passed over."""
        for at in range(self._place_of(after + 1), len(self.files)):
            file = self.files[at]
            first, last = max(file.first, after + 1), file.end - 1
            pending = self.gone.gaps(first, last)
            if sum(b - a + 1 for a, b in pending) == self.unknown.count(first, last):
                continue
            page = self._load(file)
            for a, b in pending:
                for seq in range(a, b + 1):
                    if scan := page.scans.get(seq):
                        yield scan

    def kept(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Scan]:
        """Those scans of *ranges* that are still on disk, pending or not."""
        for a, b in ranges:
            for at in range(self._place_of(a), len(self.files)):
                file = self.files[at]
                if file.first > b:
                    break
                page = self._load(file)
                for seq in range(max(a, file.first), min(b + 1, file.end)):
                    if scan := page.scans.get(seq):
                        yield scan

    def forget(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Give up *ranges*; gives those of them that were pending."""
        last = self.next_seq - 1
        new = [gap for a, b in ranges for gap in self.gone.gaps(max(a, 1), min(b, last))]
        self.gone.update(new)
        if new and self.unknown:
            self.unknown = Ranges(gap for a, b in self.unknown for gap in self.gone.gaps(a, b))
        return new

    def is_done(self, file: SegmentFile) -> bool:
        """Whether nothing in *file* is pending."""
        return file.first >= file.end or self.gone.covers(file.first, file.end - 1)

    def done(self) -> list[SegmentFile]:
        """The oldest segments, as far as nothing in them is pending; never the newest."""
        done = []
        for file in self.files:
            if file is self.files[-1] or not self.is_done(file):
                break
            done.append(file)
        return done

    def add(self, file: SegmentFile) -> None:
        """*file* is the newest segment now, still empty."""
        self.files.append(file)
        self._keep(file, SegmentContent(b""))

    def add_scan(self, scan: Scan) -> None:
        """*scan* has been written to the newest segment."""
        newest = self.files[-1]
        self._pages[newest.number].scans[scan.seq] = scan
        self.next_seq = newest.end = scan.seq + 1
        self._recent.append((scan.boot, scan.uptime_ms))

    def drop(self, file: SegmentFile) -> None:
        """*file* is removed."""
        self.files.remove(file)
        self._pages.pop(file.number, None)

    def renumber_newest(self, number: int) -> tuple[str, str]:
        """Give the newest segment *number*; gives its old and its new name."""
        newest = self.files[-1]
        self._pages.pop(newest.number, None)
        old, newest.number = newest.name, number
        return old, newest.name

    def room_scans(self, limits: Limits) -> int:
        """About how many more scans *limits* leave room for."""
        # What is kept although confirmed is given up when room is short.
        spare = sum(file.size for file in self.done())
        left = limits.max_bytes - self.bytes
        free = self._disk.free_bytes(self.folder) - limits.keep_free_bytes
        segments = max(0, min(left, free) + spare) // limits.segment_bytes
        return segments * limits.segment_scans + self._room_in_newest(limits)

    def _room_in_newest(self, limits: Limits) -> int:
        if not self.files or not self.files[-1].is_open or not self.files[-1].size:
            return 0
        return max(0, limits.segment_scans - (self.next_seq - self.files[-1].first))

    def _fill(self, room: int) -> float:
        # What was confirmed between pending scans makes no room yet.
        done = self.done()
        taken = self.next_seq - (done[-1].end if done else self.files[0].first if self.files else 1)
        return round(taken / (taken + room), 4) if room else 1.0

    def _scans_per_hour(self) -> float | None:
        # The time since boot, because the wall clock of a unit jumps.
        steps = [b[1] - a[1] for a, b in pairwise(self._recent) if a[0] == b[0] and b[1] >= a[1]]
        took_ms = sum(steps)
        return len(steps) * 3_600_000 / took_ms if took_ms else None

    def _place_of(self, seq: int) -> int:
        return max(bisect_right(self.files, seq, key=lambda file: file.first) - 1, 0)

    def _find_out(self, segment_scans: int) -> None:
        """The next number and what is gone, from the newest segments back to a good first line."""
        newest = self.files[-1]
        found = []
        for file in reversed(self.files):
            content = self._read(file)
            found.append((file, content))
            if file is newest:
                self.next_seq = _next_seq(newest, content, segment_scans)
                newest.is_open = self._is_shared
            if content is not None:
                self.gone.update(content.removed)
                if content.head is not None:
                    self._take_head(content)
                    break
        # Numbers that were forgotten had been given out, even if nothing else tells of them.
        newest.end = self.next_seq = max(self.next_seq, *(b + 1 for _, b in self.gone), 1)
        if self.files[0].first > 1:
            self.gone.add(1, self.files[0].first - 1)
        for file, content in reversed(found):
            page = self._keep(file, content)
            self._recent.extend((scan.boot, scan.uptime_ms) for scan in page.scans.values())

    def _take_head(self, content: SegmentContent) -> None:
        head = content.head or {}
        self.seen_epoch = head.get("epoch")
        self.own_blocks = content.own_blocks
        damaged = head.get("damaged", 0)
        self.damaged += damaged if isinstance(damaged, int) else 0

    def _load(self, file: SegmentFile) -> _Page:
        page = self._pages.get(file.number)
        return self._keep(file, self._read(file)) if page is None else page

    def _read(self, file: SegmentFile) -> SegmentContent | None:
        try:
            return SegmentContent(self._disk.read(self.folder / file.name))
        except OSError as err:
            if err.errno in PASSING:
                raise
            if self._is_shared and err.errno == errno.ENOENT:
                self.has_vanished = True
            else:
                log.error("%s cannot be read: %s", self.folder / file.name, err)
            return None

    def _keep(self, file: SegmentFile, content: SegmentContent | None) -> _Page:
        """Note what *content* lacks, and have its scans in memory until others are needed more."""
        page = _page_of(file, content)
        there = Ranges(ranges_of(sorted(page.scans.keys() | page.unknown)))
        self._lose(file, there.gaps(file.first, file.end - 1))
        self._note_unknown(file, page.unknown)
        while len(self._pages) > 2:
            spare = [number for number in self._pages if number != self.files[-1].number]
            del self._pages[spare[0]]
        if content is not None:
            self._pages[file.number] = page
        return page

    def _lose(self, file: SegmentFile, ranges: Iterable[tuple[int, int]]) -> None:
        lost = [gap for a, b in ranges for gap in self.gone.gaps(a, b)]
        self.gone.update(lost)
        if lost and not self.has_vanished:
            number = sum(b - a + 1 for a, b in lost)
            self.damaged += number
            file.damaged = True
            log.error("%s: %d scans are lost: %s", self.folder / file.name, number, lost[:5])

    def _note_unknown(self, file: SegmentFile, numbers: Iterable[int]) -> None:
        new = [seq for seq in numbers if seq not in self.gone and seq not in self.unknown]
        self.unknown.update((seq, seq) for seq in new)
        if new:
            log.error(
                "%s: %d scans cannot be read by this software; they are kept for one that can",
                self.folder / file.name, len(new),
            )  # fmt: skip


def _files_in(sizes: dict[str, int]) -> list[SegmentFile]:
    """The segments by their numbers, each with the end that the next one's name gives it."""
    names = [(match, size) for name, size in sizes.items() if (match := _NAME.fullmatch(name))]
    files = [SegmentFile(int(match[1]), int(match[2]), 0, size) for match, size in names]
    files.sort(key=lambda file: file.number)
    for file, following in pairwise(files):
        file.end = following.first
    return files


def _page_of(file: SegmentFile, content: SegmentContent | None) -> _Page:
    page = _Page()
    for seq, text in content.documents() if content is not None else ():
        if file.first <= seq < file.end:
            try:
                page.scans[seq] = Scan.decode(bytes(text))
            except BadMessage:
                page.unknown.add(seq)
    return page


def _next_seq(newest: SegmentFile, content: SegmentContent | None, segment_scans: int) -> int:
    """The number behind the last that can have been given out."""
    after_all = newest.first + segment_scans
    if content is None:
        return after_all
    last = max((seq for seq, _ in content.documents()), default=newest.first - 1)
    behind = max(newest.first, last + 1)
    if not content.tail_damaged:
        return behind
    # What it held may have been sent, so no number that it can have held is used again.
    return behind + content.tail_blocks if content.own_blocks else max(after_all, behind)
