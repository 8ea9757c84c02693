"""Signs what the centre tells its units, so that whoever runs the broker tells them nothing.

Orders: Ed25519, over the exact bytes of the order as they stand in the message, behind a line that
says on which channel it travels. The key is that of the centre's receipts: every unit has its
public part from its card (`receipts.pub`), and what it stands for is the same, "this comes from my
centre". A key of its own for orders would lie on the same machine, and be one more thing to carry
and renew.

An order names its unit; commands have an id and an expiry, desired settings a growing number: see
messages.py. So one that is played again, later or to another unit, does nothing.

Confirmations: a unit forgets a scan for them, so they are signed too, over the lines of
`_confirmed_lines`. Played again they confirm what is confirmed. There is one for all that a batch
holds of a unit. On a core of a PC it takes 17 us to sign one and 45 us to verify it (140 and 149 us
with 500 ranges, the most). Where a batch has many, so that a collector is short of time, one
signature stands for `TOGETHER` of them, which is a tenth of the work: it is over the root of a
binary tree of hashes (Merkle's, with the prefixes of RFC 9162, 2.1.1), and each confirmation
brings the hashes beside its way up, some 200 bytes. Few are signed each by itself, over its lines:
their units may pay for each byte, and those of an earlier state know no other signature.
"""

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, Struct

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

#: So many confirmations have one signature, if a batch has more.
TOGETHER = 16
#: On which side another branch stands.
_FIRST, _SECOND = b"\0", b"\1"


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


def sign_confirmed(messages: Sequence[tuple[str, Confirmed]], key: Signer) -> list[Confirmed]:
    """Each of *messages*, (unit, what it is told), signed with the centre's *key*."""
    size = 1 if len(messages) <= TOGETHER else TOGETHER
    signed: list[Confirmed] = []
    for start in range(0, len(messages), size):
        group = messages[start : start + size]
        lines = [_confirmed_lines(message, unit) for unit, message in group]
        # No lines are as short as a root, so none passes for the other.
        whole, paths = _tree(list(map(_leaf, lines))) if len(lines) > 1 else (lines[0], [()])
        signature = key.sign(_purpose("confirmed") + whole)
        signed += [
            msgspec.structs.replace(message, signature=signature, path=path or UNSET)
            for (_, message), path in zip(group, paths, strict=True)
        ]
    return signed


def is_confirmed(message: Confirmed, unit: str, centre: Verifier) -> bool:
    """Whether the *centre* signed *message*, to *unit*."""
    signed = _confirmed_lines(message, unit)
    if message.path:
        signed = _leaf(signed)
        for step in message.path:
            side, other = step[:1], step[1:]
            signed = _branch(other, signed) if side == _FIRST else _branch(signed, other)
    return centre.verifies(_purpose("confirmed") + signed, message.signature)


def _tree(leaves: Sequence[bytes]) -> tuple[bytes, list[tuple[bytes, ...]]]:
    """The root of *leaves*, and how each leads to it: on which side of it what stands beside it."""
    if len(leaves) == 1:
        return leaves[0], [()]
    middle = len(leaves) // 2
    (first, of_first), (second, of_second) = _tree(leaves[:middle]), _tree(leaves[middle:])
    return _branch(first, second), [
        *((*path, _SECOND + second) for path in of_first),
        *((*path, _FIRST + first) for path in of_second),
    ]


def _leaf(lines: bytes) -> bytes:
    return hashlib.sha256(b"\0" + lines).digest()


def _branch(first: bytes, second: bytes) -> bytes:
    return hashlib.sha256(b"\1" + first + second).digest()


def _confirmed_lines(message: Confirmed, unit: str) -> bytes:
    """The unit, its epoch, and a line for each range: "<first> <last> <check>"."""
    ranges = (f"{each.first} {each.last} {each.check}" for each in message.ranges)
    return "\n".join((unit, message.epoch, *ranges)).encode()


def _purpose(channel: str) -> bytes:
    return f"edge {channel}, version 1\n".encode()
