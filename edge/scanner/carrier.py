"""Carries scans by hand: onto a USB stick, and back the receipt that lets the unit forget them.

A stick is ours if it has a file called MARKER at its top; where sticks are mounted is a setting.
Whatever else is on it is left alone. The stick gets a bundle of all pending scans, once for each
time it is plugged in. A receipt that came back on it is believed only if the centre signed it, and
only where its checks fit our own scans, as with confirmations over the network.

Of our earlier bundles none stays on a stick: what is in them is confirmed, past its time, or in the
new one. So a stick that goes round does not gather days of scans for whoever finds it.
"""

import glob
import logging
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

from edge import config
from edge.bundle import RECEIPT_SUFFIX, SUFFIX, Bundle, bundle_in_place, read_receipt, write_bundle
from edge.clock import Clock
from edge.errors import BundleError, EdgeError
from edge.files import remove_file
from edge.messages import Confirmed, ConfirmedRange, check_of
from edge.scanner.boots import BOOTS, Boots
from edge.scanner.indicator import Indicator, Signal
from edge.scanner.outbox import Outbox, read_outbox
from edge.scanner.schedule import Schedule
from edge.sealing import Signer, Verifier, read_key
from edge.succession import believed
from edge.unit_settings import CarrySettings, UnitSettings

log = logging.getLogger(__name__)

#: The file that makes a stick ours: empty, made by whoever sends the stick round.
MARKER = "edge-scanner"
#: So many scans of an earlier bundle are compared in one go.
AT_ONCE = 500


def export(
    outbox: Path, to: Path, unit: UnitSettings, schedule: Schedule, key: Signer, clock: Clock
) -> Path:
    """Write all pending scans of the *outbox* folder into a bundle in *to*; gives its path.

    Works beside a running scanner, and on the card of a dead one. Raises BundleError, OutboxError.
    """
    view = read_outbox(outbox)
    epoch = view.status().epoch
    # Its own, since one object belongs to one thread.
    with closing(Boots(outbox / BOOTS, schedule)) as boots:
        scans = map(boots.dated, view.scans())
        return write_bundle(to, unit.area, unit.id, epoch, scans, key, clock)


def read_centre(carry: CarrySettings, beside: Path) -> Verifier | None:
    """Who tells what is of the centre whose key *carry* names; None if there is no such file.

    Raises SealError for a file that holds no key.
    """
    path = config.secret_path(carry.receipt_key_file, beside)
    if not path.exists():
        return None
    return believed(read_key(path), carry.successions, newest_only=carry.newest_key_only)


def take_receipt(outbox: Outbox, path: Path, unit: str, centre: Verifier | None) -> int:
    """Forget the scans that the receipt in *path* confirms; gives how many that were.

    Raises as `read_confirmed`.
    """
    return forget(outbox, read_confirmed(path, unit, centre))


def read_confirmed(path: Path, unit: str, centre: Verifier | None) -> list[Confirmed]:
    """What the receipt in *path* confirms.

    Raises BundleError if it cannot be read, is another unit's, or is not known to be of the
    *centre*.
    """
    if centre is None:
        raise BundleError(
            f"{path}: this unit does not know its centre's key, so it believes no receipt; give it"
            " the file that carry.receipt_key_file names (edge-collector key prints it)"
        )
    return read_receipt(path, unit, centre)


def forget(outbox: Outbox, confirmed: list[Confirmed]) -> int:
    """Forget the scans that are *confirmed*; gives how many that were."""
    return sum(_forget(outbox, message) for message in confirmed)


