"""One connection to an MQTT broker; the only file that knows paho.

paho connects, subscribes and says goodbye; messages and their acknowledgements, which are nearly
all of the traffic, pass it by: see packets.py.

Everything happens in `step()`, on the caller's thread: connecting with jittered back-off, reading,
writing, keeping alive. Each attempt to connect is a new paho client, so that no message outlives
its connection in paho's memory: what must survive is in the outbox, or still with the broker.

A received message is acknowledged by its receiver, when what it carries is safe (`ack`); what was
not acknowledged comes again after a reconnect. A PUBACK says that a broker took a message, never
that it is stored: see the guarantee in README.md.
"""

import contextlib
import logging
import os
import random
import select
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import packets
from edge.broker import Address, BrokerSettings, ClientIdentity, addresses, tls_context, why
from edge.buffered_socket import BufferedSocket
from edge.clock import Clock
from edge.config import secret
from edge.errors import BadPacket, ConfigError

__all__ = ["BrokerSettings", "Connection", "LastWill", "Received"]

log = logging.getLogger(__name__)

#: Longest wait between two attempts to connect.
BACKOFF_MAX_S = 60.0
BACKOFF_MIN_S = 0.5
#: A broker that has accepted the connection but says nothing is given up after this.
GREETING_S = 10.0
#: A connection that lasts this long was a good one: the next loss starts with a short wait again.
STABLE_S = 30.0
#: So many connections that the broker closed within so long look like two clients under one name,
#: each of which it closes for the other. Both must see it: one of the two may hold each connection
#: for as long as the other waits to try again, which is BACKOFF_MAX_S.
CLOSED_BY_BROKER = 4
CLOSED_WITHIN_S = 300.0
#: On the second broker, the first is looked for after this long, and again each time.
RETURN_S = 600.0
_NO_IDENTITY = "this unit has no certificate yet; scans are kept, and sent once it has one"


class Received(NamedTuple):
    """A message as it came in."""

    topic: str
    payload: bytes
    retain: bool
    mid: int
    qos: int
    #: Which connection it came by; an acknowledgement belongs to that one alone.
    session: int


@dataclass(frozen=True)
class LastWill:
    """What the broker publishes, retained, when this connection dies without goodbye."""

    topic: str
    payload: bytes


class _Handed(NamedTuple):
    """A message that the broker has not acknowledged yet."""

    about: Sequence[int]
    size: int


