"""What tests do with a storage."""

from edge.storage.erasing import Erasure
from edge.storage.storage import Storage


def expire(storage: Storage, before: str) -> list[str]:
    """Take the days before *before* away and erase all of them; gives which they were."""
    days = storage.expire(before, f"{before}T00:00:00.000Z")
    erase(storage)
    return days


def erase(storage: Storage) -> list[Erasure]:
    """Erase what was taken away; gives what was noted when it was."""
    noted: list[Erasure] = []
    while storage.erasing.step(lambda _, erasure: noted.append(erasure)):
        pass
    return noted
