"""The card file: all that a unit needs to become itself, in one signed file on its boot partition.

TOML, so that a technician can read it, and a last line with the deployment's signature over every
byte before it. Whoever holds the card can read what is in it; so the unit takes it once, keeps it
where only its services read, and wipes it. A unit that was set up believes its own deployment
alone, and no card older than the one that it had.
"""

import base64
import binascii
import tomllib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from edge import config
from edge.certificates import facts
from edge.enrolment_token import EnrolmentToken, EnrolmentUrl, Token, read_token
from edge.errors import CardError, CertificateError, ConfigError, SealError, TokenError
from edge.messages import Direction, Name, Sequence
from edge.opening_hours import Hours
from edge.ring import UpdatesUrl
from edge.sealing import Sealer, Signer, Verifier

#: Where it lies on the boot partition.
FOLDER = "edge-scanner"
FILE = "card.toml"
#: No card of ours is half as large.
MAX_BYTES = 262_144
#: Legal bases on a card.
MOST_DOCUMENTS = 16

_PURPOSE = b"edge card, version 1\n"
_SIGNATURE = b"# signature = "
_MAKE_ANEW = "make it anew with: edge-provision card"

Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Pem = Annotated[str, Meta(min_length=1, max_length=8192)]
Trip = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9-]{0,64}(?![\s\S])", description="up to 64 of a-z, 0-9, hyphens"),
]
#: The serial number of a board; "" for any.
Board = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{0,32}(?![\s\S])",
        description="the serial number in /proc/cpuinfo, up to 32 of 0-9, a-f",
    ),
]
BrokerUrl = Annotated[str, Meta(pattern=r"^mqtts://[A-Za-z0-9.:\[\]-]{1,260}(?![\s\S])")]
#: May have any letters, up to 32 bytes of UTF-8.
Ssid = Annotated[str, Meta(min_length=1, max_length=32)]
#: 8 to 63 printable ASCII characters; "" for a network without.
WifiPassword = Annotated[str, Meta(pattern=r"^(?:[ -~]{8,63})?(?![\s\S])")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?![\s\S])")]


class CardUnit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who and where the unit is."""

    id: Name
    area: Name
    place: Name
    direction: Direction
    trip: Trip = ""
    #: Serial number of the only Pi that may take this card; "" for any.
    hardware: Board = ""


class CardBroker(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where scans are sent."""

    url: BrokerUrl


