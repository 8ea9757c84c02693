"""Power cuts, simulated: what a disk may hold after one, and whether an outbox keeps its word.

A disk of ours notes every operation as an event (what, name, ...). `Cut` is fed with them and gives
what may be left; `Told` is fed with the same list, in which the outbox's own answers stand as well,
and says what must be found.
"""

import errno
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import OutboxError
from edge.messages import Scan
from edge.scanner.disk import Disk
from edge.scanner.outbox import Outbox
from tests.fakes import a_scan
from tests.scanner.watched_disk import Contents, Event, WatchedDisk

SECTOR, BLOCK = 512, 4096
#: What a card makes of a block that it cannot finish; few, so that few states differ by it alone.
GARBAGE = (b"\xff" * BLOCK, random.Random(0).randbytes(BLOCK))


@dataclass
class File:
    """A file's content on disk, and what was done to it since its last sync."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    #: Sectors that a failed sync covered: the system takes them for written, which they may be, or
    #: not, for good.
    doubtful: dict[int, bytes] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return not self.pending and not self.doubtful

    def after(self, rng: random.Random, fates: Sequence[str]) -> bytes:
        """Its content when each write that was not synced meets one of *fates*, by chance."""
        if self.is_settled:
            return self.durable
        content = bytearray(self.durable)
        for start, sector in self.doubtful.items():
            if rng.choice(fates) not in ("lost", "sized"):
                _overwrite(content, start, sector)
        for offset, data in self.pending:
            fate = rng.choice(fates)
            if data is None:
                if fate != "lost":
                    del content[offset:]
                continue
            if fate == "lost":
                continue
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            if fate == "kept":
                _overwrite(content, offset, data)
            elif fate == "garbage":
                _spoil(content, offset, len(data), rng)
            elif fate != "sized":
                for start, part in _parts(offset, data, int(fate)):
                    if rng.random() < 0.5:
                        _overwrite(content, start, part)
        return bytes(content)

    def sync(self) -> None:
        content = bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                del content[offset:]
                self.doubtful = {s: sector for s, sector in self.doubtful.items() if s < offset}
            else:
                _overwrite(content, offset, data)
                self._settle(offset, data)
        self.durable, self.pending = bytes(content), []

    def sync_failed(self) -> None:
        durable = self.durable
        touched = {
            start // SECTOR * SECTOR
            for offset, data in self.pending
            for start, _ in _parts(offset, data or b"", SECTOR)
        }
        self.sync()
        for start in touched:
            self.doubtful[start] = self.durable[start : start + SECTOR]
        self.durable = durable

    def _settle(self, offset: int, data: bytes) -> None:
        for start in [s for s in self.doubtful if s < offset + len(data) and s + SECTOR > offset]:
            if offset <= start and start + SECTOR <= offset + len(data):
                del self.doubtful[start]
                continue
            sector = bytearray(self.doubtful[start])
            low, high = max(start, offset), min(start + SECTOR, offset + len(data))
            _overwrite(sector, low - start, data[low - offset : high - offset])
            self.doubtful[start] = bytes(sector)


class Cut:
    """A folder on a disk, fed with events; gives what a cut may leave of it.

    Names that were not synced may be there or not, as data may, in the order they were made in or
    in any. With *spoils*, a block turns to garbage if the cut hits a write to a part of it.
    """

    def __init__(self, contents: Contents, *, spoils: bool = False) -> None:
        self._names = {name: File(content) for name, content in contents.items()}
        self._durable = dict(self._names)
        self._pending: list[tuple[str, str, File]] = []
        self._fates = ["lost", "kept", "512", "4096", "sized"]
        if spoils:
            self._fates += ["garbage", "garbage"]

    def feed(self, event: Event) -> None:
        match event:
            case ("create", str(name)):
                self._change("link", name, File())
            case ("write", str(name), int(offset), bytes(data)):
                self._names[name].pending.append((offset, data))
            case ("truncate", str(name), int(size)):
                self._names[name].pending.append((size, None))
            case ("sync", str(name)):
                self._names[name].sync()
            case ("sync_failed", str(name)):
                self._names[name].sync_failed()
            case ("rename", str(old), str(new)):
                self._change("link", new, self._names[old])
                self._change("unlink", old, self._names[old])
            case ("unlink", str(name)):
                self._change("unlink", name, self._names[name])
            case ("sync_folder", "outbox"):
                self._durable, self._pending = dict(self._names), []

    def leaves(self, rng: random.Random, mixtures: int) -> Iterator[Contents]:
        """All lost, all kept, and so many mixtures; fewer where nothing is left to chance."""
        files = [*self._names.values(), *self._durable.values()]
        if not self._pending and all(file.is_settled for file in files):
            mixtures = 0
        yield self._left(rng, 0, ("lost",))
        yield self._left(rng, len(self._pending), ("kept",))
        for _ in range(mixtures):
            yield self._left(rng, rng.randrange(len(self._pending) + 1), self._fates)

    def _left(self, rng: random.Random, number: int, fates: Sequence[str]) -> Contents:
        places: Sequence[int] = range(number)
        if rng.random() < 0.5:
            places = sorted(rng.sample(range(len(self._pending)), number))
        names = dict(self._durable)
        for place in places:
            self._apply(names, *self._pending[place])
        return {name: file.after(rng, fates) for name, file in names.items()}

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
    tried: dict[str, Scan] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    kept: dict[int, str] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)
    #: Forgotten since the last opening, and not yet written down.
    unsettled: set[int] = field(default_factory=set)
    #: Those that must not come back any more.
    settled: set[int] = field(default_factory=set)

    def feed(self, event: Event) -> bool:
        """Take *event*; gives whether more is expected from now on."""
        match event:
            case ("opened", str(epoch), int(run)):
                self.epoch, self.run = epoch, run
                self.unsettled = set()
            case ("tried", Scan() as scan):
                self.tried[scan.id] = scan
            case ("refused", str(scan_id)):
                self.refused.add(scan_id)
            case ("kept", int(seq), str(scan_id)):
                assert seq not in self.kept, f"{seq} was given out twice"
                self.kept[seq] = scan_id
                self.settled |= self.unsettled
            case ("forgotten", int(seq)):
                self.forgotten.add(seq)
                self.unsettled.add(seq)
            case ("flushed",):
                self.settled |= self.unsettled
            case _:
                return False
        return True

    def copy(self) -> "Told":
        return Told(self.epoch, self.run, dict(self.tried), set(self.refused), dict(self.kept),
                    set(self.forgotten), set(self.unsettled), set(self.settled))  # fmt: skip

    def check(self, outbox: Outbox, damaged: int = 0) -> None:
        """Fail unless *outbox* has all that it must, and nothing else."""
        scans = outbox.oldest(100_000)
        pending = {scan.seq: scan.id for scan in scans}
        assert [scan.seq for scan in scans] == sorted(pending), "out of order"
        lost = self.kept.keys() - pending.keys() - self.forgotten
        assert not lost, f"lost: {lost}"
        assert all(self.tried.get(scan.id) == scan for scan in scans), "invented"
        assert all(self.kept.get(seq, pending[seq]) == pending[seq] for seq in pending), "twice"
        assert not self.refused & {*pending.values()}, "a scan that was refused is back"
        assert not self.settled & pending.keys(), "a scan that was gone for good is back"
        assert outbox.next_seq > max(self.kept, default=0), "a number would repeat"
        assert outbox.run > self.run, "the run would repeat"
        assert outbox.epoch == (self.epoch or outbox.epoch), "the epoch is another"
        assert outbox.status().pending == len(pending), "the count is wrong"
        assert outbox.status().damaged <= damaged, "a cut was taken for damage"


def opened(
    folder: Path,
    disk: Disk | None = None,
    segment_scans: int = 4,
    *,
    grace_s: float = 0.0,
    own_blocks: bool = False,
) -> Outbox:
    """An outbox without limits, in small segments."""
    return Outbox(
        folder,
        max_bytes=1 << 40,
        keep_free_bytes=0,
        segment_scans=segment_scans,
        own_blocks=own_blocks,
        grace_s=grace_s,
        disk=disk or WatchedDisk(),
    )


def seqs(outbox: Outbox) -> list[int]:
    """The numbers of all pending scans."""
    return [scan.seq for scan in outbox.oldest(1_000_000)]


def segments(folder: Path) -> list[Path]:
    """The files of the segments, in their order."""
    return sorted(folder.glob("seg-*"))


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


class Work:
    """Uses an outbox for a while, as a unit does; what it says becomes events among the disk's."""

    def __init__(
        self, folder: Path, disk: WatchedDisk, rng: random.Random, *, own_blocks: bool = False
    ) -> None:
        self._folder = folder
        self._disk = disk
        self._rng = rng
        self._own_blocks = own_blocks
        #: How many scans were kept or forgotten.
        self.done = 0
        self._open()

    def step(self) -> None:
        """One put, forgetting, flush or restart, some of them on a disk that fails."""
        chance = self._rng.random()
        fails = self._rng.choice(("write", "sync")) if self._rng.random() < 0.08 else ""
        self._disk.fails = {fails: errno.EIO} if fails else {}
        if chance < 0.55:
            self._put()
        elif chance < 0.92:
            self._forget()
        elif chance < 0.97:
            self._outbox.flush()
            if not fails:
                self._disk.events.append(("flushed",))
        else:
            self._disk.fails = {}
            pull_the_plug(self._outbox)
            self._open()
        self._disk.fails = {}

    def stop(self) -> None:
        pull_the_plug(self._outbox)

    def _open(self) -> None:
        self._outbox = opened(self._folder, self._disk, 3, grace_s=self._rng.choice((0.0, 1e9)),
                              own_blocks=self._own_blocks)  # fmt: skip
        self._disk.events.append(("opened", self._outbox.epoch, self._outbox.run))

    def _put(self) -> None:
        outbox = self._outbox
        scan = a_scan(outbox.next_seq, outbox.epoch, sealed=self._rng.randbytes(330))
        before = outbox.oldest(100_000)
        self._disk.events.append(("tried", scan))
        try:
            outbox.put(scan)
        except OutboxError:
            assert outbox.oldest(100_000) == before, "a refused scan is in memory"
            self._disk.events.append(("refused", scan.id))
        else:
            assert outbox.oldest(100_000) == [*before, scan]
            self._disk.events.append(("kept", scan.seq, scan.id))
            self.done += 1

    def _forget(self) -> None:
        # Mostly the oldest; at times some in the middle, where they leave a hole.
        pending = [scan.seq for scan in self._outbox.oldest(40)]
        start = self._rng.randrange(len(pending) + 1) if self._rng.random() < 0.3 else 0
        for seq in pending[start : start + self._rng.randrange(1, 8)]:
            self._disk.events.append(("forgotten", seq))
            self._outbox.forget([(seq, seq)])
            self.done += 1


def _overwrite(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data


def _parts(offset: int, data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """*data* as the disk takes it: in pieces that end at multiples of *size*."""
    end = offset + len(data)
    for start in range(offset // size * size, end, size):
        low, high = max(start, offset), min(start + size, end)
        yield low, data[low - offset : high - offset]


def _spoil(content: bytearray, offset: int, length: int, rng: random.Random) -> None:
    # Any of the blocks that are being written, and at least one.
    blocks = range(offset // BLOCK * BLOCK, offset + length, BLOCK)
    for start in rng.sample(blocks, rng.randint(1, len(blocks))):
        _overwrite(content, start, rng.choice(GARBAGE))
