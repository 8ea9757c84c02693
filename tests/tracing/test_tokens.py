"""Tokens: one person's documents meet, strangers do not, and nobody can compute them without us."""

import hashlib
import hmac

import pytest

from edge.errors import DeskError, SealError
from edge.identity import Identity
from edge.scanner.documents import Document, classify
from edge.tracing.tokens import Kind, Token, Tokens, plain_name

SECRET = bytes(range(32))


def tokens_of(code: str) -> dict[str, bytes]:
    document = classify(code.encode())
    assert isinstance(document, Document)
    return {token.kind: token.value for token in Tokens(SECRET).of(document.identity)}


FULL = "064190000123|TRAN THI MAU|1990-05-17|0|169900000000000001|<2<GD4640000000001<0900000001"
MASKED = "******000123|TRAN THI MAU|1990-**-**|0|169900000000000001|<2<<"
CCCD = "064190000123|230000123|Trần Thị Mẫu|17051990|Nữ|Tổ 9, Pleiku|10082021"
NAME_HEX = "Trần Thị Mẫu".encode().hex()
BHYT_15 = f"GD4640000000001|{NAME_HEX}|17/05/1990|2|-|64 - 001|-|-|-|-|-|4|-|0-7102|$"
BHYT_10 = f"0000000001|{NAME_HEX}|1990|2|-|64 - 001|-|-|-|-|-|4|-|0-7102|$"


def test_the_documents_of_one_person_share_tokens() -> None:
    full, masked, card = tokens_of(FULL), tokens_of(MASKED), tokens_of(CCCD)

    assert full["pin"] == card["pin"]
    assert full["qid"] == masked["qid"]
    assert set(masked) == {"qid"}
    assert full["bhyt"] == tokens_of(BHYT_15)["bhyt"] == tokens_of(BHYT_10)["bhyt"]


def test_another_person_another_kind_or_another_secret_is_another_token() -> None:
    tokens = Tokens(SECRET)
    same = "064190000123"
    found = {
        tokens.token("pin", same).value,
        tokens.token("qid", same).value,
        tokens.token("document", same).value,
        tokens.token("pin", "064190000124").value,
        Tokens(bytes(32)).token("pin", same).value,
    }

    assert len(found) == 5


def test_a_token_is_no_plain_hash_of_its_number() -> None:
    value = Tokens(SECRET).token("pin", "064190000123").value
    number = b"064190000123"

    for guess in (
        hashlib.blake2b(number, digest_size=16).digest(),
        hashlib.sha256(number).digest()[:16],
        hashlib.md5(number).digest(),
        hmac.digest(b"", number, "sha256")[:16],
    ):
        assert value != guess


def test_passports_and_old_cards_are_of_a_kind_of_their_own() -> None:
    tokens = Tokens(SECRET)

    assert [t.kind for t in tokens.of(Identity(pin="C0000001"))] == ["document"]
    assert [t.kind for t in tokens.of(Identity(pin="230000123"))] == ["document"]
    assert tokens.of(Identity(pin="c0000001")) == tokens.of(Identity(pin="C0000001"))
    assert tokens.of(Identity(name="X", birth_year=1990)) == ()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Trần Thị Mẫu", "TRAN THI MAU"),
        ("  trần   thị mẫu ", "TRAN THI MAU"),
        ("Đỗ Đình Mẫu", "DO DINH MAU"),
        ("Siu H'Blơk", "SIU H'BLOK"),
        ("", ""),
    ],
)
def test_a_name_is_compared_as_the_personal_code_writes_it(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("typed", "kind", "value"),
    [
        ("pin:064190000123", "pin", "064190000123"),
        ("pin: 064 190 000 123 ", "pin", "064190000123"),
        ("pin:064.190.000.123", "pin", "064190000123"),
        ("bhyt:gd 4 64 0000000001", "bhyt", "GD4640000000001"),
        ("bhyt:0000000001", "bhyt", "GD4640000000001"),
        ("document:c0000001", "document", "C0000001"),
        ("qid:169900000000000001", "qid", "169900000000000001"),
    ],
)
def test_a_number_is_found_as_people_type_it(typed: str, kind: Kind, value: str) -> None:
    assert Tokens(SECRET).of_text(typed) == Tokens(SECRET).token(kind, value)


@pytest.mark.parametrize(
    "typed",
    [
        "pin:06419000012",
        "pin:0641900001233",
        "pin:06419000012O",
        "pin:",
        "bhyt:064190000123",
        "bhyt:GD464000000000",
        "document:064190000123",
        "document:C 000-0001",
        "qid:" + "1" * 33,
        "name:TRAN THI MAU",
        "064190000123",
        "pin:٠٦٤١٩٠٠٠٠١٢٣",
    ],
)
def test_a_number_that_no_document_shows_is_refused_and_not_repeated(typed: str) -> None:
    """Else who mistypes it is told that nobody with it was anywhere."""
    with pytest.raises(DeskError) as caught:
        Tokens(SECRET).of_text(typed)

    number = typed.removeprefix("pin:")
    assert not number or number not in str(caught.value)


def test_a_name_alone_is_weak_and_needs_the_year() -> None:
    tokens = Tokens(SECRET)
    card = tokens.of_name(Identity(name="Trần Thị Mẫu", birth_year=1990))

    assert card == tokens.of_name(Identity(name="TRAN THI MAU", birth_year=1990))
    assert card is not None
    assert card.kind == "name"
    assert card != tokens.of_name(Identity(name="TRAN THI MAU", birth_year=1991))
    assert tokens.of_name(Identity(name="TRAN THI MAU")) is None
    assert tokens.of_name(Identity(birth_year=1990)) is None


def test_the_secret_has_its_length() -> None:
    for wrong in (b"", b"x" * 31, b"x" * 64):
        with pytest.raises(SealError, match="must be 32"):
            Tokens(wrong)
    assert Token("pin", b"x") == Token("pin", b"x")
