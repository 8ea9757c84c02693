"""As whom the unit comes to the broker: its own identity, or the files that its settings name."""

from pathlib import Path

from edge import config
from edge.broker import tls_context
from edge.certificates import facts
from edge.clock import Clock, utc_text
from edge.errors import CertificateError, EnrolmentError
from edge.scanner.enrolling import Enroller
from edge.scanner.identity import Identity
from edge.scanner.settings import ScannerSettings

#: How often it is looked whether the certificate has ended.
LOOK_S = 5.0


class Credentials:
    """What the unit shows, and who sees to it that this does not end."""

    def __init__(self, settings: ScannerSettings, beside: Path, clock: Clock) -> None:
        """*beside*: the folder of the settings. Raises ConfigError."""
        broker, enrolment = settings.broker, settings.enrolment
        #: None where the settings name files, which are whoever's who has put them there.
        self.identity: Identity | None = None
        self._enroller: Enroller | None = None
        self._file = config.secret_path(broker.certificate_file, beside)
        self._named = bool(broker.certificate_file)
        self._clock = clock
        self._look_at, self._ended = clock.monotonic(), False
        if enrolment.url:
            self.identity = open_identity(settings, beside, clock)
            self._enroller = Enroller(
                self.identity,
                enrolment.url,
                lambda shown: tls_context(broker, beside, shown),
                clock,
            )

    @property
    def trouble(self) -> str:
        """Why there is no certificate, or no new one; "" where all is well."""
        return self._enroller.trouble if self._enroller is not None else ""

    def step(self) -> None:
        """Ask for a certificate, if that is due."""
        if self._enroller is not None:
            self._enroller.step()

    def serve(self, stick: Path) -> bool:
        """See `Enroller.serve`."""
        return self._enroller is not None and self._enroller.serve(stick)

    def rotate(self) -> None:
        """Have a new key, and a certificate for it. Raises EnrolmentError where that cannot be."""
        if self._enroller is None:
            raise EnrolmentError("this unit's certificate is a file that somebody has put there")
        self._enroller.rotate()

    def ended(self) -> bool:
        """Whether nothing can be sent until somebody sees to it: the certificate has ended, or
        the centre has refused the unit its first. Cheap to ask."""
        if self.identity is None:
            return False
        if self._clock.monotonic() >= self._look_at:
            self._look_at = self._clock.monotonic() + LOOK_S
            refused = self._enroller is not None and self._enroller.refused()
            self._ended = refused or self.identity.ended()
        return self._ended

    def ends(self) -> str | None:
        """When it ends, UTC; None where there is none that can be read."""
        if self.identity is not None:
            return self.identity.ends()
        if not self._named:
            return None
        try:
            return utc_text(facts(self._file.read_bytes()).not_after.timestamp())
        except (OSError, CertificateError):
            # The broker's connection says what is wrong with it; scanning does not need it.
            return None


def open_identity(settings: ScannerSettings, beside: Path, clock: Clock) -> Identity:
    """The identity of a unit that enrols."""
    authority = config.secret_path(settings.broker.ca_file, beside)
    return Identity(Path(settings.enrolment.folder), settings.unit.id, authority, clock)
