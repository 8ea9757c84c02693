"""Which life of an outbox this is: 16 hexadecimal digits, in the file `epoch` of its folder."""

import re
from contextlib import suppress
from pathlib import Path

from edge.scanner.disk import PASSING, Disk

_EPOCH = re.compile(rb"([0-9a-f]{16})\n?")


def read_epoch(folder: Path, disk: Disk) -> str | None:
    """The epoch of the outbox in *folder*; None if there is none to be read."""
    try:
        found = _EPOCH.fullmatch(disk.read(folder / "epoch"))
    except OSError as err:
        if err.errno in PASSING:
            raise
        return None
    return found[1].decode() if found else None


def write_epoch(folder: Path, disk: Disk, epoch: str) -> None:
    """Give the outbox in *folder* its *epoch*. The name is on disk with the next sync of *folder*.

    Raises OSError.
    """
    # Whoever may not read the folder above has not made this one, and need not sync it.
    with suppress(PermissionError):
        disk.sync_folder(folder.parent)
    new = folder / "epoch.new"
    fd = disk.open(new)
    try:
        disk.truncate(fd, 0)
        disk.write_all(fd, f"{epoch}\n".encode(), 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(new, folder / "epoch")
