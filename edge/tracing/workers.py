"""The people of the desk, and how they prove who they are.

On the desk's machine the kernel says whose account a request comes from; through pages, a person
gives the password of their account at the desk. Neither a page nor the machine it runs on can then
speak for somebody, and the second person's approval is a second person's.
"""

import logging
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import text

from edge.errors import DeskError
from edge.sealing import hash_password, password_matches
from edge.storage.database import Database

log = logging.getLogger(__name__)

#: tracer: opens cases and asks; approver: agrees to another's case or release; officer: retention,
#: requests of persons, breaches; auditor: reads the audit; venue: sees counts.
Role = Literal["tracer", "approver", "officer", "auditor", "venue"]
ROLES: tuple[Role, ...] = get_args(Role)

PASSWORD_CHARACTERS = 12


@dataclass(frozen=True)
class Worker:
    """Somebody who works at the desk."""

    name: str
    title: str
    roles: frozenset[str]
    active: bool = True

    def must_be(self, *roles: Role) -> None:
        """Raise DeskError unless this worker has one of *roles*."""
        if not self.roles & set(roles):
            raise DeskError(
                f"{self.name} is not {' or '.join(roles)} of this desk; nothing is shown"
            )


#: What is done by the machine's administrator, who can appoint workers and nothing else.
ADMINISTRATOR = Worker("administrator", "", frozenset({"administrator"}))


class Workers:
    """The accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, name: str, title: str, roles: str, password: str = "") -> Worker:
        """Appoint *name*, their account on this machine, with *roles* separated by commas.

        *password*: for pages; "" keeps what there is. Raises DeskError.
        """
        wanted = {role.strip() for role in roles.split(",") if role.strip()}
        if not wanted or not wanted <= set(ROLES):
            raise DeskError(f"roles are {roles!r}; they must be some of {','.join(ROLES)}")
        if not name.isprintable() or not 1 <= len(name) <= 32 or not title.isprintable():
            raise DeskError("a worker's name is 1 to 32 letters, as the account on this machine")
        if password and len(password) < PASSWORD_CHARACTERS:
            raise DeskError(f"a password has at least {PASSWORD_CHARACTERS} characters")
        with self._database.writing("keep a worker") as connection:
            connection.execute(
                text(
                    "INSERT INTO worker (name, title, role, secret, active)"
                    " VALUES (:name, :title, :role, :secret, 1) ON CONFLICT (name) DO UPDATE"
                    " SET title = excluded.title, role = excluded.role, active = 1, secret ="
                    " CASE WHEN excluded.secret = '' THEN worker.secret ELSE excluded.secret END"
                ),
                {
                    "name": name,
                    "title": title,
                    "role": ",".join(sorted(wanted)),
                    "secret": hash_password(password) if password else "",
                },
            )
        return Worker(name, title, frozenset(wanted))

    def remove(self, name: str) -> None:
        """Let *name* do nothing any more; what they did stays theirs. Raises DeskError."""
        with self._database.writing("keep a worker") as connection:
            gone = connection.execute(
                text("UPDATE worker SET active = 0, secret = '' WHERE name = :name"), {"name": name}
            ).rowcount
        if not gone:
            raise DeskError(f"there is no worker {name!r}")

    def all(self) -> list[Worker]:
        """Everybody who ever was one."""
        with self._database.reading("read the workers") as connection:
            return [
                Worker(row.name, row.title, frozenset(row.role.split(",")), bool(row.active))
                for row in connection.execute(text("SELECT * FROM worker ORDER BY name"))
            ]

    def known(self, name: str) -> Worker:
        """The worker whose account the kernel says this is. Raises DeskError."""
        for worker in self.all():
            if worker.name == name and worker.active:
                return worker
        raise DeskError(f"{name} is no worker of this desk; its administrator appoints them")

    def signed_in(self, name: str, password: str) -> Worker:
        """The worker who gives this password. Raises DeskError, the same for all that is wrong."""
        with self._database.reading("read the workers") as connection:
            secret = connection.execute(
                text("SELECT secret FROM worker WHERE name = :name AND active = 1"), {"name": name}
            ).scalar()
        if not secret or not password_matches(secret, password):
            log.warning("a sign-in as %r was refused", name[:32])
            raise DeskError("this name and password are not those of a worker of this desk")
        return self.known(name)
