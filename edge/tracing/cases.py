"""Cases: what the desk is asked for, by whom, and who agreed.

Without an approved case nobody can ask anything of anybody, whatever code they hold in their hand;
and without a second person's approval of a release, nobody learns a name.
"""

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from edge.errors import DeskError
from edge.storage.database import Database
from edge.tracing.tokens import Token
from edge.tracing.workers import Worker

PURPOSE_CHARACTERS = 10


@dataclass(frozen=True)
class Case:
    """One case. Times are UTC, ISO 8601."""

    id: str
    purpose: str
    requester: str
    asked: str
    state: str  #: asked, approved, refused or closed
    approver: str
    decided: str
    held: bool


@dataclass(frozen=True)
class Release:
    """A wish to see who certain persons of a case are."""

    number: int
    case_id: str
    persons: tuple[int, ...]
    reason: str
    requester: str
    asked: str
    state: str  #: asked, approved or refused
    approver: str
    decided: str


class Cases:
    """The cases of one desk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, purpose: str, tokens: Iterable[Token], by: Worker, now: str) -> Case:
        """A new case about the persons of *tokens*; it waits for a second person's approval."""
        _check_words(purpose)
        case_id = f"{now[:10].replace('-', '')}-{secrets.token_hex(3)}"
        with self._database.writing("open a case") as connection:
            connection.execute(
                text(
                    "INSERT INTO cases (id, purpose, requester, asked, state, approver, decided,"
                    " hold) VALUES (:id, :purpose, :requester, :asked, 'asked', '', '', 0)"
                ),
                {"id": case_id, "purpose": purpose, "requester": by.name, "asked": now},
            )
            for token in set(tokens):
                connection.execute(
                    text(
                        "INSERT INTO case_token (case_id, kind, token) VALUES (:id, :kind, :token)"
                    ),
                    {"id": case_id, "kind": token.kind, "token": token.value},
                )
        return self.case(case_id)

    def case(self, case_id: str) -> Case:
        """The case of that id. Raises DeskError if there is none."""
        with self._database.reading("read a case") as connection:
            row = connection.execute(
                text("SELECT * FROM cases WHERE id = :id"), {"id": case_id}
            ).one_or_none()
        if row is None:
            raise DeskError(f"there is no case {case_id!r}; `edge-trace case list` names them")
        return _case(row)

    def all(self) -> list[Case]:
        """Every case, the newest first."""
        with self._database.reading("read the cases") as connection:
            return [
                _case(row)
                for row in connection.execute(text("SELECT * FROM cases ORDER BY asked DESC, id"))
            ]

    def approved(self, case_id: str) -> Case:
        """The case of that id, if questions may be asked in it. Raises DeskError."""
        case = self.case(case_id)
        if case.state != "approved":
            raise DeskError(f"case {case_id} is {case.state}, not approved; nothing can be asked")
        return case

    def decide(self, case_id: str, approve: bool, by: Worker, now: str) -> Case:
        """Agree to a case, or not. Raises DeskError for the requester: it takes a second person."""
        case = self.case(case_id)
        _check_second(case.requester, case.state, by, f"case {case_id}")
        self._set(case_id, "approved" if approve else "refused", by.name, now)
        return self.case(case_id)

    def close(self, case_id: str) -> None:
        """End a case: nothing can be asked in it any more, and it holds no records.

        Not even the tokens of the persons whom it was about are kept.
        """
        case = self.case(case_id)
        self._set(case_id, "closed", case.approver, case.decided)
        with self._database.writing("close a case") as connection:
            connection.execute(text("UPDATE cases SET hold = 0 WHERE id = :id"), {"id": case_id})
            for table in ("held_scan", "case_token"):
                connection.execute(
                    text(f"DELETE FROM {table} WHERE case_id = :id"), {"id": case_id}
                )

    def hold(self, case_id: str) -> None:
        """Keep the records of a case's persons past the retention, until it is closed."""
        self.approved(case_id)
        with self._database.writing("hold a case") as connection:
            connection.execute(text("UPDATE cases SET hold = 1 WHERE id = :id"), {"id": case_id})

    def tokens(self, case_id: str) -> list[bytes]:
        """The tokens a case was opened for."""
        with self._database.reading("read a case") as connection:
            return [
                bytes(row.token)
                for row in connection.execute(
                    text("SELECT token FROM case_token WHERE case_id = :id"), {"id": case_id}
                )
            ]

    def add_persons(self, case_id: str, persons: Iterable[int], ring: int) -> None:
        """Make *persons* a part of the case; who is nearer already stays so."""
        rows = [{"id": case_id, "person": person, "ring": ring} for person in set(persons)]
        if not rows:
            return
        with self._database.writing("note who belongs to a case") as connection:
            connection.execute(
                text(
                    "INSERT INTO case_person (case_id, person, ring) VALUES (:id, :person, :ring)"
                    " ON CONFLICT (case_id, person) DO UPDATE SET ring ="
                    " CASE WHEN excluded.ring < case_person.ring THEN excluded.ring"
                    " ELSE case_person.ring END"
                ),
                rows,
            )

    def persons(self, case_id: str) -> dict[int, int]:
        """The persons of a case, each with their ring: 0 whom it is about, 1 contacts, 2 theirs."""
        with self._database.reading("read a case") as connection:
            return {
                int(row.person): int(row.ring)
                for row in connection.execute(
                    text(
                        "SELECT person, ring FROM case_person WHERE case_id = :id ORDER BY person"
                    ),
                    {"id": case_id},
                )
            }

    def held_persons(self) -> list[int]:
        """The persons of all cases that hold their records."""
        with self._database.reading("read what cases hold") as connection:
            return [
                int(row.person)
                for row in connection.execute(
                    text(
                        "SELECT DISTINCT person FROM case_person JOIN cases ON cases.id = case_id"
                        " WHERE hold = 1 ORDER BY person"
                    )
                )
            ]

    def ask_release(
        self, case_id: str, persons: Sequence[int], reason: str, by: Worker, now: str
    ) -> Release:
        """Ask who *persons* are. Raises DeskError for persons who are not of the case."""
        _check_words(reason)
        self.approved(case_id)
        strangers = set(persons) - self.persons(case_id).keys()
        if strangers or not persons:
            raise DeskError(f"case {case_id} has no person {sorted(strangers) or 'named'}")
        with self._database.writing("ask for a release") as connection:
            number = connection.execute(
                text(
                    "INSERT INTO release (case_id, persons, reason, requester, asked, state,"
                    " approver, decided) VALUES (:id, :persons, :reason, :requester, :asked,"
                    " 'asked', '', '') RETURNING number"
                ),
                {
                    "id": case_id,
                    "persons": json.dumps(sorted(set(persons))),
                    "reason": reason,
                    "requester": by.name,
                    "asked": now,
                },
            ).scalar_one()
        return self.release(int(number))

    def release(self, number: int) -> Release:
        """The release of that number. Raises DeskError if there is none."""
        found = [release for release in self.releases() if release.number == number]
        if not found:
            raise DeskError(f"there is no release {number}")
        return found[0]

    def releases(self) -> list[Release]:
        """Every release, the newest first."""
        with self._database.reading("read the releases") as connection:
            return [
                _release(row)
                for row in connection.execute(text("SELECT * FROM release ORDER BY number DESC"))
            ]

    def decide_release(self, number: int, approve: bool, by: Worker, now: str) -> Release:
        """Agree to a release, or not. Raises DeskError for the requester."""
        release = self.release(number)
        _check_second(release.requester, release.state, by, f"release {number}")
        with self._database.writing("decide a release") as connection:
            connection.execute(
                text(
                    "UPDATE release SET state = :state, approver = :by, decided = :now"
                    " WHERE number = :number AND state = 'asked'"
                ),
                {
                    "state": "approved" if approve else "refused",
                    "by": by.name,
                    "now": now,
                    "number": number,
                },
            )
        return self.release(number)

    def _set(self, case_id: str, state: str, approver: str, decided: str) -> None:
        with self._database.writing("decide a case") as connection:
            connection.execute(
                text(
                    "UPDATE cases SET state = :state, approver = :approver, decided = :decided"
                    " WHERE id = :id"
                ),
                {"state": state, "approver": approver, "decided": decided, "id": case_id},
            )


def _check_words(words: str) -> None:
    if len(words.strip()) < PURPOSE_CHARACTERS or len(words) > 500 or not words.isprintable():
        raise DeskError(
            f"a purpose is one line of {PURPOSE_CHARACTERS} to 500 characters that somebody else"
            " can judge by"
        )


def _check_second(requester: str, state: str, by: Worker, what: str) -> None:
    if by.name == requester:
        raise DeskError(f"{what} was asked for by {requester}; a second person must decide")
    if state != "asked":
        raise DeskError(f"{what} is {state} already")


def _case(row: Any) -> Case:
    return Case(
        row.id,
        row.purpose,
        row.requester,
        row.asked,
        row.state,
        row.approver,
        row.decided,
        bool(row.hold),
    )


def _release(row: Any) -> Release:
    return Release(
        int(row.number),
        row.case_id,
        tuple(json.loads(row.persons)),
        row.reason,
        row.requester,
        row.asked,
        row.state,
        row.approver,
        row.decided,
    )
