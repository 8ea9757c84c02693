"""The people who may sign in, their roles and places, and their sessions. Passwords by Argon2id.

A session is a random number in a cookie; storage keeps only its hash, so that whoever reads the
tables cannot take a session over.
"""

import hashlib
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, text

from edge.clock import utc_seconds, utc_text
from edge.dashboard.local_time import local_day
from edge.dashboard.rights import ROLES, Role, Viewer
from edge.dashboard.scope import Scope, keep_scope, read_scopes
from edge.errors import PeopleError, StorageError
from edge.register import Place
from edge.storage.database import Database
from edge.storage.places import Places

log = logging.getLogger(__name__)

#: What a person may be called: part of no file name, of no topic.
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")
MIN_PASSWORD = 10
#: Of whom there is nothing to see.
NOTHING = Scope()
#: So many managers' places are remembered.
REMEMBERED = 500
#: What stands for the password of somebody who has none here; no password matches it.
NO_PASSWORD = "-"
#: Argon2 reads all of it; more than this is an attack.
MAX_PASSWORD = 512


@dataclass(frozen=True)
class Person:
    """An account."""

    name: str
    role: Role
    active: bool
    scope: Scope  #: of a manager; empty for all other roles
    linked: bool  #: signs in at another server, which says the role
    created: str
    last_seen: str | None


