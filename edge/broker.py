"""Which broker, and as whom: the settings, the addresses, and why one cannot be reached."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from edge.clock import Moment
from edge.config import secret_path
from edge.errors import ConfigError

# OpenSSL's numbers for a certificate that is not valid yet, and one that is no longer.
_WRONG_TIME = (9, 10)


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
class Address:
    """Where a broker listens."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def is_reachable(self, timeout_s: float) -> bool:
        """Whether somebody listens there."""
        try:
            socket.create_connection((self.host, self.port), timeout_s).close()
        except OSError:
            return False
        return True


def addresses(settings: BrokerSettings) -> list[Address]:
    """The brokers of *settings*, the preferred one first. Raises ConfigError."""
    found = [_address(settings.url, "broker.url")]
    if settings.fallback_url:
        found.append(_address(settings.fallback_url, "broker.fallback_url"))
    return found


class ClientIdentity(Protocol):
    """Which certificate a client shows, where that changes while it runs."""

    def choose(self) -> Path | None:
        """The file with key and certificates to show now; None while there is none."""
        ...

    def worked(self) -> None:
        """The broker has taken what was chosen last."""
        ...

    def refused(self, alert: str) -> None:
        """The broker has refused what was chosen last, by this alert of TLS."""
        ...

    def calls_for_another(self) -> bool:
        """Whether there is another one to be shown than the one that is. Cheap to ask."""
        ...


def tls_context(
    settings: BrokerSettings, folder: Path, shown: Path | None = None
) -> ssl.SSLContext:
    """Whom to trust and who we are, from files beside *folder*, or *shown* with key and
    certificates. Raises ConfigError."""
    try:
        ca = secret_path(settings.ca_file, folder)
        context = ssl.create_default_context(cafile=str(ca) if settings.ca_file else None)
        if shown is not None:
            context.load_cert_chain(shown)
        elif settings.certificate_file:
            context.load_cert_chain(
                secret_path(settings.certificate_file, folder),
                secret_path(settings.key_file, folder) if settings.key_file else None,
            )
    except (OSError, ssl.SSLError) as err:
        raise ConfigError(f"broker: cannot use the certificates in {folder}: {err}") from err
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def why(err: Exception, address: str, now: Moment) -> str:
    """Why *address* cannot be reached, in one line with what to do."""
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


def _address(url: str, key: str) -> Address:
    parts = urlsplit(url)
    tls = parts.scheme == "mqtts"
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ConfigError(f"{key} is {url!r}; it must be mqtt://host:port or mqtts://host:port")
    try:
        port = parts.port or (8883 if tls else 1883)
    except ValueError:
        raise ConfigError(f"{key} is {url!r}; its port must be 1 to 65535") from None
    return Address(parts.hostname, port, tls)
