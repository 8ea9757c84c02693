"""The fleet: many simulated units, each with a connection of its own, in one process and thread."""

import contextlib
import errno
import heapq
import logging
import os
import random
import selectors
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from edge import packets
from edge.errors import BadMessage, BadPacket
from edge.messages import Again, Confirmed, Scan, fit_together, scans_message
from edge.reconnecting import BACKOFF_MAX_S, BACKOFF_MIN_S
from edge.simulate import wire
from edge.simulate.address import Address, address_of
from edge.simulate.day import rush
from edge.simulate.unit import SimulatedUnit
from edge.topics import topic

log = logging.getLogger(__name__)

#: So many scans may wait for the broker's acknowledgement, and so many go into one message, as with
#: a real unit.
IN_FLIGHT = 100
SCANS_A_MESSAGE = 20
#: A broker that says nothing to a connection for so long is given up, in seconds.
SILENT_S = 60.0
READ_BYTES = 65_536
#: How often a unit looks for what is to be sent again.
LOOK_S = 1.0
#: At night, when nobody passes, it is looked again after so long.
NIGHT_S = 60.0


@dataclass(frozen=True)
class Plan:
    """What happens to a fleet."""

    broker: str  #: one, or several of a cluster with commas between
    rate: float  #: scans a second of the whole fleet, as a mean of the sixteen open hours
    scan_for_s: float  #: then nobody passes any more
    user: str = ""
    password: str = ""
    outages_a_day: float = 0.0  #: of each unit's network
    outage_s: float = 60.0  #: their mean length
    health_s: float = 60.0
    keepalive_s: int = 60
    #: Of what the centre says to units.
    subscription_qos: int = 0
    #: Connections begin within so long, as units come back that found no broker for a while.
    spread_s: float = 0.0
    #: Whether people come as the hour has it, or evenly.
    rush_hours: bool = True


@dataclass
class Totals:
    """What became of it."""

    made: int = 0
    confirmed: int = 0
    sent: int = 0
    connections: int = 0
    failures: int = 0  #: connections that were refused or lost
    outages: int = 0
    latencies_s: list[float] = field(default_factory=list)


@dataclass
class Link:
    """A unit's connection."""

    unit: SimulatedUnit
    number: int
    sock: socket.socket | None = None
    ready: bool = False
    cut: bool = False
    incoming: wire.Incoming = field(default_factory=wire.Incoming)
    out: bytearray = field(default_factory=bytearray)
    #: The messages that the broker has not acknowledged, and how many scans are in each.
    unacknowledged: dict[int, int] = field(default_factory=dict)
    next_id: int = 0
    attempts: int = 0
    heard: float = 0.0
    watching_writes: bool = False

    def new_id(self) -> int:
        """A message id that is free."""
        self.next_id = self.next_id % packets.HIGHEST_ID + 1
        return self.next_id


