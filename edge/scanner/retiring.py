"""Takes a unit down for good, as the centre has ordered it: with nothing lost and nothing left.

The scanner takes the order when every scan is confirmed, collects nothing from then on, answers,
has the broker forget what it keeps of this unit, and leaves the order for root, by a request file
on which systemd/edge-retire.path waits. Root believes nothing of it but the centre's signature.
What was begun is finished at the next start of the machine, whenever the power goes.
"""

import logging
import os
import stat
from pathlib import Path

from edge import config
from edge.errors import BadMessage, EdgeError
from edge.files import remove_file, replace_file
from edge.messages import MAX_MESSAGE_BYTES, Command
from edge.scanner import power
from edge.scanner.carrier import read_centre
from edge.scanner.desired import with_succession
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import SETTINGS
from edge.scanner.wiping import empty, wipe
from edge.signed import read_order

log = logging.getLogger(__name__)

#: The order, as the centre has signed it; and, where root alone writes, that it is being followed.
ORDER = "var/lib/edge/retire.json"
BEGUN = "etc/edge/retire.begun"


class Retirement:
    """The scanner's part."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._path = root / ORDER
        self._asked = False
        #: Whether the unit is to be taken down, and collects nothing any more.
        self.ordered = self._path.exists()

    def order(self, payload: bytes) -> str:
        """Remember the order in *payload*, on disk when this returns. Raises EdgeError."""
        if not power.hears():
            raise EdgeError(
                "this unit cannot empty itself: enable edge-retire.path, or wipe it by hand"
            )
        try:
            replace_file(self._path, [payload])
        except OSError as err:
            raise EdgeError(f"{self._path}: {err.strerror}; nothing was emptied") from err
        self.ordered = True
        return "retired: every scan is confirmed, and this unit empties itself now"

    def go(self) -> None:
        """Have root do the rest, once; it ends this service."""
        if not self._asked:
            self._asked = power.ask(power.RETIRE)


def retire(settings_file: Path, root: Path = Path("/")) -> str:
    """Root's part: follow the order that the scanner has left; gives what was done.

    Raises EdgeError for one that the centre has not signed, or if something is not confirmed; the
    order is gone then, and the unit goes on.
    """
    try:
        own = config.load(settings_file, ScannerSettings)
        settings = with_succession(settings_file, own)
        order = _believed(root / ORDER, settings, settings_file.parent)
        # Only once it is sure that it may be emptied: what is begun is finished without asking.
        wipe(
            settings,
            order.unit,
            root=root,
            farewell=lambda: replace_file(root / BEGUN, [order.id.encode()]),
        )
    except EdgeError:
        if (root / BEGUN).exists():
            # Half emptied: the next start of the machine does the rest.
            raise
        (root / ORDER).unlink(missing_ok=True)
        raise
    _forget(root)
    return f"{order.unit} is empty: it was retired by the centre, order {order.id}"


def finish_retiring(root: Path = Path("/")) -> None:
    """Do the rest, if the power went while this unit emptied itself. Raises EdgeError."""
    if not (root / BEGUN).exists():
        return
    try:
        settings = config.load(root / SETTINGS, ScannerSettings)
    except EdgeError:
        # They go nearly last: what they name is gone.
        settings = None
    empty(settings, root)
    _forget(root)
    log.warning("this unit was retired by the centre; it is empty now")


def _believed(path: Path, settings: ScannerSettings, beside: Path) -> Command:
    try:
        # In a folder of the scanner's, which is not believed: neither a link nor a pipe.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            regular = stat.S_ISREG(os.fstat(handle).st_mode)
            payload = file.read(MAX_MESSAGE_BYTES + 1) if regular else b""
    except OSError as err:
        raise EdgeError(f"{path}: {err.strerror}; nothing was emptied") from err
    centre = read_centre(settings.carry, beside)
    if centre is None:
        raise EdgeError("this unit does not know its centre's key; nothing was emptied")
    try:
        order = read_order("cmd", payload, settings.unit.id, centre)
    except BadMessage as err:
        raise EdgeError(
            f"an order that the centre has not given: {err}; nothing was emptied"
        ) from err
    if not isinstance(order, Command) or order.action != "retire":
        raise EdgeError("an order to do something else; nothing was emptied")
    return order


def _forget(root: Path) -> None:
    (root / ORDER).unlink(missing_ok=True)
    remove_file(root / BEGUN)
