"""Mends the camera by itself: opened anew, the service started anew, the machine started anew.

Each step has its limit, and what was done and why is kept on disk, over the restart. When nothing
is left the unit stays there, shows its fault, says so in its health, and goes on at leisure.
Trouble with network, lights or buzzer is none of this: it never stops the scanning.
"""

import logging
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Literal

from msgspec import Struct

from edge.clock import Clock
from edge.errors import CameraError, CameraHung, EndOfFrames
from edge.scanner.camera import Camera, open_camera, webcam_device
from edge.scanner.decoder import Frame
from edge.scanner.frozen import FROZEN_S, Frozen
from edge.scanner.indicator import Indicator, Signal
from edge.scanner.record import RecordFile
from edge.unit_settings import CameraSettings

log = logging.getLogger(__name__)

#: The file of the ladder, in the folder of the outbox.
REPAIR = "repair.json"

#: Seconds before each opening of the camera anew; after the last the service is started anew.
PAUSES_S = (1.0, 5.0, 15.0)
#: So often is the service started anew before the machine is, and the machine before it is enough.
SERVICE_STARTS, REBOOTS = 2, 2
#: Frames for so long, and all is forgotten.
WELL_S = 600.0
#: When all is given up, the camera is tried this often, and a new process each so many tries: what
#: could not be opened once may stay so for as long as a process lives.
LEISURE_S, LEISURE_TRIES = 60.0, 15
#: Starting anew ends a process this long after it asked for it, if the machine does not.
REBOOT_S = 60.0

HUNG_AT_OPENING = "the camera did not answer when it was opened; the watchdog ended the service"

StartedAfter = Literal["first", "stopped", "crash", "power", "repair", "reboot", "command"]
Reached = Literal["none", "camera", "service", "reboot", "exhausted"]


class Rung(Enum):
    """What is to be done next about a camera that gives no frames."""

    CAMERA = "camera"
    SERVICE = "service"
    REBOOT = "reboot"
    EXHAUSTED = "exhausted"


class _Record(Struct, kw_only=True):
    boot: str = ""
    #: What will have ended this run, if nothing else is written before it ends.
    end: StartedAfter = "first"
    services: int = 0
    reboots: int = 0
    reason: str = ""
    #: Whether the camera is being opened: a run that ends without a word meanwhile hung there.
    opening: bool = False


