"""How well the disk with the outbox is: how fast it keeps a write, and what it tells of itself.

eMMC tells its wear in tenths (JESD84-B51, life_time and pre_eol_info); SD cards seldom do. ext4
counts its own errors, in its superblock, until somebody repairs it.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EdgeError

#: So many writes of 4 KiB are timed: on a card that is well within half a second.
_WRITES = 20
#: Half of them slower than this, or one slower than that: the card wears out, or was never good.
SLOW_MS, STALL_MS = 60.0, 1_000.0
#: Of its life, in tenths.
_OLD, _ENDED = 8, 10
_PRE_EOL_WARNING, _PRE_EOL_URGENT = 2, 3
_IN_MEMORY = ("tmpfs", "ramfs")
#: What to do about a folder for which `in_memory` is true.
OUT_OF_MEMORY = (
    "is in memory and gone with the power; turn off the overlay file system (sudo raspi-config,"
    " Performance Options), or name a folder on the card or disk in outbox.folder"
)
_REPLACE = "put in another card: edge-provision card"


@dataclass(frozen=True)
class WriteTimes:
    """How long writes took until they were safe, in ms."""

    median_ms: float
    worst_ms: float


def time_writes(folder: Path) -> WriteTimes:
    """Time writes into *folder*. Raises OSError."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix="check-") as file:
        for _ in range(_WRITES):
            file.write(os.urandom(4096))
            file.flush()
            began = time.monotonic()
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - began) * 1000)
    times.sort()
    return WriteTimes(times[len(times) // 2], times[-1])


def mounted(folder: Path, root: Path = Path("/")) -> tuple[str, str, str, str]:
    """Of the mount that holds *folder*: device, where, kind and options; "" where unknown."""
    best = ("", "", "", "")
    text = (root / "proc/mounts").read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        device, where, kind, options, *_ = line.split(" ")
        if folder.resolve().is_relative_to(where) and len(where) >= len(best[1]):
            best = (device, where, kind, options)
    return best


def in_memory(folder: Path, root: Path = Path("/")) -> bool:
    """Whether what is kept in *folder* is in memory and gone with the power.

    So it is below an overlay of which nothing is written to the card, as raspi-config makes it of
    the whole system ("Overlay File System") and as overlayroot does.
    """
    _, _, kind, options = mounted(folder, root)
    if kind != "overlay":
        return kind in _IN_MEMORY
    upper = [o.removeprefix("upperdir=") for o in options.split(",") if o.startswith("upperdir=")]
    # Of another root, as that of a container, it cannot be seen what it is.
    if any(os.path.isdir(p) and mounted(Path(p), root)[2] in _IN_MEMORY for p in upper):
        return True
    words = _text(root / "proc/cmdline").split()
    return any(word == "boot=overlay" or word.startswith("overlayroot=tmpfs") for word in words)


def wear(folder: Path, root: Path = Path("/")) -> tuple[str, bool]:
    """What the disk with *folder* tells of its health, and whether it should be seen to.

    Raises EdgeError, with the cure, where it is at its end or has errors.
    """
    device, _, kind, _ = mounted(folder, root)
    name = Path(device).name
    errors = _number(root / f"sys/fs/ext4/{name}/errors_count") if kind == "ext4" else None
    if errors:
        raise EdgeError(
            f"{device} has {errors} errors of its file system; scans are safe as long as they are"
            f" read: let them be sent, then {_REPLACE}"
        )
    about = _about(name, root)
    tenths = [part for part in _numbers(about / "life_time") if part]
    pre_eol = _number(about / "pre_eol_info") or 0
    if max(tenths, default=0) > _ENDED or pre_eol >= _PRE_EOL_URGENT:
        raise EdgeError(f"{device} has reached the end of its life; {_REPLACE}")
    model = " ".join(filter(None, (_text(about / "name"), _text(about / "date"))))
    said = [f"{model or device or 'unknown disk'}"]
    said.append(f"{10 * max(tenths)} % of its life used" if tenths else "tells no wear")
    if errors is not None:
        said.append("no errors")
    if max(tenths, default=0) >= _OLD or pre_eol >= _PRE_EOL_WARNING:
        return f"{', '.join(said)}: soon {_REPLACE}", True
    return ", ".join(said), False


def _about(name: str, root: Path) -> Path:
    """Where the kernel tells of the card that the partition *name* is on."""
    partition = root / "sys/class/block" / name
    whole = partition.resolve().parent if (partition / "partition").exists() else partition
    return whole / "device"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _numbers(path: Path) -> list[int]:
    numbers = []
    for part in _text(path).split():
        try:
            numbers.append(int(part, 0))
        except ValueError:
            return []
    return numbers


def _number(path: Path) -> int | None:
    return next(iter(_numbers(path)), None)
