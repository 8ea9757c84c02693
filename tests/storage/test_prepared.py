"""A batch that is made ready as it comes in says of its scans what their rows say."""

import random
from pathlib import Path

from edge.storage.prepared import COLUMNS, count
from edge.storage.storage import Storage
from tests.fakes import a_scan, came

NOW = "2021-07-02T08:00:00.000Z"


def test_what_is_counted_beforehand_is_what_the_rows_come_to(tmp_path: Path) -> None:
    storage, chance = Storage(tmp_path / "storage.db"), random.Random(1)
    batch = storage.prepare(NOW)
    seqs = dict.fromkeys(("cong-1", "cong-2"), 0)
    for _ in range(40):
        unit, scans = chance.choice(list(seqs)), []
        for _ in range(chance.randrange(1, 9)):
            seqs[unit] += chance.choice((1, 1, 1, 2))
            at = f"2021-07-0{chance.randrange(1, 3)}T07:{chance.randrange(3):02}:12.345Z"
            place, boot = f"cho-{chance.randrange(2)}", f"{chance.randrange(3):032x}"
            scans.append(a_scan(seqs[unit], at=at, clock="ntp", place=place, boot=boot))
        batch.add(came("pleiku", unit, *scans))

    assert batch.all_dated
    assert batch.counted == count(batch.rows)
    assert batch.days == [row[COLUMNS.index("at")][:10] for row in batch.rows]
    assert [scan.id for _, scan in batch.scans()] == [
        row[COLUMNS.index("id")] for row in batch.rows
    ]
    assert batch.boots == {(unit, scan.boot) for unit, scan in batch.scans()}
    for (unit, _), ranges in batch.arrived.items():
        numbers = {scan.seq for its, scan in batch.scans() if its == unit}
        assert {n for first, last in ranges for n in range(first, last + 1)} == numbers
    assert storage.store_prepared(batch) == len(batch.rows) == storage.count()
    storage.close()


def test_a_time_that_is_none_has_no_day(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage.db")
    batch = storage.prepare(NOW)
    wrong = ("2021-02-30T07:00:00.000Z", "2021-07-02T07:00:60.000Z", "1970-01-01T00:00:09.000Z")
    for seq, at in enumerate((*wrong, NOW), start=1):
        batch.add(came("pleiku", "cong-1", a_scan(seq, at=at, clock="ntp")))
    batch.add(came("pleiku", "cong-1", a_scan(5, at=NOW, clock="none")))

    assert batch.days == ["", "", "", "2021-07-02", ""]
    assert not batch.all_dated
    storage.close()
