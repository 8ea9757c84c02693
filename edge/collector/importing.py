"""`edge-collector import`: stores scans that were carried by hand, and gives back a receipt."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from edge.bundle import Bundle, read_bundle, receipt_ranges, write_receipt
from edge.clock import Clock
from edge.collector.signers import Signers
from edge.errors import BundleError
from edge.messages import Scan
from edge.sealing import key_id
from edge.storage.rows import UnitScans
from edge.storage.storage import Storage


@dataclass(frozen=True)
class Imported:
    """What became of a bundle."""

    bundle: str
    unit: str
    scans: int
    new: int
    receipt: str
    #: By which key it was signed; `is_first_key` if none was known of this unit before.
    key: str
    is_first_key: bool

    def line(self) -> str:
        """For a person."""
        known = ", the first key of this unit" if self.is_first_key else ""
        return (
            f"{self.bundle}: {self.scans} scans of {self.unit}, {self.new} new,"
            f" {self.scans - self.new} repeats; signed with key {self.key}{known};"
            f" take {self.receipt} back to the unit"
        )


def import_bundle(
    path: Path,
    storage: Storage,
    clock: Clock,
    *,
    scratch: Path,
    signers: Signers,
    batch_scans: int = 500,
    accept_new_key: bool = False,
) -> Imported:
    """Store the bundle *path* and write its receipt, signed by the centre, beside it.

    Importing again is harmless.

    Raises BundleError, having stored nothing of it, for one that is damaged, or signed with another
    key than the unit's earlier ones. Only when the receipt cannot be written are its scans stored.
    """
    with read_bundle(path, scratch) as bundle:
        is_first_key = _check_key(path, bundle, storage, accept_new_key)
        new = 0
        scans = bundle.scans()
        while batch := list(islice(scans, batch_scans)):
            new += _store(batch, bundle, storage, clock)
        # Committed. The receipt is made of what is rows now.
        key = signers.of(bundle.header.unit)
        receipt = write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), key)
        return Imported(
            bundle=str(path),
            unit=bundle.header.unit,
            scans=bundle.count,
            new=new,
            receipt=str(receipt),
            key=key_id(bundle.header.key),
            is_first_key=is_first_key,
        )


def _check_key(path: Path, bundle: Bundle, storage: Storage, accept_new_key: bool) -> bool:
    """Keep the key of a unit's first bundle; any other key must be accepted by a person."""
    header = bundle.header
    known = storage.unit_key(header.unit)
    if known == header.key:
        return False
    if known is not None and not accept_new_key:
        raise BundleError(
            f"{path}: signed with key {key_id(header.key)}, but {header.unit} has key"
            f" {key_id(known)}; if that unit was set up anew, import with --accept-new-key"
        )
    storage.keep_unit_key(header.area, header.unit, header.key)
    return known is None


def _store(batch: list[Scan], bundle: Bundle, storage: Storage, clock: Clock) -> int:
    header = bundle.header
    came = [UnitScans(header.area, header.unit, batch)]
    return storage.store(came, clock.now().at, by_hand=True)
