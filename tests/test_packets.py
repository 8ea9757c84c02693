"""The packets that pass paho by, as bytes that a broker sends or takes."""

import random

import pytest

from edge import packets
from edge.errors import BadPacket


def apart(packet: bytes) -> tuple[int, bytes]:
    """A packet's first byte and its body."""
    found = packets.packet_end(packet, 0)
    assert found is not None
    assert found[1] == len(packet)
    return packet[0], packet[found[0] :]


@pytest.mark.parametrize("five", [False, True])
@pytest.mark.parametrize("size", [0, 1, 100, 119, 120, 16_000, 16_375, 16_376, 70_000, 2_097_200])
def test_a_message_of_any_size_is_read_as_it_was_written(size: int, five: bool) -> None:
    payload = bytes(size)

    first, body = apart(packets.publish(b"t/x", payload, 65_535, retain=True, five=five))

    message = packets.read_publish(first, body, five=five)
    assert message == packets.Published("t/x", payload, retain=True, qos=1, mid=65_535)


def test_a_message_is_what_the_standard_says() -> None:
    packet = packets.publish(b"a/b", b"hi", 10, retain=False, five=False)

    assert packet == b"\x32\x09\x00\x03a/b\x00\x0ahi"
    assert packets.publish(b"a/b", b"hi", 10, retain=True, five=True) == (
        b"\x33\x0a\x00\x03a/b\x00\x0a\x00hi"
    )
    assert packets.puback(258) == b"\x40\x02\x01\x02"


def test_the_packet_behind_another_is_found_and_half_a_packet_is_waited_for() -> None:
    one = packets.puback(1)
    two = packets.publish(b"t", bytes(300), 2, retain=False, five=False)

    assert packets.packet_end(one + two, len(one)) == (len(one) + 3, len(one + two))
    for cut in range(len(two)):
        assert packets.packet_end(two[:cut], 0) is None


def test_properties_of_mqtt_5_are_passed_over() -> None:
    body = b"\x00\x01t\x00\x05" + b"\x81\x01" + bytes(129) + b"payload"

    message = packets.read_publish(0x32, body, five=True)

    assert (message.mid, message.payload) == (5, b"payload")


def test_a_message_of_qos_0_has_no_id() -> None:
    message = packets.read_publish(0x30, b"\x00\x01tpayload", five=False)

    assert (message.qos, message.mid, message.payload) == (0, 0, b"payload")


def test_an_acknowledgement_may_carry_a_refusal() -> None:
    assert packets.read_puback(b"\x01\x02") == (258, 0)
    assert packets.read_puback(b"\x00\x07\x87\x00") == (7, 0x87)


def test_a_topic_that_is_not_text_is_read_as_one_that_nobody_has() -> None:
    message = packets.read_publish(0x32, b"\x00\x02\xff\xfe\x00\x01", five=False)

    assert message.topic == "\ufffd\ufffd"


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"\x00\x09t", b"\x00\x01t", b"\x00\x01t\x00", b"\x00\x01t\x00\x01\x09"]
)
def test_a_message_shorter_than_it_says_is_refused(body: bytes) -> None:
    with pytest.raises(BadPacket):
        packets.read_publish(0x32, body, five=True)


def test_noise_is_refused_and_nothing_worse() -> None:
    chance = random.Random(5)
    for _ in range(5000):
        noise = chance.randbytes(chance.randrange(1, 40))
        for five in (False, True):
            try:
                if (found := packets.packet_end(noise, 0)) is not None:
                    body = noise[found[0] : found[1]]
                    packets.read_publish(noise[0], body, five=five)
                    packets.read_puback(body)
            except BadPacket:
                pass


def test_a_length_without_end_is_refused() -> None:
    with pytest.raises(BadPacket):
        packets.packet_end(b"\x32\xff\xff\xff\xff\x01", 0)
