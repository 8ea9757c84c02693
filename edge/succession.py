"""How a centre changes the key by which its units know it, with nobody going to them.

A succession is a new public key, signed with the one before it. Units get it as a desired setting,
which is an order of the centre's like any other, and so does root on them, who believes no file of
the scanner's: it proves itself. A unit believes the newest key and the one before, until it is told
to believe the newest alone, as after a key has become known to others.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from edge.errors import SealError
from edge.sealing import Signer, Verifier

#: A key of 32 bytes and its signature of 64, as base64.
Succession = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9+/]{128}(?![\s\S])",
        description="a new key of the centre, as `edge-collector key --new` prints it",
    ),
]

_PURPOSE = b"edge centre's key, version 1\n"
_KEY_BYTES = 32


def succession(key: bytes, before: Signer) -> str:
    """Says that the public *key* comes after that of *before*."""
    return base64.b64encode(key + before.sign(_PURPOSE + key)).decode()


def believed(first: bytes, successions: Sequence[str], *, newest_only: bool) -> Verifier:
    """Whom a unit believes that came to know its centre by the public key *first*.

    Each of *successions* counts if it is signed with the key before it, and is passed over if not,
    as those are that led to *first* itself. Raises SealError if *first* is no key.
    """
    keys = [first]
    for text in successions:
        try:
            packed = base64.b64decode(text, validate=True)
            new, signature = packed[:_KEY_BYTES], packed[_KEY_BYTES:]
            if Verifier(keys[-1]).verifies(_PURPOSE + new, signature):
                Verifier(new)
                keys.append(new)
        except (binascii.Error, SealError):
            continue
    return Verifier(*keys[-1:]) if newest_only else Verifier(*keys[-2:])


def added(successions: Sequence[str], key: bytes, before: Signer) -> list[str]:
    """*successions* with that to *key* from *before*, which is to follow them.

    They are left out where they do not lead to *before*: then units came to know it otherwise.
    """
    newest = base64.b64decode(successions[-1])[:_KEY_BYTES] if successions else before.public_key
    kept = successions if newest == before.public_key else []
    return [*kept, succession(key, before)]
