"""Who is given a certificate: the rules, apart from the network.

Whoever asks has a token of this deployment for the unit that it names, or shows the certificate
that the unit has. What is given is in the ledger, on disk, before anybody hears of it; so a token
works once whatever kills this process, and the unit whose answer was lost asks again with the same
key and gets the same certificate.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from edge.certificates import Authority, is_of_centre
from edge.clock import Clock
from edge.enrolment_exchange import EnrolmentAnswer, EnrolmentRequest, EnrolmentWorked
from edge.enrolment_ledger import IssuedRecord, Ledger, WorkedRecord, fingerprint
from edge.enrolment_token import read_token
from edge.errors import CertificateError, EdgeError, EnrolmentError, TokenError
from edge.topics import is_name

log = logging.getLogger(__name__)

#: By so much the clock of the machine on which the authority was made may have been ahead of ours.
CLOCK_ERROR = timedelta(days=2)


@dataclass(frozen=True)
class Shown:
    """The certificate that somebody has shown, whose key he has."""

    unit: str
    #: In lower hexadecimal digits, as the ledger has it.
    serial: str
    not_after: datetime


class Enrolment:
    """Gives units their certificates. For use from any thread."""

    def __init__(
        self,
        authority: Authority,
        ledger: Ledger,
        clock: Clock,
        *,
        deployment: str,
        setup_key: bytes,
        revoked: Path,
        days: int,
    ) -> None:
        """*setup_key*: the public one, by which tokens are verified. *revoked*: a file with the
        names of units that are given nothing, one a line. *days*: how long a certificate lasts."""
        self._authority, self._ledger, self._clock = authority, ledger, clock
        self._deployment, self._setup_key = deployment, setup_key
        self._revoked, self._days = revoked, days
        self._lock = threading.Lock()

    def enrol(self, asked: EnrolmentRequest) -> EnrolmentAnswer:
        """A certificate for whoever has a token. Raises EnrolmentError if he is given none, and
        another EdgeError if that cannot be told now."""
        now = self._now()
        try:
            token = read_token(asked.token, self._setup_key)
        except TokenError as err:
            raise EnrolmentError(str(err)) from None
        if token.deployment != self._deployment or token.unit != asked.unit:
            raise EnrolmentError(f"this token is not for unit {asked.unit}; make its card anew")
        with self._lock:
            used = self._ledger.used_by(token.nonce.hex())
            again = (asked.unit, _key(asked))
            if used is not None and used != again:
                raise EnrolmentError(
                    f"this token of unit {asked.unit} was used for another key; was this code"
                    " shown to two units? Give this one a card of its own name; revoke only if the"
                    " token was stolen"
                )
            # One that was used before it ended still gets its answer.
            if used is None and token.ended(now.date()):
                raise EnrolmentError(
                    f"this token of unit {asked.unit} ended on {token.last_day}; make its card or"
                    " set-up code anew"
                )
            return self._give(asked, token.nonce.hex(), now)

    def renew(self, asked: EnrolmentRequest, shown: Shown) -> EnrolmentAnswer:
        """A new certificate for the unit that has *shown* its present one. Raises as `enrol`."""
        if asked.unit != shown.unit or asked.token:
            raise EnrolmentError(
                "a certificate is renewed for the unit that shows it, and no other"
            )
        with self._lock:
            self._check_counts(shown)
            return self._give(asked, "", self._now(), by=shown.serial)

    def worked(self, said: EnrolmentWorked, shown: Shown) -> EnrolmentWorked:
        """The unit uses what it has *shown*: nothing older renews any more. Raises as `enrol`."""
        if said.unit != shown.unit:
            raise EnrolmentError("a unit speaks for itself, and for no other")
        with self._lock:
            self._check_unit(shown.unit)
            lineage = self._ledger.lineage(shown.unit)
            if lineage.worked is not None and lineage.worked.serial == shown.serial:
                return said
            self._check_counts(shown)
            beside = lineage.beside(shown.serial)
            record = WorkedRecord(unit=shown.unit, serial=shown.serial, not_after=shown.not_after)
            self._ledger.add(record, self._now())
        log.info("unit %s: its new certificate works, and older ones renew nothing", shown.unit)
        if beside:
            log.warning(
                "unit %s: %d more certificates were given for one that it had; they renew nothing"
                " any more. If it did not lose its own answer, its key was copied",
                shown.unit,
                len(beside),
            )
        return said

    def _check_counts(self, shown: Shown) -> None:
        if not self._ledger.lineage(shown.unit).counts(shown.serial, shown.not_after):
            # An old key, or a copy of one, must not renew itself for ever.
            raise EnrolmentError(
                f"unit {shown.unit} has newer certificates than the one shown; if its key was"
                " copied, revoke it; else make its card or set-up code anew"
            )

    def _give(
        self, asked: EnrolmentRequest, nonce: str, now: datetime, by: str = ""
    ) -> EnrolmentAnswer:
        self._check_unit(asked.unit)
        known = self._ledger.newest(asked.unit)
        if known is not None and known.key == _key(asked) and now < known.not_after:
            return EnrolmentAnswer(unit=asked.unit, certificate=known.certificate)
        if nonce and self._ledger.used_by(nonce):
            raise EnrolmentError(
                f"this token of unit {asked.unit} was used, and another certificate has followed;"
                " make its card or set-up code anew"
            )
        request = asked.request.encode()
        try:
            issued = self._authority.sign_request(request, asked.unit, now, self._days)
        except CertificateError as err:
            raise EnrolmentError(str(err)) from None
        record = IssuedRecord(
            unit=asked.unit,
            serial=f"{issued.serial:x}",
            not_after=issued.not_after,
            by=by,
            key=_key(asked),
            nonce=nonce,
            certificate=issued.certificate.decode("ascii"),
        )
        self._ledger.add(record, now)
        what = "enrolled" if nonce else "renewed"
        log.info("unit %s: %s, until %s", asked.unit, what, f"{issued.not_after:%Y-%m-%d}")
        return EnrolmentAnswer(unit=asked.unit, certificate=record.certificate)

    def _check_unit(self, unit: str) -> None:
        if not is_name(unit) or is_of_centre(unit):
            raise EnrolmentError("no unit is called so")
        try:
            revoked = self._revoked.read_text(encoding="ascii", errors="replace").split()
        except OSError as err:
            # In doubt nobody comes in.
            log.error("%s: cannot read who is revoked: %s", self._revoked, err.strerror)
            raise EdgeError("the centre cannot tell who is revoked; try again later") from None
        if unit in revoked:
            raise EnrolmentError(f"unit {unit} was revoked; give its successor a new name")

    def _now(self) -> datetime:
        """This moment. Raises EdgeError where the clock cannot be right.

        What was signed by a clock that is years behind would have ended as it was given, and the
        token would be spent for it.
        """
        now = datetime.fromisoformat(self._clock.now().at).replace(microsecond=0)
        if now < self._authority.not_made_before - CLOCK_ERROR:
            raise EdgeError(
                f"this machine's clock says {now:%Y-%m-%d}, before its authority was made; set it"
                " right: until then no unit is given a certificate"
            )
        return now


def _key(asked: EnrolmentRequest) -> str:
    try:
        return fingerprint(asked.request.encode())
    except CertificateError as err:
        raise EnrolmentError(f"not a certificate request: {err}") from None