class People:
    """Accounts and sessions in storage. May be used from any thread."""

    def __init__(
        self,
        database: Database,
        idle: timedelta,
        longest: timedelta,
        hasher: PasswordHasher | None = None,
        places: Places | None = None,
    ) -> None:
        """*idle*: a session ends when it was not used for so long; *longest*: in any case.

        *hasher* None: Argon2id at the costs that its library recommends.
        """
        self._database = database
        self._idle, self._longest = idle, longest
        self._hasher = hasher or PasswordHasher()
        #: The register, by which a scope is places.
        self.places = places or Places()
        #: The places of each scope on a day, and the register in which they were found.
        self._found: tuple[Mapping[str, Place], dict[tuple[Scope, date], frozenset[str]]] = ({}, {})
        # Somebody who does not exist must take as long as somebody who does.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    def add(self, name: str, role: Role, password: str, now: str, scope: Scope = NOTHING) -> None:
        """Make an account. Raises PeopleError that says what to change."""
        _check(name, role, scope)
        hashed = self._hash(password)
        with self._database.writing() as connection:
            if _row(connection, name) is not None:
                raise PeopleError(f"there is a {name!r} already; choose another name")
            connection.execute(
                text(
                    "INSERT INTO person (name, role, password, active, created)"
                    " VALUES (:name, :role, :password, 1, :now)"
                ),
                {"name": name, "role": role, "password": hashed, "now": now},
            )
            keep_scope(connection, name, scope)

    def change(self, name: str, role: Role, active: bool, scope: Scope) -> None:
        """Give *name* another role, other places, or none at all; its sessions end at once."""
        _check(name, role, scope)
        with self._database.writing() as connection:
            before = _row(connection, name)
            if before is None:
                raise PeopleError(f"there is no {name!r}")
            if before["role"] == "operator" and (role != "operator" or not active):
                _leave_an_operator(connection, name)
            connection.execute(
                text("UPDATE person SET role = :role, active = :active WHERE name = :name"),
                {"role": role, "active": int(active), "name": name},
            )
            keep_scope(connection, name, scope)
            _end_sessions(connection, name)

    def set_password(self, name: str, password: str) -> None:
        """Give *name* a new password; its sessions end. Raises PeopleError."""
        hashed = self._hash(password)
        with self._database.writing() as connection:
            before = _row(connection, name)
            if before is None:
                raise PeopleError(f"there is no {name!r}")
            if before["password"] == NO_PASSWORD:
                raise PeopleError(f"{name!r} signs in at another server and has no password here")
            connection.execute(
                text("UPDATE person SET password = :password WHERE name = :name"),
                {"password": hashed, "name": name},
            )
            _end_sessions(connection, name)

    def all(self) -> list[Person]:
        """Every account, by name."""
        with self._database.reading() as connection:
            scopes = read_scopes(connection)
            return [
                Person(
                    row.name,
                    row.role,
                    bool(row.active),
                    scopes.get(row.name, NOTHING),
                    row.password == NO_PASSWORD,
                    row.created,
                    row.used,
                )
                for row in connection.execute(
                    text(
                        "SELECT name, role, active, created, password, (SELECT max(used) FROM"
                        " web_session WHERE web_session.person = person.name) AS used"
                        " FROM person ORDER BY name"
                    )
                )
            ]

    def is_linked(self, name: str) -> bool:
        """Whether *name* signs in at another server."""
        with self._database.reading() as connection:
            row = _row(connection, name)
        return row is not None and row["password"] == NO_PASSWORD

    def sign_in(self, name: str, password: str, now: str) -> str | None:
        """A new session's secret, or None if name and password are not those of an account."""
        with self._database.reading() as connection:
            row = _row(connection, name)
        known = row is not None and bool(row["active"]) and row["password"] != NO_PASSWORD
        if not self._matches(row["password"] if row and known else self._nobody, password):
            return None
        if row is None or not known:
            return None
        with self._database.writing() as connection:
            if self._hasher.check_needs_rehash(row["password"]):
                connection.execute(
                    text("UPDATE person SET password = :password WHERE name = :name"),
                    {"password": self._hasher.hash(password), "name": name},
                )
            return self.begin_session(connection, name, now)

    def begin_session(self, connection: Connection, name: str, now: str, hint: str = "") -> str:
        """A new session of *name*, who has shown who that is; gives its secret.

        *hint*: by which another server, if it was asked, knows its own session.
        """
        secret = secrets.token_urlsafe(32)
        connection.execute(
            text(
                "DELETE FROM web_session WHERE used < :idle OR created < :old OR created > :ahead"
            ),
            self._ends(now),
        )
        connection.execute(
            text(
                "INSERT INTO web_session (token, person, created, used, hint)"
                " VALUES (:token, :person, :now, :now, :hint)"
            ),
            {"token": _token(secret), "person": name, "now": now, "hint": hint},
        )
        return secret

    def viewer(self, secret: str, now: str) -> Viewer | None:
        """Who has the session *secret*, if it still runs."""
        token = _token(secret)
        with self._database.reading() as connection:
            row = connection.execute(
                text(
                    "SELECT name, role, used FROM web_session JOIN person ON person = name"
                    " WHERE token = :token AND active = 1 AND used >= :idle"
                    " AND web_session.created >= :old AND web_session.created <= :ahead"
                ),
                {"token": token} | self._ends(now),
            ).one_or_none()
            if row is None:
                return None
            places = self._places_of(connection, row.name, now) if row.role == "manager" else None
        # Not with every page: a phone that looks on would write every few seconds.
        if utc_seconds(now) - utc_seconds(row.used) > 60:
            self._note_use(token, now)
        return Viewer(row.name, row.role, places)

    def _note_use(self, token: str, now: str) -> None:
        try:
            with self._database.writing("note the use of a session") as connection:
                connection.execute(
                    text("UPDATE web_session SET used = :now WHERE token = :token"),
                    {"now": now, "token": token},
                )
        except StorageError as err:
            # Who only looks on need not wait until it can be written to: the next page notes it.
            log.warning("%s", err)

    def sign_out(self, secret: str) -> str:
        """End the session *secret*; gives the hint that it had."""
        token = {"token": _token(secret)}
        with self._database.writing() as connection:
            hint = connection.execute(
                text("SELECT hint FROM web_session WHERE token = :token"), token
            ).scalar_one_or_none()
            connection.execute(text("DELETE FROM web_session WHERE token = :token"), token)
        return str(hint or "")

    def _places_of(self, connection: Connection, name: str, now: str) -> frozenset[str]:
        """The places that *name* has."""
        scope = read_scopes(connection, name).get(name, NOTHING)
        key = (scope, local_day(now))
        register, found = self._found
        if register is not (kept := self.places.all(connection)) or len(found) >= REMEMBERED:
            # Replaced as a whole: other threads see the old pair or the new one.
            register, found = self._found = (kept, {})
        if key not in found:
            found[key] = scope.among(register, key[1])
        return found[key]

    def _hash(self, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise PeopleError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        return self._hasher.hash(password)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return len(password) <= MAX_PASSWORD and self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _ends(self, now: str) -> dict[str, str]:
        seconds = utc_seconds(now)
        return {
            "idle": utc_text(seconds - self._idle.total_seconds()),
            "old": utc_text(seconds - self._longest.total_seconds()),
            # One that a clock that was ahead began would run until that year.
            "ahead": utc_text(seconds + self._longest.total_seconds()),
        }


def keep_role(connection: Connection, name: str, role: Role) -> None:
    """Give *name* another role; only a manager keeps places."""
    connection.execute(
        text("UPDATE person SET role = :role WHERE name = :name"), {"role": role, "name": name}
    )
    if role != "manager":
        keep_scope(connection, name, NOTHING)
    _end_sessions(connection, name)


def _check(name: str, role: str, scope: Scope) -> None:
    if not NAME.fullmatch(name):
        raise PeopleError(f"a name is 1 to 64 of a-z, 0-9 and . _ @ - inside, not {name!r}")
    if role not in ROLES:
        raise PeopleError(f"a role is one of {', '.join(ROLES)}, not {role!r}")
    if scope and role != "manager":
        raise PeopleError(f"only a manager has places of its own, not a role {role!r}")


def _row(connection: Connection, name: str) -> dict[str, Any] | None:
    row = connection.execute(
        text("SELECT role, password, active FROM person WHERE name = :name"), {"name": name}
    ).one_or_none()
    return None if row is None else dict(row._mapping)


def _end_sessions(connection: Connection, name: str) -> None:
    connection.execute(text("DELETE FROM web_session WHERE person = :name"), {"name": name})


def _leave_an_operator(connection: Connection, name: str) -> None:
    others = connection.execute(
        text(
            "SELECT count(*) FROM person WHERE role = 'operator' AND active = 1 AND name <> :name"
        ),
        {"name": name},
    ).scalar_one()
    if not others:
        raise PeopleError(f"{name!r} is the last operator; make another one first")


def _token(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
