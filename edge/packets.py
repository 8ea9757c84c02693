"""The two packets of MQTT that carry nearly everything, PUBLISH and PUBACK, as bytes.

paho does the rest: connecting, subscribing, refusals, goodbyes. For these two it takes some 40 µs
of processor time each way (objects, locks and properties for every message), which is most of what
sending a scan would cost; here it is one tenth of that. Formats: MQTT 3.1.1 and 5, chapters 2.1,
3.3 and 3.4.
"""

from typing import NamedTuple

from edge.errors import BadPacket

#: Types, in the upper half of a packet's first byte.
PUBLISH = 0x30
#: In a PUBLISH's first byte: it was delivered before.
DUP = 0x08
PUBACK = 0x40
PINGRESP = 0xD0

#: Asks for a sign of life.
PINGREQ = b"\xc0\x00"
#: What a packet's id can be, and how many may be under way.
HIGHEST_ID = 65_535
#: How large a packet can be.
MOST_BYTES = 268_435_455


class Published(NamedTuple):
    """What a PUBLISH says."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    mid: int  #: 0 for QoS 0


def packet_end(
    buffer: bytes | bytearray, at: int, most_bytes: int = MOST_BYTES
) -> tuple[int, int] | None:
    """Where the body of the packet at *at* begins and ends, or None if not all of it is there.

    Raises BadPacket for a length that is none, and for one of more than *most_bytes* that would
    have to be waited for.
    """
    length = shift = 0
    for place in range(at + 1, at + 5):
        if place >= len(buffer):
            return None
        byte = buffer[place]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            end = place + 1 + length
            if end <= len(buffer):
                return place + 1, end
            if length > most_bytes:
                raise BadPacket(f"a packet of {length} bytes, of which nobody needs one")
            return None
        shift += 7
    raise BadPacket("a packet without a length")


def publish(topic: bytes, payload: bytes, mid: int, *, retain: bool, five: bool) -> bytes:
    """A PUBLISH of QoS 1, or with *mid* 0 of QoS 0. *topic* is UTF-8, at most 65,535 bytes."""
    head = b"%b%b%b" % (len(topic).to_bytes(2), topic, mid.to_bytes(2) if mid else b"")
    if five:
        head += b"\0"  # no properties
    first = PUBLISH | (2 if mid else 0) | retain
    return b"%c%b%b%b" % (first, length_bytes(len(head) + len(payload)), head, payload)


def puback(mid: int) -> bytes:
    """Says that the PUBLISH with *mid* is safe."""
    return b"\x40\x02%b" % mid.to_bytes(2)


def read_publish(first: int, body: bytes, *, five: bool) -> Published:
    """Take a PUBLISH apart: its *first* byte, and its *body*. Raises BadPacket."""
    end = 2 + int.from_bytes(body[:2])
    qos = first >> 1 & 3
    at = end + 2 if qos else end
    if five:
        # Nothing that a sender can say there matters to us.
        length, at = _length_at(body, at)
        at += length
    if len(body) < max(at, 2):
        raise BadPacket("a message that is shorter than it says")
    topic = body[2:end].decode("utf-8", "replace")
    mid = int.from_bytes(body[end : end + 2]) if qos else 0
    return Published(topic, body[at:], bool(first & 1), qos, mid)


def read_puback(body: bytes) -> tuple[int, int]:
    """(id, reason) of a PUBACK; reasons from 128 are refusals, and only MQTT 5 has them."""
    if len(body) < 2:
        raise BadPacket("an acknowledgement without an id")
    return int.from_bytes(body[:2]), body[2] if len(body) > 2 else 0


def length_bytes(length: int) -> bytes:
    """How a packet says that *length* bytes follow."""
    if length < 0x80:
        return b"%c" % length
    digits = bytearray()
    while length >= 0x80:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits)


def _length_at(body: bytes, at: int) -> tuple[int, int]:
    length = shift = 0
    for place in range(at, min(at + 4, len(body))):
        length |= (body[place] & 0x7F) << shift
        if body[place] < 0x80:
            return length, place + 1
        shift += 7
    raise BadPacket("properties without a length")
