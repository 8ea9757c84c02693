"""The folder of a deployment: made once, kept by the operator, taken apart by machine.

Everything that leaves this folder is a copy: `broker/` goes to the broker's machine, `collector/`
to the collector's, `tracing-desk/` to the tracing desk and nowhere else. What is secret can be read
by the owner alone, and each file is explained in the README that lies beside it.
"""

import base64
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import msgspec

from edge import config
from edge.certificates import Authority, CertificateFacts, Issued, facts, revocations_end
from edge.errors import EdgeError, ProvisionError
from edge.files import replace_file
from edge.provision import mosquitto
from edge.provision.inventory import (
    CertificateRecord,
    Inventory,
    UnitRecord,
    read_inventory,
    write_inventory,
)
from edge.provision.openpgp import make_key
from edge.provision.settings import ProvisionSettings
from edge.register import Register, read_register, write_register
from edge.sealing import make_key_pair, open_signer

SETTINGS = "provision.toml"
README = "README.md"
REGISTER = "register.json"
INVENTORY = "inventory.json"
_LOCK = ".lock"

AUTHORITY = "authority/authority.pem"
AUTHORITY_KEY = "authority/authority.key"
#: Signs cards and set-up codes; a unit that was set up believes this key alone.
SETUP_KEY = "authority/setup.key"
BROKER = "broker"
COLLECTOR = "collector"
COLLECTOR_CERTIFICATE = "collector/collector.pem"
COLLECTOR_KEY = "collector/collector.key"
#: Signs what the centre gives back by hand.
RECEIPT_KEY = "collector/receipts.key"
TRACING_PUBLIC = "tracing.pub"
TRACING_PRIVATE = "tracing-desk/tracing.key"
#: Who may order the collecting; its documents are the files *.json beside its key.
BASIS = "legal-basis"
BASIS_KEY = "legal-basis/basis.key"
BASIS_PUBLIC = "legal-basis/basis.pub"
UNITS = "units"
#: The signed repository of the units' software, and the key that signs it.
UPDATES = "updates"
UPDATES_KEY = "authority/updates.key"
UPDATES_PUBLIC = "updates.asc"

#: Names that belong to machines of the centre.
RESERVED = (*mosquitto.COLLECTORS, "broker", "authority", "desk", "dashboard")

COLLECTOR_DAYS = 3650
#: A list of revocations or a certificate that ends sooner than this is an alarm.
ALARM_DAYS = 180
#: A unit's own certificate is an alarm when this part of its life is left.
UNIT_ALARM_SHARE = 1 / 3


