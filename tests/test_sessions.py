"""Several sessions at one broker are used as one connection."""

from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.demo.broker import free_port
from edge.sessions import TOGETHER_S, Sessions
from tests.conftest import MOSQUITTO, Broker, Mosquitto
from tests.connections import Connect
from tests.fakes import FakeClock, eventually

#: More than one session of the server may have unacknowledged.
MORE = 2600


def made(connect: Connect, url: str, topics: list[str]) -> Sessions:
    first, *others = [
        connect(url, f"s{number}", subscriptions=[topic], persistent=True)
        for number, topic in enumerate(topics)
    ]
    sessions = Sessions(first, others, SystemClock())
    eventually(lambda: sessions.connected, "connected", turn=lambda: sessions.step(0.05))
    return sessions


def test_each_hears_its_own_and_an_acknowledgement_finds_its_way(
    broker: Broker, connect: Connect
) -> None:
    sessions = made(connect, broker.url, ["a", "b"])
    before = sessions.session

    with sessions.together():
        sessions.publish("a", b"1")
        sessions.publish("b", b"2")
    heard = []

    def turn() -> None:
        sessions.step(0.05)
        heard.extend(sessions.take())

    eventually(lambda: len(heard) == 2, "both heard", turn=turn)
    assert all(sessions.holds(message) for message in heard)
    for message in heard:
        sessions.ack(message)

    # What one of them had unacknowledged would come again.
    for one in (sessions._first, *sessions._others):
        one._drop()
    assert not sessions.connected
    eventually(lambda: sessions.connected, "back", turn=turn)
    assert sessions.session != before
    assert not any(sessions.holds(message) for message in heard)
    sessions.publish("a", b"3")
    eventually(lambda: len(heard) == 3, "the next heard", turn=turn)
    assert [message.payload for message in heard][2:] == [b"3"]


def test_what_one_session_has_in_hand_holds_nothing_back_of_another(
    broker: Broker, connect: Connect
) -> None:
    sessions = made(connect, broker.url, ["many", "few"])
    sender = connect(broker.url, "sender")
    eventually(lambda: sender.connected, "sender", turn=lambda: sender.step(0.05))
    sent = 0
    heard = []

    def turn() -> None:
        nonlocal sent
        with sender.together():
            while sent < MORE and sender.in_flight < 500:
                sent += sender.publish("many", b"x")
        sender.step(0.01)
        sessions.step(0.01)
        heard.extend(sessions.take())

    # Nothing is acknowledged: the first session is as full as the broker lets it be.
    eventually(lambda: sent == MORE and not sender.in_flight, "sent", turn=turn)
    sender.publish("few", b"y")

    eventually(lambda: any(message.topic == "few" for message in heard), "the one", turn=turn)


def test_all_use_the_broker_that_the_first_uses(
    broker: Broker, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = f"mqtt://127.0.0.1:{free_port()}"
    ways = {"settings": {"fallback_url": broker.url}, "persistent": True}
    first, *others = [connect(nobody, name, subscriptions=[name], **ways) for name in ("a", "b")]
    sessions = Sessions(first, others, SystemClock())

    eventually(lambda: sessions.connected, "connected", turn=lambda: sessions.step(0.05))

    assert {first.address, others[0].address} == {f"127.0.0.1:{broker.port}"}
    # The other did not try for itself where the first had found nobody.
    assert caplog.text.count("nobody listens") == 1


@pytest.mark.parametrize("together_s", [0, TOGETHER_S], ids=["at once", "in its course"])
@pytest.mark.parametrize("has_another", [False, True], ids=["restarts", "fails"])
def test_a_broker_that_ends_all_at_once_does_not_take_them_for_one(
    tmp_path: Path, connect: Connect, together_s: float, has_another: bool
) -> None:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is missing: sudo apt install mosquitto")
    brokers = [Mosquitto(tmp_path)]
    if has_another:
        (tmp_path / "other").mkdir()
        brokers.append(Mosquitto(tmp_path / "other"))
    urls = {"settings": {"fallback_url": brokers[-1].url}} if has_another else {}
    each = [
        connect(brokers[0].url, name, subscriptions=[name], persistent=True, **urls)
        for name in "abcde"
    ]
    clock = FakeClock()
    sessions = Sessions(each[0], each[1:], clock, may_become_one=True)

    def turn() -> None:
        sessions.step(0.05)

    try:
        eventually(lambda: sessions.connected, "connected", turn=turn)
        turn()
        clock.advance(together_s)
        turn()

        brokers[0].stop()
        eventually(lambda: not any(one.connected for one in each), "all have seen it", turn=turn)
        if not has_another:
            brokers[0].start()
        eventually(lambda: sessions.connected, "all are there again", turn=turn)

        assert len(sessions.hears) == 5
    finally:
        for broker in brokers:
            broker.stop()


def test_what_one_hears_can_be_confirmed_while_another_is_away(
    broker: Broker, connect: Connect
) -> None:
    sessions = made(connect, broker.url, ["a", "b", "c"])
    sessions.publish("b", b"1")
    heard = []

    def turn() -> None:
        sessions.step(0.05)
        heard.extend(sessions.take())

    eventually(lambda: heard, "heard", turn=turn)
    sessions._others[1]._drop()

    assert not sessions.connected
    assert sessions.speaks
    assert sessions.holds(heard[0])
    sessions._first._drop()
    assert not sessions.speaks
