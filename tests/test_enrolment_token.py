from datetime import date

import pytest

from edge.enrolment_token import MAX_BYTES, mint_token, read_token
from edge.errors import TokenError
from edge.sealing import Signer

KEY = Signer(b"s" * 32)
LAST_DAY = date(2026, 12, 31)


def test_a_token_says_for_which_unit_of_which_deployment_and_until_when() -> None:
    token = read_token(mint_token("gia-lai", "cho-1-cong-2", LAST_DAY, KEY), KEY.public_key)

    assert (token.deployment, token.unit) == ("gia-lai", "cho-1-cong-2")
    assert not token.ended(LAST_DAY)
    assert token.ended(date(2027, 1, 1))


def test_no_two_tokens_are_the_same() -> None:
    tokens = [mint_token("gia-lai", "xe-1", LAST_DAY, KEY) for _ in range(20)]

    assert len({read_token(token, KEY.public_key).nonce for token in tokens}) == 20


def test_the_longest_names_fit_into_a_code() -> None:
    token = mint_token("d" * 32, "u" * 32, LAST_DAY, KEY)

    assert len(token) == MAX_BYTES
    assert read_token(token, KEY.public_key).unit == "u" * 32


def test_a_token_with_any_bit_changed_or_cut_anywhere_is_refused() -> None:
    whole = mint_token("gia-lai", "xe-1", LAST_DAY, KEY)

    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        for wrong in (bytes(changed), whole[:at]):
            with pytest.raises(TokenError):
                read_token(wrong, KEY.public_key)
    with pytest.raises(TokenError):
        read_token(whole + b"\0", KEY.public_key)


def test_a_token_of_another_deployment_is_refused() -> None:
    stranger = Signer(b"t" * 32)

    with pytest.raises(TokenError, match="not of this deployment"):
        read_token(mint_token("gia-lai", "xe-1", LAST_DAY, stranger), KEY.public_key)


def test_what_its_key_signed_for_another_purpose_is_no_token() -> None:
    token = mint_token("gia-lai", "xe-1", LAST_DAY, KEY)
    body = token[:-64]

    with pytest.raises(TokenError):
        read_token(body + KEY.sign(body), KEY.public_key)


@pytest.mark.parametrize("name", ["", "#", "+", "a/b", "Chợ", "a" * 33, "a\n"])
def test_no_token_is_made_for_a_name_that_is_never_signed(name: str) -> None:
    with pytest.raises(TokenError):
        mint_token("gia-lai", name, LAST_DAY, KEY)
    with pytest.raises(TokenError):
        mint_token(name, "xe-1", LAST_DAY, KEY)
