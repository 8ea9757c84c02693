"""A mail server for tests, which keeps what it takes; with TLS of a real authority if asked."""

import email
import email.policy
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from edge.certificates import Authority
from edge.dashboard.mail import MailSettings
from edge.demo.broker import free_port

LOGIN, PASSWORD = "quet-ma", "mat-khau-thu"


class Inbox:
    """What came in."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        #: Of what it takes nothing for now, or what it takes nothing of for some people.
        self.refuse = False
        self.refuse_for: set[str] = set()
        #: Mail with this in it is taken for spam.
        self.refuse_with = ""
        #: Whether TLS began within the conversation of each mail, and who signed in.
        self.secured: list[bool] = []
        self.logins: list[str] = []

    async def handle_RCPT(  # noqa: N802
        self, _: object, __: object, envelope: Any, address: str, ___: object
    ) -> str:
        if address in self.refuse_for:
            return "550 nobody here of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: object, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuse:
            return "451 not now"
        if self.refuse_with and self.refuse_with.encode() in envelope.content:
            return "554 this is spam"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append((envelope.rcpt_tos, message))
        self.secured.append(session.ssl is not None)
        return "250 OK"

    def login(self, _: object, __: object, ___: object, mechanism: str, given: Any) -> AuthResult:
        """Whether it is the one account that there is."""
        assert isinstance(given, LoginPassword)
        self.logins.append(given.login.decode())
        good = (given.login, given.password) == (LOGIN.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good)


def make_certificates(folder: Path, host: str = "localhost") -> None:
    """An authority (ca.pem) and a certificate of it for *host* (mail.pem, mail.key)."""
    now = datetime.now(UTC)
    authority, own = Authority.make("mail", now)
    issued = authority.issue_server(host, now)
    assert issued.key is not None
    for name, content in (
        ("ca.pem", own.certificate),
        ("mail.pem", issued.certificate),
        ("mail.key", issued.key),
    ):
        (folder / name).write_bytes(content)


@contextmanager
def mail_server(
    inbox: Inbox, security: Literal["none", "starttls", "tls"] = "none", folder: Path = Path()
) -> Iterator[MailSettings]:
    """*inbox* at a port of its own; gives the settings that reach it, without ca_file."""
    context = None
    if security != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "mail.pem", folder / "mail.key")
    more: dict[str, Any] = {}
    if security == "starttls":
        more = {
            "tls_context": context,
            "require_starttls": True,
            "authenticator": inbox.login,
            "auth_required": True,
        }
    controller = Controller(
        inbox,
        hostname="127.0.0.1",
        port=free_port(),
        ssl_context=context if security == "tls" else None,
        **more,
    )
    controller.start()
    try:
        yield MailSettings(
            host="localhost",
            port=controller.port,
            security=security,
            sender="quet-ma@example.invalid",
        )
    finally:
        controller.stop()
