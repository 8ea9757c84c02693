"""A disk that tells what was done to it."""

import errno
import os
from pathlib import Path

from edge.scanner.disk import Disk

#: (what, name, ...)
Event = tuple[object, ...]
#: Files by their names.
Contents = dict[str, bytes]


class WatchedDisk(Disk):
    """A disk that notes what is done to it, and fails at what it is told to. Syncs are only noted.

    A disk in itself, without the one of this machine, if it is given *contents*.
    """

    def __init__(self, contents: Contents | None = None) -> None:
        self.events: list[Event] = []
        self.reads = 0
        self.fails: dict[str, int] = {}
        self.takes: int | None = None
        self.free = 1 << 40
        self.read_only = False
        self._names: dict[int, str] = {}
        self._files = None if contents is None else {n: bytearray(c) for n, c in contents.items()}
        self._open: dict[int, bytearray] = {}

    def open(self, path: Path) -> int:
        if not (path.exists() if self._files is None else path.name in self._files):
            self._note("create", path.name)
        if self._files is None:
            fd = super().open(path)
        else:
            fd = 1_000_000 + len(self._names)
            self._open[fd] = self._files.setdefault(path.name, bytearray())
        self._names[fd] = path.name
        return fd

    def close(self, fd: int) -> None:
        if self._files is None:
            super().close(fd)

    def read(self, path: Path) -> bytes:
        self.reads += 1
        self._fail_if_told("read")
        if self._files is None:
            return super().read(path)
        if path.name not in self._files:
            raise FileNotFoundError(errno.ENOENT, "not there", str(path))
        return bytes(self._files[path.name])

    def write(self, fd: int, data: bytes, offset: int) -> int:
        if "write" in self.fails and len(data) > 1:
            # What fails may be half done.
            half = data[: len(data) // 2]
            self.events.append(("write", self._names[fd], offset, half))
            self._put(fd, half, offset)
        taken = data[: self.takes]
        self._note("write", self._names[fd], offset, taken)
        return self._put(fd, taken, offset)

    def truncate(self, fd: int, size: int) -> None:
        self._note("truncate", self._names[fd], size)
        if self._files is None:
            super().truncate(fd, size)
        else:
            del self._open[fd][size:]

    def sync(self, fd: int) -> None:
        if "sync" in self.fails:
            self.events.append(("sync_failed", self._names[fd]))
        self._note("sync", self._names[fd])

    def sync_folder(self, folder: Path) -> None:
        self._note("sync_folder", folder.name)

    def rename(self, old: Path, new: Path) -> None:
        self._note("rename", old.name, new.name)
        if self._files is None:
            super().rename(old, new)
        else:
            self._files[new.name] = self._files.pop(old.name)

    def unlink(self, path: Path) -> None:
        self._note("unlink", path.name)
        if self._files is None:
            super().unlink(path)
        else:
            del self._files[path.name]

    def sizes(self, folder: Path) -> dict[str, int]:
        if self._files is None:
            return super().sizes(folder)
        return {name: len(content) for name, content in self._files.items()}

    def free_bytes(self, folder: Path) -> int:
        return self.free

    def is_read_only(self, folder: Path) -> bool:
        return self.read_only

    def _put(self, fd: int, data: bytes, offset: int) -> int:
        if self._files is None:
            return super().write(fd, data, offset)
        content = self._open[fd]
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        return len(data)

    def _note(self, what: str, *more: object) -> None:
        self._fail_if_told(what)
        self.events.append((what, *more))

    def _fail_if_told(self, what: str) -> None:
        if what in self.fails:
            raise OSError(self.fails[what], os.strerror(self.fails[what]))
