"""Orders are believed of one's own centre alone, for oneself alone, and as they were signed."""

import json
import math
from typing import Any

import nacl.signing
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from edge.errors import BadMessage
from edge.messages import (
    MAX_MESSAGE_BYTES,
    Command,
    Config,
    Confirmed,
    ConfirmedRange,
    revision_of,
)
from edge.sealing import Signer, Verifier
from edge.signed import TOGETHER, Order, is_confirmed, read_order, sign_confirmed, sign_order

CENTRE = Signer(bytes(nacl.signing.SigningKey(b"c" * 32)))
OTHER = Signer(bytes(nacl.signing.SigningKey(b"o" * 32)))
VERIFIER = Verifier(CENTRE.public_key)

PAUSE = Command(
    unit="cong-1",
    id="c" * 32,
    action="pause",
    asked="2021-07-02T01:30:00.000Z",
    expires="2021-07-02T01:40:00.000Z",
)
SETTINGS: dict[str, dict[str, Any]] = {
    "camera": {"frame_rate": 10.5, "source": "pi"},
    "unit": {"trip": "sáng-1"},
}
WISHED = Config(unit="cong-1", number=9, revision=revision_of(SETTINGS), settings=SETTINGS)


def read(payload: bytes, channel: str = "cmd", unit: str = "cong-1") -> Order:
    return read_order(channel, payload, unit, VERIFIER)


@pytest.mark.parametrize(("channel", "order"), [("cmd", PAUSE), ("config", WISHED)])
def test_what_the_centre_signed_for_a_unit_is_read_by_it(channel: str, order: Order) -> None:
    assert read(sign_order(order, CENTRE), channel) == order


def test_white_space_and_another_order_of_the_fields_outside_the_order_change_nothing() -> None:
    wire = sign_order(PAUSE, CENTRE)
    envelope = json.loads(wire)
    inner = wire[wire.index(b'"order":') + 8 : wire.index(b',"signature"')]
    shuffled = b'{ "signature": "%s",\n "order": %s, "v": 1 }' % (
        envelope["signature"].encode(),
        inner,
    )

    assert read(shuffled) == PAUSE


def changed(**fields: object) -> bytes:
    envelope = json.loads(sign_order(PAUSE, CENTRE))
    envelope["order"] |= fields
    return json.dumps(envelope, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "payload",
    [
        PAUSE.encode(),
        b"",
        b"{",
        b"null",
        b"[" * 60_000,
        b'{"v":1,"order":{},"signature":""}',
        sign_order(PAUSE, OTHER),
        changed(action="resume"),
        changed(id="d" * 32),
        changed(expires="2031-07-02T01:40:00.000Z"),
        sign_order(PAUSE, CENTRE).replace(b'"pause"', b'"reboot"'),
        sign_order(PAUSE, CENTRE) + b" " * MAX_MESSAGE_BYTES,
    ],
)
def test_what_is_unsigned_anothers_or_changed_is_not_believed(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        read(payload)


def test_an_order_for_another_unit_is_not_followed() -> None:
    with pytest.raises(BadMessage, match="signed for cong-1; this unit is cong-2"):
        read(sign_order(PAUSE, CENTRE), unit="cong-2")


CONFIRMED = Confirmed(
    epoch="e" * 16,
    ranges=(
        ConfirmedRange(first=1, last=3, check="0" * 16),
        ConfirmedRange(first=7, last=7, check="1" * 16),
    ),
)


def test_a_confirmation_is_what_the_centre_signed_to_this_unit() -> None:
    (signed,) = sign_confirmed([("cong-1", CONFIRMED)], CENTRE)
    (others,) = sign_confirmed([("cong-1", CONFIRMED)], OTHER)

    assert b"path" not in signed.encode()
    assert is_confirmed(Confirmed.decode(signed.encode()), "cong-1", VERIFIER)
    assert not is_confirmed(signed, "cong-2", VERIFIER)
    assert not is_confirmed(CONFIRMED, "cong-1", VERIFIER)
    assert not is_confirmed(others, "cong-1", VERIFIER)
    assert not is_confirmed(replace(signed, epoch="d" * 16), "cong-1", VERIFIER)
    assert not is_confirmed(replace(signed, ranges=signed.ranges[:1]), "cong-1", VERIFIER)


def test_of_few_confirmations_each_is_signed_as_before_there_were_many_to_a_signature() -> None:
    ranges = "".join(f"\n{each.first} {each.last} {each.check}" for each in CONFIRMED.ranges)
    lines = f"edge confirmed, version 1\ncong-1\n{CONFIRMED.epoch}{ranges}"
    signed = sign_confirmed([("cong-1", CONFIRMED)] * TOGETHER, CENTRE)

    assert {message.signature for message in signed} == {CENTRE.sign(lines.encode())}
    for path in (UNSET, ()):
        assert is_confirmed(replace(signed[0], path=path), "cong-1", VERIFIER)
    assert not is_confirmed(replace(signed[0], path=(bytes(33),)), "cong-1", VERIFIER)


@pytest.mark.parametrize("count", [2, TOGETHER, TOGETHER + 1, 3 * TOGETHER - 1, 5000])
def test_of_many_confirmations_each_is_what_the_centre_signed_and_none_is_another(
    count: int,
) -> None:
    told = [
        (f"cong-{n}", Confirmed(epoch="e" * 16, ranges=(ConfirmedRange(n, n, f"{n:016x}"),)))
        for n in range(1, count + 1)
    ]

    signed = sign_confirmed(told, CENTRE)

    assert len({message.signature for message in signed}) == (
        count if count <= TOGETHER else math.ceil(count / TOGETHER)
    )
    for (unit, said), message in list(zip(told, signed, strict=True))[-20:]:
        message = Confirmed.decode(message.encode())
        assert replace(message, signature=b"", path=UNSET) == said
        assert is_confirmed(message, unit, VERIFIER)
        assert not is_confirmed(message, "cong-0", VERIFIER)
        assert not is_confirmed(message, unit, Verifier(OTHER.public_key))
        forged = replace(message, ranges=(ConfirmedRange(1, 9999, "f" * 16),))
        assert not is_confirmed(forged, unit, VERIFIER)


def test_neither_a_branch_nor_a_way_that_was_cut_passes_for_a_confirmation() -> None:
    told = [(f"cong-{n}", CONFIRMED) for n in range(2 * TOGETHER)]
    signed = sign_confirmed(told, CENTRE)
    for (unit, _), message, other in zip(told, signed, (*signed[1:], signed[0]), strict=True):
        path = message.path or ()
        assert len(path) == 4
        turned = tuple(bytes([1 - step[0]]) + step[1:] for step in path)
        for wrong in (path[1:], path[:-1], path[::-1], turned, (*path, path[0]), other.path, UNSET):
            assert not is_confirmed(replace(message, path=wrong), unit, VERIFIER)


def test_an_order_of_one_channel_is_no_use_on_the_other() -> None:
    with pytest.raises(BadMessage):
        read(sign_order(PAUSE, CENTRE), "config")
    with pytest.raises(BadMessage):
        read(sign_order(WISHED, CENTRE), "cmd")
