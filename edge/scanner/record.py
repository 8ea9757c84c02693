"""A small thing that a unit remembers over restarts and power cuts, as one JSON file."""

import logging
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from edge.files import read_small, replace_file

log = logging.getLogger(__name__)

#: Larger than any record: desired settings, and those before them, each with the message that
#: brought it.
MOST_BYTES = 524_288

R = TypeVar("R", bound=msgspec.Struct)


class RecordFile(Generic[R]):
    """The file of one record. It is there whole or not at all, whenever the power goes."""

    def __init__(self, path: Path, kind: type[R], mode: int = 0o600) -> None:
        """*kind* has a default for every field: a unit that remembers nothing begins with them."""
        self._path = path
        self._kind = kind
        self._mode = mode

    def read(self) -> R:
        """What was kept last; a new record if there is none, or none that can be read."""
        try:
            return msgspec.json.decode(read_small(self._path, MOST_BYTES), type=self._kind)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            # Nothing that a unit remembers beside its scans may keep it from scanning.
            log.warning("%s cannot be read (%s): begun anew", self._path, type(err).__name__)
        return self._kind()

    def write(self, record: R) -> None:
        """Keep *record*, on disk when this returns. Raises OSError."""
        replace_file(self._path, [msgspec.json.encode(record)], self._mode)

    def try_write(self, record: R) -> None:
        """Keep *record* if the disk takes it. One that takes nothing is told by the outbox."""
        try:
            self.write(record)
        except OSError as err:
            log.debug("%s cannot be written: %s", self._path, err)
