"""Which confirmations this unit believes: its centre's, of its own scans.

A range is believed only where its check matches the ids of our own scans: another unit that runs
under our name cannot make us forget anything. Where the unit knows its centre's key, nobody who has
no part of that can either, the broker included.
"""

import logging

from edge.errors import BadMessage
from edge.messages import Confirmed, ConfirmedRange, Scan, check_of
from edge.scanner.outbox import Outbox
from edge.scanner.window import Window
from edge.sealing import Verifier
from edge.signed import is_confirmed

log = logging.getLogger(__name__)

#: A range that confirms more than this at once is none of ours.
MOST_IN_A_RANGE = 10_000


class Confirmations:
    """Tells true confirmations from others, by the ids of what was sent."""

    def __init__(
        self, outbox: Outbox, window: Window, unit: str, *, centre: Verifier | None = None
    ) -> None:
        """*unit* is the name by which the centre knows us. Without *centre* none is signed."""
        self._outbox = outbox
        self._window = window
        self._unit = unit
        self._centre = centre
        self._ids: dict[int, str] = {}
        self._warned_of_double = False
        #: How many came that the centre had not signed.
        self.unbelieved = 0

    def remember(self, scan: Scan) -> None:
        """*scan* was sent."""
        # Some longer than the window: a repeat may be confirmed in one range with its neighbours.
        size = self._window.size
        self._ids[scan.seq] = scan.id
        if len(self._ids) > 3 * size:
            for seq in list(self._ids)[: -2 * size]:
                if seq not in self._window:
                    del self._ids[seq]

    def believed(self, payload: bytes) -> list[tuple[int, int]]:
        """The ranges that *payload* confirms, first and last number of each; none of another's."""
        try:
            message = Confirmed.decode(payload)
        except BadMessage as err:
            log.warning("a confirmation that cannot be read: %s", err)
            return []
        if message.epoch != self._outbox.epoch:
            return []
        if self._centre is not None and not is_confirmed(message, self._unit, self._centre):
            self._note_unbelieved()
            return []
        return [(it.first, it.last) for it in message.ranges if self._is_ours(it)]

    def _note_unbelieved(self) -> None:
        self.unbelieved += 1
        if self.unbelieved == 1:
            log.error(
                "a confirmation that this unit's centre has not signed: nothing is forgotten for"
                " it. If the centre has a new key, let it sign with its former one too"
                " (former_receipt_key_files), or give this unit the new public part (receipts.pub)"
            )

    def _is_ours(self, confirmed: ConfirmedRange) -> bool:
        # Bounded, whatever the message says.
        if not 0 <= confirmed.last - confirmed.first < MOST_IN_A_RANGE:
            return False
        numbers = range(confirmed.first, confirmed.last + 1)
        ids = self._ids
        if not all(seq in ids for seq in numbers):
            # Sent before the last start, perhaps.
            scans = self._outbox.oldest(len(numbers), after=confirmed.first - 1)
            ids = ids | {scan.seq: scan.id for scan in scans}
            if not all(seq in ids for seq in numbers):
                return False
        if check_of(ids[seq] for seq in numbers) == confirmed.check:
            return True
        if not self._warned_of_double:
            self._warned_of_double = True
            log.warning(
                "scans that are not ours were confirmed to us: does another unit run as %r?",
                self._unit,
            )
        return False