class Deployment:
    """An open deployment. One process at a time may change it."""

    def __init__(self, folder: Path) -> None:
        """Open *folder*. Raises ConfigError or ProvisionError that says what is missing."""
        self.folder = folder
        if not (folder / AUTHORITY).is_file():
            raise ProvisionError(
                f"{folder} is no deployment; make one with: edge-provision init {folder}, or name"
                " one with --config <its folder>/provision.toml"
            )
        self.settings = config.load(folder / SETTINGS, ProvisionSettings)
        self.settings.check()

    @property
    def inventory(self) -> Inventory:
        """The units."""
        return read_inventory(self.folder / INVENTORY)

    @property
    def register(self) -> Register:
        """The places."""
        return read_register(self.folder / REGISTER)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep others from changing it meanwhile; what goes wrong becomes a ProvisionError."""
        with locked(self.folder), _explained(self.folder):
            yield

    def put_places(self, register: Register) -> None:
        """Make *register* the register of this deployment."""
        with self.changing():
            write_register(self.folder / REGISTER, register)

    def add_units(self, rows: Iterable[Mapping[str, str]]) -> list[UnitRecord]:
        """Take units in, all of them or none; those that are there already, the same, are left.

        Each of *rows* has id, place and direction; area, trip and hardware where they are given.
        Raises ProvisionError or RegisterError.
        """
        register = self.register
        with self.changing():
            inventory, taken = self.inventory, []
            for row in rows:
                unit = self._unit_from(row)
                register.place(unit.place)
                known = next((k for k in inventory.units if k.id == unit.id), None)
                if known is not None and known.on_its_card() != unit.on_its_card():
                    raise ProvisionError(f"there is another unit {unit.id!r}; choose another name")
                inventory = inventory.with_unit(known or unit)
                taken.append(known or unit)
            write_inventory(self.folder / INVENTORY, inventory)
        return taken

    def _unit_from(self, row: Mapping[str, str]) -> UnitRecord:
        name = row.get("id", "")
        if name in RESERVED:
            raise ProvisionError(f"a unit cannot be called {name!r}; a machine of the centre is")
        given = {key: value for key, value in row.items() if value}
        table = {"area": self.settings.units.area} | given
        try:
            return msgspec.convert(table, UnitRecord)
        except msgspec.ValidationError as err:
            why = config.explain(err, table, UnitRecord)
            raise ProvisionError(f"unit {name[:40]}: {why}") from None

    def change_unit(self, name: str, **changes: str) -> UnitRecord:
        """Hang the unit *name* elsewhere; it learns of it by its next card.

        *changes*: place, direction, area, trip or hardware. Raises EdgeError.
        """
        if "place" in changes:
            self.register.place(changes["place"])
        with self.changing():
            inventory = self.inventory
            unit = self._unit_from(msgspec.to_builtins(inventory.unit(name)) | changes)
            write_inventory(self.folder / INVENTORY, inventory.with_unit(unit))
        return unit

    def certify(self, name: str, now: datetime) -> tuple[UnitRecord, int, Issued]:
        """A new certificate and key for the unit *name*, which no file here keeps.

        With it the number of the card that it is for, which no other card has. The unit counts as
        with that card only after `card_written`.
        """
        with self.changing():
            inventory = self.inventory
            unit = inventory.unit(name)
            if unit.revoked is not None:
                raise ProvisionError(f"unit {name} was revoked; give its successor a new name")
            issued = self._authority().issue_client(name, now, self.settings.units.certificate_days)
            number = inventory.cards + 1
            # Kept even if no card is written with it: a card that was pulled out may hold its key,
            # and then it must be revoked with the others.
            record = CertificateRecord(
                serial=f"{issued.serial:x}", card=number, not_after=issued.not_after
            )
            inventory = msgspec.structs.replace(inventory, cards=number)
            unit = msgspec.structs.replace(unit, certificates=(*unit.certificates, record))
            write_inventory(self.folder / INVENTORY, inventory.with_unit(unit))
        return unit, number, issued

    def next_number(self, *units: str) -> int:
        """A number for a batch card, or for the first of the set-up codes of *units*, one each.

        Raises ProvisionError for a unit that there is not, or that was revoked.
        """
        with self.changing():
            inventory = self.inventory
            first = inventory.cards + 1
            for number, name in enumerate(units, first):
                unit = inventory.unit(name)
                if unit.revoked is not None:
                    raise ProvisionError(f"unit {name} was revoked; give its successor a new name")
                inventory = inventory.with_unit(msgspec.structs.replace(unit, code=number))
            cards = first + max(len(units), 1) - 1
            inventory = msgspec.structs.replace(inventory, cards=cards)
            write_inventory(self.folder / INVENTORY, inventory)
        return first

    def card_written(self, name: str, number: int) -> None:
        """The unit *name* has its card *number*: it was written, and read back."""
        with self.changing():
            inventory = self.inventory
            unit = inventory.unit(name)
            unit = msgspec.structs.replace(unit, card=max(unit.card, number))
            write_inventory(self.folder / INVENTORY, inventory.with_unit(unit))

    def revoke(self, name: str, now: datetime) -> UnitRecord:
        """Keep the unit *name* out for ever; the files in `broker/` say so when this returns."""
        with self.changing():
            inventory = self.inventory
            unit = inventory.unit(name)
            if unit.revoked is None:
                certificates = tuple(
                    msgspec.structs.replace(certificate, revoked=certificate.revoked or now)
                    for certificate in unit.certificates
                )
                unit = msgspec.structs.replace(unit, certificates=certificates, revoked=now)
                write_inventory(self.folder / INVENTORY, inventory.with_unit(unit))
            self._write_broker(now)
        return unit

    def write_broker(self, now: datetime) -> Path:
        """Write the files of broker and collector anew; gives the broker's folder.

        A certificate stays unless it is for another host or about to end.
        """
        with self.changing():
            self._write_broker(now)
        return self.folder / BROKER

    def dates(self, now: datetime) -> Iterator["EndDate"]:
        """When each thing ends, and whether that is an alarm by *now*."""
        broker = self.folder / BROKER
        for what, path in (
            ("authority", self.folder / AUTHORITY),
            ("broker's certificate", broker / mosquitto.CERTIFICATE_FILE),
            ("collector's certificate", self.folder / COLLECTOR_CERTIFICATE),
        ):
            end = _facts(path).not_after
            yield EndDate(what, end, (end - now).days < ALARM_DAYS)
        end = revocations_end(_read(broker / mosquitto.REVOCATIONS_FILE))
        yield EndDate("list of revocations", end, (end - now).days < ALARM_DAYS)
        alarm = self.settings.units.certificate_days * UNIT_ALARM_SHARE
        for unit in self.inventory.units:
            if unit.revoked is None and unit.certificate is not None:
                end = unit.certificate.not_after
                yield EndDate(f"unit {unit.id}", end, (end - now).days < alarm)

    def _authority(self) -> Authority:
        return Authority(_read(self.folder / AUTHORITY), _read(self.folder / AUTHORITY_KEY))

    def _write_broker(self, now: datetime) -> None:
        folder, units = self.folder / BROKER, self.inventory.units
        authority, host = self._authority(), self.settings.broker.host
        _renew(
            folder / mosquitto.CERTIFICATE_FILE,
            folder / mosquitto.KEY_FILE,
            host,
            now,
            lambda: authority.issue_server(host, now),
        )
        _renew(
            self.folder / COLLECTOR_CERTIFICATE,
            self.folder / COLLECTOR_KEY,
            "collector",
            now,
            lambda: authority.issue_client("collector", now, COLLECTOR_DAYS),
        )
        revoked = [
            (int(certificate.serial, 16), certificate.revoked)
            for unit in units
            for certificate in unit.certificates
            if certificate.revoked is not None
        ]
        _write(folder / mosquitto.AUTHORITY_FILE, _read(self.folder / AUTHORITY))
        _write(folder / mosquitto.REVOCATIONS_FILE, authority.revocations(revoked, now))
        rules = mosquitto.rules(unit.id for unit in units if unit.revoked is not None)
        _write(folder / mosquitto.RULES_FILE, rules.encode())
        text = mosquitto.configuration(self.settings)
        _write(folder / mosquitto.CONFIGURATION_FILE, text.encode())


@dataclass(frozen=True)
class EndDate:
    """When something ends."""

    what: str
    not_after: datetime
    alarm: bool


def make_deployment(folder: Path, settings: ProvisionSettings, now: datetime) -> Deployment:
    """Make a deployment in *folder*, which must be empty or missing.

    It is there whole or, after a crash, so that making it again says what to remove. Raises
    ProvisionError.
    """
    settings.check()
    with _explained(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ProvisionError(f"{folder} is not empty; a deployment begins in an empty folder")
        for name in ("authority", BASIS, BROKER, COLLECTOR, "tracing-desk", UNITS, UPDATES):
            (folder / name).mkdir(mode=0o700)
        _write(folder / SETTINGS, _settings_text(settings).encode())
        _write(folder / README, _readme(settings).encode())
        make_key_pair(folder / TRACING_PUBLIC, folder / TRACING_PRIVATE)
        open_signer(folder / SETUP_KEY)
        open_signer(folder / RECEIPT_KEY)
        public = base64.b64encode(open_signer(folder / BASIS_KEY).public_key)
        _write(folder / BASIS_PUBLIC, public + b"\n")
        make_key(folder / UPDATES_KEY, folder / UPDATES_PUBLIC, f"edge {settings.deployment.name}")
        write_register(folder / REGISTER, Register())
        write_inventory(folder / INVENTORY, Inventory())
        _, own = Authority.make(f"edge {settings.deployment.name}", now)
        _write_collector(folder, settings, own)
        # Its certificate makes a folder a deployment, so it comes last.
        assert own.key is not None
        _write(folder / AUTHORITY_KEY, own.key, secret=True)
        _write(folder / AUTHORITY, own.certificate)
    deployment = Deployment(folder)
    deployment.write_broker(now)
    return deployment


def utc_now() -> datetime:
    """The time, to a second."""
    return datetime.now(UTC).replace(microsecond=0)


def _renew(
    certificate: Path, key: Path, name: str, now: datetime, issue: Callable[[], Issued]
) -> None:
    if certificate.is_file():
        known = _facts(certificate)
        if known.name == name and known.days_left(now) >= ALARM_DAYS:
            return
    issued = issue()
    assert issued.key is not None
    # In this order: a key without its certificate is made again, and never the other way round.
    certificate.unlink(missing_ok=True)
    _write(key, issued.key, secret=True)
    _write(certificate, issued.certificate)


def _write_collector(folder: Path, settings: ProvisionSettings, authority: Issued) -> None:
    _write(folder / COLLECTOR / mosquitto.AUTHORITY_FILE, authority.certificate)
    broker = settings.broker
    text = f"""\
