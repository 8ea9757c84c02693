"""Signs what the centre tells its units to do, so that whoever runs the broker tells them nothing.

Ed25519, over the exact bytes of the order as they stand in the message, behind a line that says on
which channel it travels. The key is that of the centre's receipts: every unit has its public part
from its card (`receipts.pub`), and what it stands for is the same, "this comes from my centre". A
key of its own for orders would lie on the same machine, and be one more thing to carry and renew.

The order names its unit; commands have an id and an expiry, desired settings a growing number: see
messages.py. So one that is played again, later or to another unit, does nothing.
"""

import msgspec
from msgspec import Raw, Struct

from edge.errors import BadMessage
from edge.messages import MAX_MESSAGE_BYTES, Command, Config, SignedCommand, SignedConfig
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
    if len(payload) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"{len(payload)} bytes are more than {MAX_MESSAGE_BYTES}")
    try:
        envelope = msgspec.json.decode(payload, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage("not a signed order") from None
    signed = bytes(envelope.order)
    if not centre.verifies(_purpose(channel) + signed, envelope.signature):
        raise BadMessage("not signed by this unit's centre")
    order: Order = Command.decode(signed) if channel == "cmd" else Config.decode(signed)
    if order.unit != unit:
        raise BadMessage(f"signed for {order.unit}; this unit is {unit}")
    return order


def _purpose(channel: str) -> bytes:
    return f"edge {channel}, version 1\n".encode()
