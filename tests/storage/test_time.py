"""The time of rows: kept as the unit said it, and beside it the best that is known."""

import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from edge.clock import utc_seconds, utc_text
from edge.errors import StorageError
from edge.messages import Health, Scan, Status
from edge.storage.rows import Report, SetAside
from edge.storage.storage import Storage
from tests.fakes import a_health, a_scan, a_status, came

NOW = "2021-07-02T09:00:00.000Z"
#: The boot began at 01:00; until it was told so, the unit took that for the evening before.
WRONG = "2021-07-01T20:00:{:02}.000Z"
RIGHT = "2021-07-02T01:00:{:02}.000Z"
BOOT = "b" * 32


def undated(seq: int, **changes: object) -> Scan:
    """Made *seq* seconds after the boot, by a clock that nothing had set."""
    fields: dict[str, Any] = {"at": WRONG.format(seq), "uptime_ms": seq * 1000, "clock": "none"}
    return a_scan(seq, **(fields | changes))


def known(seconds: int, source: str = "ntp") -> dict[str, Any]:
    """A moment of that boot whose clock was right."""
    return {
        "at": RIGHT.format(seconds),
        "uptime_ms": seconds * 1000,
        "boot": BOOT,
        "clock": source,
    }


def put(storage: Storage, *scans: Scan, unit: str = "cong-1") -> int:
    return storage.store([came("pleiku", unit, scan) for scan in scans], NOW)


def tell(storage: Storage, message: Status | Health, unit: str = "cong-1") -> None:
    storage.store_reports([Report("pleiku", unit, message)], NOW)


def qualities(storage: Storage) -> tuple[int, int, int]:
    row = storage.units()[0]
    counted = (row.synced, row.corrected, row.unsynced)
    listed = [quality for *_, quality in storage.times("cong-1")]
    assert counted == tuple(listed.count(q) for q in ("synced", "corrected", "unsynced"))
    return counted


def test_a_scan_whose_clock_knew_keeps_its_time(storage: Storage) -> None:
    put(storage, a_scan(5, **known(5, "rtc")))

    assert storage.times("cong-1") == [(5, RIGHT.format(5), RIGHT.format(5), "synced")]


def test_a_scan_that_nobody_can_date_is_marked_and_not_guessed(storage: Storage) -> None:
    put(storage, undated(7))

    assert storage.times("cong-1") == [(7, WRONG.format(7), WRONG.format(7), "unsynced")]
    assert qualities(storage) == (0, 0, 1)


@pytest.mark.parametrize("at", ["2099-07-02T01:00:05.000Z", "2001-01-01T00:00:05.000Z"])
def test_a_clock_that_cannot_be_right_dates_nothing_and_is_mended_by_a_better_one(
    storage: Storage, at: str
) -> None:
    """As of a hardware clock that was never set: its scans stood in another century."""
    wrong = known(5, "rtc") | {"at": at}
    tell(storage, a_health(**(wrong | {"uptime_ms": 0})))
    put(storage, a_scan(5, **wrong), undated(6, corrected=at))
    assert qualities(storage) == (0, 0, 2)

    tell(storage, a_health(**known(40)))
    put(storage, a_scan(7, **(wrong | {"uptime_ms": 7000})))

    assert [time for _, _, time, _ in storage.times("cong-1")] == [
        RIGHT.format(seq) for seq in (5, 6, 7)
    ]
    assert qualities(storage) == (0, 3, 0)
    with storage.database.reading() as connection:
        rows = connection.execute(
            text(
                "SELECT day, sum(scans), sum(unsynced) FROM scans_by_day"
                " WHERE scans > 0 GROUP BY day"
            )
        )
        assert [tuple(row) for row in rows] == [("2021-07-02", 3, 0)]


def test_a_scan_corrected_by_its_unit_keeps_both_times(storage: Storage) -> None:
    put(storage, undated(7, corrected=RIGHT.format(7)))

    assert storage.times("cong-1") == [(7, WRONG.format(7), RIGHT.format(7), "corrected")]


@pytest.mark.parametrize(
    "message",
    [a_status(**known(40)), a_health(**known(40)), a_status(state="stopped", **known(40, "gnss"))],
    ids=["online", "health", "stopped"],
)
def test_rows_of_a_boot_are_corrected_when_its_clock_becomes_known(
    storage: Storage, message: Status | Health
) -> None:
    put(storage, *(undated(seq) for seq in (1, 2, 3)))
    put(storage, undated(4, boot="c" * 32))
    put(storage, undated(1), unit="cong-2")
    assert qualities(storage) == (0, 0, 4)

    tell(storage, message)

    assert [time for _, _, time, _ in storage.times("cong-1")] == [
        RIGHT.format(1),
        RIGHT.format(2),
        RIGHT.format(3),
        WRONG.format(4),
    ]
    assert [at for _, at, _, _ in storage.times("cong-1")] == [WRONG.format(n) for n in range(1, 5)]
    assert qualities(storage) == (0, 3, 1)
    assert storage.times("cong-2")[0][3] == "unsynced"


