"""Reads QR codes from single frames, with every look that helps; `pipeline` is for video."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge.scanner.readers import (
    MIN_SIDE,
    Code,
    Frame,
    Look,
    Zbar,
    check,
    each_once,
    enlarged,
    resized,
)
from edge.scanner.stages import STAGES, Stage, View

__all__ = ["MAX_PIXELS", "Code", "Decoder", "Frame", "each_once", "fitted", "load_zbar"]

#: What is larger is shrunk to this before it is read: time grows with the pixels, and a code that
#: fills such a frame has many times those that a reader needs.
MAX_PIXELS = 4_000_000

#: zxing-cpp refuses sides from 65,536 pixels; nothing as thin as that holds a code.
MAX_SIDE = 16_384


def load_zbar() -> Any:
    """pyzbar's wrapper of libzbar. Raises ImportError or OSError where one of them is missing."""
    from pyzbar import wrapper

    return wrapper


class Decoder:
    """Reads frames, for one thread: another needs a Decoder of its own.

    Where zbar is missing it reads with zxing-cpp alone, and `zbar_missing` says why.
    """

    def __init__(
        self,
        zbar: bool = True,
        load_zbar: Callable[[], Any] = load_zbar,
        stages: Sequence[Stage] = STAGES,
    ) -> None:
        """*stages* are tried in turn until one reads something."""
        #: Why zbar is not used although it was asked for; None if all is well.
        self.zbar_missing: str | None = None
        #: Processor time that the last `read` took of this thread.
        self.last_ms = 0.0
        self._stages = stages
        self._zbar: Zbar | None = None
        if zbar:
            try:
                self._zbar = Zbar(load_zbar())
            except (ImportError, OSError) as err:
                self.zbar_missing = str(err)

    def read(self, frame: Frame) -> list[Code]:
        """The QR codes in *frame*, each once; an empty frame has none.

        Raises ValueError for what is not a Frame: colour, 16 bit, a list.
        """
        began = time.thread_time()
        view, factor = self.view(frame)
        codes = self._codes(view)
        self.last_ms = (time.thread_time() - began) * 1000
        return list(each_once(enlarged(Look(codes), factor).codes))

    def view(self, frame: Frame) -> tuple[View, float]:
        """*frame* as stages take it, and how many times it was larger. Raises ValueError."""
        check(frame)
        gapless, factor = fitted(frame)
        return View(gapless, self._zbar), factor

    def close(self) -> None:
        """Let go of zbar; nothing else is held between frames. May be called twice."""
        self._zbar = None

    def _codes(self, view: View) -> tuple[Code, ...]:
        if min(view.frame.shape) < MIN_SIDE:
            return ()
        for stage in self._stages:
            look = stage.look(view)
            if look.codes:
                return look.codes
            view.note(look.spots)
        return ()


def fitted(frame: Frame) -> tuple[Frame, float]:
    """*frame* as rows without gaps, within the largest size; and how many times it was larger."""
    height, width = frame.shape
    factor = max(1.0, math.sqrt(height * width / MAX_PIXELS), max(height, width) / MAX_SIDE)
    gapless = np.ascontiguousarray(frame)
    if factor == 1.0:
        return gapless, factor
    return resized(gapless, max(1, int(width / factor)), max(1, int(height / factor))), factor
