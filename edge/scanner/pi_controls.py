"""What the Pi's camera is told, in libcamera's words: focus, exposure, flicker, what is shown.

Not every camera has every control; the fixed-focus modules have no lens to move, for one. A control
that a camera does not advertise would be an error of picamera2, so it is left out and said once.
"""

import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

from edge.scanner.exposure import Range
from edge.unit_settings import CameraSettings

log = logging.getLogger(__name__)

#: By name, what a control is to be.
Controls: TypeAlias = dict[str, Any]
#: By name, what a control can be: least, most, default.
Advertised: TypeAlias = Mapping[str, tuple[Any, Any, Any]]

# libcamera's numbers for these, here so that nothing of it is imported.
_FOCUS_MANUAL = 0
_FLICKER_MANUAL = 1


def only_advertised(wanted: Controls, advertised: Advertised) -> Controls:
    """*wanted* without what the camera does not have, which is said in a line."""
    if missing := sorted(wanted.keys() - advertised.keys()):
        log.info("the camera has no %s; going on without", ", ".join(missing))
    return {name: value for name, value in wanted.items() if name in advertised}


def exposure_range(settings: CameraSettings, advertised: Advertised) -> Range | None:
    """What exposures the camera can do; None where it is left to the camera itself."""
    if settings.exposure_us == 0:
        return None
    if missing := sorted({"ExposureTime", "AnalogueGain"} - advertised.keys()):
        log.info("the camera has no %s; exposure is left to it", ", ".join(missing))
        return None
    time_us, gain = advertised["ExposureTime"], advertised["AnalogueGain"]
    # Some give 0 for a limit that they do not know.
    widest = Range()
    return Range(
        int(time_us[0]) or widest.shortest_us,
        int(time_us[1]) or widest.longest_us,
        float(gain[0]) or widest.least_gain,
        float(gain[1]) or widest.most_gain,
    )


def fixed_controls(settings: CameraSettings, advertised: Advertised) -> Controls:
    """What stays as it is while the camera runs. Values are within what is advertised."""
    controls: Controls = {"AfMode": _FOCUS_MANUAL, "LensPosition": settings.focus}
    if lens := advertised.get("LensPosition"):
        controls["LensPosition"] = min(max(settings.focus, float(lens[0])), float(lens[1]))
    if settings.exposure_us == 0 and settings.flicker_hz:
        controls["AeFlickerMode"] = _FLICKER_MANUAL
        controls["AeFlickerPeriod"] = round(500_000 / settings.flicker_hz)
    if settings.region != (0.0, 0.0, 1.0, 1.0):
        controls |= _crop(settings, advertised)
    return controls


def _crop(settings: CameraSettings, advertised: Advertised) -> Controls:
    if "ScalerCrop" not in advertised:
        return {"ScalerCrop": None}
    # The default is the largest view of the frame's shape.
    part = cropped(advertised["ScalerCrop"][2], settings.region)
    if "ScalerCrops" in advertised:
        # A Pi 5 has one for each stream as well, which picamera2 sets, and which goes before.
        return {"ScalerCrop": part, "ScalerCrops": [part]}
    return {"ScalerCrop": part}


def cropped(
    view: tuple[int, int, int, int], region: tuple[float, float, float, float]
) -> tuple[int, int, int, int]:
    """The least part of *view* (left, top, width, height) of its own shape that holds *region*.

    *region* is left, top, right, bottom, in shares of the view.
    """
    left, top, right, bottom = region
    share = max(right - left, bottom - top)
    x = min(max(0.0, (left + right - share) / 2), 1 - share)
    y = min(max(0.0, (top + bottom - share) / 2), 1 - share)
    return (
        view[0] + round(x * view[2]),
        view[1] + round(y * view[3]),
        round(share * view[2]),
        round(share * view[3]),
    )
