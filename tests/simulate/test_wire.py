"""The simulator's own piece of MQTT, against bytes as the standard has them."""

import random

from edge import packets
from edge.simulate import wire


def test_packets_are_as_the_standard_writes_them() -> None:
    # MQTT 3.1.1, sections 3.1 and 3.8.
    assert wire.subscribe(10, ["a/b", "c/d"], 1) == (
        b"\x82\x0e\x00\x0a\x00\x03a/b\x01\x00\x03c/d\x01"
    )
    packet = wire.connect("u", 60, ("w", b"gone"), "me", "secret")
    assert packet[2:12] == b"\x00\x04MQTT\x04\xee\x00\x3c"
    assert packet.endswith(b"\x00\x01u\x00\x01w\x00\x04gone\x00\x02me\x00\x06secret")


def test_packets_come_whole_however_the_network_cuts_them() -> None:
    chance = random.Random(4)
    sizes = [n * 337 % 20_000 for n in range(60)]
    stream = b"".join(
        packets.publish(b"t", chance.randbytes(size), mid + 1, retain=False, five=False)
        for mid, size in enumerate(sizes)
    )
    incoming, found = wire.Incoming(), []
    at = 0
    while at < len(stream):
        size = chance.randrange(1, 3000)
        found += list(incoming.feed(stream[at : at + size]))
        at += size

    said = [packets.read_publish(packet.first, packet.body, five=False) for packet in found]
    assert [(len(it.payload), it.mid) for it in said] == [(n, i + 1) for i, n in enumerate(sizes)]


def test_refusals_are_told_apart() -> None:
    (good, bad) = wire.Incoming().feed(b"\x20\x02\x00\x00\x20\x02\x00\x05")
    assert (good.is_accepted, bad.is_accepted) == (True, False)
    (good, bad) = wire.Incoming().feed(b"\x90\x04\x00\x01\x00\x01\x90\x04\x00\x01\x01\x80")
    assert (good.is_accepted, bad.is_accepted) == (True, False)
