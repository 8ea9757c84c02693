"""Who may do what. The one place where roles and rights meet; `web.py` asks it for every route.

An operator runs the system; a manager has a market, a station or a fleet and sees only its places;
a technician keeps units working; a department reads counts; the tracing desk opens identities and
sees nothing else here.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["operator", "manager", "technician", "department", "desk"]
ROLES: tuple[Role, ...] = get_args(Role)

Right = Literal[
    "own account",
    "see places",
    "see scans",
    "see units",
    "see alarms",
    "see coverage",
    "see set-up",
    "change register",
    "change retention",
    "manage people",
    "trace",
]

_RIGHTS: dict[Right, frozenset[Role]] = {
    "own account": frozenset(ROLES),
    "see places": frozenset({"operator", "manager", "technician", "department"}),
    "see scans": frozenset({"operator", "manager", "technician", "department"}),
    "see units": frozenset({"operator", "manager", "technician"}),
    "see alarms": frozenset({"operator", "manager", "technician"}),
    "see coverage": frozenset({"operator", "department"}),
    "see set-up": frozenset({"operator", "technician"}),
    "change register": frozenset({"operator"}),
    "change retention": frozenset({"operator"}),
    "manage people": frozenset({"operator"}),
    "trace": frozenset({"desk"}),
}


@dataclass(frozen=True)
class Viewer:
    """A person who is signed in."""

    name: str
    role: Role
    #: The places this person may see; None for all of them.
    places: frozenset[str] | None = None

    def may(self, right: Right) -> bool:
        """Whether this person's role has *right*."""
        return self.role in _RIGHTS[right]

    def sees(self, place: str) -> bool:
        """Whether *place* is one that this person may see."""
        return self.places is None or place in self.places
