"""Sends the outbox's scans and forgets what storage has confirmed.

Unconfirmed scans are sent oldest first, within a bounded window, and several in one message where
several wait. After a time without network, a share of the window is kept for scans that are made
now, so that these do not stand behind the old; and what old ones take of the link can be limited.
When a scan is sent again stands in window.py, which confirmations are believed in confirmations.py.
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
    Health,
    Scan,
    Status,
    fit_together,
    scans_message,
)
from edge.mqtt import Connection, LastWill
from edge.scanner.boots import Boots
from edge.scanner.budget import Budget
from edge.scanner.confirmations import Confirmations
from edge.scanner.health_log import EVERY_S, HealthLog
from edge.scanner.outbox import Outbox
from edge.scanner.window import Sent, Window
from edge.sealing import Verifier
from edge.topics import CHANNELS, topic
from edge.unit_settings import UnitSettings

log = logging.getLogger(__name__)

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
#: What was confirmed is written down with the next scan, or after this long without one.
FLUSH_AFTER_S = 30.0
#: So many health messages of a time without connection are sent in one turn.
LATE_HEALTH = 20
#: So many commands and desired settings may wait for their turn; more is somebody's mistake.
OTHERS = 50
NO_CONFIG = "0" * 16


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
        self._window = Window(window, clock, resend_s=resend_s)
        self._confirmations = Confirmations(outbox, self._window, unit.id, centre=centre)
        self._scans_a_message = scans_a_message
        self._live_room = round(window * live_share)
        self._budget = Budget(budget_kb_s * 1000, clock)
        self._health_s = health_s
        self._session = 0
        self._start_again()
        #: Since when something is confirmed and not written down, and the next scan's number then.
        self._unwritten: tuple[float, int] | None = None
        #: Whether the broker was told to keep nothing of this unit.
        self.forgotten = False
        self._topics = {channel: topic(unit.area, unit.id, channel) for channel in CHANNELS}
        #: How many scans were confirmed since the start.
        self.confirmed = 0

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
                self._forget(self._confirmations.believed(message.payload))
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
                self._window.send_again(self._repeat)
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
        while self._window and self._connection.connected:
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
        lost, kept = self._connection.take_lost(), self._connection.kept
        self._window.reconnected(lost, kept=kept)
        self._next_health = self._clock.monotonic()
        # What was there before this connection is the backlog; what comes now is live.
        live_from = self._outbox.next_seq if self._live_room else 1
        self._live_from = live_from
        self._live = _Lane(live_from - 1)
        self._backlog = _Lane(0, live_from, is_empty=live_from == 1)

    def _send_new(self) -> None:
        room = self._window.room
        if room <= 0 or not self._is_open():
            return
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
        return self._window.count_from(self._live_from)

    def _send_lane(self, lane: _Lane, room: int, *, in_budget: bool = False) -> int:
        """Send at most *room* scans of *lane* that are not under way; gives how many."""
        count = 0
        while count < room:
            scans = self._outbox.oldest(LOOK_AHEAD, after=lane.sent_to)
            scans = [scan for scan in scans if scan.seq < lane.below]
            lane.is_empty = not scans
            if not scans:
                break
            new = [scan for scan in scans if scan.seq not in self._window][: room - count]
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
        new = [self._prepared(scan) for scan in scans]
        count = self._send_together(new)
        self._window.add(new[:count])
        for sent in new[:count]:
            self._confirmations.remember(sent.scan)
        return count

    def _prepared(self, scan: Scan) -> Sent:
        return self._window.prepared(scan, self._boots.dated(scan).encode())

    def _repeat(self, waiting: Sequence[Sent]) -> int:
        """Send the first of *waiting* once more, in one message; gives how many."""
        if not self._budget.is_left() or not self._is_open(share=2):
            return 0
        return self._send_together(waiting[: self._scans_a_message])

    def _send_together(self, waiting: Sequence[Sent]) -> int:
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

    def _own_health(self) -> Health:
        return msgspec.structs.replace(self._health(), unbelieved=self._confirmations.unbelieved)

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

    # What comes back

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
        found = [self._prepared(scan) for scan in scans]
        while found and (count := self._repeat(found)):
            for sent in found[:count]:
                self._confirmations.remember(sent.scan)
            del found[:count]

    def _forget(self, ranges: list[tuple[int, int]]) -> None:
        if not ranges:
            return
        self._outbox.forget(ranges)
        self.confirmed += self._window.confirmed(ranges)
        if self._unwritten is None or self._unwritten[1] != self._outbox.next_seq:
            self._unwritten = self._clock.monotonic(), self._outbox.next_seq

    def _write_forgotten(self) -> None:
        # What was confirmed while a backlog drains would otherwise all come back with a power cut.
        if self._unwritten and self._clock.monotonic() - self._unwritten[0] >= FLUSH_AFTER_S:
            self._outbox.flush()
            self._unwritten = None