class Connection:
    """A connection that comes back by itself. Not for use by two threads, but for `wake`."""

    def __init__(
        self,
        settings: BrokerSettings,
        folder: Path,
        client_id: str,
        clock: Clock,
        *,
        subscriptions: Sequence[str] = (),
        persistent: bool = False,
        qos: Literal[0, 1] | None = None,
        identity: ClientIdentity | None = None,
    ) -> None:
        """*persistent*: the broker keeps our subscriptions and what arrives while we are away.

        *qos*: of what we hear; as a rule 1 of a persistent session and 0 of another. *identity*
        chooses what is shown at each attempt; without, the settings name it for good. Raises
        ConfigError for a url or a file that cannot be used.
        """
        self._addresses = addresses(settings)
        self._at = 0
        self._settings = settings
        self._five = settings.protocol == "5"
        self._folder = folder
        self._client_id = client_id
        self._clock = clock
        self._subscriptions = list(subscriptions)
        self._persistent = persistent
        # Without a session that outlives the connection, QoS 1 keeps nothing that is not asked for
        # again anyway; and it costs some brokers a queue on disk for each client: of 3,000 that
        # came back at once, a NATS server refused nearly all.
        self._qos = int(persistent) if qos is None else qos
        self._identity = identity
        self._password = secret(settings.password_file, folder) if settings.password_file else None
        tls = any(address.tls for address in self._addresses)
        self._tls_context = tls_context(settings, folder) if tls else None
        self._client: _Client | None = None
        self._received: deque[Received] = deque()
        self._in_hand: set[int] = set()
        self._unacknowledged: dict[int, _Handed] = {}
        self._lost_about: set[int] = set()
        self._most_in_flight = packets.HIGHEST_ID
        self._mid = 0
        self._gathering = False
        self._session_at: Address | None = None
        self._attempts = 0
        self._next_attempt = clock.monotonic()
        self._attempt_began = 0.0
        self._connected_at = 0.0
        self._heard_at = 0.0
        self._asked_at = 0.0
        self._return_at = 0.0
        self._closed_at: deque[float] = deque(maxlen=CLOSED_BY_BROKER)
        self._reason = ""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        #: Whether the broker has greeted us and granted the subscriptions.
        self.connected = False
        #: Grows with every established connection.
        self.session = 0
        #: Whether the broker had kept the session of the connection before this one, and so most
        #: likely what was handed to it then. Only a persistent one can be kept.
        self.kept = False
        #: What the messages carry that are `in_flight`.
        self.bytes_in_flight = 0
        #: The largest packet that the broker takes. Only MQTT 5 tells.
        self.most_packet_bytes = packets.MOST_BYTES
        #: Why there is no connection, in one line; "" while there is one.
        self.trouble = "not connected yet"
        #: Set before an attempt to connect.
        self.will: LastWill | None = None
        #: How often the broker delivered again what was in hand already and not acknowledged yet.
        self.redelivered = 0

    @property
    def address(self) -> str:
        """Where the broker is that we use or try now, for people."""
        return str(self._addresses[self._at])

    @property
    def speaks(self) -> bool:
        """Whether what is published is taken."""
        return self.connected

    @property
    def suspects_double(self) -> bool:
        """Whether the broker closes us so often that another client may run under our name."""
        now = self._clock.monotonic()
        often = len(self._closed_at) == CLOSED_BY_BROKER
        return often and now - self._closed_at[0] <= CLOSED_WITHIN_S

    @property
    def in_flight(self) -> int:
        """Messages published on this connection that the broker has not acknowledged."""
        return len(self._unacknowledged)

    @property
    def readable(self) -> BufferedSocket | None:
        """What to watch for something to read, for a `step` of another connection."""
        return self._socket()

    def step(self, timeout_s: float, also: Sequence[BufferedSocket] = ()) -> None:
        """Do what is due, waiting for traffic for at most *timeout_s*.

        Returns early when something came in, here or at one of *also*, when `wake` was called, or
        when the connection went.
        """
        if self._client is None:
            wait = self._next_attempt - self._clock.monotonic()
            if wait > 0 and not self._has_another_identity():
                self._wait_for_wake(min(wait, timeout_s))
                return
            self._connect()
            return
        self._turn(self._client, timeout_s, also)
        late = self._clock.monotonic() - self._attempt_began > GREETING_S
        if self._client is not None and not self.connected and late:
            self._lost(f"{self.address} accepted the connection but does not answer as a broker")
        elif self.connected:
            self._look_at_connection()

    def take(self) -> list[Received]:
        """The messages that came in since the last call, oldest first."""
        messages = list(self._received)
        self._received.clear()
        return messages

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, about: Sequence[int] = ()
    ) -> bool:
        """Hand a message to the broker, QoS 1.

        False, and nothing kept, if there is no broker, or if it takes no more for now. *about*:
        numbers of the caller's that `take_lost` gives back if the broker may not have it.
        """
        sock = self._socket()
        if sock is None or not self.connected or self.in_flight >= self._most_in_flight:
            return False
        mid = self._next_mid()
        packet = packets.publish(topic.encode(), payload, mid, retain=retain, five=self._five)
        if not self._send(sock, packet):
            return False
        self._unacknowledged[mid] = _Handed(about, len(payload))
        self.bytes_in_flight += len(payload)
        return True

    def take_lost(self) -> set[int]:
        """What was published `about` and not acknowledged when its connection ended, since the
        last call. A broker may have it all the same."""
        lost, self._lost_about = self._lost_about, set()
        return lost

    def holds(self, message: Received) -> bool:
        """Whether *message* came by the present connection. If not, it comes again."""
        return message.session == self.session

    def ack(self, message: Received) -> None:
        """Tell the broker that *message* is safe. Of an earlier connection it comes again."""
        sock = self._socket()
        if sock is not None and self.holds(message) and message.qos:
            self._in_hand.discard(message.mid)
            # If there is no room for it the message comes again.
            self._send(sock, packets.puback(message.mid))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is published and acknowledged within this goes out together, not one by one."""
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
            if (sock := self._socket()) is not None:
                sock.flush()

    def wake(self) -> None:
        """End the wait of a `step` on another thread."""
        # A full pipe is a wake-up that has not been seen yet, and a closed one wants none.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"!")

    def disconnect(self, timeout_s: float) -> None:
        """Say goodbye properly after sending what is under way, in *timeout_s* at most."""
        deadline = self._clock.monotonic() + timeout_s
        while self.connected and self.in_flight and self._clock.monotonic() < deadline:
            self.step(0.1)
        if self._client is not None:
            self._client.disconnect()
            self._drop()
        self.trouble = "disconnected"

    def close(self) -> None:
        """Drop the connection as it is and give back what it holds."""
        self._drop()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # Connecting

    def _connect(self) -> None:
        self._attempts += 1
        self._attempt_began = self._clock.monotonic()
        self._reason = f"{self.address} closed the connection before greeting us"
        address = self._addresses[self._at]
        if self._identity is not None and address.tls:
            shown = self._identity.choose()
            if shown is None:
                self._schedule(_NO_IDENTITY)
                return
            try:
                self._tls_context = tls_context(self._settings, self._folder, shown)
            except ConfigError as err:
                self._schedule(str(err))
                return
        client = self._new_client(address)
        try:
            # MQTT 5 has no "persistent" of its own: the session's lifetime says it instead.
            if self._five:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                properties.SessionExpiryInterval = 0xFFFFFFFF if self._persistent else 0
                client.connect(
                    address.host,
                    address.port,
                    self._settings.keepalive_s,
                    clean_start=not self._persistent,
                    properties=properties,
                )
            else:
                client.connect(address.host, address.port, self._settings.keepalive_s)
        except (OSError, ValueError) as err:
            self._schedule(why(err, self.address, self._clock.now()))
            return
        self._client = client
        if (sock := self._socket()) is not None:
            sock.flush()

    def _new_client(self, address: Address) -> "_Client":
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if self._five else not self._persistent,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._settings.connect_timeout_s
        if self._settings.username:
            client.username_pw_set(self._settings.username, self._password)
        if address.tls and self._tls_context is not None:
            client.tls_set_context(self._tls_context)
        if self.will is not None:
            client.will_set(self.will.topic, self.will.payload, qos=1, retain=True)
        # Before connecting: a persistent session delivers at once.
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        return client

    def _schedule(self, trouble: str) -> None:
        ceiling = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(self._attempts, 10))
        # Jitter, so that a thousand units do not come back in the same second.
        wait = random.uniform(ceiling / 2, ceiling)
        self._next_attempt = self._clock.monotonic() + wait
        if trouble != self.trouble:
            log.warning("broker: %s; trying again, at most every %d s", trouble, BACKOFF_MAX_S)
        self.trouble = trouble
        self._at = (self._at + 1) % len(self._addresses)

    def _look_at_connection(self) -> None:
        now = self._clock.monotonic()
        if self._client is not None and self._has_another_identity():
            log.info("broker: connecting anew, to show the new certificate")
            self._client.disconnect()
            self._drop()
            self._next_attempt = now
            return
        if now - self._connected_at >= STABLE_S:
            self._attempts = 0
        if self._at and now >= self._return_at:
            self._return_at = now + RETURN_S
            if self._addresses[0].is_reachable(self._settings.connect_timeout_s):
                log.info("broker: %s is back", self._addresses[0])
                self._drop()
                self._at = 0
                self._next_attempt = now

    def _has_another_identity(self) -> bool:
        return self._identity is not None and self._identity.calls_for_another()

    def _lost(self, why: str) -> None:
        # NATS does not even greet one of two that take over from each other quickly; but a broker
        # that never greeted us has another reason.
        if why == self._reason and (self.connected or self._closed_at):
            self._closed_at.append(self._clock.monotonic())
        self._drop()
        if self.suspects_double:
            why += f"; if the network is good, another client may run as {self._client_id!r}"
        self._schedule(why)

    def _drop(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            with contextlib.suppress(OSError, ValueError):
                sock = client.socket()
                if sock is not None:
                    sock.close()
        self.connected = False
        self._received.clear()
        self._in_hand.clear()
        self._lost_about.update(*(handed.about for handed in self._unacknowledged.values()))
        self._unacknowledged.clear()
        self.bytes_in_flight = 0

    # One turn of the connection

    def _turn(self, client: "_Client", timeout_s: float, also: Sequence[BufferedSocket]) -> None:
        sock = self._socket()
        if sock is None:
            self._lost(self._reason)
            return
        sock.flush()
        watched: list[Any] = [sock, self._wake_read, *also]
        writers = [sock] if sock.has_output else []
        try:
            wait_s = 0.0 if any(one.has_input for one in (sock, *also)) else timeout_s
            readable, _, _ = select.select(watched, writers, [], wait_s)
        except (OSError, ValueError):
            self._lost(self._reason)
            return
        if self._wake_read in readable:
            self._drain_wake()
        try:
            if sock in readable or sock.has_input:
                self._read_all(client, sock)
            if client.want_write():
                client.loop_write()
        except BadPacket as err:
            self._lost(f"{self.address} does not speak MQTT: {err}")
            return
        if self._client is client:
            self._keep_alive(sock)
            sock.flush()

    def _read_all(self, client: "_Client", sock: BufferedSocket) -> None:
        # What has come in together is read together, so that a burst costs one select and the
        # receiver sees it as one batch.
        if sock.fill():
            self._heard_at = self._clock.monotonic()
        while packet := sock.next_packet():
            first, body = packet
            kind = first & 0xF0
            if kind == packets.PUBLISH:
                message = packets.read_publish(first, body, five=self._five)
                self._take_message(message, again=bool(first & packets.DUP))
            elif kind == packets.PUBACK:
                self._take_acknowledgement(*packets.read_puback(body))
            elif kind != packets.PINGRESP:
                sock.offer_packet()
                if client.loop_read() != paho.MQTT_ERR_SUCCESS:
                    self._lost(self._reason)
                    return
        if sock.ended:
            if sock.alert and not self.connected:
                self._reason = f"{self.address} refuses this client: {sock.alert}"
                if self._identity is not None:
                    self._identity.refused(sock.alert)
            self._lost(self._reason)

    def _keep_alive(self, sock: BufferedSocket) -> None:
        """Show the broker that we are here, and see that it is."""
        now, each = self._clock.monotonic(), self._settings.keepalive_s
        unanswered = self._asked_at > self._heard_at
        if unanswered and now - self._asked_at >= each:
            self._lost(f"{self.address} does not answer any more; the link may be dead")
        elif self.connected and now - self._asked_at >= each:
            self._asked_at = now
            self._send(sock, packets.PINGREQ)

    def _send(self, sock: BufferedSocket, packet: bytes) -> bool:
        try:
            sock.send(packet)
        except BlockingIOError:
            return False
        if not self._gathering:
            sock.flush()
        return True

    def _take_message(self, message: packets.Published, *, again: bool) -> None:
        if message.qos:
            # Until it is acknowledged its id is no other message's (MQTT 3.1.1, 2.3.1). NATS sends
            # again, on the same connection, what waits here for longer than its ack_wait: taken
            # twice it would only make those behind it wait longer, and come again in their turn.
            if again and message.mid in self._in_hand:
                self.redelivered += 1
                return
            self._in_hand.add(message.mid)
        self._received.append(
            Received(
                message.topic,
                message.payload,
                message.retain,
                message.mid,
                message.qos,
                self.session,
            )
        )

    def _take_acknowledgement(self, mid: int, reason: int) -> None:
        if handed := self._unacknowledged.pop(mid, None):
            self.bytes_in_flight -= handed.size
        # Only MQTT 5 tells; 3.1.1 acknowledges what it then throws away.
        if reason >= 0x80:
            log.warning("broker: %s does not take a message: reason %d", self.address, reason)

    def _next_mid(self) -> int:
        # Never 0, and none that is under way.
        while True:
            self._mid = self._mid % packets.HIGHEST_ID + 1
            if self._mid not in self._unacknowledged:
                return self._mid

    def _socket(self) -> BufferedSocket | None:
        sock = self._client.socket() if self._client is not None else None
        return sock if isinstance(sock, BufferedSocket) else None

    def _wait_for_wake(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._wake_read], [], [], timeout_s)
        if readable:
            self._drain_wake()

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    # What paho tells us

    def _on_connect(
        self,
        client: paho.Client,
        _: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._reason = f"refused by {self.address}: {reason}; check its user and rules for us"
            return
        self.session += 1
        address = self._addresses[self._at]
        self.kept = bool(flags.session_present) and address == self._session_at
        self._session_at = address
        # In MQTT 5 a broker may say how large, and how many, it takes.
        self.most_packet_bytes = getattr(properties, "MaximumPacketSize", packets.MOST_BYTES)
        most = getattr(properties, "ReceiveMaximum", packets.HIGHEST_ID)
        self._most_in_flight = min(most, packets.HIGHEST_ID)
        if self._subscriptions:
            client.subscribe([(subscription, self._qos) for subscription in self._subscriptions])
        else:
            self._established()

    def _on_subscribe(
        self,
        client: paho.Client,
        _: Any,
        __: int,
        reasons: list[ReasonCode],
        ___: Properties | None,
    ) -> None:
        for subscription, reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                self._reason = f"refused by {self.address}: may not subscribe to {subscription}"
                client.disconnect()
                return
        self._established()

    def _established(self) -> None:
        self.connected = True
        self.trouble = ""
        self._connected_at = self._heard_at = self._asked_at = self._clock.monotonic()
        self._return_at = self._connected_at + RETURN_S
        self._reason = f"{self.address} closed the connection"
        log.info("broker: connected to %s", self.address)
        if self._identity is not None:
            self._identity.worked()

    def _on_disconnect(
        self, _: paho.Client, __: Any, ___: Any, reason: ReasonCode, ____: Properties | None
    ) -> None:
        # Only MQTT 5 tells why.
        if reason == "Session taken over":
            self._closed_at.extend([self._clock.monotonic()] * CLOSED_BY_BROKER)


class _Client(paho.Client):
    """paho's client, on a socket that gathers what it reads and writes."""

    def _create_socket(self) -> BufferedSocket:
        # There is no public way to hand in a socket; this is where paho makes each of its own.
        sock: Any = super()._create_socket()
        # What goes out together is gathered here already. The system would hold it back for up to
        # 40 ms besides, until the broker has acknowledged what went before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return BufferedSocket(sock)
