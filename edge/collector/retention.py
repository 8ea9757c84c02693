"""What storage has held for its time is erased by days, with a receipt.

A day is taken away from every question at once, in milliseconds, and then erased slice by slice
while the collector goes on. The receipt is written when all is erased, and not before: a line of a
hash-chained file, with which days, how many scans and set-aside messages, and when. Sums and the
numbers held stay: they are of nobody.
"""

import hashlib
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from edge.chain import Chain
from edge.clock import Clock, utc_seconds, utc_text
from edge.errors import ChainBroken, ChainError, ConfigError, StorageBusy
from edge.storage.ahead import put_right
from edge.storage.database import Database
from edge.storage.erasing import Erasure, forget_identities
from edge.storage.keeping import Erased, Keeping, note_erased
from edge.storage.keeping.known_time import DO, Known, KnownTime
from edge.storage.receipts import last_due, note_due, take_due
from edge.storage.storage import Storage

log = logging.getLogger(__name__)

#: How often to look, in seconds.
LOOK_S = 3600.0
#: After a slice was erased others write and read for so many times as long as it took.
RESTS = 4
#: When somebody reads what is to be erased, it is tried again after so long, in seconds.
BUSY_S = 60.0
#: Who reads what an order of the desk has erased is waited for, in seconds; nobody writes then.
WAIT_S = 1.0
#: Beside the settings of a single machine.
RECEIPTS_FILE = "erased.jsonl"


Order = list[tuple[str, str, str]]


def erase_order(order: Path, storage: Storage, receipts: Path, clock: Clock) -> int:
    """Erase the identities of the scans in an *order* of the tracing desk; gives how many.

    The scans stay, as counts of nobody. Repeats are harmless. One that is killed has its receipt
    written by the next, or by the collector's next look. Raises ConfigError for another
    file; StorageBusy if it is done and one thing remains: the order is to be given again.
    """
    try:
        content = order.read_bytes()
        scans = msgspec.json.decode(content, type=Order)
    except OSError as err:
        raise ConfigError(f"{order}: cannot read this order: {err.strerror}") from err
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{order}: not an order to erase: {err}") from None
    name = hashlib.sha256(content).hexdigest()
    erased = forget_identities(
        storage.database,
        storage.days(),
        scans,
        lambda connection, count: note_due(connection, name, len(scans), count),
    )
    if write_receipts(storage.database, Chain(receipts), clock):
        raise StorageBusy(
            f"{order}: {erased} identities can be read in no way any more, but somebody reads the"
            " storage, so its log holds them still; give the same command again"
        )
    return erased


