"""Gets the unit its certificate, and a new one in time, beside the scanning.

Over TLS at the deployment's endpoint (edge/enrolment), or by hand, as files on a stick. Whatever is
in the way (no network, a refusal, a power cut) it is tried again, ever more rarely, and what the
unit has serves until then. Scanning never waits for it.
"""

import http.client
import logging
import random
import ssl
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from edge.cli import printable
from edge.clock import Clock
from edge.enrolment_exchange import (
    ANSWER_SUFFIX,
    ENROL_PATH,
    MAX_BYTES,
    RENEW_PATH,
    REQUEST_SUFFIX,
    WORKED_PATH,
    EnrolmentAnswer,
    EnrolmentRefusal,
    EnrolmentRequest,
    EnrolmentWorked,
    decode,
)
from edge.errors import EdgeError, EnrolmentError
from edge.files import remove_file, replace_file
from edge.scanner.identity import ROTATE, Identity
from edge.scanner.pending_enrolment import PendingEnrolment, read_pending

log = logging.getLogger(__name__)

#: A certificate is renewed when this part of its life is over, or up to so much later, so that
#: units that were set up on one day do not all come on one.
RENEW_SHARE = 2 / 3
RENEW_SPREAD = 1 / 30
#: Waits between two attempts; a refusal is not asked about again at once.
WAIT_S, WAIT_MAX_S, REFUSED_S = 5.0, 3600.0, 60.0
TIMEOUT_S = 15.0
#: From a start on, so long may the clock wait for a time server before it is trouble.
CLOCKLESS_S = 3600.0
#: How the endpoint answers who is to be given nothing, whenever he asks.
FORBIDDEN = 403


class Refused(EnrolmentError):
    """The centre gives nothing, and is not to be asked again for so long; if *final*, never for
    what was asked."""

    def __init__(self, text: str, wait_s: float, *, final: bool) -> None:
        super().__init__(text)
        self.wait_s, self.final = wait_s, final