@pytest.mark.parametrize(("worse", "better"), list(combinations(["rtc", "gnss", "ntp"], 2)))
def test_rows_are_dated_by_each_source_until_a_better_one_is_known(
    storage: Storage, worse: str, better: str
) -> None:
    put(storage, undated(1))
    early = known(40, worse) | {"at": "2021-07-02T00:59:33.000Z"}

    tell(storage, a_health(**early))
    by_worse = storage.times("cong-1")[0][2]
    tell(storage, a_health(**known(50, better)))
    tell(storage, a_health(**early))
    put(storage, undated(2))

    assert by_worse == "2021-07-02T00:58:54.000Z"
    assert storage.times("cong-1")[1][2] == RIGHT.format(2)
    assert qualities(storage) == (0, 2, 0)


def test_rows_that_come_after_their_boot_was_known_are_corrected_at_once(
    storage: Storage, database_url: str
) -> None:
    tell(storage, a_health(**known(40)))
    put(storage, undated(1))
    storage.close()

    again = Storage(database_url)
    put(again, undated(2))

    assert qualities(again) == (0, 2, 0)
    again.close()


def test_scans_tell_of_their_boot_too(storage: Storage) -> None:
    put(storage, undated(1), undated(2))
    put(storage, undated(3), a_scan(9, **known(9)), undated(4))
    assert qualities(storage) == (1, 4, 0)

    # ... even the unit's own correction of another scan.
    put(storage, undated(11, boot="c" * 32), undated(12, boot="c" * 32, corrected=RIGHT.format(12)))
    assert qualities(storage) == (1, 6, 0)
    assert storage.times("cong-1")[-2][2] == RIGHT.format(11)


def test_another_process_may_learn_of_a_boot_meanwhile(storage: Storage, database_url: str) -> None:
    other = Storage(database_url)
    put(storage, undated(1))

    tell(other, a_health(**known(40)))
    put(storage, undated(2))

    assert qualities(storage) == (0, 2, 0)
    other.close()


def test_a_boot_that_was_rolled_back_is_not_believed(storage: Storage) -> None:
    def change(sql: str) -> None:
        with storage.database.writing() as connection:
            connection.execute(text(sql))

    change("ALTER TABLE set_aside RENAME TO away")
    with pytest.raises(StorageError):
        storage.store(
            [came("pleiku", "cong-1", a_scan(9, **known(9)))], NOW, [SetAside("t", "r", b"")]
        )
    change("ALTER TABLE away RENAME TO set_aside")

    put(storage, undated(1))

    assert qualities(storage) == (0, 0, 1)


def test_a_better_source_corrects_what_comes_later(storage: Storage) -> None:
    late = known(40, "rtc") | {"at": "2021-07-02T00:59:00.000Z"}
    tell(storage, a_health(**late))
    put(storage, undated(1))

    tell(storage, a_health(**known(41)))
    tell(storage, a_health(**late))
    put(storage, undated(2))

    assert [time for _, _, time, _ in storage.times("cong-1")] == [
        "2021-07-02T00:58:21.000Z",
        RIGHT.format(2),
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        {"at": "2021-02-30T01:30:00.000Z", "clock": "ntp"},
        {"at": "9999-19-39T29:69:69.999Z", "clock": "ntp"},
        {"at": "0000-00-00T00:00:00.000Z", "clock": "none"},
        {"corrected": "2021-02-30T01:30:00.000Z"},
        {"uptime_ms": 2**53},
        {"uptime_ms": 2**53, "clock": "ntp"},
        {"at": "1970-01-01T00:00:00.000Z", "uptime_ms": 2**53, "clock": "gnss"},
        {"at": "9999-12-31T23:59:59.999Z", "uptime_ms": 0, "clock": "ntp"},
    ],
)
def test_a_clock_that_says_nonsense_stops_nobody_and_is_never_a_time(
    storage: Storage, hostile: dict[str, Any]
) -> None:
    put(storage, undated(1))
    put(storage, undated(2, **hostile))
    moment = {"at": WRONG.format(2), "uptime_ms": 2000, "clock": "ntp", "boot": BOOT}
    moment |= {key: value for key, value in hostile.items() if key != "corrected"}
    tell(storage, a_health(**moment))
    put(storage, undated(3))
    tell(storage, a_health(**known(40)))

    assert storage.count() == 3
    for _, _, time, _ in storage.times("cong-1"):
        assert utc_seconds(time) >= 0


def test_a_correction_in_the_table_is_the_same_as_one_on_the_way_in(storage: Storage) -> None:
    chance = random.Random(8)
    offset = 1_625_187_600_000 + 123
    uptimes = [chance.randrange(10 ** chance.randrange(1, 11)) for _ in range(500)]
    put(storage, *(undated(n + 1, at=NOW, uptime_ms=ms) for n, ms in enumerate(uptimes)))

    tell(storage, a_health(at=utc_text((offset + 77) / 1000), uptime_ms=77, boot=BOOT, clock="ntp"))

    assert [time for _, _, time, _ in storage.times("cong-1")] == [
        utc_text((offset + ms) / 1000) for ms in uptimes
    ]


def test_a_correction_looks_at_nothing_but_what_it_may_correct(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage.db")
    with storage.database.reading() as connection:
        plan = connection.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT number FROM scan_undated WHERE unit = 'u'"
                " AND boot = 'b' AND time_quality = 'unsynced'"
            )
        ).fetchall()
        by_place = connection.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT count(*) FROM scan"
                " WHERE place = 'p' AND time BETWEEN 'a' AND 'b'"
            )
        ).fetchall()
    storage.close()

    assert "undated_unsynced" in plan[0][3]
    assert any("scan_undated_place_time" in line[3] for line in by_place)
