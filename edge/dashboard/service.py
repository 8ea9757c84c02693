"""What the dashboard does by itself, beside answering: one turn at a time."""

from edge.clock import Clock
from edge.storage.database import Database
from edge.storage.places import note_heard

#: How often units that were heard of are noted for the day.
HEARD_EVERY_S = 60.0


class Service:
    """The work of the service."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._heard_at: float | None = None

    def step(self) -> None:
        """One turn: whatever is due. Raises StorageError."""
        now = self._clock.monotonic()
        if self._heard_at is None or now - self._heard_at >= HEARD_EVERY_S:
            self._heard_at = now
            note_heard(self._database, self._clock.now().at)
