"""What is remembered of updates, over power cuts: /var/lib/edge-update/state.json.

Root writes it, the scanner reads it and tells the centre.
"""

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from edge.clock import Moment
from edge.messages import Update
from edge.scanner.record import RecordFile

FOLDER = Path("/var/lib/edge-update")
#: Below that folder: what the unprivileged service brought; the package of the version that runs;
#: the verified packages that are put in place; the software that sees to it.
FETCHED, HELD, NEW, GUARD = "fetched", "held", "new", "guard"
STATE = "state.json"
#: So many versions that failed are remembered.
MOST_FAILED = 20
_REASON = 300

Phase = Literal["idle", "installing", "trial", "back"]
Ended = Literal["waiting", "installed", "rolled_back", "failed"]


class Record(Struct, kw_only=True):
    """Where an update is, and how the last one ended."""

    #: "installing": packages are being put in place; "trial": it is looked whether the unit scans;
    #: "back": the version of before is being put in place.
    phase: Phase = "idle"
    version: str = ""
    before: str = ""
    #: How often this was begun: by a power cut, or by a start of the service anew.
    starts: int = 0
    #: In which boot it goes on.
    boot: str = ""
    #: The camera gave frames before, so it must afterwards.
    needs_frames: bool = True
    reason: str = ""
    #: Versions that did not reach scanning, and why; not taken again.
    failed: dict[str, str] = field(default_factory=dict)
    #: The version whose trial was cut short, which is tried once more.
    cut: str = ""
    #: SHA-256 of the package that is held to go back to; "" if nobody has looked.
    held: str = ""
    #: When the newest repository was signed that was ever believed, in seconds since 1970: an older
    #: one may be somebody's who wants us back at what it says.
    signed_at: float = 0.0
    #: By which key: with a new card of another deployment both begin anew.
    key: str = ""
    last: Update | None = None

    def tell(self, version: str, state: Ended, reason: str, moment: Moment) -> bool:
        """Remember how it is with *version*; False if that is known already."""
        known = self.last
        reason = "".join(letter if letter.isprintable() else " " for letter in reason)[:_REASON]
        now = Update(version=version[:40], state=state, reason=reason, at=moment.at)
        if known and (known.version, known.state, known.reason) == (now.version, state, reason):
            return False
        self.last = now
        return True

    def fail(self, version: str, reason: str) -> None:
        """Never take *version* again."""
        self.failed.pop(version, None)
        self.failed[version] = reason[:_REASON]
        for old in list(self.failed)[:-MOST_FAILED]:
            del self.failed[old]


def record_file(folder: Path) -> RecordFile[Record]:
    """The file of the record in *folder*, which the scanner may read as well."""
    return RecordFile(folder / STATE, Record, mode=0o644)


def last_update(folder: Path = FOLDER) -> Update | None:
    """How the last update ended, for the centre; None if there was none."""
    return record_file(folder).read().last
