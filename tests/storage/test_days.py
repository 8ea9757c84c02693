"""Scans by day: where a scan belongs, what a wrong clock can do, and how a day expires."""

from typing import Any

from sqlalchemy import text

from edge.clock import utc_seconds, utc_text
from edge.storage.changes import changes_of
from edge.storage.counts import expired_before
from edge.storage.rows import Report, UnitScans
from edge.storage.storage import Storage
from tests.fakes import a_health, a_scan, came
from tests.storage.parts import expire

NOW = "2021-07-02T09:00:00.000Z"


def of(seq: int, at: str = NOW, clock: str = "ntp", **changes: Any) -> UnitScans:
    return came("pleiku", "cong-1", a_scan(seq, at=at, clock=clock, **changes))


def days_ago(days: float) -> str:
    return utc_text(utc_seconds(NOW) - days * 86_400)


def tables(storage: Storage) -> dict[str, int]:
    with storage.database.reading() as connection:
        rows = connection.execute(text("SELECT day, count(*) AS scans FROM scan GROUP BY day"))
        return {row.day: row.scans for row in rows}


def test_a_scan_is_in_the_table_of_its_day(storage: Storage) -> None:
    storage.store([of(1), of(2, days_ago(1)), of(3, days_ago(2)), of(4, clock="none")], NOW)

    assert tables(storage) == {"2021-07-02": 1, "2021-07-01": 1, "2021-06-30": 1, "": 1}
    assert storage.days() == ["2021-06-30", "2021-07-01", "2021-07-02"]


def test_a_repeat_finds_its_row_whatever_has_happened_meanwhile(storage: Storage) -> None:
    # A future that comes, a past that goes further away, a clock that becomes known, a day's end.
    scans = [
        of(1, days_ago(-5)),
        of(2, days_ago(399)),
        of(3, days_ago(500)),
        of(4, "2021-07-02T23:59:59.999Z"),
        of(5, clock="none", uptime_ms=5000),
    ]
    storage.store(scans, NOW)
    health = a_health(at=days_ago(3), uptime_ms=60_000, clock="ntp")
    storage.store_reports([Report("pleiku", "cong-1", health)], NOW)

    for later in (NOW, days_ago(-1), days_ago(-4), days_ago(-20), days_ago(-500)):
        assert storage.store(scans, later) == 0

    assert storage.count() == 5
    (row,) = storage.units()
    assert (row.doubles, row.repeats) == (0, 25)


def test_a_clock_that_is_wrong_by_years_makes_no_tables(storage: Storage) -> None:
    wrong = [f"{year:04}-06-01T00:00:00.000Z" for year in range(1, 9999, 13)]
    storage.store([of(n, at) for n, at in enumerate(wrong, start=1)], NOW)

    assert tables(storage) == {"": len(wrong)}
    assert storage.days() == []


def test_the_most_days_that_there_can_be_are_read_as_one(storage: Storage) -> None:
    scans = [of(n + 1, days_ago(n)) for n in range(-1, 401)]
    storage.store(scans, NOW)

    assert len(storage.days()) >= 401
    assert storage.count() == len(scans)
    position, seen = 0, []
    while rows := storage.feed(position, 50):
        seen += [row.seq for row in rows]
        position = rows[-1].position
    assert sorted(seen) == [each.scans[0].seq for each in scans]


def test_expired_days_go_and_nothing_else_does(storage: Storage) -> None:
    storage.store([of(1, days_ago(30)), of(2, days_ago(10)), of(3)], NOW)
    storage.store([of(4, days_ago(30), clock="none")], days_ago(29))
    storage.store([of(5, days_ago(30), clock="none")], NOW)

    assert expire(storage, "2021-06-20") == ["2021-06-02"]
    assert expire(storage, "2021-06-20") == []

    assert {seq for _, _, seq, _ in storage.scan_numbers()} == {2, 3, 5}
    (row,) = storage.units()
    # The proof that all were there stays, and so do the counts.
    assert (row.scans, row.gaps) == (5, [])
    with storage.database.reading() as connection:
        assert connection.scalar(text("SELECT sum(scans) FROM scans_by_day")) == 5


