"""When a broker is tried again, and what the endings of connections tell."""

import pytest

from edge.broker import Address
from edge.reconnecting import (
    BACKOFF_MAX_S,
    CLOSED_BY_BROKER,
    CLOSED_WITHIN_S,
    STABLE_S,
    UNGREETED,
    Closings,
    Reconnecting,
)
from tests.fakes import FakeClock

ONE, OTHER = Address("192.0.2.1", 8883, True), Address("192.0.2.2", 8883, True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def closings(clock: FakeClock) -> Closings:
    return Closings(clock)


def test_attempts_back_off_to_a_minute_with_jitter(clock: FakeClock) -> None:
    tries, waits = Reconnecting([ONE], clock), []
    for _ in range(14):
        assert tries.wait_s == 0
        tries.begin()
        tries.failed("away")
        waits.append(tries.wait_s)
        clock.advance(waits[-1])

    assert waits[0] <= 1.0
    assert max(waits) <= BACKOFF_MAX_S
    assert all(wait >= 30.0 for wait in waits[-4:])
    assert len(set(waits)) == len(waits)


def test_a_link_that_flaps_is_not_tried_ever_faster(clock: FakeClock) -> None:
    tries = Reconnecting([ONE], clock)
    for _ in range(8):
        tries.begin()
        tries.connected()
        assert tries.stays(0)
        tries.failed("the link is gone")

    assert tries.wait_s >= 30

    tries.begin()
    tries.connected()
    clock.advance(STABLE_S)
    assert tries.stays(0)
    tries.failed("the link is gone")
    assert tries.wait_s <= 1


def test_brokers_take_turns(clock: FakeClock) -> None:
    tries, tried = Reconnecting([ONE, OTHER], clock), []
    for _ in range(3):
        tried.append(tries.address)
        tries.failed("away")

    assert tried == [ONE, OTHER, ONE]


def test_a_broker_that_closes_us_again_and_again_tells_of_another_client(
    clock: FakeClock, closings: Closings
) -> None:
    for number in range(CLOSED_BY_BROKER):
        assert not closings.tell_of_another, number
        closings.greeted(ONE)
        closings.closed(ONE)
        # NATS lets the faster of the two wait for a second, and closes it without a word.
        closings.ungreeted(ONE)
        clock.advance(60)

    assert closings.tell_of_another
    clock.advance(CLOSED_WITHIN_S)
    assert not closings.tell_of_another


def test_the_second_broker_being_away_does_not_hide_another_client(closings: Closings) -> None:
    for _ in range(CLOSED_BY_BROKER):
        closings.greeted(ONE)
        closings.closed(ONE)
        closings.failed(OTHER)

    assert closings.tell_of_another


def test_a_broker_that_cannot_be_reached_between_two_endings_is_no_other_client(
    closings: Closings,
) -> None:
    for _ in range(3 * CLOSED_BY_BROKER):
        closings.greeted(ONE)
        closings.closed(ONE)
        closings.failed(ONE)

    assert not closings.tell_of_another


def test_a_cluster_that_takes_nobody_for_a_while_is_no_other_client(closings: Closings) -> None:
    for _ in range(3 * CLOSED_BY_BROKER):
        closings.greeted(ONE)
        closings.closed(ONE)
        for _ in range(UNGREETED):
            closings.ungreeted(ONE)

    assert not closings.tell_of_another


def test_what_a_broker_says_of_another_client_is_believed_at_once(
    clock: FakeClock, closings: Closings
) -> None:
    closings.taken_over()
    closings.failed(ONE)

    assert closings.tell_of_another
    clock.advance(CLOSED_WITHIN_S + 1)
    assert not closings.tell_of_another
