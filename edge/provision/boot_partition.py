"""Writes a card: the files of ours on the boot partition of a stock Raspberry Pi OS.

Works offline, on any computer to which the card's first partition (FAT, "bootfs") is mounted. The
kernel's command line is changed last, so that a card pulled out too early is still a stock card.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from edge.card import FILE, FOLDER, MAX_BYTES, read_card
from edge.errors import CardError, EdgeError, ProvisionError
from edge.files import read_small, replace_file

COMMAND_LINE = "cmdline.txt"
FIRST_BOOT = "first-boot"
PACKAGES = "packages"
FORMER = "cmdline.former"

#: systemd's own words, the same on Bookworm and Trixie.
_OURS = (
    f"systemd.run=/boot/firmware/{FOLDER}/{FIRST_BOOT}",
    "systemd.run_success_action=reboot",
    "systemd.run_failure_action=none",
    "systemd.unit=kernel-command-line.target",
)
_PIECE_BYTES = 1 << 20
#: Left free, for what Raspberry Pi OS itself puts there.
_KEEP_FREE_BYTES = 32 << 20

_ASK = "ask the office for the folder with the packages, which `make deb` makes"

Progress = Callable[[int, int], None]


def check_boot_partition(boot: Path, packages: Path | None) -> None:
    """Raise ProvisionError unless a card can be written to *boot*; nothing is changed.

    *boot* must be the boot partition of a 64-bit Raspberry Pi OS, writable and with room for the
    .deb files of the folder *packages*, which must be there.
    """
    for name in (COMMAND_LINE, "config.txt"):
        if not (boot / name).is_file():
            raise ProvisionError(
                f"{boot} is not the boot partition (bootfs) of a Raspberry Pi OS card: it has no"
                f" {name}; put the card in again and name the folder where it appears"
            )
    if not any((boot / name).is_file() for name in ("kernel8.img", "kernel_2712.img")):
        raise ProvisionError(f"{boot} is not of a 64-bit Raspberry Pi OS; write that one first")
    try:
        if os.statvfs(boot).f_flag & os.ST_RDONLY:
            raise ProvisionError(
                f"{boot} is read-only; move the lock of the card's adapter, or mount it writable"
            )
        _check_room(boot, [] if packages is None else _debs(packages))
    except EdgeError:
        raise
    except OSError as err:
        raise ProvisionError(f"{err.filename or boot}: {err.strerror}") from err


def unused_card(boot: Path) -> str:
    """The unit whose card lies on *boot* and was not taken yet; "" for none, or a batch's."""
    try:
        card = read_card(read_small(boot / FOLDER / FILE, MAX_BYTES))
    except (OSError, CardError):
        return ""
    return card.unit.id if card.unit is not None else ""


def wrong_machine(packages: Path) -> bool:
    """Whether the software in the folder *packages* is for other machines than a Raspberry Pi."""
    ours = [path.name for path in _debs(packages) if path.name.startswith("edge-scanner_")]
    return not any(name.endswith(("_arm64.deb", "_all.deb")) for name in ours)


def write_boot_partition(
    boot: Path, card: bytes, packages: Path | None, country: str, progress: Progress
) -> None:
    """Put *card* on *boot*, and the .deb files of the folder *packages* to be installed from it.

    *country* is where its radio is, two letters; *progress* hears of bytes done, of how many. All
    of it is on the card, and was read back, when this returns. Raises ProvisionError.
    """
    check_boot_partition(boot, packages)
    try:
        folder = boot / FOLDER
        folder.mkdir(exist_ok=True)
        words = (boot / COMMAND_LINE).read_text(encoding="ascii").split()
        if packages is not None:
            _copy_packages(packages, folder / PACKAGES, progress)
            script = resources.files("edge.provision").joinpath("first-boot.sh").read_bytes()
            _put(folder / FIRST_BOOT, script, 0o755)
            words = _run_first(words, folder)
        if not any(word.startswith("cfg80211.ieee80211_regdom=") for word in words):
            words.insert(_end_of_stock_words(words), f"cfg80211.ieee80211_regdom={country}")
        (folder / "result.txt").unlink(missing_ok=True)
        _put(folder / FILE, card, 0o600)
        _put(boot / COMMAND_LINE, f"{' '.join(words)}\n".encode("ascii"), 0o755)
    except EdgeError:
        raise
    except OSError as err:
        raise ProvisionError(f"{err.filename or boot}: {err.strerror}; is it writable?") from err


