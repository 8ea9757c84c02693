"""Every state that a power cut may leave of an outbox is opened, and must hold what it promised.

First on a disk that is simulated (see crash.py), then on a real ext4 whose power is cut.
"""

import fcntl
import io
import logging
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tinydb import TinyDB
from tinydb.table import Document

from edge.messages import Scan
from edge.scanner.disk import Disk
from edge.scanner.outbox import Outbox
from edge.scanner.segment import SegmentStorage
from tests.scanner.crash import Cut, Told, Work, opened, put
from tests.scanner.watched_disk import Contents, Event, WatchedDisk

#: Puts and forgets in a history, and mixtures of lost, torn and reordered writes at each cut in it.
OPERATIONS = 500
MIXTURES = 40
#: Of so many states one is cut again while it is opened and written to.
RECOVERIES = 100


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # What is spoiled is told each time.
    caplog.set_level(logging.CRITICAL)


class History:
    """What a disk and an outbox went through, and how to look at what a cut leaves of it."""

    def __init__(self, folder: Path, seed: int, operations: int, own_blocks: bool = False) -> None:
        self.folder = folder
        self.own_blocks = own_blocks
        self.rng = random.Random(seed)
        disk = WatchedDisk({})
        folder.mkdir()
        work = Work(folder, disk, self.rng, own_blocks=own_blocks)
        while work.done < operations:
            work.step()
        work.stop()
        self.events = disk.events
        self.states = 0
        self.recoveries = 0

    def check(self, *, spoils: bool = False, without: str = "") -> None:
        """Cut at every event; the disk is not told of those of the kind *without*."""
        cut, told = Cut({}, spoils=spoils), Told()
        seen: set[int] = set()
        for event in self.events:
            if event[0] != without:
                cut.feed(event)
            if told.feed(event):
                # The same state may now be wrong.
                seen.clear()
            for contents in cut.leaves(self.rng, MIXTURES):
                state = hash(frozenset(contents.items()))
                if state not in seen:
                    seen.add(state)
                    self._check_state(contents, told, spoils)

    def _check_state(self, contents: Contents, told: Told, spoils: bool) -> None:
        self.states += 1
        disk = WatchedDisk(contents)
        after = told.copy() if self.states % RECOVERIES == 0 else None
        with self._opened(disk) as outbox:
            told.check(outbox, damaged=1 if spoils else 0)
            kept = put(outbox, 2)
        with self._opened(disk) as outbox:
            assert outbox.oldest(100_000)[-2:] == kept
        if after is not None:
            after.tried |= {scan.id: scan for scan in kept}
            self._check_recovery(contents, disk.events, after, spoils)

    def _check_recovery(
        self, contents: Contents, events: list[Event], told: Told, spoils: bool
    ) -> None:
        """Cut again while what the first cut left was being opened and written to."""
        cut = Cut(contents, spoils=spoils)
        for event in events:
            cut.feed(event)
            for left in cut.leaves(self.rng, 8):
                self.recoveries += 1
                with self._opened(WatchedDisk(left)) as outbox:
                    told.check(outbox, damaged=2 if spoils else 0)

    def _opened(self, disk: WatchedDisk) -> Outbox:
        return opened(self.folder, disk, 3, own_blocks=self.own_blocks)


def test_no_power_cut_loses_repeats_or_invents_a_scan(tmp_path: Path) -> None:
    history = History(tmp_path / "outbox", 1, OPERATIONS)

    history.check()

    assert history.states > 3000
    assert history.recoveries > 500


def test_in_blocks_of_their_own_scans_outlive_a_card_that_spoils_blocks(tmp_path: Path) -> None:
    history = History(tmp_path / "outbox", 2, OPERATIONS, own_blocks=True)

    history.check(spoils=True)

    assert history.states > 1000


# The test can fail


def test_a_card_that_spoils_blocks_takes_scans_along_where_they_share_them(tmp_path: Path) -> None:
    history = History(tmp_path / "outbox", 2, OPERATIONS)

    with pytest.raises(AssertionError):
        history.check(spoils=True)


@pytest.mark.parametrize("without", ["sync", "sync_folder"])
def test_an_outbox_without_a_sync_is_caught(tmp_path: Path, without: str) -> None:
    history = History(tmp_path / "outbox", 3, OPERATIONS)

    with pytest.raises(AssertionError):
        history.check(without=without)


def removes_any(self: Outbox, *, give_all: bool = False) -> None:
    for file in self._held.files[:-1]:
        if self._held.is_done(file):
            self._remove(file)


def prepares_without_gone(self: SegmentStorage, head: Any = None, removed: Any = ()) -> None:
    PREPARE(self, head)


PREPARE = SegmentStorage.prepare


@contextmanager
def goes_on_under_the_old_name(self: Outbox) -> Iterator[None]:
    try:
        yield
    except OSError:
        self._release()
        raise


@contextmanager
def goes_on_in_the_segment(self: Outbox) -> Iterator[None]:
    yield


def write_line_again(self: SegmentStorage, line: bytes, offset: int) -> None:
    self._disk.write_all(self._fd, line, offset)
    self._disk.sync(self._fd)


def puts_into_memory_first(self: Outbox, scan: Scan) -> None:
    with self._opened() as held:
        segment = self._ready()
        held.add_scan(scan)
        with self._leaving_if_it_fails():
            segment.insert(Document(msgspec.to_builtins(scan), doc_id=scan.seq))


