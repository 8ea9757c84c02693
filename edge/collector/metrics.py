"""Numbers of the collector for Prometheus, as a file that node_exporter's textfile collector reads.

A file, because the collector listens to nothing but its broker. It is replaced as a whole, so that
nobody reads half of it, and has no times in it: the exporter tells how old it is.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edge.clock import Clock, utc_seconds

log = logging.getLogger(__name__)

#: How often it is written.
EVERY_S = 15.0


class Counted(Protocol):
    """What the collector has done since it started."""

    batches: int
    stored: int
    repeats: int
    set_aside: int
    storing_s: float
    longest_s: float
    in_hand: int
    youngest_s: float
    unconfirmed: int


class Connected(Protocol):
    """Its connection to the broker."""

    @property
    def connected(self) -> bool: ...

    @property
    def redelivered(self) -> int: ...


class MetricsFile:
    """The file, written anew every few seconds. For one thread."""

    def __init__(
        self,
        path: Path,
        totals: Counted,
        connection: Connected,
        clock: Clock,
        *,
        held_back: Callable[[], bool] = lambda: False,
    ) -> None:
        """*held_back*: whether erasing waits for somebody to vouch for the clock."""
        self._path, self._totals, self._held_back = path, totals, held_back
        self._connection, self._clock = connection, clock
        self._written: float | None = None
        self._batches, self._last_batch = 0, 0.0

    def step(self) -> None:
        """Write it if it is due. What cannot be written is said in the log and tried again."""
        now = self._clock.monotonic()
        if self._totals.batches != self._batches:
            self._batches = self._totals.batches
            self._last_batch = utc_seconds(self._clock.now().at)
        if self._written is not None and now - self._written < EVERY_S:
            return
        self._written = now
        new = self._path.with_name(f".{self._path.name}.new")
        text = self._text()
        # The longest of these seconds; the next file tells of the next.
        self._totals.longest_s = 0.0
        try:
            # Not synced: after a power cut there is a new one within seconds.
            new.write_text(text, encoding="utf-8")
            new.chmod(0o644)
            os.replace(new, self._path)
        except OSError as err:
            log.warning("%s: cannot write the metrics: %s", self._path, err.strerror)

    def _text(self) -> str:
        totals, connection = self._totals, self._connection
        families = (
            ("stored_total", "counter", "Scans that became rows.", totals.stored),
            ("repeats_total", "counter", "Scans that were rows already.", totals.repeats),
            ("set_aside_total", "counter", "Messages that could not be read.", totals.set_aside),
            ("batches_total", "counter", "Transactions.", totals.batches),
            ("storing_seconds_total", "counter", "What they took together.", totals.storing_s),
            ("longest_batch_seconds", "gauge", "The longest since the last.", totals.longest_s),
            ("in_hand", "gauge", "Messages not stored yet.", totals.in_hand),
            ("youngest_scan_age_seconds", "gauge", "Of the last batch.", totals.youngest_s),
            ("unconfirmed_total", "counter", "Confirmations not taken.", totals.unconfirmed),
            ("redelivered_total", "counter", "What was in hand.", connection.redelivered),
            ("connected", "gauge", "1 while the broker is there.", int(connection.connected)),
            (
                "erasing_held_back",
                "gauge",
                "1 while nobody vouches for the clock.",
                int(self._held_back()),
            ),
            ("last_batch_timestamp_seconds", "gauge", "When the last one ended.", self._last_batch),
        )
        return "".join(
            f"# HELP edge_collector_{name} {says}\n# TYPE edge_collector_{name} {kind}\n"
            f"edge_collector_{name} {value}\n"
            for name, kind, says, value in families
        )
