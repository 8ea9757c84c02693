"""Mail that waits in storage until a server has taken it, however long that server is away."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, text

from edge.clock import Clock, utc_seconds, utc_text
from edge.dashboard.local_time import local
from edge.dashboard.mail import Mailer
from edge.errors import DeliveryError
from edge.storage.database import Database

log = logging.getLogger(__name__)

#: After a failure the queue rests so long, and that mail so long and ever longer.
REST_S, LONGEST_REST_S = 60.0, 3600.0
#: What no server took for so long is given up, and said so on the page.
GIVE_UP_S = 7 * 86_400.0
#: But not before so many attempts, a day of them: by a clock that is years ahead a week is over.
GIVE_UP_TRIES = 24
#: What went is remembered for so long.
REMEMBER_S = 30 * 86_400.0

_WAITS = "sent IS NULL AND given_up IS NULL"


@dataclass(frozen=True)
class QueueState:
    """How the queue is."""

    waiting: int
    oldest: str | None  #: since when the oldest of them waits
    error: str  #: why the last attempt of one that waits failed; "" if none did
    last_sent: str | None
    given_up: int  #: in the last 30 days


class MailQueue:
    """The queue. `step` for one thread, the rest for any."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        mailer: Mailer,
        is_anothers: Callable[[], bool] = lambda: False,
    ) -> None:
        """*is_anothers*: whether another dashboard hands the mail over by now."""
        self._database, self._clock, self._mailer = database, clock, mailer
        self._is_anothers = is_anothers
        self._not_before = 0.0

    def put(
        self,
        connection: Connection,
        about: str,
        to: Sequence[str],
        subject: str,
        body: str,
        files: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Let a mail go out, on disk when the transaction of *connection* ends.

        *about*: what it tells of; what was put in before under that word is not put in again.
        """
        now = self._clock.now().at
        content = self._mailer.compose(to, subject, body, local(now), files)
        connection.execute(
            text(
                "INSERT INTO mail (about, made, due, recipients, content)"
                " VALUES (:about, :now, :now, :to, :content) ON CONFLICT (about) DO NOTHING"
            ),
            {
                "about": about,
                "now": now,
                "to": msgspec.json.encode(list(to)).decode(),
                "content": content,
            },
        )

    def step(self) -> bool:
        """Hand over the mail that has waited longest, if one is due; whether one went.

        What is not taken is tried again, later and later. Raises StorageError.
        """
        if self._clock.monotonic() < self._not_before:
            return False
        now = self._clock.now().at
        with self._database.reading("look for mail") as connection:
            row = connection.execute(
                text(
                    "SELECT number, about, made, tries, recipients, content FROM mail"
                    # No rest is longer: what is due later was put in by a clock that was ahead.
                    f" WHERE {_WAITS} AND (due <= :now OR due > :rested)"
                    " ORDER BY due, number LIMIT 1"
                ),
                {"now": now, "rested": utc_text(utc_seconds(now) + 2 * LONGEST_REST_S)},
            ).one_or_none()
        if row is None or self._is_anothers():
            self._not_before = self._clock.monotonic() + 5.0
            return False
        to: list[str] = msgspec.json.decode(row.recipients, type=list[str])
        try:
            refused = self._mailer.send(to, bytes(row.content))
        except DeliveryError as err:
            self._failed(row.number, row.made, row.tries, to, str(err))
            self._not_before = self._clock.monotonic() + REST_S
            return False
        if refused:
            # The others have it; these get it once more, and meanwhile other mail goes.
            why = "; ".join(f"{address}: {reason}" for address, reason in refused.items())
            self._failed(row.number, row.made, row.tries, list(refused), f"mail: {why}")
            return True
        log.info("mail: %s was taken by %s", row.about, self._mailer.where)
        self._change("sent = :now, content = :empty, error = ''", row.number, now=now, empty=b"")
        self._forget(now)
        return True

    def _failed(self, number: int, made: str, tries: int, to: list[str], why: str) -> None:
        now = self._clock.now().at
        log.warning("%s", why)
        left = msgspec.json.encode(to).decode()
        if tries >= GIVE_UP_TRIES and utc_seconds(now) - utc_seconds(made) >= GIVE_UP_S:
            log.error("mail: given up after a week: %s", why)
            self._change("given_up = :now, error = :why", number, now=now, why=why)
            return
        rest_s = min(REST_S * 2**tries, LONGEST_REST_S)
        self._change(
            "tries = tries + 1, due = :due, error = :why, recipients = :left",
            number,
            due=utc_text(utc_seconds(now) + rest_s),
            why=why,
            left=left,
        )

    def _change(self, change: str, number: int, **values: object) -> None:
        with self._database.writing("note what became of a mail") as connection:
            connection.execute(
                text(f"UPDATE mail SET {change} WHERE number = :number"),
                values | {"number": number},
            )

    def _forget(self, now: str) -> None:
        with self._database.writing("forget old mail") as connection:
            connection.execute(
                text(f"DELETE FROM mail WHERE made < :old AND NOT ({_WAITS})"),
                {"old": utc_text(utc_seconds(now) - REMEMBER_S)},
            )


def state_of(connection: Connection) -> QueueState:
    """How the queue is, for whoever looks."""
    waits = connection.execute(
        text(f"SELECT count(*) AS waiting, min(made) AS oldest FROM mail WHERE {_WAITS}")
    ).one()
    error = connection.execute(
        text(f"SELECT error FROM mail WHERE {_WAITS} AND error <> '' ORDER BY due DESC LIMIT 1")
    ).scalar_one_or_none()
    went = connection.execute(
        text("SELECT max(sent) AS sent, count(given_up) AS given_up FROM mail")
    ).one()
    return QueueState(waits.waiting, waits.oldest, str(error or ""), went.sent, went.given_up)
