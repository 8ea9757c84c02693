"""*Set-up*: the register of places, the legal bases, and what has been erased."""

import io
import logging
from dataclasses import dataclass

import msgspec
from starlette.responses import RedirectResponse, Response

from edge.cli import printable
from edge.dashboard.bases import Bases
from edge.dashboard.local_time import local_day
from edge.dashboard.mail_queue import state_of
from edge.dashboard.pages.reports import file_answer
from edge.dashboard.register_draft import Drafts, compare, read_handed_in
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotThere, Page
from edge.errors import RegisterError, TableError
from edge.place_table import write_places
from edge.refusals import why_file_refused, why_refused
from edge.register import KINDS, Register
from edge.storage import keeping
from edge.storage.counts import expired_before
from edge.storage.database import Database
from edge.storage.erasing import is_under_way
from edge.storage.keeping import LONGEST, SHORTEST, Done, Erased, Keeping, Wish
from edge.storage.keeping.known_time import DO, known_times
from edge.storage.places import Change, Places

log = logging.getLogger(__name__)

#: So many places are listed; who has more finds them by name.
SHOWN = 100
#: So many wishes and erasures are shown.
HISTORY = 10
_DAYS = {str(days) for days in (0, *range(SHORTEST, LONGEST + 1))}


@dataclass(frozen=True)
class _Kept:
    """For how long scans are kept."""

    done: list[Done]
    wishes: list[Wish]
    erasures: list[Erased]

    @property
    def days(self) -> int | None:
        """What holds now: the shortest of what collectors do; None if none erases anything."""
        return min((one.days for one in self.done if one.days), default=None)

    @property
    def wished(self) -> int:
        """What is wished for; 0 for nothing."""
        return self.wishes[0].days if self.wishes else 0


class SetUpPages:
    """The register, to be seen, searched, and handed in anew."""

    def __init__(
        self, show: Pages, database: Database, places: Places, bases: Bases, *, mails: bool
    ) -> None:
        """*mails*: whether there is a server that takes mail."""
        self._show, self._database, self._places = show, database, places
        self._bases, self._mails = bases, mails
        self._drafts, self._keeping = Drafts(database, places), Keeping(database)

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/set-up", self._set_up, "see set-up"),
            Page("/set-up/register", self._hand_in, "change register", ("POST",)),
            Page("/set-up/register/take", self._take, "change register", ("POST",)),
            Page("/set-up/retention", self._retain, "change retention", ("POST",)),
            Page("/set-up/register/{form}", self._download, "see set-up"),
        ]

    def _set_up(self, ask: Ask, problem: str = "", change: Change | None = None) -> Response:
        find = ask.query("find").strip().lower()[:64]
        with self._database.reading() as connection:
            register = self._places.all(connection)
            erased_before = expired_before(connection)
            being_erased = is_under_way(connection)
            mail = state_of(connection) if self._mails else None
            clocks = [known for known in known_times(connection) if known.trouble]
            kept = _Kept(
                keeping.done(connection),
                keeping.wishes(connection, HISTORY),
                keeping.erasures(connection, HISTORY),
            )
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
            being_erased=being_erased,
            kept=kept,
            clocks=clocks,
            vouch=DO,
            mail=mail,
            bounds=(SHORTEST, LONGEST),
            problem=problem,
            change=change,
        )

    def _hand_in(self, ask: Ask) -> Response:
        content = ask.form.get("register", b"")
        name = printable(ask.field("register.name"))[:60] or "?"
        remove = ask.field("remove") == "yes"
        try:
            handed_in = read_handed_in(content if isinstance(content, bytes) else b"", name)
            with self._database.reading() as connection:
                register = self._places.all(connection)
            preview = compare(register, handed_in, remove=remove)
        except (RegisterError, TableError) as err:
            why = why_file_refused(str(err), name, ask.language)
            return self._set_up(
                ask, ask.say("Không dùng được tệp này", "This file cannot be used") + f": {why}"
            )
        draft = ""
        # A row with a slip of the pen is not a place that is gone.
        if preview.does_something and not (remove and preview.refused):
            draft = self._drafts.keep(preview, ask.person().name, ask.now, remove=remove)
        return self._show.page(
            ask,
            "register_preview.html",
            file=name,
            preview=preview,
            remove=remove,
            draft=draft,
            kinds=KINDS,
            shown=SHOWN,
        )

    def _take(self, ask: Ask) -> Response:
        try:
            change = self._drafts.take(ask.field("draft"), ask.person().name, ask.now)
        except RegisterError as err:
            why = why_refused(str(err), ask.language)
            return self._set_up(ask, ask.say("Chưa áp dụng", "Not applied") + f": {why}")
        return self._set_up(ask, change=change)

    def _retain(self, ask: Ask) -> Response:
        wished = ask.field("days")
        days = int(wished) if wished in _DAYS else -1
        if days != 0 and not SHORTEST <= days <= LONGEST:
            return self._set_up(
                ask,
                ask.say(
                    f"Thời hạn lưu là {SHORTEST} đến {LONGEST} ngày.",
                    f"Scans are kept for {SHORTEST} to {LONGEST} days.",
                ),
            )
        if ask.field("sure") != "yes":
            return self._set_up(
                ask,
                ask.say(
                    "Hãy đánh dấu rằng bạn biết lượt quét cũ hơn sẽ bị xóa.",
                    "Mark that you know that older scans will be erased.",
                ),
            )
        self._keeping.wish(days, ask.person().name, ask.now)
        log.info("%s wishes scans to be kept for %d days", ask.person().name, days)
        return RedirectResponse("/set-up#kept", 303)

    def _download(self, ask: Ask) -> Response:
        form = ask.path("form")
        with self._database.reading() as connection:
            register = self._places.all(connection)
        if form == "json":
            content = msgspec.json.encode(Register(places=tuple(register.values())))
        elif form in ("csv", "xlsx"):
            out = io.BytesIO()
            write_places(out, "xlsx" if form == "xlsx" else "csv", register.values())
            content = out.getvalue()
        else:
            raise NotThere
        return file_answer(content, form, f"danh-muc-{local_day(ask.now)}.{form}")
