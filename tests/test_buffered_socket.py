"""The buffered socket, on a real pair of sockets."""

import contextlib
import socket
import tracemalloc
from collections.abc import Iterator

import pytest

from edge import packets
from edge.buffered_socket import HELD_BYTES, READ_BYTES, BufferedSocket

Pair = tuple[BufferedSocket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    buffered = BufferedSocket(ours)
    buffered.setblocking(False)
    yield buffered, theirs
    buffered.close()
    theirs.close()


class Counting:
    """A socket that counts what is asked of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.calls = 0

    def send(self, data: bytes) -> int:
        self.calls += 1
        return self.sock.send(data)

    def recv_into(self, room: memoryview) -> int:
        self.calls += 1
        return self.sock.recv_into(room)

    def close(self) -> None:
        self.sock.close()


def test_a_hundred_packets_are_one_call_each_way() -> None:
    ours, theirs = socket.socketpair()
    sending, reading = Counting(ours), Counting(theirs)
    sender = BufferedSocket(sending)  # type: ignore[arg-type]
    reader = BufferedSocket(reading)  # type: ignore[arg-type]
    for mid in range(1, 101):
        sender.send(packets.publish(b"t", bytes(200), mid, retain=False, five=False))
    sender.flush()

    assert reader.fill()
    found = [reader.next_packet() for _ in range(100)]

    assert all(packet is not None and packet[0] == 0x32 for packet in found)
    assert reader.next_packet() is None
    assert (sending.calls, reading.calls) == (1, 1)
    sender.close()
    reader.close()


def test_nothing_goes_out_before_a_flush_and_all_of_it_with_one(pair: Pair) -> None:
    ours, theirs = pair
    theirs.setblocking(False)
    ours.send(b"abc")
    with pytest.raises(BlockingIOError):
        theirs.recv(10)

    ours.flush()

    assert theirs.recv(10) == b"abc"
    assert not ours.has_output


def test_who_is_slow_holds_the_sender_up_and_loses_nothing(pair: Pair) -> None:
    ours, theirs = pair
    sent = bytearray()
    with contextlib.suppress(BlockingIOError):
        for number in range(10**6):
            piece = number.to_bytes(4) * 1000
            ours.send(piece)
            sent += piece
    assert len(sent) <= HELD_BYTES + 10**6

    got = bytearray()
    while len(got) < len(sent):
        got += theirs.recv(1_000_000)
        ours.flush()

    assert got == sent


def test_a_packet_that_comes_in_pieces_is_given_whole(pair: Pair) -> None:
    ours, theirs = pair
    packet = packets.publish(b"t", bytes(range(200)), 7, retain=False, five=False)
    for at in range(0, len(packet), 50):
        assert ours.next_packet() is None
        theirs.sendall(packet[at : at + 50])
        assert ours.fill()

    first, body = ours.next_packet() or (0, b"")

    assert packets.read_publish(first, body, five=False).payload == bytes(range(200))


def test_only_the_packet_on_offer_can_be_read_by_another(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(packets.puback(1) + packets.puback(2))
    ours.fill()
    ours.next_packet()
    with pytest.raises(BlockingIOError):
        ours.recv(1)

    ours.offer_packet()

    assert [ours.recv(1), ours.recv(1), ours.recv(9)] == [b"\x40", b"\x02", b"\x00\x01"]
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    assert ours.next_packet() == (0x40, b"\x00\x02")


def test_what_came_before_the_end_is_read_before_it(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(packets.puback(3))
    theirs.close()
    for _ in range(3):
        ours.send(bytes(100))
        ours.flush()

    assert ours.fill()
    assert ours.next_packet() == (0x40, b"\x00\x03")
    assert not ours.fill()
    assert ours.ended
    assert ours.recv(1) == b""


def test_thousands_take_little_memory_and_none_hears_what_came_to_another() -> None:
    pairs = [socket.socketpair() for _ in range(50)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    buffered = [BufferedSocket(ours) for ours, _ in pairs]
    for number, (one, (_, theirs)) in enumerate(zip(buffered, pairs, strict=True)):
        theirs.sendall(b"\x30\x01%c" % number)
        assert one.fill()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [one.next_packet() for one in buffered] == [
        (0x30, bytes([number])) for number in range(50)
    ]
    # One piece of memory for all of them, and little beside it.
    assert after - before < 10 * READ_BYTES
    for one, (_, theirs) in zip(buffered, pairs, strict=True):
        one.close()
        theirs.close()
