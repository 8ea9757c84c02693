"""The connection, on real brokers and on servers that only look like one."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from edge import packets
from edge.demo.broker import QUEUE, NatsBroker, ask_nats, bound_queue, free_port
from edge.errors import ConfigError
from edge.liveness import ACKNOWLEDGED_S, GREETING_S
from edge.mqtt import Connection, LastWill
from edge.reconnecting import RETURN_S
from tests.conftest import MOSQUITTO, Broker, Mosquitto
from tests.connections import Connect, receive, until_connected
from tests.fakes import LIMIT_S, FakeClock, eventually


def test_a_message_arrives_and_is_acknowledged(broker: Broker, connect: Connect) -> None:
    receiver = connect(broker.url, "receiver", subscriptions=["t/+"])
    sender = connect(broker.url, "sender")
    until_connected(receiver)
    until_connected(sender)

    assert sender.publish("t/1", b"hello")
    assert sender.bytes_in_flight == 5

    (message,) = receive(receiver, 1)
    assert (message.topic, message.payload) == ("t/1", b"hello")
    receiver.ack(message)
    eventually(lambda: sender.in_flight == 0, "PUBACK", turn=lambda: sender.step(0.05))
    assert sender.bytes_in_flight == 0


def test_what_was_not_acknowledged_comes_again_to_a_persistent_session(
    broker: Broker, connect: Connect
) -> None:
    first = connect(broker.url, "receiver", subscriptions=["t"], persistent=True)
    sender = connect(broker.url, "sender")
    until_connected(first)
    until_connected(sender)
    sender.publish("t", b"1")
    assert [m.payload for m in receive(first, 1)] == [b"1"]
    first._drop()
    sender.publish("t", b"2")

    second = connect(broker.url, "receiver", subscriptions=["t"], persistent=True)
    until_connected(second)

    assert {m.payload for m in receive(second, 2)} == {b"1", b"2"}


def test_what_is_in_hand_already_is_not_received_a_second_time(
    tmp_path: Path, connect: Connect
) -> None:
    broker = NatsBroker(tmp_path / "nats", ack_wait_s=1)
    receiver = connect(broker.url, "receiver", subscriptions=["t"], persistent=True)
    sender = connect(broker.url, "sender")
    until_connected(receiver)
    until_connected(sender)
    sender.publish("t", b"1")
    (message,) = receive(receiver, 1)

    eventually(lambda: receiver.redelivered >= 2, "again", turn=lambda: receiver.step(0.05))
    assert receiver.take() == []
    receiver.ack(message)
    sender.publish("t", b"2")

    assert [m.payload for m in receive(receiver, 1)] == [b"2"]
    broker.stop()


def test_nothing_is_queued_without_a_connection(connect: Connect) -> None:
    connection = connect("mqtt://127.0.0.1:1", "unit")

    assert not connection.publish("t", b"lost if it were taken")
    assert connection.in_flight == 0


def test_a_broker_that_is_down_is_named_and_found_when_it_is_back(
    broker: Broker, connect: Connect
) -> None:
    broker.stop()
    connection = connect(broker.url, "unit")

    connection.step(0.1)
    assert "nobody listens" in connection.trouble
    assert not connection.connected

    broker.start()
    until_connected(connection)
    assert connection.trouble == ""


def test_a_broker_that_dies_is_noticed_and_the_session_counts_up(
    broker: Broker, connect: Connect
) -> None:
    connection = connect(broker.url, "unit", subscriptions=["t"])
    until_connected(connection)
    assert connection.session == 1

    broker.stop()
    eventually(lambda: not connection.connected, "loss", turn=lambda: connection.step(0.05))
    assert "closed the connection" in connection.trouble
    broker.start()
    until_connected(connection)

    assert connection.session == 2


def test_the_will_is_told_when_a_connection_dies(broker: Broker, connect: Connect) -> None:
    receiver = connect(broker.url, "receiver", subscriptions=["t/will"])
    until_connected(receiver)
    dying = connect(broker.url, "dying")
    dying.will = LastWill("t/will", b"gone")
    until_connected(dying)

    dying._drop()

    assert receive(receiver, 1)[0].payload == b"gone"


def test_a_proper_goodbye_tells_no_will(broker: Broker, connect: Connect) -> None:
    receiver = connect(broker.url, "receiver", subscriptions=["t/#"])
    until_connected(receiver)
    leaving = connect(broker.url, "leaving")
    leaving.will = LastWill("t/will", b"gone")
    until_connected(leaving)

    leaving.publish("t/bye", b"stopped", retain=True)
    leaving.disconnect(LIMIT_S)
    other = connect(broker.url, "other")
    until_connected(other)
    other.publish("t/after", b"x")

    topics = [message.topic for message in receive(receiver, 2)]
    assert topics == ["t/bye", "t/after"]


def test_wake_ends_a_wait(broker: Broker, connect: Connect) -> None:
    connection = connect(broker.url, "unit")
    until_connected(connection)
    threading.Timer(0.05, connection.wake).start()

    # Would take a minute; the test's own limit is what fails it.
    connection.step(60)


def test_mqtt_5_works_where_the_broker_speaks_it(mosquitto: Broker, connect: Connect) -> None:
    def receiver() -> Connection:
        five = {"protocol": "5"}
        return connect(
            mosquitto.url, "receiver", settings=five, subscriptions=["t"], persistent=True
        )

    first = receiver()
    until_connected(first)
    first.disconnect(LIMIT_S)
    sender = connect(mosquitto.url, "sender", settings={"protocol": "5"})
    until_connected(sender)
    sender.publish("t", b"while away")

    again = receiver()
    until_connected(again)

    assert receive(again, 1)[0].payload == b"while away"


def test_a_broker_of_mqtt_5_tells_the_largest_packet_that_it_takes(
    tmp_path: Path, connect: Connect
) -> None:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is missing: sudo apt install mosquitto")
    narrow = Mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 5000\n")
    try:
        connection = connect(narrow.url, "unit", settings={"protocol": "5"})
        until_connected(connection)
    finally:
        narrow.stop()

    assert connection.most_packet_bytes == 5000


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_broker_that_refuses_us_is_an_error_with_words(
    protocol: str, mosquitto: Broker, tmp_path: Path, connect: Connect
) -> None:
    mosquitto.stop()
    guarded = Mosquitto(tmp_path, "allow_anonymous false\n")
    try:
        connection = connect(guarded.url, "unit", settings={"protocol": protocol})
        eventually(
            lambda: connection.trouble.startswith("refused by"),
            "the refusal",
            turn=lambda: connection.step(0.05),
        )
    finally:
        guarded.stop()

    assert "check its user and rules for us" in connection.trouble
    assert not connection.connected


def test_a_broker_that_speaks_only_3_1_1_is_an_error_with_words(
    tmp_path: Path, nats: Broker, connect: Connect
) -> None:
    connection = connect(nats.url, "unit", settings={"protocol": "5"})

    eventually(
        lambda: connection.trouble not in ("", "not connected yet"),
        "trouble",
        turn=lambda: connection.step(0.05),
    )

    assert not connection.connected
    assert nats.url.rpartition("/")[2] in connection.trouble


def test_a_server_that_accepts_and_never_answers_is_given_up(connect: Connect) -> None:
    clock = FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "unit", clock=clock)
        connection.step(0.01)
        connection.step(0.01)
        clock.advance(11)
        connection.step(0.01)

    assert "does not answer as a broker" in connection.trouble


def test_a_name_server_that_is_slow_takes_nothing_from_the_time_for_a_greeting(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    look_up = socket.getaddrinfo

    def slow(*args: Any, **named: Any) -> Any:
        clock.advance(GREETING_S + 5)
        return look_up(*args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        connection = connect(url, "unit", clock=clock)
        connection.step(0)
        # Nothing has come yet.
        connection.step(0)
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"\x20\x02\x00\x00")
            until_connected(connection)


def test_a_captive_portal_is_given_up(connect: Connect) -> None:
    clock = FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "unit", clock=clock)
        connection.step(0)
        peer, _ = server.accept()
        peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\n\r\n")
        connection.step(1)
        clock.advance(11)
        connection.step(0)
        peer.close()

    assert not connection.connected
    assert "does not answer as a broker" in connection.trouble


def greeted(server: socket.socket, connection: Connection) -> socket.socket:
    """The other end of *connection*, once it has been greeted as by a broker."""
    connection.step(0)
    peer, _ = server.accept()
    peer.settimeout(LIMIT_S)
    peer.recv(1000)
    peer.sendall(b"\x20\x02\x00\x00")
    until_connected(connection)
    return peer


def test_a_link_that_died_without_a_word_is_noticed(connect: Connect) -> None:
    clock = FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        connection = connect(url, "unit", clock=clock, settings={"keepalive_s": 30})
        with greeted(server, connection) as peer:
            for _ in range(3):
                clock.advance(30)
                connection.step(0)
                assert peer.recv(10) == b"\xc0\x00"
                peer.sendall(b"\xd0\x00")
                connection.step(1)
            clock.advance(30)
            connection.step(0)
            clock.advance(29)
            connection.step(0)
            assert connection.connected
            clock.advance(1)
            connection.step(0)

    assert not connection.connected
    assert "does not answer any more" in connection.trouble


def test_a_broker_that_acknowledges_nothing_any_more_is_tried_anew(connect: Connect) -> None:
    clock = FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        connection = connect(url, "unit", clock=clock, settings={"keepalive_s": 3600})
        with greeted(server, connection) as peer:
            connection.publish("t", b"1", about=[1])
            connection.publish("t", b"2", about=[2])
            clock.advance(ACKNOWLEDGED_S - 1)
            peer.sendall(b"\x40\x02\x00\x01")
            eventually(lambda: connection.in_flight == 1, "one", turn=lambda: connection.step(0.05))
            # The other PUBACK was left out, and there is no more.
            clock.advance(ACKNOWLEDGED_S - 1)
            connection.step(0)
            assert connection.connected
            clock.advance(1)
            connection.step(0)

    assert "acknowledges none" in connection.trouble
    assert connection.take_lost() == {2}


def test_with_nothing_in_flight_nothing_is_awaited(connect: Connect) -> None:
    clock = FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        connection = connect(url, "unit", clock=clock, settings={"keepalive_s": 3600})
        with greeted(server, connection):
            clock.advance(ACKNOWLEDGED_S + 1)
            connection.publish("t", b"1")
            connection.step(0)

            assert connection.connected


def is_anew(receiver: Connection) -> bool:
    """Whether its session was ended, and another made."""
    return receiver.session >= 3 and receiver.connected and not receiver._ends_session


def turn(receiver: Connection, clock: FakeClock) -> None:
    receiver.step(0.05)
    # A server may close a connection at once, and take the next: as of one that is to end what it
    # has lost, or of one that comes as soon as the last is gone.
    if receiver.readable is None:
        clock.advance(0.5)


def test_a_session_for_which_the_server_has_lost_its_queue_is_made_anew(
    nats: NatsBroker, connect: Connect
) -> None:
    clock = FakeClock()
    receiver = connect(
        nats.url, "receiver", clock=clock, subscriptions=["t"], persistent=True, silent_s=3600
    )
    sender = connect(nats.url, "sender")
    until_connected(receiver)
    until_connected(sender)
    # As an operator may, who wants other bounds. The server goes on granting the subscription, to
    # every connection from then on, and delivers nothing.
    ask_nats(nats._client_port, f"STREAM.DELETE.{QUEUE}", {})
    bound_queue(nats._client_port, 10**9)

    receiver.step(0.05)
    clock.advance(3600)

    def both() -> None:
        turn(receiver, clock)
        # However long it takes, this one keeps its connection.
        sender.step(0)

    eventually(lambda: is_anew(receiver), "anew", turn=both)
    sender.publish("t", b"1")
    sender.step(0.05)

    assert [message.payload for message in receive(receiver, 1)] == [b"1"]


def test_a_session_with_something_in_hand_is_not_made_anew(
    broker: Broker, connect: Connect
) -> None:
    clock = FakeClock()
    receiver = connect(
        broker.url, "receiver", clock=clock, subscriptions=["t"], persistent=True, silent_s=3600
    )
    sender = connect(broker.url, "sender")
    until_connected(receiver)
    until_connected(sender)
    sender.publish("t", b"1")
    (message,) = receive(receiver, 1)

    clock.advance(3600)
    receiver.step(0)

    assert receiver.connected
    assert receiver.session == 1
    receiver.ack(message)
    receiver.step(0)
    eventually(lambda: is_anew(receiver), "anew", turn=lambda: turn(receiver, clock))


def test_a_packet_that_would_fill_the_memory_ends_the_connection(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        connection = connect(url, "unit", most_packet_bytes=70_000)
        with greeted(server, connection) as peer:
            peer.sendall(packets.publish(b"t", bytes(60_000), 1, retain=False, five=False))
            assert len(receive(connection, 1)[0].payload) == 60_000
            # 256 MB, of which the first few have come.
            peer.sendall(b"\x30\xff\xff\xff\x7f\x00\x01t123")
            eventually(
                lambda: not connection.connected, "ended", turn=lambda: connection.step(0.05)
            )

    assert "a packet of 268435455 bytes" in connection.trouble


def test_what_is_no_mqtt_ends_the_connection(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "unit")
        with greeted(server, connection) as peer:
            peer.sendall(b"\x32\x03\x00\x09t")
            connection.step(1)

    assert not connection.connected
    assert "does not speak MQTT" in connection.trouble


def test_a_reader_that_is_slow_is_not_sent_ever_more(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "unit")
        with greeted(server, connection):
            taken = 0
            while connection.publish("t", bytes(10_000)):
                taken += 1
                assert taken < 10_000
            assert connection.connected
            assert connection.in_flight == taken


def test_reconnecting_leaks_no_file(connect: Connect) -> None:
    clock = FakeClock()
    files = Path("/proc/self/fd")
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "unit", clock=clock)
        before = len(list(files.iterdir()))
        for _ in range(30):
            connection.step(0)
            peer, _ = server.accept()
            peer.close()
            clock.advance(61)
            connection.step(0.5)
            clock.advance(61)

        assert len(list(files.iterdir())) <= before + 2


@pytest.mark.parametrize("url", ["", "localhost:1883", "http://x", "mqtt://", "mqtt://h:99999"])
def test_a_url_that_is_none_is_an_error_with_words(url: str, connect: Connect) -> None:
    with pytest.raises(ConfigError, match=r"broker\.url is"):
        connect(url, "unit")


def test_the_second_broker_serves_while_the_first_is_away(
    tmp_path: Path, nats: NatsBroker, connect: Connect
) -> None:
    clock = FakeClock()
    first = free_port()
    connection = connect(
        f"mqtt://127.0.0.1:{first}", "unit", clock=clock, settings={"fallback_url": nats.url}
    )

    def turn() -> None:
        connection.step(0.05)
        # Not ahead of a broker that is slow to greet: the other would be tried instead.
        clock.advance(0.1 if connection.readable is None else 0.0)

    eventually(lambda: connection.connected, "the second broker", turn=turn)
    assert connection.address == nats.url.rpartition("/")[2]

    # The first comes back: nothing happens at once, but in a while it is used again.
    (tmp_path / "first").mkdir()
    back = NatsBroker(tmp_path / "first", first)
    try:
        connection.step(0.05)
        assert connection.connected
        assert connection.session == 1
        clock.advance(RETURN_S)
        connection.step(0.05)
        eventually(lambda: connection.connected, "the first broker", turn=turn)
        assert connection.address == f"127.0.0.1:{first}"
    finally:
        back.stop()


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_another_client_under_our_name_is_suspected(
    protocol: str, mosquitto: Broker, connect: Connect
) -> None:
    ours = connect(mosquitto.url, "cong-1", settings={"protocol": protocol}, clock=FakeClock())
    other = connect(mosquitto.url, "cong-1", settings={"protocol": protocol}, clock=FakeClock())
    clocks = [ours._clock, other._clock]

    def turn() -> None:
        for connection, clock in zip((ours, other), clocks, strict=True):
            connection.step(0.02)
            if connection.readable is None:
                clock.advance(0.5)  # type: ignore[attr-defined]

    eventually(lambda: ours.suspects_double, "suspicion", turn=turn)
    eventually(lambda: "may run as 'cong-1'" in ours.trouble, "words", turn=turn)


def test_a_broker_that_restarts_again_and_again_is_no_other_client(
    broker: Broker, connect: Connect
) -> None:
    clock = FakeClock()
    connection = connect(broker.url, "cong-1", clock=clock)

    def turn() -> None:
        connection.step(0.02)
        # What the broker does takes it real time: there this clock may not run ahead of it.
        clock.advance(0.5 if connection.readable is None else 0.01)

    for _ in range(6):
        eventually(lambda: connection.connected, "connected", turn=turn)
        broker.stop()
        eventually(lambda: "nobody listens" in connection.trouble, "noticed", turn=turn)
        broker.start()

    assert not connection.suspects_double
