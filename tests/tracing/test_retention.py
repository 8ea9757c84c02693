"""Retention: the old is erased with a receipt, a case holds its own, a wrong clock erases none."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from edge import chain
from edge.chain import entries, verify
from edge.clock import Moment, Source, utc_text
from edge.errors import StorageError
from edge.storage.database import Database
from edge.storage.keeping.known_time import Known, Trouble
from edge.tracing import audit, index, receipts, retention
from edge.tracing.audit import Audit
from edge.tracing.boxes import StoredBoxes
from edge.tracing.cases import Cases
from edge.tracing.erased import note_erased, order_of
from edge.tracing.index import Index
from edge.tracing.questions import Questions
from edge.tracing.retention import Retention
from edge.tracing.workers import Worker
from tests.fakes import FakeClock
from tests.power import PowerCut, power_for_lines
from tests.tracing.desk import TOKENS, at, seen, shown, stay, the_places

A, B = "064190000001", "064190000002"
LAN = Worker("lan", "", frozenset({"tracer"}))
MINH = Worker("minh", "", frozenset({"approver"}))


class Late(FakeClock):
    """A clock that stands on a day of July 2021."""

    day, year = 25, 2021
    source: Source = "none"

    def now(self) -> Moment:
        return Moment(
            at=f"{self.year}-07-{self.day}T00:00:00.000Z",
            boot="b" * 32,
            uptime_ms=1,
            clock="ntp" if self.synchronized else self.source,
        )


class Desk:
    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder}/index.db")
        self.database.migrate("edge.tracing")
        self.storage = Database(f"sqlite:///{folder}/storage.db")
        with self.storage.writing() as connection:
            connection.execute(
                text("CREATE TABLE scan (id TEXT, place TEXT, time TEXT, key TEXT, sealed BLOB)")
            )
        self.clock = Late()
        self.clock.synchronized = True
        self.known: str | None = ""
        self.settled = True
        self.audit = folder / "audit.jsonl"
        places = the_places()
        self.index = Index(self.database, places)
        self.cases = Cases(self.database)
        self.questions = Questions(self.database, places)
        self.boxes = StoredBoxes(self.storage, self.database)
        self.retention = Retention(
            self.index,
            self.cases,
            self.questions,
            self.boxes,
            Audit(self.audit, self.clock),
            self.clock,
            days=21,
            known_time=self.known_time,
        )
        for pin in (A, B):
            scans = stay("08:00", "10:00", day=2, pin=pin)
            self.index.add(scans, "1")
            with self.storage.writing() as connection:
                for scan in scans:
                    connection.execute(
                        text("INSERT INTO scan VALUES (:id, 'cho-1', :time, 'k', :sealed)"),
                        {
                            "id": scan.sighting.scan.hex(),
                            "time": self.time_of(scan.sighting.time),
                            "sealed": b"sealed " + pin.encode(),
                        },
                    )

    def known_time(self) -> Known | None:
        if self.known is None:
            raise StorageError("there is no such table")
        trouble: Trouble = "" if self.settled else "behind"
        return (
            Known("a", self.known, self.known, "ntp", self.known, "b" * 32, 1, trouble, 0)
            if (self.known)
            else None
        )

    @staticmethod
    def time_of(time: int) -> str:
        return utc_text(time / 1000)

    def held_case(self) -> str:
        case = self.cases.open(
            "Ca bệnh số 5 tại chợ", [TOKENS.token("pin", A)], LAN, self.clock.now().at
        )
        self.cases.decide(case.id, True, MINH, self.clock.now().at)
        self.cases.add_persons(case.id, self.person(A), 0)
        self.cases.hold(case.id)
        return case.id

    def person(self, pin: str) -> list[int]:
        return self.questions.persons([TOKENS.token("pin", pin).value])

    def drop_storage(self) -> None:
        with self.storage.writing() as connection:
            connection.execute(text("DELETE FROM scan"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.database.close()
    desk.storage.close()


def test_the_old_is_erased_and_the_receipt_can_be_verified(desk: Desk) -> None:
    desk.retention.step()

    assert desk.person(A) == desk.person(B) == []
    (receipt,) = entries(desk.audit)
    assert receipt.what == "erased"
    assert receipt.facts == {
        "who": "edge-trace",
        "erasure": 1,
        "tier": "index",
        "before": "2021-07-04T00:00:00.000Z",
        "sightings": 4,
        "visits": 2,
        "identifiers": 2,
    }
    assert verify(desk.audit).entries == 1
    desk.retention.step()
    assert verify(desk.audit).entries == 1


def test_what_is_not_old_stays(desk: Desk) -> None:
    desk.clock.day = 22

    desk.retention.step()

    assert desk.person(A)
    assert not desk.audit.exists()


@pytest.mark.parametrize("source", ["none", "rtc"])
@pytest.mark.parametrize("known", ["", None])
def test_a_clock_that_nobody_vouches_for_erases_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture, source: Source, known: str | None
) -> None:
    desk.clock.synchronized, desk.clock.source, desk.known = False, source, known

    assert desk.retention.step() is None
    assert desk.person(A)
    assert "see `edge-collector clock`" in caplog.text


def test_a_clock_is_believed_as_far_as_a_collector_believes_its_own(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.clock.synchronized, desk.clock.source = False, "rtc"
    # It has come up years ahead; the collector erases by what it knew before.
    desk.clock.year, desk.known = 2031, "2021-07-22T12:00:00.000Z"
    desk.retention.step()
    assert desk.person(A)
    assert "no collector vouches for more than 2021-07-22" in caplog.text

    # What is past its time goes all the same.
    desk.known = "2021-07-25T00:00:00.000Z"
    desk.retention.step()
    assert desk.person(A) == []


def test_a_clock_that_is_behind_erases_late(desk: Desk) -> None:
    desk.clock.synchronized, desk.clock.source = False, "rtc"
    desk.clock.day, desk.known = 22, "2021-07-25T00:00:00.000Z"

    desk.retention.step()

    assert desk.person(A)


def test_a_clock_that_is_behind_takes_the_present_for_no_future(desk: Desk) -> None:
    """Else what came in just now would be too old as soon as it is right again."""
    seen_in_2099 = replace(seen("08:00", day=24), time=4_070_908_800_000)
    desk.index.add([shown(seen_in_2099, pin="064191100001")], "2")
    ids = [("0" * 32, "cho-1", "2021-07-02T01:00:00.000Z")]
    note_erased(desk.database, 7, ids, at("12:00", 24))
    desk.clock.synchronized, desk.clock.source = False, "rtc"
    desk.clock.year, desk.known = 2001, "2021-07-25T00:00:00.000Z"
    desk.retention.step()
    desk.clock.year, desk.known, desk.settled = 2021, "2002-07-25T00:00:00.000Z", False
    desk.retention.step()

    desk.clock.synchronized = True
    desk.retention.step()

    assert desk.person("064191100001")
    assert order_of(desk.database, 7) == tuple(ids)


def test_a_clock_that_falls_behind_twice_and_less_takes_no_sighting_with_it(desk: Desk) -> None:
    came_in_behind = replace(
        seen("08:00", day=24), received=at("08:00", 24) - 20 * 365 * 86_400_000
    )
    desk.index.add([shown(came_in_behind, pin="064191100001")], "2")
    desk.clock.synchronized, desk.clock.source, desk.settled = False, "rtc", False
    for year in (2001, 2019):
        desk.clock.year = year
        # Of the desk's clock, and of the collector's.
        for desk.known in ("2021-07-25T00:00:00.000Z", f"{year}-07-20T00:00:00.000Z"):
            desk.retention.step()
    assert desk.person("064191100001")


def test_the_desk_may_be_killed_at_any_line_and_no_erasure_goes_unrecorded(desk: Desk) -> None:
    cuts = left_by_the_kill = 0
    while True:
        sighting = shown(seen("08:00", day=2), pin=f"0641911{cuts:05}")
        desk.index.add([sighting], str(cuts + 2))
        before = len(list(entries(desk.audit)))
        done = False
        with suppress(PowerCut), power_for_lines(cuts, retention, index, receipts, audit, chain):
            desk.retention.step()
            done = True
        if done:
            break
        cuts += 1
        told = len(list(entries(desk.audit))) - before
        is_erased = not desk.person(f"0641911{cuts - 1:05}")
        left_by_the_kill += is_erased and not told
        assert is_erased or not told

        # The next look, after the start; it also erases what the one that was killed did not.
        desk.retention.step()

        new = list(entries(desk.audit))[before:]
        assert {receipt.facts["erasure"] for receipt in new} == {cuts}
    assert cuts > 30
    assert left_by_the_kill > 5
    verify(desk.audit)


def test_a_case_holds_its_persons_and_their_sealed_scans_until_it_is_closed(desk: Desk) -> None:
    case = desk.held_case()

    desk.retention.step()
    desk.drop_storage()

    (person,) = desk.person(A)
    assert desk.person(B) == []
    assert len(desk.questions.where(person, at("00:00", 1), at("00:00", 5))) == 1
    boxes: Any = desk.boxes.sealed(
        [(scan, place, time) for scan, place, time, _ in desk.questions.boxes_of(person)]
    )
    assert [sealed for _, sealed in boxes.values()] == [b"sealed " + A.encode()] * 2

    desk.cases.close(case)
    desk.retention.step()
    assert desk.person(A) == []
    with desk.database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM held_scan")).scalar() == 0
