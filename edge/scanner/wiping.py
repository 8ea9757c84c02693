"""Empties a unit that is taken down: its keys, its network, its settings and its outbox.

Scans that are not rows in storage yet are not thrown away unasked. Whatever the power does
meanwhile, wiping again does the rest: what says where things are goes last.
"""

import shutil
import sys
from pathlib import Path

from edge.errors import EdgeError
from edge.files import wipe_file
from edge.scanner.outbox import Outbox
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import SECRETS, SETTINGS, STATE, WIFI
from edge.scanner.setup_by_code import APPLYING


def wipe(
    settings: ScannerSettings, unit: str, *, lose_scans: bool = False, root: Path = Path("/")
) -> int:
    """Empty this unit, which must be *unit*; gives how many unconfirmed scans were lost.

    Raises EdgeError if it is another unit, if its scanner runs, or if scans are not confirmed and
    *lose_scans* does not say that they may be lost.
    """
    if unit != settings.unit.id:
        raise EdgeError(f"this is unit {settings.unit.id}, not {unit}; nothing was wiped")
    outbox = Path(settings.outbox.folder)
    # Opening it makes sure that no scanner runs.
    with Outbox(outbox, max_bytes=sys.maxsize, keep_free_bytes=0) as held:
        pending = held.pending
    if pending and not lose_scans:
        raise EdgeError(
            f"{pending} scans are not confirmed; let them be sent, or carry them out and take the"
            " receipt (outbox export, outbox receipt), or lose them with --lose-scans"
        )
    try:
        for path in (
            root / WIFI,
            Path(settings.carry.key_file),
            *_files(root, (APPLYING, *SECRETS)),
        ):
            wipe_file(path)
        shutil.rmtree(outbox)
        for name in (SETTINGS, STATE):
            wipe_file(root / name)
    except OSError as err:
        raise EdgeError(f"{err.filename}: {err.strerror}; wipe again as root") from err
    return pending


def _files(root: Path, names: tuple[str, ...]) -> list[Path]:
    """Every file that these names, of files or folders, stand for."""
    paths = [root / name for name in names]
    return [
        file
        for path in paths
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if file.is_file()
    ]
