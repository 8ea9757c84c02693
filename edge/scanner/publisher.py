"""Sends the outbox's scans and forgets what storage has confirmed.

Unconfirmed scans are sent oldest first, within a bounded window, and several in one message where
several wait. After a time without network, a share of the window is kept for scans that are made
now, so that these do not stand behind the old; and what old ones take of the link can be limited. A
scan is sent again on four grounds:

* *not taken*: the connection was lost before the broker had acknowledged it.
* *forgotten*: the broker no longer knows our session, so it has lost its memory, or is another one.
  While it knows it, what it had acknowledged is on its way, and so are confirmations.
* *silence*: nothing was confirmed for a while. The oldest scan alone is sent again, at growing
  intervals, since a collector that was away for an hour should find one copy of each scan and not
  a thousand.
* *overtaken*: a scan that was sent later has been confirmed, and some time later this one still is
  not. A broker keeps the order of a topic, but for what it delivers again after its own time for
  that (NATS' ack_wait) and for what several collectors share. So it alone is sent again, at growing
  intervals; if it was not lost, that costs one repeat.

A confirmation is believed only where its check matches the ids of our own scans: another unit that
runs under our name cannot make us forget anything.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from edge.clock import Clock
from edge.errors import BadMessage
from edge.messages import (
    TOGETHER_BYTES,
    Again,
    Answer,
    Confirmed,
    ConfirmedRange,
    Health,
    Scan,
    Status,
    check_of,
    fit_together,
    scans_message,
)
from edge.mqtt import Connection, LastWill
from edge.scanner.boots import Boots
from edge.scanner.budget import Budget
from edge.scanner.health_log import EVERY_S, HealthLog
from edge.scanner.outbox import Outbox
from edge.sealing import Verifier
from edge.signed import is_confirmed
from edge.topics import CHANNELS, topic
from edge.unit_settings import UnitSettings

log = logging.getLogger(__name__)

#: Longest interval between two sendings of the oldest scan.
RESEND_MAX_S = 120.0
#: How long a goodbye waits for the confirmation of what was sent.
CONFIRM_S = 1.0
#: What the broker may have unacknowledged, in messages and in bytes: on a slow link what is sent
#: next stands behind it. Far more scans may wait for their confirmation, which comes from further
#: away, after a commit. More would make nothing faster.
IN_FLIGHT = 100
IN_FLIGHT_BYTES = 98_304
#: What a message needs of the largest packet beside its payload: its topic, above all.
TOPIC_BYTES = 128
#: So many scans are looked at together when the next to send are looked for.
LOOK_AHEAD = 100
#: As many are sent at once to a centre that asks for them.
ASKED = 100
#: A range that confirms more than this at once is none of ours.
MOST_IN_A_RANGE = 10_000
#: What was confirmed is written down with the next scan, or after this long without one.
FLUSH_AFTER_S = 30.0
#: So many health messages of a time without connection are sent in one turn.
LATE_HEALTH = 20
#: So many commands and desired settings may wait for their turn; more is somebody's mistake.
OTHERS = 50
NO_CONFIG = "0" * 16


@dataclass
class _Sent:
    scan: Scan
    payload: bytes
    at: float
    first_at: float
    #: How long it is waited for, once it is overtaken.
    patience_s: float
    overtaken_at: float | None = None


@dataclass
class _Lane:
    """Scans of the outbox that are sent in their order, beside those of another lane."""

    #: All up to this number are under way, or gone.
    sent_to: int
    #: The number where it ends, if it does.
    below: float = math.inf
    is_empty: bool = False


class Publisher:
    """Gets scans from the outbox to storage. One thread calls `step`; any may call `wake`."""

    def __init__(
        self,
        connection: Connection,
        outbox: Outbox,
        unit: UnitSettings,
        clock: Clock,
        *,
        software: str,
        health: Callable[[], Health],
        boots: Boots,
        health_changed: Callable[[], bool] = lambda: False,
        health_log: HealthLog | None = None,
        config: Callable[[], str] = lambda: NO_CONFIG,
        centre: Verifier | None = None,
        window: int = 1000,
        scans_a_message: int = 20,
        live_share: float = 0.25,
        budget_kb_s: float = 0.0,
        resend_s: float = 5.0,
        health_s: float = 60.0,
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._unit = unit
        self._clock = clock
        self._software = software
        self._health = health
        self._boots = boots
        self._health_changed = health_changed
        self._health_log = health_log
        self._config = config
        self._centre = centre
        self._others: deque[tuple[str, bytes]] = deque(maxlen=OTHERS)
        self._next_late = clock.monotonic() + EVERY_S
        self._clock_source = clock.now().clock
        self._window = window
        self._scans_a_message = scans_a_message
        self._live_room = round(window * live_share)
        self._budget = Budget(budget_kb_s * 1000, clock)
        self._resend_first_s = resend_s
        self._health_s = health_s
        self._session = 0
        self._sent: dict[int, _Sent] = {}
        self._ids: dict[int, str] = {}
        self._again: list[int] = []
        self._heard_at = clock.monotonic()
        self._resend_s = resend_s
        self._start_again()
        self._unwritten_since: float | None = None
        self._warned_of_double = False
        #: Whether the broker was told to keep nothing of this unit.
        self.forgotten = False
        self._topics = {channel: topic(unit.area, unit.id, channel) for channel in CHANNELS}
        #: How many scans were confirmed since the start.
        self.confirmed = 0
        #: How many confirmations came that the centre had not signed.
        self.unbelieved = 0

    @property
    def connected(self) -> bool:
        """Whether scans can be sent right now."""
        return self._connection.connected

    @property
    def idle(self) -> bool:
        """Whether the broker has all that was sent."""
        return self._connection.connected and not self._connection.in_flight

    def step(self, timeout_s: float) -> None:
        """One turn: what the broker has for us, what is due, what can be sent.

        Returns after *timeout_s* at the latest, or as soon as `wake` was called; only connecting
        may take longer, by the broker's connect_timeout_s and by what a name server takes.
        """
        if not self._connection.connected:
            # The will names the birth that the next connection announces.
            will = self._status("offline", self._connection.session + 1)
            self._connection.will = LastWill(self._topics["status"], will.encode())
        self._connection.step(timeout_s)
        self._note_clock()
        for message in self._connection.take():
            self._connection.ack(message)
            if message.topic == self._topics["confirmed"]:
                self._take_confirmation(message.payload)
            elif message.topic == self._topics["again"]:
                self._answer(message.payload)
            else:
                self._others.append((message.topic.rpartition("/")[2], message.payload))
        if self._connection.connected:
            if self._connection.session != self._session:
                self._session = self._connection.session
                self._start_again()
                self._publish_status("online")
            with self._connection.together():
                self._send_again()
                self._send_new()
                self._send_health()
        elif self._health_log is not None:
            self._keep_health(self._health_log)
        self._write_forgotten()

    def wake(self) -> None:
        """There is a new scan: end the wait of `step`."""
        self._connection.wake()

    def take_others(self) -> Iterator[tuple[str, bytes]]:
        """What else came in, (channel, payload), oldest first: commands and desired settings."""
        while self._others:
            yield self._others.popleft()

    def answer(self, answer: Answer) -> bool:
        """Send *answer*; False if there is no connection."""
        return self._publish("answer", answer.encode())

    def forget(self) -> None:
        """Have the broker keep nothing of this unit, which says nothing any more."""
        self.forgotten = self._connection.publish(self._topics["status"], b"", retain=True)

    def stop(self, timeout_s: float) -> None:
        """Say goodbye in *timeout_s*, after finishing, and having confirmed, what is under way."""
        began = self._clock.monotonic()
        # A confirmation is on its way mostly: taken now, its scans need not be sent once more.
        while self._sent and self._connection.connected:
            if self._clock.monotonic() - began >= min(CONFIRM_S, timeout_s):
                break
            self.step(0.1)
        timeout_s = max(0.0, timeout_s - (self._clock.monotonic() - began))
        if self._connection.connected and not self.forgotten:
            self._publish("health", self._own_health().encode())
            self._publish_status("stopped")
        self._connection.disconnect(timeout_s)

    # Sending

    def _note_clock(self) -> None:
        now = self._clock.now()
        self._boots.note(now)
        if now.clock != self._clock_source:
            # The centre can date what it has of this boot: it should hear so now.
            self._clock_source = now.clock
            self._next_health = self._clock.monotonic()

    def _start_again(self) -> None:
        now = self._clock.monotonic()
        lost = self._connection.take_lost()
        if self._connection.kept:
            # Waiting goes on where it was, so that a link that flaps delays no sending again.
            self._again = sorted({*self._again, *lost}.intersection(self._sent))
        else:
            self._again = sorted(self._sent)
            self._resend_s = self._resend_first_s
            self._heard_at = now
        self._next_health = now
        # What was there before this connection is the backlog; what comes now is live.
        live_from = self._outbox.next_seq if self._live_room else 1
        self._live_from = live_from
        self._live = _Lane(live_from - 1)
        self._backlog = _Lane(0, live_from, is_empty=live_from == 1)

    def _send_new(self) -> None:
        room = self._window - len(self._sent)
        if room <= 0 or not self._is_open():
            return
        if not self._sent:
            self._heard_at = self._clock.monotonic()
        if self._backlog.is_empty:
            self._send_lane(self._live, room)
            return
        # While old scans are left, new ones have their share of the window and no more.
        live_room = min(room, self._live_room - self._live_out())
        room -= self._send_lane(self._live, live_room)
        self._send_lane(self._backlog, room, in_budget=True)

    def _live_out(self) -> int:
        if self._live.sent_to < self._live_from:
            return 0
        return sum(seq >= self._live_from for seq in self._sent)

    def _send_lane(self, lane: _Lane, room: int, *, in_budget: bool = False) -> int:
        """Send at most *room* scans of *lane* that are not under way; gives how many."""
        count = 0
        while count < room:
            scans = self._outbox.oldest(LOOK_AHEAD, after=lane.sent_to)
            scans = [scan for scan in scans if scan.seq < lane.below]
            lane.is_empty = not scans
            if not scans:
                break
            new = [scan for scan in scans if scan.seq not in self._sent][: room - count]
            while new:
                is_in_time = self._is_open() and not (in_budget and not self._budget.is_left())
                sent = self._send(new[: self._scans_a_message]) if is_in_time else 0
                if not sent:
                    return count
                lane.sent_to = new[sent - 1].seq
                count += sent
                del new[:sent]
            if count < room:
                lane.sent_to = scans[-1].seq
        return count

    def _is_open(self, share: int = 1) -> bool:
        """Whether the broker has acknowledged enough; of *share* times of what it may have."""
        link = self._connection
        return link.in_flight < share * IN_FLIGHT and link.bytes_in_flight < share * IN_FLIGHT_BYTES

    def _send(self, scans: Sequence[Scan]) -> int:
        """Send the first of *scans*, as many as fit into one message; gives how many."""
        new = [self._as_sent(scan) for scan in scans]
        count = self._send_together(new)
        for sent in new[:count]:
            self._sent[sent.scan.seq] = sent
            self._remember_id(sent.scan)
        return count

    def _as_sent(self, scan: Scan) -> _Sent:
        now = self._clock.monotonic()
        return _Sent(scan, self._boots.dated(scan).encode(), now, now, self._resend_first_s)

    def _send_again(self) -> None:
        now = self._clock.monotonic()
        self._again = self._again and [seq for seq in self._again if seq in self._sent]
        while self._again:
            first = self._again[: self._scans_a_message]
            count = self._resend([self._sent[seq] for seq in first], now)
            if not count:
                break
            del self._again[:count]
        late = [
            sent
            for sent in self._sent.values()
            if sent.overtaken_at is not None and now - sent.overtaken_at >= sent.patience_s
        ]
        while late and (count := self._resend(late, now)):
            for sent in late[:count]:
                sent.patience_s = min(2 * sent.patience_s, RESEND_MAX_S)
            del late[:count]
            # That asks as well as the oldest scan would.
            self._heard_at = now
        if self._sent and now - self._heard_at >= self._resend_s:
            oldest = self._sent[min(self._sent)]
            log.info(
                "no confirmation for %.0f s; sending scan %d again", self._resend_s, oldest.scan.seq
            )
            self._resend([oldest], now)
            self._heard_at = now
            self._resend_s = min(self._resend_s * 2, RESEND_MAX_S)

    def _resend(self, waiting: Sequence[_Sent], now: float) -> int:
        """Send the first of *waiting* once more, in one message; gives how many."""
        if not self._budget.is_left() or not self._is_open(share=2):
            return 0
        count = self._send_together(waiting[: self._scans_a_message])
        for sent in waiting[:count]:
            sent.at = now
            sent.overtaken_at = None
        return count

    def _send_together(self, waiting: Sequence[_Sent]) -> int:
        """Send the first of *waiting*, as many as fit into one message; gives how many."""
        most_bytes = min(
            TOGETHER_BYTES,
            self._budget.at_once,
            self._connection.most_packet_bytes - TOPIC_BYTES,
        )
        count = fit_together([sent.payload for sent in waiting], most_bytes)
        payload = scans_message([sent.payload for sent in waiting[:count]])
        if not self._publish("scan", payload, [sent.scan.seq for sent in waiting[:count]]):
            return 0
        self._budget.take(len(payload))
        return count

    def _send_health(self) -> None:
        now = self._clock.monotonic()
        if not (self._health_changed() or now >= self._next_health):
            return
        # What waited since there was no connection goes first, so that the newest is the last.
        if self._health_log is not None and (late := self._health_log.oldest(LATE_HEALTH)):
            if all(self._publish("health", health.encode()) for health in late):
                self._health_log.forget(len(late))
            return
        if self._publish("health", self._own_health().encode()):
            self._next_health = now + self._health_s

    def _keep_health(self, log_of_health: HealthLog) -> None:
        now = self._clock.monotonic()
        if self._health_changed() or now >= self._next_late:
            self._next_late = now + EVERY_S
            log_of_health.put(self._own_health())

    def _publish(self, channel: str, payload: bytes, about: Sequence[int] = ()) -> bool:
        return self._connection.publish(self._topics[channel], payload, about=about)

    def _publish_status(self, state: Literal["online", "stopped"]) -> None:
        status = self._status(state, self._connection.session)
        self._connection.publish(self._topics["status"], status.encode(), retain=True)

    def _status(self, state: Literal["online", "stopped", "offline"], session: int) -> Status:
        now = self._clock.now()
        return Status(
            state=state,
            # The outbox counts its openings, so this grows over restarts without a file of its own.
            birth=self._outbox.run * 1_000_000 + session,
            place=self._unit.place,
            direction=self._unit.direction,
            software=self._software,
            config=self._config(),
            centre=self._centre.ids if self._centre is not None else (),
            epoch=self._outbox.epoch,
            at=now.at,
            boot=now.boot,
            uptime_ms=now.uptime_ms,
            clock=now.clock,
        )

    # Confirmations

    def _take_confirmation(self, payload: bytes) -> None:
        try:
            message = Confirmed.decode(payload)
        except BadMessage as err:
            log.warning("a confirmation that cannot be read: %s", err)
            return
        if message.epoch != self._outbox.epoch:
            return
        if self._centre is not None and not is_confirmed(message, self._unit.id, self._centre):
            self._note_unbelieved()
            return
        believed = [(r.first, r.last) for r in message.ranges if self._is_ours(r)]
        if believed:
            self._forget(believed)

    def _own_health(self) -> Health:
        return msgspec.structs.replace(self._health(), unbelieved=self.unbelieved)

    def _note_unbelieved(self) -> None:
        self.unbelieved += 1
        if self.unbelieved == 1:
            log.error(
                "a confirmation that this unit's centre has not signed: nothing is forgotten for"
                " it. If the centre has a new key, let it sign with its former one too"
                " (former_receipt_key_files), or give this unit the new public part (receipts.pub)"
            )

    def _is_ours(self, confirmed: ConfirmedRange) -> bool:
        # Bounded, whatever the message says.
        if not 0 <= confirmed.last - confirmed.first < MOST_IN_A_RANGE:
            return False
        numbers = range(confirmed.first, confirmed.last + 1)
        ids = self._ids
        if not all(seq in ids for seq in numbers):
            # Sent before the last start, perhaps.
            scans = self._outbox.oldest(len(numbers), after=confirmed.first - 1)
            ids = ids | {scan.seq: scan.id for scan in scans}
            if not all(seq in ids for seq in numbers):
                return False
        if check_of(ids[seq] for seq in numbers) == confirmed.check:
            return True
        if not self._warned_of_double:
            self._warned_of_double = True
            log.warning(
                "scans that are not ours were confirmed to us: does another unit run as %r?",
                self._unit.id,
            )
        return False

    def _answer(self, payload: bytes) -> None:
        """The centre misses scans: send those that are still here, confirmed or not."""
        try:
            message = Again.decode(payload)
        except BadMessage as err:
            log.warning("a question of the centre that cannot be read: %s", err)
            return
        if message.epoch != self._outbox.epoch:
            return
        asked = [(r.first, r.last) for r in message.ranges if r.first <= r.last]
        # More than this at a time it will ask for once more.
        scans = self._outbox.recall(asked, limit=ASKED)
        log.info(
            "the centre misses scans, the first is %d: %d are still here",
            asked[0][0] if asked else 0,
            len(scans),
        )
        now = self._clock.monotonic()
        found = [self._as_sent(scan) for scan in scans]
        while found and (count := self._resend(found, now)):
            for sent in found[:count]:
                self._remember_id(sent.scan)
            del found[:count]

    def _forget(self, ranges: list[tuple[int, int]]) -> None:
        now = self._clock.monotonic()
        gone = [
            self._sent.pop(seq)
            for first, last in ranges
            for seq in range(first, last + 1)
            if seq in self._sent
        ]
        self._outbox.forget(ranges)
        self.confirmed += len(gone)
        self._heard_at = now
        self._resend_s = self._resend_first_s
        self._unwritten_since = now
        if gone:
            newest = max(self._surely_sent_at(sent, now) for sent in gone)
            for sent in self._sent.values():
                if sent.at < newest and sent.overtaken_at is None:
                    sent.overtaken_at = now

    def _surely_sent_at(self, sent: _Sent, now: float) -> float:
        """When the copy was sent that is confirmed *now*, or an earlier one.

        Which of several it is nobody says. Only one that is answered quickly is likely the last: if
        a collector catches up, it is the first, and those behind that are still on their way.
        """
        return sent.at if now - sent.at < self._resend_first_s else sent.first_at

    def _remember_id(self, scan: Scan) -> None:
        # Some longer than the window: a repeat may be confirmed in one range with its neighbours.
        self._ids[scan.seq] = scan.id
        if len(self._ids) > 3 * self._window:
            for seq in list(self._ids)[: -2 * self._window]:
                if seq not in self._sent:
                    del self._ids[seq]

    def _write_forgotten(self) -> None:
        since = self._unwritten_since
        if since is not None and self._clock.monotonic() - since >= FLUSH_AFTER_S:
            self._outbox.flush()
            self._unwritten_since = None