class Ladder:
    """Which step is next, over restarts of the service and of the machine."""

    def __init__(self, path: Path, clock: Clock, reboot: Callable[[], bool]) -> None:
        """*path* is where the state is kept; *reboot* asks for one, and is False if it cannot."""
        self._file = RecordFile(path, _Record)
        self._clock = clock
        self._reboot = reboot
        self._record = self._file.read()
        self._tries = 0
        self._well_since: float | None = None
        boot = clock.now().boot
        #: What ended the run before this one.
        self.started_after: StartedAfter = self._record.end
        self._hung = False
        if self._record.end == "crash" and self._record.boot != boot:
            self.started_after = "power"
        elif self._record.end == "crash" and self._record.opening:
            self.started_after, self._hung = "repair", True
        self._record.opening = False
        self._exhausted = self._record.services >= SERVICE_STARTS and (
            self._record.reboots >= REBOOTS
        )
        self._record.boot = boot
        self.ending("crash")

    @property
    def reached(self) -> Reached:
        """The highest step since the camera was last well."""
        if self._exhausted:
            return "exhausted"
        if self._record.reboots:
            return "reboot"
        if self._record.services:
            return "service"
        return "camera" if self._tries else "none"

    @property
    def reason(self) -> str:
        """Why the service or the machine was started anew since the camera was well last, or ""."""
        return self._record.reason

    def opening(self, now: bool) -> None:
        """Keep whether the camera is being opened, which may never end."""
        self._record.opening = now
        self._write()

    def take_hung(self) -> bool:
        """Whether the run before this one hung where it opened the camera. True once."""
        hung, self._hung = self._hung, False
        return hung

    def ending(self, end: StartedAfter) -> None:
        """Keep that this run ends by *end*; said at the start, it is what holds if nothing is."""
        self._record.end = end
        self._write()

    def frame(self) -> None:
        """A frame came."""
        if self.reached == "none":
            return
        now = self._clock.monotonic()
        if self._well_since is None:
            self._well_since = now
        if now - self._well_since >= WELL_S:
            log.info("the camera has been well for %d minutes", WELL_S // 60)
            self._tries, self._exhausted, self._well_since = 0, False, None
            self._record.services = self._record.reboots = 0
            self._record.reason = ""
            self._write()

    def fault(self, reason: str, *, hung: bool = False, anew: bool = False) -> tuple[Rung, float]:
        """The camera failed for *reason*; what to do, and after how many seconds.

        *hung*: its process can do nothing more about it. *anew*: that was the process before this.
        """
        self._well_since = None
        self._tries += 1
        if self._exhausted:
            worn = (hung and not anew) or self._tries % LEISURE_TRIES == 0
            if worn:
                self.ending("repair")
            return (Rung.SERVICE if worn else Rung.EXHAUSTED), LEISURE_S
        if not hung and self._tries <= len(PAUSES_S):
            log.warning("%s; opening it anew", reason)
            return Rung.CAMERA, PAUSES_S[self._tries - 1]
        self._record.reason = reason[:200]
        if self._record.services < SERVICE_STARTS:
            self._record.services += 1
            if anew:
                log.error("%s", reason)
                self._write()
                return Rung.CAMERA, PAUSES_S[0]
            self.ending("repair")
            log.error("%s; starting the service anew", reason)
            return Rung.SERVICE, 0.0
        if self._record.reboots < REBOOTS:
            self._record.reboots += 1
            before, self._record.services = self._record.services, 0
            self.ending("reboot")
            if self._reboot():
                log.error("%s; starting the machine anew", reason)
                return Rung.REBOOT, REBOOT_S
            self._record.services, self._record.reboots = before, REBOOTS
            self.ending("crash")
        self._exhausted, self._tries = True, 0
        log.error("%s; nothing helped: somebody must go to this unit", reason)
        return (Rung.SERVICE if hung and not anew else Rung.EXHAUSTED), LEISURE_S

    def _write(self) -> None:
        self._file.try_write(self._record)


def mended_camera(
    settings: CameraSettings,
    clock: Clock,
    ladder: Ladder,
    pause: Callable[[float], bool],
    indicator: Indicator,
    resting: Callable[[], Signal | None],
) -> Camera:
    """The camera of *settings*; what is a device is mended, pictures on disk are not.

    *resting* is what the indicator shall rest on afterwards. Raises CameraError for pictures.
    """
    if settings.source != "pi" and webcam_device(settings.source) is None:
        return open_camera(settings, clock)
    return MendedCamera(
        lambda: open_camera(settings, clock),
        ladder,
        pause,
        clock,
        failed=lambda: indicator.show(Signal.FAULT),
        mended=lambda: indicator.rest(resting()),
    )


class MendedCamera:
    """A camera that is opened at its first frame, and mended by the ladder when it fails."""

    def __init__(
        self,
        open_one: Callable[[], Camera],
        ladder: Ladder,
        pause: Callable[[float], bool],
        clock: Clock,
        *,
        failed: Callable[[], None],
        mended: Callable[[], None],
    ) -> None:
        """*pause* waits for so many seconds; False if the service is to stop instead.

        *failed* is called at each failure, *mended* with the first frame after it.
        """
        self._open = open_one
        self._ladder = ladder
        self._pause = pause
        self._failed = failed
        self._mended = mended
        self._clock = clock
        self._camera: Camera | None = None
        self._frozen = Frozen(clock)
        self._ill = False

    def capture(self) -> Frame:
        """See Camera. Raises CameraError when the process must end for the sake of the camera."""
        if self._ladder.take_hung():
            self._mend(CameraHung(HUNG_AT_OPENING), anew=True)
        while True:
            try:
                if self._camera is None:
                    self._camera, self._frozen = self._opened(), Frozen(self._clock)
                frame = self._camera.capture()
                if self._frozen.look(frame):
                    # Closing gives its memory back.
                    del frame
                    raise CameraError(
                        f"the camera has given the same picture for {FROZEN_S:.0f} s; its sensor"
                        " or its driver has stopped"
                    )
            except CameraError as err:
                self._mend(err)
                continue
            self._ladder.frame()
            if self._ill:
                self._ill = False
                self._mended()
            return frame

    def close(self) -> None:
        """See Camera."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()

    def _opened(self) -> Camera:
        self._ladder.opening(True)
        try:
            return self._open()
        finally:
            self._ladder.opening(False)

    def _mend(self, err: CameraError, *, anew: bool = False) -> None:
        self._ill = True
        self._failed()
        try:
            self.close()
        except CameraHung as hanging:
            err = hanging
        hung = isinstance(err, CameraHung)
        rung, pause_s = self._ladder.fault(str(err), hung=hung, anew=anew)
        if rung is Rung.SERVICE:
            raise err
        if not self._pause(pause_s):
            raise EndOfFrames("the service was stopped while its camera was away")
        if rung is Rung.REBOOT:
            # It was asked for and did not come: the next process goes on from here.
            raise err
