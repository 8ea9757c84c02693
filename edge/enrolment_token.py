"""The enrolment token: with it a unit asks, once, for a certificate for a key that it made itself.

A short statement signed by the deployment's setup key, so that it can be made without a network,
for a card or a set-up code, and be verified by whoever has the public key. It says for which unit
of which deployment it is and on which day it ends; its nonce makes it single-use where tokens are
taken. As bytes, for a code has little room:

    1 byte    version, 1
    12 bytes  nonce, random
    2 bytes   last day, UTC, in days since 1970-01-01, big-endian
    1 + n     deployment, its length before it
    1 + n     unit, its length before it
    64 bytes  Ed25519 signature of everything before it
"""

import secrets
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

from msgspec import Meta

from edge.errors import SealError, TokenError
from edge.sealing import Signer, Verifier
from edge.topics import is_name

NONCE_BYTES = 12
#: With a deployment and a unit that have the longest names.
MAX_BYTES = 1 + NONCE_BYTES + 2 + 33 + 33 + 64

#: Where units enrol: the scheme, a host and its port, and nothing behind them.
_URL = r"https://[A-Za-z0-9.:\[\]-]{1,260}"
_URL_SAID = "https://, a host and a port, such as https://broker.example.vn:8884"
EnrolmentUrl = Annotated[str, Meta(pattern=rf"^{_URL}(?![\s\S])", description=_URL_SAID)]
OptionalEnrolmentUrl = Annotated[
    str, Meta(pattern=rf"^(?:{_URL})?(?![\s\S])", description=f"empty, or {_URL_SAID}")
]
Token = Annotated[bytes, Meta(min_length=1, max_length=MAX_BYTES)]

_VERSION = b"\x01"
_PURPOSE = b"edge enrolment token\n"
_SIGNATURE_BYTES = 64
_EPOCH = date(1970, 1, 1)
_MAKE_ANEW = "make the unit's card or set-up code anew"


@dataclass(frozen=True)
class EnrolmentToken:
    """What a token says."""

    deployment: str
    unit: str
    nonce: bytes
    #: Until the end of this day, UTC.
    last_day: date

    def ended(self, today: date) -> bool:
        """Whether it is no longer taken on *today*, UTC."""
        return today > self.last_day


def mint_token(deployment: str, unit: str, last_day: date, key: Signer) -> bytes:
    """A new token for *unit*, signed by the deployment's setup *key*: at most MAX_BYTES.

    Raises TokenError for a name of another kind than the contract's, or a day before 1970.
    """
    days = (last_day - _EPOCH).days
    if not (is_name(deployment) and is_name(unit) and 0 <= days < 1 << 16):
        raise TokenError(f"no token can be made for {unit!r} of {deployment!r} until {last_day}")
    body = _VERSION + secrets.token_bytes(NONCE_BYTES) + days.to_bytes(2, "big")
    for name in (deployment, unit):
        body += bytes([len(name)]) + name.encode("ascii")
    return body + key.sign(_PURPOSE + body)


def read_token(token: bytes, setup_key: bytes) -> EnrolmentToken:
    """What *token* says, once the deployment's public *setup_key* verifies it.

    Whether it ended, and whether it was used, is the reader's to judge. Raises TokenError, whose
    text has nothing of the token.
    """
    body, signature = token[:-_SIGNATURE_BYTES], token[-_SIGNATURE_BYTES:]
    if len(token) > MAX_BYTES or len(body) < 1 + NONCE_BYTES + 4 or body[:1] != _VERSION:
        raise TokenError(f"this is no enrolment token of version 1; {_MAKE_ANEW}")
    try:
        verified = Verifier(setup_key).verifies(_PURPOSE + body, signature)
    except SealError:
        verified = False
    if not verified:
        raise TokenError(f"this enrolment token is not of this deployment; {_MAKE_ANEW}")
    nonce, rest = body[1 : 1 + NONCE_BYTES], body[1 + NONCE_BYTES :]
    days, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    deployment, rest = _name(rest)
    unit, rest = _name(rest)
    if rest or not is_name(deployment) or not is_name(unit):
        raise TokenError(f"this enrolment token is damaged; {_MAKE_ANEW}")
    return EnrolmentToken(deployment, unit, nonce, _EPOCH + timedelta(days=days))


def _name(data: bytes) -> tuple[str, bytes]:
    """A name and its length from the beginning of *data*, and what follows."""
    end = 1 + (data[0] if data else 0)
    return data[1:end].decode("ascii", errors="replace"), data[end:]
