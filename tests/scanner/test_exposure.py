"""Claims about exposure and the night, before a sensor that answers light as a real one does."""

import numpy as np
import pytest

from edge.scanner.decoder import Frame
from edge.scanner.exposure import EVERY_FRAMES, Exposure, ExposureControl, Range, brightness
from edge.unit_settings import CameraSettings

CAMERA = Range(26, 200_000, 1.0, 16.0)
#: Light at which each exposure by day, from the shortest on, is too dark: in units of `light`.
RATE = 16


class Sensor:
    """Gives frames of the grey that the light before it makes; what is asked for comes late."""

    def __init__(self, control: ExposureControl, light: float) -> None:
        self.control = control
        #: A grey of 110 at an `Exposure.light` of one over this.
        self.light = light
        self._asked = [control.exposure] * 4
        self.greys: list[float] = []

    def run(self, frames: int) -> None:
        for _ in range(frames):
            self._asked.append(self.control.exposure)
            now = self._asked.pop(0)
            caught = 1.0 if now is None else now.light
            grey = min(255.0, 255 * (self.light * caught * 0.157) ** (1 / 2.2))
            self.greys.append(grey)
            self.control.look(np.full((90, 160), round(grey), np.uint8))


def control(can: Range | None = CAMERA, **settings: object) -> ExposureControl:
    return ExposureControl(CameraSettings(frame_rate=RATE, **settings), can)  # type: ignore[arg-type]


def exposure_of(control: ExposureControl) -> Exposure:
    assert control.exposure is not None
    return control.exposure


@pytest.mark.parametrize("light", [40, 150, 1000, 10_000, 30_000])
def test_any_light_of_the_day_comes_to_the_same_grey_in_two_seconds(light: float) -> None:
    sensor = Sensor(control(night="never"), light)
    sensor.run(3 * RATE)

    assert 85 < sensor.greys[-1] < 140
    assert exposure_of(sensor.control).time_us <= 4000


def test_the_shutter_goes_first_and_gain_only_then() -> None:
    bright, dark = (Sensor(control(night="never"), light) for light in (2000, 60))
    bright.run(5 * RATE)
    dark.run(5 * RATE)

    assert exposure_of(bright.control).gain == 1.0
    assert exposure_of(bright.control).time_us < 4000
    assert exposure_of(dark.control).gain > 2
    assert exposure_of(dark.control).time_us == 4000


def test_a_steady_light_leaves_the_exposure_alone() -> None:
    sensor = Sensor(control(), 500)
    sensor.run(4 * RATE)
    before = sensor.control.exposure
    rng = np.random.default_rng(1)
    for _ in range(20):
        sensor.light = 500 * rng.uniform(0.93, 1.07)
        sensor.run(EVERY_FRAMES)

    assert sensor.control.exposure == before


def test_light_that_leaps_is_followed_without_swinging() -> None:
    sensor = Sensor(control(night="never"), 100)
    for light in (100, 20_000, 100):
        sensor.light = light
        sensor.run(4 * RATE)
        settled = sensor.greys[-RATE:]

        assert min(settled) > 85
        assert max(settled) < 140


def test_exposures_of_a_half_wave_and_more_are_whole_half_waves() -> None:
    slow = control(exposure_us=35_000, gain=1.0, night="never")
    times = set()
    for light in np.geomspace(20, 3000, 25):
        sensor = Sensor(slow, light)
        sensor.run(4 * RATE)
        times.add(exposure_of(slow).time_us)

    assert {time for time in times if time >= 10_000} == {10_000, 20_000, 30_000}
    assert min(times) < 10_000


def test_without_lamps_that_flicker_every_exposure_will_do() -> None:
    slow = control(exposure_us=35_000, gain=1.0, night="never", flicker_hz=0)
    Sensor(slow, 10).run(4 * RATE)

    assert exposure_of(slow).time_us == 35_000


def test_the_camera_is_asked_for_nothing_that_it_cannot_do() -> None:
    narrow = Range(500, 2000, 2.0, 4.0)
    for light in (1.0, 1e6):
        sensor = Sensor(control(narrow), light)
        sensor.run(8 * RATE)
        exposure = exposure_of(sensor.control)

        assert 500 <= exposure.time_us <= 2000
        assert 2.0 <= exposure.gain <= 4.0


def test_it_is_night_when_the_day_cannot_make_it_bright_and_day_again_with_a_gap() -> None:
    # By day, with 4 ms at gain 8, this gives a grey of 36; the night has five times as much.
    sensor = Sensor(control(), 2.7)
    sensor.run(2 * RATE)
    assert not sensor.control.is_night
    sensor.run(5 * RATE)
    assert sensor.control.is_night
    assert exposure_of(sensor.control) == Exposure(10_000, 16.0)

    sensor.light = 15  # dusk, in which neither begins
    sensor.run(60 * RATE)
    assert sensor.control.is_night

    sensor.light = 100
    sensor.run(20 * RATE)
    assert sensor.control.is_night
    sensor.run(20 * RATE)
    assert not sensor.control.is_night


def test_in_the_dusk_it_stays_day() -> None:
    sensor = Sensor(control(), 15)
    sensor.run(60 * RATE)

    assert not sensor.control.is_night


def test_a_shadow_is_no_night() -> None:
    sensor = Sensor(control(), 300)
    for _ in range(10):
        sensor.light = 0.5
        sensor.run(2 * RATE)
        sensor.light = 300
        sensor.run(RATE)

    assert not sensor.control.is_night


def test_a_camera_that_exposes_by_itself_still_has_a_night() -> None:
    sensor = Sensor(control(None), 0.01)
    sensor.run(5 * RATE)

    assert sensor.control.exposure is None
    assert sensor.control.is_night


@pytest.mark.parametrize(("night", "is_night"), [("always", True), ("never", False)])
@pytest.mark.parametrize("light", [0.1, 3000])
def test_by_setting_it_is_always_night_or_never(night: str, is_night: bool, light: float) -> None:
    sensor = Sensor(control(night=night), light)
    sensor.run(60 * RATE)

    assert sensor.control.is_night is is_night


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 2), (64, 64)])
def test_brightness_is_of_the_middle(shape: tuple[int, int]) -> None:
    frame: Frame = np.full(shape, 90, np.uint8)

    assert brightness(frame) == (90.0 if frame.size else 0.0)
    edge = np.zeros((80, 80), np.uint8)
    edge[20:60, 20:60] = 200
    assert brightness(edge) == 200.0
