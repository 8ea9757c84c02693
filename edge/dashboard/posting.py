"""Posts JSON to somebody else's server over HTTPS, signed by a key that both have.

The header `Edge-Signature: t=<seconds since 1970>,v1=<hex>` is HMAC-SHA256 of `<t>.` and the body,
so that whoever takes it knows who sent it, that it is whole, and that it is not an old one again.
"""

import hashlib
import hmac
import http.client
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from edge import config
from edge.clock import Clock, utc_seconds
from edge.errors import ConfigError, DeliveryError

TIMEOUT_S = 15.0
#: Over plain HTTP nothing leaves this machine.
_HERE = ("127.0.0.1", "localhost", "::1")


class Poster:
    """Posts to one address."""

    def __init__(
        self, url: str, key_file: str, beside: Path, clock: Clock, ca_file: str = ""
    ) -> None:
        """*key_file*: the secret that both have, *beside* the settings. Raises ConfigError."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
            raise ConfigError(f"{url!r} is not https://, and what is sent must not be read")
        self._url, self._clock = url, clock
        self._key = config.secret(key_file, beside).encode()
        authority = config.secret_path(ca_file, beside) if ca_file else None
        self._opener = urllib.request.build_opener(
            _NoRedirect,
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority)),
        )

    def post(self, content: object) -> None:
        """Post *content* as JSON; taken when this returns. Raises DeliveryError."""
        body = msgspec.json.encode(content)
        at = str(int(utc_seconds(self._clock.now().at)))
        request = urllib.request.Request(
            self._url,
            body,
            {
                "Content-Type": "application/json",
                "Edge-Signature": f"t={at},v1={signature(self._key, at, body)}",
            },
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_S):
                return
        except (OSError, http.client.HTTPException) as err:
            raise DeliveryError(f"{urlsplit(self._url).hostname} does not take it: {err}") from err


def signature(key: bytes, at: str, body: bytes) -> str:
    """The signature of *body* posted *at* (seconds since 1970), in hexadecimal."""
    return hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is meant for one server is not carried on to another."""

    def redirect_request(self, *_: object) -> None:
        return None
