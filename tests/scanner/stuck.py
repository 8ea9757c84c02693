"""Runs the real `edge-scanner`, one part of which gets stuck while a file is there.

    python -m tests.scanner.stuck PART FILE [arguments of edge-scanner]

PART is capture, outbox or publisher. A driver, a disk or a name server that does not answer looks
like this from within: a call that does not come back.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.scanner import beside, repair
from edge.scanner.__main__ import main
from edge.scanner.camera import Camera
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import Publisher


def stuck_while(file: Path, call: Callable[..., Any]) -> Callable[..., Any]:
    """*call*, which does not come back while *file* is there."""

    def held(*args: Any, **named: Any) -> Any:
        while file.exists():
            time.sleep(0.05)
        return call(*args, **named)

    return held


class StuckCamera:
    """A camera whose driver does not answer while *file* is there."""

    def __init__(self, camera: Camera, file: Path) -> None:
        self.capture = stuck_while(file, camera.capture)
        self.close = camera.close


def run(part: str, file: Path, args: list[str]) -> int:
    """See above."""
    if part == "capture":
        names = vars(repair)
        real = names["open_camera"]
        names["open_camera"] = lambda *a: StuckCamera(real(*a), file)
    elif part == "outbox":
        # What it asks the disk first, for each scan and now and then without one.
        Outbox.has_room = stuck_while(file, Outbox.has_room)  # type: ignore[method-assign]
    else:
        Publisher.step = stuck_while(file, Publisher.step)  # type: ignore[method-assign]
    # A name server may hold the publisher up for five minutes; here for seconds.
    beside.TURN_S = 3.0
    return main(args)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