def test_a_repeat_of_an_expired_scan_is_a_repeat_and_no_second_unit(storage: Storage) -> None:
    old = of(1, days_ago(30))
    storage.store([old], NOW)
    expire(storage, "2021-06-20")

    assert storage.store([old], NOW) == 0

    assert storage.units()[0].doubles == 0
    assert storage.count() == 0


def test_a_scan_that_comes_for_the_first_time_after_its_day_has_expired_is_kept(
    storage: Storage,
) -> None:
    storage.store([of(1, days_ago(30))], NOW)
    expire(storage, "2021-06-20")

    assert storage.store([of(2, days_ago(30))], NOW) == 1
    assert storage.count() == 1
    assert expire(storage, "2021-06-20") == ["2021-06-02"]


def test_another_process_may_make_and_drop_days_meanwhile(
    storage: Storage, database_url: str
) -> None:
    other = Storage(database_url)
    storage.store([of(1)], NOW)
    other.store([of(2)], NOW)
    other.store([of(3, days_ago(1))], NOW)
    storage.store([of(4, days_ago(1))], NOW)

    assert tables(storage) == tables(other) == {"2021-07-02": 2, "2021-07-01": 2}
    other.close()


def test_a_row_that_is_there_without_its_number_being_held_is_still_one(storage: Storage) -> None:
    scans = [of(1), of(2), of(3, clock="none")]
    storage.store(scans, NOW)
    with storage.database.writing() as connection:
        connection.execute(text("DELETE FROM held"))

    assert storage.store([*scans, of(4)], NOW) == 1

    assert storage.count() == 4
    assert storage.units()[0].gaps == []


def test_a_clock_that_was_years_ahead_leaves_nothing_that_refuses_scans_for_good(
    storage: Storage,
) -> None:
    erased = [of(1, days_ago(1)), of(2)]
    storage.store(erased, NOW)
    assert expire(storage, "2031-01-01") == ["2021-07-01", "2021-07-02"]

    # Put right. What comes again is not counted again; of a copied card it is new.
    assert storage.store(erased, NOW) == 0
    copied = [of(1, days_ago(-1)), of(2, days_ago(-1))]
    assert storage.store(copied, days_ago(-1)) == 2
    assert storage.store(copied, days_ago(-1)) == 0

    storage.expire("2021-06-12", days_ago(-1))
    assert storage.count() == 2
    with storage.database.reading() as connection:
        assert str(expired_before(connection)) == "2021-06-12"


def test_a_repeat_finds_its_row_after_the_clock_was_put_right_and_a_restart(
    storage: Storage, database_url: str
) -> None:
    # Units and centre had their time from one clock.
    scans = [of(1, days_ago(-100)), of(2, days_ago(-101)), of(3, days_ago(402))]
    storage.store(scans[:2], days_ago(-101))
    storage.store(scans[2:], days_ago(10))

    again = Storage(database_url)
    assert again.store(scans, NOW) == 0
    assert again.count() == 3
    assert again.units()[0].doubles == 0
    again.close()


def test_a_day_of_the_future_is_kept_from_when_it_was_noticed(storage: Storage) -> None:
    storage.store([of(1, days_ago(-100)), of(2, days_ago(-15))], days_ago(-100))
    storage.store([of(3)], NOW)

    def look(days_later: float) -> list[str]:
        now = days_ago(-days_later)
        return storage.expire(utc_text(utc_seconds(now) - 21 * 86_400)[:10], now)

    assert look(0) == []
    # One of them is not of the future any more, and goes by itself.
    assert look(21) == []
    assert look(22) == ["2021-07-02", "2021-10-10"]
    assert look(36) == []
    assert look(37) == ["2021-07-17"]
    assert storage.count() == 0


def test_days_that_had_expired_before_an_update_are_known_after_it(
    storage: Storage, database_url: str
) -> None:
    old = of(1, days_ago(30))
    storage.store([old], NOW)
    expire(storage, "2021-06-20")
    with storage.database.writing() as connection:
        for table in ("expired_day", "day_ahead"):
            connection.execute(text(f"DROP TABLE {table}"))
        # The update, whatever changes have come after that one.
        storage.database._apply(connection, changes_of("edge.storage", storage.database.engine)[7])

    updated = Storage(database_url)
    assert updated.store([old], NOW) == 0
    assert updated.store([of(2, days_ago(30))], NOW) == 1
    updated.close()
