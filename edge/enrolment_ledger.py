"""The ledger of certificates that were issued to units: it can only grow, and is on disk first.

A hash-chained record (edge.chain) at the machine that issues. Out of it comes that a token works
once, that a unit that did not hear its answer gets the same again, and which certificates have been
replaced: by one that its unit has used at the broker. `edge-provision issued` takes a copy of it
in, so that a revoked unit's certificates are all known, and so are those that were replaced.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edge.certificates import key_of
from edge.chain import Chain, entries
from edge.clock import utc_text
from edge.errors import EnrolmentError
from edge.messages import Name

_ISSUED, _WORKED = "issued", "worked"
#: In hexadecimal digits.
Serial = Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}(?![\s\S])")]


class IssuedRecord(Struct, frozen=True, kw_only=True):
    """A certificate that was issued."""

    unit: Name
    serial: Serial
    not_after: datetime
    #: Of the one that was shown for it; "" where a token was.
    by: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,40}(?![\s\S])")] = ""
    #: The key it is for: see `fingerprint`.
    key: str
    #: Of the token, in hexadecimal digits; "" where it was renewed.
    nonce: str = ""
    #: PEM, and behind it the issuing authority's.
    certificate: str


class WorkedRecord(Struct, frozen=True, kw_only=True):
    """A certificate that its unit has used at the broker: it takes the place of all before it."""

    unit: Name
    serial: Serial
    not_after: datetime


class Lineage:
    """The certificates of one unit: which came of which, and which of them still count."""

    def __init__(self) -> None:
        self.worked: WorkedRecord | None = None
        self._given: list[str] = []
        #: By the serial number of each, that of the one that was shown for it.
        self._by: dict[str, str] = {}
        #: That which works, and all that were given since.
        self._heirs: set[str] = set()

    def gave(self, record: IssuedRecord) -> None:
        """The unit was given one more."""
        self._given.append(record.serial)
        self._by[record.serial] = record.by
        if record.by:
            # One that was signed by hand stands nowhere else.
            self._by.setdefault(record.by, "")
        if self.worked is not None:
            self._heirs.add(record.serial)

    def works(self, record: WorkedRecord) -> None:
        """The unit uses this one."""
        self.worked = record
        self._by.setdefault(record.serial, "")
        self._heirs = {record.serial}

    def counts(self, serial: str, not_after: datetime) -> bool:
        """Whether the certificate of that *serial* and end still renews.

        Of those that came after the one that works each does: the newest may be on trial at the
        unit, or its answer was lost. Where none has worked yet, the last two. One that was signed
        by hand is known by nothing but its end.
        """
        if self.worked is None:
            return serial not in self._given[:-2]
        if serial in self._by:
            return serial in self._heirs
        return not_after > self.worked.not_after

    @property
    def replaced(self) -> set[str]:
        """The serial numbers of those that another, which works, has taken the place of."""
        return set() if self.worked is None else self._by.keys() - self._heirs

    def beside(self, serial: str) -> set[str]:
        """Those that were given since the last one worked, and on which that of *serial* does not
        rest: they were given to somebody else, or lost on their way."""
        own, at = {serial}, serial
        while at := self._by.get(at, ""):
            own.add(at)
        before = {self.worked.serial} if self.worked is not None else set()
        return self._heirs - own - before


def fingerprint(pem: bytes) -> str:
    """A name for the key in *pem*: a certificate, a request or a private key."""
    return hashlib.sha256(key_of(pem)).hexdigest()


def read_issued(path: Path) -> Iterator[IssuedRecord]:
    """What the ledger in *path* has, oldest first. Raises ChainError, EnrolmentError."""
    for record in read_ledger(path):
        if isinstance(record, IssuedRecord):
            yield record


def read_ledger(path: Path) -> Iterator[IssuedRecord | WorkedRecord]:
    """All that the ledger in *path* has, oldest first. Raises ChainError, EnrolmentError."""
    kinds: dict[str, type[IssuedRecord | WorkedRecord]] = {
        _ISSUED: IssuedRecord,
        _WORKED: WorkedRecord,
    }
    for entry in entries(path):
        kind = kinds.get(entry.what)
        if kind is None:
            continue
        try:
            yield msgspec.convert(entry.facts, kind)
        except msgspec.ValidationError as err:
            raise EnrolmentError(f"{path}: line {entry.n} is not of this ledger: {err}") from None


def read_lineages(path: Path) -> dict[str, Lineage]:
    """What the ledger in *path* has of each unit. Raises ChainError, EnrolmentError."""
    found: dict[str, Lineage] = {}
    for record in read_ledger(path):
        _know(found, record)
    return found


def _know(lineages: dict[str, Lineage], record: IssuedRecord | WorkedRecord) -> None:
    lineage = lineages.setdefault(record.unit, Lineage())
    if isinstance(record, IssuedRecord):
        lineage.gave(record)
    else:
        lineage.works(record)


class Ledger:
    """An open ledger. One process has it; not for use by two threads."""

    def __init__(self, path: Path) -> None:
        """Open the one in *path*, or begin it. Raises EnrolmentError, ChainError."""
        self._chain = Chain(path)
        self._lock = _lock(path)
        self._newest: dict[str, IssuedRecord] = {}
        self._used: dict[str, tuple[str, str]] = {}
        self._lineages: dict[str, Lineage] = {}
        for record in read_ledger(path):
            self._know(record)

    def newest(self, unit: str) -> IssuedRecord | None:
        """What *unit* was given last."""
        return self._newest.get(unit)

    def lineage(self, unit: str) -> Lineage:
        """The certificates of *unit*."""
        return self._lineages.get(unit, Lineage())

    def used_by(self, nonce: str) -> tuple[str, str] | None:
        """Unit and key for which the token with that *nonce* was used; None if it was not."""
        return self._used.get(nonce)

    def add(self, record: IssuedRecord | WorkedRecord, now: datetime) -> None:
        """Keep *record*, on disk when this returns. Raises ChainError; it is not kept then."""
        what = _ISSUED if isinstance(record, IssuedRecord) else _WORKED
        self._chain.append(utc_text(now.timestamp()), what, msgspec.to_builtins(record))
        self._know(record)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)

    def _know(self, record: IssuedRecord | WorkedRecord) -> None:
        _know(self._lineages, record)
        if isinstance(record, WorkedRecord):
            return
        self._newest[record.unit] = record
        if record.nonce:
            self._used[record.nonce] = (record.unit, record.key)


def _lock(path: Path) -> int:
    beside = path.with_name(path.name + ".lock")
    try:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise EnrolmentError(f"{beside}: cannot open it: {err.strerror}") from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise EnrolmentError(f"{path}: another edge-enrol has this ledger; stop it") from None
    return handle
