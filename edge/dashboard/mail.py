"""Sends mail over SMTP, with TLS unless the settings say that there is none."""

import smtplib
import ssl
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
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

    @property
    def where(self) -> str:
        """The server, for people to read."""
        return f"{self._settings.host} port {self._settings.port}"

    def compose(
        self,
        to: Sequence[str],
        subject: str,
        text: str,
        at: datetime,
        files: Sequence[tuple[str, bytes]] = (),
    ) -> bytes:
        """A mail of the moment *at* with *files* (name, content), as it goes over the wire."""
        message = EmailMessage(policy=SMTP)
        # A header is one line, whoever named the place that stands in it.
        message["Subject"] = printable(subject)
        message["From"] = self._settings.sender
        message["To"] = ", ".join(to)
        message["Date"] = format_datetime(at)
        # A mail that is handed over twice, since nobody knows whether it was taken, is one mail.
        message["Message-ID"] = make_msgid(domain="edge.invalid")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text, cte="quoted-printable")
        for name, content in files:
            main, sub = _TYPES[name.rpartition(".")[2]]
            message.add_attachment(content, maintype=main, subtype=sub, filename=name)
        return message.as_bytes()

    def send(self, to: Sequence[str], content: bytes) -> dict[str, str]:
        """Hand over a composed mail; gives whom the server refused it for, and why.

        Raises DeliveryError where it is the server that nobody gets anything from for now.
        """
        try:
            with self._connect() as server:
                if self._settings.security == "starttls":
                    server.starttls(context=self._tls)
                if self._settings.username:
                    server.login(self._settings.username, self._password)
                refused = server.sendmail(self._settings.sender, list(to), content)
        except ssl.SSLCertVerificationError as err:
            raise DeliveryError(
                f"mail: {self.where} shows a certificate that cannot be trusted"
                f" ({err.verify_message}); if its authority is your own, name it in mail.ca_file"
            ) from err
        except smtplib.SMTPNotSupportedError as err:
            raise DeliveryError(
                f"mail: {self.where} does not offer what is needed ({err}); nothing was sent. See"
                " mail.security"
            ) from err
        except smtplib.SMTPAuthenticationError as err:
            raise DeliveryError(
                f"mail: {self.where} does not accept mail.username with this password"
            ) from err
        except smtplib.SMTPRecipientsRefused as err:
            refused = err.recipients
        except (OSError, smtplib.SMTPException) as err:
            if isinstance(err, smtplib.SMTPDataError) and err.smtp_code >= 500:
                # Of this mail alone: it is too large, or taken for spam.
                return {address: _one_line(err) for address in to}
            raise DeliveryError(f"mail: {self.where} does not take it: {_one_line(err)}") from err
        return {address: f"{code} {_text(why)}" for address, (code, why) in refused.items()}

    def _connect(self) -> smtplib.SMTP:
        host, port = self._settings.host, self._settings.port
        if self._settings.security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=self._tls)
        return smtplib.SMTP(host, port, timeout=TIMEOUT_S)


def _one_line(err: Exception) -> str:
    if isinstance(err, smtplib.SMTPResponseException):
        return f"{err.smtp_code} {_text(err.smtp_error)}"
    return " ".join(str(err).split())


def _text(said: bytes | str) -> str:
    """What a server said, harmless and short."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return printable(" ".join(text.split())[:200])
