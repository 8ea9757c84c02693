"""A simulated unit keeps to the contract: real messages and seals, nothing forgotten early."""

import random
from pathlib import Path

import pytest

from edge.messages import Again, Confirmed, ConfirmedRange, MissingRange, Scan, check_of
from edge.sealing import Opener, Sealer, make_key_pair, read_key
from edge.simulate.day import RUSH, rush
from edge.simulate.unit import WINDOW, SimulatedUnit, Wrong

NOW = 1_625_187_600.0


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Sealer, Opener]:
    make_key_pair(tmp_path / "pub", tmp_path / "key")
    return Sealer(read_key(tmp_path / "pub")), Opener(read_key(tmp_path / "key"))


@pytest.fixture
def unit(keys: tuple[Sealer, Opener]) -> SimulatedUnit:
    return a_unit(keys[0])


def a_unit(sealer: Sealer, wrong: Wrong | None = None) -> SimulatedUnit:
    return SimulatedUnit(
        name="sim-1",
        area="sim",
        place="cho-1",
        direction="in",
        sealer=sealer,
        chance=random.Random(1),
        booted_at=NOW - 100,
        wrong=wrong or Wrong(),
    )


def confirmed(unit: SimulatedUnit, scans: list[Scan]) -> Confirmed:
    check = check_of(scan.id for scan in scans)
    return Confirmed(epoch=unit.epoch, ranges=(ConfirmedRange(scans[0].seq, scans[-1].seq, check),))


def test_its_scans_are_of_the_contract_and_really_sealed(
    unit: SimulatedUnit, keys: tuple[Sealer, Opener]
) -> None:
    for _ in range(3):
        unit.scan(NOW)
    unit.connected(NOW)

    scans = [Scan.decode(scan.encode()) for scan in unit.to_send(NOW, 10)]

    assert [scan.seq for scan in scans] == [1, 2, 3]
    for scan in scans:
        identity = keys[1].open(scan.sealed, scan.id)
        # A number that no province gives out.
        assert identity.pin.startswith("000")


def test_only_a_confirmation_with_the_right_check_makes_it_forget(unit: SimulatedUnit) -> None:
    for _ in range(4):
        unit.scan(NOW)
    unit.connected(NOW)
    scans = list(unit.to_send(NOW, 10))

    foreign = Confirmed(epoch=unit.epoch, ranges=(ConfirmedRange(1, 2, "0" * 16),))
    assert unit.confirm(foreign, NOW) == []
    assert len(unit.confirm(confirmed(unit, scans[:2]), NOW + 3)) == 2
    # A repeat of one that was forgotten, together with others.
    assert unit.confirm(confirmed(unit, scans[1:]), NOW + 4) == [4.0, 4.0]
    assert (unit.pending, unit.confirmed) == ({}, 4)


def test_it_sends_no_more_than_its_window_and_begins_again_on_a_new_connection(
    unit: SimulatedUnit,
) -> None:
    for _ in range(WINDOW + 50):
        unit.scan(NOW)
    unit.connected(NOW)
    first = list(unit.to_send(NOW, 10_000))
    assert len(first) == WINDOW
    assert list(unit.to_send(NOW, 10_000)) == []

    unit.confirm(confirmed(unit, first[:20]), NOW)
    assert [scan.seq for scan in unit.to_send(NOW, 7)] == list(range(WINDOW + 1, WINDOW + 8))

    unit.connected(NOW)
    assert next(unit.to_send(NOW, 1)).seq == 21


def test_what_was_overtaken_is_sent_again_and_silence_costs_one_copy_of_one(
    unit: SimulatedUnit,
) -> None:
    for _ in range(10):
        unit.scan(NOW)
    unit.connected(NOW)
    scans = list(unit.to_send(NOW, 10))
    assert [scan.seq for scan in unit.to_send(NOW + 6, 10)] == [1]
    assert list(unit.to_send(NOW + 7, 10)) == []

    unit.confirm(confirmed(unit, scans[:1]), NOW + 8)
    assert [scan.seq for scan in unit.to_send(NOW + 12, 10)] == []
    assert [scan.seq for scan in unit.to_send(NOW + 13, 10)] == list(range(2, 11))
    unit.confirm(confirmed(unit, scans[3:]), NOW + 14)
    assert [scan.seq for scan in unit.to_send(NOW + 19, 10)] == [2]


def test_it_sends_what_is_asked_for_and_still_there(unit: SimulatedUnit) -> None:
    for _ in range(5):
        unit.scan(NOW)
    unit.connected(NOW)
    scans = list(unit.to_send(NOW, 10))
    unit.confirm(confirmed(unit, scans[:2]), NOW)

    asked = unit.asked(Again(epoch=unit.epoch, ranges=(MissingRange(2, 90),)), NOW)

    assert [scan.seq for scan in asked] == [3, 4, 5]


def test_a_wrong_clock_says_that_nothing_set_it_and_is_corrected_later(
    keys: tuple[Sealer, Opener],
) -> None:
    unit = a_unit(keys[0], Wrong(by_s=7200, known_at=NOW + 60))
    unit.scan(NOW)
    unit.scan(NOW + 61)
    unit.connected(NOW)

    first, second = unit.to_send(NOW + 62, 10)

    assert (first.at, first.clock) == ("2021-07-01T23:00:00.000Z", "none")
    assert first.corrected == "2021-07-02T01:00:00.000Z"
    assert (second.clock, second.corrected) == ("ntp", None)
    assert unit.status(NOW).clock == "none"
    assert unit.health(NOW + 62).pending == 2


def test_a_day_has_its_rush_and_its_night() -> None:
    assert sum(RUSH.values()) / len(RUSH) == pytest.approx(1)
    assert rush(NOW - 3600) == 3.0
    assert rush(NOW + 15 * 3600) == 0