def progress_bar(done: int, total: int) -> None:
    """Draw how far it is, on a terminal; elsewhere a line at the end."""
    megabytes = f"{done / 1e6:.0f} / {total / 1e6:.0f} MB"
    if sys.stderr.isatty():
        share = done / total if total else 1.0
        bar = "#" * round(share * 30)
        print(f"\r[{bar:<30}] {share:4.0%}  {megabytes}", end="", file=sys.stderr, flush=True)
    if done == total:
        print("" if sys.stderr.isatty() else megabytes, file=sys.stderr)


def _run_first(words: list[str], folder: Path) -> list[str]:
    """*words* with our first boot before anybody else's, which is put back after it."""
    if _OURS[0] in words:
        return words
    former = [word for word in words if word.startswith("systemd.")]
    _put(folder / FORMER, " ".join(former).encode("ascii"), 0o644)
    return [word for word in words if word not in former] + list(_OURS)


def _end_of_stock_words(words: list[str]) -> int:
    # firstrun.sh, where Raspberry Pi Imager has put one, later removes all from its word on.
    systemd = [at for at, word in enumerate(words) if word.startswith("systemd.")]
    return systemd[0] if systemd else len(words)


def _debs(packages: Path) -> list[Path]:
    if not packages.is_dir():
        raise ProvisionError(f"{packages}: there is no such folder; {_ASK}")
    found = sorted(packages.glob("*.deb"))
    if not any(path.name.startswith("edge-scanner_") for path in found):
        raise ProvisionError(f"{packages} has no edge-scanner_*.deb; {_ASK}")
    return found


def _check_room(boot: Path, debs: list[Path]) -> None:
    total = sum(path.stat().st_size for path in debs)
    # Those of an earlier attempt go first.
    former = sum(path.stat().st_size for path in (boot / FOLDER / PACKAGES).glob("*"))
    free = shutil.disk_usage(boot).free + (former if debs else 0)
    needed = total + (_KEEP_FREE_BYTES if debs else MAX_BYTES)
    if free < needed:
        raise ProvisionError(
            f"{boot}: {free / 1e6:.1f} MB free, but {needed / 1e6:.1f} MB are needed; use a card"
            " with a fresh Raspberry Pi OS"
        )


def _copy_packages(source: Path, to: Path, progress: Progress) -> None:
    found = _debs(source)
    total = sum(path.stat().st_size for path in found)
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    done, sums = 0, ""
    progress(0, total)
    for path in found:
        written = hashlib.sha256()
        with path.open("rb") as old, (to / path.name).open("wb") as new:
            for piece in _pieces(old.fileno()):
                written.update(piece)
                new.write(piece)
                done += len(piece)
                progress(done, total)
            new.flush()
            os.fsync(new.fileno())
        if _sum_of(to / path.name) != written.hexdigest():
            raise ProvisionError(f"{to / path.name} reads back differently; use another card")
        sums += f"{written.hexdigest()}  {path.name}\n"
    _put(to / "SHA256SUMS", sums.encode(), 0o644)


def _put(path: Path, content: bytes, mode: int) -> None:
    replace_file(path, [content], mode)
    if _sum_of(path) != hashlib.sha256(content).hexdigest():
        raise ProvisionError(f"{path} reads back differently; use another card")


def _sum_of(path: Path) -> str:
    read = hashlib.sha256()
    with path.open("rb") as file:
        # What was just written is still in memory; it is the card that is asked.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for piece in _pieces(file.fileno()):
            read.update(piece)
    return read.hexdigest()


def _pieces(handle: int) -> Iterator[bytes]:
    while piece := os.read(handle, _PIECE_BYTES):
        yield piece
