"""One connection to a broker as paho makes it: greeting, subscriptions, goodbye.

The only file that knows paho. Each attempt to connect is a new client, so that no message outlives
its connection in paho's memory.
"""

import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import packets
from edge.broker import Address, BrokerSettings
from edge.buffered_socket import BufferedSocket


@dataclass(frozen=True)
class LastWill:
    """What the broker publishes, retained, when this connection dies without goodbye."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Session:
    """What is asked of a broker with each connection."""

    client_id: str
    #: Whether it keeps the subscriptions, and what arrives while we are away.
    persistent: bool
    subscriptions: tuple[str, ...]
    #: Of what we hear.
    qos: int
    #: Subscriptions that a kept session may have from before, and that are ended.
    unwanted: tuple[str, ...] = ()


class Client:
    """A connection, from its beginning to its end. What it says of itself changes in `read`."""

    def __init__(
        self,
        address: Address,
        settings: BrokerSettings,
        session: Session,
        *,
        password: str | None,
        tls: ssl.SSLContext | None,
        will: LastWill | None,
    ) -> None:
        """*tls* is needed for an address with TLS; *will* None leaves none."""
        self._address = address
        self._settings = settings
        self._session = session
        self._five = settings.protocol == "5"
        #: Whether the broker has greeted us.
        self.greeted = False
        #: Whether it has granted the subscriptions as well.
        self.established = False
        #: Whether it has said no: to us, or to a subscription.
        self.refused = False
        #: Whether it has said that another client came under our name. Only MQTT 5 tells.
        self.taken_over = False
        #: Whether it had kept our session.
        self.session_present = False
        #: The largest packet that it takes, and how many that it has not acknowledged. Only MQTT 5
        #: tells.
        self.most_packet_bytes = packets.MOST_BYTES
        self.most_in_flight = packets.HIGHEST_ID
        #: Why it has ended, in one line, if it ends now by the broker's doing.
        self.ending = f"{address} closed the connection before greeting us"
        self._paho = self._new_client(password, tls, will)

    @property
    def socket(self) -> BufferedSocket | None:
        """What it reads and writes by; None once it has ended."""
        sock = self._paho.socket()
        return sock if isinstance(sock, BufferedSocket) else None

    def connect(self) -> None:
        """Connect; the greeting comes later. Raises OSError or ValueError."""
        address, each = self._address, self._settings.keepalive_s
        if not self._five:
            self._paho.connect(address.host, address.port, each)
        else:
            # MQTT 5 has no "persistent" of its own: the session's lifetime says it instead.
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0xFFFFFFFF if self._session.persistent else 0
            self._paho.connect(
                address.host,
                address.port,
                each,
                clean_start=not self._session.persistent,
                properties=properties,
            )
        if (sock := self.socket) is not None:
            sock.flush()

    def read(self) -> bool:
        """Read the packet that the socket has on offer; False if the connection has ended by it."""
        return self._paho.loop_read() == paho.MQTT_ERR_SUCCESS

    def write(self) -> None:
        """Write what paho has to say."""
        if self._paho.want_write():
            self._paho.loop_write()

    def say_goodbye(self) -> None:
        """Tell the broker that we go: it then keeps the will to itself."""
        self._paho.disconnect()

    def drop(self) -> None:
        """End it as it is."""
        with contextlib.suppress(OSError, ValueError):
            if (sock := self._paho.socket()) is not None:
                sock.close()

    def _new_client(
        self, password: str | None, tls: ssl.SSLContext | None, will: LastWill | None
    ) -> "_BufferedClient":
        client = _BufferedClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._session.client_id,
            clean_session=None if self._five else not self._session.persistent,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._settings.connect_timeout_s
        if self._settings.username:
            client.username_pw_set(self._settings.username, password)
        if self._address.tls and tls is not None:
            client.tls_set_context(tls)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        # Before connecting: a persistent session delivers at once.
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        return client

    def _on_connect(
        self,
        client: paho.Client,
        _: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.refused = True
            self.ending = f"refused by {self._address}: {reason}; check its user and rules for us"
            return
        self.greeted = True
        self.session_present = bool(flags.session_present)
        self.most_packet_bytes = getattr(properties, "MaximumPacketSize", packets.MOST_BYTES)
        most = getattr(properties, "ReceiveMaximum", packets.HIGHEST_ID)
        self.most_in_flight = min(most, packets.HIGHEST_ID)
        if self.session_present and self._session.unwanted:
            client.unsubscribe(list(self._session.unwanted))
        if self._session.subscriptions:
            client.subscribe([(topic, self._session.qos) for topic in self._session.subscriptions])
        else:
            self._establish()

    def _on_subscribe(
        self,
        client: paho.Client,
        _: Any,
        __: int,
        reasons: list[ReasonCode],
        ___: Properties | None,
    ) -> None:
        for subscription, reason in zip(self._session.subscriptions, reasons, strict=False):
            if reason.is_failure:
                self.refused = True
                self.ending = f"refused by {self._address}: may not subscribe to {subscription}"
                client.disconnect()
                return
        self._establish()

    def _establish(self) -> None:
        self.established = True
        self.ending = f"{self._address} closed the connection"

    def _on_disconnect(
        self, _: paho.Client, __: Any, ___: Any, reason: ReasonCode, ____: Properties | None
    ) -> None:
        self.taken_over = reason == "Session taken over"


class _BufferedClient(paho.Client):
    """paho's client, on a socket that gathers what it reads and writes."""

    def _create_socket(self) -> BufferedSocket:
        # There is no public way to hand in a socket; this is where paho makes each of its own.
        sock: Any = super()._create_socket()
        # What goes out together is gathered here already. The system would hold it back for up to
        # 40 ms besides, until the broker has acknowledged what went before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return BufferedSocket(sock)
