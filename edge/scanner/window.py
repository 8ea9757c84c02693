"""The scans that were sent and are not confirmed yet, and when each is due once more.

A scan is sent again on four grounds:

* *not taken*: the connection was lost before the broker had acknowledged it.
* *forgotten*: the broker no longer knows our session, so it has lost its memory, or is another one.
  While it knows it, what it had acknowledged is on its way. Confirmations that came while we were
  away are gone: of those scans the oldest asks, and the others follow as *overtaken*.
* *silence*: nothing was confirmed for a while. The oldest scan alone is sent again, at growing
  intervals, since a collector that was away for an hour should find one copy of each scan and not
  a thousand.
* *overtaken*: a scan that was sent later has been confirmed, and some time later this one still is
  not. A broker keeps the order of a topic, but for what it delivers again after its own time for
  that (NATS' ack_wait) and for what several collectors share. So it alone is sent again, at growing
  intervals; if it was not lost, that costs one repeat.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edge.clock import Clock
from edge.messages import Scan

log = logging.getLogger(__name__)

#: Longest interval between two sendings of the oldest scan.
RESEND_MAX_S = 120.0


@dataclass
class Sent:
    """A scan that is sent, and as what."""

    scan: Scan
    payload: bytes
    at: float
    first_at: float
    #: How long it is waited for, once it is overtaken.
    patience_s: float
    overtaken_at: float | None = None


class Window:
    """What is under way to storage: at most *size* scans."""

    def __init__(self, size: int, clock: Clock, *, resend_s: float) -> None:
        """*resend_s*: for so long nothing is confirmed before the oldest is sent again."""
        self.size = size
        self._clock = clock
        self._resend_first_s = resend_s
        self._resend_s = resend_s
        self._heard_at = clock.monotonic()
        self._sent: dict[int, Sent] = {}
        self._again: list[int] = []

    def __len__(self) -> int:
        return len(self._sent)

    def __contains__(self, seq: int) -> bool:
        """Whether scan *seq* is under way."""
        return seq in self._sent

    @property
    def room(self) -> int:
        """How many scans more may be under way."""
        return self.size - len(self._sent)

    def count_from(self, seq: int) -> int:
        """How many of those under way have the number *seq* or a higher one."""
        return sum(number >= seq for number in self._sent)

    def prepared(self, scan: Scan, payload: bytes) -> Sent:
        """*scan* as it is sent now, for the first time."""
        now = self._clock.monotonic()
        return Sent(scan, payload, now, now, self._resend_first_s)

    def add(self, new: Iterable[Sent]) -> None:
        """*new* were sent."""
        if not self._sent:
            self._heard_at = self._clock.monotonic()
        self._sent.update((sent.scan.seq, sent) for sent in new)

    def reconnected(self, lost: Iterable[int], *, kept: bool) -> None:
        """There is another connection; of the last one the broker may not have *lost*.

        *kept*: the broker still knows our session.
        """
        if kept:
            # Waiting goes on where it was, so that a link that flaps delays no sending again.
            self._again = sorted({*self._again, *lost}.intersection(self._sent))
        else:
            self._again = sorted(self._sent)
            self._resend_s = self._resend_first_s
            self._heard_at = self._clock.monotonic()

    def send_again(self, send: Callable[[Sequence[Sent]], int]) -> None:
        """Give what is due to *send*, which sends the first of it and says how many."""
        now = self._clock.monotonic()
        self._send_untaken(send, now)
        self._send_overtaken(send, now)
        if self._sent and now - self._heard_at >= self._resend_s:
            oldest = self._sent[min(self._sent)]
            if not _repeat([oldest], send, now):
                return
            log.info(
                "no confirmation for %.0f s; scan %d is sent again",
                now - self._heard_at,
                oldest.scan.seq,
            )
            self._heard_at = now
            self._resend_s = min(self._resend_s * 2, RESEND_MAX_S)

    def confirmed(self, ranges: Iterable[tuple[int, int]]) -> int:
        """The scans of *ranges* are stored; gives how many of them were under way."""
        now = self._clock.monotonic()
        gone = [
            self._sent.pop(seq)
            for first, last in ranges
            for seq in range(first, last + 1)
            if seq in self._sent
        ]
        self._heard_at = now
        self._resend_s = self._resend_first_s
        if gone:
            newest = max(self._surely_sent_at(sent, now) for sent in gone)
            for sent in self._sent.values():
                if sent.at < newest and sent.overtaken_at is None:
                    sent.overtaken_at = now
        return len(gone)

    def _send_untaken(self, send: Callable[[Sequence[Sent]], int], now: float) -> None:
        waiting = [self._sent[seq] for seq in self._again if seq in self._sent]
        while waiting and (count := _repeat(waiting, send, now)):
            del waiting[:count]
        self._again = [sent.scan.seq for sent in waiting]

    def _send_overtaken(self, send: Callable[[Sequence[Sent]], int], now: float) -> None:
        late = [
            sent
            for sent in self._sent.values()
            if sent.overtaken_at is not None and now - sent.overtaken_at >= sent.patience_s
        ]
        while late and (count := _repeat(late, send, now)):
            for sent in late[:count]:
                sent.patience_s = min(2 * sent.patience_s, RESEND_MAX_S)
            del late[:count]
            # That asks as well as the oldest scan would.
            self._heard_at = now

    def _surely_sent_at(self, sent: Sent, now: float) -> float:
        """When the copy was sent that is confirmed *now*, or an earlier one.

        Which of several it is nobody says. Only one that is answered quickly is likely the last: if
        a collector catches up, it is the first, and those behind that are still on their way.
        """
        return sent.at if now - sent.at < self._resend_first_s else sent.first_at


def _repeat(waiting: Sequence[Sent], send: Callable[[Sequence[Sent]], int], now: float) -> int:
    """Have *send* send the first of *waiting* once more; gives how many."""
    count = send(waiting)
    for sent in waiting[:count]:
        sent.at, sent.overtaken_at = now, None
    return count
