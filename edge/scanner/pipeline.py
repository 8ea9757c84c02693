"""Reads codes from video: looks where something changed, and spends on hard frames what it saved.

A code is in view for 10 to 60 frames. Each that shows something new gets the plain look; those that
it cannot read get harder ones, in turn, as far as the budget goes. A frame like the one before
costs a glance. Which looks there are, and what they cost, is in `stages`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np

from edge.scanner.decoder import Decoder, load_zbar
from edge.scanner.golden import GOLDEN
from edge.scanner.readers import (
    MIN_SIDE,
    Code,
    Frame,
    Look,
    check,
    each_once,
    enlarged,
    meet,
    moved,
)
from edge.scanner.stages import STAGES, Stage, View, histogram, plain, regridded

#: After a change, so many frames that show nothing new get one harder look each.
SETTLE_FRAMES = 1
#: From then on one frame in so many gets one look, until something changes; each third is a harder
#: one.
IDLE_FRAMES = 30
#: A code-like thing that was not seen for this long is out of view.
GAP_S = 0.5
#: What harder looks may cost in the mean, in plain looks: those that do not wait, and the others.
#: Together below 1, so that a frame stays below two plain looks.
_SOON_SHARE, _TURN_SHARE = 0.6, 0.2
#: So many frames' worth of them may be saved up.
_SAVED_FRAMES = 20
#: A corner may be this much outside of the zone, in pixels: none is measured exactly.
_OUTSIDE = 4.0

_PLAIN = next(stage for stage in STAGES if stage.look is plain)
_GRID = next(stage for stage in STAGES if stage.look is regridded)
#: So cheap that it is always taken where the plain look reads nothing.
_CHEAPEST = next(stage for stage in STAGES if stage.look is histogram)
_HARDER = tuple(stage for stage in STAGES if stage not in (_PLAIN, _CHEAPEST, _GRID))
#: These read most of what the plain look misses, for the least: they do not wait for a turn.
_SOON = _HARDER[:2]
_IN_TURN = _HARDER[2:]


class Zone(NamedTuple):
    """The part of the frame that is read, in shares of its width and height, from 0 to 1."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0


WHOLE = Zone()

Timed: TypeAlias = Callable[[Stage, View], tuple[Look, float]]


def timed(stage: Stage, view: View) -> tuple[Look, float]:
    """What *stage* sees, and the processor time that it took of this thread, in ms."""
    began = time.thread_time()
    look = stage.look(view)
    return look, (time.thread_time() - began) * 1000


