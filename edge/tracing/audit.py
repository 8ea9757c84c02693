"""The record of who asked what and whom they saw: written before an answer is given."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.chain import Chain, Entry, Head, entries, verify
from edge.clock import Clock


class Audit:
    """One desk's record, a hash-chained file."""

    def __init__(
        self, path: Path, clock: Clock, recorded: Callable[[Head], None] = lambda head: None
    ) -> None:
        """*recorded* is told the head after each entry, to keep it elsewhere."""
        self._path = path
        self._chain = Chain(path)
        self._clock = clock
        self._recorded = recorded

    def record(self, who: str, what: str, **facts: Any) -> None:
        """Add an entry, on disk when this returns. Raises ChainError: then nothing is answered."""
        self._recorded(self._chain.append(self.now(), what, {"who": who, **facts}))

    def now(self) -> str:
        """This moment, UTC, ISO 8601."""
        return self._clock.now().at

    def entries(self) -> Iterator[Entry]:
        """The entries, oldest first, each checked. Raises ChainError."""
        return entries(self._path)

    def verify(self, head: str = "") -> Head:
        """Its end, if it is whole; *head*: one that was noted earlier. Raises ChainError."""
        return verify(self._path, head)
