"""A record that can only grow: JSON lines, each of which seals the one before by its hash.

Whoever changes, drops or inserts a line breaks the chain from there on, and `verify` names the
line. Only the end can be cut off unseen; therefore the hash of the newest line, the head, is given
out with each entry, to be kept elsewhere (the journal of another machine, paper), and `verify`
takes it. Used for the desk's audit and for the receipts of what was erased, on every tier.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import ChainBroken, ChainError

_BEGINNING = "0" * 64


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chain."""

    n: int
    at: str
    what: str
    facts: dict[str, Any]
    #: The hash of the line before.
    before: str

    def encode(self) -> bytes:
        """This entry as the line that it is, without its end."""
        return msgspec.json.encode(self, order="deterministic")


@dataclass(frozen=True)
class Head:
    """The end of a chain."""

    entries: int
    hash: str


class Chain:
    """A chain in a file, which several processes may write to by turns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, at: str, what: str, facts: dict[str, Any]) -> Head:
        """Add an entry, on disk when this returns. Raises ChainError; nothing is added then.

        Raises ChainBroken where the last line is not as it was written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(self._path, flags, 0o640), "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._leave_to_the_folders_owner(file)
                last = self._last_line(file)
                number = _entry(last, self._path).n + 1 if last is not None else 1
                entry = Entry(n=number, at=at, what=what, facts=facts, before=_hash(last))
                line = entry.encode()
                self._add(file, line + b"\n")
        except ChainError:
            raise
        except OSError as err:
            raise ChainError(f"{self._path}: cannot write this record: {err.strerror}") from err
        return Head(number, _hash(line))

    def _leave_to_the_folders_owner(self, file: Any) -> None:
        """A record that root begins, as by sudo, is gone on with by a service that is not root."""
        begun = os.fstat(file.fileno())
        if os.geteuid() != 0 or begun.st_size or begun.st_nlink != 1:
            return
        folder = self._path.parent.stat()
        # Where root may not, as in a container, it stays as it is.
        with suppress(OSError):
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)

    def _add(self, file: Any, line: bytes) -> None:
        """Write *line* at the end, whole, or leave the file as it was. Raises OSError."""
        size = file.seek(0, os.SEEK_END)
        try:
            left = memoryview(line)
            while left:
                # On a full disk fewer bytes may be taken than were given.
                taken = file.write(left)
                if not taken:
                    raise OSError(errno.EIO, "the disk takes no more bytes")
                left = left[taken:]
            os.fsync(file.fileno())
        except OSError:
            # Should this fail too, the next entry cuts off what is no whole line.
            with suppress(OSError):
                file.truncate(size)
            raise

    def head(self) -> Head:
        """Its end now."""
        return verify(self._path)

    def _last_line(self, file: Any) -> bytes | None:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return None
        tail = b""
        while b"\n" not in tail[:-1] and len(tail) < size:
            start = max(0, size - len(tail) - 65_536)
            file.seek(start)
            tail = file.read(size - len(tail) - start) + tail
        if not tail.endswith(b"\n"):
            # Of a write that a power cut ended: nobody was told that it was there.
            whole = tail[: tail.rfind(b"\n") + 1]
            file.truncate(size - len(tail) + len(whole))
            tail = whole
        return tail[:-1].rpartition(b"\n")[2] if tail else None


def entries(path: Path) -> Iterator[Entry]:
    """The entries of the chain in *path*, oldest first, each checked as it comes.

    Raises ChainError that names the first line that is not as it was written.
    """
    before = _BEGINNING
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                line = line[:-1]
                entry = _entry(line, path)
                if entry.n != number or entry.before != before or entry.encode() != line:
                    raise ChainBroken(
                        f"{path}: line {number} does not follow the one before it: the record was"
                        " changed; keep the file as evidence and compare it with a backup"
                    )
                before = _hash(line)
                yield entry
    except ChainError:
        raise
    except FileNotFoundError:
        return
    except OSError as err:
        raise ChainError(f"{path}: cannot read this record: {err.strerror}") from err


def verify(path: Path, head: str = "") -> Head:
    """Read the whole chain and give its end; *head* is one that was noted earlier.

    Raises ChainError if a line was changed, or if none has the hash *head*: its end was cut off.
    """
    last = _BEGINNING
    count = 0
    found = not head
    for entry in entries(path):
        last = _hash(entry.encode())
        count += 1
        found = found or last == head
    if not found:
        raise ChainError(
            f"{path}: no line has the hash {head[:16]}…: its end was cut off or rewritten"
        )
    return Head(count, last)


def _entry(line: bytes, path: Path) -> Entry:
    try:
        return msgspec.json.decode(line, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise ChainBroken(f"{path}: a line is not one of this record; it was changed") from err


def _hash(line: bytes | None) -> str:
    return _BEGINNING if line is None else hashlib.sha256(line).hexdigest()
