"""One connection to an MQTT broker; the only file that knows paho.

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
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from msgspec import Meta, Struct
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import Clock, Moment
from edge.config import secret, secret_path
from edge.errors import ConfigError

log = logging.getLogger(__name__)

#: Longest wait between two attempts to connect.
BACKOFF_MAX_S = 60.0
BACKOFF_MIN_S = 0.5
#: A broker that has accepted the connection but says nothing is given up after this.
GREETING_S = 10.0
#: A connection that lasts this long was a good one: the next loss starts with a short wait again.
STABLE_S = 30.0
#: So many connections in a row that ended sooner than that look like two clients under one name,
#: each of which the broker ends for the other.
SHORT_CONNECTIONS = 4
#: On the second broker, the first is looked for after this long, and again each time.
RETURN_S = 600.0
#: How many messages one turn reads at the most.
READ_AT_ONCE = 500


class BrokerSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which broker, and as whom. Files are looked for beside the settings, or where systemd
    hands over credentials."""

    url: str = "mqtt://127.0.0.1:1883"
    fallback_url: str = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30
    connect_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0


@dataclass(frozen=True)
class Received:
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
    ) -> None:
        """*persistent*: the broker keeps our subscriptions and what arrives while we are away.

        Raises ConfigError for a url or a file that cannot be used.
        """
        self._addresses = [_address(settings.url, "broker.url")]
        if settings.fallback_url:
            self._addresses.append(_address(settings.fallback_url, "broker.fallback_url"))
        self._at = 0
        self._settings = settings
        self._folder = folder
        self._client_id = client_id
        self._clock = clock
        self._subscriptions = list(subscriptions)
        self._persistent = persistent
        self._password = secret(settings.password_file, folder) if settings.password_file else None
        tls = any(address.tls for address in self._addresses)
        self._tls_context = self._make_tls_context() if tls else None
        self._client: paho.Client | None = None
        self._received: deque[Received] = deque()
        self._unacknowledged: set[int] = set()
        self._attempts = 0
        self._next_attempt = clock.monotonic()
        self._attempt_began = 0.0
        self._connected_at = 0.0
        self._return_at = 0.0
        self._short_connections = 0
        self._reason = ""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        #: Whether the broker has greeted us and granted the subscriptions.
        self.connected = False
        #: Grows with every established connection.
        self.session = 0
        #: Why there is no connection, in one line; "" while there is one.
        self.trouble = "not connected yet"
        #: Set before an attempt to connect.
        self.will: LastWill | None = None

    @property
    def address(self) -> str:
        """Where the broker is that we use or try now, for people."""
        return str(self._addresses[self._at])

    @property
    def suspects_double(self) -> bool:
        """Whether our connections end so soon that another client may run under our name."""
        return self._short_connections >= SHORT_CONNECTIONS

    @property
    def in_flight(self) -> int:
        """Messages published on this connection that the broker has not acknowledged."""
        return len(self._unacknowledged)

    def step(self, timeout_s: float) -> None:
        """Do what is due, waiting for traffic for at most *timeout_s*.

        Returns early when something came in, when `wake` was called, or when the connection went.
        """
        if self._client is None:
            wait = self._next_attempt - self._clock.monotonic()
            if wait > 0:
                self._wait_for_wake(min(wait, timeout_s))
                return
            self._connect()
            return
        self._turn(self._client, timeout_s)
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

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a message to the broker, QoS 1. False, and nothing kept, if there is none."""
        if self._client is None or not self.connected:
            return False
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            return False
        self._unacknowledged.add(info.mid)
        return True

    def ack(self, message: Received) -> None:
        """Tell the broker that *message* is safe. Of an earlier connection it comes again."""
        if self._client is not None and message.session == self.session and message.qos:
            self._client.ack(message.mid, message.qos)

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
        client = self._new_client(address)
        try:
            # MQTT 5 has no "persistent" of its own: the session's lifetime says it instead.
            if self._settings.protocol == "5":
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
            self._schedule(_why(err, self.address, self._clock.now()))
            return
        self._client = client

    def _new_client(self, address: "_Address") -> paho.Client:
        five = self._settings.protocol == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if five else not self._persistent,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._settings.connect_timeout_s
        # Our callers bound what they have under way; paho must not hold any of it back.
        client.max_inflight_messages_set(65_535)
        if self._settings.username:
            client.username_pw_set(self._settings.username, self._password)
        if address.tls and self._tls_context is not None:
            client.tls_set_context(self._tls_context)
        if self.will is not None:
            client.will_set(self.will.topic, self.will.payload, qos=1, retain=True)
        # Before connecting: a persistent session delivers at once.
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        return client

    def _make_tls_context(self) -> ssl.SSLContext:
        try:
            ca = secret_path(self._settings.ca_file, self._folder)
            context = ssl.create_default_context(cafile=str(ca) if self._settings.ca_file else None)
            if self._settings.certificate_file:
                context.load_cert_chain(
                    secret_path(self._settings.certificate_file, self._folder),
                    secret_path(self._settings.key_file, self._folder)
                    if self._settings.key_file
                    else None,
                )
        except (OSError, ssl.SSLError) as err:
            raise ConfigError(
                f"broker: cannot use the certificates in {self._folder}: {err}"
            ) from err
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

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
        if now - self._connected_at >= STABLE_S:
            self._attempts = 0
            self._short_connections = 0
        if self._at and now >= self._return_at:
            self._return_at = now + RETURN_S
            if self._addresses[0].is_reachable(self._settings.connect_timeout_s):
                log.info("broker: %s is back", self._addresses[0])
                self._drop()
                self._at = 0
                self._next_attempt = now

    def _lost(self, why: str) -> None:
        if self.connected:
            short = self._clock.monotonic() - self._connected_at < STABLE_S
            self._short_connections = self._short_connections + 1 if short else 0
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
        self._unacknowledged.clear()

    # One turn of the connection

    def _turn(self, client: paho.Client, timeout_s: float) -> None:
        sock = client.socket()
        if sock is None:
            self._lost(self._reason)
            return
        # TLS may hold bytes that the kernel has already handed over.
        held = getattr(sock, "pending", lambda: 0)
        writers = [sock] if client.want_write() else []
        try:
            watched: list[Any] = [sock, self._wake_read]
            timeout_s = 0.0 if held() else timeout_s
            readable, writable, _ = select.select(watched, writers, [], timeout_s)
        except (OSError, ValueError):
            self._lost(self._reason)
            return
        if self._wake_read in readable:
            self._drain_wake()
        result = paho.MQTT_ERR_SUCCESS
        if sock in readable or held():
            result = self._read_all(client)
        if result == paho.MQTT_ERR_SUCCESS and writable:
            result = client.loop_write()
        if result == paho.MQTT_ERR_SUCCESS:
            result = client.loop_misc()
        if result != paho.MQTT_ERR_SUCCESS and self._client is client:
            self._lost(self._reason)

    def _read_all(self, client: paho.Client) -> MQTTErrorCode:
        # paho reads one packet a call. What came with it is read too, up to a bound, so that a
        # burst costs one select and the receiver sees it as one batch.
        while True:
            before = (len(self._received), self.in_flight)
            result = client.loop_read()
            idle = before == (len(self._received), self.in_flight)
            if result != paho.MQTT_ERR_SUCCESS or idle or len(self._received) >= READ_AT_ONCE:
                return result

    def _wait_for_wake(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._wake_read], [], [], timeout_s)
        if readable:
            self._drain_wake()

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    # What paho tells us

    def _on_connect(
        self, client: paho.Client, _: Any, __: Any, reason: ReasonCode, ___: Properties | None
    ) -> None:
        if reason.is_failure:
            self._reason = f"refused by {self.address}: {reason}; check its user and rules for us"
            return
        self.session += 1
        if self._subscriptions:
            client.subscribe([(subscription, 1) for subscription in self._subscriptions])
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
        self._connected_at = self._clock.monotonic()
        self._return_at = self._connected_at + RETURN_S
        self._reason = f"{self.address} closed the connection"
        log.info("broker: connected to %s", self.address)

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        self._received.append(
            Received(
                topic,
                bytes(message.payload),
                message.retain,
                message.mid,
                message.qos,
                self.session,
            )
        )

    def _on_publish(
        self, _: paho.Client, __: Any, mid: int, reason: ReasonCode, ___: Properties | None
    ) -> None:
        self._unacknowledged.discard(mid)
        # Only MQTT 5 tells; 3.1.1 acknowledges what it then throws away.
        if reason.is_failure:
            log.warning("broker: %s does not take a message: %s", self.address, reason)

    def _on_disconnect(
        self, _: paho.Client, __: Any, ___: Any, reason: ReasonCode, ____: Properties | None
    ) -> None:
        # Only MQTT 5 tells why.
        if reason == "Session taken over":
            self._short_connections = SHORT_CONNECTIONS


@dataclass(frozen=True)
class _Address:
    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def is_reachable(self, timeout_s: float) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout_s).close()
        except OSError:
            return False
        return True


def _address(url: str, key: str) -> _Address:
    parts = urlsplit(url)
    tls = parts.scheme == "mqtts"
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ConfigError(f"{key} is {url!r}; it must be mqtt://host:port or mqtts://host:port")
    try:
        port = parts.port or (8883 if tls else 1883)
    except ValueError:
        raise ConfigError(f"{key} is {url!r}; its port must be 1 to 65535") from None
    return _Address(parts.hostname, port, tls)


# OpenSSL's numbers for a certificate that is not valid yet, and one that is no longer.
_WRONG_TIME = (9, 10)


def _why(err: Exception, address: str, now: Moment) -> str:
    if isinstance(err, ConnectionRefusedError):
        return f"nobody listens at {address}; start the broker or correct broker.url"
    if isinstance(err, TimeoutError):
        return f"{address} does not answer; check the network and broker.url"
    if isinstance(err, socket.gaierror):
        return f"cannot find {address} by its name; check the network and broker.url"
    if isinstance(err, ssl.SSLCertVerificationError):
        if err.verify_code in _WRONG_TIME and now.clock == "none":
            return (
                f"{address}: the clock of this unit is not set and says {now.at}, at which the"
                " broker's certificate is not valid; let it reach a time server (NTP) or fit a"
                " clock (RTC)"
            )
        return f"{address}: its certificate is not accepted ({err.verify_message})"
    return f"cannot reach {address}: {err}"
