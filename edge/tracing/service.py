"""The desk's work: one turn answers a request if one waits, takes in scans, and erases.

One thread does it all by turns. A batch takes well under a second and a question about one, so
neither waits long for the other, and nothing is shared between threads.
"""

from collections.abc import Callable, Sequence

from edge.clock import Clock
from edge.tracing.indexer import Indexer
from edge.tracing.requests import RequestServer
from edge.tracing.retention import Retention

#: How long to wait for a request while there is nothing to index.
IDLE_S = 0.5
#: How often to look for what is past its time, in seconds.
RETENTION_S = 3600.0
#: How often to look whether a legal basis has come, or the register was changed, in seconds.
LOOK_S = 60.0


class TracingService:
    """One desk."""

    def __init__(
        self,
        server: RequestServer,
        indexer: Indexer,
        retention: Retention,
        clock: Clock,
        looks: Sequence[Callable[[], None]] = (),
    ) -> None:
        """*looks* are taken now and then: whether something has come for the desk to go by."""
        self._server = server
        self._indexer = indexer
        self._retention = retention
        self._clock = clock
        self._busy = True
        self._next_retention = 0.0
        self._looks = looks
        self._next_look = clock.monotonic() + LOOK_S

    def step(self) -> None:
        """One turn. Raises StorageError: the service ends then, and is started again."""
        # A socket's zero means that it does not wait at all.
        self._server.step(0.001 if self._busy else IDLE_S)
        self._busy = self._indexer.step() > 0
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            for look in self._looks:
                look()
        if now >= self._next_retention:
            self._next_retention = now + RETENTION_S
            self._retention.step()
