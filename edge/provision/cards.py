"""Makes the cards of a deployment's units."""

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec

from edge.card import (
    MOST_DOCUMENTS,
    Card,
    CardBasis,
    CardBroker,
    CardEnrolment,
    CardUpdates,
    CardWifi,
    write_card,
)
from edge.config import merged, secret
from edge.enrolment_token import mint_token
from edge.errors import BasisError, ProvisionError
from edge.legal_basis import LegalBasis, read_bases, read_basis, verified_basis, write_basis
from edge.opening_hours import OpenHours, hours_text
from edge.provision.deployment import Deployment, utc_now
from edge.provision.inventory import UnitRecord
from edge.provision.layout import (
    AUTHORITY,
    BASIS,
    BASIS_KEY,
    BASIS_PUBLIC,
    RECEIPT_KEY,
    SETUP_KEY,
    TRACING_PUBLIC,
    UPDATES_PUBLIC,
)
from edge.provision.machines import broker_url, enrolment_url
from edge.register import Place
from edge.sealing import Signer, Verifier, read_key
from edge.topics import is_name
from edge.trips import TimedTrip


def make_card(deployment: Deployment, name: str, now: datetime) -> bytes:
    """A card for the unit *name*, with a new token. Raises EdgeError.

    When it is written, tell `Deployment.card_written` its number.
    """
    card, key = _of_the_deployment(deployment, now)
    unit = deployment.inventory.unit(name)
    token = make_token(deployment, unit, now)
    card["settings"] = _with_trips(card["settings"], deployment.register.place(unit.place))
    given = Card(
        **card,
        number=deployment.next_number(),
        unit=unit.on_its_card(),
        enrolment=CardEnrolment(url=enrolment_url(deployment.settings), token=token),
        updates=_updates(deployment, unit.place),
    )
    return write_card(given, key)


def make_token(deployment: Deployment, unit: UnitRecord, now: datetime) -> bytes:
    """A token with which *unit* asks for its certificate. Raises ProvisionError."""
    if unit.revoked is not None:
        raise ProvisionError(f"unit {unit.id} was revoked; give its successor a new name")
    settings = deployment.settings
    last_day = now.date() + timedelta(days=settings.enrolment.token_days)
    key = Signer(read_key(deployment.folder / SETUP_KEY))
    return mint_token(settings.deployment.name, unit.id, last_day, key)


def make_batch_card(deployment: Deployment, batch: str) -> bytes:
    """A card for any unit of *batch*; each becomes itself by its set-up code. Raises EdgeError."""
    check_batch(batch)
    card, key = _of_the_deployment(deployment, utc_now())
    updates = _updates(deployment, None)
    enrolment = CardEnrolment(url=enrolment_url(deployment.settings))
    given = Card(
        **card,
        number=deployment.next_number(),
        batch=batch,
        enrolment=enrolment,
        updates=updates,
    )
    return write_card(given, key)


def check_batch(name: str) -> None:
    """Raise ProvisionError unless a batch may have this *name*."""
    if not is_name(name):
        raise ProvisionError(f"batch {name!r}: its name must be 1 to 32 of a-z, 0-9, hyphens")


def _of_the_deployment(deployment: Deployment, now: datetime) -> tuple[dict[str, Any], Signer]:
    """What every card of *deployment* that is made *now* says, and the key that signs it."""
    folder, settings = deployment.folder, deployment.settings
    key = Signer(read_key(folder / SETUP_KEY))
    return {
        "deployment": settings.deployment.name,
        "setup_key": key.public_key,
        "tracing_key": read_key(folder / TRACING_PUBLIC),
        "receipts_key": Signer(read_key(folder / RECEIPT_KEY)).public_key,
        "broker": CardBroker(url=broker_url(settings)),
        "authority": (folder / AUTHORITY).read_text(encoding="ascii"),
        "wifi": wifi_of(deployment),
        "basis": _basis(deployment, now),
        "settings": _further_settings(deployment),
    }, key


def next_unit(deployment: Deployment) -> UnitRecord:
    """The first unit without a card. Raises ProvisionError when each has one."""
    return deployment.inventory.unit(new_units(deployment)[0])


def new_units(deployment: Deployment) -> list[str]:
    """The units that have neither card nor code. Raises ProvisionError when each has one."""
    found = list(without_card(deployment))
    if not found:
        raise ProvisionError("every unit has its card or code; name those that are to have another")
    return found


def without_card(deployment: Deployment) -> Iterator[str]:
    """The units that have neither card nor code, in their order."""
    for unit in deployment.inventory.units:
        if not unit.card and not unit.code and unit.revoked is None:
            yield unit.id


def is_covered(deployment: Deployment, place: str, now: datetime) -> bool:
    """Whether a document by which *place* may collect has not ended, or none is needed.

    "" for any place.
    """
    return not wants_basis(deployment) or any(
        datetime.fromisoformat(basis.end) > now and (not place or basis.covers(place))
        for basis in known_bases(deployment)
    )


def wants_basis(deployment: Deployment) -> bool:
    """Whether units collect by a legal basis alone, as they do unless their settings say not."""
    basis = _further_settings(deployment).get("basis", {})
    return not isinstance(basis, dict) or basis.get("required", True) is not False


