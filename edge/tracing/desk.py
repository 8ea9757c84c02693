"""What the desk does for the people who work at it; each method is a request they may make.

Every answer is written into the audit before it is given: who asked what, in which case, and which
persons they saw. What cannot be recorded is not answered. Persons are numbers until a release that
a second person has approved names them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge.chain import Head
from edge.errors import DeskError, SealError
from edge.tracing.answers import Completeness, Contact
from edge.tracing.audit import Audit
from edge.tracing.cases import Case, Cases, Release
from edge.tracing.keys import KeyRing
from edge.tracing.places import Places
from edge.tracing.questions import Questions
from edge.tracing.shown import (
    Named,
    PersonsOfCase,
    ShownContact,
    ShownStay,
    local_moment,
    shown_contact,
    shown_stay,
)
from edge.tracing.tokens import Tokens
from edge.tracing.workers import ADMINISTRATOR, Worker, Workers

#: What one question may look back over, in days; more than any retention.
MOST_DAYS = 40
#: Of the first ring, so many are followed into the second.
MOST_CONTACTS = 200


class Boxes(Protocol):
    """Where sealed identities are found again, for a release."""

    def sealed(self, scans: Sequence[tuple[str, str, str]]) -> dict[str, tuple[str, bytes]]:
        """(key, sealed) of each scan that is still there, by its id; asked by (id, place, time)."""
        ...


class Desk:
    """The requests. *by* is always who makes it."""

    def __init__(
        self,
        *,
        workers: Workers,
        cases: Cases,
        questions: Questions,
        places: Places,
        tokens: Tokens,
        keys: KeyRing,
        boxes: Boxes,
        audit: Audit,
    ) -> None:
        self._workers = workers
        self._cases = cases
        self._questions = questions
        self._places = places
        self._tokens = tokens
        self._keys = keys
        self._boxes = boxes
        self._audit = audit

    # Workers

    def put_worker(
        self, by: Worker, name: str, title: str, roles: str, password: str = ""
    ) -> Worker:
        """Appoint a worker, or change their roles. The machine's administrator alone."""
        _must_administer(by)
        self._audit.record(by.name, "worker put", worker=name, title=title, roles=roles)
        return self._workers.put(name, title, roles, password)

    def remove_worker(self, by: Worker, name: str) -> str:
        """Let a worker do nothing any more. The machine's administrator alone."""
        _must_administer(by)
        self._audit.record(by.name, "worker removed", worker=name)
        self._workers.remove(name)
        return name

    def workers(self, by: Worker) -> list[Worker]:
        """Everybody who ever worked here."""
        if by is not ADMINISTRATOR:
            by.must_be("auditor", "officer")
        return self._workers.all()

    # Cases

    def open_case(self, by: Worker, purpose: str, numbers: Sequence[str] = ()) -> Case:
        """Ask for a case. *numbers*: whom it is about: "pin:…", "document:…", "bhyt:…", "qid:…".

        The numbers themselves are kept nowhere, only their tokens.
        """
        by.must_be("tracer")
        tokens = [self._tokens.of_text(number) for number in numbers]
        case = self._cases.open(purpose, tokens, by, self._audit.now())
        self._audit.record(
            by.name, "case asked for", case=case.id, purpose=purpose, numbers=len(tokens)
        )
        return case

    def decide_case(self, by: Worker, case: str, approve: bool) -> Case:
        """Agree to a case of somebody else, or not."""
        by.must_be("approver")
        decided = self._cases.decide(case, approve, by, self._audit.now())
        self._audit.record(by.name, f"case {decided.state}", case=case, purpose=decided.purpose)
        return decided

    def close_case(self, by: Worker, case: str) -> Case:
        """End a case; it holds nothing any more."""
        by.must_be("tracer", "approver", "officer")
        self._cases.case(case)
        self._audit.record(by.name, "case closed", case=case)
        self._cases.close(case)
        return self._cases.case(case)

    def hold_case(self, by: Worker, case: str) -> Case:
        """Keep the records of a case's persons past the retention, until it is closed."""
        by.must_be("approver", "officer")
        self._approved(case)
        self._audit.record(by.name, "case held", case=case)
        self._cases.hold(case)
        return self._cases.case(case)

    def cases(self, by: Worker) -> list[Case]:
        """All cases, the newest first."""
        by.must_be("tracer", "approver", "officer", "auditor")
        return self._cases.all()

    def persons(self, by: Worker, case: str) -> list[PersonsOfCase]:
        """The persons of a case."""
        by.must_be("tracer")
        self._approved(case)
        found = self._cases.persons(case)
        self._audit.record(by.name, "persons of a case", case=case, persons=sorted(found))
        return [
            PersonsOfCase(person, ring, tuple(self._questions.namesakes(person)))
            for person, ring in sorted(found.items(), key=lambda item: (item[1], item[0]))
        ]

    # Questions

    # Of each, *exported_as* is the kind of file that the answer goes into, for the audit.

    def where(
        self,
        by: Worker,
        case: str,
        since: str,
        until: str,
        person: int = 0,
        exported_as: str = "",
    ) -> list[ShownStay]:
        """Where a person of the case was; 0: those whom it is about."""
        began, ended = self._times(by, case, since, until)
        persons = self._whom(case, person)
        stays = [stay for p in persons for stay in self._questions.where(p, began, ended)]
        self._audit.record(
            by.name,
            "where",
            case=case,
            since=since,
            until=until,
            persons=persons,
            rows=len(stays),
            exported_as=exported_as,
        )
        return [shown_stay(stay, self._places.names) for stay in stays]

    def present(
        self,
        by: Worker,
        case: str,
        place: str,
        since: str,
        until: str,
        trip: str = "",
        exported_as: str = "",
    ) -> list[ShownStay]:
        """Who was at a place, or on a trip. They become persons of the case."""
        began, ended = self._times(by, case, since, until)
        stays = self._questions.present(place, began, ended, trip or None)
        persons = sorted({stay.person for stay in stays})
        self._audit.record(
            by.name,
            "present",
            case=case,
            place=place,
            trip=trip,
            since=since,
            until=until,
            persons=persons,
            exported_as=exported_as,
        )
        self._cases.add_persons(case, persons, 1)
        return [shown_stay(stay, self._places.names) for stay in stays]

    def overlaps(
        self,
        by: Worker,
        case: str,
        since: str,
        until: str,
        person: int = 0,
        exported_as: str = "",
    ) -> list[ShownContact]:
        """Who was with a person of the case, anywhere. They become persons of the case."""
        began, ended = self._times(by, case, since, until)
        found: dict[int, Contact] = {}
        about = self._whom(case, person)
        for asked in about:
            for contact in self._questions.overlaps(asked, began, ended):
                longest = found.get(contact.person)
                if contact.person not in about and (
                    longest is None or contact.minutes > longest.minutes
                ):
                    found[contact.person] = contact
        self._audit.record(
            by.name,
            "overlaps",
            case=case,
            since=since,
            until=until,
            person=person,
            persons=sorted(found),
            exported_as=exported_as,
        )
        return self._taken_in(case, found, 1)

    def second_ring(
        self, by: Worker, case: str, since: str, until: str, exported_as: str = ""
    ) -> list[ShownContact]:
        """Who was with the contacts of the case. They become persons of the case."""
        began, ended = self._times(by, case, since, until)
        rings = self._cases.persons(case)
        first = [person for person, ring in rings.items() if ring == 1][:MOST_CONTACTS]
        found = {}
        for about in self._whom(case, 0) or [0]:
            for contact in self._questions.second_ring(about, first, began, ended):
                if rings.get(contact.person, 2) == 2:
                    found[contact.person] = contact
        self._audit.record(
            by.name,
            "second ring",
            case=case,
            since=since,
            until=until,
            persons=sorted(found),
            exported_as=exported_as,
        )
        return self._taken_in(case, found, 2)

    def completeness(
        self, by: Worker, since: str, until: str, places: Sequence[str] = ()
    ) -> Completeness:
        """How complete answers can be: counts alone, so no case is needed."""
        by.must_be("tracer", "approver", "officer", "auditor", "venue")
        began, ended = local_moment(since), local_moment(until, end=True)
        _check_span(began, ended)
        self._audit.record(by.name, "completeness", since=since, until=until, places=list(places))
        return self._questions.completeness(places, began, ended)

    # Releases

    def ask_release(self, by: Worker, case: str, persons: Sequence[int], reason: str) -> Release:
        """Ask who persons of a case are."""
        by.must_be("tracer")
        release = self._cases.ask_release(case, persons, reason, by, self._audit.now())
        self._audit.record(
            by.name,
            "release asked for",
            case=case,
            release=release.number,
            persons=list(release.persons),
            reason=reason,
        )
        return release

    def decide_release(self, by: Worker, release: int, approve: bool) -> Release:
        """Agree to a release of somebody else, or not."""
        by.must_be("approver")
        decided = self._cases.decide_release(release, approve, by, self._audit.now())
        self._audit.record(
            by.name, f"release {decided.state}", case=decided.case_id, release=release
        )
        return decided

    def releases(self, by: Worker) -> list[Release]:
        """All releases, the newest first."""
        by.must_be("tracer", "approver", "officer", "auditor")
        return self._cases.releases()

    def named(self, by: Worker, release: int, exported_as: str = "") -> list[Named]:
        """The identities of an approved release, for who asked for it.

        *exported_as*: the kind of file they go into, for the audit.
        """
        by.must_be("tracer")
        found = self._cases.release(release)
        if found.state != "approved":
            raise DeskError(f"release {release} is {found.state}, not approved; no name is shown")
        if found.requester != by.name:
            raise DeskError(f"release {release} is for {found.requester}, who asked for it")
        self._cases.approved(found.case_id)
        # Before anything is opened: an identity that is not recorded is not seen.
        self._audit.record(
            by.name,
            "identities seen",
            case=found.case_id,
            release=release,
            persons=list(found.persons),
            approver=found.approver,
            exported_as=exported_as,
        )
        return [self._named(person) for person in found.persons]

    # Audit

    def audit(self, by: Worker, case: str = "", last: int = 100) -> list[dict[str, Any]]:
        """The newest entries of the audit, of one case or of all; the newest last."""
        by.must_be("auditor", "officer")
        found = [e for e in self._audit.entries() if not case or e.facts.get("case") == case]
        self._audit.record(by.name, "audit read", case=case)
        return [{"n": e.n, "at": e.at, "what": e.what, **e.facts} for e in found[-last:]]

    def verify_audit(self, by: Worker, head: str = "") -> Head:
        """Whether the audit is whole; *head*: a hash that was noted earlier."""
        by.must_be("auditor", "officer", "approver", "tracer")
        return self._audit.verify(head)

    def _named(self, person: int) -> Named:
        seen = self._questions.boxes_of(person)
        boxes = self._boxes.sealed([(scan, place, time) for scan, place, time, _ in seen])
        fields: dict[str, Any] = {
            "name": "",
            "birth_year": 0,
            "sex": "",
            "phone": "",
            "pin": "",
            "bhyt": "",
            "qid": "",
            "tail": "",
        }
        documents = sorted({document for _, _, _, document in seen})
        for scan, _, _, _ in seen:
            if scan not in boxes:
                continue
            try:
                identity = self._keys.open(*boxes[scan], scan)
            except SealError:
                continue
            for field, value in fields.items():
                # The newest scan is first; a name with its marks is better than one without.
                new = getattr(identity, field)
                if not value or (field == "name" and value.isascii() and not new.isascii()):
                    fields[field] = new or value
        return Named(person=person, documents=tuple(documents), **fields)

    def _taken_in(self, case: str, found: Mapping[int, Contact], ring: int) -> list[ShownContact]:
        """Makes those *found* persons of the case, in that *ring*; the longest together first."""
        self._cases.add_persons(case, found, ring)
        contacts = sorted(found.values(), key=lambda contact: -contact.minutes)
        return [shown_contact(contact, self._places.names) for contact in contacts]

    def _whom(self, case: str, person: int) -> list[int]:
        about = self._questions.persons(self._cases.tokens(case))
        self._cases.add_persons(case, about, 0)
        if not person:
            return about
        if person not in self._cases.persons(case):
            raise DeskError(f"case {case} has no person {person}; `edge-trace persons` names them")
        return [person]

    def _times(self, by: Worker, case: str, since: str, until: str) -> tuple[int, int]:
        by.must_be("tracer")
        self._approved(case)
        began, ended = local_moment(since), local_moment(until, end=True)
        _check_span(began, ended)
        return began, ended

    def _approved(self, case: str) -> Case:
        return self._cases.approved(case)


def _must_administer(by: Worker) -> None:
    if by is not ADMINISTRATOR:
        raise DeskError("workers are appointed by the administrator of this machine (root)")


def _check_span(began: int, ended: int) -> None:
    if not 0 < ended - began <= MOST_DAYS * 86_400_000:
        raise DeskError(f"a question is about a time that ends after it begins, {MOST_DAYS} days")
