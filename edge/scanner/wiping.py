"""Empties a unit that is taken down: its keys, its network, its settings and its outbox.

Scans that are not rows in storage yet are not thrown away unasked. Whatever the power does
meanwhile, wiping again does the rest: what says where things are goes last.
"""

import logging
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edge.clock import Clock
from edge.errors import EdgeError
from edge.files import wipe_file
from edge.mqtt import Connection
from edge.scanner.credentials import open_identity
from edge.scanner.disk import Disk, at_rest, explained
from edge.scanner.held import SEGMENT_SCANS, Held
from edge.scanner.pending_enrolment import wipe_identity
from edge.scanner.settings import ScannerSettings, UnsetSettings
from edge.scanner.setup import SECRETS, SETTINGS, STATE, WIFI, read_state
from edge.scanner.setup_by_code import APPLYING
from edge.topics import topic

log = logging.getLogger(__name__)

#: How long the broker may take to answer, and to acknowledge.
BROKER_S = 15.0


def wipe(
    settings: ScannerSettings,
    unit: str,
    *,
    lose_scans: bool = False,
    root: Path = Path("/"),
    farewell: Callable[[], object] = lambda: None,
) -> int:
    """Empty this unit, which must be *unit*; gives how many unconfirmed scans were lost.

    *farewell* is done when it is sure that it may be emptied, while its keys are still there.

    Raises EdgeError if it is another unit, if its scanner runs, or if scans are not confirmed and
    *lose_scans* does not say that they may be lost.
    """
    if unit != settings.unit.id:
        raise EdgeError(f"this is unit {settings.unit.id}, not {unit}; nothing was wiped")
    outbox = Path(settings.outbox.folder)
    # Only looked at: what root would make in it the scanner could not write to.
    with at_rest(outbox):
        pending = _pending(outbox)
        if pending and not lose_scans:
            raise EdgeError(
                f"{pending} scans are not confirmed; let them be sent, or carry them out and take"
                " the receipt (outbox export, outbox receipt), or lose them with --lose-scans"
            )
        farewell()
        empty(settings, root)
    return pending


def wipe_unset(settings: UnsetSettings, batch: str, root: Path = Path("/")) -> None:
    """Empty this unit, which is none yet, and whose card is that of *batch*. Raises EdgeError."""
    state = read_state(root)
    if state is None or state.batch != batch:
        own = f"has a card of batch {state.batch}" if state and state.batch else "never had a card"
        raise EdgeError(f"this unit is none yet, and {own}; nothing was wiped")
    empty(settings, root)


def empty(settings: UnsetSettings | None, root: Path = Path("/")) -> None:
    """Empty a unit that may be; None if its settings are gone already. Raises EdgeError."""
    key = [] if settings is None else [Path(settings.carry.key_file)]
    try:
        wipe_identity(root)
        for path in (root / WIFI, *key, *_files(root, (APPLYING, *SECRETS))):
            wipe_file(path)
        if settings is not None and Path(settings.outbox.folder).exists():
            shutil.rmtree(settings.outbox.folder)
        for name in (SETTINGS, STATE):
            wipe_file(root / name)
    except OSError as err:
        raise EdgeError(f"{err.filename}: {err.strerror}; wipe again as root") from err


def clear_retained(settings: ScannerSettings, beside: Path, clock: Clock) -> bool:
    """Have the broker forget what it keeps of this unit; False if it cannot be reached.

    The scanner must not run: the broker would end its session.
    """
    unit = settings.unit
    identity = open_identity(settings, beside, clock) if settings.enrolment.url else None
    # Not a persistent session: with it goes the one that waited for this unit.
    with closing(
        Connection(settings.broker, beside, unit.id, clock, identity=identity)
    ) as connection:
        deadline = clock.monotonic() + BROKER_S
        while not connection.connected and clock.monotonic() < deadline:
            connection.step(0.2)
        if connection.connected:
            connection.publish(topic(unit.area, unit.id, "status"), b"", retain=True)
        while connection.connected and connection.in_flight and clock.monotonic() < deadline:
            connection.step(0.2)
        cleared = connection.connected and not connection.in_flight
        if not cleared:
            log.warning("the broker keeps this unit's last status: %s", connection.trouble)
        connection.disconnect(1.0)
        return cleared


def _pending(outbox: Path) -> int:
    if not outbox.exists():
        return 0
    with explained(outbox):
        return Held(outbox, SEGMENT_SCANS, Disk()).pending


def _files(root: Path, names: tuple[str, ...]) -> list[Path]:
    """Every file that these names, of files or folders, stand for."""
    paths = [root / name for name in names]
    return [
        file
        for path in paths
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if file.is_file()
    ]
