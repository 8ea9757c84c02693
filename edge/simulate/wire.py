"""What a simulated unit speaks of MQTT 3.1.1 beside `edge.packets`, without a socket.

paho and `edge.mqtt` hold a client of some 30 kB with locks and three descriptors for each
connection; ten thousand of them do not fit into one process. Nothing that a real unit runs.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge import packets

CONNACK, SUBACK = 0x20, 0x90
DISCONNECT = b"\xe0\x00"


@dataclass(frozen=True)
class Packet:
    """A packet from the broker."""

    first: int
    body: bytes

    @property
    def kind(self) -> int:
        """Its type, in the upper half of the first byte."""
        return self.first & 0xF0

    @property
    def is_accepted(self) -> bool:
        """Of a CONNACK or SUBACK: whether it grants everything."""
        if self.kind == CONNACK:
            return self.body[1] == 0
        return all(code < 128 for code in self.body[2:])


class Incoming:
    """Makes packets of the bytes that come in."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are whole now. Raises BadPacket."""
        self._bytes += data
        while len(self._bytes) > 1 and (found := packets.packet_end(self._bytes, 0)):
            start, end = found
            packet = Packet(self._bytes[0], bytes(self._bytes[start:end]))
            del self._bytes[:end]
            yield packet


def connect(
    client: str, keepalive_s: int, will: tuple[str, bytes], user: str = "", password: str = ""
) -> bytes:
    """CONNECT with a clean session and a retained last *will* at QoS 1."""
    flags = 0x02 | 0x04 | 0x08 | 0x20
    tail = _text(client) + _text(will[0]) + _counted(will[1])
    if user:
        flags |= 0xC0
        tail += _text(user) + _text(password)
    head = _text("MQTT") + bytes([4, flags]) + struct.pack(">H", keepalive_s)
    return _packet(0x10, head + tail)


def subscribe(mid: int, topics: list[str], qos: int) -> bytes:
    """SUBSCRIBE."""
    wanted = b"".join(_text(topic) + bytes([qos]) for topic in topics)
    return _packet(0x82, struct.pack(">H", mid) + wanted)


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + packets.length_bytes(len(body)) + body


def _text(text: str) -> bytes:
    return _counted(text.encode())


def _counted(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
