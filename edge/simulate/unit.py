"""A simulated unit: what it has scanned, what of that is confirmed, and what its clock says.

Messages and seals are the real ones. The outbox is in memory: it is the centre that is tested, and
a unit that forgot could prove nothing.
"""

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice

import msgspec

from edge.clock import Moment, utc_text
from edge.identity import Identity
from edge.messages import Again, Confirmed, Direction, DocumentKind, Health, Scan, Status, check_of
from edge.sealing import Sealer

#: As a real unit: so many scans may wait for their confirmation, and then it sends no more.
WINDOW = 500
#: The oldest scan is sent again after so long without a confirmation, then ever more rarely. So is
#: each that was overtaken.
RESEND_S, RESEND_MAX_S = 5.0, 120.0
_FAMILY = ("NGUYỄN", "TRẦN", "LÊ", "PHẠM", "RƠ CHÂM", "KSOR", "SIU", "ĐINH")
_GIVEN = ("AN", "BÌNH", "CHI", "DŨNG", "H'LAN", "H'NGA", "MINH", "Y THUẬN")
_DOCUMENTS: tuple[DocumentKind, ...] = ("cccd", "cccd", "cccd", "can_cuoc", "bhyt", "qrqg")


@dataclass
class Pending:
    """A scan that is not confirmed yet."""

    scan: Scan
    made: float
    sent: float | None = None  #: on the present connection, the last time
    first_sent: float = 0.0
    overtaken: float | None = None  #: since when a scan is confirmed that was sent later
    patience_s: float = RESEND_S


@dataclass
class Wrong:
    """A clock that nothing has set until `known_at`, and by how much it is wrong until then."""

    by_s: float = 0.0
    known_at: float = 0.0


