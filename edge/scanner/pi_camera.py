"""The Raspberry Pi's own camera, through picamera2."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from edge.errors import CameraError, CameraHung
from edge.scanner.exposure import ExposureControl
from edge.scanner.lamp import Lamp
from edge.scanner.pi_controls import Controls, exposure_range, fixed_controls, only_advertised
from edge.unit_settings import CameraSettings

if TYPE_CHECKING:
    from edge.scanner.decoder import Frame

log = logging.getLogger(__name__)

#: Formats whose first plane is the grey picture, one byte a pixel. We ask for the first of them;
#: libcamera gives the one that the camera has.
GREY_FIRST = ("YUV420", "YVU420", "NV12", "NV21")

#: What picamera2 and libcamera raise when a camera cannot be had.
REFUSALS = (RuntimeError, OSError, IndexError)

#: How long a frame that came at the very moment of the time limit may take to be handed over.
LATE_S = 1.0

#: How long stopping and closing may take. After a loose cable the driver may never answer.
CLOSE_S = 5.0

CURE = (
    "is the cable seated at both ends, is another program using the camera?"
    " Look with `rpicam-hello --list-cameras`"
)


class PiCamera:
    """Gives the grey part of the newest frame, as the camera wrote it: nothing is copied.

    A frame is a view into the camera's own buffer, which goes back to the camera with the next
    capture. `sensor_modes` is never read: it runs a small Pi out of memory.
    """

    def __init__(self, settings: CameraSettings, lamp: Lamp | None = None) -> None:
        """*lamp* is lit at night, and closed with the camera."""
        self._lamp = lamp
        try:
            from picamera2 import MappedArray, Picamera2
        except ImportError as err:
            raise CameraError(
                f"picamera2 cannot be used ({err}); on a Pi: sudo apt install python3-picamera2"
                " --no-install-recommends; elsewhere choose another camera.source"
            ) from err
        self._wait_s = settings.wait_s
        self._mapped: Any = MappedArray
        self._request: Any = None
        self._given: weakref.ref[Frame] | None = None
        self._closing: threading.Thread | None = None
        try:
            self._camera: Any = Picamera2()
        except REFUSALS as err:
            raise _refused(err) from err
        try:
            self._start(settings)
        except REFUSALS as err:
            self.close()
            raise _refused(err) from err

    def capture(self) -> Frame:
        """The next frame to be finished. The one before ends with this call."""
        self._give_back()
        # Kept until it is given back: a request that is dropped ends in a segmentation fault.
        self._request = self._next_request()
        try:
            frame = self._grey(self._request)
            self._given = weakref.ref(frame)
            if self._exposure.look(frame):
                self._adjust()
        except BaseException:
            self._give_back()
            raise
        return frame

    def lens_range(self) -> tuple[float, float] | None:
        """From where to where the lens moves, in dioptres; None if it does not."""
        reach = self._camera.camera_controls.get("LensPosition")
        return None if reach is None else (float(reach[0]), float(reach[1]))

    def focus(self, dioptres: float) -> None:
        """Move the lens, which takes a few frames. Raises CameraError."""
        try:
            self._camera.set_controls({"LensPosition": dioptres})
        except REFUSALS as err:
            raise _refused(err) from err

    def close(self) -> None:
        """Stop the camera and give it back. Raises CameraHung if it does not answer.

        Then only the end of the process helps.
        """
        self._give_back()
        if self._given is not None and self._given() is not None:
            log.warning("a frame is still in use while the camera closes; its memory is lost")
        if self._closing is None:
            # A thread of its own: nothing else can be waited for with a limit.
            self._closing = threading.Thread(target=self._shut, name="camera", daemon=True)
            self._closing.start()
            self._closing.join(CLOSE_S)
        if self._closing.is_alive():
            raise CameraHung(
                f"the camera does not stop within {CLOSE_S:g} s; is its cable seated at both ends?"
            )

    def _shut(self) -> None:
        try:
            self._camera.stop()
        except REFUSALS as err:
            log.warning("the camera does not stop: %s", err)
        try:
            self._camera.close()
        except REFUSALS as err:
            log.warning("the camera does not close: %s", err)
        if self._lamp is not None:
            self._lamp.close()

    def _give_back(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.release()

    def _start(self, settings: CameraSettings) -> None:
        configuration = self._camera.create_video_configuration(
            main={"size": (settings.width, settings.height), "format": GREY_FIRST[0]},
            buffer_count=settings.buffers,
            queue=False,  # a queued frame can be old
            controls={"FrameRate": settings.frame_rate},
        )
        self._camera.configure(configuration)
        # Which controls there are, and the size of the whole view, is known from here on.
        advertised: dict[str, Any] = self._camera.camera_controls
        self._exposure = ExposureControl(settings, exposure_range(settings, advertised))
        wanted = fixed_controls(settings, advertised) | self._exposure_controls()
        self._camera.set_controls(only_advertised(wanted, advertised))
        self._light_lamp()
        self._camera.start()

    def _adjust(self) -> None:
        try:
            self._camera.set_controls(self._exposure_controls())
        except REFUSALS as err:
            raise _refused(err) from err
        self._light_lamp()

    def _exposure_controls(self) -> Controls:
        if (exposure := self._exposure.exposure) is None:
            return {}
        return {"ExposureTime": exposure.time_us, "AnalogueGain": exposure.gain}

    def _light_lamp(self) -> None:
        if self._lamp is not None:
            self._lamp.light(self._exposure.is_night)

    def _next_request(self) -> Any:
        # The job, not only its result: when the time is up, the frame may come at that very
        # moment, and then nobody else would release it.
        job = self._camera.capture_request(wait=False)
        try:
            return self._camera.wait(job, self._wait_s)
        except TimeoutError:
            self._give_up(job)
        except REFUSALS as err:
            raise _refused(err) from err
        raise CameraError(f"the camera gave no frame for {self._wait_s:g} s; {CURE}")

    def _give_up(self, job: Any) -> None:
        self._camera.cancel_all_and_flush()
        with contextlib.suppress(CancelledError, TimeoutError):
            self._camera.wait(job, LATE_S).release()

    def _grey(self, request: Any) -> Frame:
        main = request.config["main"]
        if main["format"] not in GREY_FIRST:
            raise CameraError(
                f"the camera gives {main['format']}, which we cannot read; it must be one of"
                f" {', '.join(GREY_FIRST)}: update libcamera and python3-picamera2"
            )
        try:
            with self._mapped(request, "main", reshape=False, write=False) as mapped:
                frame = _first_plane(mapped.array, main["size"], main["stride"])
        except RuntimeError as err:
            raise _refused(err) from err
        if frame is None:
            raise CameraError(
                f"the camera gave fewer bytes than the {main['stride']} a row that it said it has"
                f" at {main['size']}; update libcamera and python3-picamera2"
            )
        return frame


def _first_plane(buffer: Frame, size: tuple[int, int], stride: int) -> Frame | None:
    """The first plane in *buffer*, without its padding; None if it cannot be in it.

    Nothing is raised here: the traceback would keep the buffer from being closed.
    """
    width, height = size
    if stride < width or buffer.size < stride * height:
        return None
    return buffer[: stride * height].reshape(height, stride)[:, :width]


def _refused(err: Exception) -> CameraError:
    reason = f"{err.__cause__ or err}".strip() or type(err).__name__
    return CameraError(f"the camera cannot be used ({reason}); {CURE}")
