"""A unit forgets what its centre has confirmed of its own scans, and nothing else."""

from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from edge.messages import (
    Confirmed,
    ConfirmedRange,
    Health,
    check_of,
)
from edge.sealing import Signer, Verifier
from edge.signed import sign_confirmed
from tests.scanner.publishing import CONFIRMED, Unit


def test_only_what_is_confirmed_is_forgotten(unit: Unit) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.confirm(2, 2)
    unit.step()

    assert [scan.seq for scan in unit.outbox.oldest(10)] == [1, 3]
    assert unit.publisher.confirmed == 1


def test_who_runs_the_broker_cannot_make_a_unit_forget_a_scan(tmp_path: Path) -> None:
    centre, other = Signer(b"c" * 32), Signer(b"o" * 32)
    unit = Unit(tmp_path, Verifier(centre.public_key))
    unit.put(3)
    unit.connection.come_up()
    unit.step()
    right = unit.confirmation(1, 3)
    (by_another,) = sign_confirmed([("cong-1", right)], other)
    (to_another,) = sign_confirmed([("cong-2", right)], centre)
    (of_less,) = sign_confirmed([("cong-1", unit.confirmation(1, 1))], centre)
    many = [(f"cong-{number}", right) for number in range(1, 41)]
    mine, beside, *_ = sign_confirmed(many, centre)
    forged = [
        right,
        by_another,
        to_another,
        beside,
        replace(of_less, ranges=right.ranges),
        replace(right, signature=bytes(64)),
        replace(mine, path=beside.path),
        replace(mine, path=UNSET),
    ]
    for message in forged:
        unit.connection.deliver(CONFIRMED, message.encode())
        unit.step()
    assert unit.pending() == 3
    unit.step(60.0)
    (health,) = [Health.decode(payload) for payload in unit.connection.on("health")][-1:]
    assert health.unbelieved == len(forged)

    unit.connection.deliver(CONFIRMED, mine.encode())
    unit.step()
    assert unit.pending() == 0
    unit.outbox.close()


def test_a_confirmation_that_waited_for_us_over_a_restart_is_believed(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.put(5)
    scans = unit.scans
    unit.outbox.close()

    unit = Unit(tmp_path)
    unit.scans = scans
    unit.connection.come_up()
    unit.confirm(1, 4)

    assert unit.step() == [5]
    assert unit.pending() == 1
    unit.outbox.close()


def test_a_confirmation_of_another_life_of_the_outbox_changes_nothing(unit: Unit) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.connection.deliver(CONFIRMED, replace(unit.confirmation(1, 3), epoch="f" * 16).encode())
    unit.step()

    assert unit.pending() == 3


def test_no_range_is_looked_at_that_is_longer_than_any_of_ours(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.scanner.confirmations.MOST_IN_A_RANGE", 2)
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.confirm(1, 3)
    unit.step()
    assert unit.pending() == 3
    unit.confirm(1, 2)
    unit.step()
    assert unit.pending() == 1


def test_confirmations_of_another_unit_under_our_name_are_not_believed(
    unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.confirm(1, 3, check=check_of(["f" * 32] * 3))
    unit.step()

    assert unit.pending() == 3
    assert "does another unit run as 'cong-1'" in caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"noise \xff",
        b'{"v":9}',
        Confirmed(epoch="f" * 16, ranges=(ConfirmedRange(1, 3, "0" * 16),)).encode(),
        b'{"v":1,"epoch":"EPOCH","ranges":[{"first":1,"last":9007199254740992,"check":"%s"}]}'
        % (b"0" * 16),
        b'{"v":1,"epoch":"EPOCH","ranges":[{"first":3,"last":1,"check":"%s"}]}'
        % check_of([]).encode(),
    ],
)
def test_a_confirmation_that_makes_no_sense_changes_nothing(unit: Unit, payload: bytes) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.connection.deliver(CONFIRMED, payload.replace(b"EPOCH", unit.outbox.epoch.encode()))
    unit.step()

    assert unit.pending() == 3


def test_a_repeat_confirmed_together_with_new_ones_is_believed(unit: Unit) -> None:
    unit.put(4)
    unit.connection.come_up()
    unit.step()
    unit.confirm(1, 2)
    unit.step()

    unit.confirm(1, 4)
    unit.step()

    assert unit.pending() == 0


def test_a_scan_that_waits_long_is_still_known_when_it_is_confirmed(unit: Unit) -> None:
    unit.put(1)
    unit.connection.come_up()
    unit.step()
    for seq in range(2, 80):
        unit.put()
        unit.step()
        unit.confirm(seq, seq)
        unit.step()

    unit.confirm(1, 1)
    unit.step()

    assert unit.pending() == 0