@dataclass
class SimulatedUnit:
    """One unit. Times are seconds since 1970."""

    name: str
    area: str
    place: str
    direction: Direction
    sealer: Sealer
    chance: random.Random
    booted_at: float
    wrong: Wrong = field(default_factory=Wrong)
    #: Its share of the fleet's scans, about 1.
    weight: float = 1.0
    made: int = 0
    confirmed: int = 0
    sent_again: int = 0
    pending: dict[int, Pending] = field(default_factory=dict)
    birth: int = 0

    def __post_init__(self) -> None:
        self.epoch = self.chance.randbytes(8).hex()
        self.boot = self.chance.randbytes(16).hex()
        self._next_to_send = 1
        self._resend_s, self._resend_at = RESEND_S, 0.0
        #: Longer than the window: a repeat may be confirmed in one range with its neighbours.
        self._ids: dict[int, str] = {}

    def scan(self, now: float) -> None:
        """Let somebody pass at *now*."""
        self.made += 1
        moment = self._moment(now)
        scan_id = self._ids[self.made] = self.chance.randbytes(16).hex()
        if len(self._ids) > len(self.pending) + 4 * WINDOW:
            del self._ids[next(iter(self._ids))]
        identity = Identity(
            pin=f"000{self.chance.randrange(10**9):09}",
            name=f"{self.chance.choice(_FAMILY)} {self.chance.choice(_GIVEN)}",
            birth_year=self.chance.randrange(1930, 2020),
        )
        self.pending[self.made] = Pending(
            Scan(
                id=scan_id,
                epoch=self.epoch,
                seq=self.made,
                place=self.place,
                direction=self.direction,
                document=self.chance.choice(_DOCUMENTS),
                key=self.sealer.key_id,
                sealed=self.sealer.seal(identity, scan_id),
                at=moment.at,
                boot=moment.boot,
                uptime_ms=moment.uptime_ms,
                clock=moment.clock,
            ),
            made=now,
        )

    def connected(self, now: float) -> None:
        """A new connection: the window begins again with the oldest scan."""
        self.birth += 1
        self._next_to_send = next(iter(self.pending), self.made + 1)
        self._resend_s, self._resend_at = RESEND_S, now + RESEND_S
        for waiting in self.pending.values():
            waiting.sent = waiting.overtaken = None

    def to_send(self, now: float, room: int) -> Iterator[Scan]:
        """Up to *room* scans that are to be sent now."""
        if not self.pending:
            return
        oldest = next(iter(self.pending))
        end = min(self.made, oldest + WINDOW - 1)
        while room > 0 and self._next_to_send <= end:
            waiting = self.pending.get(self._next_to_send)
            self._next_to_send += 1
            if waiting is not None:
                waiting.sent = waiting.first_sent = now
                room -= 1
                yield self._dated(waiting.scan, now)
        for number in islice(self._lost(now), max(0, room)):
            self.sent_again += 1
            waiting = self.pending[number]
            if waiting.overtaken is not None:
                waiting.patience_s = min(2 * waiting.patience_s, RESEND_MAX_S)
            waiting.sent, waiting.overtaken = now, None
            yield self._dated(waiting.scan, now)

    def _lost(self, now: float) -> Iterator[int]:
        """What was sent and is lost, as far as can be told; as a real unit tells it."""
        for number, waiting in self.pending.items():
            since = waiting.overtaken
            if since is not None and now - since >= waiting.patience_s:
                yield number
        if now >= self._resend_at:
            # Nothing was confirmed for a while. One copy of one scan asks whether anybody is there.
            self._resend_at = now + self._resend_s * self.chance.uniform(1, 1.5)
            self._resend_s = min(2 * self._resend_s, RESEND_MAX_S)
            number, waiting = next(iter(self.pending.items()))
            if waiting.sent is not None and now - waiting.sent >= RESEND_S:
                yield number

    def confirm(self, message: Confirmed, now: float) -> list[float]:
        """Forget what is confirmed of ours; gives how long each took, in seconds."""
        gone: list[Pending] = []
        if message.epoch != self.epoch:
            return []
        for part in message.ranges:
            if part.last > self.made:
                continue
            numbers = range(part.first, part.last + 1)
            ids = [self._ids[n] for n in numbers if n in self._ids]
            if len(ids) != len(numbers) or check_of(ids) != part.check:
                continue
            gone += [self.pending.pop(n) for n in numbers if n in self.pending]
        if gone:
            self.confirmed += len(gone)
            self._resend_s, self._resend_at = RESEND_S, now + RESEND_S
            self._note_overtaken(gone, now)
        return [now - waiting.made for waiting in gone]

    def _note_overtaken(self, gone: list[Pending], now: float) -> None:
        # Which copy was confirmed nobody says: one that is answered quickly is likely the last.
        sure = (
            waiting.sent if now - waiting.sent < RESEND_S else waiting.first_sent
            for waiting in gone
            if waiting.sent is not None
        )
        newest = max(sure, default=0.0)
        for waiting in self.pending.values():
            if waiting.sent is not None and waiting.sent < newest and waiting.overtaken is None:
                waiting.overtaken = now

    def asked(self, message: Again, now: float) -> Iterator[Scan]:
        """Those of the scans asked for that it still has."""
        for part in message.ranges if message.epoch == self.epoch else ():
            for number in range(part.first, min(part.last, self.made) + 1):
                if number in self.pending:
                    self.sent_again += 1
                    yield self._dated(self.pending[number].scan, now)

    def status(self, now: float, state: str = "online") -> Status:
        """What it says of itself."""
        return msgspec.convert(
            {
                "state": state,
                "birth": self.birth,
                "place": self.place,
                "direction": self.direction,
                "software": "simulated",
                "epoch": self.epoch,
                **asdict(self._moment(now)),
            },
            Status,
        )

    def health(self, now: float) -> Health:
        """Its counts."""
        oldest = min(self.pending, default=None)
        return msgspec.convert(
            {
                "frames": self.made * 40,
                "accepted": self.made,
                "repeated": 0,
                "refused": {},
                "not_kept": 0,
                "pending": len(self.pending),
                "pending_bytes": len(self.pending) * 900,
                "oldest": None if oldest is None else self.pending[oldest].scan.at,
                "decode_ms_p50": 4.0,
                "decode_ms_p95": 18.0,
                **asdict(self._moment(now)),
            },
            Health,
        )

    def _moment(self, now: float) -> Moment:
        known = now >= self.wrong.known_at
        return Moment(
            at=utc_text(now if known else now - self.wrong.by_s),
            boot=self.boot,
            uptime_ms=round((now - self.booted_at) * 1000),
            clock="ntp" if known else "none",
        )

    def _dated(self, scan: Scan, now: float) -> Scan:
        """*scan* as it is sent: with its right time, if that is known by now."""
        if scan.clock != "none" or now < self.wrong.known_at:
            return scan
        return msgspec.structs.replace(
            scan, corrected=utc_text(self.booted_at + scan.uptime_ms / 1000)
        )
