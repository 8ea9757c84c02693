"""What the running scanner says of itself, for `edge-scanner check`.

The broker knows a unit by its certificate, and ends the session of whoever is there when another
comes with the same: so while the scanner runs, it is asked, and nobody else connects. In memory,
under /run: nothing is written to the card for it.
"""

import logging
import os
import time
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from edge.files import replace_file
from edge.mqtt import Connection
from edge.scanner.credentials import Credentials

log = logging.getLogger(__name__)

#: Where systemd makes the service a folder.
FOLDER = Path("/run/edge-scanner")
FILE = "running.json"
#: How often it is written, and from which age on nobody runs who could have written it.
TELL_S, STALE_S = 5.0, 30.0


class Running(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How it stands with the broker and the certificate."""

    v: Literal[1] = 1
    #: Seconds since this boot.
    told_at_s: float
    broker: str
    connected: bool
    #: Why there is no connection; "" while there is one.
    broker_trouble: str
    #: Why there is no certificate, or no new one; "" where all is well.
    certificate_trouble: str


def tell(connection: Connection, credentials: Credentials) -> None:
    """Leave it for whoever asks; nothing, if this service was not started by systemd."""
    if not (folder := os.environ.get("RUNTIME_DIRECTORY")):
        return
    running = Running(
        told_at_s=time.monotonic(),
        broker=connection.address,
        connected=connection.connected,
        broker_trouble=connection.trouble,
        certificate_trouble=credentials.trouble,
    )
    try:
        replace_file(Path(folder) / FILE, [msgspec.json.encode(running)], 0o644)
    except OSError as err:
        # Whoever checks this unit is told less; nothing else needs it.
        log.warning("%s: %s", folder, err.strerror)


def ask(folder: Path | None = None) -> Running | None:
    """What the scanner told last; None where none runs."""
    path = (folder or Path(os.environ.get("RUNTIME_DIRECTORY", FOLDER))) / FILE
    try:
        running = msgspec.json.decode(path.read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None
    return running if 0 <= time.monotonic() - running.told_at_s < STALE_S else None
