"""The collector's work: a batch of scans, one transaction, then acknowledge, then confirm.

The order is the guarantee. A scan is acknowledged to the broker and confirmed to its unit only when
it is a committed row; when we die in between, it comes again and finds itself stored. A message
that cannot be read is set aside alone, with its reason, and is never confirmed. What stays missing
is asked for.
"""

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import attrgetter
from threading import Event

from edge.clock import Clock, utc_seconds
from edge.collector.asking import Asker
from edge.collector.commanding import Commander
from edge.collector.signers import Signers
from edge.errors import BadMessage, BadTopic
from edge.messages import Answer, Confirmed, ConfirmedRange, Health, Status, check_of, read_scans
from edge.mqtt import Connection, Received
from edge.sealing import Signer
from edge.sessions import Sessions
from edge.signed import sign_confirmed
from edge.storage.control import Control
from edge.storage.prepared import Prepared
from edge.storage.rows import Report, SetAside, UnitScans
from edge.storage.storage import Storage
from edge.topics import parse, topic

log = logging.getLogger(__name__)

#: No more ranges than this in one confirmation, however scattered a unit's scans arrive.
RANGES_A_MESSAGE = 500
#: A batch of more messages would leave a broker's window, 1,000 as a rule, too small for the next.
BATCH_MESSAGES = 500
#: With nothing more coming in for this long, a batch is not held back for its full wait.
QUIET_S = 0.004
#: While units change to a new key of the centre, so often is looked which of them have.
KEYS_S = 15.0

_EPOCH, _NUMBER = attrgetter("epoch"), attrgetter("seq", "id")


@dataclass
class Totals:
    """What this collector has done since it started."""

    stored: int = 0
    repeats: int = 0
    set_aside: int = 0
    batches: int = 0
    #: What all transactions took together, and the longest of them.
    storing_s: float = 0.0
    longest_s: float = 0.0
    #: Messages that wait here to be stored, or are being stored.
    in_hand: int = 0
    #: How old the youngest scan of the last batch was: by how much we lag behind.
    youngest_s: float = 0.0
    #: Confirmations that the broker did not take. Their units send again.
    unconfirmed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass
class _Batch:
    """What goes into one transaction."""

    began: float
    scans: Prepared
    took_s: float = 0.0
    messages: list[Received] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    heard: list[tuple[str, Answer | Status]] = field(default_factory=list)


#: (area, unit, what it is told)
_Told = tuple[str, str, Confirmed]


