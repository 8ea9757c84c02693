"""*Set-up*: the register of places, the legal bases, and what has been erased."""

import msgspec
from starlette.responses import Response

from edge.dashboard.bases import Bases
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, Page
from edge.errors import RegisterError
from edge.register import KINDS, Register
from edge.storage.counts import expired_before
from edge.storage.database import Database
from edge.storage.places import Change, Places, keep_register

#: So many places are listed; who has more finds them by name.
SHOWN = 100


class SetUpPages:
    """The register, to be seen, searched, and handed in anew."""

    def __init__(self, show: Pages, database: Database, places: Places, bases: Bases) -> None:
        self._show, self._database, self._places = show, database, places
        self._bases = bases

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/set-up", self._set_up, "see set-up"),
            Page("/set-up/register", self._hand_in, "change register", ("POST",)),
        ]

    def _set_up(self, ask: Ask, problem: str = "", change: Change | None = None) -> Response:
        find = ask.query("find").strip().lower()[:64]
        with self._database.reading() as connection:
            register = self._places.all(connection)
            erased_before = expired_before(connection)
        found = [
            place
            for place in register.values()
            if find in place.id or find in place.name.lower() or find in place.address.lower()
        ]
        return self._show.page(
            ask,
            "set_up.html",
            400 if problem else 200,
            places=found[:SHOWN],
            total=len(found),
            kinds=KINDS,
            find=find,
            basis_known=self._bases.known,
            bases=self._bases.read(),
            erased_before=erased_before,
            problem=problem,
            change=change,
        )

    def _hand_in(self, ask: Ask) -> Response:
        content = ask.form.get("register", b"")
        try:
            register = msgspec.json.decode(content, type=Register)
            change = keep_register(
                self._database, register, ask.now, remove=ask.field("remove") == "yes"
            )
        except msgspec.DecodeError as err:
            return self._set_up(ask, f"register.json: {err}")
        except RegisterError as err:
            return self._set_up(ask, str(err))
        return self._set_up(ask, change=change)
