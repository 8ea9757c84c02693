"""Signing in at the server that an office has for all its people: OpenID Connect, with Authlib.

Authorization code flow with PKCE, state and nonce. What that server says of a person is believed
only as a token that it has signed for us, just now, for this very sign-in. The home of authlib,
joserfc and requests.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Meta, Struct

from edge import config
from edge.cli import printable
from edge.clock import Clock, utc_seconds
from edge.dashboard.rights import Role
from edge.errors import ConfigError, SignInError

log = logging.getLogger(__name__)

CALLBACK = "/oidc/callback"
TIMEOUT_S = 10.0
#: What the server says of itself is asked for again after this.
KEEP_S = 3600.0
#: How far the two clocks may be apart.
LEEWAY_S = 60
#: Signatures by a key that only the server has; never one that we share with it.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")


class OidcSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where people sign in elsewhere, and which role what is said of them there gives."""

    #: The server's own name, an https:// address; "" for local accounts alone.
    issuer: Annotated[str, Meta(pattern=r"^(https://[^\s?#]+)?(?![\s\S])")] = ""
    #: What people know the server as.
    label: Annotated[str, Meta(max_length=60)] = "SSO"
    client_id: str = ""
    #: Without one we are a public client, which PKCE alone protects.
    client_secret_file: str = ""
    #: The authority of a server that the system does not know, PEM.
    ca_file: str = ""
    scope: str = "openid profile email"
    #: The claim with a person's name to sign in with, and the one with the groups that give a role;
    #: dots lead into it, as in "realm_access.roles".
    name_claim: Annotated[str, Meta(min_length=1)] = "preferred_username"
    role_claim: Annotated[str, Meta(min_length=1)] = "groups"
    #: Values of that claim; who has several gets the first of these roles.
    operators: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()
    technicians: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    desks: tuple[str, ...] = ()

    def role_of(self, values: Sequence[str]) -> Role | None:
        """The role of somebody with these values; None for nobody of ours."""
        roles: tuple[tuple[Role, tuple[str, ...]], ...] = (
            ("operator", self.operators),
            ("manager", self.managers),
            ("technician", self.technicians),
            ("department", self.departments),
            ("desk", self.desks),
        )
        return next((role for role, given in roles if set(given) & set(values)), None)


@dataclass(frozen=True)
class Identity:
    """A person as that server knows it."""

    subject: str
    name: str  #: "" if it gave none
    role: Role | None
    token: str  #: by which it knows the session there


