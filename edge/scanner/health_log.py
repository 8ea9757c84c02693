"""Keeps health messages while there is no connection: a bounded number, the newest."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.errors import BadMessage
from edge.files import replace_file
from edge.messages import Health

#: The file, in the folder of the outbox.
HEALTH_LOG = "health.jsonl"

#: Seconds between two that are kept, and how many are: three days. About 300 kB, written four times
#: an hour.
EVERY_S = 900.0
KEEP = 288


class HealthLog:
    """Health messages of a time without connection, on disk, oldest first."""

    def __init__(self, path: Path, keep: int = KEEP) -> None:
        self._path = path
        self._keep = keep
        self._kept: list[Health] | None = None

    def put(self, health: Health) -> None:
        """Keep *health*, and let go of the oldest when there are too many."""
        kept = self._all()
        kept.append(msgspec.structs.replace(health, late=True))
        del kept[: -self._keep]
        self._write(kept)

    def oldest(self, count: int) -> Sequence[Health]:
        """The *count* oldest."""
        return self._all()[:count]

    def forget(self, count: int) -> None:
        """The *count* oldest have been sent."""
        kept = self._all()
        del kept[:count]
        self._write(kept)

    def _all(self) -> list[Health]:
        if self._kept is None:
            self._kept = []
            with suppress(OSError):
                for line in self._path.read_bytes().splitlines():
                    with suppress(BadMessage):
                        self._kept.append(Health.decode(line))
        return self._kept

    def _write(self, kept: Sequence[Health]) -> None:
        # Health that cannot be kept costs no scan; the disk's trouble is told by the outbox.
        with suppress(OSError):
            if kept:
                replace_file(self._path, [health.encode() + b"\n" for health in kept])
            else:
                self._path.unlink(missing_ok=True)
