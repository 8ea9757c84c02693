"""For which units a version of the software is: a ring of a staged release.

It stands as one field beside the version in the signed index of the updates' repository
(`Edge-For: units=cho-1-a,cho-1-b areas=pleiku share=10`), so a unit believes it as it believes the
package. A unit that is in one of the three parts takes the version.
"""

import hashlib
import re
from typing import Annotated

from msgspec import Meta, Struct

from edge.topics import is_name

#: The field of the index that holds a ring, and the one that lets a unit go back to that version.
FIELD, DOWNGRADE_FIELD = "Edge-For", "Edge-Downgrade"
#: Where a repository is.
UpdatesUrl = Annotated[
    str,
    Meta(
        pattern=r"^(?:https?://[A-Za-z0-9.:\[\]/_~-]{1,300}[A-Za-z0-9_~-])?(?![\s\S])",
        description="an address of a web server such as https://example.vn/updates, or empty",
    ),
]
_SHARE = re.compile(r"[0-9]{1,3}")


class Ring(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The units that a version is for; an empty ring is nobody's."""

    units: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    #: Percent of all units, 0 to 100. Which ones is other for each version, and as the share grows
    #: those that were in it stay in.
    share: int = 0

    def covers(self, unit: str, area: str, version: str) -> bool:
        """Whether *version* is for this *unit* of this *area*."""
        drawn = hashlib.sha256(f"{version}\n{unit}".encode()).digest()
        in_share = int.from_bytes(drawn[:8], "big") % 100 < self.share
        return unit in self.units or area in self.areas or in_share

    def text(self) -> str:
        """This ring as its field says it."""
        parts = [f"{key}={','.join(names)}" for key, names in self._named() if names]
        return " ".join([*parts, f"share={self.share}"])

    def _named(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("units", self.units), ("areas", self.areas)


def read_ring(text: str) -> Ring:
    """The ring that *text* says; what cannot be understood is nobody's."""
    found = {key: value for key, _, value in (part.partition("=") for part in text.split())}
    share = found.pop("share", "0")
    names = {key: tuple(value.split(",")) for key, value in found.items()}
    if (
        set(names) - {"units", "areas"}
        or not all(is_name(name) for some in names.values() for name in some)
        or not _SHARE.fullmatch(share)
        or int(share) > 100
    ):
        return Ring()
    return Ring(units=names.get("units", ()), areas=names.get("areas", ()), share=int(share))
