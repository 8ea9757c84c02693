"""Scans that could not be delivered within the retention are erased from the unit, with a receipt.

The receipt is a line of a hash-chained file beside the outbox: which numbers, how many, when. The
numbers are missing at the centre then, and its audit names them; the receipt says why.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.chain import Chain
from edge.clock import Clock, Moment, utc_seconds, utc_text
from edge.errors import ChainBroken, ChainError
from edge.messages import Scan
from edge.ranges import ranges_of
from edge.scanner.outbox import Outbox

log = logging.getLogger(__name__)

RECEIPTS = "erased.jsonl"
#: So many scans are looked at in one go.
AT_ONCE = 1000
#: How often to look, in seconds.
LOOK_S = 600.0
#: What is older than this by a hardware clock alone is not erased by it: that may be years wrong,
#: as after a bad battery, and what is past its time is erased long before where it is right.
DOUBT_DAYS = 90


class Retention:
    """Erases from the outbox."""

    def __init__(self, outbox: Outbox, folder: Path, clock: Clock, *, days: int) -> None:
        """*folder*: where the receipts go."""
        self._outbox = outbox
        self._receipts = folder / RECEIPTS
        self._chain = Chain(self._receipts)
        self._clock = clock
        self._days = days

    def step(self) -> None:
        """Erase what is past its time. Raises OutboxError or ChainError.

        Only by a clock that is set, of this unit and of the scan: a wrong one would erase what is
        new. Numbers tell the order: a scan without a known time is past it when a later one is, and
        none is that comes after one that is not, whatever its own clock says. By a hardware clock
        alone one from before DOUBT_DAYS is not either; and one of this boot not before the unit has
        been up for that long since, whatever any clock says.
        """
        moment = self._clock.now()
        if moment.clock == "none":
            return
        now = utc_seconds(moment.at)
        before = utc_text(now - self._days * 86_400)
        doubted = utc_text(now - DOUBT_DAYS * 86_400) if moment.clock == "rtc" else ""
        while True:
            scans = self._outbox.oldest(AT_ONCE)
            numbers = _past(scans, doubted, before, moment, self._days)
            if not numbers:
                return
            ranges = list(ranges_of(numbers))
            # First the receipt: what is erased without one could not be told from what was lost.
            self._note(
                moment.at,
                {
                    "tier": "unit",
                    "epoch": self._outbox.epoch,
                    "before": before,
                    "scans": len(numbers),
                    "ranges": [list(r) for r in ranges],
                },
            )
            self._outbox.forget(ranges)
            log.warning("%d scans were not delivered within %d days", len(numbers), self._days)
            if len(numbers) < AT_ONCE:
                return

    def _note(self, at: str, facts: dict[str, Any]) -> None:
        """Write a receipt. A card that has spoilt the earlier ones must not keep scans for ever."""
        try:
            self._chain.append(at, "erased", facts)
        except ChainBroken as err:
            aside = self._receipts.with_name(f"{RECEIPTS}.damaged")
            log.error("%s; it is kept as %s, and begun anew", err, aside.name)
            try:
                os.replace(self._receipts, aside)
            except OSError as failed:
                raise ChainError(f"{self._receipts}: {failed.strerror}") from failed
            self._chain.append(at, "erased", facts)


def _past(scans: Sequence[Scan], doubted: str, before: str, now: Moment, days: int) -> list[int]:
    """The numbers of those first of *scans*, the oldest there are, that were made before *before*.

    One from before *doubted* is not, for all that is known, nor one of this boot that is younger
    than *days*. What claims to be of the future has no known time.
    """
    past = 0
    for place, scan in enumerate(scans, start=1):
        if scan.boot == now.boot and now.uptime_ms - scan.uptime_ms < days * 86_400_000:
            break
        if scan.clock == "none" or scan.at > now.at:
            continue
        if not doubted <= scan.at < before:
            break
        past = place
    return [scan.seq for scan in scans[:past]]
