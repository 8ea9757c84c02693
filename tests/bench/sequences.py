"""Sequences of frames, in which a code comes and goes, or in which nothing is shown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests import scenes
from tests.bench.pictures import timed
from tests.bench.readers import Reader, Reading

#: In two seconds the code has come and gone.
FRAMES = 60


@dataclass
class Watch:
    """What one reader did over all sequences."""

    #: Frames from the first with the code fully in view to the first right reading, below 0 where
    #: the code was read before; None where it never was. One for each sequence.
    frames_to_read: list[int | None] = field(default_factory=list)
    false: int = 0
    ms_in_view: list[float] = field(default_factory=list)
    ms_all: list[float] = field(default_factory=list)
    #: Where nothing is there but noise and flicker, and where somebody walks by without a code.
    ms_idle: list[float] = field(default_factory=list)
    ms_passing: list[float] = field(default_factory=list)

    def missed(self) -> int:
        """Sequences in which the code was never read."""
        return self.frames_to_read.count(None)

    def of_read(self) -> list[int]:
        """Frames to the first reading, where there was one."""
        return [count for count in self.frames_to_read if count is not None]


def watch(
    readers: Mapping[str, Callable[[], Reader]], seeds: Iterable[int], idle_seeds: Iterable[int]
) -> dict[str, Watch]:
    """Let fresh *readers* watch a sequence of each seed, frame by frame in turn."""
    watches = {name: Watch() for name in readers}
    for seed in seeds:
        _watch_one(
            watches, {n: make() for n, make in readers.items()}, scenes.sequence(seed, FRAMES)
        )
    for seed in idle_seeds:
        for passing in (False, True):
            _watch_idle(watches, {n: make() for n, make in readers.items()}, seed, passing)
    return watches


def gains(mine: Watch, singles: Sequence[Watch]) -> list[int]:
    """By how many frames *mine* was earlier than the best single reader, for each sequence.

    Where only one of the two ever read, the other counts as one frame later than any.
    """
    never = 1 + max((count for each in (mine, *singles) for count in each.of_read()), default=0)
    of_mine = [never if count is None else count for count in mine.frames_to_read]
    best = [
        min(never if count is None else count for count in counts)
        for counts in zip(*(single.frames_to_read for single in singles), strict=True)
    ]
    return [theirs - ours for ours, theirs in zip(of_mine, best, strict=True)]


def _watch_one(
    watches: Mapping[str, Watch],
    readers: Mapping[str, Reader],
    frames: Sequence[scenes.SequenceFrame],
) -> None:
    whole = next(number for number, frame in enumerate(frames) if frame.fully_in_view)
    for read in readers.values():
        # What is loaded on first use is not the time of reading.
        timed(read, np.zeros_like(frames[0].frame))
    first: dict[str, int] = {}
    for number, shown in enumerate(frames):
        for name, read in _in_turn(readers, number):
            readings, ms = timed(read, shown.frame)
            watch = watches[name]
            watch.ms_all.append(ms)
            if shown.fully_in_view:
                watch.ms_in_view.append(ms)
            right = [reading for reading in readings or () if _says(reading, shown.content)]
            watch.false += len(readings or ()) - len(right)
            if right:
                first.setdefault(name, number - whole)
    for name, watch in watches.items():
        watch.frames_to_read.append(first.get(name))


def _watch_idle(
    watches: Mapping[str, Watch], readers: Mapping[str, Reader], seed: int, passing: bool
) -> None:
    for number, shown in enumerate(scenes.idle_sequence(seed, FRAMES, passing)):
        for name, read in _in_turn(readers, number):
            readings, ms = timed(read, shown.frame)
            watch = watches[name]
            watch.false += len(readings or ())
            if number:
                # The first frame is new to whoever compares it with the one before.
                (watch.ms_passing if passing else watch.ms_idle).append(ms)


def _in_turn(readers: Mapping[str, Reader], number: int) -> list[tuple[str, Reader]]:
    order, turn = list(readers.items()), number % len(readers)
    return order[turn:] + order[:turn]


def _says(reading: Reading, content: bytes | None) -> bool:
    return content is not None and content.decode() in reading.texts
