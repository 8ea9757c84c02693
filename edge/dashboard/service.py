"""What the dashboard does by itself, beside answering: one turn at a time."""

from edge.dashboard.parts import Parts
from edge.storage.places import note_heard

#: How often units that were heard of are noted for the day.
HEARD_EVERY_S = 60.0


class Service:
    """The work of the service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._heard_at: float | None = None

    def step(self) -> None:
        """One turn: whatever is due. Raises StorageError."""
        self._note_heard()
        self._parts.totals.step()
        self._parts.watch.step()
        self._parts.teller.step()
        self._parts.reporting.step()
        if self._parts.mail_queue is not None:
            self._parts.mail_queue.step()
        if self._parts.forwarder is not None:
            self._parts.forwarder.step()

    def _note_heard(self) -> None:
        now = self._parts.clock.monotonic()
        if self._heard_at is None or now - self._heard_at >= HEARD_EVERY_S:
            self._heard_at = now
            note_heard(self._parts.database, self._parts.clock.now().at)
