"""Ends the wait of one thread from another."""

import contextlib
import os
import select


class Waker:
    """A pipe that is watched beside whatever else a thread waits for."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """What to watch, as for a select."""
        return self._read

    def wake(self) -> None:
        """End the wait. Any thread may."""
        # A full pipe is a wake-up that has not been seen yet, and a closed one wants none.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._write, b"!")

    def wait(self, timeout_s: float) -> None:
        """Wait to be woken, and for nothing else."""
        if select.select([self], [], [], timeout_s)[0]:
            self.seen()

    def seen(self) -> None:
        """Whoever waited has woken up."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._read)
        os.close(self._write)
