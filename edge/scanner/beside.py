"""Work that goes on beside the scanning, and the watchdog that sees whether all of it does."""

import logging
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from edge.errors import EdgeError
from edge.systemd import Notifier

log = logging.getLogger(__name__)

#: After a turn that has failed, the next comes after so long.
AGAIN_S = 30.0
#: How long what is under way may take when the service is told to stop.
GOODBYE_S = 3.0
#: For so long may a turn of the publisher take. A name server that does not answer holds it up for
#: minutes, and that must not stop the scanning.
TURN_S = 300.0


class Beside:
    """Work that is done turn by turn beside the scanning.

    A turn that fails is told, and another one taken after a while: scanning does not end for it.
    Only the failure of what is *vital* becomes the service's.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], None],
        *,
        wake: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
        pause_s: float = 0.0,
        vital: bool = False,
    ) -> None:
        """*turn* is called again and again; *wake* ends its waiting, *end* is its goodbye.

        *pause_s* passes between two turns. Who is *vital* has somebody who asks `alive`.
        """
        self._vital = vital
        self._told = ""
        self._turn = turn
        self._wake = wake
        self._end = end
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._turned = time.monotonic()
        # A daemon: a name server or a stick that hangs must not keep the service from ending.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._wake()
        self._thread.join(GOODBYE_S + 1.0)

    def alive(self) -> bool:
        """True while it runs. Raises what ended it: in doubt the service stops and is restarted."""
        if self._failure is not None:
            raise self._failure
        return self._thread.is_alive()

    def turned_within(self, seconds: float) -> bool:
        """Whether a turn was done in the last so many *seconds*."""
        return time.monotonic() - self._turned <= seconds

    def join(self, timeout_s: float) -> None:
        """Wait for its end, but not longer."""
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        try:
            while not self._stopping.is_set():
                pause_s = self._pause_s
                try:
                    self._turn()
                # Whatever it was: nobody else would notice that this goes on no more.
                except Exception as err:
                    if self._vital:
                        raise
                    self._tell(err)
                    pause_s = max(pause_s, AGAIN_S)
                self._turned = time.monotonic()
                self._stopping.wait(pause_s)
            self._end()
        # The caller needs to know whatever it was; `alive` hands it over.
        except BaseException as err:  # noqa: BLE001
            self._failure = err
            log.error("%s has ended: %s", self._thread.name, _what(err))

    def _tell(self, err: Exception) -> None:
        what = _what(err)
        if what != self._told:
            log.error("%s failed, and is tried again: %s", self._thread.name, what)
        self._told = what


def _what(err: BaseException) -> str:
    """What *err* is: our own words, or only where it was, as others' may have anything in them."""
    if isinstance(err, EdgeError):
        return str(err)
    *_, last = traceback.extract_tb(err.__traceback__)
    what = err.strerror if isinstance(err, OSError) and err.strerror else type(err).__name__
    return f"{what} in {Path(last.filename).name}, line {last.lineno}"


class Watchdog:
    """Tells systemd that the service is well while all of it makes progress: the capture, which
    calls it, the outbox, which is part of each capture's turn, and the publisher."""

    def __init__(
        self, notifier: Notifier, publishing: Beside, stopping: Callable[[], bool]
    ) -> None:
        """*stopping* tells whether the service is to stop."""
        self._notifier = notifier
        self._publishing = publishing
        self._stopping = stopping

    def goes_on(self) -> bool:
        """Whether the service is to go on. Raises what ended the publisher."""
        return not self._stopping() and self._publishing.alive()

    def feed(self) -> None:
        """The caller has made progress."""
        if self._publishing.turned_within(TURN_S):
            self._notifier.watchdog()

    def pause(self, seconds: float) -> bool:
        """Wait on purpose; False as soon as the service is to stop instead."""
        until = time.monotonic() + seconds
        while self.goes_on():
            left = until - time.monotonic()
            if left <= 0:
                return True
            self.feed()
            self._publishing.join(min(0.2, left))
        return False
