"""With which of the centre's keys each unit is told: the newest that it believes.

Before a key is changed every unit believes the old one alone, and at the end the new one alone. In
between some have heard of it and some have not, and one that was off for weeks has not for weeks.
"""

from collections.abc import Mapping, Sequence

from edge.sealing import Signer, key_id


class Signers:
    """The centre's keys."""

    def __init__(self, newest: Signer, former: Sequence[Signer] = ()) -> None:
        self._keys = {key_id(key.public_key): key for key in (newest, *former)}
        self._newest = newest
        self._believed: Mapping[str, Sequence[str]] = {}

    @property
    def names(self) -> str:
        """Their ids, for people, the newest first."""
        return " or ".join(self._keys)

    @property
    def is_one(self) -> bool:
        """Whether there is no choice."""
        return len(self._keys) == 1

    def note(self, believed: Mapping[str, Sequence[str]]) -> None:
        """By which keys, by their ids, each unit knows its centre; all that were ever heard of."""
        self._believed = believed

    def of(self, unit: str) -> Signer:
        """The key to sign with for *unit*; the newest for one that has said nothing."""
        if self.is_one:
            return self._newest
        believed = self._believed.get(unit, ())
        return next((key for name, key in self._keys.items() if name in believed), self._newest)
