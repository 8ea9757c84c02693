"""The set-up code: a QR code by which a unit learns who and where it is, read by its own camera.

`EDGE1:` and then, in base45 so that it is drawn in QR's alphanumeric mode, MessagePack and the
deployment's signature (Ed25519) over it. A unit takes one only of the deployment that its card came
from, only while somebody stands before it (see scanner/setup_window.py), only if it is bound to
this unit or to its batch, and none with a number that is not above its last. Whoever photographs a
code has the Wi-Fi password in it, and nothing else that is of use a second time.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge import base45
from edge.card import Board, BrokerUrl, CardUnit, CardWifi, Country, Ssid, Trip, WifiPassword
from edge.card import check_wifi as check_card_wifi
from edge.enrolment_token import EnrolmentUrl, Token
from edge.errors import CardError, SealError, SetupCodeError
from edge.messages import Direction, Name, Sequence
from edge.opening_hours import Hours
from edge.sealing import Signer, Verifier
from edge.trips import TripText

#: No other code that anybody shows begins so.
PREFIX = "EDGE1:"
#: A code of version 20 at level M has 970: what is larger needs too steady a hand.
MAX_CHARACTERS = 970

_PURPOSE = b"edge set-up code, version 1\n"
_SIGNATURE_BYTES = 64
_MAKE_ANEW = "make it anew with: edge-provision code"


class SetupCode(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a set-up code says. Its fields travel without their names, so their order stays."""

    v: Literal[1]
    deployment: Name
    #: Of the deployment's cards and codes; the unit takes none that is not above its last.
    number: Sequence
    #: Whom it may set up: a unit of this batch that is none yet, or, null, the unit itself.
    batch: Name | None
    unit: Name
    area: Name
    place: Name
    direction: Direction
    trip: Trip
    #: Serial number of the only board that may take it; "" for any.
    hardware: Board
    #: Where scans are sent; null for where they are sent now.
    broker: BrokerUrl | None
    #: Name, password and country of the wireless network; null for the one that it has.
    wifi: tuple[Ssid, WifiPassword, Country] | None
    #: Where the unit asks for its certificate, and with which token; null if it has one already.
    enrolment: tuple[EnrolmentUrl, Token] | None
    #: When the place is open, in which no update is put in place.
    hours: Hours
    #: Of a vehicle, its trips by the clock.
    trips: Annotated[tuple[TripText, ...], Meta(max_length=100)]

    @property
    def card_unit(self) -> CardUnit:
        """Who and where the unit is to be, as a card says it."""
        return CardUnit(
            id=self.unit,
            area=self.area,
            place=self.place,
            direction=self.direction,
            trip=self.trip,
            hardware=self.hardware,
        )

    @property
    def card_wifi(self) -> CardWifi | None:
        """The wireless network, as a card says it."""
        if self.wifi is None:
            return None
        ssid, password, country = self.wifi
        return CardWifi(ssid=ssid, password=password, country=country)


def is_setup_code(content: bytes) -> bool:
    """Whether *content*, of any code, is meant to be a set-up code."""
    return content.startswith(PREFIX.encode())


def write_setup_code(code: SetupCode, key: Signer) -> str:
    """*code* as the text of a QR code, signed. Raises SetupCodeError if it could not be taken."""
    body = msgspec.msgpack.encode(code)
    text = PREFIX + base45.encode(body + key.sign(_PURPOSE + body))
    if len(text) > MAX_CHARACTERS:
        raise SetupCodeError(
            f"unit {code.unit} has too much to be told for a code, {len(code.trips)} trips among"
            " it; write it a card"
        )
    read_setup_code(text.encode(), key.public_key)
    return text


def read_setup_code(content: bytes, setup_key: bytes) -> SetupCode:
    """The set-up code in *content*, signed with *setup_key*, the deployment's public key.

    Raises SetupCodeError, whose text has nothing of the content.
    """
    if not is_setup_code(content) or len(content) > MAX_CHARACTERS:
        raise SetupCodeError("this is no set-up code of ours")
    try:
        data = base45.decode(content[len(PREFIX) :].decode("ascii"))
    except ValueError:
        raise SetupCodeError(f"the set-up code is damaged; {_MAKE_ANEW}") from None
    body, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    # The signature first: what a stranger wrote is not even parsed.
    try:
        signed = Verifier(setup_key).verifies(_PURPOSE + body, signature)
    except SealError:
        signed = False
    if not signed:
        raise SetupCodeError("the set-up code is not of this unit's deployment, or was changed")
    try:
        code = msgspec.msgpack.decode(body, type=SetupCode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SetupCodeError(
            f"the set-up code is of another version than this software; {_MAKE_ANEW}"
        ) from None
    _check(code)
    return code


def check_for_unit(
    code: SetupCode, *, deployment: str, unit: str, batch: str, last: int, hardware: str
) -> None:
    """Raise SetupCodeError unless a unit that is so may take *code*.

    *unit* is "" while it is none yet, *batch* "" if it came from no batch card, *last* the number
    of its last card or code, *hardware* the serial number of its board.
    """
    if code.deployment != deployment:
        raise SetupCodeError(f"the set-up code is of another deployment than {deployment}")
    if code.batch is None and not unit:
        raise SetupCodeError(
            f"the set-up code moves unit {code.unit}, and this is none yet; make one with:"
            f" edge-provision code {code.unit} --batch {batch or 'NAME'}"
        )
    if code.batch is None and code.unit != unit:
        raise SetupCodeError(f"the set-up code is for unit {code.unit}; this is {unit}")
    if code.batch is not None and unit:
        raise SetupCodeError(
            f"the set-up code is for a unit that is none yet; this is {unit}; make one with:"
            f" edge-provision code {unit}"
        )
    if code.batch is not None and code.batch != batch:
        raise SetupCodeError(f"the set-up code is for batch {code.batch}; this is of {batch}")
    if unit and code.number <= last:
        raise SetupCodeError(
            f"set-up code {code.number} is not newer than {last}, which this unit has; {_MAKE_ANEW}"
        )
    if code.hardware and code.hardware != hardware:
        raise SetupCodeError(
            f"the set-up code is for the board {code.hardware}; this one is {hardware or 'unknown'}"
        )


def _check(code: SetupCode) -> None:
    if code.card_wifi is not None:
        try:
            check_card_wifi(code.card_wifi)
        except CardError as err:
            raise SetupCodeError(f"the set-up code's {err}") from None
