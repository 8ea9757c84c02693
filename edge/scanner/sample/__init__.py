"""A gate that we draw: invented people show their codes, for the demo and for tests.

Nothing is read from a disk and nothing is left to chance: every run draws the same frames. They are
made for 1280x720; a smaller frame shows the same scene smaller, and its finest codes are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.errors import EndOfFrames
from edge.scanner.sample.people import FRAMES_PER_S, sample_script
from edge.scanner.sample.stage import Stage
from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame


class SampleGate:
    """A camera before which the script is played."""

    def __init__(self, settings: CameraSettings, pace: Callable[[], None] = lambda: None) -> None:
        self.script = sample_script()
        #: How many frames the script has; a second goes by after the last person.
        self.length = max(arrival.last_frame for arrival in self.script) + FRAMES_PER_S
        self._repeat = settings.repeat
        self._pace = pace
        self._stage = Stage(settings.width, settings.height)
        self._next = 0

    def capture(self) -> Frame:
        """The next frame, when it is due. Raises EndOfFrames after the last."""
        if self._next >= self.length and not self._repeat:
            raise EndOfFrames("the sample is over; set camera.repeat to start again at the end")
        frame = self.draw(self._next % self.length)
        self._next += 1
        self._pace()
        return frame

    def close(self) -> None:
        """End it; what is captured after that is the end."""
        self._next, self._repeat = self.length, False

    def draw(self, number: int) -> Frame:
        """Frame *number* of the script, from 0. The same number gives the same frame."""
        seen = [
            (index, arrival)
            for index, arrival in enumerate(self.script)
            if arrival.first_frame <= number <= arrival.last_frame
        ]
        return self._stage.draw(number, seen)


def write_contact_sheet(path: Path, numbers: Iterable[int], columns: int = 4) -> None:
    """Write these frames of the sample, small, into one picture. For the manual, used by hand."""
    gate = SampleGate(CameraSettings(source="sample"))
    small = [cv2.resize(gate.draw(n), (400, 225), interpolation=cv2.INTER_AREA) for n in numbers]
    small += [np.full_like(small[0], 255)] * (-len(small) % columns)
    rows = [np.hstack(small[i : i + columns]) for i in range(0, len(small), columns)]
    path.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())