def write_receipts(database: Database, chain: Chain, clock: Clock) -> bool:
    """Write the receipts of orders that were followed, also of one that was killed at it.

    Gives whether SQLite's log still holds what was erased, which the receipts say. Raises
    ChainError, StorageError; they are written with the next look then.
    """
    with database.reading("look for receipts to be written") as connection:
        last = last_due(connection)
    if not last:
        return False
    # What others erase from now on gets its receipt after a look of their own at the log.
    in_log = database.write_back(all_of_it=True, wait_s=WAIT_S) > 0
    with database.writing("write receipts") as connection:
        for due in take_due(connection, last):
            facts = {
                "tier": "storage",
                "order": due.order_hash,
                "erasure": due.number,
                "ordered": due.ordered,
                "identities": due.identities,
                "in_log": in_log,
            }
            chain.append(clock.now().at, "erased", facts)
    return in_log


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
        self._time = KnownTime(storage.database, collector)
        self._chain = Chain(receipts)
        self._clock = clock
        self._days, self._collector, self._erase = days, collector, erase
        self._look_at = self._slice_at = 0.0
        self._looked_by = ""
        self._known: Known | None = None
        self._busy = False
        self._erased = 0
        self._thread = ThreadPoolExecutor(1, "erasing")
        self._slicing: Future[int] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being erased."""
        return self._busy or self._slicing is not None

    @property
    def held_back(self) -> bool:
        """Whether less is erased than this machine's clock says, as nobody vouches for it."""
        return self._known is not None and self._known.held_back

    def step(self) -> int:
        """Look once an hour, or have a slice erased; gives how many scans are when all are.

        It waits for no slice: to remove the files of a day may take PostgreSQL seconds.

        What is wished for at the centre counts if it is shorter than what the file says.
        A clock that nobody vouches for erases nothing: one that runs ahead would erase everything.
        Without its receipt nothing is done; it is tried again. Raises StorageError.
        """
        now = self._clock.monotonic()
        if self._slicing is not None and not self._slicing.done():
            return 0
        try:
            if self._slicing is not None:
                slicing, self._slicing = self._slicing, None
                return slicing.result()
            # A time server that has set the clock is not to wait for an hour.
            if now >= self._look_at or self._clock.now().clock != self._looked_by:
                self._look()
            if self._busy and now >= self._slice_at:
                self._slicing = self._thread.submit(self._slice)
        except StorageBusy as err:
            log.warning("%s; again in %.0f s", err, BUSY_S)
            self._look_at, self._slice_at = min(self._look_at, now + BUSY_S), now + BUSY_S
        except ChainError as err:
            # What came in meanwhile matters more: storing must not end for it.
            is_spoilt = isinstance(err, ChainBroken)
            advice = "move it away, and a new one is begun; " if is_spoilt else ""
            log.error("%s; %suntil it can be written erasing waits", err, advice)
            self._slice_at = now + LOOK_S
        return 0

    def close(self) -> None:
        """Wait for the slice that is being erased; the next start goes on."""
        self._thread.shutdown()

    def finish(self) -> int:
        """Look, and erase all that is past its time now; gives how many scans.

        Raises StorageError; StorageBusy if somebody reads who has to end first.
        """
        erased = self._slicing.result() if self._slicing is not None else 0
        self._slicing = None
        self._look()
        while self._busy:
            erased += self._slice()
        return erased

    def _look(self) -> None:
        moment = self._clock.now()
        self._look_at, self._looked_by = self._clock.monotonic() + LOOK_S, moment.clock
        write_receipts(self._storage.database, self._chain, self._clock)
        known = self._time.look(moment)
        kept_days = min(self._days, self._keeping.wished() or self._days)
        self._keeping.note_done(
            self._collector, self._days, kept_days if self._erase else 0, moment.at
        )
        if known.settled:
            put_right(self._storage.database, known.at)
        if not self._erase:
            return
        self._say(known)
        if not known.erases_by:
            return
        # A day is dropped when its last scan is past its time.
        before = utc_text(utc_seconds(known.erases_by) - kept_days * 86_400)[:10]
        if days := self._storage.expire(
            before, known.erases_by, settled=known.settled, steady=known.steady
        ):
            log.info("%d days are past their time and are being erased", len(days))
        self._busy = True

    def _say(self, known: Known) -> None:
        """Each hour while something is wrong with the clock, and once when it is right again."""
        if known.trouble:
            meanwhile = f"erased by {known.erases_by[:16]}Z" if known.erases_by else "not erased"
            log.warning("%s: meanwhile it is %s. %s", known.says[1], meanwhile, DO[1])
        elif self._known is not None and self._known.trouble:
            log.info("the clock is vouched for again; it is erased by it")
        self._known = known

    def _slice(self) -> int:
        self._erased = 0
        began = self._clock.monotonic()
        self._busy = self._storage.erasing.step(self._note)
        ended = self._clock.monotonic()
        self._slice_at = ended + RESTS * (ended - began)
        return self._erased

    def _note(self, connection: Connection, erasure: Erasure) -> None:
        """All is erased. If we die before the transaction ends the receipt is written again."""
        at = self._clock.now().at
        self._chain.append(
            at,
            "erased",
            {
                "tier": "storage",
                "before": erasure.before_day,
                "taken_away": erasure.began,
                "days": erasure.days,
                "scans": erasure.scans,
                "set_aside": erasure.set_aside,
            },
        )
        note_erased(
            connection,
            Erased(at, self._collector, erasure.before_day, erasure.scans, erasure.set_aside),
        )
        log.info("erased %d scans of %d days past their time", erasure.scans, len(erasure.days))
        self._erased = erasure.scans