class Pipeline:
    """Reads the frames of one camera in their order, for one thread.

    Used like a Decoder, and reads the same codes, but remembers what it saw before.
    """

    def __init__(
        self,
        zbar: bool = True,
        load_zbar: Callable[[], Any] = load_zbar,
        *,
        budget_ms: float = 25.0,
        zone: Zone = WHOLE,
        which: Literal["all", "nearest"] = "all",
        changed: Callable[[Frame], bool] | None = None,
        timed: Timed = timed,
    ) -> None:
        """*budget_ms* is the processor time that a frame may take in the mean; the plain look at a
        frame that changed is always taken, and the cheapest where that reads nothing. Harder ones
        never cost more than the plain one does.

        *which* codes are given where several are in view: all, or the nearest to the camera, which
        is the largest. *changed* tells frames that show something new; None is a Gate. *timed*
        takes a look and says how many ms of processor time it took.
        """
        #: Processor time that the last `read` took of this thread.
        self.last_ms = 0.0
        #: Whether something in the last frame looks like a code and could not be read.
        self.spotted = False
        #: The golden code, where the last frame was looked at and had it. It may hang in view for
        #: ever, so that it is none of the codes that are read, and no reason to stop looking.
        self.golden: Code | None = None
        self._decoder = Decoder(zbar, load_zbar)
        self._changed = changed or Gate().changed
        self._timed = timed
        self._budget_ms = budget_ms
        self._soon = _Purse(_SOON_SHARE)
        self._turns = _Purse(_TURN_SHARE)
        # What each stage costs, learnt as it comes: a slow machine is as good as a fast one.
        self._costs_ms: dict[str, float] = {}
        self._zone = zone
        self._which = which
        self._codes: list[Code] = []
        self._goldens: tuple[Code, ...] = ()
        self._unchanged_frames = 0
        self._read_by = _PLAIN
        self._turn = 0
        self._glances = 0

    @property
    def zbar_missing(self) -> str | None:
        """Why zbar is not used although it was asked for; None if all is well."""
        return self._decoder.zbar_missing

    def read(self, frame: Frame) -> list[Code]:
        """The codes in *frame* that are wholly within the zone, each once.

        A frame that shows what the last one showed has the same codes, and is not read again.
        Raises ValueError for what is not a Frame: colour, 16 bit, a list.
        """
        check(frame)
        began = time.thread_time()
        part, left, top = _cut(frame, self._zone)
        view, factor = self._decoder.view(part)
        self._goldens = ()
        if min(view.frame.shape) < MIN_SIDE:
            self._codes, self.spotted = [], False
        elif (codes := self._seen(view)) is not None:
            look = moved(enlarged(Look(codes), factor), left, top)
            self._codes = self._wanted(each_once(look.codes), frame)
            self.spotted = self._unread(view, codes)
        goldens = moved(enlarged(Look(self._goldens), factor), left, top).codes
        self.golden = goldens[0] if goldens else None
        self.last_ms = (time.thread_time() - began) * 1000
        return list(self._codes)

    def close(self) -> None:
        """Let go of zbar. May be called twice."""
        self._decoder.close()

    def _seen(self, view: View) -> tuple[Code, ...] | None:
        """The codes in *view*; None if it was not looked at, since nothing is new."""
        changed = self._changed(view.frame)
        self._unchanged_frames = 0 if changed else self._unchanged_frames + 1
        if (plain_ms := self._costs_ms.get(_PLAIN.name)) is not None:
            earned_ms = max(0.0, min(plain_ms, self._budget_ms - plain_ms))
            self._soon.earn(earned_ms)
            self._turns.earn(earned_ms)
        if changed or self.spotted:
            return self._looked(view)
        due = self._unchanged_frames % IDLE_FRAMES == 0
        if self._codes:
            return self._checked(view) if due else None
        if due or self._unchanged_frames <= SETTLE_FRAMES:
            return self._glanced(view)
        return None

    def _looked(self, view: View) -> tuple[Code, ...]:
        codes = self._take(_PLAIN, view) or self._take(_CHEAPEST, view)
        for stage in _SOON:
            codes = codes or self._afford(stage, view, self._soon)
        if self._unread(view, codes):
            codes += self._afford(_GRID, view, self._soon)
        return codes or self._in_turn(view)

    def _glanced(self, view: View) -> tuple[Code, ...]:
        """One look at a scene in which nothing was read, another one each time."""
        self._glances += 1
        if self._unchanged_frames > SETTLE_FRAMES and self._glances % 3:
            return self._take(_PLAIN, view)
        return self._in_turn(view)

    def _in_turn(self, view: View) -> tuple[Code, ...]:
        stage = _IN_TURN[self._turn]
        before_ms = self._turns.saved_ms
        codes = self._afford(stage, view, self._turns)
        if self._turns.saved_ms < before_ms:
            self._turn = (self._turn + 1) % len(_IN_TURN)
        return codes

    def _afford(self, stage: Stage, view: View, purse: _Purse) -> tuple[Code, ...]:
        """What *stage* reads, if *purse* has enough for it. Its first time it is on debt."""
        if purse.saved_ms <= 0 or purse.saved_ms < self._costs_ms.get(stage.name, 0.0):
            return ()
        return self._take(stage, view, purse)

    def _checked(self, view: View) -> tuple[Code, ...]:
        """The look that read a code, once more: if it is gone, the scene has changed after all."""
        codes = self._take(self._read_by, view)
        if not codes:
            self._unchanged_frames = 0
        return codes

    def _take(self, stage: Stage, view: View, purse: _Purse | None = None) -> tuple[Code, ...]:
        look, ms = self._timed(stage, view)
        known_ms = self._costs_ms.get(stage.name, ms)
        self._costs_ms[stage.name] = known_ms + 0.1 * (ms - known_ms)
        if purse is not None:
            purse.saved_ms -= ms
        view.note(look.spots)
        codes = tuple(code for code in look.codes if code.content != GOLDEN)
        if codes:
            self._read_by = stage
        if goldens := tuple(code for code in look.codes if code.content == GOLDEN):
            self._goldens = goldens
        return codes

    def _unread(self, view: View, codes: tuple[Code, ...]) -> bool:
        """Whether there are spots where none of *codes* is."""
        known = (*codes, *self._goldens)
        return any(not any(meet(it.points, code.points) for code in known) for it in view.spots)

    def _wanted(self, codes: Iterable[Code], frame: Frame) -> list[Code]:
        within = [code for code in codes if _is_within(code, self._zone, frame)]
        if self._which == "nearest" and within:
            return [max(within, key=_area)]
        return within