class Provider:
    """The server. For any thread."""

    def __init__(self, settings: OidcSettings, url: str, beside: Path, clock: Clock) -> None:
        """*url*: of our pages; secrets are *beside* the settings. Raises ConfigError."""
        if not url:
            raise ConfigError("oidc.issuer is given: web.url must say where people reach the pages")
        if not settings.client_id:
            raise ConfigError("oidc.issuer is given: oidc.client_id must be as it knows us")
        self.settings = settings
        self._url, self._clock = url.rstrip("/"), clock
        secret_file = settings.client_secret_file
        self._secret = config.secret(secret_file, beside) if secret_file else None
        authority = config.secret_path(settings.ca_file, beside) if settings.ca_file else None
        if authority is not None and not authority.is_file():
            raise ConfigError(f"{authority}: there is no such file; see oidc.ca_file")
        #: Of every request, since a session's own setting yields to the environment's. What is
        #: meant for this server is not carried on to another.
        self._how: dict[str, Any] = {
            "verify": str(authority) if authority else True,
            "timeout": TIMEOUT_S,
            "allow_redirects": False,
        }
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any]] | None = None
        self._keys: KeySet | None = None

    def begin(self, state: str, nonce: str, verifier: str) -> str:
        """Where the browser is to go. Raises SignInError if the server does not answer."""
        endpoint = self._endpoint("authorization_endpoint")
        with self._session() as session:
            url, _ = session.create_authorization_url(
                endpoint, state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    def finish(self, code: str, nonce: str, verifier: str) -> Identity:
        """Who it is, by the *code* that came back. Raises SignInError."""
        endpoint = self._endpoint("token_endpoint")
        with self._session() as session:
            answer = self._ask(
                lambda: session.fetch_token(
                    endpoint,
                    code=code,
                    code_verifier=verifier,
                    grant_type="authorization_code",
                    **self._how,
                )
            )
            token = str(answer.get("id_token") or "")
            claims = self._verified(token, nonce, str(answer.get("access_token") or ""))
            roles = _values(claims, self.settings.role_claim)
            info = self._metadata().get("userinfo_endpoint")
            if roles is None and info:
                more = self._ask(lambda: session.get(info, **self._how).json())
                # Another person's would be a mix-up, or an attack.
                if isinstance(more, dict) and more.get("sub") == claims["sub"]:
                    claims = more | claims
                    roles = _values(claims, self.settings.role_claim)
        names = _values(claims, self.settings.name_claim) or []
        return Identity(
            str(claims["sub"]),
            names[0] if names else "",
            self.settings.role_of(roles or ()),
            token,
        )

    def end(self, token: str) -> str:
        """Where the browser goes to sign out there too; "" if that cannot be told."""
        try:
            endpoint = str(self._metadata().get("end_session_endpoint") or "")
        except SignInError as err:
            log.warning("%s", err)
            return ""
        # A form of ours may lead to the issuer's own server and to no other: see headers.py.
        if not endpoint or origin(endpoint) != origin(self.settings.issuer):
            return ""
        query = {
            "id_token_hint": token,
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": f"{self._url}/sign-in",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def _verified(self, token: str, nonce: str, access_token: str) -> dict[str, Any]:
        """What *token* says, if all of it is as it must be."""
        for attempt in (1, 2):
            try:
                read = jwt.decode(token, self._key_set(anew=attempt == 2), ALGORITHMS)
                break
            except (JoseError, ValueError) as err:
                # It may have taken a new key since we asked.
                if attempt == 2:
                    raise _untrue(f"its token is not signed as it must be: {err}") from err
        claims = CodeIDToken(
            read.claims,
            read.header,
            {
                "iss": {"essential": True, "value": self.settings.issuer},
                "aud": {"essential": True, "value": self.settings.client_id},
                "sub": {"essential": True},
                "nonce": {"essential": True, "value": nonce},
            },
            {"nonce": nonce, "client_id": self.settings.client_id, "access_token": access_token},
        )
        try:
            claims.validate(now=int(utc_seconds(self._clock.now().at)), leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError) as err:
            raise _untrue(f"its token does not hold: {err}") from err
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise _untrue("its token names nobody")
        return dict(claims)

    def _key_set(self, *, anew: bool) -> KeySet:
        with self._lock:
            keys = self._keys
        if keys is None or anew:
            where = self._endpoint("jwks_uri")
            found = self._get(where)
            try:
                keys = KeySet.import_key_set(found)  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError) as err:
                raise _untrue(f"its keys cannot be read: {err}") from err
            with self._lock:
                self._keys = keys
        return keys

    def _endpoint(self, name: str) -> str:
        where = self._metadata().get(name)
        if not isinstance(where, str) or urlsplit(where).scheme != "https":
            raise _untrue(f"it does not say where its {name} is, or not by https")
        return where

    def _metadata(self) -> dict[str, Any]:
        now = self._clock.monotonic()
        with self._lock:
            known = self._known
        if known is not None and now - known[0] < KEEP_S:
            return known[1]
        issuer = self.settings.issuer
        found = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise _untrue(f"it calls itself {found.get('issuer')!r} and not {issuer!r}")
        with self._lock:
            self._known, self._keys = (now, found), None
        return found

    def _get(self, url: str) -> dict[str, Any]:
        def get() -> Any:
            answer = requests.get(url, **self._how)
            answer.raise_for_status()
            return answer.json()

        found = self._ask(get)
        if not isinstance(found, dict):
            raise _untrue("its answer is no JSON object")
        return found

    def _ask(self, what: Callable[[], Any]) -> Any:
        """What *what* gives. Raises SignInError that says why it gives nothing."""
        host = urlsplit(self.settings.issuer).hostname
        try:
            return what()
        except (requests.RequestException, ValueError) as err:
            raise SignInError(
                f"Máy chủ đăng nhập {host} không trả lời như cần thiết.",
                f"The sign-in server {host} does not answer as it must.",
                printable(" ".join(str(err).split())[:300]),
            ) from err
        except AuthlibBaseError as err:
            raise SignInError(
                f"Máy chủ đăng nhập {host} không chấp nhận lần đăng nhập này.",
                f"The sign-in server {host} does not accept this sign-in.",
                printable(str(err)[:300]),
            ) from err

    def _session(self) -> Any:
        return OAuth2Session(
            self.settings.client_id,
            self._secret,
            token_endpoint_auth_method=None if self._secret else "none",
            scope=self.settings.scope,
            redirect_uri=self._url + CALLBACK,
            code_challenge_method="S256",
        )


def origin(url: str) -> str:
    """Scheme, host and port of *url*."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _untrue(what: str) -> SignInError:
    return SignInError(
        "Không thể tin câu trả lời của máy chủ đăng nhập; hãy báo người vận hành.",
        "The sign-in server's answer cannot be believed; tell the operator.",
        printable(what[:300]),
    )


def _values(claims: Mapping[str, Any], name: str) -> list[str] | None:
    """The claim *name* as a list of texts, dots leading into it; None if there is none."""
    found: Any = claims
    # A claim may itself have dots in its name, as an address does.
    for key in [name] if name in claims else name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if found is None:
        return None
    values = found if isinstance(found, list) else [found]
    return [value for value in values if isinstance(value, str)]
