"""A centre's key is changed by its own word, step by step, and by nobody else's."""

import base64

import pytest

from edge.errors import SealError
from edge.sealing import Signer, key_id
from edge.succession import added, believed, succession

KEYS = [Signer(bytes([n]) * 32) for n in range(4)]
PUBLIC = [key.public_key for key in KEYS]
STEPS = [succession(PUBLIC[n + 1], KEYS[n]) for n in range(3)]


def ids(successions: list[str], first: int = 0, *, newest_only: bool = False) -> list[int]:
    names = [key_id(key) for key in PUBLIC]
    found = believed(PUBLIC[first], successions, newest_only=newest_only).ids
    return [names.index(name) for name in found]


def test_the_newest_key_and_the_one_before_are_believed_until_the_newest_alone_is() -> None:
    assert ids([]) == ids([], newest_only=True) == [0]
    assert ids(STEPS[:1]) == [0, 1]
    assert ids(STEPS[:1], newest_only=True) == [1]
    assert ids(STEPS) == [2, 3]
    # A card that was written after the first change knows the second key as its first.
    assert ids(STEPS, first=1) == [2, 3]
    assert ids(STEPS[:1], first=1) == [1]


@pytest.mark.parametrize(
    "forged",
    [
        succession(PUBLIC[1], KEYS[2]),
        base64.b64encode(PUBLIC[1] + bytes(64)).decode(),
        succession(b"\xff" * 32, KEYS[1])[:-4] + "AAAA",
        "A" * 128,
        "nonsense",
    ],
)
def test_what_the_key_before_has_not_signed_is_passed_over(forged: str) -> None:
    assert ids([forged]) == [0]
    assert ids([forged], newest_only=True) == [0]
    assert ids([forged, *STEPS, forged]) == [2, 3]


def test_a_signature_by_either_key_counts_and_no_other() -> None:
    both = believed(PUBLIC[0], STEPS[:1], newest_only=False)
    newest = believed(PUBLIC[0], STEPS[:1], newest_only=True)

    assert [both.verifies(b"x", key.sign(b"x")) for key in KEYS[:3]] == [True, True, False]
    assert [newest.verifies(b"x", key.sign(b"x")) for key in KEYS[:3]] == [False, True, False]
    with pytest.raises(SealError):
        believed(b"short", [], newest_only=False)


def test_successions_go_on_from_the_key_before_or_begin_anew() -> None:
    assert added([], PUBLIC[1], KEYS[0]) == STEPS[:1]
    assert added(STEPS[:1], PUBLIC[2], KEYS[1]) == STEPS[:2]
    # Units came to know the third by their cards.
    assert added(STEPS[:1], PUBLIC[3], KEYS[2]) == STEPS[2:]
