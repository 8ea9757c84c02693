"""What the data-protection officer of the desk does; each method is a request they may make.

People who ask about their own data, and breaches. As with `Desk`, what cannot be recorded is not
answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.clock import utc_seconds, utc_text
from edge.errors import DeskError
from edge.tracing.audit import Audit
from edge.tracing.breach import Breach, find_breach
from edge.tracing.cases import Cases
from edge.tracing.erased import Order, note_erased, order_of
from edge.tracing.index import Index
from edge.tracing.keys import KeyRing
from edge.tracing.places import DAY, Places
from edge.tracing.questions import Questions
from edge.tracing.receipts import noting, record_due
from edge.tracing.shown import ShownStay, local_moment, shown_stay
from edge.tracing.subjects import Kind, SubjectRequest, SubjectRequests
from edge.tracing.tokens import Tokens
from edge.tracing.workers import Worker

#: A person's own data are all that there are: nothing is kept for longer than this.
EVERYTHING_MS = 40 * DAY


@dataclass(frozen=True)
class Fulfilled:
    """What a request came to."""

    kind: str
    #: For access: what was recorded of them.
    stays: tuple[ShownStay, ...]
    #: For erasure: (scan id, place, time) for `edge-collector erase`; nothing personal.
    order: Order


class Officer:
    """The requests. *by* is always who makes it."""

    def __init__(
        self,
        *,
        requests: SubjectRequests,
        index: Index,
        questions: Questions,
        cases: Cases,
        places: Places,
        tokens: Tokens,
        keys: KeyRing,
        audit: Audit,
    ) -> None:
        self._requests = requests
        self._index = index
        self._questions = questions
        self._cases = cases
        self._places = places
        self._tokens = tokens
        self._keys = keys
        self._audit = audit

    def take_request(self, by: Worker, kind: Kind, numbers: Sequence[str]) -> SubjectRequest:
        """Note that somebody asks to see, or to have erased, what is kept of them.

        *numbers*: theirs, "pin:…" and so on, as the officer has checked on their documents.
        """
        by.must_be("officer")
        tokens = [self._tokens.of_text(number) for number in numbers]
        request = self._requests.take(kind, tokens, by.name, self._audit.now())
        self._audit.record(by.name, "request taken", request=request.number, kind=kind)
        return request

    def requests(self, by: Worker) -> list[SubjectRequest]:
        """All requests, the newest first; late are those not acknowledged in time."""
        by.must_be("officer", "auditor")
        return self._requests.all(self._audit.now())

    def acknowledge(self, by: Worker, request: int) -> SubjectRequest:
        """Note that the person was told that their request has arrived."""
        by.must_be("officer")
        self._requests.request(request, self._audit.now())
        self._audit.record(by.name, "request acknowledged", request=request)
        self._requests.mark(request, now=self._audit.now(), done=False)
        return self._requests.request(request, self._audit.now())

    def fulfil(self, by: Worker, request: int) -> Fulfilled:
        """Give, or erase, what is kept of who asked. Raises DeskError while a case holds it.

        The order of an erasure is given as often as it is asked for: it may have been lost.
        """
        by.must_be("officer")
        found = self._requests.request(request, self._audit.now())
        if found.done and found.kind == "erasure":
            self._audit.record(by.name, "order given again", request=request)
            return Fulfilled("erasure", (), order_of(self._index.database, request))
        if found.done:
            raise DeskError(f"request {request} was fulfilled on {found.done[:10]}")
        persons = self._questions.persons(self._requests.tokens(request))
        if found.kind == "access":
            answer = Fulfilled("access", self._stays(persons), ())
            self._audit.record(by.name, "access given", request=request, persons=persons)
        else:
            answer = self._erase(by, request, persons)
        self._requests.mark(request, now=self._audit.now(), done=True)
        return answer

    def breach(self, by: Worker, unit: str, since: str, until: str, detected: str = "") -> Breach:
        """Which records, units and days are affected. *unit*: "*" for all; counts alone."""
        by.must_be("officer")
        began, ended = local_moment(since), local_moment(until, end=True)
        noticed = utc_text(local_moment(detected) / 1000) if detected else self._audit.now()
        self._audit.record(by.name, "breach file", unit=unit, since=since, until=until)
        return find_breach(self._questions.database, unit, began, ended, noticed, self._keys.ids)

    def _stays(self, persons: Sequence[int]) -> tuple[ShownStay, ...]:
        now = local_moment(self._audit.now())
        return tuple(
            shown_stay(stay, self._places.names)
            for person in persons
            for stay in self._questions.where(person, now - EVERYTHING_MS, now + DAY)
        )

    def _erase(self, by: Worker, request: int, persons: Sequence[int]) -> Fulfilled:
        held = set(persons) & set(self._cases.held_persons())
        if held:
            raise DeskError(
                f"request {request}: a case holds what is kept of this person; close it first,"
                " or tell them why it cannot be erased yet"
            )
        scans = [
            (scan, place, time)
            for person in persons
            for scan, place, time, _ in self._questions.boxes_of(person)
        ]
        # First: if this ends midway, the rest is done when it is asked for once more.
        now = round(utc_seconds(self._audit.now()) * 1000)
        note_erased(self._index.database, request, scans, now)
        self._index.erase_persons(persons, noting(by.name, request=request))
        record_due(self._index.database, self._audit)
        return Fulfilled("erasure", (), order_of(self._index.database, request))
