"""Cards for tests: of an invented unit, with certificates of an authority made for the occasion."""

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nacl.public import PrivateKey

from edge import config
from edge.card import Card, CardBroker, CardIdentity, CardUnit
from edge.certificates import Authority
from edge.sealing import Signer

SETUP_KEY = Signer(b"s" * 32)


@cache
def an_authority() -> tuple[Authority, str]:
    """The authority of the invented deployment, and its certificate."""
    authority, own = Authority.make("edge thu-nghiem", datetime(2026, 11, 25, tzinfo=UTC))
    return authority, own.certificate.decode()


@cache
def an_identity(name: str) -> CardIdentity:
    """The certificate and key of a unit called *name*."""
    issued = an_authority()[0].issue_client(name, datetime(2026, 11, 25, tzinfo=UTC), 730)
    assert issued.key is not None
    return CardIdentity(certificate=issued.certificate.decode(), key=issued.key.decode())


def a_batch_card(name: str = "lo-1", **changes: object) -> Card:
    """A card for any unit of the batch *name*."""
    batch: dict[str, object] = {"batch": name, "unit": None, "identity": None}
    return a_card("", **(batch | changes))


def a_card(name: str = "xe-1", **changes: object) -> Card:
    """A card that can be taken."""
    fields: dict[str, object] = {
        "deployment": "thu-nghiem",
        "number": 1,
        "setup_key": SETUP_KEY.public_key,
        "tracing_key": bytes(PrivateKey(b"t" * 32).public_key),
        "unit": CardUnit(id=name, area="pleiku", place="cho-1", direction="in"),
        "authority": an_authority()[1],
        "broker": CardBroker(url="mqtts://mqtt.example.vn:8883"),
    }
    if "identity" not in changes:
        fields["identity"] = an_identity(name)
    return Card(**(fields | changes))  # type: ignore[arg-type]


def signed(table: dict[str, Any]) -> bytes:
    """*table*, whatever it says, as a card file with a signature that is right."""
    body = config.as_toml({key: value for key, value in table.items() if value is not None})
    signature = SETUP_KEY.sign(b"edge card, version 1\n" + body.encode())
    return body.encode() + b"# signature = " + base64.b64encode(signature) + b"\n"
