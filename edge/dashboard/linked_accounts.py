"""Accounts of people who sign in at another server, and the sign-ins that have begun there."""

import hashlib
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, text

from edge.clock import utc_seconds, utc_text
from edge.dashboard.oidc import Identity
from edge.dashboard.people import NAME, NO_PASSWORD, People, keep_role
from edge.dashboard.rights import Role
from edge.errors import SignInError
from edge.storage.database import Database

#: A sign-in that takes longer has to begin anew.
BEGUN_S = 600.0


@dataclass(frozen=True)
class Begun:
    """A sign-in on its way; what has to fit when the browser comes back."""

    state: str
    browser: str  #: held by the browser that began, so that nobody else's sign-in ends in it
    nonce: str
    verifier: str
    goal: str  #: the page that was asked for


class LinkedAccounts:
    """Those accounts and sign-ins in storage. For any thread."""

    def __init__(self, database: Database, people: People) -> None:
        self._database, self._people = database, people

    def begin(self, goal: str, now: str) -> Begun:
        """A sign-in that begins, kept until it comes back."""
        state, browser, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(4))
        begun = Begun(state, browser, nonce, verifier, goal)
        with self._database.writing("begin a sign-in") as connection:
            connection.execute(
                text("DELETE FROM sign_in_begun WHERE begun < :old"), {"old": _long_ago(now)}
            )
            connection.execute(
                text(
                    "INSERT INTO sign_in_begun (state, browser, nonce, verifier, goal, begun)"
                    " VALUES (:state, :browser, :nonce, :verifier, :goal, :now)"
                ),
                vars(begun)
                | {"state": _hash(begun.state), "browser": _hash(begun.browser), "now": now},
            )
        return begun

    def take(self, state: str, browser: str, now: str) -> Begun:
        """The sign-in that comes back, once. Raises SignInError if this browser began none such."""
        with self._database.writing("take a sign-in") as connection:
            row = connection.execute(
                text(
                    "SELECT browser, nonce, verifier, goal, begun FROM sign_in_begun"
                    " WHERE state = :s"
                ),
                {"s": _hash(state)},
            ).one_or_none()
            if row is None or row.browser != _hash(browser) or row.begun < _long_ago(now):
                raise SignInError(
                    "Lần đăng nhập này đã cũ; hãy bắt đầu lại.",
                    "This sign-in is out of date; begin anew.",
                )
            connection.execute(
                text("DELETE FROM sign_in_begun WHERE state = :s"), {"s": _hash(state)}
            )
        return Begun(state, browser, row.nonce, row.verifier, row.goal)

    def sign_in(self, issuer: str, identity: Identity, now: str) -> tuple[str, str]:
        """Name and new session of *identity*'s account, made if there is none yet.

        Its role is what the other server gives it now. Raises SignInError for somebody who has none
        here, or whose account is locked.
        """
        if identity.role is None:
            raise SignInError(
                "Tài khoản của bạn chưa được cấp vai trò ở đây; hãy hỏi người vận hành.",
                "Your account has been given no role here; ask the operator.",
                f"subject {identity.subject[:64]!r} has no group of [oidc]",
            )
        with self._database.writing("sign in") as connection:
            row = connection.execute(
                text(
                    "SELECT name, role, active FROM person_link JOIN person ON person = name"
                    " WHERE issuer = :issuer AND subject = :subject"
                ),
                {"issuer": issuer, "subject": identity.subject},
            ).one_or_none()
            if row is None:
                name = _make(connection, issuer, identity, identity.role, now)
            else:
                name = str(row.name)
                if not row.active:
                    raise SignInError(
                        "Tài khoản này đã bị khóa.", "This account is locked.", f"{name} is locked"
                    )
                if row.role != identity.role:
                    keep_role(connection, name, identity.role)
            return name, self._people.begin_session(connection, name, now, identity.token)


def _make(connection: Connection, issuer: str, identity: Identity, role: Role, now: str) -> str:
    name = _free_name(connection, identity)
    connection.execute(
        text(
            "INSERT INTO person (name, role, password, active, created)"
            " VALUES (:name, :role, :password, 1, :now)"
        ),
        {"name": name, "role": role, "password": NO_PASSWORD, "now": now},
    )
    connection.execute(
        text("INSERT INTO person_link (issuer, subject, person) VALUES (:issuer, :subject, :name)"),
        {"issuer": issuer, "subject": identity.subject, "name": name},
    )
    return name


def _free_name(connection: Connection, identity: Identity) -> str:
    """A name that no other account has: a local account is never taken over by its name."""
    mark = hashlib.sha256(identity.subject.encode()).hexdigest()
    wished = re.sub(r"[^a-z0-9._@-]+", "-", identity.name.lower()).strip("._@-")[:40].rstrip("._@-")
    for name in (wished, f"{wished}.{mark[:6]}", mark[:32]):
        taken = connection.execute(
            text("SELECT 1 FROM person WHERE name = :name"), {"name": name}
        ).one_or_none()
        if NAME.fullmatch(name) and taken is None:
            return name
    return mark


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _long_ago(now: str) -> str:
    return utc_text(utc_seconds(now) - BEGUN_S)
