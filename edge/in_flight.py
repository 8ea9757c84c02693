"""What was handed to a broker and is not acknowledged yet."""

from collections.abc import Sequence
from typing import NamedTuple

from edge import packets


class _Handed(NamedTuple):
    """A message that the broker has not acknowledged."""

    about: Sequence[int]
    size: int


class InFlight:
    """Of one connection, by the ids of packets, which are free again once acknowledged."""

    def __init__(self) -> None:
        self._handed: dict[int, _Handed] = {}
        self._lost_about: set[int] = set()
        self._id = 0
        #: What they carry together.
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._handed)

    def next_id(self) -> int:
        """An id for the next message: never 0, and none that is under way."""
        while True:
            self._id = self._id % packets.HIGHEST_ID + 1
            if self._id not in self._handed:
                return self._id

    def add(self, packet_id: int, about: Sequence[int], size: int) -> None:
        """A message of *size* bytes was handed over, *about* these numbers of the caller's."""
        self._handed[packet_id] = _Handed(about, size)
        self.bytes += size

    def acknowledged(self, packet_id: int) -> None:
        """The broker has it. One that is not under way does no harm."""
        if handed := self._handed.pop(packet_id, None):
            self.bytes -= handed.size

    def lose(self) -> None:
        """The connection has ended."""
        self._lost_about.update(*(handed.about for handed in self._handed.values()))
        self._handed.clear()
        self.bytes = 0

    def take_lost(self) -> set[int]:
        """What was `about` and not acknowledged when its connection ended, since the last call."""
        lost, self._lost_about = self._lost_about, set()
        return lost
