"""Carries scans by hand: onto a USB stick, and back the receipt that lets the unit forget them.

A stick is ours if it has a file called MARKER at its top; where sticks are mounted is a setting.
Whatever else is on it is left alone. The stick gets a bundle of all pending scans, once for each
time it is plugged in. A receipt that came back on it is believed only if the centre signed it, and
only where its checks fit our own scans, as with confirmations over the network.
"""

import glob
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edge.bundle import RECEIPT_SUFFIX, SUFFIX, read_receipt, write_bundle
from edge.clock import Clock
from edge.errors import BundleError, EdgeError
from edge.messages import Confirmed, ConfirmedRange, check_of
from edge.scanner.boots import BOOTS, Boots
from edge.scanner.indicator import Indicator, Signal
from edge.scanner.outbox import Outbox, read_outbox
from edge.scanner.settings import UnitSettings
from edge.sealing import Signer, Verifier, read_key

log = logging.getLogger(__name__)

#: The file that makes a stick ours: empty, made by whoever sends the stick round.
MARKER = "edge-scanner"


def export(outbox: Path, to: Path, unit: UnitSettings, key: Signer, clock: Clock) -> Path:
    """Write all pending scans of the *outbox* folder into a bundle in *to*; gives its path.

    Works beside a running scanner, and on the card of a dead one. Raises BundleError, OutboxError.
    """
    view = read_outbox(outbox)
    epoch = view.status().epoch
    # Its own, since one object belongs to one thread.
    with closing(Boots(outbox / BOOTS)) as boots:
        scans = map(boots.dated, view.scans())
        return write_bundle(to, unit.area, unit.id, epoch, scans, key, clock)


def read_centre(path: Path) -> Verifier | None:
    """Who tells receipts of the centre whose public key is in *path*; None if there is no file.

    Raises SealError for a file that holds no key.
    """
    return Verifier(read_key(path)) if path.exists() else None


def take_receipt(outbox: Outbox, path: Path, unit: str, centre: Verifier | None) -> int:
    """Forget the scans that the receipt in *path* confirms; gives how many that were.

    Raises BundleError if it cannot be read, is another unit's, or is not known to be of the
    *centre*.
    """
    if centre is None:
        raise BundleError(
            f"{path}: this unit does not know its centre's key, so it believes no receipt; give it"
            " the file that carry.receipt_key_file names (edge-collector key prints it)"
        )
    return sum(_forget(outbox, message) for message in read_receipt(path, unit, centre))


class Carrier:
    """Looks for sticks, and serves each that is ours."""

    def __init__(
        self,
        outbox: Outbox,
        folder: Path,
        sticks: str,
        unit: UnitSettings,
        key: Callable[[], Signer],
        centre: Verifier | None,
        indicator: Indicator,
        clock: Clock,
    ) -> None:
        """*folder*: of the outbox. *sticks*: a pattern for where they are mounted; "" for none.

        *key* gives this unit's own signing key, and makes it when it is first needed. *centre* is
        whose receipts are believed; None believes none.
        """
        self._outbox = outbox
        self._folder = folder
        self._sticks = sticks
        self._unit = unit
        self._key = key
        self._centre = centre
        self._indicator = indicator
        self._clock = clock
        self._served: set[str] = set()

    def step(self) -> None:
        """Serve the sticks that have come since the last time. Never raises for what is on one."""
        here = {
            path
            for path in (glob.glob(self._sticks) if self._sticks else [])
            if (Path(path) / MARKER).is_file()
        }
        for path in sorted(here - self._served):
            self._serve(Path(path))
        self._served = here

    def _serve(self, stick: Path) -> None:
        self._take_receipts(stick)
        if not self._outbox.status().pending:
            self._indicator.show(Signal.CARRIED)
            log.info("%s: nothing waits to be carried", stick)
            return
        try:
            path = export(self._folder, stick, self._unit, self._key(), self._clock)
        except EdgeError as err:
            log.error("a stick could not be served: %s", err)
            self._indicator.show(Signal.NOT_CARRIED)
            return
        log.info("carried: %s", path.name)
        self._indicator.show(Signal.CARRIED)

    def _take_receipts(self, stick: Path) -> None:
        for path in sorted(stick.glob(f"edge-{self._unit.id}-*{SUFFIX}{RECEIPT_SUFFIX}")):
            try:
                forgotten = take_receipt(self._outbox, path, self._unit.id, self._centre)
            except BundleError as err:
                log.warning("a receipt is passed over: %s", err)
            else:
                log.info("%s: %d scans are confirmed", path.name, forgotten)


def _forget(outbox: Outbox, message: Confirmed) -> int:
    if message.epoch != outbox.epoch:
        return 0
    believed = [(r.first, r.last) for r in message.ranges if _is_ours(outbox, r)]
    before = outbox.status().pending
    outbox.forget(believed)
    return before - outbox.status().pending


def _is_ours(outbox: Outbox, confirmed: ConfirmedRange) -> bool:
    number = confirmed.last - confirmed.first + 1
    # A receipt's ranges are short: see RECEIPT_RANGE.
    if not 0 < number <= 10_000:
        return False
    scans = outbox.oldest(number, after=confirmed.first - 1)
    ids = [scan.id for scan in scans if scan.seq <= confirmed.last]
    return len(ids) == number and check_of(ids) == confirmed.check
