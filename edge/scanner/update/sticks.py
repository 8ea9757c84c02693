"""Sees a USB stick with new software come, and asks for a look at it."""

from collections.abc import Callable
from pathlib import Path

from edge.scanner.update.fetch import sticks


class UpdateSticks:
    """The sticks that are in. One thread calls it."""

    def __init__(self, pattern: str, ask: Callable[[], object]) -> None:
        """*pattern*: where sticks are mounted; *ask* is called once for each that comes."""
        self._pattern = pattern
        self._ask = ask
        self._seen: set[Path] = set()

    def step(self) -> None:
        """Look once."""
        here = set(sticks(self._pattern))
        if here - self._seen:
            self._ask()
        self._seen = here
