"""Scans carried by hand: a bundle that a unit writes for a USB stick, and the receipt it gets back.

A bundle is lines of JSON: a header, one scan message a line, and a trailer with the SHA-256 of all
before it, signed with the unit's own key. What identifies a person in it is sealed, as everywhere.

    edge-<unit>-<epoch>-<first>-<last>.edgebundle            from the unit
    edge-<unit>-<epoch>-<first>-<last>.edgebundle.receipt    back to it

The centre believes nothing of a bundle before it has seen all of it, reads it once into a file of
its own, and takes no name or path from it. A receipt holds the confirmations that a broker would
have carried, signed with the centre's key: whoever finds a bundle knows the ids in it, and so could
write the checks of a receipt for scans that are stored nowhere. A unit believes a receipt of its
own centre alone, and each confirmation in it only where the check fits the unit's own scans.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from msgspec import Meta

from edge.clock import Clock
from edge.errors import BadMessage, BundleError, EdgeError
from edge.files import move_file, replace_file, write_new
from edge.messages import (
    MAX_MESSAGE_BYTES,
    Confirmed,
    ConfirmedRange,
    Count,
    Hex16,
    Message,
    Name,
    Scan,
    Signature,
    Utc,
    check_of,
)
from edge.sealing import Signer, Verifier

SUFFIX = ".edgebundle"
RECEIPT_SUFFIX = ".receipt"

#: A range of a receipt holds no more scans than this: where the network has brought some of them
#: meanwhile, the unit cannot check the range, and forgets those by the network instead.
RECEIPT_RANGE = 100
#: As the contract bounds a confirmation.
_RANGES_A_LINE = 500
#: A receipt of ten million scans; nobody needs to read a larger one.
_RECEIPT_BYTES = 16_000_000

_PURPOSE = b"edge bundle, version 1\n"
_RECEIPT_PURPOSE = b"edge receipt, version 1\n"
_COPY_AGAIN = "copy it again, or export it again on the unit"

Sha256 = Annotated[bytes, Meta(min_length=32, max_length=32)]


class BundleHeader(Message, frozen=True, kw_only=True):
    """The first line of a bundle: whose scans these are."""

    v: Literal[1] = 1
    kind: Literal["edge-bundle"] = "edge-bundle"
    area: Name
    unit: Name
    epoch: Hex16
    made: Utc
    #: The unit's public key, by which its signature is verified.
    key: Annotated[bytes, Meta(min_length=32, max_length=32)]


class BundleTrailer(Message, frozen=True, kw_only=True):
    """The last line of a bundle."""

    v: Literal[1] = 1
    count: Count
    #: Of every byte before this line.
    sha256: Sha256
    signature: Signature


class ReceiptHeader(Message, frozen=True, kw_only=True):
    """The first line of a receipt: whom it is for. Confirmations follow."""

    v: Literal[1] = 1
    kind: Literal["edge-receipt"] = "edge-receipt"
    area: Name
    unit: Name
    epoch: Hex16


class ReceiptTrailer(Message, frozen=True, kw_only=True):
    """The last line of a receipt."""

    v: Literal[1] = 1
    #: Of every byte before this line: against a stick that fails.
    sha256: Sha256
    #: By the centre's key: against a person.
    signature: Signature


def write_bundle(
    folder: Path,
    area: str,
    unit: str,
    epoch: str,
    scans: Iterable[Scan],
    key: Signer,
    clock: Clock,
) -> Path:
    """Write *scans*, in the order of their numbers, into a bundle in *folder*; gives its path.

    It is on the stick when this returns. Whatever the number of scans, few are in memory at a time.
    Raises BundleError.
    """
    header = BundleHeader(
        area=area, unit=unit, epoch=epoch, made=clock.now().at, key=key.public_key
    )
    writing = folder / f"edge-{unit}-{epoch}{SUFFIX}.new"
    numbers: list[int] = []

    def lines() -> Iterator[bytes]:
        digest, count = hashlib.sha256(), 0
        for message in _messages(header, scans):
            if isinstance(message, Scan):
                count += 1
                numbers[:] = [numbers[0] if numbers else message.seq, message.seq]
            line = message.encode() + b"\n"
            digest.update(line)
            yield line
        if not count:
            raise BundleError(f"{folder}: no scans wait here, so there is nothing to carry")
        signature = key.sign(_PURPOSE + digest.digest())
        trailer = BundleTrailer(count=count, sha256=digest.digest(), signature=signature)
        yield trailer.encode() + b"\n"

    try:
        write_new(writing, lines(), mode=0o644)
        path = folder / f"edge-{unit}-{epoch}-{numbers[0]}-{numbers[1]}{SUFFIX}"
        move_file(writing, path)
    except EdgeError:
        raise
    except OSError as err:
        raise BundleError(f"{folder}: cannot write the bundle: {err.strerror or err}") from err
    return path


class Bundle:
    """A bundle that has been verified, as a rule in a file that nobody else can change."""

    def __init__(self, copy: BinaryIO, header: BundleHeader, count: int) -> None:
        self._copy = copy
        self.header = header
        self.count = count

    def scans(self) -> Iterator[Scan]:
        """Its scans, in the order of their numbers."""
        self._copy.seek(0)
        self._copy.readline()
        for _ in range(self.count):
            yield Scan.decode(self._copy.readline())


@contextmanager
def read_bundle(path: Path, scratch: Path) -> Iterator[Bundle]:
    """Verify all of *path*; its copy is in the folder *scratch*, without a name, while in use.

    Raises BundleError, in words for whoever holds the stick, for whatever is not a whole bundle
    signed with the key that it names. Whether that key is the unit's is for the caller to know.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_opened(path))
            copy = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            header, count = _verify(path, file, copy)
        except OSError as err:
            why = err.strerror or err
            raise BundleError(f"{path}: cannot be read, or copied into {scratch}: {why}") from err
        file.close()
        yield Bundle(copy, header, count)


