"""What storage has held for its time is dropped by days, with a receipt.

The receipt is a line of a hash-chained file: which days, how many scans and set-aside messages,
when. Sums and the numbers held stay: they are of nobody.
"""

import logging
from pathlib import Path

import msgspec

from edge.chain import Chain
from edge.clock import Clock, utc_seconds, utc_text
from edge.errors import ConfigError
from edge.storage import erasing
from edge.storage.keeping import Erased, Keeping
from edge.storage.storage import Storage

log = logging.getLogger(__name__)

#: How often to look, in seconds.
LOOK_S = 3600.0
#: Beside the settings of a single machine.
RECEIPTS_FILE = "erased.jsonl"


Order = list[tuple[str, str, str]]


def erase_order(order: Path, storage: Storage, receipts: Path, clock: Clock) -> int:
    """Erase the identities of the scans in an *order* of the tracing desk; gives how many.

    The scans stay, as counts of nobody. Repeats are harmless. Raises ConfigError for another file.
    """
    try:
        scans = msgspec.json.decode(order.read_bytes(), type=Order)
    except OSError as err:
        raise ConfigError(f"{order}: cannot read this order: {err.strerror}") from err
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{order}: not an order to erase: {err}") from None
    erased = erasing.forget_identities(storage.database, storage.days(), scans)
    Chain(receipts).append(
        clock.now().at, "erased", {"tier": "storage", "ordered": len(scans), "identities": erased}
    )
    return erased


class Retention:
    """Erases from storage."""

    def __init__(
        self,
        storage: Storage,
        receipts: Path,
        clock: Clock,
        *,
        days: int,
        collector: str = "collector",
        erase: bool = True,
    ) -> None:
        """*days*: as this *collector*'s file says; not *erase*: nothing is erased, and said so."""
        self._storage, self._keeping = storage, Keeping(storage.database)
        self._chain = Chain(receipts)
        self._clock = clock
        self._days, self._collector, self._erase = days, collector, erase
        self._next = 0.0

    def step(self) -> int:
        """Look once an hour; gives how many scans were erased. Raises StorageError or ChainError.

        What is wished for at the centre counts if it is shorter than what the file says.
        While this machine's clock is not set nothing is erased: a clock that runs ahead would erase
        everything.
        """
        now = self._clock.monotonic()
        moment = self._clock.now()
        if now < self._next or moment.clock == "none":
            return 0
        self._next = now + LOOK_S
        kept_days = min(self._days, self._keeping.wished() or self._days)
        self._keeping.note_done(
            self._collector, self._days, kept_days if self._erase else 0, moment.at
        )
        if not self._erase:
            return 0
        # A day is dropped when its last scan is past its time.
        before = utc_text(utc_seconds(moment.at) - kept_days * 86_400)[:10]
        days = [day for day in self._storage.days() if day < before]
        scans = erasing.count_before(self._storage.database, days, before)
        set_aside = erasing.forget_set_aside(self._storage.database, before)
        if not (days or scans or set_aside):
            return 0
        self._storage.expire(before)
        self._chain.append(
            moment.at,
            "erased",
            {
                "tier": "storage",
                "before": before,
                "days": days,
                "scans": scans,
                "set_aside": set_aside,
            },
        )
        self._keeping.note_erased(Erased(moment.at, self._collector, before, scans, set_aside))
        log.info("erased %d scans of %d days past their time", scans, len(days))
        return scans