# Made by edge-provision for the deployment "{settings.deployment.name}". Goes to /etc/edge/ on
# the collector's machine, with the other files of this folder. Manual: config/collector.toml.
id = "collector"
receipt_key_file = "{Path(RECEIPT_KEY).name}"

[broker]
url = "mqtts://{_in_url(broker.host)}:{broker.port}"
ca_file = "{mosquitto.AUTHORITY_FILE}"
certificate_file = "collector.pem"
key_file = "collector.key"
"""
    _write(folder / COLLECTOR / "collector.toml", text.encode())


def broker_url(settings: ProvisionSettings) -> str:
    """Where units reach the broker."""
    return f"mqtts://{_in_url(settings.broker.host)}:{settings.broker.port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _settings_text(settings: ProvisionSettings) -> str:
    broker, units = settings.broker, settings.units
    return f"""\
# Settings of this deployment; config/provision.toml of edge-scanner is their manual.
# After a change: edge-provision broker, and new cards for the units that it concerns.

[deployment]
name = "{settings.deployment.name}"

[broker]
host = "{broker.host}"
port = {broker.port}
folder = "{broker.folder}"

[units]
area = "{units.area}"
longest_offline_days = {units.longest_offline_days}
certificate_days = {units.certificate_days}
"""


def _readme(settings: ProvisionSettings) -> str:
    text = resources.files("edge.provision").joinpath("deployment.md").read_text(encoding="utf-8")
    return text.format(name=settings.deployment.name, folder=settings.broker.folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have *folder* to ourselves. Raises ProvisionError if another process has it."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProvisionError(f"{folder}: another edge-provision is changing it; wait") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except EdgeError:
        raise
    except OSError as err:
        raise ProvisionError(f"{err.filename or folder}: {err.strerror}") from err


def _facts(path: Path) -> CertificateFacts:
    return facts(_read(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise ProvisionError(f"{path}: cannot read it: {err.strerror}") from err


def _write(path: Path, content: bytes, *, secret: bool = False) -> None:
    replace_file(path, [content], mode=0o600 if secret else 0o644)