class Collector:
    """Stores what units send, once, and tells them so.

    One thread does it, one transaction after the other. While the engine commits, it tells of the
    batch before and receives the next.
    """

    def __init__(
        self,
        connection: Connection | Sessions,
        storage: Storage,
        clock: Clock,
        *,
        batch_scans: int = 5000,
        batch_wait_s: float = 0.1,
        gap_ask_s: float = 300.0,
        signers: Signers | None = None,
    ) -> None:
        """*signers* are the centre's keys, with which all that units are told is signed.

        Without any, units are commanded nothing, and only those believe a confirmation that know no
        centre's key.
        """
        self._signers = signers
        self._next_look_at_keys = clock.monotonic()
        self._connection = connection
        self._storage = storage
        self._clock = clock
        self._batch_scans = batch_scans
        self._batch_wait_s = batch_wait_s
        control = Control(storage.database)
        self._asker = Asker(connection, storage, control.again, clock, gap_ask_s=gap_ask_s)
        self._commander = Commander(connection, control, clock, self._signers)
        self._batches: deque[_Batch] = deque()
        self._session = -1
        self._thread = ThreadPoolExecutor(1, "engine")
        #: What is stored and has not been told, and how many of its scans were new.
        self._stored: tuple[_Batch, int] | None = None
        self.totals = Totals()

    def step(self, timeout_s: float = 1.0) -> None:
        """One turn: take what came in, and store it when the batch is due.

        Raises StorageError if the database fails: what is in hand comes again after a restart.
        """
        self._look_at_keys()
        arrived = self._receive(self._time_left(timeout_s))
        # A broker may deliver what it has kept before it grants the subscriptions. That waits: what
        # is dropped from a living connection comes no more, and nothing could be confirmed yet.
        may_store = bool(self._batches) and self._connection.speaks
        if may_store and (not arrived or self._is_due(self._batches[0])):
            self._store(self._batches.popleft())
        # With a backlog it is told while the next batch is committed.
        if not (may_store and self._batches and self._is_full(self._batches[0])):
            self._tell_what_is_stored()
        self.totals.in_hand = sum(len(batch.messages) for batch in self._batches)
        self._asker.step()
        # What was stored just now may have said it: by the old key an order to believe the new one
        # alone would be refused for good.
        self._look_at_keys()
        self._commander.step()

    def close(self) -> None:
        """Give the thread back."""
        self._thread.shutdown()

    def _receive(self, timeout_s: float) -> bool:
        """Take what comes in, waiting for it for at most *timeout_s*; whether anything did."""
        self._connection.step(timeout_s)
        arrived = self._connection.take()
        if self._connection.session != self._session:
            self._let_go()
            self._session = self._connection.session
        for message in arrived:
            self._put_in_hand(message)
        return bool(arrived)

    def _look_at_keys(self) -> None:
        if self._signers is None or self._signers.is_one:
            return
        now = self._clock.monotonic()
        if now >= self._next_look_at_keys:
            self._next_look_at_keys = now + KEYS_S
            self._signers.note(self._storage.believed_keys())

    def _let_go(self) -> None:
        """What came by a connection that is gone the broker delivers again."""
        messages = [message for batch in self._batches for message in batch.messages]
        self._batches.clear()
        for message in messages:
            if self._connection.holds(message):
                self._put_in_hand(message)

    def _put_in_hand(self, message: Received) -> None:
        if not self._batches or self._is_full(self._batches[-1]):
            scans = self._storage.prepare(self._clock.now().at)
            self._batches.append(_Batch(self._clock.monotonic(), scans))
        batch = self._batches[-1]
        batch.messages.append(message)
        try:
            _sort(message, batch)
        except (BadMessage, BadTopic) as err:
            batch.set_aside.append(SetAside(message.topic[:200], str(err), message.payload))

    def _is_full(self, batch: _Batch) -> bool:
        scans = len(batch.scans.rows) + len(batch.set_aside)
        return scans >= self._batch_scans or len(batch.messages) >= BATCH_MESSAGES

    def _is_due(self, batch: _Batch) -> bool:
        age = self._clock.monotonic() - batch.began
        return self._is_full(batch) or age >= self._batch_wait_s

    def _store(self, batch: _Batch) -> None:
        """Store a batch, in one transaction."""
        new, began = 0, self._clock.monotonic()
        if batch.scans.rows or batch.set_aside:
            new = self._storage.store_prepared(
                batch.scans, batch.set_aside, await_engine=self._await_engine
            )
        if batch.reports:
            self._storage.store_reports(batch.reports, self._clock.now().at)
        batch.took_s = self._clock.monotonic() - began
        if batch.heard:
            # One of them may have said that it believes another key: the next order goes by that.
            self._next_look_at_keys = self._clock.monotonic()
        self._commander.heard(batch.heard)
        self._tell_what_is_stored()
        self._stored = batch, new

    def _await_engine(self, call: Callable[[], None]) -> None:
        """Have *call* done by the engine, and meanwhile tell of the batch before and receive.

        What this thread does needs Python's lock nearly all the time; a commit does not.
        """
        begun = Event()

        def begin() -> None:
            begun.set()
            call()

        done = self._thread.submit(begin)
        # Python's lock is the other thread's until the engine has the call.
        begun.wait()
        done.add_done_callback(lambda _: self._connection.wake())
        try:
            self._tell_what_is_stored()
            while not done.done():
                self._receive(1.0)
        finally:
            done.result()

    def _tell_what_is_stored(self) -> None:
        if self._stored is not None:
            (batch, new), self._stored = self._stored, None
            self._tell(batch, new)

    def _tell(self, batch: _Batch, new: int) -> None:
        """Acknowledge and confirm a batch. It is committed; not before does anybody hear of it."""
        with self._connection.together():
            # First, since a unit whose window is full waits for it.
            self._confirm(batch.scans.came)
            for message in batch.messages:
                self._connection.ack(message)
        self._count(batch, new)

    def _confirm(self, came: Iterable[UnitScans]) -> None:
        by_unit: defaultdict[tuple[str, str, str], list[tuple[int, str]]] = defaultdict(list)
        for area, unit, scans in came:
            for epoch, run in groupby(scans, _EPOCH):
                by_unit[area, unit, epoch] += map(_NUMBER, run)
        told: list[_Told] = []
        for (area, unit, epoch), numbers in by_unit.items():
            ranges = confirmed_ranges(numbers)
            for start in range(0, len(ranges), RANGES_A_MESSAGE):
                part = tuple(ranges[start : start + RANGES_A_MESSAGE])
                told.append((area, unit, Confirmed(epoch=epoch, ranges=part)))
        for area, unit, message in self._signed(told):
            # If it is lost the unit sends again and is answered again.
            where = topic(area, unit, "confirmed")
            if not self._connection.publish(where, message.encode(), qos=0):
                self.totals.unconfirmed += 1

    def _signed(self, told: Sequence[_Told]) -> Iterable[_Told]:
        if self._signers is None:
            return told
        by_key: defaultdict[Signer, list[_Told]] = defaultdict(list)
        for each in told:
            by_key[self._signers.of(each[1])].append(each)
        return [
            (area, unit, message)
            for key, its in by_key.items()
            for (area, unit, _), message in zip(
                its, sign_confirmed([each[1:] for each in its], key), strict=True
            )
        ]

    def _count(self, batch: _Batch, new: int) -> None:
        totals, repeats = self.totals, len(batch.scans.rows) - new
        totals.batches += 1
        totals.stored += new
        totals.repeats += repeats
        totals.set_aside += len(batch.set_aside)
        totals.storing_s += batch.took_s
        totals.longest_s = max(totals.longest_s, batch.took_s)
        # A unit sends its scans in their order.
        youngest = (scans[-1] for _, _, scans in batch.scans.came)
        dated = [scan.at for scan in youngest if scan.clock != "none"]
        if dated:
            totals.youngest_s = utc_seconds(self._clock.now().at) - utc_seconds(max(dated))
        for message in batch.set_aside:
            if message.reason not in totals.reasons:
                log.warning("set aside a message on %r: %s", message.topic, message.reason)
            if len(totals.reasons) < 100:
                totals.reasons[message.reason] += 1
        log.debug("stored %d, repeated %d, set aside %d", new, repeats, len(batch.set_aside))

    def _time_left(self, timeout_s: float) -> float:
        if not self._batches or not self._connection.speaks:
            return timeout_s
        if self._is_full(self._batches[0]):
            return 0.0
        age = self._clock.monotonic() - self._batches[0].began
        return max(0.0, min(timeout_s, QUIET_S, self._batch_wait_s - age))


