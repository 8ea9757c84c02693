"""The errors that we raise on purpose.

One base, `EdgeError`, which `edge.cli` prints as one line. Each is a builtin too, so that a caller
may catch the builtin where that says more. Their text is for the person who must act: what, which,
and what to do.
"""


class EdgeError(Exception):
    """Something went wrong that a person can act on; the text says how."""


class ConfigError(EdgeError, ValueError):
    """A setting is unknown, missing or impossible."""


class BadMessage(EdgeError, ValueError):
    """A message that we cannot read. The text gives the reason and never the content."""


class BadTopic(EdgeError, ValueError):
    """A topic, or a level of one, that is not of the contract."""


class BadPacket(EdgeError, ValueError):
    """Bytes of a broker that are not MQTT."""


class CameraError(EdgeError, OSError):
    """No frame can be had: the source is missing, unreadable or has gone away."""


class CameraHung(CameraError):
    """The camera does not answer any more: this process must end, and a new one try."""


class EndOfFrames(EdgeError, EOFError):
    """The source has no more frames: a video or a folder has come to its end."""


class OutboxError(EdgeError, OSError):
    """The outbox cannot keep a scan. Nothing that was kept before is lost."""


class OutboxFull(OutboxError):
    """There is no room for another scan until some are confirmed."""


class OutboxInUse(OutboxError):
    """Another process has this outbox open."""


class IndicatorError(EdgeError, OSError):
    """The lights or the buzzer cannot be driven."""


class SealError(EdgeError, ValueError):
    """A key or a sealed identity that cannot be used."""


class BundleError(EdgeError, ValueError):
    """A bundle of scans, or a receipt, that is damaged, foreign, or cannot be written."""


class ChainError(EdgeError, OSError):
    """A hash-chained record that was changed, or cannot be written."""


class ChainBroken(ChainError):
    """A record that can only grow has a line that is not as it was written."""


class BasisError(EdgeError, ValueError):
    """A legal basis that is damaged, not signed by its authority, or cannot be valid."""


class DeskError(EdgeError, PermissionError):
    """The tracing desk refuses a request; the text says which rule, and what would be needed."""


class TableError(EdgeError, ValueError):
    """A table, CSV or XLSX, that cannot be read."""


class StorageError(EdgeError, OSError):
    """The storage cannot be opened, read or written."""


class StorageConflict(StorageError):
    """Another transaction was in the way and nothing was kept; the same once more may pass."""


class StorageBusy(StorageError):
    """Somebody reads what is to be changed and does not let go; later it may pass."""


class ControlError(EdgeError, ValueError):
    """A command, or desired settings, that make no sense as they were given."""


class BrokerError(EdgeError, ConnectionError):
    """The broker cannot be reached or refuses us."""


class RegisterError(EdgeError, ValueError):
    """The register of places cannot be read, or says what cannot be true."""


class CertificateError(EdgeError, ValueError):
    """A certificate, a key or a request that cannot be used or is not signed."""


class TokenError(EdgeError, ValueError):
    """An enrolment token that is not of this deployment, or cannot be made."""


class EnrolmentError(EdgeError, PermissionError):
    """A unit is given no certificate, or cannot ask for one; the text says why."""


class ProvisionError(EdgeError, OSError):
    """A deployment, or a card, that cannot be made as asked."""


class PrintingError(EdgeError, OSError):
    """A page cannot be printed: a font is missing."""


class DeliveryError(EdgeError, ConnectionError):
    """Mail or a post that somebody else's server does not take."""


class PeopleError(EdgeError, ValueError):
    """An account that cannot be made or changed so."""


class SignInError(EdgeError, PermissionError):
    """Somebody was not signed in by another server; *vi* and *en* are for that person to read."""

    def __init__(self, vi: str, en: str, why: str = "") -> None:
        """*why* is for the log alone."""
        super().__init__(f"{en} {why}".strip())
        self.vi, self.en = vi, en


class UpdateError(EdgeError, OSError):
    """A new version of the software cannot be had or put in place; the present one goes on."""


class UpdateRefused(UpdateError):
    """A repository that is not signed by the deployment, or not what was signed."""


class UpdateStale(UpdateError):
    """A signed list of packages that has ended, or is older than one that this unit has seen."""


class CardError(EdgeError, ValueError):
    """A card file that cannot be used; nothing of it was applied."""


class SetupCodeError(EdgeError, ValueError):
    """A set-up code that this unit does not take; nothing was changed."""


class ReportError(EdgeError, ValueError):
    """A code of a check that cannot be read."""
