"""The disk, as far as keeping scans depends on it."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edge.errors import EdgeError, OutboxError, OutboxFull, OutboxInUse

#: What the system says when a disk is full.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: Of this process at this moment, and no sign that a file is damaged.
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
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


class Disk:
    """Files and their names, and when they are safe; tests watch it, cut its power, let it fail."""

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

    def is_read_only(self, folder: Path) -> bool:
        """Whether the disk takes no writes at all, as after an error of the card."""
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def make_folder(folder: Path, disk: Disk) -> None:
    """Make *folder* and those above it, if missing, to stay."""
    if not folder.is_dir():
        make_folder(folder.parent, disk)
        disk.make_folder(folder)
        disk.sync_folder(folder.parent)


def lock(folder: Path) -> BinaryIO:
    """Lock *folder* until the file given is closed. Raises OutboxInUse, OSError."""
    flags = os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(folder / "lock", os.O_WRONLY | flags, 0o666)
    except OSError as err:
        if err.errno != errno.EROFS:
            raise
        # A card that takes no writes any more has been locked before, and can still be read.
        fd = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    file = open(fd, "rb")  # noqa: SIM115 - open as long as the outbox is
    _hold(file, folder)
    return file


@contextmanager
def at_rest(folder: Path) -> Iterator[None]:
    """Keep scanners out of *folder* meanwhile, without making anything in it, as root may.

    Raises OutboxError.
    """
    with ExitStack() as stack:
        # Where there is none, no scanner was ever at work.
        with explained(folder), suppress(FileNotFoundError):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = stack.enter_context(open(os.open(folder / "lock", flags), "rb"))
            _hold(file, folder)
        yield


@contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Work in *folder* as the user whose it is, where root does: what it makes is his then.

    For a process with one thread. Raises OSError.
    """
    if os.geteuid() != 0:
        yield
        return
    state = folder.stat()
    group = os.getegid()
    os.setegid(state.st_gid)
    os.seteuid(state.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def _hold(file: BinaryIO, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise OutboxInUse(
            f"{folder}: another process has this outbox open; stop that first, or only look:"
            " edge-scanner outbox status"
        ) from None


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into ours, with what to do about them."""
    try:
        yield
    except EdgeError:
        raise
    except OSError as err:
        if err.errno in NO_ROOM:
            raise OutboxFull(f"{folder}: the disk is full: make room on it") from err
        cure = _CURES.get(err.errno or 0, "")
        raise OutboxError(f"{folder}: {err.strerror or err}{cure and ': '}{cure}") from err
