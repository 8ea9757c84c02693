"""A connection to an MQTT broker that comes back by itself.

paho connects, subscribes and says goodbye (mqtt_client.py); messages and their acknowledgements,
which are nearly all of the traffic, pass it by: see packets.py.

Everything happens in `step()`, on the caller's thread: connecting with jittered back-off
(reconnecting.py), reading, writing, keeping alive. What must survive a connection is in the outbox,
or still with the broker: nothing of it is kept here.

A received message is acknowledged by its receiver, when what it carries is safe (`ack`); what was
not acknowledged comes again after a reconnect. A PUBACK says that a broker took a message, never
that it is stored: see the guarantee in README.md.
"""

import contextlib
import logging
import math
import select
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from edge import packets
from edge.broker import Address, BrokerSettings, ClientIdentity, addresses, tls_context, why
from edge.buffered_socket import BufferedSocket
from edge.clock import Clock
from edge.config import secret
from edge.errors import BadPacket, ConfigError
from edge.in_flight import InFlight
from edge.liveness import Liveness
from edge.mqtt_client import Client, LastWill, Session
from edge.received import Arrivals, Received
from edge.reconnecting import Closings, Reconnecting
from edge.waking import Waker

__all__ = ["BrokerSettings", "Connection", "LastWill", "Received"]

log = logging.getLogger(__name__)