class CardEnrolment(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Where units get their certificates, and the token with which this one asks, once."""

    url: EnrolmentUrl
    token: Token | None = None


class CardWifi(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A wireless network."""

    ssid: Ssid
    password: WifiPassword = ""
    country: Country = "VN"


class CardBasis(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The legal basis: the public key of who signs it, and the documents as their files are."""

    key: Bytes32
    documents: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=8192)], ...],
        Meta(max_length=MOST_DOCUMENTS),
    ] = ()


class CardUpdates(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where updates are found, by which key they are believed, and when the place is open."""

    url: UpdatesUrl = ""
    #: OpenPGP, in letters.
    key: Pem
    hours: Hours = ""


class Card(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything on a card."""

    v: Literal[1] = 1
    deployment: Name
    #: Of the deployment's cards; a unit takes none with a lower number than its last.
    number: Sequence
    #: The deployment's public key, Ed25519, by which cards are verified.
    setup_key: Bytes32
    #: The tracing desk's public key, X25519.
    tracing_key: Bytes32
    #: The collector's public key, Ed25519, by which the unit knows receipts; without it, it
    #: believes none.
    receipts_key: Bytes32 | None = None
    #: Certificate of the authority that the broker's and the units' certificates are of; PEM.
    authority: Pem
    #: Of a batch card: the name of the batch. It is the same for all of its units, and each becomes
    #: itself by a set-up code (edge/setup_code.py). Otherwise the unit, and a token of its own.
    batch: Name | None = None
    unit: CardUnit | None = None
    broker: CardBroker
    enrolment: CardEnrolment
    wifi: CardWifi | None = None
    #: Without it a unit collects nothing, unless its settings say that none is needed.
    basis: CardBasis | None = None
    #: Without it the unit takes no updates but by its card.
    updates: CardUpdates | None = None
    #: Further settings of the scanner, as in scanner.toml, but none that the card itself gives.
    settings: dict[str, dict[str, Any]] = {}


def write_card(card: Card, key: Signer) -> bytes:
    """*card* as a file, signed. Raises CardError if it could not be taken."""
    if card.setup_key != key.public_key:
        raise CardError("the card names another key than it is signed with")
    _check(card)
    everything: dict[str, Any] = msgspec.to_builtins(card)
    table = {key: value for key, value in everything.items() if value is not None}
    head = (
        "# Thẻ cài đặt thiết bị quét. CÓ BÍ MẬT: thiết bị sẽ tự xóa tệp này sau khi đọc.\n"
        "# Sets up one unit. HOLDS SECRETS: the unit wipes this file once it has taken it.\n"
        "# Any change makes it invalid.\n\n"
    )
    body = (head + config.as_toml(table)).encode()
    signature = base64.b64encode(key.sign(_PURPOSE + body))
    return body + _SIGNATURE + signature + b"\n"


def read_card(data: bytes, pinned: bytes | None = None) -> Card:
    """The card in *data*, wholly checked. Raises CardError, whose text has nothing secret.

    *pinned* is the deployment's key that the unit knows; None before its first card.
    """
    if len(data) > MAX_BYTES:
        raise CardError(f"the card file has {len(data)} bytes, too many for a card; {_MAKE_ANEW}")
    body, mark, signature = data.rpartition(_SIGNATURE)
    if not mark or not signature.endswith(b"\n"):
        raise CardError(f"the card file is not whole or not one of ours; {_MAKE_ANEW}")
    try:
        table = tomllib.loads(body.decode("utf-8"))
        signed = base64.b64decode(signature.strip(), validate=True)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, binascii.Error, RecursionError):
        raise CardError(f"the card file is damaged; {_MAKE_ANEW}") from None
    try:
        card = config.check(table, Card, "card")
    except ConfigError as err:
        raise CardError(_without_content(str(err))) from None
    if pinned is not None and card.setup_key != pinned:
        raise CardError(
            "this unit belongs to another deployment; a card of its own is needed, or a wipe first"
        )
    try:
        verified = Verifier(card.setup_key).verifies(_PURPOSE + body, signed)
    except SealError:
        verified = False
    if not verified:
        raise CardError(f"the card file was changed after it was made; {_MAKE_ANEW}")
    _check(card)
    return card


def card_token(card: Card) -> EnrolmentToken | None:
    """What the card's token says; None for a batch card. Raises CardError."""
    if card.unit is None or card.enrolment.token is None:
        return None
    try:
        token = read_token(card.enrolment.token, card.setup_key)
    except TokenError as err:
        raise CardError(str(err)) from None
    if (token.deployment, token.unit) != (card.deployment, card.unit.id):
        raise CardError(f"the card's token is not that of unit {card.unit.id}; {_MAKE_ANEW}")
    return token


def check_wifi(wifi: CardWifi) -> None:
    """Raise CardError for a network whose name no unit can have."""
    if len(wifi.ssid.encode(errors="surrogatepass")) > 32 or not wifi.ssid.isprintable():
        raise CardError("wifi.ssid must be up to 32 bytes of text that can be printed")


def _check(card: Card) -> None:
    alone = card.unit is not None
    if (card.batch is None) != alone or (card.enrolment.token is not None) != alone:
        raise CardError(f"a card is for one unit, with its token, or for a batch; {_MAKE_ANEW}")
    card_token(card)
    try:
        facts(card.authority.encode())
    except CertificateError as err:
        raise CardError(f"authority: {err}; {_MAKE_ANEW}") from None
    try:
        Sealer(card.tracing_key)
    except SealError as err:
        raise CardError(f"tracing_key: {err}; {_MAKE_ANEW}") from None
    if card.wifi is not None:
        check_wifi(card.wifi)
    if given := {"unit", "broker"} & set(card.settings):
        raise CardError(f"settings.{min(given)} is given by the card itself; {_MAKE_ANEW}")


def _without_content(text: str) -> str:
    # Of a value that does not fit, `config` says what it was; here it may be a key or a password.
    place, _, must = text.partition(" is ")
    return f"{place} cannot be used{must[must.rfind('; it must') :] if must else ''}; {_MAKE_ANEW}"