@contextmanager
def bundle_in_place(path: Path) -> Iterator[Bundle]:
    """Verify all of *path* where it lies, as `read_bundle` does, without a copy of our own.

    Only where it does no harm if somebody changes the file meanwhile. Raises BundleError.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_opened(path))
            nowhere = stack.enter_context(open(os.devnull, "wb"))
            header, count = _verify(path, file, nowhere)
        except OSError as err:
            raise BundleError(f"{path}: cannot be read: {err.strerror or err}") from err
        yield Bundle(file, header, count)


def receipt_ranges(scans: Iterable[Scan]) -> Iterator[ConfirmedRange]:
    """The ranges that confirm *scans*, which come in the order of their numbers."""
    run: list[Scan] = []
    for scan in scans:
        if run and (scan.seq != run[-1].seq + 1 or len(run) == RECEIPT_RANGE):
            yield _confirmed(run)
            run = []
        run.append(scan)
    if run:
        yield _confirmed(run)


def write_receipt(
    bundle: Path, header: BundleHeader, ranges: Iterable[ConfirmedRange], key: Signer
) -> Path:
    """Write the receipt for *bundle*, signed with the centre's *key*, beside it; gives its path.

    Raises BundleError.
    """
    path = bundle.with_name(bundle.name + RECEIPT_SUFFIX)

    def lines() -> Iterator[bytes]:
        digest = hashlib.sha256()
        for message in _receipt(header, ranges):
            line = message.encode() + b"\n"
            digest.update(line)
            yield line
        signature = key.sign(_RECEIPT_PURPOSE + digest.digest())
        yield ReceiptTrailer(sha256=digest.digest(), signature=signature).encode() + b"\n"

    try:
        replace_file(path, lines(), mode=0o644)
    except OSError as err:
        raise BundleError(
            f"{path}: the scans are stored, but the receipt cannot be written:"
            f" {err.strerror or err}; import the bundle again from a stick with room"
        ) from err
    return path


def read_receipt(path: Path, unit: str, centre: Verifier) -> list[Confirmed]:
    """The confirmations for *unit* in *path*.

    Raises BundleError if it is damaged, another unit's, or not signed by the *centre*. Believe a
    range only where its check fits your own scans: see `check_of`.
    """
    try:
        with _opened(path) as file:
            if os.fstat(file.fileno()).st_size > _RECEIPT_BYTES:
                raise BundleError(f"{path}: too large for a receipt")
            return _confirmations(path, file, unit, centre)
    except OSError as err:
        raise BundleError(f"{path}: cannot be read: {err.strerror or err}") from err


def _messages(header: BundleHeader, scans: Iterable[Scan]) -> Iterator[Message]:
    yield header
    yield from scans


def _receipt(header: BundleHeader, ranges: Iterable[ConfirmedRange]) -> Iterator[Message]:
    yield ReceiptHeader(area=header.area, unit=header.unit, epoch=header.epoch)
    line: list[ConfirmedRange] = []
    for confirmed in ranges:
        line.append(confirmed)
        if len(line) == _RANGES_A_LINE:
            yield Confirmed(epoch=header.epoch, ranges=tuple(line))
            line = []
    if line:
        yield Confirmed(epoch=header.epoch, ranges=tuple(line))


def _confirmed(run: list[Scan]) -> ConfirmedRange:
    return ConfirmedRange(run[0].seq, run[-1].seq, check_of(scan.id for scan in run))


def _verify(path: Path, file: BinaryIO, copy: BinaryIO) -> tuple[BundleHeader, int]:
    """Copy *file* into *copy*, and give its header and the number of its scans if all is well."""
    lines = _lines(path, file)
    digest = hashlib.sha256()
    held = next(lines, b"")
    header = _header(path, held)
    number, count, last_seq = 1, 0, 0
    # The last line is the trailer, and which is the last is known only when there is no other.
    for line in lines:
        digest.update(held)
        copy.write(held)
        if number > 1:
            count, last_seq = count + 1, _seq_in(path, number, held, header, last_seq)
        held, number = line, number + 1
    try:
        trailer = BundleTrailer.decode(held)
    except BadMessage:
        raise BundleError(f"{path}: its end is missing; {_COPY_AGAIN}") from None
    if (trailer.sha256, trailer.count) != (digest.digest(), count):
        raise BundleError(f"{path}: it is damaged; {_COPY_AGAIN}")
    if not Verifier(header.key).verifies(_PURPOSE + trailer.sha256, trailer.signature):
        raise BundleError(
            f"{path}: it was not signed by the unit that it names; nothing of it is believed"
        )
    return header, count


def _header(path: Path, line: bytes) -> BundleHeader:
    try:
        return BundleHeader.decode(line)
    except BadMessage as err:
        what = str(err) if "version " in str(err) else "not a bundle of scans"
        raise BundleError(f"{path}: {what}; name a file that ends in {SUFFIX}") from None


def _seq_in(path: Path, number: int, line: bytes, header: BundleHeader, last_seq: int) -> int:
    """The number of the scan in *line*, if it belongs here."""
    try:
        scan = Scan.decode(line)
    except BadMessage as err:
        raise BundleError(f"{path}: line {number} is damaged ({err}); {_COPY_AGAIN}") from None
    if scan.epoch != header.epoch or scan.seq <= last_seq:
        raise BundleError(f"{path}: line {number} does not belong there; {_COPY_AGAIN}")
    return scan.seq


def _confirmations(path: Path, file: BinaryIO, unit: str, centre: Verifier) -> list[Confirmed]:
    *lines, last = [*_lines(path, file)] or [b""]
    try:
        header = ReceiptHeader.decode(lines[0] if lines else last)
        messages = [Confirmed.decode(line) for line in lines[1:]]
        trailer = ReceiptTrailer.decode(last)
    except BadMessage as err:
        raise BundleError(f"{path}: not a whole receipt ({err})") from None
    if trailer.sha256 != hashlib.sha256(b"".join(lines)).digest():
        raise BundleError(f"{path}: the receipt is damaged; import the bundle again")
    if not centre.verifies(_RECEIPT_PURPOSE + trailer.sha256, trailer.signature):
        raise BundleError(
            f"{path}: not signed by this unit's centre, so nothing is forgotten; if the centre has"
            " a new key, give the unit its public part (edge-collector key)"
        )
    if header.unit != unit:
        raise BundleError(f"{path}: a receipt for {header.unit}; this unit is {unit}")
    return [message for message in messages if message.epoch == header.epoch]


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The lines of *file*, each whole and no longer than a message may be."""
    while line := file.readline(MAX_MESSAGE_BYTES + 1):
        if not line.endswith(b"\n"):
            too_long = len(line) > MAX_MESSAGE_BYTES
            what = "a line is too long to be ours" if too_long else "its end is missing"
            raise BundleError(f"{path}: {what}; {_COPY_AGAIN}")
        yield line


def _opened(path: Path) -> BinaryIO:
    # Without O_NONBLOCK, a pipe that stands under that name would keep us waiting for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        with suppress(OSError):
            os.close(fd)
        raise BundleError(f"{path}: not a file; name the bundle itself")
    return open(fd, "rb")
