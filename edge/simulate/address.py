"""Where the brokers are at which a fleet is played."""

import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from edge.errors import ConfigError


class Address(NamedTuple):
    """Where a broker listens."""

    family: socket.AddressFamily
    host: str
    port: int


def address_of(url: str) -> Address:
    """Where *url* is. A name is looked up here, once, and not for each of ten thousand units.

    Raises ConfigError.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port or 1883
    except ValueError:
        host = None
    if host is None or parts.scheme != "mqtt":
        raise ConfigError(f"broker is {url!r}; it must be mqtt://host:port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        # The second is of a name that cannot be one, as by two dots in a row.
        why = getattr(err, "strerror", "") or "no name of a machine"
        raise ConfigError(f"broker {host}: {why}; correct --broker") from err
    family, _, _, _, address = found[0]
    return Address(family, str(address[0]), int(address[1]))