def _sort(message: Received, batch: _Batch) -> None:
    """Put what *message* says into *batch*. Raises BadMessage or BadTopic."""
    place = parse(message.topic)
    area, unit = place.area, place.unit
    if place.channel == "scan":
        scans, bad = read_scans(message.payload)
        if scans:
            batch.scans.add(UnitScans(area, unit, scans))
        batch.set_aside += [SetAside(message.topic, reason, part) for part, reason in bad]
    elif place.channel == "status" and message.payload:
        status = Status.decode(message.payload)
        batch.reports.append(Report(area, unit, status, message.retain))
        batch.heard.append((unit, status))
    elif place.channel == "answer":
        batch.heard.append((unit, Answer.decode(message.payload)))
    elif place.channel == "health":
        health = Health.decode(message.payload)
        batch.reports.append(Report(area, unit, health, message.retain))


def confirmed_ranges(numbers: Iterable[tuple[int, str]]) -> list[ConfirmedRange]:
    """The ranges that confirm *numbers*: (sequence number, id) of scans that are rows.

    Where one number came with two ids, of two units under one name, each is confirmed by itself, so
    that each unit finds its own and neither forgets a scan of the other.
    """
    rows = list(numbers)
    seqs = [seq for seq, _ in rows]
    if seqs and seqs == [*range(seqs[0], seqs[0] + len(seqs))]:
        # As nearly always: they came one after the other.
        return [_range(rows)]
    rows = sorted(set(rows))
    steps = list(pairwise(seq for seq, _ in rows))
    doubled = {seq for seq, following in steps if seq == following}
    ends = [
        place
        for place, (seq, following) in enumerate(steps, start=1)
        if following != seq + 1 or (doubled and doubled & {seq, following})
    ]
    borders = pairwise([0, *ends, len(rows)] if rows else [])
    return [_range(rows[start:end]) for start, end in borders]


def _range(rows: Sequence[tuple[int, str]]) -> ConfirmedRange:
    check = check_of([scan_id for _, scan_id in rows])
    return ConfirmedRange(first=rows[0][0], last=rows[-1][0], check=check)
