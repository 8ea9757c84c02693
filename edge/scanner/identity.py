"""The unit's identity: the key that it made itself, and the certificates that it was given for it.

Each is one file, key and certificates together, so that a power cut never parts them:

    unit.pem       has worked at the broker
    next.pem       came after it, and replaces it once the broker has taken it
    request.json   the key for which a certificate is asked, and with which token
    told           the serial number of the one of which the centre has heard that it works

Two threads use it: the broker's connection, and whoever asks for certificates.
"""

import logging
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from edge.certificates import CertificateFacts, check_identity, facts, key_of, make_request
from edge.clock import Clock, utc_text
from edge.errors import CertificateError, EnrolmentError
from edge.files import move_file, remove_file, replace_file, wipe_file
from edge.scanner.pending_enrolment import PENDING, read_pending

log = logging.getLogger(__name__)

PRESENT = "unit.pem"
NEXT = "next.pem"
REQUEST = "request.json"
#: That a new key is wanted, though nothing is due: an empty file.
ROTATE = "rotate"
TOLD = "told"

#: A certificate that the broker does not take is tried again after so long, and twice as long each
#: time: meanwhile the one before it serves.
TRY_AGAIN_S = 300.0
TRY_AGAIN_MAX_S = 6 * 3600.0
#: How often to look whether there is a newer one.
LOOK_S = 1.0


class _Request(Struct, frozen=True, kw_only=True):
    key: str
    #: With which it is asked for; empty for a renewal.
    token: bytes


