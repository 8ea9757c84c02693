"""The index: documents of one person meet, order and repeats do not matter, the old is erased."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from edge.storage.database import Database
from edge.tracing.answers import Certainty
from edge.tracing.cases import Cases
from edge.tracing.erased import KEEP_MS, note_erased, order_of
from edge.tracing.index import Index
from edge.tracing.persons import Opened
from edge.tracing.places import DAY
from edge.tracing.questions import Questions
from edge.tracing.visits import Quality
from edge.tracing.workers import Worker
from tests.tracing.desk import TOKENS, at, local, seen, shown, stay, the_places

A, B, C, D = "064190000001", "064190000002", "064190000003", "064190000004"
SINCE, UNTIL = at("00:00", 1), at("00:00", 25)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.migrate("edge.tracing")
    yield database
    database.close()


@pytest.fixture
def index(database: Database) -> Index:
    return Index(database, the_places())


@pytest.fixture
def questions(database: Database) -> Questions:
    return Questions(database, the_places())


def who(questions: Questions, kind: Any, value: str) -> int:
    (person,) = questions.persons([TOKENS.token(kind, value).value])
    return person


def told(questions: Questions, person: int) -> list[tuple[str, str, str]]:
    return [(s.place, local(s.start), local(s.end)) for s in questions.where(person, SINCE, UNTIL)]


def test_someone_who_enters_with_a_card_and_leaves_with_a_phone_is_one_visit(
    index: Index, questions: Questions
) -> None:
    index.add([shown(seen("08:00"), pin=A)], "1")
    index.add([shown(seen("10:00", direction="out"), "qrqg", qid="Q1")], "2")
    apart = {who(questions, "pin", A), who(questions, "qid", "Q1")}
    assert len(apart) == 2

    # Days later one document shows both numbers, and all that came before is one person's.
    index.add([shown(seen("09:00", day=9), "qrqg", pin=A, qid="Q1")], "3")

    person = who(questions, "pin", A)
    assert person == who(questions, "qid", "Q1")
    assert told(questions, person)[0] == ("cho-1", "02 08:00", "02 10:00")
    assert len(told(questions, person)) == 2
    assert index.position() == "3"


def test_a_code_with_two_peoples_numbers_joins_nobody(
    index: Index, questions: Questions, database: Database
) -> None:
    index.add(
        [
            shown(seen("08:00"), "qrqg", pin=A, qid="QA"),
            shown(seen("08:01"), "qrqg", pin=B, qid="QB"),
        ],
        "1",
    )

    index.add([shown(seen("09:00", "ben-xe"), "qrqg", pin=A, qid="QB")], "2")

    a, b = who(questions, "pin", A), who(questions, "pin", B)
    assert a != b
    assert who(questions, "qid", "QB") == b
    assert [place for place, _, _ in told(questions, a)] == ["cho-1", "ben-xe"]
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM conflict")).scalar() == 1


def test_a_forged_new_number_with_a_known_qid_joins_nobody(
    index: Index, questions: Questions
) -> None:
    index.add([shown(seen("08:00"), "qrqg", pin=A, qid="QA")], "1")
    index.add([shown(seen("09:00", "ben-xe"), "qrqg", pin=B, qid="QA")], "2")

    assert who(questions, "pin", A) == who(questions, "qid", "QA") != who(questions, "pin", B)


def test_a_name_never_joins_and_is_only_a_hint(index: Index, questions: Questions) -> None:
    index.add(
        [
            shown(seen("08:00"), pin=A, name="TRAN THI MAU 1990"),
            shown(seen("09:00"), "bhyt", bhyt="0000000001", name="TRAN THI MAU 1990"),
            shown(seen("09:30", "ben-xe"), "qrqg", name="TRAN THI MAU 1990"),
        ],
        "1",
    )

    a, b = who(questions, "pin", A), who(questions, "bhyt", "GD4640000000001")
    assert a != b
    assert questions.namesakes(a) == [b]
    assert len(told(questions, a)) == 1


def cohort(seed: int) -> list[Opened]:
    rng = random.Random(seed)
    scans = []
    for person in range(12):
        numbers = {"pin": f"06419000{person:04}", "qid": f"Q{person}", "bhyt": f"{person:010}"}
        for _ in range(10):
            shows = rng.sample(sorted(numbers), rng.choice([1, 1, 1, 2]))
            scans.append(
                shown(
                    seen(
                        f"{rng.randrange(24):02}:{rng.randrange(60):02}",
                        rng.choice(["cho-1", "ben-xe", "xe-1"]),
                        rng.choice(["in", "out", "both"]),
                        day=rng.randrange(1, 4),
                    ),
                    **{kind: numbers[kind] for kind in shows},  # type: ignore[arg-type]
                )
            )
    return scans


def everything(database: Database) -> Any:
    """All visits and persons, named by their tokens instead of by numbers."""
    with database.reading() as connection:
        names: dict[int, list[bytes]] = {}
        for row in connection.execute(text("SELECT person, token FROM identifier ORDER BY token")):
            names.setdefault(row.person, []).append(bytes(row.token))
        visits = connection.execute(
            text(
                "SELECT person, name, start, finish, start_bound, end_bound, entry_scan, exit_scan"
                " FROM visit JOIN name ON name.number = visit.place"
            )
        )
        return sorted([(tuple(names[row[0]]), *map(bytes_or, row[1:])) for row in visits])


def bytes_or(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_and_the_size_of_batches_do_not_matter(
    database: Database, index: Index, seed: int
) -> None:
    scans = cohort(seed)
    index.add(scans, "1")
    at_once = everything(database)
    with database.writing() as connection:
        for table in ("identifier", "link", "sighting", "visit", "namesake"):
            connection.execute(text(f"DELETE FROM {table}"))

    random.Random(seed).shuffle(scans)
    late = Index(database, the_places())
    for start in range(0, len(scans), 7):
        late.add(scans[start : start + 7], str(start))
        late.add(scans[start : start + 7], str(start))

    assert everything(database) == at_once


def test_a_time_that_is_corrected_moves_its_visit(index: Index, questions: Questions) -> None:
    scan = b"s" * 16
    wrong = seen("03:00", quality=Quality.UNSYNCED, received=at("12:00"), scan=scan)
    index.add([shown(wrong, pin=A), shown(seen("10:00", direction="out"), pin=A)], "1")
    person = who(questions, "pin", A)
    assert len(told(questions, person)) == 2

    index.add([shown(seen("09:00", quality=Quality.CORRECTED, scan=scan), pin=A)], "2")

    assert told(questions, person) == [("cho-1", "02 09:00", "02 10:00")]


def test_overlaps_are_of_intervals_ranked_and_with_their_certainty(
    index: Index, questions: Questions
) -> None:
    index.add(
        [
            *stay("08:00", "10:00", pin=A),
            *stay("07:00", "09:00", pin=B),  # came before and stayed
            *stay("09:50", "11:00", pin=C),  # 10 minutes: too short
            shown(seen("08:30"), pin=D),  # never scanned out
            *stay("08:00", "10:00", "ben-xe", pin="064190000005"),  # elsewhere
            *stay("08:00", "10:00", day=3, pin="064190000006"),  # another day
        ],
        "1",
    )

    contacts = questions.overlaps(who(questions, "pin", A), SINCE, UNTIL)

    assert [(c.person, c.minutes, c.certainty) for c in contacts] == [
        (who(questions, "pin", D), 90.0, Certainty.ESTIMATED),
        (who(questions, "pin", B), 60.0, Certainty.SCANNED),
    ]
    (meeting,) = contacts[1].meetings
    assert (meeting.place, local(meeting.start), local(meeting.end)) == (
        "cho-1",
        "02 08:00",
        "02 09:00",
    )
    assert meeting.at_most == 62.0


@pytest.mark.parametrize(("until", "counts"), [("08:12", False), ("08:13", True)])
def test_a_meeting_counts_from_fifteen_minutes_on_with_a_minute_for_each_clock(
    index: Index, questions: Questions, until: str, counts: bool
) -> None:
    index.add([*stay("08:00", "10:00", pin=A), *stay("07:00", until, pin=B)], "1")

    assert bool(questions.overlaps(who(questions, "pin", A), SINCE, UNTIL)) is counts


def test_a_minute_together_in_a_vehicle_counts_but_another_trip_does_not(
    index: Index, questions: Questions
) -> None:
    index.add(
        [
            *stay("07:00", "07:30", "xe-1", trip="t1", pin=A),
            *stay("07:29", "08:00", "xe-1", trip="t1", pin=B),
            *stay("07:31", "08:00", "xe-1", trip="t1", pin=C),  # within the margin of clocks
            *stay("07:40", "08:00", "xe-1", trip="t1", pin=D),
            *stay("07:00", "07:30", "xe-1", trip="t2", pin="064190000005"),
        ],
        "1",
    )

    contacts = questions.overlaps(who(questions, "pin", A), SINCE, UNTIL)

    assert [(c.person, c.minutes) for c in contacts] == [
        (who(questions, "pin", B), 1.0),
        (who(questions, "pin", C), 0.0),
    ]
    aboard = questions.present("xe-1", at("07:00"), at("08:00"), "t1")
    assert [s.person for s in aboard] == [who(questions, "pin", p) for p in (A, B, C, D)]


def test_a_minute_together_counts_in_a_bus_that_the_register_does_not_have_yet(
    index: Index, questions: Questions
) -> None:
    index.add(
        [
            *stay("07:00", "07:30", "xe-moi", trip="t1", pin=A),
            *stay("07:29", "08:00", "xe-moi", trip="t1", pin=B),
            *stay("07:00", "07:30", "cho-moi", day=3, pin=A),
            *stay("07:29", "08:00", "cho-moi", day=3, pin=C),
        ],
        "1",
    )

    contacts = questions.overlaps(who(questions, "pin", A), SINCE, UNTIL)

    assert [c.person for c in contacts] == [who(questions, "pin", B)]


def test_a_stay_that_scans_have_cut_in_pieces_is_one_meeting(
    index: Index, questions: Questions
) -> None:
    index.add(
        [
            *stay("08:00", "10:00", pin=A),
            shown(seen("09:00"), pin=B),
            shown(seen("09:10"), pin=B),
            shown(seen("09:20", direction="out"), pin=B),
        ],
        "1",
    )

    (contact,) = questions.overlaps(who(questions, "pin", A), SINCE, UNTIL)

    assert [m.minutes for m in contact.meetings] == [20.0]
    assert contact.certainty is Certainty.ESTIMATED


def test_the_second_ring_is_the_contacts_of_the_contacts(
    index: Index, questions: Questions
) -> None:
    index.add(
        [
            *stay("08:00", "10:00", pin=A),
            *stay("09:00", "12:00", pin=B),
            *stay("11:00", "12:00", pin=C),
            *stay("13:00", "14:00", pin=D),
        ],
        "1",
    )
    a, b, c = (who(questions, "pin", p) for p in (A, B, C))

    ring = questions.second_ring(a, [b], SINCE, UNTIL)

    assert [(x.person, x.of, x.minutes) for x in ring] == [(c, b, 60.0)]


def test_a_scan_without_a_known_time_is_a_possible_contact(
    index: Index, questions: Questions
) -> None:
    untimed = seen("06:00", quality=Quality.UNSYNCED, received=at("09:00"))
    index.add([*stay("08:00", "10:00", pin=A), shown(untimed, pin=B)], "1")

    (contact,) = questions.overlaps(who(questions, "pin", A), SINCE, UNTIL)

    assert contact.certainty is Certainty.POSSIBLE


def test_completeness_says_what_is_missing(index: Index, questions: Questions) -> None:
    index.add(
        [
            *stay("08:00", "10:00", pin=A),
            shown(seen("08:30"), pin=B),
            shown(seen("08:40", quality=Quality.UNSYNCED), pin=C),
            shown(seen("09:00", "ben-xe", day=3), pin=B, unit="cong-2"),
        ],
        "1",
        [("sealed to a key that the desk has not", "cong-3", "2021-07-02")] * 2,
    )

    found = questions.completeness([], at("00:00", 2), at("00:00", 4))

    assert [(d.place, d.day, d.scans_in, d.scans_out, d.unsynced) for d in found.days] == [
        ("ben-xe", "2021-07-03", 1, 0, 0),
        ("cho-1", "2021-07-02", 3, 1, 1),
    ]
    assert found.silent == (("cong-1", "2021-07-03"), ("cong-2", "2021-07-02"))
    assert found.unused == (("sealed to a key that the desk has not", "cong-3", 2),)
    assert found.dated == 0.8
    assert len(questions.completeness(["cho-1"], at("00:00", 2), at("00:00", 4)).days) == 1


def test_what_is_past_its_time_is_erased_but_not_what_a_case_holds(
    index: Index, questions: Questions, database: Database
) -> None:
    index.add(
        [
            *stay("08:00", "10:00", day=1, pin=A, qid="QA"),
            *stay("08:00", "10:00", day=1, pin=B),
            *stay("08:00", "10:00", day=9, pin=C),
        ],
        "1",
    )
    b = who(questions, "pin", B)

    gone = index.purge(at("00:00", 5), keep=[b], now=at("00:00", 26))

    assert (gone.sightings, gone.visits, gone.identifiers) == (2, 1, 2)
    assert questions.persons([TOKENS.token("pin", A).value]) == []
    assert len(told(questions, b)) == 1
    assert len(told(questions, who(questions, "pin", C))) == 1
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM link")).scalar() == 0
    assert index.purge(at("00:00", 5), keep=[b], now=at("00:00", 26)).sightings == 0


def test_one_person_can_be_erased(index: Index, questions: Questions) -> None:
    index.add([*stay("08:00", "10:00", pin=A), *stay("08:00", "10:00", pin=B)], "1")

    gone = index.erase_persons([who(questions, "pin", A)])

    assert gone.sightings == 2
    assert questions.persons([TOKENS.token("pin", A).value]) == []
    assert questions.overlaps(who(questions, "pin", B), SINCE, UNTIL) == []


def test_scans_of_someone_erased_do_not_come_back(
    index: Index, questions: Questions, database: Database
) -> None:
    """As when their time is corrected late, or all of storage is gone through anew."""
    scans = stay("08:00", "10:00", pin=A)
    index.add([*scans, *stay("08:00", "10:00", pin=B)], "1")
    person = who(questions, "pin", A)
    boxes = [(scan, place, time) for scan, place, time, _ in questions.boxes_of(person)]
    note_erased(database, 7, boxes, at("12:00"))
    index.erase_persons([person])

    index.add([*scans, *stay("09:00", "10:00", day=3, pin=B)], "2")

    assert questions.persons([TOKENS.token("pin", A).value]) == []
    assert len(told(questions, who(questions, "pin", B))) == 2
    assert sorted(order_of(database, 7)) == sorted(boxes)
    # What comes after the erasure is another matter; and the order is no use for ever.
    index.add(stay("08:00", "10:00", day=4, pin=A), "3")
    assert len(told(questions, who(questions, "pin", A))) == 1
    index.purge(0, now=at("12:00") + KEEP_MS)
    assert order_of(database, 7)
    index.purge(0, now=at("12:00") + KEEP_MS + 1)
    assert order_of(database, 7) == ()


@pytest.mark.parametrize("by", ["wish", "retention"])
def test_the_number_of_someone_erased_is_never_anothers(
    index: Index, questions: Questions, by: str
) -> None:
    """Cases and releases name persons by their numbers, for longer than the retention."""
    index.add([*stay("08:00", "10:00", pin=A)], "1")
    erased = who(questions, "pin", A)
    if by == "wish":
        index.erase_persons([erased])
    else:
        index.purge(at("00:00", 20), now=at("00:00", 20) + 21 * DAY)

    index.add([*stay("08:00", "10:00", day=21, pin=B)], "2")

    assert who(questions, "pin", B) != erased


def test_two_persons_of_a_case_who_are_one_keep_the_nearer_ring(
    index: Index, questions: Questions, database: Database
) -> None:
    index.add([shown(seen("08:00"), "qrqg", qid="QA"), shown(seen("09:00"), pin=A)], "1")
    cases = Cases(database)
    case = cases.open("Ca bệnh số 5 tại chợ", [], Worker("lan", "", frozenset()), "2021-07-02")
    cases.add_persons(case.id, [who(questions, "qid", "QA")], 2)
    cases.add_persons(case.id, [who(questions, "pin", A)], 0)

    index.add([shown(seen("10:00"), "qrqg", pin=A, qid="QA")], "2")

    assert cases.persons(case.id) == {who(questions, "pin", A): 0}


def test_what_came_in_by_a_wrong_clock_of_the_centre_too_is_erased_by_when_it_was_noticed(
    index: Index, questions: Questions
) -> None:
    both = replace(seen("08:00"), time=4_070_908_800_000, received=4_070_908_800_000)
    index.add([shown(both, pin=A)], "1")
    noticed = at("12:00", 20)

    def sightings(days_later: int) -> int:
        now = noticed + days_later * DAY
        return index.purge(now - 21 * DAY, now=now).sightings

    assert [sightings(days) for days in (0, 20, 21, 22)] == [0, 0, 0, 1]


def test_an_order_of_a_wrong_year_is_forgotten_in_due_time(
    index: Index, database: Database
) -> None:
    note_erased(database, 7, [("0" * 32, "cho-1", "2021-07-02T01:00:00.000Z")], at("12:00") * 3)
    for days_later, left in ((0, 1), (31, 1), (32, 0)):
        index.purge(0, now=at("12:00") + days_later * DAY)
        assert len(order_of(database, 7)) == left


def test_what_a_wrong_clock_saw_in_the_future_is_erased_by_when_it_came(
    index: Index, questions: Questions
) -> None:
    in_2099 = replace(seen("08:00"), time=4_070_908_800_000, received=at("08:00"))
    index.add([shown(in_2099, pin=A), *stay("08:00", "10:00", day=21, pin=B)], "1")

    gone = index.purge(at("00:00", 20), now=at("00:00", 20) + 21 * DAY)

    assert (gone.sightings, gone.visits, gone.identifiers) == (1, 1, 1)
    assert questions.persons([TOKENS.token("pin", A).value]) == []
    assert questions.persons([TOKENS.token("pin", B).value])


def test_the_index_holds_no_name_and_no_number(
    index: Index, database: Database, tmp_path: Any
) -> None:
    index.add([*stay("08:00", "10:00", pin=A)], "1")

    with database.reading() as connection:
        for table in ("identifier", "sighting", "visit", "link", "name"):
            for row in connection.execute(text(f"SELECT * FROM {table}")):
                assert A not in str(tuple(row))
                assert A.encode() not in b"".join(v for v in row if isinstance(v, bytes))
