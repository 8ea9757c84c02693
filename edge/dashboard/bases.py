"""The legal bases that units carry, for whoever has to see what they allow and until when."""

from dataclasses import dataclass
from pathlib import Path

from edge import config
from edge.dashboard.settings import SetUpSettings
from edge.errors import EdgeError
from edge.legal_basis import LegalBasis, read_bases
from edge.sealing import Verifier, read_key


@dataclass(frozen=True)
class Found:
    """What is in the folder."""

    bases: list[LegalBasis]  #: the one that ends last first
    problems: list[str]


class Bases:
    """The folder of the settings, read when it is asked for: a document may come at any time."""

    def __init__(self, settings: SetUpSettings, beside: Path) -> None:
        self._settings, self._beside = settings, beside

    @property
    def known(self) -> bool:
        """Whether the settings name a folder."""
        return bool(self._settings.basis_folder)

    def read(self) -> Found:
        """Every document whose signature is right, and what is wrong with the others."""
        if not self.known:
            return Found([], [])
        try:
            key = read_key(config.secret_path(self._settings.basis_key_file, self._beside))
            bases, wrong = read_bases(self._beside / self._settings.basis_folder, Verifier(key))
        except EdgeError as err:
            return Found([], [str(err)])
        bases.sort(key=lambda basis: basis.end, reverse=True)
        return Found(bases, [str(err) for err in wrong])
