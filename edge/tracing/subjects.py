"""What people ask about their own data: to see it, or to have it erased.

A request is acknowledged within two working days (Decree 356/2025, Art. 5). Only tokens of the
person's numbers are kept. Erasing takes the person out of the index and gives an order, of scan ids
alone, by which the collector erases their sealed identities; the scans stay as counts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import text

from edge.errors import DeskError
from edge.storage.database import Database
from edge.tracing.places import LOCAL_MS
from edge.tracing.tokens import Token

Kind = Literal["access", "erasure"]
#: Working days, Monday to Friday. Public holidays are not known here, so the date may be early.
ACKNOWLEDGE_DAYS = 2


@dataclass(frozen=True)
class SubjectRequest:
    """One request. Times are UTC; *due* is the local day by which it must be acknowledged."""

    number: int
    kind: str
    received: str
    due: str
    acknowledged: str
    done: str
    taken_by: str
    late: bool


class SubjectRequests:
    """The requests of one desk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, kind: Kind, tokens: Sequence[Token], by: str, now: str) -> SubjectRequest:
        """Note a request. Raises DeskError for one without a number."""
        if not tokens:
            raise DeskError("a request names the person by at least one number")
        with self._database.writing("note a request") as connection:
            number = connection.execute(
                text(
                    "INSERT INTO subject_request (kind, tokens, received, due, acknowledged, done,"
                    " taken_by) VALUES (:kind, :tokens, :now, :due, '', '', :by) RETURNING number"
                ),
                {
                    "kind": kind,
                    "tokens": json.dumps([token.value.hex() for token in tokens]),
                    "now": now,
                    "due": due_day(now),
                    "by": by,
                },
            ).scalar_one()
        return self.request(int(number), now)

    def all(self, now: str) -> list[SubjectRequest]:
        """Every request, the newest first; which are late goes by *now*."""
        with self._database.reading("read the requests") as connection:
            return [
                _request(row, now)
                for row in connection.execute(
                    text("SELECT * FROM subject_request ORDER BY number DESC")
                )
            ]

    def request(self, number: int, now: str) -> SubjectRequest:
        """The request of that number. Raises DeskError if there is none."""
        for request in self.all(now):
            if request.number == number:
                return request
        raise DeskError(f"there is no request {number}")

    def tokens(self, number: int) -> list[bytes]:
        """Whom a request is about."""
        with self._database.reading("read a request") as connection:
            found = connection.execute(
                text("SELECT tokens FROM subject_request WHERE number = :number"),
                {"number": number},
            ).scalar_one()
        return [bytes.fromhex(token) for token in json.loads(found)]

    def mark(self, number: int, *, now: str, done: bool) -> None:
        """Note that a request was acknowledged, and with *done* that it was fulfilled."""
        with self._database.writing("note a request") as connection:
            connection.execute(
                text(
                    "UPDATE subject_request SET"
                    " acknowledged = CASE WHEN acknowledged = '' THEN :now ELSE acknowledged END,"
                    " done = CASE WHEN :done = 1 AND done = '' THEN :now ELSE done END"
                    " WHERE number = :number"
                ),
                {"now": now, "done": int(done), "number": number},
            )
            if done:
                # Of an erased person not even the token is kept for longer.
                connection.execute(
                    text(
                        "UPDATE subject_request SET tokens = '[]'"
                        " WHERE number = :number AND kind = 'erasure'"
                    ),
                    {"number": number},
                )


def due_day(received: str) -> str:
    """The local day, as 2026-01-07, by which a request of *received* must be acknowledged."""
    day = (datetime.fromisoformat(received) + timedelta(milliseconds=LOCAL_MS)).date()
    left = ACKNOWLEDGE_DAYS
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return day.isoformat()


def _request(row: Any, now: str) -> SubjectRequest:
    today = datetime.fromisoformat(now).astimezone(UTC) + timedelta(milliseconds=LOCAL_MS)
    return SubjectRequest(
        int(row.number),
        row.kind,
        row.received,
        row.due,
        row.acknowledged,
        row.done,
        row.taken_by,
        not row.acknowledged and today.date().isoformat() > row.due,
    )
