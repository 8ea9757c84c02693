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
* A few confirmed segments stay for a while, for a centre that asks again. They give way to new
  scans: what is full is full of pending ones.
* When there is no room, the scans that are held are kept and new ones are refused. The limits are
  looked at before a segment's room is written ahead: a scan that finds its room is not refused.
* What cannot be read is counted as damaged, and its file is put aside, not removed, in its turn.
  The next first line has the count. A scan of a version that is not known here is no damage: it is
  counted apart and stays pending.
"""

import errno
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from tinydb.table import Document

from edge.errors import OutboxError, OutboxFull
from edge.messages import Scan
from edge.scanner.disk import NO_ROOM, Disk, explained, lock, make_folder
from edge.scanner.disk_health import OUT_OF_MEMORY
from edge.scanner.epoch import write_epoch
from edge.scanner.held import ASIDE, SEGMENT_SCANS, Held, Limits, OutboxStatus, SegmentFile
from edge.scanner.outbox_view import OutboxView, read_outbox
from edge.scanner.segment import Segment

__all__ = ["Outbox", "OutboxStatus", "OutboxView", "read_outbox"]

log = logging.getLogger(__name__)

#: So many damaged segments are kept for a closer look; older ones are removed.
KEEP_DAMAGED = 8
#: So many confirmed segments are kept at most, for a centre that asks again.
KEEP_CONFIRMED = 8


class Outbox:
    """The scans of this unit. Any thread may call any method."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        keep_free_bytes: int,
        segment_scans: int = SEGMENT_SCANS,
        own_blocks: bool = False,
        is_volatile: bool = False,
        grace_s: float = 3600.0,
        monotonic: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
    ) -> None:
        """Open the outbox in *folder*, made if missing. Raises OutboxInUse, OutboxError.

        *own_blocks* is for a card that is not power-safe: see segment.py. *is_volatile*: the folder
        is gone with the power, and keeps nothing new. A segment stays for *grace_s* after all of it
        was confirmed, unless its room is needed.
        """
        self._folder = folder
        self._limits = Limits(max_bytes, keep_free_bytes, segment_scans, own_blocks)
        self._is_volatile = is_volatile
        self._grace_s = grace_s
        self._monotonic = monotonic
        self._disk = disk or Disk()
        self._mutex = threading.Lock()
        self._active: Segment | None = None
        self._unlogged = False
        self._damage_logged = 0
        self._removal_unsynced = False
        with explained(folder):
            make_folder(folder, self._disk)
            self._lock = lock(folder)
            try:
                self._held = Held(folder, segment_scans, self._disk)
                self.epoch = self._held.epoch or self._start_epoch()
                self._number = max((file.number for file in self._held.files), default=0)
                self._begin_or_renumber()
            except BaseException:
                self._lock.close()
                raise
        #: The number of this opening, larger than that of any before.
        self.run = self._number
        if is_volatile:
            log.error("%s %s; until then nothing is counted", folder, OUT_OF_MEMORY)
        log.info("%s: %d scans pending, next is %d", folder, self._held.pending, self.next_seq)

    @property
    def next_seq(self) -> int:
        """The number of the next scan."""
        return self._held.next_seq

    @property
    def pending(self) -> int:
        """How many scans are not yet confirmed."""
        with self._mutex:
            return self._held.pending

    def put(self, scan: Scan) -> None:
        """Keep *scan*, on disk when this returns. Raises OutboxFull, OutboxError.

        It must have this epoch and the next number. After an error that number is free again; only
        if the power is cut during the error may the scan turn out to be kept.
        """
        with self._opened() as held:
            if self._is_volatile:
                raise OutboxError(f"{self._folder} {OUT_OF_MEMORY}")
            if (scan.epoch, scan.seq) != (self.epoch, held.next_seq):
                raise ValueError(f"{scan.seq} of epoch {scan.epoch} is not the next scan")
            document = Document(msgspec.to_builtins(scan), doc_id=scan.seq)
            segment = self._ready()
            with self._leaving_if_it_fails():
                segment.insert(document)
            self._unlogged = False
            held.add_scan(scan)

    def has_room(self) -> bool:
        """Whether another scan can be kept, as far as that can be told beforehand.

        Costs nothing while it can. Otherwise it makes what the next `put` needs besides its own
        line, or finds that it cannot.
        """
        try:
            with self._opened():
                if self._is_volatile:
                    return False
                self._ready()
                return not self._disk.is_read_only(self._folder)
        except OutboxError:
            return False

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

    def recall(self, ranges: Iterable[tuple[int, int]], limit: int = 500) -> list[Scan]:
        """The first *limit* scans of *ranges* that are still on disk, confirmed or not.

        For a centre that misses some. Nothing changes: who asks again gets them again.
        """
        with self._opened() as held:
            return list(islice(held.kept(ranges), limit))

    def status(self) -> OutboxStatus:
        """How the outbox is now."""
        with self._opened() as held:
            return held.status(self.epoch, self._limits)

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
    def _opened(self) -> Iterator[Held]:
        with self._mutex, explained(self._folder):
            if self._lock.closed:
                raise OutboxError(f"{self._folder}: the outbox is closed")
            yield self._held

    def _flush(self) -> None:
        if not self._unlogged:
            return
        try:
            # Where no segment holds a scan, the name of the only one says it all.
            if self._held.files[0].first == self.next_seq:
                self._sync_removal()
            else:
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
        held = self._held
        full = held.next_seq - held.files[-1].first >= self._limits.segment_scans
        if self._active is None or full or self._active.file.is_full or self._has_unlogged_damage():
            self._begin()
        active = self._active
        assert active is not None
        if not active.file.is_prepared:
            self._make_room()
            with self._leaving_if_it_fails():
                head = {"epoch": self.epoch, "damaged": held.damaged}
                active.file.prepare(head, held.gone)
            held.files[-1].size = active.file.size
            self._damage_logged = held.damaged
            self._tidy()
        return active

    def _has_unlogged_damage(self) -> bool:
        # The first line of a new segment tells of it, if there is room for one.
        found = self._held.files[-1].size and self._held.damaged != self._damage_logged
        return bool(found) and not self._lack()

    def _make_room(self) -> None:
        """See to the room for a segment; what is confirmed gives way."""
        while lack := self._lack():
            done = self._held.done()
            if not done or not self._remove(done[0]):
                raise OutboxFull(f"{self._folder}: {lack}")

    def _lack(self) -> str:
        limits, coming = self._limits, self._limits.segment_bytes
        if self._held.bytes + coming > limits.max_bytes:
            return (
                f"{self._held.pending} scans have reached the limit of {limits.max_bytes} bytes:"
                " connect the unit so that it can send them"
            )
        if self._disk.free_bytes(self._folder) - coming < limits.keep_free_bytes:
            return (
                f"{limits.keep_free_bytes} bytes of the disk must stay free:"
                " make room, or connect the unit so that it can send its scans"
            )
        return ""

    def _begin(self) -> None:
        """Start the next segment: its name is on disk when this returns."""
        self._release()
        held = self._held
        self._number += 1
        file = SegmentFile(self._number, held.next_seq, held.next_seq, is_open=True)
        path = self._folder / file.name
        try:
            self._active = Segment(
                path,
                documents=self._limits.segment_scans,
                own_blocks=self._limits.own_blocks,
                disk=self._disk,
            )
        except OSError as err:
            with suppress(OSError):
                self._disk.unlink(path)
            self._tidy(give_all=err.errno in NO_ROOM)
            raise
        self._removal_unsynced = False
        held.add(file)
        self._tidy()

    def _begin_or_renumber(self) -> None:
        """Start the run's segment. Where the disk has no room for a name, the newest is renamed.

        That is not written to, but its scans can be sent, which makes room. So can those of a disk
        that takes no writes any more; its runs are all alike.
        """
        try:
            self._begin()
        except OSError as err:
            if err.errno not in (*NO_ROOM, errno.EROFS) or not self._held.files:
                raise
            if err.errno == errno.EROFS:
                log.error(
                    "%s: the disk takes no writes: scans can be sent, not kept; once it is empty,"
                    " put in another card",
                    self._folder,
                )
                return
            log.warning("%s: the disk is full: scans can be sent, not kept", self._folder)
            old, new = self._held.renumber_newest(self._number)
            self._disk.rename(self._folder / old, self._folder / new)
            self._disk.sync_folder(self._folder)

    @contextmanager
    def _leaving_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            # What the kernel and the disk now have of this segment is anyone's guess. The name of
            # the next makes void what the write may have left there.
            self._release()
            with suppress(OSError):
                self._begin()
            if err.errno in NO_ROOM:
                self._tidy(give_all=True)
            raise

    def _release(self) -> None:
        # Not flushed: the first line of the next segment will have everything.
        if self._active is not None:
            self._held.files[-1].is_open = False
            self._active.file.abandon()
            self._active = None

    def _tidy(self, *, give_all: bool = False) -> None:
        """Remove the segments of which nothing is needed; *give_all* grants none any grace."""
        files, now = self._held.files, self._monotonic()
        done = self._held.done()
        damaged = max((place for place, file in enumerate(done, 1) if file.damaged), default=0)
        spare = len(done) if give_all else max(damaged, len(done) - KEEP_CONFIRMED)
        for file in done:
            file.done_at = now if file.done_at is None else file.done_at
        for place, file in enumerate(done):
            if place >= spare and now - (file.done_at or 0.0) < self._grace_s:
                break
            if not self._remove(file):
                break
        # One that never held a scan: its first write failed, or none came. Until the newest has its
        # first line, what that one says was forgotten is needed.
        is_empty = len(files) > 1 and files[-2].first == files[-2].end
        if is_empty and (files[-1].size or not files[-2].size):
            self._remove(files[-2])

    def _remove(self, file: SegmentFile) -> bool:
        path = self._folder / file.name
        try:
            self._sync_removal()
            self._removal_unsynced = True
            if file.damaged:
                self._put_aside(file)
            else:
                self._disk.unlink(path)
        except FileNotFoundError:
            pass  # As it should be, whoever did it.
        except OSError as err:
            # Of a disk that takes no writes is told otherwise, and each look at it comes here.
            level = logging.DEBUG if err.errno == errno.EROFS else logging.WARNING
            log.log(level, "%s cannot be removed: %s", path, err)
            return False
        self._held.drop(file)
        return True

    def _sync_removal(self) -> None:
        if self._removal_unsynced:
            self._disk.sync_folder(self._folder)
            self._removal_unsynced = False

    def _put_aside(self, file: SegmentFile) -> None:
        aside, name = self._held.aside, ASIDE + file.name
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
        # The new name is synced along with that of the segment that comes next.
        write_epoch(self._folder, self._disk, epoch)
        return epoch