class Carrier:
    """Looks for sticks, and serves each that is ours."""

    def __init__(
        self,
        outbox: Outbox,
        folder: Path,
        sticks: str,
        unit: UnitSettings,
        schedule: Schedule,
        key: Callable[[], Signer],
        centre: Verifier | None,
        indicator: Indicator,
        clock: Clock,
        *,
        serve: Callable[[Path], bool] = lambda stick: False,
    ) -> None:
        """*folder*: of the outbox. *sticks*: a pattern for where they are mounted; "" for none.

        *key* gives this unit's own signing key, and makes it when it is first needed. *centre* is
        whose receipts are believed; None believes none. *serve* does what else there is to do with
        a stick, and tells whether there was anything.
        """
        self._outbox = outbox
        self._folder = folder
        self._sticks = sticks
        self._unit = unit
        self._schedule = schedule
        self._key = key
        self._centre = centre
        self._indicator = indicator
        self._clock = clock
        self._serve_also = serve
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
        done = Signal.CARRIED
        try:
            self._serve_also(stick)
        except (EdgeError, OSError) as err:
            log.error("%s: %s", stick, err)
            # The scans go all the same; but whoever brings the stick sees that not all went well.
            done = Signal.NOT_CARRIED
        believed = self._take_receipts(stick)
        pending = self._outbox.status().pending
        if not pending:
            self._clear(stick, None, believed)
            self._indicator.show(done)
            log.info("%s: nothing waits to be carried", stick)
            return
        try:
            path = export(self._folder, stick, self._unit, self._schedule, self._key(), self._clock)
        except EdgeError as err:
            log.error("a stick could not be served: %s", err)
            self._indicator.show(Signal.NOT_CARRIED)
            return
        log.info("carried: %s", path.name)
        if self._is_whole(path, pending):
            self._clear(stick, path, believed)
        self._indicator.show(done)

    def _take_receipts(self, stick: Path) -> set[Path]:
        """Forget what the receipts on *stick* confirm; gives those that were believed."""
        believed = set()
        for path in sorted(stick.glob(f"edge-{self._unit.id}-*{SUFFIX}{RECEIPT_SUFFIX}")):
            try:
                forgotten = take_receipt(self._outbox, path, self._unit.id, self._centre)
            except BundleError as err:
                log.warning("a receipt is passed over: %s", err)
            else:
                believed.add(path)
                log.info("%s: %d scans are confirmed", path.name, forgotten)
        return believed

    def _is_whole(self, new: Path, pending: int) -> bool:
        """Whether the *new* bundle has all that was *pending* before it, and is now."""
        try:
            with bundle_in_place(new) as bundle:
                return bundle.count >= max(pending, self._outbox.status().pending)
        except BundleError as err:
            log.warning("earlier bundles stay on the stick: %s", err)
            return False

    def _clear(self, stick: Path, new: Path | None, believed: set[Path]) -> None:
        """Remove our earlier bundles: every scan of them is in *new*, confirmed, or past its time.

        Only those of this very outbox that are signed with our own key.
        """
        epoch = self._outbox.epoch
        for path in sorted(stick.glob(f"edge-{self._unit.id}-{epoch}-*{SUFFIX}")):
            if path == new:
                continue
            try:
                with bundle_in_place(path) as bundle:
                    if not self._is_needless(bundle):
                        continue
                remove_file(path)
                receipt = path.with_name(path.name + RECEIPT_SUFFIX)
                if receipt in believed:
                    remove_file(receipt)
            except (EdgeError, OSError) as err:
                log.warning("an earlier bundle stays on the stick: %s", err)
            else:
                log.info("%s: not needed any more, removed", path.name)

    def _is_needless(self, bundle: Bundle) -> bool:
        header, outbox = bundle.header, self._outbox
        ours = (self._unit.id, outbox.epoch, self._key().public_key)
        if (header.unit, header.epoch, header.key) != ours:
            return False
        scans = bundle.scans()
        while batch := list(islice(scans, AT_ONCE)):
            kept = outbox.oldest(len(batch), after=batch[0].seq - 1)
            ids = {scan.seq: scan.id for scan in kept}
            if batch[-1].seq >= outbox.next_seq:
                return False
            if any(ids.get(scan.seq, scan.id) != scan.id for scan in batch):
                return False
        # A number that is not kept may be of a scan that our disk lost, and this its only copy.
        status = outbox.status()
        return not (status.damaged or status.unknown)


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
