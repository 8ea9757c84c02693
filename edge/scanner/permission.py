"""Whether this unit may collect now: it looks at the legal basis again and again.

A document that is renewed is taken up without a restart, and one that ends stops the collecting
while the unit runs.
"""

import logging
from pathlib import Path

from edge import config
from edge.clock import Clock
from edge.errors import EdgeError
from edge.legal_basis import BasisSettings, LegalBasis, read_bases, why_not
from edge.sealing import Verifier, read_key

log = logging.getLogger(__name__)

#: How often the time is looked at, and how often the files, in seconds.
LOOK_S = 1.0
READ_S = 60.0


class Permission:
    """Asked before each frame."""

    def __init__(self, settings: BasisSettings, beside: Path, place: str, clock: Clock) -> None:
        """*beside*: the folder of the settings. What is wrong with the files becomes a reason."""
        self._settings = settings
        self._beside = beside
        self._place = place
        self._clock = clock
        self._bases: list[LegalBasis] = []
        self._trouble = ""
        self._reason = ""
        self._next_look = self._next_read = 0.0

    def reason(self) -> str:
        """Why nothing may be collected now; "" if it may."""
        if not self._settings.required:
            return ""
        now = self._clock.monotonic()
        if now >= self._next_read:
            self._next_read = now + READ_S
            self._read()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look()
        return self._reason

    def covering(self) -> LegalBasis | None:
        """The document by which it may collect now, if one is required and there is one."""
        self.reason()
        moment = self._clock.now()
        return next((b for b in self._bases if not why_not([b], self._place, moment)), None)

    def _read(self) -> None:
        try:
            verifier = Verifier(read_key(config.secret_path(self._settings.key_file, self._beside)))
            self._bases, wrong = read_bases(self._beside / self._settings.folder, verifier)
            self._trouble = "; ".join(map(str, wrong))
        except EdgeError as err:
            # Without the authority's key nothing can be believed.
            self._bases, self._trouble = [], str(err)

    def _look(self) -> None:
        reason = why_not(self._bases, self._place, self._clock.now())
        if reason and self._trouble:
            reason = f"{reason}; {self._trouble}"
        if reason != self._reason:
            if reason:
                log.warning("not collecting: %s", reason)
            else:
                log.info("collecting: a legal basis is valid")
            self._reason = reason
