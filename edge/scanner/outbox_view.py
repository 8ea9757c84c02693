"""An outbox looked at from outside, as by a technician, while the scanner may be at work in it."""

from collections.abc import Iterator
from pathlib import Path

from edge.errors import OutboxError
from edge.messages import Scan
from edge.scanner.disk import Disk, explained
from edge.scanner.held import SEGMENT_SCANS, Held, Limits, OutboxStatus


class OutboxView:
    """An outbox as it was when this was made, to read only."""

    def __init__(self, held: Held, limits: Limits | None) -> None:
        self._held = held
        self._status = held.status(held.epoch or held.seen_epoch or "", limits)

    def status(self) -> OutboxStatus:
        """How it was. What was confirmed shortly before may still count as pending."""
        return self._status

    def scans(self) -> Iterator[Scan]:
        """The pending scans, oldest first, without those confirmed meanwhile."""
        with explained(self._held.folder):
            yield from self._held.scans()


def read_outbox(
    folder: Path, *, max_bytes: int | None = None, keep_free_bytes: int | None = None
) -> OutboxView:
    """Look into an outbox, in use or not, without writing anything. Raises OutboxError.

    Without its limits, the room that is left is not known.
    """
    with explained(folder):
        for _ in range(10):
            held = Held(folder, SEGMENT_SCANS, Disk(), is_shared=True)
            limits = None
            if max_bytes is not None and keep_free_bytes is not None:
                limits = Limits(max_bytes, keep_free_bytes, own_blocks=held.own_blocks)
            view = OutboxView(held, limits)
            # What was removed while we read may have been the newest of our list.
            if not held.has_vanished:
                break
    if not held.files and not held.epoch:
        raise OutboxError(f"{folder}: no outbox is here: name the folder with the seg-*.jsonl")
    return view
