"""Signs what the centre tells its units, so that whoever runs the broker tells them nothing.

Orders: Ed25519, over the exact bytes of the order as they stand in the message, behind a line that
says on which channel it travels. The key is that of the centre's receipts: every unit has its
public part from its card (`receipts.pub`), and what it stands for is the same, "this comes from my
centre". A key of its own for orders would lie on the same machine, and be one more thing to carry
and renew.

An order names its unit; commands have an id and an expiry, desired settings a growing number: see
messages.py. So one that is played again, later or to another unit, does nothing.

Confirmations: a unit forgets a scan for them, so they are signed too, over the lines of
`_confirmed_lines`. Played again they confirm what is confirmed. On a core of a PC it takes 20 us to
sign a message and 45 us to verify it (144 and 149 us with 500 ranges, the most). There is one for
all that a batch holds of a unit, so units that catch up cost next to nothing; ten thousand units
with a scan every 77 s each, confirmed one by one, cost 0.3 % of a core. At the very limit of a
collector, with one scan of each unit in each batch, it is a third of its time.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

from edge.errors import BadMessage
from edge.messages import (
    MAX_MESSAGE_BYTES,
    Command,
    Config,
    Confirmed,
    SignedCommand,
    SignedConfig,
)
from edge.sealing import Signer, Verifier

Order = Command | Config


class _Envelope(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    v: int = 1
    order: Raw
    signature: bytes


def sign_order(order: Order, key: Signer) -> bytes:
    """The message that brings *order*, signed with the centre's *key*."""
    if isinstance(order, Command):
        signature = key.sign(_purpose("cmd") + order.encode())
        return SignedCommand(order=order, signature=signature).encode()
    signature = key.sign(_purpose("config") + order.encode())
    return SignedConfig(order=order, signature=signature).encode()


def read_order(channel: str, payload: bytes, unit: str, centre: Verifier) -> Order:
    """The order in *payload*, which came on *channel*, "cmd" or "config", to *unit*.

    Raises BadMessage if it was not signed by the *centre*, for this unit, as it stands. Nothing but
    the signature's place is read before that is sure.
    """
    signed = _believed(channel, payload, centre)
    order: Order = Command.decode(signed) if channel == "cmd" else Config.decode(signed)
    if order.unit != unit:
        raise BadMessage(f"signed for {order.unit}; this unit is {unit}")
    return order


def is_signed(channel: str, payload: bytes, centre: Verifier) -> bool:
    """Whether the *centre* signed the order in *payload*, for whichever unit."""
    try:
        _believed(channel, payload, centre)
    except BadMessage:
        return False
    return True


def _believed(channel: str, payload: bytes, centre: Verifier) -> bytes:
    """The order in *payload*, not looked into, once it is sure that the *centre* signed it."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"{len(payload)} bytes are more than {MAX_MESSAGE_BYTES}")
    try:
        envelope = msgspec.json.decode(payload, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage("not a signed order") from None
    signed = bytes(envelope.order)
    if not centre.verifies(_purpose(channel) + signed, envelope.signature):
        raise BadMessage("not signed by this unit's centre")
    return signed


def sign_confirmed(message: Confirmed, unit: str, key: Signer) -> Confirmed:
    """*message* to *unit*, signed with the centre's *key*."""
    signature = key.sign(_confirmed_bytes(message, unit))
    return msgspec.structs.replace(message, signature=signature)


def is_confirmed(message: Confirmed, unit: str, centre: Verifier) -> bool:
    """Whether the *centre* signed *message*, to *unit*."""
    return centre.verifies(_confirmed_bytes(message, unit), message.signature)


def _confirmed_bytes(message: Confirmed, unit: str) -> bytes:
    return _purpose("confirmed") + "\n".join(_confirmed_lines(message, unit)).encode()


def _confirmed_lines(message: Confirmed, unit: str) -> Iterator[str]:
    """The unit, its epoch, and a line for each range: "<first> <last> <check>"."""
    yield unit
    yield message.epoch
    for each in message.ranges:
        yield f"{each.first} {each.last} {each.check}"


def _purpose(channel: str) -> bytes:
    return f"edge {channel}, version 1\n".encode()
