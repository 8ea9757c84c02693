"""*People*: who may sign in, as what, and for which places. For operators."""

import secrets
from typing import Any, cast

from starlette.responses import RedirectResponse, Response

from edge.dashboard.local_time import local_day
from edge.dashboard.people import People
from edge.dashboard.rights import ROLES, Role
from edge.dashboard.scope import SCOPE_KINDS, Scope, choices
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotThere, Page
from edge.errors import PeopleError
from edge.refusals import why_refused
from edge.storage.database import Database

#: Up to so many places are chosen by name; of more the ids are written.
BY_NAME = 300
#: More of a form's field is not read.
SCOPE_CHARACTERS = 100_000

#: What each role is called, and what it is for.
ROLE_NAMES: dict[Role, tuple[str, str]] = {
    "operator": ("Vận hành hệ thống", "Operator"),
    "manager": ("Quản lý điểm quét", "Place manager"),
    "technician": ("Kỹ thuật viên", "Technician"),
    "department": ("Sở, ban, ngành", "Department"),
    "desk": ("Bộ phận truy vết", "Tracing desk"),
}


class PeoplePages:
    """The list of accounts, a new one, and one to be changed."""

    def __init__(self, show: Pages, people: People, database: Database) -> None:
        self._show, self._people, self._database = show, people, database

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/people", self._list, "manage people"),
            Page("/people", self._add, "manage people", ("POST",)),
            Page("/people/{name}", self._one, "manage people"),
            Page("/people/{name}", self._change, "manage people", ("POST",)),
        ]

    def _list(self, ask: Ask, problem: str = "", made: tuple[str, str] | None = None) -> Response:
        return self._show.page(
            ask,
            "people.html",
            400 if problem else 200,
            people=self._people.all(),
            roles=ROLE_NAMES,
            problem=problem,
            made=made,
            **self._choices(ask),
            scope=_scope(ask),
        )

    def _add(self, ask: Ask) -> Response:
        name = ask.field("name").strip().lower()
        # Made here, shown once, and changed by its owner.
        password = secrets.token_urlsafe(12)
        try:
            self._people.add(name, _role(ask), password, ask.now, _scope(ask))
        except PeopleError as err:
            return self._list(ask, why_refused(str(err), ask.language))
        return self._list(ask, made=(name, password))

    def _one(self, ask: Ask, problem: str = "", password: str = "") -> Response:
        name = ask.path("name")
        person = next((person for person in self._people.all() if person.name == name), None)
        if person is None:
            raise NotThere
        return self._show.page(
            ask,
            "person.html",
            400 if problem else 200,
            person=person,
            roles=ROLE_NAMES,
            problem=problem,
            password=password,
            **self._choices(ask),
            scope=person.scope,
        )

    def _choices(self, ask: Ask) -> dict[str, Any]:
        with self._database.reading() as connection:
            register = self._people.places.all(connection)
        named = {place.id: place.name for place in register.values()}
        return {
            "names": named if len(named) <= BY_NAME else {},
            "choices": choices(register, local_day(ask.now)),
        }

    def _change(self, ask: Ask) -> Response:
        name = ask.path("name")
        try:
            if ask.field("do") == "password":
                password = secrets.token_urlsafe(12)
                self._people.set_password(name, password)
                return self._one(ask, password=password)
            self._people.change(name, _role(ask), ask.field("active") == "yes", _scope(ask))
        except PeopleError as err:
            return self._one(ask, why_refused(str(err), ask.language))
        return RedirectResponse("/people", 303)


def _role(ask: Ask) -> Role:
    role = ask.field("role")
    # People says what is wrong with any other.
    return cast(Role, role if role in ROLES else role[:20])


def _scope(ask: Ask) -> Scope:
    if ask.field("role") != "manager":
        return Scope()
    # Of several that are chosen, each is a line.
    chosen = {kind: _lines(ask, kind) for kind in SCOPE_KINDS}
    return Scope.of(
        [*ask.field("places").replace(",", " ").split(), *_lines(ask, "place")],
        chosen["body"],
        chosen["area"],
        chosen["operator"],
    )


def _lines(ask: Ask, name: str) -> list[str]:
    return ask.field(name)[:SCOPE_CHARACTERS].splitlines()