_NO_IDENTITY = "this unit has no certificate yet; scans are kept, and sent once it has one"


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
        unwanted: Sequence[str] = (),
        persistent: bool = False,
        qos: Literal[0, 1] | None = None,
        identity: ClientIdentity | None = None,
        most_packet_bytes: int = packets.MOST_BYTES,
        silent_s: float = math.inf,
    ) -> None:
        """*persistent*: the broker keeps our subscriptions and what arrives while we are away.
        Those *unwanted* that it has kept from before it is told to end.

        *qos*: of what we hear; as a rule 1 of a persistent session and 0 of another. *identity*
        chooses what is shown at each attempt; without, the settings name it for good. A packet of
        more than *most_packet_bytes* ends the connection before it fills the memory. A persistent
        session of which nothing came for *silent_s* is ended at the broker and made anew: a NATS
        server that has lost what it kept for one goes on with it and delivers nothing. Raises
        ConfigError for a url or a file that cannot be used.
        """
        where = addresses(settings)
        self._settings = settings
        self._five = settings.protocol == "5"
        self._folder = folder
        self._clock = clock
        # Without a session that outlives the connection, QoS 1 keeps nothing that is not asked for
        # again anyway; and it costs some brokers a queue on disk for each client: of 3,000 that
        # came back at once, a NATS server refused nearly all.
        heard = int(persistent) if qos is None else qos
        self._asked_for = Session(
            client_id, persistent, tuple(subscriptions), heard, tuple(unwanted)
        )
        self._identity = identity
        self._password = secret(settings.password_file, folder) if settings.password_file else None
        tls = any(address.tls for address in where)
        self._tls_context = tls_context(settings, folder) if tls else None
        self._reconnecting = Reconnecting(where, clock)
        self._closings = Closings(clock)
        self._client: Client | None = None
        self._arrivals = Arrivals()
        self._in_flight = InFlight()
        self._most_in_flight = packets.HIGHEST_ID
        self._most_received_bytes = most_packet_bytes
        #: Whether the next connection is there to end our session, and no more.
        self._ends_session = False
        self._gathering = False
        self._is_greeted = False
        self._session_at: Address | None = None
        self._liveness = Liveness(clock, settings.keepalive_s, silent_s)
        self._waker = Waker()
        #: Whether the broker has greeted us and granted the subscriptions.
        self.connected = False
        #: Grows with every established connection.
        self.session = 0
        #: Whether the broker had kept the session of the connection before this one, and so most
        #: likely what was handed to it then. Only a persistent one can be kept.
        self.kept = False
        #: The largest packet that the broker takes. Only MQTT 5 tells.
        self.most_packet_bytes = packets.MOST_BYTES
        #: Set before an attempt to connect.
        self.will: LastWill | None = None

    @property
    def address(self) -> str:
        """Where the broker is that we use or try now, for people."""
        return str(self._reconnecting.address)

    @property
    def trouble(self) -> str:
        """Why there is no connection, in one line; "" while there is one."""
        return self._reconnecting.trouble

    @property
    def speaks(self) -> bool:
        """Whether what is published is taken."""
        return self.connected

    @property
    def suspects_double(self) -> bool:
        """Whether brokers close us so often that another client may run under our name."""
        return self._closings.tell_of_another

    @property
    def closings(self) -> Counter[str]:
        """How often a broker closed us lately that did not fail otherwise, by its address; a few
        at most."""
        return self._closings.counts

    @property
    def hears(self) -> dict[str, tuple[str, ...]]:
        """What we have subscribed to, by the name of our session."""
        return {self._asked_for.client_id: self._asked_for.subscriptions}

    @property
    def redelivered(self) -> int:
        """How often the broker delivered again what was in hand already, not acknowledged yet."""
        return self._arrivals.repeated

    @property
    def in_flight(self) -> int:
        """Messages published on this connection that the broker has not acknowledged."""
        return len(self._in_flight)

    @property
    def bytes_in_flight(self) -> int:
        """What they carry."""
        return self._in_flight.bytes

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
            wait_s = self._reconnecting.wait_s
            if wait_s > 0 and not self._has_another_identity():
                self._waker.wait(min(wait_s, timeout_s))
                return
            self._connect()
            return
        self._turn(self._client, timeout_s, also)
        if self._client is not None and self.connected:
            self._look_at_connection(self._client)

    def take(self) -> list[Received]:
        """The messages that came in since the last call, oldest first."""
        messages = self._arrivals.take()
        if messages:
            self._liveness.took_message()
        return messages

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        about: Sequence[int] = (),
        qos: Literal[0, 1] = 1,
    ) -> bool:
        """Hand a message to the broker. With *qos* 0 it says nothing of it, and is not waited for.

        False, and nothing kept, if there is no broker, or if it takes no more for now. *about*:
        numbers of the caller's that `take_lost` gives back if the broker may not have it.
        """
        sock = self._socket()
        if sock is None or not self.connected or self.in_flight >= self._most_in_flight:
            return False
        mid = self._in_flight.next_id() if qos else 0
        packet = packets.publish(topic.encode(), payload, mid, retain=retain, five=self._five)
        if not self._send(sock, packet):
            return False
        if qos:
            if not self._in_flight:
                self._liveness.handed_first()
            self._in_flight.add(mid, about, len(payload))
        return True

    def take_lost(self) -> set[int]:
        """What was published `about` and not acknowledged when its connection ended, since the
        last call. A broker may have it all the same."""
        return self._in_flight.take_lost()

    def holds(self, message: Received) -> bool:
        """Whether *message* came by the present connection. If not, it comes again."""
        return message.session == self.session

    def ack(self, message: Received) -> None:
        """Tell the broker that *message* is safe. Of an earlier connection it comes again."""
        sock = self._socket()
        if sock is not None and self.holds(message) and message.qos:
            self._arrivals.acknowledged(message.mid)
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

    def subscribe_to(self, subscriptions: Sequence[str]) -> None:
        """From the next connection on, which is made at once, hear these and nothing else."""
        asked_for = replace(self._asked_for, subscriptions=tuple(subscriptions), unwanted=())
        self._asked_for = asked_for
        self._drop()
        self._reconnecting.at_once()

    def follow(self, other: "Connection") -> None:
        """Be connected to the broker that *other* uses, or try that one."""
        if self._reconnecting.follow(other._reconnecting) and self._client is not None:
            self._drop()
            self._reconnecting.at_once()

    def wake(self) -> None:
        """End the wait of a `step` on another thread."""
        self._waker.wake()

    def disconnect(self, timeout_s: float) -> None:
        """Say goodbye properly after sending what is under way, in *timeout_s* at most."""
        deadline = self._clock.monotonic() + timeout_s
        while self.connected and self.in_flight and self._clock.monotonic() < deadline:
            self.step(0.1)
        if self._client is not None:
            self._client.say_goodbye()
            self._drop()
        self._reconnecting.trouble = "disconnected"

    def close(self) -> None:
        """Drop the connection as it is and give back what it holds."""
        self._drop()
        self._waker.close()

    # Connecting

    def _connect(self) -> None:
        self._reconnecting.begin()
        address = self._reconnecting.address
        if self._identity is not None and address.tls:
            shown = self._identity.choose()
            if shown is None:
                self._reconnecting.failed(_NO_IDENTITY)
                return
            try:
                self._tls_context = tls_context(self._settings, self._folder, shown)
            except ConfigError as err:
                self._reconnecting.failed(str(err))
                return
        asked_for = self._asked_for
        if self._ends_session:
            asked_for = replace(asked_for, persistent=False, subscriptions=())
        client = Client(
            address,
            self._settings,
            asked_for,
            password=self._password,
            tls=self._tls_context,
            will=self.will,
        )
        try:
            client.connect()
        except (OSError, ValueError) as err:
            self._fail(why(err, self.address, self._clock.now()))
            return
        self._client = client
        # Not before: a name server that does not answer may have taken longer than a broker may.
        self._liveness.begins()

    def _look_at_client(self, client: Client) -> None:
        """Take note of what the broker has said to *client*."""
        address = self._reconnecting.address
        if client.greeted and not self._is_greeted:
            self._is_greeted = True
            self.session += 1
            self.kept = client.session_present and address == self._session_at
            self._session_at = address
            self.most_packet_bytes = client.most_packet_bytes
            self._most_in_flight = client.most_in_flight
        if client.established and not self.connected:
            self.connected = True
            self._liveness.established()
            self._reconnecting.connected()
            self._closings.greeted(address)
            log.info("broker: connected to %s", address)
            if self._identity is not None:
                self._identity.worked()

    def _look_at_connection(self, client: Client) -> None:
        if self._has_another_identity():
            log.info("broker: connecting anew, to show the new certificate")
            self._come_again(client)
        elif self._ends_session:
            self._ends_session = False
            self._come_again(client)
        # With something in hand it may be that the broker gives no more before that is safe.
        elif self._liveness.is_silent() and not self._arrivals.are_in_hand:
            name = self._asked_for.client_id
            log.info("broker: nothing came to the session %s for long; it is made anew", name)
            self._ends_session = True
            self._come_again(client)
        elif not self._reconnecting.stays(self._settings.connect_timeout_s):
            self._drop()

    def _come_again(self, client: Client) -> None:
        client.say_goodbye()
        self._drop()
        self._reconnecting.at_once()

    def _has_another_identity(self) -> bool:
        return self._identity is not None and self._identity.calls_for_another()

    def _fail(self, trouble: str) -> None:
        """The broker, or the way to it, has failed."""
        self._closings.failed(self._reconnecting.address)
        self._drop()
        self._reconnecting.failed(trouble)

    def _closed(self, client: Client) -> None:
        """The broker has ended the connection."""
        trouble, address = client.ending, self._reconnecting.address
        if client.taken_over:
            self._closings.taken_over()
        if client.refused:
            self._closings.failed(address)
        elif client.established:
            self._closings.closed(address)
        else:
            self._closings.ungreeted(address)
        if self.suspects_double:
            name = self._asked_for.client_id
            trouble += f"; if broker and network are good, another client may run as {name!r}"
        self._drop()
        self._reconnecting.failed(trouble)

    def _drop(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.drop()
        self.connected = self._is_greeted = False
        self._arrivals.forget()
        self._in_flight.lose()

    # One turn of the connection

    def _turn(self, client: Client, timeout_s: float, also: Sequence[BufferedSocket]) -> None:
        sock = client.socket
        if sock is None:
            self._closed(client)
            return
        sock.flush()
        watched: list[Any] = [sock, self._waker, *also]
        writers = [sock] if sock.has_output else []
        try:
            wait_s = 0.0 if any(one.has_input for one in (sock, *also)) else timeout_s
            readable, _, _ = select.select(watched, writers, [], wait_s)
        except (OSError, ValueError):
            self._closed(client)
            return
        if self._waker in readable:
            self._waker.seen()
        try:
            if sock in readable or sock.has_input:
                self._read_all(client, sock)
            client.write()
        except BadPacket as err:
            self._fail(f"{self.address} does not speak MQTT: {err}")
            return
        if self._client is client:
            self._keep_alive(sock)
            sock.flush()

    def _read_all(self, client: Client, sock: BufferedSocket) -> None:
        # What has come in together is read together, so that a burst costs one select and the
        # receiver sees it as one batch.
        if sock.fill():
            self._liveness.heard()
        while packet := sock.next_packet(self._most_received_bytes):
            first, body = packet
            kind = first & 0xF0
            if kind == packets.PUBLISH:
                message = packets.read_publish(first, body, five=self._five)
                self._arrivals.put(message, self.session, again=bool(first & packets.DUP))
            elif kind == packets.PUBACK:
                self._take_acknowledgement(*packets.read_puback(body))
            elif kind != packets.PINGRESP:
                sock.offer_packet()
                goes_on = client.read()
                self._look_at_client(client)
                if not goes_on:
                    self._closed(client)
                    return
        if sock.ended:
            if sock.alert and not self.connected:
                self._refused(sock.alert)
            else:
                self._closed(client)

    def _refused(self, alert: str) -> None:
        if self._identity is not None:
            self._identity.refused(alert)
        self._fail(f"{self.address} refuses this client: {alert}")

    def _keep_alive(self, sock: BufferedSocket) -> None:
        """Show the broker that we are here, and see that it is."""
        if trouble := self._liveness.trouble(in_flight=bool(self._in_flight)):
            self._fail(f"{self.address} {trouble}")
        elif self._liveness.must_ask():
            self._send(sock, packets.PINGREQ)

    def _send(self, sock: BufferedSocket, packet: bytes) -> bool:
        try:
            sock.send(packet)
        except BlockingIOError:
            return False
        if not self._gathering:
            sock.flush()
        return True

    def _take_acknowledgement(self, mid: int, reason: int) -> None:
        self._in_flight.acknowledged(mid)
        self._liveness.took_acknowledgement()
        # Only MQTT 5 tells; 3.1.1 acknowledges what it then throws away.
        if reason >= 0x80:
            log.warning("broker: %s does not take a message: reason %d", self.address, reason)

    def _socket(self) -> BufferedSocket | None:
        return self._client.socket if self._client is not None else None