class Fleet:
    """All the units of a simulation."""

    def __init__(
        self,
        units: Sequence[SimulatedUnit],
        plan: Plan,
        chance: random.Random,
        clock: Callable[[], float],
    ) -> None:
        """*clock*: seconds since 1970. Raises ConfigError for a broker that is none."""
        self._plan, self._chance, self._clock = plan, chance, clock
        self._addresses = [address_of(url) for url in plan.broker.split(",")]
        self._links = [Link(unit, number) for number, unit in enumerate(units)]
        self._share = plan.rate / max(1e-9, sum(unit.weight for unit in units))
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer = 0
        self._trouble = ""
        self._until = clock() + plan.scan_for_s
        self.totals = Totals(made=sum(unit.made for unit in units))
        for link in self._links:
            self._soon(chance.uniform(0, plan.spread_s), partial(self._connect, link))
            self._await_person(link)
            self._soon(chance.uniform(0, plan.health_s), partial(self._health, link))
            if plan.outages_a_day:
                self._plan_outage(link)

    @property
    def pending(self) -> int:
        """Scans that are not confirmed yet."""
        return self.totals.made - self.totals.confirmed

    @property
    def connected(self) -> int:
        """Units that have a connection."""
        return sum(link.ready for link in self._links)

    @property
    def trouble(self) -> str:
        """Why the last connection failed, with the broker's address."""
        return self._trouble

    @property
    def is_done(self) -> bool:
        """Whether nobody will pass any more and everything is confirmed."""
        return self._clock() >= self._until and not self.pending

    def step(self, timeout_s: float = 0.1) -> None:
        """One turn: what came in, what is due."""
        if self._timers:
            timeout_s = min(timeout_s, max(0.0, self._timers[0][0] - monotonic()))
        for key, events in self._selector.select(timeout_s):
            link: Link = key.data
            # Either may lose the connection, and another's turn before may have.
            if events & selectors.EVENT_WRITE:
                self._flush(link)
            if events & selectors.EVENT_READ:
                self._read(link)
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def end_the_day(self) -> None:
        """From now on nobody passes."""
        self._until = self._clock()

    def close(self) -> None:
        """End all connections as units that are switched off."""
        for link in self._links:
            if link.sock is not None:
                with contextlib.suppress(OSError):
                    link.sock.send(wire.DISCONNECT)
                link.sock.close()
        self._selector.close()

    # What people and networks do

    def _await_person(self, link: Link) -> None:
        rate = link.unit.weight * self._share
        if self._plan.rush_hours:
            rate *= rush(self._clock())
        if rate > 0:
            self._soon(self._chance.expovariate(rate), partial(self._pass, link))
        else:
            self._soon(NIGHT_S, partial(self._await_person, link))

    def _pass(self, link: Link) -> None:
        now = self._clock()
        if now < self._until:
            link.unit.scan(now)
            self.totals.made += 1
            self._send(link)
            self._await_person(link)

    def _plan_outage(self, link: Link) -> None:
        wait_s = self._chance.expovariate(self._plan.outages_a_day / 86_400)

        def outage() -> None:
            self.totals.outages += 1
            self._cut(link)
            lasts_s = self._chance.expovariate(1 / self._plan.outage_s)
            self._soon(lasts_s, partial(self._mend, link))
            self._soon(lasts_s, partial(self._plan_outage, link))

        self._soon(wait_s, outage)

    def _cut(self, link: Link) -> None:
        link.cut = True
        self._drop(link)

    def _mend(self, link: Link) -> None:
        link.cut = False
        if link.sock is None:
            self._connect(link)

    # Connections

    def _connect(self, link: Link) -> None:
        if link.cut or link.sock is not None:
            return
        address = self._address_of(link)
        link.sock = socket.socket(address.family)
        link.sock.setblocking(False)
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.incoming, link.ready, link.heard = wire.Incoming(), False, monotonic()
        link.unacknowledged.clear()
        unit, now = link.unit, self._clock()
        will = (topic(unit.area, unit.name, "status"), unit.status(now, "offline").encode())
        link.out = bytearray(
            wire.connect(
                unit.name, self._plan.keepalive_s, will, self._plan.user, self._plan.password
            )
        )
        result = link.sock.connect_ex(address[1:])
        if result not in (0, errno.EINPROGRESS):
            self._lost(link, os.strerror(result))
            return
        self._selector.register(link.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, link)
        link.watching_writes = True
        self._soon(SILENT_S, partial(self._watch, link, link.sock))

    def _address_of(self, link: Link) -> Address:
        return self._addresses[(link.number + link.attempts) % len(self._addresses)]

    def _watch(self, link: Link, sock: socket.socket) -> None:
        if link.sock is not sock:
            return
        if monotonic() - link.heard > SILENT_S:
            self._lost(link, "the broker says nothing")
            return
        if link.ready:
            self._write(link, packets.PINGREQ)
        self._soon(self._plan.keepalive_s / 2, partial(self._watch, link, sock))

    def _drop(self, link: Link) -> None:
        if link.sock is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(link.sock)
            link.sock.close()
        link.sock, link.ready = None, False

    def _lost(self, link: Link, why: str) -> None:
        self._drop(link)
        self.totals.failures += 1
        _, host, port = self._address_of(link)
        self._trouble = f"{host}:{port}: {why}"
        if self.totals.failures in (1, 100, 10_000):
            log.info("%s: connection lost: %s", link.unit.name, why)
        if not link.cut:
            ceiling = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(link.attempts, 10))
            link.attempts += 1
            wait_s = self._chance.uniform(ceiling / 2, ceiling)
            self._soon(wait_s, partial(self._connect, link))

    # Messages

    def _read(self, link: Link) -> None:
        if link.sock is None:
            return
        try:
            data = link.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as err:
            self._lost(link, str(err.strerror))
            return
        if not data:
            self._lost(link, "the broker closed it")
            return
        link.heard = monotonic()
        try:
            for packet in link.incoming.feed(data):
                self._take(link, packet)
                if link.sock is None:
                    return
        except BadPacket as err:
            self._lost(link, str(err))

    def _take(self, link: Link, packet: wire.Packet) -> None:
        unit = link.unit
        if packet.kind == packets.PUBLISH:
            said = packets.read_publish(packet.first, packet.body, five=False)
            if said.qos:
                self._write(link, packets.puback(said.mid))
            self._hear(link, said.topic.rpartition("/")[2], said.payload)
        elif packet.kind == packets.PUBACK:
            link.unacknowledged.pop(packets.read_puback(packet.body)[0], None)
            self._send(link)
        elif packet.kind in (wire.CONNACK, wire.SUBACK) and not packet.is_accepted:
            self._lost(link, "refused by the broker; check its users and rules")
        elif packet.kind == wire.CONNACK:
            topics = [topic(unit.area, unit.name, name) for name in ("confirmed", "again")]
            self._write(link, wire.subscribe(link.new_id(), topics, self._plan.subscription_qos))
        elif packet.kind == wire.SUBACK:
            link.ready, link.attempts = True, 0
            self.totals.connections += 1
            unit.connected(self._clock())
            self._publish(link, "status", unit.status(self._clock()).encode(), retain=True)
            self._send(link)
            self._soon(LOOK_S, partial(self._look_again, link, link.sock))

    def _hear(self, link: Link, channel: str, payload: bytes) -> None:
        now = self._clock()
        try:
            if channel == "confirmed":
                took = link.unit.confirm(Confirmed.decode(payload), now)
                self.totals.confirmed += len(took)
                self.totals.latencies_s += took
                self._send(link)
            elif channel == "again":
                self._send_scans(link, link.unit.asked(Again.decode(payload), now))
        except BadMessage as err:
            log.warning("%s: %s", link.unit.name, err)

    def _look_again(self, link: Link, sock: socket.socket | None) -> None:
        if link.sock is sock:
            if link.unit.pending:
                self._send(link)
            self._soon(LOOK_S, partial(self._look_again, link, sock))

    def _send(self, link: Link) -> None:
        if not link.ready:
            return
        room = IN_FLIGHT - sum(link.unacknowledged.values())
        self._send_scans(link, link.unit.to_send(self._clock(), room))

    def _send_scans(self, link: Link, scans: Iterable[Scan]) -> None:
        waiting = [scan.encode() for scan in scans]
        while waiting:
            count = fit_together(waiting[:SCANS_A_MESSAGE])
            self._publish(link, "scan", scans_message(waiting[:count]), scans=count)
            del waiting[:count]

    def _health(self, link: Link) -> None:
        if link.ready:
            self._publish(link, "health", link.unit.health(self._clock()).encode())
        if self._clock() < self._until:
            self._soon(self._plan.health_s, partial(self._health, link))

    def _publish(
        self, link: Link, channel: str, payload: bytes, *, retain: bool = False, scans: int = 0
    ) -> None:
        message_id = link.new_id()
        link.unacknowledged[message_id] = scans
        self.totals.sent += scans
        address = topic(link.unit.area, link.unit.name, channel).encode()
        self._write(link, packets.publish(address, payload, message_id, retain=retain, five=False))

    def _write(self, link: Link, data: bytes) -> None:
        link.out += data
        if not link.watching_writes:
            self._flush(link)

    def _flush(self, link: Link) -> None:
        if link.sock is None:
            return
        try:
            while link.out:
                del link.out[: link.sock.send(link.out)]
        except BlockingIOError:
            pass
        except OSError as err:
            self._lost(link, str(err.strerror))
            return
        watching = bool(link.out)
        if watching != link.watching_writes:
            link.watching_writes = watching
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if watching else 0)
            self._selector.modify(link.sock, events, link)

    def _soon(self, seconds: float, what: Callable[[], None]) -> None:
        self._timer += 1
        heapq.heappush(self._timers, (monotonic() + seconds, self._timer, what))
