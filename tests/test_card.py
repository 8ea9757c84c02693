import base64
import random
import tomllib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge import config
from edge.card import CardBasis, CardWifi, read_card, write_card
from edge.errors import CardError
from edge.sealing import Signer
from tests.cards import SETUP_KEY, a_card, an_enrolment, signed


def test_a_card_is_read_as_it_was_written() -> None:
    card = a_card(
        wifi=CardWifi(ssid='Chợ Mẫu; "1" \\', password="mat khau #1"),
        basis=CardBasis(key=bytes(32), documents=('{"a": "Số 1"}\n',)),
        settings={"camera": {"source": "sample", "repeat": True}, "reading": {"unread_s": 2.5}},
    )

    assert read_card(write_card(card, SETUP_KEY)) == card
    assert read_card(write_card(card, SETUP_KEY), SETUP_KEY.public_key) == card


def test_a_unit_believes_its_own_deployment_alone() -> None:
    stranger = Signer(bytes(range(32)))
    theirs = a_card(setup_key=stranger.public_key, enrolment=an_enrolment("xe-1", stranger))

    with pytest.raises(CardError, match="another deployment"):
        read_card(write_card(theirs, stranger), SETUP_KEY.public_key)
    with pytest.raises(CardError, match="changed after"):
        read_card(
            write_card(theirs, stranger).replace(
                base64.b64encode(stranger.public_key), base64.b64encode(SETUP_KEY.public_key)
            )
        )


def test_a_card_that_was_cut_short_is_refused_wherever_it_was_cut() -> None:
    whole = write_card(a_card(), SETUP_KEY)

    for end in range(len(whole)):
        with pytest.raises(CardError):
            read_card(whole[:end])


def test_a_card_with_any_byte_changed_is_refused() -> None:
    whole = write_card(a_card(wifi=CardWifi(ssid="mau", password="mat khau 1")), SETUP_KEY)
    noise = random.Random(1)

    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << noise.randrange(8)
        if at >= len(whole) - 4:
            # Base64's padding, and the end of the line, can say the same in another way.
            continue
        with pytest.raises(CardError) as refusal:
            read_card(bytes(changed))
        assert "mat khau 1" not in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_noise_is_refused() -> None:
    noise = random.Random(2)

    for _ in range(300):
        data = noise.randbytes(noise.randrange(3000))
        for card in (data, data + b"# signature = AAAA\n", b"[" * 5000 + b"# signature = AAAA\n"):
            with pytest.raises(CardError):
                read_card(card)
    with pytest.raises(CardError, match="too many"):
        read_card(bytes(300_000))


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(table: dict[str, Any]) -> None:
        *folders, key = path.split(".")
        for folder in folders:
            table = table.setdefault(folder, {})
        if value is ...:
            del table[key]
        else:
            table[key] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v", 2),
        ("number", 0),
        ("number", "1"),
        ("unit.id", "../../etc"),
        ("unit.id", "a/b"),
        ("unit.id", "xe-2"),
        ("unit.id", "xe-1\n"),
        ("unit.area", "+"),
        ("unit.place", "#"),
        ("unit.direction", "up"),
        ("unit.trip", "a b"),
        ("unit.owner", "x"),
        ("broker.url", "mqtt://127.0.0.1"),
        ("broker.url", "mqtts://h\n[evil]"),
        ("broker.url", "mqtts://u:p@h"),
        ("broker.url", ...),
        ("wifi.ssid", "a\x00b"),
        ("wifi.ssid", "ă" * 32),
        ("wifi.password", "short"),
        ("wifi.password", "mật khẩu dài"),
        ("wifi.country", "Vietnam"),
        ("tracing_key", "AAAA"),
        ("tracing_key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("setup_key", "AAAA"),
        ("enrolment.token", "AAAA"),
        ("enrolment.token", ...),
        ("enrolment.url", "http://mqtt.example.vn:8884"),
        ("enrolment.url", "https://h/path"),
        ("identity", {"key": "x", "certificate": "x"}),
        ("authority", "x"),
        ("settings.unit", {"id": "xe-2"}),
        ("settings.broker", {"url": "mqtt://h"}),
        ("settings", 1),
        ("extra", 1),
    ],
)
def test_a_card_that_asks_for_the_impossible_is_refused_although_it_is_signed(
    path: str, value: Any
) -> None:
    table: dict[str, Any] = msgspec.to_builtins(
        a_card(wifi=CardWifi(ssid="mau", password="mat khau 1"))
    )
    change(path, value)(table)

    with pytest.raises(CardError) as refusal:
        read_card(signed(table))

    assert "\n" not in str(refusal.value)
    assert "PRIVATE" not in str(refusal.value)


def test_settings_of_any_kind_are_written_so_that_toml_reads_them_the_same() -> None:
    table = {
        "a key": '\x7f"\\\n\tă',
        "list": [1.0, 2.5, 1e-7],
        "on": True,
        "in": {"big": 2**53, "deep.er": {"x": []}},
    }

    assert tomllib.loads(config.as_toml(table)) == table