class Enroller:
    """Asks for what the unit needs. `step` is one thread's, `serve` may be another's."""

    def __init__(
        self,
        identity: Identity,
        url: str,
        tls: Callable[[Path | None], ssl.SSLContext],
        clock: Clock,
    ) -> None:
        """*url*: where certificates are renewed. *tls* trusts the deployment's authority, and
        shows the identity in the given file, if any."""
        self._identity, self._url, self._tls, self._clock = identity, url, tls, clock
        self._lock = threading.Lock()
        self._attempts = 0
        self._began = self._next_attempt = clock.monotonic()
        self._asked: bytes | None = None
        self._refused = False
        #: What was said of a token that was given up.
        self._given_up = ""
        #: When the centre is to hear that the certificate works, and what it says to that.
        self._next_telling = self._began
        self._tellings = 0
        self._disowned = ""
        #: Why there is no certificate yet, or no new one; "" where all is well.
        self.trouble = ""

    def step(self) -> None:
        """Ask, if something is due. Never raises for what is wrong with it."""
        with self._lock:
            try:
                self._step()
            except (EdgeError, OSError) as err:
                self._later(err)

    def rotate(self) -> None:
        """Have a new key, and a certificate for it. Raises EnrolmentError where that cannot be."""
        if not self._is_valid():
            raise EnrolmentError("without a valid certificate no other can be asked for")
        if self._pending() is not None and self.trouble:
            raise EnrolmentError(f"this unit still asks with its token: {self.trouble}")
        replace_file(self._identity.folder / ROTATE, [])
        self._next_attempt = self._clock.monotonic()

    def refused(self) -> bool:
        """Whether the unit has no certificate, and the centre has said that it gets none."""
        return self._refused and self._identity.facts is None

    def serve(self, stick: Path) -> bool:
        """Leave a request on *stick*, or take the answer from it; whether there was anything to do.

        Raises EdgeError, OSError; for an answer that does not fit the request is left again.
        """
        with self._lock:
            pending = self._pending()
            request = stick / f"{self._identity.unit}{REQUEST_SUFFIX}"
            answer = stick / f"{self._identity.unit}{ANSWER_SUFFIX}"
            if pending is None:
                return False
            if not answer.is_file():
                replace_file(request, [self._request(pending.token)], 0o644)
                log.info("%s: left a request for a certificate", stick)
                return True
            try:
                with answer.open("rb") as file:
                    self._take(decode(file.read(MAX_BYTES + 1), EnrolmentAnswer), pending.token)
            except EdgeError:
                # One to an earlier request, as after a new card: the office is to answer this one.
                replace_file(request, [self._request(pending.token)], 0o644)
                raise
            remove_file(answer)
            request.unlink(missing_ok=True)
            return True

    def _step(self) -> None:
        pending = self._pending()
        token = pending.token if pending is not None else b""
        if self._identity.answered(token):
            self._identity.done(token)
            return
        due = pending is not None or self._renewal_is_due()
        if not due:
            self._tell_that_it_works()
            trouble = self._trouble_without()
            if trouble and trouble != self.trouble:
                log.warning("%s", trouble)
            self.trouble = trouble
            return
        if token != self._asked:
            self._asked, self._attempts, self._refused = token, 0, False
            self._next_attempt = self._clock.monotonic()
        if self._clock.monotonic() < self._next_attempt:
            return
        if pending is None:
            self._renew()
            return
        try:
            answer = self._ask(pending.url + ENROL_PATH, token, None)
        except Refused as err:
            self._do_without(token, err)
        else:
            self._take(answer, token)

    def _renew(self) -> None:
        self._take(self._ask(self._url + RENEW_PATH, b"", self._identity.present), b"")

    def _tell_that_it_works(self) -> None:
        """Have the centre know which certificate this unit uses: it renews no older one then."""
        serial = self._identity.untold()
        now = self._clock.monotonic()
        if not serial or not self._url or now < self._next_telling or self._identity.ended():
            return
        body = msgspec.json.encode(EnrolmentWorked(unit=self._identity.unit))
        try:
            content = self._post(self._url + WORKED_PATH, body, self._identity.present)
            decode(content, EnrolmentWorked)
        except EnrolmentError as err:
            self._tellings += 1
            wait_s = min(WAIT_MAX_S, REFUSED_S * 2 ** min(self._tellings - 1, 10))
            self._next_telling = now + wait_s * random.uniform(0.75, 1.25)
            if isinstance(err, Refused) and err.final:
                self._disowned = str(err)
            log.info("the centre has not heard yet that the certificate works: %s", err)
            return
        self._identity.told(serial)
        self._tellings, self._disowned = 0, ""

    def _do_without(self, token: bytes, refused: Refused) -> None:
        """Go on with the certificate that the unit has, if it may; else raise what was *refused*.

        A token that is good for nothing any more must not keep it from being renewed.
        """
        if not self._is_valid():
            raise refused
        if refused.final:
            self._identity.give_up(token)
            self._given_up = self.trouble = f"{refused}; the certificate that it has serves on"
            log.warning("a token was refused: %s", self.trouble)
        elif self._renewal_is_due():
            self._renew()
        else:
            raise refused

    def _is_valid(self) -> bool:
        return self._identity.facts is not None and not self._identity.ended()

    def _pending(self) -> PendingEnrolment | None:
        pending = read_pending(self._identity.folder)
        return pending if pending is not None and pending.unit == self._identity.unit else None

    def _renewal_is_due(self) -> bool:
        known = self._identity.facts
        if known is None or not self._url or self._identity.on_trial or self._identity.ended():
            return False
        if (self._identity.folder / ROTATE).exists():
            return True
        now = self._clock.now()
        if now.clock == "none":
            return False
        spread = RENEW_SPREAD * (known.serial % 1000) / 1000
        return datetime.fromisoformat(now.at) >= known.renew_at(RENEW_SHARE + spread)

    def _trouble_without(self) -> str:
        known = self._identity.facts
        if known is None:
            return "no certificate, and no token to ask for one; give this unit a card"
        if self._identity.ended():
            return (
                f"the certificate ended on {known.not_after:%Y-%m-%d}: scans are kept, but cannot"
                " be sent until the unit has a new card or set-up code"
            )
        waited_s = self._clock.monotonic() - self._began
        if self._url and waited_s >= CLOCKLESS_S and self._clock.now().clock == "none":
            return (
                "nothing has set this unit's clock, so its certificate, until"
                f" {known.not_after:%Y-%m-%d}, is not renewed in time: let it reach a time server,"
                " give it a GPS receiver, or renew it by edge-collector command rotate_keys"
            )
        return self._given_up or self._disowned

    def _take(self, answer: EnrolmentAnswer, token: bytes) -> None:
        given = self._identity.take(answer.certificate.encode())
        self._identity.done(token)
        self._attempts, self._asked = 0, None
        self.trouble = self._given_up = ""
        log.info("a new certificate, until %s", f"{given.not_after:%Y-%m-%d}")

    def _request(self, token: bytes) -> bytes:
        request = self._identity.request(token).decode("ascii")
        asked = EnrolmentRequest(unit=self._identity.unit, token=token, request=request)
        return msgspec.json.encode(asked)

    def _ask(self, url: str, token: bytes, shown: Path | None) -> EnrolmentAnswer:
        return decode(self._post(url, self._request(token), shown), EnrolmentAnswer)

    def _post(self, url: str, body: bytes, shown: Path | None) -> bytes:
        """What the centre answers to *body*. Raises EnrolmentError, Refused."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 443
            # As the name is looked up: one with an empty part is none.
            host.encode("idna")
        except ValueError as err:
            raise EnrolmentError(
                f"{printable(url)} is no address of an endpoint ({err}); give this unit a new card"
                " or set-up code"
            ) from None
        connection = http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT_S, context=self._tls(shown)
        )
        try:
            connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read(MAX_BYTES + 1)
        except (OSError, http.client.HTTPException) as err:
            raise EnrolmentError(f"cannot ask at {host}:{port}: {err}") from None
        finally:
            connection.close()
        if response.status == 200:
            return content
        why = f"{host}:{port} answers {response.status}: {_reason(content)}"
        wait = response.headers.get("Retry-After", "")
        wait_s = float(wait) if wait.isascii() and wait.isdigit() else REFUSED_S
        raise Refused(why, wait_s, final=response.status == FORBIDDEN)

    def _later(self, err: Exception) -> None:
        self._attempts += 1
        wait_s = WAIT_S * 2 ** min(self._attempts - 1, 12)
        if isinstance(err, Refused):
            self._refused = err.final
            wait_s = max(wait_s, err.wait_s)
        wait_s = min(WAIT_MAX_S, wait_s) * random.uniform(0.75, 1.25)
        self._next_attempt = self._clock.monotonic() + wait_s
        if str(err) != self.trouble:
            log.warning("no certificate yet: %s; trying again", err)
        self.trouble = str(err)


def _reason(content: bytes) -> str:
    try:
        return decode(content, EnrolmentRefusal).error
    except EnrolmentError:
        return "no reason"
