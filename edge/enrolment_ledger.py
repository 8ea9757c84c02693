"""The ledger of certificates that were issued to units: it can only grow, and is on disk first.

A hash-chained record (edge.chain) at the machine that issues. Out of it comes that a token works
once, and that a unit that did not hear its answer gets the same again. `edge-provision issued`
takes a copy of it in, so that a revoked unit's certificates are all known.
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

_ISSUED = "issued"


class IssuedRecord(Struct, frozen=True, kw_only=True):
    """A certificate that was issued."""

    unit: Name
    #: In hexadecimal digits.
    serial: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}(?![\s\S])")]
    not_after: datetime
    #: The key it is for: see `fingerprint`.
    key: str
    #: Of the token, in hexadecimal digits; "" where it was renewed.
    nonce: str = ""
    #: PEM, and behind it the issuing authority's.
    certificate: str


def fingerprint(pem: bytes) -> str:
    """A name for the key in *pem*: a certificate, a request or a private key."""
    return hashlib.sha256(key_of(pem)).hexdigest()


def read_issued(path: Path) -> Iterator[IssuedRecord]:
    """What the ledger in *path* has, oldest first. Raises ChainError, EnrolmentError."""
    for entry in entries(path):
        if entry.what != _ISSUED:
            continue
        try:
            yield msgspec.convert(entry.facts, IssuedRecord)
        except msgspec.ValidationError as err:
            raise EnrolmentError(f"{path}: line {entry.n} is not of this ledger: {err}") from None


class Ledger:
    """An open ledger. One process has it; not for use by two threads."""

    def __init__(self, path: Path) -> None:
        """Open the one in *path*, or begin it. Raises EnrolmentError, ChainError."""
        self._chain = Chain(path)
        self._lock = _lock(path)
        self._newest: dict[str, IssuedRecord] = {}
        self._used: dict[str, tuple[str, str]] = {}
        self._serials: dict[str, list[str]] = {}
        for record in read_issued(path):
            self._know(record)

    def newest(self, unit: str) -> IssuedRecord | None:
        """What *unit* was given last."""
        return self._newest.get(unit)

    def is_replaced(self, unit: str, serial: str) -> bool:
        """Whether the certificate *serial* of *unit* was given here, and two or more after it.

        One after it may be on trial at the unit still, or its answer was lost.
        """
        return serial in self._serials.get(unit, [])[:-2]

    def used_by(self, nonce: str) -> tuple[str, str] | None:
        """Unit and key for which the token with that *nonce* was used; None if it was not."""
        return self._used.get(nonce)

    def add(self, record: IssuedRecord, now: datetime) -> None:
        """Keep *record*, on disk when this returns. Raises ChainError; it is not kept then."""
        facts = msgspec.to_builtins(record)
        self._chain.append(utc_text(now.timestamp()), _ISSUED, facts)
        self._know(record)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)

    def _know(self, record: IssuedRecord) -> None:
        self._newest[record.unit] = record
        self._serials.setdefault(record.unit, []).append(record.serial)
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
