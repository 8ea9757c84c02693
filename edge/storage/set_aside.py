"""Messages that could not be read: kept for whoever has to find out who sends them, and bounded."""

import hashlib
from collections.abc import Sequence

from edge.storage.rows import SetAside
from edge.storage.writing import Writing

#: Of a message set aside, this much is kept; of all of them, this many.
SET_ASIDE_BYTES = 1024
SET_ASIDE_ROWS = 10_000


def keep(writing: Writing, messages: Sequence[SetAside]) -> None:
    """Keep *messages*. So that nobody fills the disk with nonsense, the oldest go."""
    if not messages:
        return
    writing.insert(
        "set_aside",
        ("received", "topic", "reason", "bytes", "sha256", "head"),
        [
            (
                writing.now,
                # PostgreSQL's text cannot hold it.
                message.topic.replace("\0", "\ufffd"),
                message.reason,
                len(message.payload),
                hashlib.sha256(message.payload).hexdigest(),
                message.payload[:SET_ASIDE_BYTES],
            )
            for message in messages
        ],
    )
    writing.change_at_end(
        "DELETE FROM set_aside WHERE number <= (SELECT max(number) FROM set_aside) - :rows",
        rows=SET_ASIDE_ROWS,
    )
