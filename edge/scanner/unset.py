"""The service of a unit that is none yet: it waits for its set-up code, and counts nobody."""

import logging
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

from edge import cli, config
from edge.clock import SystemClock
from edge.errors import CameraError, EndOfFrames
from edge.memory import keep_to_ourselves
from edge.scanner.button import Button
from edge.scanner.camera import open_camera
from edge.scanner.indicator import Signal, open_indicator
from edge.scanner.pipeline import Pipeline
from edge.scanner.settings import UnsetSettings
from edge.scanner.setup_window import SetupWindow, unit_root
from edge.systemd import Notifier

log = logging.getLogger(__name__)

#: How long a fault is shown before the service ends, to be started again by systemd.
FAULT_S = 3.0


def is_unset(path: Path) -> bool:
    """Whether the settings in *path* are those of a unit that is none yet. Raises ConfigError."""
    return "unit" not in config.read(path)


def wait_for_code(path: Path) -> int:
    """Take the set-up code of the unit whose settings are in *path*; ends when it is somebody.

    When the window closes, the button or the next start opens it again.
    """
    keep_to_ourselves()
    settings = config.load(path, UnsetSettings)
    clock, notifier = SystemClock(), Notifier()
    with ExitStack() as stack:
        indicator = open_indicator(settings.indicator, sys.stdout, clock)
        stack.callback(indicator.close)
        try:
            camera = stack.enter_context(closing(open_camera(settings.camera, clock)))
            pipeline = Pipeline(zbar=settings.reading.zbar, budget_ms=settings.reading.budget_ms)
            stack.callback(pipeline.close)
            window = SetupWindow(
                camera,
                pipeline,
                indicator,
                Button(settings),
                settings.setup,
                clock,
                unit_root(path),
                resting=lambda: Signal.NOT_COLLECTING,
            )
            stack.callback(window.close)
            stopping = stack.enter_context(cli.stop_signals())
            log.info("this unit is none yet; it waits for its set-up code")
            notifier.ready()
            window.open()
            while not stopping() and not window.done:
                if not window.step():
                    camera.capture()
                notifier.watchdog()
        except EndOfFrames as err:
            log.info("%s", err)
        except CameraError:
            indicator.show(Signal.FAULT)
            # Ending turns every light off.
            time.sleep(FAULT_S)
            raise
        notifier.stopping()
    return 0
