"""What the dashboard does by itself, beside answering: one turn at a time."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from edge.dashboard.parts import Parts
from edge.errors import StorageError
from edge.storage.places import note_heard

log = logging.getLogger(__name__)

#: How often units that were heard of are noted for the day.
HEARD_EVERY_S = 60.0


class Service:
    """The work of the service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._duty = parts.duty
        self._heard_at: float | None = None
        self._away = False
        # Each waits for somebody else's server.
        outside: list[Callable[[], object]] = [parts.teller.step]
        if parts.mail_queue is not None:
            outside.append(parts.mail_queue.step)
        if parts.forwarder is not None:
            outside.append(parts.forwarder.step)
        self._outside = Beside(outside)

    def step(self) -> None:
        """One turn: whatever is due. While storage does not answer nothing is, and pages say so."""
        try:
            if self._away:
                with self._parts.database.reading("see whether it answers"):
                    pass
                self._away = False
                log.info("storage answers again")
            self._turn()
        except StorageError as err:
            if not self._away:
                log.error("storage does not answer and is asked again with every turn: %s", err)
            self._away = True

    def _turn(self) -> None:
        self._note_heard()
        self._parts.totals.step()
        if self._duty.step():
            self._parts.watch.step()
            self._parts.reporting.step()
            self._outside.step()

    def close(self) -> None:
        """Leave to another dashboard what this one did, unless it is still at it."""
        if not self._outside.busy:
            # Where storage does not answer, the other waits for as long as if we had died.
            with suppress(StorageError):
                self._duty.leave()

    def _note_heard(self) -> None:
        now = self._parts.clock.monotonic()
        if self._heard_at is None or now - self._heard_at >= HEARD_EVERY_S:
            self._heard_at = now
            note_heard(self._parts.database, self._parts.clock.now().at)


class Beside:
    """Does turns in a thread, one after the other, while whoever asks for them goes on.

    A server that takes minutes to answer holds up nothing else, and no watchdog.
    """

    def __init__(self, turns: Sequence[Callable[[], object]]) -> None:
        self._turns = turns
        self._thread: threading.Thread | None = None
        self._failed: Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._thread is not None and self._thread.is_alive()

    def step(self) -> None:
        """Begin the next turns, if those before have ended; raises what these raised."""
        if self.busy:
            return
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        # It is not waited for at the end: what was not told is told after the next start.
        self._thread = threading.Thread(target=self._work, name="outside", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for turn in self._turns:
                turn()
        except Exception as err:  # noqa: BLE001 - raised by the next step, as it would be without us
            self._failed = err
