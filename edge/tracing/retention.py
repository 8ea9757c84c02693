"""What is past its time is erased, and a receipt says what, how many and when.

Receipts are entries of the audit's chain, so that they can be verified with it. A case holds the
records of its persons by its id: they stay in the index, and their sealed boxes are copied, still
sealed, before storage drops their day.
"""

import logging
from dataclasses import asdict

from edge.clock import Clock, utc_seconds, utc_text
from edge.tracing.audit import Audit
from edge.tracing.boxes import StoredBoxes
from edge.tracing.cases import Cases
from edge.tracing.index import Index, Purged
from edge.tracing.places import DAY
from edge.tracing.questions import Questions

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
    ) -> None:
        """*days*: how long a sighting is kept."""
        self._index = index
        self._cases = cases
        self._questions = questions
        self._boxes = boxes
        self._audit = audit
        self._clock = clock
        self._days = days

    def step(self) -> Purged | None:
        """Erase what is past its time; None if this machine's clock is not set.

        A clock that runs ahead would erase everything, so it must have been set by something.
        """
        moment = self._clock.now()
        if moment.clock == "none":
            log.warning("nothing is erased while the clock of this machine is not set")
            return None
        now = round(utc_seconds(moment.at) * 1000)
        before = now - self._days * DAY
        self._hold(before)
        purged = self._index.purge(before, self._cases.held_persons(), now=now)
        if purged.sightings or purged.visits or purged.identifiers:
            self._audit.record(
                "edge-trace",
                "erased",
                tier="index",
                before=utc_text(before / 1000),
                **asdict(purged),
            )
            log.info("erased %d sightings past their time", purged.sightings)
        return purged

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
