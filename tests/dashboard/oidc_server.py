"""An OpenID Connect server for tests: Authlib's server side in Flask, over real HTTPS.

It demands PKCE and a nonce, uses each code once, and can be told to lie.
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode
from flask import Flask, Response, jsonify, redirect, request
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

SECRET, CLIENT = "bi-mat-cua-may-khach", "quet-ma"


@dataclass
class Client:
    """What the server knows of us."""

    redirect_uri: str
    secret: str = SECRET

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == ("client_secret_basic" if self.secret else "none")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class User:
    """A person of the office."""

    subject: str
    claims: dict[str, Any]

    def get_user_id(self) -> str:
        return self.subject


@dataclass
class Code:
    """A code that was given out."""

    user: User
    data: dict[str, str]
    auth_time: int

    @property
    def code_challenge(self) -> str:
        return self.data.get("code_challenge", "")

    @property
    def code_challenge_method(self) -> str:
        return self.data.get("code_challenge_method", "")

    def get_redirect_uri(self) -> str:
        return self.data.get("redirect_uri", "")

    def get_scope(self) -> str:
        return self.data.get("scope", "")

    def get_nonce(self) -> str:
        return self.data.get("nonce", "")

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


@cache
def _a_key() -> RSAKey:
    # To make one takes a moment.
    return RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})


@dataclass
class OidcServer:
    """The server, what it knows, and what it lies about."""

    #: Seconds since 1970 by its clock.
    now: Callable[[], float]
    url: str = ""
    client: Client = field(default_factory=lambda: Client(""))
    users: dict[str, User] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, User] = field(default_factory=dict)
    key: RSAKey = field(default_factory=_a_key)
    #: The key it signs with, where that is another than it tells of.
    signs_with: RSAKey | None = None
    #: Claims that its tokens have instead of the true ones.
    lies: dict[str, Any] = field(default_factory=dict)
    #: What it says of itself instead of the truth.
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Whether groups stand in the token, or are to be asked for.
    groups_in_token: bool = True
    signed_out: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> Flask:
        """What serves it."""
        made = Flask("oidc")
        granting = AuthorizationServer(
            made, query_client=lambda _: self.client, save_token=self._keep
        )
        granting.register_grant(_grant(self), [_openid(self), CodeChallenge(required=True)])

        @made.get("/.well-known/openid-configuration")
        def discovery() -> Response:
            ends = {
                "authorization_endpoint": "authorize",
                "token_endpoint": "token",
                "userinfo_endpoint": "userinfo",
                "jwks_uri": "keys",
                "end_session_endpoint": "end",
            }
            said = {"issuer": self.url} | {name: f"{self.url}/{end}" for name, end in ends.items()}
            return jsonify(said | self.metadata)

        @made.get("/keys")
        def keys() -> Response:
            return jsonify({"keys": [self.key.as_dict(private=False)]})

        @made.route("/authorize", methods=["GET", "POST"])
        def authorize() -> Any:
            if request.method == "GET":
                return (
                    "<!doctype html><title>SSO</title><form method=post>"
                    "<label>Tên <input name=user></label><button>Vào</button></form>"
                )
            user = self.users.get(request.form["user"])
            grant = granting.get_consent_grant(end_user=user)
            return granting.create_authorization_response(grant_user=user, grant=grant)

        @made.post("/token")
        def token() -> Any:
            return granting.create_token_response()

        @made.get("/userinfo")
        def userinfo() -> Any:
            user = self.tokens.get(request.headers["authorization"].removeprefix("Bearer "))
            if user is None:
                return "", 401
            return jsonify({"sub": user.subject} | user.claims)

        @made.get("/end")
        def end() -> Any:
            self.signed_out.append(dict(request.args))
            return redirect(request.args["post_logout_redirect_uri"])

        return made

    def _keep(self, token: dict[str, Any], asked: Any) -> None:
        self.tokens[token["access_token"]] = asked.user


def _grant(server: OidcServer) -> type:
    class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "none")

        def save_authorization_code(self, code: str, asked: Any) -> None:
            server.codes[code] = Code(asked.user, dict(asked.payload.data), int(server.now()))

        def query_authorization_code(self, code: str, _: Any) -> Code | None:
            return server.codes.get(code)

        def delete_authorization_code(self, code: Code) -> None:
            server.codes = {name: kept for name, kept in server.codes.items() if kept is not code}

        def authenticate_user(self, code: Code) -> User:
            return code.user

    return Grant


def _openid(server: OidcServer) -> OpenIDCode:
    class Tokens(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, _: Any) -> bool:
            return any(code.get_nonce() == nonce for code in server.codes.values())

        def resolve_client_private_key(self, _: Any) -> RSAKey:
            return server.signs_with or server.key

        def get_encode_header(self, _: Any) -> dict[str, str]:
            return {"alg": "RS256", "kid": "k1"}

        def get_compatible_claims(self, _: Any) -> dict[str, Any]:
            now = int(server.now())
            return {"iss": server.url, "aud": [CLIENT], "iat": now, "exp": now + 300}

        def get_authorization_code_claims(self, code: Code) -> dict[str, Any]:
            claims: dict[str, Any] = super().get_authorization_code_claims(code)
            return claims

        def generate_user_info(self, user: User, _: str) -> dict[str, Any]:
            told = dict(user.claims)
            if not server.groups_in_token:
                told.pop("groups", None)
            return {"sub": user.subject} | told | server.lies

    return Tokens(require_nonce=True)


@contextmanager
def serving(server: OidcServer, certificate: Path, key: Path) -> Iterator[OidcServer]:
    """*server* at an address of its own, with that certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    listening = make_server("127.0.0.1", 0, server.app(), threaded=True, ssl_context=tls)
    server.url = f"https://localhost:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield server
    listening.shutdown()
    thread.join(10)
    listening.server_close()
