"""The folder of a deployment: made once, kept by the operator, taken apart by machine.

Everything that leaves this folder is a copy: `broker/` goes to the broker's machine, `collector/`
to the collector's, `enrolment/` to where units enrol, `tracing-desk/` to the tracing desk and
nowhere else. What is secret can be read by the owner alone, and each file is explained in the
README that lies beside it.
"""

import base64
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from itertools import zip_longest
from pathlib import Path

import msgspec

from edge import config
from edge.certificates import Authority, is_of_centre
from edge.errors import EdgeError, ProvisionError, RegisterError
from edge.provision.inventory import (
    Inventory,
    UnitRecord,
    read_inventory,
    write_inventory,
)
from edge.provision.layout import (
    AUTHORITY,
    AUTHORITY_KEY,
    BASIS,
    BASIS_KEY,
    BASIS_PUBLIC,
    BROKER,
    COLLECTOR,
    ENROLMENT,
    INVENTORY,
    README,
    RECEIPT_KEY,
    REGISTER,
    SETTINGS,
    SETUP_KEY,
    TRACING_PRIVATE,
    TRACING_PUBLIC,
    UNITS,
    UPDATES,
    UPDATES_KEY,
    UPDATES_PUBLIC,
)
from edge.provision.machines import write_file, write_machines
from edge.provision.openpgp import make_key
from edge.provision.settings import ProvisionSettings
from edge.register import Register, read_register, write_register
from edge.sealing import make_key_pair, open_signer

_LOCK = ".lock"


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

    @contextmanager
    def changing_inventory(self) -> Iterator["InventoryChange"]:
        """As `changing`; what was put into the inventory is kept if nothing was raised."""
        with self.changing():
            change = InventoryChange(self.inventory)
            yield change
            write_inventory(self.folder / INVENTORY, change.inventory)

    def put_places(self, register: Register) -> None:
        """Make *register* the register of this deployment."""
        with self.changing():
            write_register(self.folder / REGISTER, register)

    def add_units(
        self, rows: Iterable[Mapping[str, str]], where: Iterable[str] = ()
    ) -> list[UnitRecord]:
        """Take units in, all of them or none; those that are there already, the same, are left.

        Each of *rows* has id, place and direction; area, trip and hardware where they are given.
        *where* each stands, for errors. Raises ProvisionError or RegisterError.
        """
        register = self.register
        taken = []
        with self.changing_inventory() as change:
            for row, at in zip_longest(rows, where):
                try:
                    taken.append(self._add_unit(row, register, change))
                except (ProvisionError, RegisterError) as err:
                    if not at:
                        raise
                    raise ProvisionError(f"{at}: {err}") from None
        return taken

    def _add_unit(
        self, row: Mapping[str, str], register: Register, change: "InventoryChange"
    ) -> UnitRecord:
        unit = self._unit_from(row)
        register.place(unit.place)
        known = next((k for k in change.inventory.units if k.id == unit.id), None)
        if known is not None and known.on_its_card() != unit.on_its_card():
            raise ProvisionError(f"there is another unit {unit.id!r}; choose another name")
        change.put(known or unit)
        return known or unit

    def _unit_from(self, row: Mapping[str, str]) -> UnitRecord:
        name = row.get("id", "")
        if is_of_centre(name):
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
        with self.changing_inventory() as change:
            known = change.inventory.unit(name)
            if known.revoked is not None:
                raise ProvisionError(f"unit {name} was revoked; give its successor a new name")
            unit = self._unit_from(msgspec.to_builtins(known) | changes)
            change.put(unit)
        return unit

    def next_number(self, *units: str) -> int:
        """A number for a batch card, or for the first of the set-up codes of *units*, one each.

        Raises ProvisionError for a unit that there is not, or that was revoked.
        """
        with self.changing_inventory() as change:
            inventory = change.inventory
            first = inventory.cards + 1
            for number, name in enumerate(units, first):
                unit = inventory.unit(name)
                if unit.revoked is not None:
                    raise ProvisionError(f"unit {name} was revoked; give its successor a new name")
                inventory = inventory.with_unit(msgspec.structs.replace(unit, code=number))
            cards = first + max(len(units), 1) - 1
            change.inventory = msgspec.structs.replace(inventory, cards=cards)
        return first

    def card_written(self, name: str, number: int) -> None:
        """The unit *name* has its card *number*: it was written, and read back."""
        with self.changing_inventory() as change:
            unit = change.inventory.unit(name)
            change.put(msgspec.structs.replace(unit, card=max(unit.card, number)))

    def revoke(self, name: str, now: datetime, *, retired: bool = False) -> UnitRecord:
        """Keep the unit *name* out for ever; the files in `broker/` and `enrolment/` say so when
        this returns. *retired*: it was taken down."""
        with self.changing_inventory() as change:
            unit = change.inventory.unit(name)
            # Those that were issued before, and those that were heard of since.
            certificates = tuple(
                msgspec.structs.replace(certificate, revoked=certificate.revoked or now)
                for certificate in unit.certificates
            )
            unit = msgspec.structs.replace(
                unit,
                certificates=certificates,
                revoked=unit.revoked or now,
                retired=(unit.retired or now) if retired else unit.retired,
            )
            change.put(unit)
        self.write_broker(now)
        return unit

    def write_broker(self, now: datetime) -> Path:
        """Write the files of the centre's machines anew; gives the broker's folder.

        A certificate stays unless it is for another host or about to end.
        """
        with self.changing():
            write_machines(self.folder, self.settings, self.inventory.units, now)
        return self.folder / BROKER


class InventoryChange:
    """An inventory, while it is changed."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    def put(self, unit: UnitRecord) -> None:
        """Have *unit* in place of the one of its id."""
        self.inventory = self.inventory.with_unit(unit)


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
        for name in (
            "authority",
            BASIS,
            BROKER,
            COLLECTOR,
            ENROLMENT,
            "tracing-desk",
            UNITS,
            UPDATES,
        ):
            (folder / name).mkdir(mode=0o700)
        write_file(folder / SETTINGS, _settings_text(settings).encode())
        write_file(folder / README, _readme(settings).encode())
        make_key_pair(folder / TRACING_PUBLIC, folder / TRACING_PRIVATE)
        open_signer(folder / SETUP_KEY)
        open_signer(folder / RECEIPT_KEY)
        public = base64.b64encode(open_signer(folder / BASIS_KEY).public_key)
        write_file(folder / BASIS_PUBLIC, public + b"\n")
        make_key(folder / UPDATES_KEY, folder / UPDATES_PUBLIC, f"edge {settings.deployment.name}")
        write_register(folder / REGISTER, Register())
        write_inventory(folder / INVENTORY, Inventory())
        _, own = Authority.make(f"edge {settings.deployment.name}", now)
        # Its certificate makes a folder a deployment, so it comes last.
        assert own.key is not None
        write_file(folder / AUTHORITY_KEY, own.key, secret=True)
        write_file(folder / AUTHORITY, own.certificate)
    deployment = Deployment(folder)
    deployment.write_broker(now)
    return deployment


def utc_now() -> datetime:
    """The time, to a second."""
    return datetime.now(UTC).replace(microsecond=0)


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
collectors = {broker.collectors}

[enrolment]
host = "{settings.enrolment.host}"
port = {settings.enrolment.port}

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
