"""Files that are there whole or not at all, at whatever moment the power goes."""

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, chunks: Iterable[bytes], mode: int = 0o600) -> None:
    """Make *chunks* the content of *path*, on disk when this returns; until then it is as it was.

    Raises OSError.
    """
    new = path.with_name(path.name + ".new")
    write_new(new, chunks, mode)
    move_file(new, path)


def make_file(path: Path, chunks: Iterable[bytes], mode: int = 0o600) -> None:
    """Make *path* of *chunks*, on disk when this returns: there whole or not at all.

    Of several processes that make it at once one does, and the others raise FileExistsError, when
    it is there to be read. Raises OSError.
    """
    # A name of our own: what another is just writing is not ours to take or to remove.
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    write_new(new, chunks, mode)
    try:
        os.link(new, path)
    finally:
        new.unlink()
        _sync(path.parent)


def write_new(path: Path, chunks: Iterable[bytes], mode: int = 0o600) -> None:
    """Write *chunks* to *path*, in place of what an earlier attempt may have left there."""
    path.unlink(missing_ok=True)
    # Made by us or not at all: a link that stands under that name, as on a stick that somebody
    # brings, is not followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(path, flags, mode), "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def read_small(path: Path, most_bytes: int = 65_536) -> bytes:
    """What is in *path*, which may be another user's: a file, of no more than *most_bytes*.

    Raises OSError; also for a link, and for a pipe or a device, on none of which it waits.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"more than {most_bytes} bytes", str(path))
    return content


def move_file(old: Path, new: Path) -> None:
    """Give *old* the name *new*, in its own folder, on disk when this returns."""
    os.rename(old, new)
    _sync(new.parent)


def remove_file(path: Path) -> None:
    """Remove *path*, if it is there, from disk when this returns."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def wipe_file(path: Path) -> None:
    """Overwrite what is in *path*, if it is there, and remove it, on disk when this returns.

    A flash card may keep the old blocks for a while where only its maker can read them; a stolen
    unit is therefore revoked as well. A link is removed, and what it points to left alone.
    """
    try:
        with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as err:
        if err.errno != errno.ELOOP:
            raise
    remove_file(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
