"""What is remembered of updates, over power cuts: /var/lib/edge-update/state.json.

Root writes it, the scanner reads it and tells the centre.
"""

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field

from edge.clock import Moment
from edge.messages import Config, Update
from edge.scanner.record import RecordFile

FOLDER = Path("/var/lib/edge-update")
#: Below that folder: what the unprivileged service brought; the package of the version that runs;
#: the verified packages that are put in place; the software that sees to it; the verified packages
#: that help a unit which cannot go back.
FETCHED, HELD, NEW, GUARD, RESCUE = "fetched", "held", "new", "guard", "rescue"
STATE = "state.json"
#: So many versions that failed are remembered.
MOST_FAILED = 20
_REASON = 300

Phase = Literal["idle", "installing", "trial", "back", "before"]
Ended = Literal["waiting", "installed", "rolled_back", "failed"]


class Wish(Struct, frozen=True, kw_only=True):
    """When the centre wishes this unit to be updated."""

    #: Who wishes, and for whom: its public key in hexadecimal digits, and the unit's name.
    centre: str
    unit: str
    #: Grows with each; one with a smaller number was taken back since.
    number: int
    #: The table [update] of its desired settings.
    update: dict[str, Any]


class Record(Struct, kw_only=True):
    """Where an update is, and how the last one ended."""

    #: "installing": packages are being put in place; "trial": it is looked whether the unit scans;
    #: "back": the version of before is being put in place; "before": it is looked whether that one
    #: has the broker which the new one lacked.
    phase: Phase = "idle"
    version: str = ""
    before: str = ""
    #: How often this was begun: by a power cut, or by a start of the service anew.
    starts: int = 0
    #: In which boot it goes on.
    boot: str = ""
    #: The camera gave frames before, so it must afterwards.
    needs_frames: bool = True
    #: It was connected to its broker before.
    needs_broker: bool = False
    #: The new version scans and lacks the broker alone, so the one before is looked at as well.
    lacks_broker: bool = False
    #: The version that lacked a broker which the one before had afterwards: it is tried once more.
    lacked: str = ""
    #: The version of which that did not tell: it is judged by frames alone the next time.
    unsure: str = ""
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
    #: The newest that root has believed: the scanner may keep from it what is newer, and can
    #: neither make one up nor bring an older one back.
    wish: Wish | None = None

    def believe(self, wished: Config | None, unit: str, centre: bytes) -> dict[str, Any]:
        """The table [update] by which this *unit* of that *centre* goes from now on.

        *wished* is what the scanner has left of the centre's, verified; None for nothing.
        """
        known = self.wish
        if known is not None and (known.centre, known.unit) != (centre.hex(), unit):
            known = None
        if wished is not None and (known is None or wished.number > known.number):
            update = wished.settings.get("update", {})
            number = wished.number
            known = Wish(centre=centre.hex(), unit=unit, number=number, update=update)
        self.wish = known
        return known.update if known is not None else {}

    def tell(self, version: str, state: Ended, reason: str, moment: Moment) -> bool:
        """Remember how it is with *version*; False if that is known already."""
        known = self.last
        reason = "".join(letter if letter.isprintable() else " " for letter in reason)[:_REASON]
        now = Update(version=version[:40], state=state, reason=reason, at=moment.at)
        if known and (known.version, known.state, known.reason) == (now.version, state, reason):
            return False
        self.last = now
        return True

    @property
    def stuck(self) -> bool:
        """Whether the way back was tried in vain, and goes on being tried."""
        last = self.last
        told = last is not None and (last.version, last.state) == (self.version, "failed")
        return self.phase == "back" and told

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
