"""Of several dashboards on one storage, one does what must be done once; when it dies, another.

Mail, reports, alarms and what is passed on are not for two at a time. The one on duty lets a number
grow; the others watch it, each by its own clock, so that it does not matter what time their
machines believe it is.
"""

import logging
import secrets

from sqlalchemy import text

from edge.clock import Clock
from edge.storage.database import Database

log = logging.getLogger(__name__)

#: How often the one on duty says that it lives, and the others look, in seconds.
EVERY_S = 10.0
#: For so long it must have said nothing before another takes over. It is far beyond `EVERY_S`: a
#: machine that stands still and comes back could otherwise find two at one mail.
SILENT_S = 90.0


class Duty:
    """Whether this dashboard is on duty. For one thread, but for `is_anothers`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._name = secrets.token_hex(8)
        self._mine = False
        self._next = 0.0
        #: What was seen last of another's, and since when.
        self._seen: tuple[str, int] | None = None
        self._seen_since = 0.0

    def step(self) -> bool:
        """Whether this dashboard is on duty. Raises StorageError."""
        now = self._clock.monotonic()
        if now < self._next:
            return self._mine
        # Where storage does not answer it is asked again at once: what was ours may be another's.
        was_mine, self._mine = self._mine, self._try(now)
        self._next = now + EVERY_S
        if self._mine and not was_mine:
            log.info("on duty: mail, reports, alarms and forwarding are ours")
        elif was_mine and not self._mine:
            log.warning("off duty: another dashboard has taken over")
        return self._mine

    def is_anothers(self) -> bool:
        """Whether another has taken over by now. Raises StorageError.

        Asked as something is handed over: a machine that stood still has not looked since.
        """
        with self._database.reading("look who is on duty") as connection:
            holder = connection.execute(text("SELECT holder FROM duty")).scalar_one()
        return holder not in ("", self._name)

    def leave(self) -> None:
        """Let another take over at once. Raises StorageError."""
        if self._mine:
            self._mine = False
            with self._database.writing("leave the duty") as connection:
                connection.execute(
                    text("UPDATE duty SET holder = '', turn = turn + 1 WHERE holder = :name"),
                    {"name": self._name},
                )

    def _try(self, now: float) -> bool:
        with self._database.reading("look who is on duty") as connection:
            holder, turn = connection.execute(text("SELECT holder, turn FROM duty")).one()
        if holder not in ("", self._name):
            if (holder, turn) != self._seen:
                self._seen, self._seen_since = (holder, turn), now
            if now - self._seen_since < SILENT_S:
                return False
        with self._database.writing("be on duty") as connection:
            taken = connection.execute(
                text(
                    "UPDATE duty SET holder = :name, turn = turn + 1"
                    " WHERE holder = :holder AND turn = :turn"
                ),
                {"name": self._name, "holder": holder, "turn": turn},
            ).rowcount
        return taken == 1
