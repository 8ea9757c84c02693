"""Cards for tests: of an invented unit, of a deployment with an authority made for the occasion."""

import base64
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from nacl.public import PrivateKey

from edge import config
from edge.card import Card, CardBroker, CardEnrolment, CardUnit
from edge.certificates import Authority
from edge.clock import Clock
from edge.enrolment_token import mint_token
from edge.scanner.identity import Identity
from edge.scanner.pending_enrolment import IDENTITY, read_pending
from edge.sealing import Signer

SETUP_KEY = Signer(b"s" * 32)
ENDPOINT = "https://mqtt.example.vn:8884"


@cache
def an_authority() -> tuple[Authority, str]:
    """The authority of the invented deployment, and its certificate."""
    authority, own = Authority.make("edge thu-nghiem", datetime(2026, 11, 25, tzinfo=UTC))
    return authority, own.certificate.decode()


def an_enrolment(name: str, key: Signer = SETUP_KEY) -> CardEnrolment:
    """Where a unit called *name* enrols, and with which token, signed with *key*."""
    token = mint_token("thu-nghiem", name, date(2027, 2, 23), key)
    return CardEnrolment(url=ENDPOINT, token=token)


def enrol(root: Path, unit: str, clock: Clock, *, days: int = 730) -> Identity:
    """Let *unit*, whose files lie in *root*, have a certificate that has worked at the broker."""
    identity = Identity(root / IDENTITY, unit, root / "etc/edge/authority.pem", clock)
    pending = read_pending(root / IDENTITY)
    token = pending.token if pending is not None else b""
    now = datetime.fromisoformat(clock.now().at)
    issued = an_authority()[0].sign_request(identity.request(token), unit, now, days)
    identity.take(issued.certificate)
    identity.done(token)
    assert identity.choose() is not None
    identity.worked()
    return identity


def a_batch_card(name: str = "lo-1", **changes: object) -> Card:
    """A card for any unit of the batch *name*."""
    where = CardEnrolment(url=ENDPOINT)
    batch: dict[str, object] = {"batch": name, "unit": None, "enrolment": where}
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
    if "enrolment" not in changes:
        fields["enrolment"] = an_enrolment(name)
    return Card(**(fields | changes))  # type: ignore[arg-type]


def signed(table: dict[str, Any]) -> bytes:
    """*table*, whatever it says, as a card file with a signature that is right."""
    body = config.as_toml({key: value for key, value in table.items() if value is not None})
    signature = SETUP_KEY.sign(b"edge card, version 1\n" + body.encode())
    return body.encode() + b"# signature = " + base64.b64encode(signature) + b"\n"
