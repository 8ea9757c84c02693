"""Opens sealed scans as they arrive in storage and takes them into the index, in batches.

What is opened is in memory for a moment: tokens are computed, and the rest is dropped. Nothing of a
person is logged; what cannot be used is counted by unit and reason.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from edge.clock import Moment, utc_seconds
from edge.errors import EdgeError, SealError
from edge.legal_basis import LegalBasis, why_not
from edge.messages import DocumentKind
from edge.tracing.index import BASES, KEYS, Index
from edge.tracing.keys import KeyRing
from edge.tracing.persons import Opened
from edge.tracing.tokens import Tokens
from edge.tracing.visits import Direction, Quality, Sighting

log = logging.getLogger(__name__)

_DIRECTIONS = {"in": Direction.IN, "out": Direction.OUT, "both": Direction.BOTH}
_QUALITIES = {
    "synced": Quality.SYNCED,
    "corrected": Quality.CORRECTED,
    "unsynced": Quality.UNSYNCED,
}

#: Why a scan was not taken into the index.
NO_IDENTITY = "without an identity"
NO_KEY = "sealed to a key that the desk does not have"
NOT_OPENED = "its seal does not open"
NO_IDENTIFIER = "neither number nor name"
NO_BASIS = "outside the legal basis"
NO_TIME = "its time cannot be read"


class FedScan(Protocol):
    """A scan as storage feeds it."""

    @property
    def position(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def trip(self) -> str: ...
    @property
    def document(self) -> str: ...
    @property
    def time(self) -> str: ...
    @property
    def time_quality(self) -> str: ...
    @property
    def received(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def sealed(self) -> bytes: ...


Feed = Callable[[int, int], Sequence[FedScan]]
Bases = Callable[[], Sequence[LegalBasis] | None]


class Unusable(EdgeError):
    """A scan that does not go into the index; the text says why, and nothing of whom."""


class Indexer:
    """From storage into the index."""

    def __init__(
        self,
        feed: Feed,
        index: Index,
        keys: KeyRing,
        tokens: Tokens,
        bases: Bases,
        *,
        newest: Callable[[], int],
        batch_scans: int,
    ) -> None:
        """*feed* gives scans after a position; none has one above *newest*, which only grows.

        *bases*: None where no legal basis is asked for.
        """
        self._feed = feed
        self._newest = newest
        self._index = index
        self._keys = keys
        self._tokens = tokens
        self._bases = bases
        self._batch_scans = batch_scans
        self._position: int | None = None

    def step(self) -> int:
        """Take in one batch; gives how many scans it had. Raises StorageError."""
        if self._position is None:
            self._position = self._begin()
        scans = self._feed(self._position, self._batch_scans)
        if not scans:
            if self._newest() < self._position:
                log.warning("storage is older than the index, as from a backup: beginning anew")
                self._index.begin_anew()
                self._position = 0
            return 0
        bases = self._bases()
        opened: list[Opened] = []
        unused: list[tuple[str, str, str]] = []
        for scan in scans:
            try:
                opened.append(self.open(scan, bases))
            except Unusable as err:
                unused.append((str(err), scan.unit, scan.received[:10]))
        self._index.add(opened, str(scans[-1].position), unused)
        self._position = scans[-1].position
        if unused:
            log.warning("%d of %d scans could not be used", len(unused), len(scans))
        return len(scans)

    def look_again(self) -> None:
        """Begin anew if a legal basis has come for which scans were left out; now and then.

        A document may reach the desk later than the units that collect by it. Raises StorageError.
        """
        bases = [hashlib.sha256(basis.encode()).hexdigest() for basis in self._bases() or ()]
        if self._index.know(BASES, bases, NO_BASIS):
            log.info("a legal basis is new here: opening what could not be opened without it")
            self._position = 0

    def _begin(self) -> int:
        """Where to go on in storage."""
        if self._index.know(KEYS, self._keys.ids, NO_KEY):
            log.info("a key is new here: opening what could not be opened without it")
        self.look_again()
        return int(self._index.position() or 0)

    def open(self, scan: FedScan, bases: Sequence[LegalBasis] | None) -> Opened:
        """What the index keeps of *scan*. Raises Unusable."""
        if bases is not None:
            # Storage knows the time by now, or the quality says that nobody does.
            clock = "none" if scan.time_quality == "unsynced" else "ntp"
            moment = Moment(at=scan.time, boot="", uptime_ms=0, clock=clock)  # type: ignore[arg-type]
            if why_not(bases, scan.place, moment):
                raise Unusable(NO_BASIS)
        if not scan.sealed:
            raise Unusable(NO_IDENTITY)
        if not self._keys.has(scan.key):
            raise Unusable(NO_KEY)
        try:
            identity = self._keys.open(scan.key, scan.sealed, scan.id)
        except SealError:
            raise Unusable(NOT_OPENED) from None
        try:
            sighting = _sighting(scan)
        except ValueError:
            raise Unusable(NO_TIME) from None
        tokens, namesake = self._tokens.of(identity), self._tokens.of_name(identity)
        if not tokens and namesake is None:
            raise Unusable(NO_IDENTIFIER)
        document: DocumentKind = scan.document  # type: ignore[assignment]
        return Opened(tokens, namesake, scan.unit, document, sighting)


def _sighting(scan: FedScan) -> Sighting:
    return Sighting(
        round(utc_seconds(scan.time) * 1000),
        scan.place,
        _DIRECTIONS[scan.direction],
        scan.trip,
        _QUALITIES[scan.time_quality],
        round(utc_seconds(scan.received) * 1000),
        bytes.fromhex(scan.id),
    )
