"""How long the shutter is open, and whether it is night: from the brightness of the frames.

What a camera's own automatic does is to lengthen the exposure first, to 20 or 60 ms, until a hand
smears the code. Here the shutter never stays open longer than the settings allow; when that is not
enough light, gain goes up instead: readers bear noise better than smear.
"""

from typing import NamedTuple

import numpy as np

from edge.scanner.readers import Frame
from edge.unit_settings import CameraSettings

#: Frames between two looks: a new exposure shows three or four frames after it was asked for.
EVERY_FRAMES = 8
#: The mean grey that is aimed at, of 255: white paper is then near 200, short of being burnt out.
_AIM = 110.0
#: What a camera makes of light: grey = 255 * light ** (1 / _GAMMA).
_GAMMA = 2.2
#: In stops (doublings of the light): less is left alone, and more is not corrected in one step.
_LEAST_STOPS, _MOST_STOPS = 0.3, 3.0
#: The share of an error that is corrected in one step, so that nothing swings.
_STEP = 0.8
#: It is night when the longest exposure by day would give a darker picture than this (mean grey of
#: 255), and day again when it would give a brighter one than that. Between them nothing changes.
_NIGHT_BELOW, _DAY_ABOVE = 45.0, 120.0
#: For so many seconds it must be so: a shadow is no night, a phone before the lens no day.
_NIGHT_AFTER_S, _DAY_AFTER_S = 3.0, 30.0


class Exposure(NamedTuple):
    """How a frame is taken."""

    time_us: int
    gain: float

    @property
    def light(self) -> float:
        """How much light it catches, in seconds at gain 1."""
        return self.time_us * 1e-6 * self.gain


class Range(NamedTuple):
    """What a camera can do."""

    shortest_us: int = 100
    longest_us: int = 1_000_000
    least_gain: float = 1.0
    most_gain: float = 16.0


class Twilight:
    """Tells night from day, with a gap between the two so that it does not change to and fro."""

    def __init__(self, looks_per_s: float) -> None:
        self.is_night = False
        self._looks_per_s = looks_per_s
        self._otherwise = 0

    def look(self, by_day: float) -> None:
        """*by_day* is the mean grey that the frame would have at the longest exposure by day."""
        changes = by_day > _DAY_ABOVE if self.is_night else by_day < _NIGHT_BELOW
        self._otherwise = self._otherwise + 1 if changes else 0
        after_s = _DAY_AFTER_S if self.is_night else _NIGHT_AFTER_S
        if self._otherwise >= after_s * self._looks_per_s:
            self.is_night, self._otherwise = not self.is_night, 0


class ExposureControl:
    """Chooses the exposure of the frames to come. Fed every frame, it looks at one in a few."""

    def __init__(self, settings: CameraSettings, can: Range | None) -> None:
        """*can* is None for a camera whose exposure cannot be set: then it only tells night."""
        self._settings = settings
        self._can = can
        self._twilight = Twilight(settings.frame_rate / EVERY_FRAMES)
        self._twilight.is_night = settings.night == "always"
        self._frames = 0
        #: What is asked for at the moment; None where it is left to the camera.
        self.exposure = None if can is None else self._fitted(self._longest().light / 4, can)

    @property
    def is_night(self) -> bool:
        """Whether the settings of the night are in force, and the lamp is on."""
        return self._twilight.is_night

    def look(self, frame: Frame) -> bool:
        """Take note of *frame*. True if `exposure` or `is_night` has changed by it."""
        self._frames += 1
        if self._frames % EVERY_FRAMES:
            return False
        grey = brightness(frame)
        was_night, was = self.is_night, self.exposure
        if self._settings.night == "dark":
            self._twilight.look(self._by_day(grey))
        if self._can is not None and was is not None:
            self.exposure = self._corrected(grey, was, self._can)
        return (self.is_night, self.exposure) != (was_night, was)

    def _by_day(self, grey: float) -> float:
        if self.exposure is None:
            return grey
        longest = Exposure(self._settings.exposure_us, self._settings.gain)
        return float(grey * (longest.light / self.exposure.light) ** (1 / _GAMMA))

    def _corrected(self, grey: float, now: Exposure, can: Range) -> Exposure:
        stops = _GAMMA * np.log2(_AIM / max(grey, 1.0))
        wanted = now.light
        if abs(stops) >= _LEAST_STOPS:
            wanted *= 2 ** float(np.clip(_STEP * stops, -_MOST_STOPS, _MOST_STOPS))
        # Also without an error: dusk and dawn change what is allowed.
        return self._fitted(wanted, can)

    def _fitted(self, light: float, can: Range) -> Exposure:
        """The exposure that catches *light* as nearly as may be: first longer, then more gain."""
        longest = self._longest()
        longest_us = max(can.shortest_us, min(longest.time_us, can.longest_us))
        time_us = min(max(light * 1e6 / can.least_gain, can.shortest_us), longest_us)
        if flicker_hz := self._settings.flicker_hz:
            # Lamps flicker twice in a wave; over whole ones of these their light is the same in
            # each row. What is shorter shows bands, which readers bear.
            half_wave_us = 500_000 / flicker_hz
            time_us = max(time_us // half_wave_us * half_wave_us, min(time_us, half_wave_us))
        most_gain = max(can.least_gain, min(longest.gain, can.most_gain))
        gain = min(max(light * 1e6 / time_us, can.least_gain), most_gain)
        return Exposure(round(time_us), round(gain, 2))

    def _longest(self) -> Exposure:
        settings = self._settings
        if self.is_night:
            return Exposure(settings.night_exposure_us, settings.night_gain)
        return Exposure(settings.exposure_us, settings.gain)


def brightness(frame: Frame) -> float:
    """The mean grey of the middle half of *frame*, where codes are held, from 0 to 255."""
    height, width = frame.shape
    middle = frame[height // 4 : height - height // 4 : 4, width // 4 : width - width // 4 : 4]
    return float(middle.mean()) if middle.size else 0.0