class Unread:
    """Tells when a code-like thing has stayed in view for a while without being read."""

    def __init__(self, after_s: float = 1.0) -> None:
        self._after_s = after_s
        self._since: float | None = None
        self._last = 0.0
        self._told = False

    def look(self, spotted: bool, is_read: bool, now: float) -> bool:
        """Whether to say so now: once for each such thing. *now* in seconds of any clock."""
        if is_read or (self._since is not None and now - self._last > GAP_S):
            self._since, self._told = None, False
        if not spotted or is_read:
            return False
        self._last = now
        if self._since is None:
            self._since = now
        if self._told or now - self._since < self._after_s:
            return False
        self._told = True
        return True


class _Purse:
    """What some looks may cost: it is full at first, and filled up again while nothing is seen."""

    def __init__(self, share: float) -> None:
        self.saved_ms = 0.0
        self._share = share
        self._is_new = True

    def earn(self, frame_ms: float) -> None:
        """Another frame, of whose *frame_ms* this has its share."""
        most_ms = _SAVED_FRAMES * self._share * frame_ms
        gained_ms = most_ms if self._is_new else self._share * frame_ms
        self._is_new = False
        self.saved_ms = min(self.saved_ms + gained_ms, most_ms)


class Gate:
    """Tells frames that show something new, by a picture of 160 x 90 pixels of each."""

    _SIZE = (160, 90)
    _BLOCKS = (16, 9)
    #: In grey levels, what a block of 10 x 10 of these pixels must differ in the mean beyond noise.
    #: Of two codes in one place half of the pixels differ, by 50 and more.
    _LEAST = 4.0
    #: No camera makes more noise than this, in grey levels: what does is a scene that moves.
    _MOST_NOISE = 8.0

    def __init__(self) -> None:
        self._shown = np.zeros((90, 160), np.uint8)
        # Of the difference that noise makes, the least lately: it grows by a twentieth a frame.
        self._noise = 0.0
        self._frames = 0

    def changed(self, frame: Frame) -> bool:
        """Whether *frame* differs from the last one that did."""
        # Two pixels for each of 64, of one row in eight: what takes time is to fetch the memory.
        step = max(1, frame.shape[0] // self._SIZE[1])
        rows = np.ascontiguousarray(frame[step // 2 :: step])
        small = np.asarray(cv2.resize(rows, self._SIZE, interpolation=cv2.INTER_LINEAR), np.uint8)
        apart = cv2.absdiff(small, self._shown)
        blocks = cv2.resize(apart.astype(np.float32), self._BLOCKS, interpolation=cv2.INTER_AREA)
        quiet = float(np.sort(blocks, axis=None)[blocks.size // 4])
        self._noise = min(quiet, 1.05 * self._noise + 0.05, self._MOST_NOISE)
        if self._frames < 2:
            # The first is compared with none, and the second tells at once.
            self._noise = min(quiet, self._MOST_NOISE)
        self._frames += 1
        if blocks.max() < self._LEAST + 2 * self._noise:
            return False
        self._shown = small
        return True


def _cut(frame: Frame, zone: Zone) -> tuple[Frame, int, int]:
    """The part of *frame* in *zone*, and its left and top."""
    height, width = frame.shape
    left, top = int(zone.left * width), int(zone.top * height)
    right, bottom = round(zone.right * width), round(zone.bottom * height)
    return frame[top:bottom, left:right], left, top


def _is_within(code: Code, zone: Zone, frame: Frame) -> bool:
    height, width = frame.shape
    return all(
        zone.left * width - _OUTSIDE <= x <= zone.right * width + _OUTSIDE
        and zone.top * height - _OUTSIDE <= y <= zone.bottom * height + _OUTSIDE
        for x, y in code.points
    )


def _area(code: Code) -> float:
    return cv2.contourArea(np.array(code.points, np.float32))
