"""What is past its time is erased, and a receipt says what, how many and when.

Receipts are entries of the audit's chain, so that they can be verified with it. A case holds the
records of its persons by its id: they stay in the index, and their sealed boxes are copied, still
sealed, before storage drops their day.
"""

import logging
from collections.abc import Callable

from edge.clock import Clock, utc_seconds, utc_text
from edge.errors import StorageError
from edge.storage.keeping.known_time import Known
from edge.tracing.audit import Audit
from edge.tracing.boxes import StoredBoxes
from edge.tracing.cases import Cases
from edge.tracing.index import AHEAD_MS, Index, Purged
from edge.tracing.places import DAY
from edge.tracing.questions import Questions
from edge.tracing.receipts import noting, record_due

log = logging.getLogger(__name__)


class Retention:
    """Erases from the index."""

    def __init__(
        self,
        index: Index,
        cases: Cases,
        questions: Questions,
        boxes: StoredBoxes,
        audit: Audit,
        clock: Clock,
        *,
        days: int,
        known_time: Callable[[], Known | None],
    ) -> None:
        """*days*: how long a sighting is kept.

        *known_time*: what the collector knows that erases by the latest time; may raise
        StorageError.
        """
        self._index = index
        self._cases = cases
        self._questions = questions
        self._boxes = boxes
        self._audit = audit
        self._clock = clock
        self._days = days
        self._known_time = known_time

    def step(self) -> Purged | None:
        """Erase what is past its time; None if it is not known what that is.

        A clock that runs ahead would erase everything: one that neither a time server nor a
        receiver has set is believed as far as a collector believes its own. Raises StorageError,
        ChainError.
        """
        # Of one that was killed, which then was not recorded.
        record_due(self._index.database, self._audit)
        at, settled, steady = self._erases_by()
        if not at:
            return None
        now = round(utc_seconds(at) * 1000)
        before = now - self._days * DAY
        self._hold(before)
        note = noting("edge-trace", before=utc_text(before / 1000))
        held = self._cases.held_persons()
        purged = self._index.purge(before, held, now=now, settled=settled, steady=steady, note=note)
        record_due(self._index.database, self._audit)
        if purged.sightings:
            log.info("erased %d sightings past their time", purged.sightings)
        return purged

    def _erases_by(self) -> tuple[str, bool, bool]:
        """The time to erase by, "" for none; whether it is settled that it is no later, and steady.

        Steady: it goes on as the true time does.
        """
        moment = self._clock.now()
        if moment.clock in ("ntp", "gnss"):
            return moment.at, True, True
        try:
            known = self._known_time()
        except StorageError as err:
            log.warning("what collectors know of the time: %s", err)
            known = None
        if known is None:
            log.warning(
                "nothing is erased: neither a time server nor a collector vouches for the clock of"
                " this machine; see `edge-collector clock`"
            )
            return "", False, False
        if utc_seconds(moment.at) - utc_seconds(known.erases_by) > AHEAD_MS / 1000:
            log.warning(
                "the clock says %s, and no collector vouches for more than %s: erasing by that; see"
                " `edge-collector clock`",
                moment.at,
                known.erases_by,
            )
        if moment.at < known.erases_by:
            return moment.at, False, False
        return known.erases_by, known.settled, known.steady

    def _hold(self, before: int) -> None:
        for case in self._cases.all():
            if not case.held:
                continue
            scans = [
                (scan, place, time, person)
                for person in self._cases.persons(case.id)
                for scan, place, time, _ in self._questions.boxes_of(person)
            ]
            self._boxes.hold(case.id, scans)
