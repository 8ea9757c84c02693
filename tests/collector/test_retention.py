"""Storage drops what is past its time, with a receipt, and erases one person's identities."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from edge import chain
from edge.chain import entries, verify
from edge.clock import Moment, utc_text
from edge.collector import retention as retention_module
from edge.collector.retention import BUSY_S, LOOK_S, RECEIPTS_FILE, Retention, erase_order
from edge.errors import ChainError, ConfigError, StorageBusy
from edge.storage import erasing
from edge.storage import receipts as due
from edge.storage.erasing import forget_identities
from edge.storage.rows import Report, SetAside
from edge.storage.storage import Storage
from tests.fakes import FakeClock, a_health, a_scan, came, eventually
from tests.power import PowerCut, power_for_lines

DAY = 86_400
NOW = 1_786_000_000


class Later(FakeClock):
    """A clock of August 2026."""

    def now(self) -> Moment:
        clock: Any = "ntp" if self.synchronized else "none"
        return Moment(at=utc_text(NOW), boot=self.boot, uptime_ms=1, clock=clock)


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    storage = Storage(database_url)
    yield storage
    storage.close()


def put(storage: Storage, seq: int, days_ago: float, clock: str = "ntp") -> Any:
    at = utc_text(NOW - days_ago * DAY)
    scan = a_scan(seq, at=at, clock=clock, sealed=b"sealed")
    aside = [SetAside("edge/v1/a/b/scan", "not JSON", b"noise")]
    storage.store([came("gialai", "cong-1", scan)], at, aside)
    return scan


def retention(storage: Storage, folder: Path, *, synchronized: bool = True) -> Retention:
    clock = Later()
    clock.synchronized = synchronized
    return Retention(storage, folder / RECEIPTS_FILE, clock, days=21)


def erase(retention: Retention) -> int:
    """Let *retention* take its turns until all is erased."""
    erased = retention.step()

    def turn() -> None:
        nonlocal erased
        erased += retention.step()

    eventually(lambda: not retention.busy, "all is erased", turn=turn)
    return erased


def test_days_past_their_time_are_dropped_with_a_receipt(storage: Storage, tmp_path: Path) -> None:
    for seq, days_ago in enumerate((30, 30, 23, 20, 1), start=1):
        put(storage, seq, days_ago)
    put(storage, 6, 40, "none")

    retention(storage, tmp_path).finish()

    assert storage.count() == 2
    (receipt,) = entries(tmp_path / RECEIPTS_FILE)
    assert receipt.facts["scans"] == 4
    assert receipt.facts["set_aside"] == 4
    assert len(receipt.facts["days"]) == 2
    assert verify(tmp_path / RECEIPTS_FILE).entries == 1
    retention(storage, tmp_path).finish()
    assert verify(tmp_path / RECEIPTS_FILE).entries == 1
    # That the numbers were there is known for good.
    assert storage.units()[0].gaps == []


def test_receipts_that_cannot_be_written_do_not_end_the_collector(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receipts = tmp_path / RECEIPTS_FILE
    receipts.write_bytes(b"\0" * 100 + b"\n")
    put(storage, 1, 30)
    clock = Later()
    clock.synchronized = True
    hourly = Retention(storage, receipts, clock, days=21)

    def errors() -> list[str]:
        return [r.levelname for r in caplog.records if "move it away" in r.message]

    eventually(errors, "it says so", turn=hourly.step)
    for _ in range(20):
        clock.advance(BUSY_S)
        hourly.step()
    assert errors() == ["ERROR"]
    assert hourly.busy

    receipts.rename(tmp_path / "aside")
    clock.advance(LOOK_S)
    erase(hourly)
    (receipt,) = entries(receipts)
    assert receipt.facts["scans"] == 1


def test_a_record_that_is_only_out_of_reach_is_not_to_be_moved_away(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(storage, 1, 30)
    clock = Later()
    clock.synchronized = True
    hourly = Retention(storage, tmp_path / "away" / RECEIPTS_FILE, clock, days=21)

    eventually(lambda: "erasing waits" in caplog.text, "it says so", turn=hourly.step)
    assert "cannot write this record" in caplog.text
    assert "move it away" not in caplog.text

    (tmp_path / "away").mkdir()
    clock.advance(LOOK_S)
    assert erase(hourly) == 1
    hourly.close()


def test_it_looks_once_an_hour_and_never_without_a_set_clock(
    storage: Storage, tmp_path: Path
) -> None:
    unset = retention(storage, tmp_path, synchronized=False)
    put(storage, 1, 30)
    assert unset.finish() == 0
    unset.step()
    assert storage.count() == 1

    clock = Later()
    clock.synchronized = True
    hourly = Retention(storage, tmp_path / RECEIPTS_FILE, clock, days=21)
    erase(hourly)
    put(storage, 2, 29)
    hourly.step()
    assert storage.count() == 1
    clock.advance(LOOK_S)
    erase(hourly)
    assert storage.count() == 0


def test_one_persons_identities_are_erased_and_the_count_stays(storage: Storage) -> None:
    mine, theirs = put(storage, 1, 3), put(storage, 2, 3)
    undated = put(storage, 3, 3, "none")

    erased = forget_identities(
        storage.database,
        storage.days(),
        [(mine.id, mine.place, mine.at), (undated.id, undated.place, undated.at)],
    )

    assert erased == 2
    left = {scan: sealed for scan, _, sealed in storage.sealed()}
    assert left == {mine.id: b"", theirs.id: b"sealed", undated.id: b""}
    assert forget_identities(storage.database, storage.days(), [(mine.id, "x", mine.at)]) == 0


def test_one_whose_time_was_corrected_after_the_order_is_erased_too(storage: Storage) -> None:
    undated = put(storage, 1, 3, "none")
    known = a_health(at=utc_text(NOW), uptime_ms=undated.uptime_ms + 60_000, clock="ntp")
    storage.store_reports([Report("pleiku", "cong-1", known)], utc_text(NOW))
    assert [quality for *_, quality in storage.times("cong-1")] == ["corrected"]

    order = [(undated.id, undated.place, undated.at)]
    assert forget_identities(storage.database, storage.days(), order) == 1


def test_an_order_of_the_desk_erases_and_leaves_a_receipt(storage: Storage, tmp_path: Path) -> None:
    mine = put(storage, 1, 3)
    order = tmp_path / "order.json"
    order.write_text(json.dumps([[mine.id, mine.place, mine.at], ["f" * 32, "x", mine.at]]))

    assert erase_order(order, storage, tmp_path / RECEIPTS_FILE, Later()) == 1
    assert erase_order(order, storage, tmp_path / RECEIPTS_FILE, Later()) == 0

    first, _ = entries(tmp_path / RECEIPTS_FILE)
    assert (first.facts["ordered"], first.facts["identities"]) == (2, 1)
    for content in ("", "{}", "[[1]]"):
        order.write_text(content)
        with pytest.raises(ConfigError, match=r"order\.json: not an order"):
            erase_order(order, storage, tmp_path / RECEIPTS_FILE, Later())
    with pytest.raises(ConfigError, match="cannot read"):
        erase_order(tmp_path / "no", storage, tmp_path / RECEIPTS_FILE, Later())


def test_whoever_erases_by_an_order_may_be_killed_at_any_line(
    storage: Storage, tmp_path: Path
) -> None:
    receipts, order, clock = tmp_path / RECEIPTS_FILE, tmp_path / "order.json", Later()
    clock.synchronized = True
    cuts = left_by_the_kill = 0
    while True:
        scan = put(storage, cuts + 1, 3)
        order.write_text(json.dumps([[scan.id, scan.place, scan.at]]))
        before = len(list(entries(receipts)))
        done = False
        with suppress(PowerCut), power_for_lines(cuts, retention_module, due, erasing, chain):
            erase_order(order, storage, receipts, clock)
            done = True
        if done:
            break
        cuts += 1
        told = len(list(entries(receipts))) - before
        is_erased = {name: sealed for name, _, sealed in storage.sealed()}[scan.id] == b""
        left_by_the_kill += is_erased and not told
        assert is_erased or not told, "nothing is said to be erased that is not"

        # The collector's next look.
        after = Retention(storage, receipts, clock, days=21)
        after.finish()
        after.close()

        new = list(entries(receipts))[before:]
        assert bool(new) == is_erased
        # A receipt that was written as the kill came is written again, as that of the same erasure.
        assert len({receipt.facts["erasure"] for receipt in new}) == int(is_erased)
        for receipt in new:
            assert (receipt.facts["ordered"], receipt.facts["identities"]) == (1, 1)
            assert receipt.facts["order"] == sha256(order.read_bytes()).hexdigest()
    assert cuts > 30
    assert left_by_the_kill > 5, "so the kills did meet what stands between the two"
    verify(receipts)


def test_a_receipt_that_could_not_be_written_is_written_later(
    storage: Storage, tmp_path: Path
) -> None:
    mine, order = put(storage, 1, 3), tmp_path / "order.json"
    order.write_text(json.dumps([[mine.id, mine.place, mine.at]]))
    receipts = tmp_path / "away" / RECEIPTS_FILE
    with pytest.raises(ChainError, match="cannot write this record"):
        erase_order(order, storage, receipts, Later())
    assert [sealed for _, _, sealed in storage.sealed()] == [b""]

    receipts.parent.mkdir()
    assert erase_order(order, storage, receipts, Later()) == 0

    assert [receipt.facts["identities"] for receipt in entries(receipts)] == [1, 0]


def test_the_collector_goes_on_while_somebody_reads_what_is_to_go(
    storage: Storage, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(storage, 1, 30)
    clock = Later()
    clock.synchronized = True
    working = Retention(storage, tmp_path / RECEIPTS_FILE, clock, days=21)
    reader = Storage(database_url)
    with reader.database.reading() as connection:
        connection.execute(text("SELECT count(*) FROM scan")).all()
        working.step()
        eventually(
            lambda: "again in" in caplog.text,
            "it notices",
            turn=working.step,
        )
        assert not (tmp_path / RECEIPTS_FILE).exists(), "it is not erased, and not said to be"
    clock.advance(BUSY_S)

    assert erase(working) == 1

    working.close()
    (receipt,) = entries(tmp_path / RECEIPTS_FILE)
    assert receipt.facts["scans"] == 1
    reader.close()


def test_an_order_is_not_done_while_the_log_still_holds_the_identity(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage.db")
    mine = put(storage, 1, 3)
    order = tmp_path / "order.json"
    order.write_text(json.dumps([[mine.id, mine.place, mine.at]]))
    with pytest.MonkeyPatch.context() as patch, storage.database.reading() as connection:
        patch.setattr("edge.collector.retention.WAIT_S", 0.1)
        connection.execute(text("SELECT count(*) FROM scan")).all()
        with pytest.raises(StorageBusy, match="give the same command again"):
            erase_order(order, storage, tmp_path / RECEIPTS_FILE, Later())

    assert erase_order(order, storage, tmp_path / RECEIPTS_FILE, Later()) == 0

    before, after = entries(tmp_path / RECEIPTS_FILE)
    assert (before.facts["identities"], before.facts["in_log"]) == (1, True)
    assert (after.facts["identities"], after.facts["in_log"]) == (0, False)
    storage.close()


def test_no_slice_holds_the_collector_up(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, 1, 30)
    working = retention(storage, tmp_path)
    go_on, step = threading.Event(), storage.erasing.step
    monkeypatch.setattr(storage.erasing, "step", lambda note: go_on.wait(60) and step(note))

    for seq in range(2, 5):
        assert working.step() == 0
        # It is out of every question, others are stored, and it is not said to be erased.
        put(storage, seq, 1)
        assert storage.count() == seq - 1
    assert working.busy
    assert not (tmp_path / RECEIPTS_FILE).exists()
    go_on.set()

    assert erase(working) == 1
    working.close()
