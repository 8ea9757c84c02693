"""Makes the cards of a deployment's units."""

import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from edge.card import Card, CardBasis, CardBroker, CardIdentity, CardWifi, write_card
from edge.config import secret
from edge.errors import ProvisionError
from edge.legal_basis import LegalBasis, read_bases, write_basis
from edge.provision.deployment import (
    AUTHORITY,
    BASIS,
    BASIS_KEY,
    BASIS_PUBLIC,
    RECEIPT_KEY,
    SETUP_KEY,
    TRACING_PUBLIC,
    Deployment,
    broker_url,
)
from edge.provision.inventory import UnitRecord
from edge.sealing import Signer, Verifier, read_key


def make_card(deployment: Deployment, name: str, now: datetime) -> bytes:
    """A card for the unit *name*, with a new certificate. Raises EdgeError.

    When it is written, tell `Deployment.card_written` its number.
    """
    folder, settings = deployment.folder, deployment.settings
    wifi, further = _wifi(deployment), _further_settings(deployment)
    unit, number, issued = deployment.certify(name, now)
    assert issued.key is not None
    key = Signer(read_key(folder / SETUP_KEY))
    card = Card(
        deployment=settings.deployment.name,
        number=number,
        setup_key=key.public_key,
        tracing_key=read_key(folder / TRACING_PUBLIC),
        receipts_key=Signer(read_key(folder / RECEIPT_KEY)).public_key,
        unit=unit.on_its_card(),
        broker=CardBroker(url=broker_url(settings)),
        identity=CardIdentity(
            authority=(folder / AUTHORITY).read_text(encoding="ascii"),
            certificate=issued.certificate.decode("ascii"),
            key=issued.key.decode("ascii"),
        ),
        wifi=wifi,
        basis=_basis(deployment),
        settings=further,
    )
    return write_card(card, key)


def next_unit(deployment: Deployment) -> UnitRecord:
    """The first unit without a card. Raises ProvisionError when each has one."""
    for unit in deployment.inventory.units:
        if not unit.card and unit.revoked is None:
            return unit
    raise ProvisionError("every unit has its card; name one with --unit to write it another")


def sign_document(deployment: Deployment, basis: LegalBasis) -> Path:
    """Sign *basis* with the key in the deployment's folder; gives its file. Raises BasisError."""
    folder = deployment.folder
    path = folder / BASIS / f"{re.sub('[^A-Za-z0-9-]+', '-', basis.number)[:60]}.json"
    with deployment.changing():
        write_basis(path, basis, Signer(read_key(folder / BASIS_KEY)))
    return path


def _basis(deployment: Deployment) -> CardBasis:
    folder = deployment.folder
    key = read_key(folder / BASIS_PUBLIC)
    _, wrong = read_bases(folder / BASIS, Verifier(key))
    if wrong:
        raise wrong[0]
    documents = [path.read_text("utf-8") for path in sorted((folder / BASIS).glob("*.json"))]
    return CardBasis(key=key, documents=tuple(documents))


def _wifi(deployment: Deployment) -> CardWifi | None:
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