class Identity:
    """What the unit shows of itself. Its folder is the scanner's own."""

    def __init__(self, folder: Path, unit: str, authority: Path, clock: Clock) -> None:
        """*authority*: the file with the deployment's, in PEM."""
        self.folder, self.unit = folder, unit
        self._authority = authority
        self._clock = clock
        self._lock = threading.Lock()
        self._shown: Path | None = None
        self._shown_content = b""
        self._said_to_be_over: CertificateFacts | None = None
        self._try_next_at = clock.monotonic()
        self._trials = 0
        self._look_at = clock.monotonic()

    # For the broker's connection

    def choose(self) -> Path | None:
        """The file with key and certificate to show now; None while there is none."""
        with self._lock:
            present, new = self.folder / PRESENT, self.folder / NEXT
            shown: Path | None = present if present.exists() else None
            now = self._clock.monotonic()
            if new.exists() and (shown is None or now >= self._try_next_at or self._ended(present)):
                # Unless it works, the other one is shown for so long.
                wait_s = min(TRY_AGAIN_MAX_S, TRY_AGAIN_S * 2 ** min(self._trials, 10))
                self._try_next_at, self._trials = now + wait_s, self._trials + 1
                shown = new
            self._shown = shown
            self._shown_content = shown.read_bytes() if shown is not None else b""
            return shown

    def worked(self) -> None:
        """The broker has taken what was shown last."""
        with self._lock:
            with suppress(CertificateError):
                if self._said_to_be_over == facts(self._shown_content):
                    # The broker's clock may have been wrong, too.
                    self._said_to_be_over = None
            new = self.folder / NEXT
            if self._shown != new or not new.exists() or new.read_bytes() != self._shown_content:
                return
            move_file(new, self.folder / PRESENT)
            self._shown, self._trials = self.folder / PRESENT, 0
        log.info("the new certificate works at the broker")

    def refused(self, alert: str) -> None:
        """The broker has refused what was shown last: by "expired" it knows more than our clock."""
        if "EXPIRED" in alert.upper():
            with self._lock, suppress(CertificateError):
                self._said_to_be_over = facts(self._shown_content)

    def calls_for_another(self) -> bool:
        """Whether there is another one to be shown than the one that is. Cheap to ask."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        if not (self.folder / NEXT).exists():
            return False
        return self._shown != self.folder / NEXT and now >= self._try_next_at

    # For whoever asks for certificates

    @property
    def facts(self) -> CertificateFacts | None:
        """What the newest certificate says; None while there is none that can be read."""
        for name in (NEXT, PRESENT):
            try:
                return facts((self.folder / name).read_bytes())
            except (OSError, CertificateError):
                continue
        return None

    @property
    def on_trial(self) -> bool:
        """Whether one was given that has not worked yet."""
        return (self.folder / NEXT).exists()

    @property
    def present(self) -> Path:
        """The file with the one that has worked, if there is one."""
        return self.folder / PRESENT

    @property
    def newest(self) -> Path:
        """The file with the newest one, if there is one."""
        return self.folder / (NEXT if self.on_trial else PRESENT)

    def untold(self) -> str:
        """The serial number of the one that has worked, if the centre is to hear of that; else "".

        Then it lets nobody renew an older one. While a newer one is on trial there is nothing to
        say.
        """
        if self.on_trial:
            return ""
        try:
            serial = f"{facts(self.present.read_bytes()).serial:x}"
        except (OSError, CertificateError):
            return ""
        try:
            told = (self.folder / TOLD).read_text(encoding="ascii", errors="replace")
        except OSError:
            told = ""
        return serial if told != serial else ""

    def told(self, serial: str) -> None:
        """The centre has heard that the one of this *serial* works. Raises OSError."""
        replace_file(self.folder / TOLD, [serial.encode("ascii")])

    def ended(self) -> bool:
        """Whether the newest certificate has ended, by this unit's clock or by the broker's."""
        known = self.facts
        if known is None:
            return False
        return self._is_over(known) or known == self._said_to_be_over

    def ends(self) -> str | None:
        """When the newest one ends, UTC; None while there is none."""
        known = self.facts
        return None if known is None else utc_text(known.not_after.timestamp())

    def request(self, token: bytes) -> bytes:
        """A certificate request, PEM, for the key under way; a new key if none is for *token*.

        The key is on disk before anybody is asked, so that after a power cut the same one is asked
        for: a token works for one key. Raises OSError.
        """
        known = self._under_way()
        if known is None or known.token != token:
            request, key = make_request(self.unit)
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            under_way = _Request(key=key.decode("ascii"), token=token)
            replace_file(self.folder / REQUEST, [msgspec.json.encode(under_way)])
            return request
        return make_request(self.unit, known.key.encode())[0]

    def answered(self, token: bytes) -> bool:
        """Whether what was asked for with *token* is here already: the power went before `done`."""
        known = self._under_way()
        if known is None or known.token != token:
            return False
        key = key_of(known.key.encode())
        for name in (NEXT, PRESENT):
            try:
                if key_of((self.folder / name).read_bytes()) == key:
                    return True
            except (OSError, CertificateError):
                continue
        return False

    def take(self, certificate: bytes) -> CertificateFacts:
        """Have *certificate*, PEM with that of its authority behind it, shown from now on.

        On disk when this returns. Raises EnrolmentError unless it is this unit's, for the key under
        way, and of the deployment's authority.
        """
        known = self._under_way()
        if known is None:
            raise EnrolmentError("this unit has not asked for a certificate")
        key = known.key.encode()
        try:
            authority = self._authority.read_bytes()
            given = check_identity(certificate, key, authority, self.unit)
        except (CertificateError, OSError) as err:
            raise EnrolmentError(f"the answer is no certificate for this unit: {err}") from None
        with self._lock:
            replace_file(self.folder / NEXT, [key, certificate])
            self._try_next_at, self._trials = self._clock.monotonic(), 0
        return given

    def done(self, token: bytes) -> None:
        """What was asked for with *token* is here: nothing is pending any more."""
        pending = read_pending(self.folder)
        if pending is not None and pending.token == token:
            remove_file(self.folder / PENDING)
        (self.folder / ROTATE).unlink(missing_ok=True)
        # Last: without it nobody would know that the token was used for what is here.
        wipe_file(self.folder / REQUEST)

    def give_up(self, token: bytes) -> None:
        """Nothing comes of *token*: it is not pending any more. Raises EdgeError, OSError."""
        pending = read_pending(self.folder)
        if pending is not None and pending.token == token:
            remove_file(self.folder / PENDING)
        wipe_file(self.folder / REQUEST)

    def _under_way(self) -> _Request | None:
        try:
            known = msgspec.json.decode((self.folder / REQUEST).read_bytes(), type=_Request)
            key_of(known.key.encode())
        except (OSError, msgspec.DecodeError, UnicodeError, CertificateError):
            # None, or a damaged one, for which another is made.
            return None
        return known

    def _ended(self, path: Path) -> bool:
        try:
            return self._is_over(facts(path.read_bytes()))
        except (OSError, CertificateError):
            return True

    def _is_over(self, known: CertificateFacts) -> bool:
        now = self._clock.now()
        # A clock that nothing has set cannot tell.
        return now.clock != "none" and datetime.fromisoformat(now.at) > known.not_after
