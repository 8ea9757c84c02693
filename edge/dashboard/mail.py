"""Sends mail over SMTP, with TLS unless the settings say that there is none."""

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from edge import config
from edge.cli import printable
from edge.errors import DeliveryError

TIMEOUT_S = 20.0
_TYPES = {
    "pdf": ("application", "pdf"),
    "xlsx": ("application", "vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "csv": ("text", "csv"),
}


class MailSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where mail is handed over, and to whom it goes."""

    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    #: A file with the authority of a server that the system does not know.
    ca_file: str = ""
    username: str = ""
    password_file: str = ""
    sender: str = ""
    reports_to: tuple[str, ...] = ()
    alarms_to: tuple[str, ...] = ()


class Mailer:
    """Hands mail to one server."""

    def __init__(self, settings: MailSettings, beside: Path) -> None:
        """*beside*: where the secrets are. Raises ConfigError for a password that is not there."""
        self._settings = settings
        self._password = (
            config.secret(settings.password_file, beside) if settings.password_file else ""
        )
        ca_file = config.secret_path(settings.ca_file, beside) if settings.ca_file else None
        self._tls = ssl.create_default_context(cafile=ca_file)

    def send(
        self, to: Sequence[str], subject: str, text: str, files: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        """Hand over a mail with *files* (name, content). Raises DeliveryError."""
        message = EmailMessage()
        # A header is one line, whoever named the place that stands in it.
        message["Subject"] = printable(subject)
        message["From"] = self._settings.sender
        message["To"] = ", ".join(to)
        message.set_content(text)
        for name, content in files:
            main, sub = _TYPES[name.rpartition(".")[2]]
            message.add_attachment(content, maintype=main, subtype=sub, filename=name)
        where = f"{self._settings.host} port {self._settings.port}"
        try:
            with self._connect() as server:
                if self._settings.security == "starttls":
                    server.starttls(context=self._tls)
                if self._settings.username:
                    server.login(self._settings.username, self._password)
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as err:
            raise DeliveryError(f"mail: {where} does not take it: {err}") from err

    def _connect(self) -> smtplib.SMTP:
        host, port = self._settings.host, self._settings.port
        if self._settings.security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=self._tls)
        return smtplib.SMTP(host, port, timeout=TIMEOUT_S)
