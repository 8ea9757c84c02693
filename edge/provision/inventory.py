"""The inventory of units: which there are, where they hang, which certificates they were given."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge.card import CardUnit
from edge.config import decode_file
from edge.errors import ConfigError, ProvisionError
from edge.files import replace_file
from edge.messages import Count

#: With its time zone: without one it cannot be compared with now.
Moment = Annotated[datetime, Meta(tz=True)]
Serial = Annotated[
    str,
    Meta(pattern=r"^[0-9a-f]{1,40}(?![\s\S])", description="up to 40 of 0-9, a-f"),
]

_MEND = "mend it, or take it from a backup"
#: What is told of a unit that is taken in; the first three must be.
UNIT_COLUMNS = ("id", "place", "direction", "area", "trip", "hardware")


class CertificateRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A certificate that was given out."""

    #: In hexadecimal digits.
    serial: Serial
    not_after: Moment
    revoked: Moment | None = None
    #: Of the token that it was given for, in hexadecimal digits; "" where it was renewed.
    nonce: str = ""
    #: The key that it is for, by its fingerprint; "" where that was not noted.
    key: str = ""


class UnitRecord(CardUnit, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One unit: what its card says of it, and what was given to it."""

    #: Oldest first.
    certificates: tuple[CertificateRecord, ...] = ()
    #: The number of its last card that was written and read back; 0 for none.
    card: Count = 0
    #: The number of its last set-up code that was made; 0 for none.
    code: Count = 0
    revoked: Moment | None = None
    #: Taken down for good, and empty; it is revoked with it.
    retired: Moment | None = None

    @property
    def certificate(self) -> CertificateRecord | None:
        """The newest that is known and counts; None while none does."""
        counting = (one for one in reversed(self.certificates) if one.revoked is None)
        return next(counting, None)

    def on_its_card(self) -> CardUnit:
        """What its card says of it."""
        return CardUnit(**{name: getattr(self, name) for name in CardUnit.__struct_fields__})


class Inventory(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All units of a deployment, in the order of their ids, as `in_order` has it."""

    v: Literal[1] = 1
    #: The number of the last card or set-up code that was made, written or not; none has it again,
    #: because units take no card with a lower number than their last.
    cards: Count = 0
    units: tuple[UnitRecord, ...] = ()

    def unit(self, name: str) -> UnitRecord:
        """The unit of that id. Raises ProvisionError if there is none."""
        for unit in self.units:
            if unit.id == name:
                return unit
        raise ProvisionError(
            f"there is no unit {name!r}; add it with: edge-provision unit add {name} --place ..."
        )

    def with_unit(self, unit: UnitRecord) -> "Inventory":
        """This inventory with *unit* in place of the one of its id."""
        merged = {known.id: known for known in self.units} | {unit.id: unit}
        units = tuple(merged[name] for name in sorted(merged, key=in_order))
        return msgspec.structs.replace(self, units=units)


def in_order(name: str) -> tuple[list[str | int], str]:
    """What to sort names by, so that cong-2 comes before cong-10, as its label does."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def read_inventory(path: Path) -> Inventory:
    """The inventory in *path*. Raises ProvisionError."""
    try:
        inventory = decode_file(path.read_bytes(), Inventory)
    except OSError as err:
        raise ProvisionError(f"{path}: cannot read the inventory: {err.strerror}") from err
    except ConfigError as err:
        raise ProvisionError(f"{path}: not an inventory of units: {err}; {_MEND}") from None
    ids = [unit.id for unit in inventory.units]
    if doubled := next((name for name in ids if ids.count(name) > 1), None):
        raise ProvisionError(f"{path}: unit {doubled} stands there twice; {_MEND}")
    return inventory


def write_inventory(path: Path, inventory: Inventory) -> None:
    """Replace *path* by *inventory*. Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(inventory), indent=2)
    replace_file(path, [text, b"\n"])
