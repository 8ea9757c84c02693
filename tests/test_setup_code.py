import random
import re
from typing import Any

import msgspec
import pytest
import segno

from edge import base45
from edge.errors import SetupCodeError
from edge.sealing import Signer
from edge.setup_code import (
    PREFIX,
    SetupCode,
    check_for_unit,
    is_setup_code,
    read_setup_code,
    write_setup_code,
)
from tests.cards import SETUP_KEY
from tests.setup_codes import a_code, a_move, text

PUBLIC = SETUP_KEY.public_key
FULL = a_code(
    broker="mqtts://mqtt.example.vn:8883",
    wifi=("Chợ Mẫu", "mat khau #1", "VN"),
    trip="sang-1",
    hardware="10000000abcdef01",
    hours="mon-sat 05:00-18:00, sun 06:00-12:00",
    trips=("sang-1@05:30-07:10/mon-sat",),
)


def signed(table: Any) -> bytes:
    """*table*, whatever it says, as a code with a signature that is right."""
    body = msgspec.msgpack.encode(table)
    signature = SETUP_KEY.sign(b"edge set-up code, version 1\n" + body)
    return (PREFIX + base45.encode(body + signature)).encode()


@pytest.mark.parametrize("code", [a_code(), a_move(), FULL])
def test_a_code_is_read_as_it_was_written(code: SetupCode) -> None:
    assert read_setup_code(text(code), PUBLIC) == code


def test_base45_is_that_of_the_standard() -> None:
    # RFC 9285, 4.3 and 4.4.
    assert base45.encode(b"AB") == "BB8"
    assert base45.encode(b"Hello!!") == "%69 VD92EX0"
    assert base45.decode("QED8WEX0") == b"ietf!"
    dice = random.Random(1)
    for length in range(100):
        data = dice.randbytes(length)
        assert base45.decode(base45.encode(data)) == data


@pytest.mark.parametrize("text", ["A", "AAAA", "GGW", "::::", "aa", "ẦA", ":::"])
def test_base45_refuses_what_it_would_not_have_written(text: str) -> None:
    # RFC 9285, 6: GGW would be 65536.
    with pytest.raises(ValueError, match="base45"):
        base45.decode(text)


def test_a_code_with_everything_is_small_enough_for_a_telephones_screen() -> None:
    drawn = segno.make(write_setup_code(FULL, SETUP_KEY), error="m", micro=False, boost_error=False)
    move = segno.make(write_setup_code(a_move(), SETUP_KEY), error="m", boost_error=False)

    assert drawn.mode == "alphanumeric"
    assert (drawn.version, move.version) == (15, 7)


def test_a_bus_with_too_many_trips_for_a_code_is_named() -> None:
    with pytest.raises(SetupCodeError, match="xe-1 has too much to be told for a code, 60 trips"):
        write_setup_code(a_move(trips=("sang-1@05:30-07:10",) * 60), SETUP_KEY)


def test_a_code_with_any_character_changed_is_refused() -> None:
    whole = text(FULL)
    dice = random.Random(2)

    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << dice.randrange(7)
        with pytest.raises(SetupCodeError):
            read_setup_code(bytes(changed), PUBLIC)
    for end in range(len(whole)):
        with pytest.raises(SetupCodeError):
            read_setup_code(whole[:end], PUBLIC)


def test_nothing_that_a_stranger_writes_is_taken_or_raises_otherwise() -> None:
    dice = random.Random(3)
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

    for _ in range(2_000):
        if dice.random() < 0.5:
            content = PREFIX.encode() + dice.randbytes(dice.randrange(300))
        else:
            letters = "".join(dice.choice(alphabet) for _ in range(dice.randrange(600)))
            content = (PREFIX + letters).encode()
        with pytest.raises(SetupCodeError) as refusal:
            read_setup_code(content, PUBLIC)
        assert "\n" not in str(refusal.value)


def test_what_is_signed_is_still_checked_field_by_field() -> None:
    dice = random.Random(4)
    good = msgspec.to_builtins(FULL, builtin_types=(bytes,))
    wrong: list[Any] = ["", "A B", "x" * 400, -1, 1.5, None, [], {}, b"\0", True, "a\nb", 2**60]

    for at in range(len(good)):
        for value in wrong:
            table = list(good)
            table[at] = value
            try:
                code = read_setup_code(signed(table), PUBLIC)
            except SetupCodeError as err:
                assert len(str(err)) < 200  # noqa: PT017
            else:
                # A value that may stand there, such as null for no wireless network.
                assert msgspec.msgpack.encode(code) == msgspec.msgpack.encode(table)
    for _ in range(500):
        body = bytearray(msgspec.msgpack.encode(FULL))
        body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
        changed = bytes(body)
        signature = SETUP_KEY.sign(b"edge set-up code, version 1\n" + changed)
        try:
            read_setup_code((PREFIX + base45.encode(changed + signature)).encode(), PUBLIC)
        except SetupCodeError as err:
            assert "mat khau" not in str(err)  # noqa: PT017


@pytest.mark.parametrize(
    "changes",
    [{"wifi": ("ợ" * 20, "", "VN")}, {"wifi": ("a\x07b", "", "VN")}],
    ids=["too long in bytes", "a bell"],
)
def test_a_network_that_no_unit_can_have_is_refused_where_it_is_made(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(SetupCodeError, match=r"wifi\.ssid must be"):
        write_setup_code(a_code(**changes), SETUP_KEY)


def test_a_code_of_another_deployment_or_without_a_signature_is_refused() -> None:
    with pytest.raises(SetupCodeError, match="not of this unit's deployment"):
        read_setup_code(text(a_code(), Signer(b"z" * 32)), PUBLIC)
    with pytest.raises(SetupCodeError, match="not of this unit's deployment"):
        read_setup_code((PREFIX + base45.encode(b"short")).encode(), PUBLIC)


@pytest.mark.parametrize("content", [b"WIFI:S:a;;", b"", b"edge1:AB", b"EDGE2:AB"])
def test_another_code_is_none_of_ours(content: bytes) -> None:
    assert not is_setup_code(content)
    with pytest.raises(SetupCodeError, match="no set-up code"):
        read_setup_code(content, PUBLIC)


UNSET: dict[str, Any] = {
    "deployment": "thu-nghiem",
    "unit": "",
    "batch": "lo-1",
    "last": 9,
    "hardware": "ab",
}
SET = UNSET | {"unit": "xe-1", "last": 1}


@pytest.mark.parametrize(
    ("code", "unit", "why"),
    [
        (a_code(deployment="khac"), UNSET, "another deployment"),
        (a_code(batch="lo-2"), UNSET, "for batch lo-2; this is of lo-1"),
        (a_code(hardware="cd"), UNSET, "for the board cd; this one is ab"),
        (a_code(), SET, "this is xe-1; make one with: edge-provision code xe-1"),
        (a_move(), UNSET, "this is none yet"),
        (a_move(unit="xe-2"), SET, "for unit xe-2; this is xe-1"),
        (a_move(number=1), SET, "code 1 is not newer than 1"),
        (a_move(area="kon-tum"), SET | {"last": 2}, "not newer"),
    ],
)
def test_a_code_is_for_the_unit_or_the_batch_that_it_is_bound_to(
    code: SetupCode, unit: dict[str, Any], why: str
) -> None:
    with pytest.raises(SetupCodeError, match=re.escape(why)):
        check_for_unit(code, **unit)


def test_the_right_unit_takes_its_code() -> None:
    # Whatever number the batch's card has: the codes may have been made before it.
    check_for_unit(a_code(number=2), **UNSET)
    check_for_unit(a_move(number=2), **SET)