@pytest.mark.parametrize(
    "mistakes",
    [
        [(Outbox, "_tidy", removes_any)],
        [(SegmentStorage, "prepare", prepares_without_gone)],
        [(Outbox, "_leaving_if_it_fails", goes_on_under_the_old_name)],
        [
            (Outbox, "_leaving_if_it_fails", goes_on_in_the_segment),
            (SegmentStorage, "_write_line", write_line_again),
        ],
        [(Outbox, "put", puts_into_memory_first)],
    ],
    ids=lambda mistakes: mistakes[0][2].__name__,
)
def test_a_mistake_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistakes: list[tuple[type, str, Any]]
) -> None:
    for where, name, mistake in mistakes:
        monkeypatch.setattr(where, name, mistake)

    with pytest.raises(AssertionError):
        History(tmp_path / "outbox", 4, OPERATIONS).check()


class WatchedFile(io.FileIO):
    """A file whose writes are noted."""

    def __init__(self, path: Path, events: list[Event]) -> None:
        super().__init__(path, "r+")
        self._events = events

    def write(self, data: Any) -> int:
        self._events.append(("write", "db", self.tell(), bytes(data)))
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self._events.append(("truncate", "db", self.tell() if size is None else size))
        return super().truncate(size)


def test_stock_tinydb_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    monkeypatch.setattr("tinydb.storages.os.fsync", lambda fd: events.append(("sync", "db")))
    (tmp_path / "db").touch()
    stock: Any = TinyDB(tmp_path / "db")
    stock.storage._handle = io.TextIOWrapper(
        io.BufferedRandom(WatchedFile(tmp_path / "db", events))
    )
    for number in range(1, 31):
        stock.insert(Document({"text": "x" * 300}, doc_id=number))
        events.append(("kept", number, ""))
        if number % 3 == 0:
            events.append(("forgotten", number - 1))
            stock.remove(doc_ids=[number - 1])
    stock.close()

    cut, told, rng, failures = Cut({"db": b""}), Told(), random.Random(1), []
    for event in events:
        cut.feed(event)
        told.feed(event)
        for contents in cut.leaves(rng, MIXTURES):
            (tmp_path / "after").write_bytes(contents["db"])
            try:
                found = {document.doc_id for document in TinyDB(tmp_path / "after")}
            except (ValueError, AttributeError) as err:
                failures.append(f"does not open: {err}")
            else:
                if lost := told.kept.keys() - told.forgotten - found:
                    failures.append(f"lost: {lost}")

    assert any("does not open" in failure for failure in failures)


# A real disk


class Card:
    """An ext4 in a file, mounted while this is entered, whose power can be cut."""

    #: _IOR('X', 125, __u32), and to drop what its journal has not written yet.
    EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2

    def __init__(self, image: Path) -> None:
        self._image = image
        self.folder = image.with_suffix(".mounted")

    def __enter__(self) -> "Card":
        self.folder.mkdir()
        _run("mount", "-o", "loop,noatime", self._image, self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", self.folder)
        self._image.unlink()

    def copy(self, name: str) -> "Card":
        """What is on this one's disk, as another.

        The same one would still be cut off after an umount if another program had meanwhile taken
        its own look at all that is mounted.
        """
        _run("cp", "--sparse=always", self._image, self._image.with_name(name))
        return Card(self._image.with_name(name))

    def cut(self) -> None:
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, self.EXT4_IOC_SHUTDOWN, struct.pack("I", self.NOLOGFLUSH))
        finally:
            os.close(fd)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


class PowerGone(BaseException):
    """There is nobody left to handle this."""


class CutDisk(WatchedDisk):
    """A real disk, whose power goes at one of its operations."""

    def __init__(self, card: Card, at: int) -> None:
        super().__init__()
        self._card = card
        self._left = at
        self._fds: set[int] = set()

    def open(self, path: Path) -> int:
        fd = super().open(path)
        self._fds.add(fd)
        return fd

    def close(self, fd: int) -> None:
        self._fds.remove(fd)
        super().close(fd)

    def let_go(self) -> None:
        """Close what nobody closed, as the end of a process does."""
        for fd in self._fds:
            os.close(fd)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        if "sync" not in self.fails:
            Disk.sync(self, fd)

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        Disk.sync_folder(self, folder)

    def _note(self, what: str, *more: object) -> None:
        super()._note(what, *more)
        self._left -= 1
        if not self._left:
            self._card.cut()
            raise PowerGone


@pytest.fixture
def card(tmp_path: Path) -> Card:
    """A formatted card, to be copied."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("cuts the power of a disk of its own: run as root, with mkfs.ext4 installed")
    with open(tmp_path / "card", "wb") as file:
        file.truncate(32 << 20)
    _run("mkfs.ext4", "-q", "-F", tmp_path / "card")
    card = Card(tmp_path / "card")
    try:
        with card.copy("try"):
            pass
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f"this machine cannot mount a disk of its own: {err}")
    return card


@pytest.mark.parametrize("own_blocks", [False, True])
def test_a_real_disk_has_each_scan_after_its_power_was_cut(card: Card, own_blocks: bool) -> None:
    rng = random.Random(5)
    kept = 0
    for round_ in range(15):
        with card.copy(f"before-{round_}") as before:
            folder = before.folder / "outbox"
            folder.mkdir()
            Disk().sync_folder(before.folder)
            disk = CutDisk(before, rng.randrange(20, 150))
            work = Work(folder, disk, rng, own_blocks=own_blocks)
            with suppress(PowerGone):
                while True:
                    work.step()
            work.stop()
            disk.let_go()
            after = before.copy(f"after-{round_}")
        told = Told()
        for event in disk.events:
            told.feed(event)
        with after, opened(after.folder / "outbox", segment_scans=3) as outbox:
            told.check(outbox)
        kept += len(told.kept)
    assert kept > 100
