"""Asks systemd to start the machine anew, to switch it off, to look for new software, to empty it.

The hardened service may do none of it. It makes a file in its own folder under /run, on which
systemd/edge-reboot.path, edge-poweroff.path, edge-update.path and edge-retire.path wait.
"""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

#: What may be asked for, each the name of the file.
REBOOT, POWEROFF, UPDATE, RETIRE = "reboot", "poweroff", "update", "retire"


def hears() -> bool:
    """Whether this service was started by systemd, so that something can be asked for."""
    return bool(os.environ.get("RUNTIME_DIRECTORY"))


def ask(what: str, folder: Path | None = None) -> bool:
    """Ask for *what*; False, and a line in the log, where nobody could hear it.

    *folder* None is the one that systemd made for the service.
    """
    if folder is None and (made := os.environ.get("RUNTIME_DIRECTORY")):
        folder = Path(made)
    if folder is None:
        log.error("cannot ask for a %s: this service was not started by systemd", what)
        return False
    try:
        (folder / what).touch()
    except OSError as err:
        log.error("cannot ask for a %s: %s", what, err)
        return False
    return True