def current_documents(deployment: Deployment, now: datetime) -> list[bytes]:
    """The documents of the deployment's authority that have not ended, as their files have them."""
    key = Verifier(read_key(deployment.folder / BASIS_PUBLIC))
    contents = [path.read_bytes() for path in sorted((deployment.folder / BASIS).glob("*.json"))]
    found = []
    for content in contents:
        with suppress(BasisError):
            if datetime.fromisoformat(verified_basis(content, BASIS, key).end) > now:
                found.append(content)
    return found


def known_bases(deployment: Deployment) -> list[LegalBasis]:
    """The documents that the deployment's authority has signed; others are passed over."""
    key = Verifier(read_key(deployment.folder / BASIS_PUBLIC))
    return read_bases(deployment.folder / BASIS, key)[0]


def sign_document(deployment: Deployment, basis: LegalBasis) -> Path:
    """Sign *basis* with the key in the deployment's folder; gives its file.

    It replaces the document of the same number, and no other. Raises BasisError, also for a place
    that is not in the register: the units there would collect nothing.
    """
    key = Signer(read_key(deployment.folder / BASIS_KEY))
    register = deployment.register
    for scope in basis.places:
        only = msgspec.structs.replace(basis, places=(scope,))
        if scope != "*" and not any(only.covers(place.id) for place in register.places):
            raise BasisError(
                f"no place in the register is {scope}; correct it, or first add the place with:"
                " edge-provision place add"
            )
    with deployment.changing():
        path = _document_file(deployment.folder / BASIS, basis.number, Verifier(key.public_key))
        write_basis(path, basis, key)
    return path


def _document_file(folder: Path, number: str, verifier: Verifier) -> Path:
    """Where in *folder* the document *number* is, or may be put."""
    for path in sorted(folder.glob("*.json")):
        with suppress(BasisError):
            if read_basis(path, verifier).number == number:
                return path
    # Đ is a letter of its own, not a D with a mark that could be taken off.
    plain = unicodedata.normalize("NFKD", number.translate({ord("Đ"): "D", ord("đ"): "d"}))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    name = re.sub(r"[^A-Za-z0-9]+", "-", plain)[:60].strip("-") or "basis"
    # On a disk that makes no difference between capitals and small letters as well.
    taken = {path.name.lower() for path in folder.iterdir()}
    names = chain([f"{name}.json"], (f"{name}-{further}.json" for further in count(2)))
    return folder / next(free for free in names if free.lower() not in taken)


def _basis(deployment: Deployment, now: datetime) -> CardBasis:
    """The documents that have not ended: with each month's order a card would have no room."""
    folder = deployment.folder
    key = read_key(folder / BASIS_PUBLIC)
    _, wrong = read_bases(folder / BASIS, Verifier(key))
    if wrong:
        raise wrong[0]
    documents = current_documents(deployment, now)
    if len(documents) > MOST_DOCUMENTS:
        raise ProvisionError(
            f"{len(documents)} legal bases are more than a card carries ({MOST_DOCUMENTS}); take"
            " those out of legal-basis/ that others have taken the place of, or have one order for"
            " several places"
        )
    return CardBasis(key=key, documents=tuple(one.decode() for one in documents))


def _updates(deployment: Deployment, place: str | None) -> CardUpdates | None:
    """Where new software comes from; *place* None where it is not known yet."""
    key = deployment.folder / UPDATES_PUBLIC
    if not key.exists():
        # A deployment from before there were updates; `edge-provision release` makes the key.
        return None
    return CardUpdates(
        url=deployment.settings.updates.url,
        key=key.read_text(encoding="ascii"),
        hours=hours_of(deployment.register.place(place)) if place else "",
    )


def hours_of(place: Place) -> str:
    """When *place* is open, as a setting."""
    return hours_text(OpenHours(each.days, each.opens, each.closes) for each in place.hours)


def trips_of(place: Place) -> list[str]:
    """The trips by the clock of *place*, if it is a vehicle, as a setting."""
    return [
        str(TimedTrip(trip.id, trip.departs, trip.arrives, trip.days))
        for trip in (place.vehicle.trips if place.vehicle else ())
        if trip.departs is not None
    ]


def _with_trips(settings: dict[str, Any], place: Place) -> dict[str, Any]:
    """*settings* with the trips of a vehicle by the clock, unless they have their own."""
    trips = trips_of(place)
    return merged([{"vehicle": {"trips": trips}} if trips else {}, settings])


def wifi_of(deployment: Deployment) -> CardWifi | None:
    """The wireless network of the units, if there is one. Raises EdgeError."""
    wifi = deployment.settings.wifi
    if not wifi.ssid:
        return None
    password = secret(wifi.password_file, deployment.folder) if wifi.password_file else ""
    table = {"ssid": wifi.ssid, "password": password, "country": wifi.country}
    try:
        return msgspec.convert(table, CardWifi)
    except msgspec.ValidationError:
        raise ProvisionError(
            "wifi: a name has up to 32 bytes, a password 8 to 63 letters, digits and signs"
        ) from None


def _further_settings(deployment: Deployment) -> dict[str, Any]:
    name = deployment.settings.units.settings_file
    if not name:
        return {}
    path: Path = deployment.folder / name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ProvisionError(f"{path}: cannot read these settings: {err}") from err
