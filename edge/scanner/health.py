"""Counts what the scanner does, for its health message. Never what a code said."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.clock import Clock, Moment
from edge.messages import SETUP_CHARACTERS, Health, Machine, OnBoard, Update
from edge.scanner.eye import EyeState
from edge.scanner.held import OutboxStatus
from edge.scanner.outbox import Outbox
from edge.scanner.repair import Ladder
from edge.scanner.update.record import last_update

log = logging.getLogger(__name__)

#: How full the outbox is when that is said aloud.
ALARMS = (0.7, 0.9)
#: Decode times are judged over this many frames.
RECENT_FRAMES = 450
#: How long keeping a scan takes is judged over this many.
RECENT_SCANS = 100
#: How often it is looked whether something has changed that should be said at once.
LOOK_S = 5.0
#: Without a frame for so long the camera gives none.
STILL_S = 5.0
#: What was said at once in the last while is not said at once again: a weak supply that comes and
#: goes with each load is in the message of each minute.
TOLD_S = 900.0
#: A card or a memory with less than this share of room is said to be low.
LOW = 0.05


@dataclass
class Counts:
    """What became of frames and codes since the start."""

    frames: int = 0
    accepted: int = 0
    repeated: int = 0
    not_kept: int = 0
    unread: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class HealthMeter:
    """Written by the scanning thread, read by the publishing one."""

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        ladder: Ladder,
        *,
        software: str,
        machine: Callable[[], Machine],
        certificate_ends: Callable[[], str | None] = lambda: None,
        update: Callable[[], Update | None] = last_update,
        on_board: Callable[[Moment], OnBoard | None] = lambda _: None,
    ) -> None:
        """*machine* reads how the machine is; *certificate_ends*: when, UTC, if there is one.

        *update* tells how the last update ended; *on_board* what there is of a vehicle.
        """
        self._outbox = outbox
        self._on_board = on_board
        self._clock = clock
        self._ladder = ladder
        self._software = software
        self._machine = machine
        self._certificate_ends = certificate_ends
        self._update = update
        self._frame_times: deque[float] = deque(maxlen=RECENT_FRAMES)
        self._next_look = 0.0
        self._condition: tuple[object, ...] | None = None
        # When each condition was said at once.
        self._told: dict[tuple[object, ...], float] = {}
        self._lock = threading.Lock()
        self._counts = Counts()
        self._decode_ms: deque[float] = deque(maxlen=RECENT_FRAMES)
        self._keep_ms: deque[float] = deque(maxlen=RECENT_SCANS)
        self._alarmed = 0.0
        self._eye = EyeState()
        self._setup = ""

    def frame(self, decode_ms: float) -> None:
        """A frame was read in *decode_ms* of processor time."""
        self.seen()
        with self._lock:
            self._counts.frames += 1
            self._decode_ms.append(decode_ms)

    def seen(self) -> None:
        """A frame came, whether or not it is read."""
        with self._lock:
            self._frame_times.append(self._clock.monotonic())

    def accepted(self, keep_s: float) -> None:
        """A code became a scan, kept on disk, which took *keep_s*."""
        with self._lock:
            self._counts.accepted += 1
            self._keep_ms.append(keep_s * 1000)

    def repeated(self) -> None:
        """A code that had been accepted just before was shown again."""
        with self._lock:
            self._counts.repeated += 1

    def refused(self, kind: str) -> None:
        """A code of *kind* was refused; nothing of it is kept."""
        with self._lock:
            self._counts.refused[kind] += 1

    def not_kept(self) -> None:
        """A code would have been accepted but could not be kept."""
        with self._lock:
            self._counts.not_kept += 1

    def unread(self) -> None:
        """Something like a code stayed in view and could not be read."""
        with self._lock:
            self._counts.unread += 1

    def eye(self, state: EyeState) -> None:
        """How well the eye sees."""
        with self._lock:
            self._eye = state

    def set_up(self, text: str) -> None:
        """What came of a set-up code: *text* has nothing of it."""
        with self._lock:
            self._setup = text[:SETUP_CHARACTERS]

    def changed(self) -> bool:
        """Whether something has changed that somebody should hear of at once. Cheap to ask."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_S
        before, self._condition = self._condition, _condition(self.health())
        if before is None or before == self._condition:
            return False
        self._told = {what: at for what, at in self._told.items() if now - at < TOLD_S}
        if self._condition in self._told:
            return False
        self._told[self._condition] = now
        return True

    def health(self) -> Health:
        """The message of this moment."""
        outbox = self._outbox.status()
        machine = self._machine()
        update = self._update()
        now = self._clock.now()
        self._warn_of_fill(outbox)
        with self._lock:
            decode_ms = sorted(self._decode_ms)
            return Health(
                at=now.at,
                boot=now.boot,
                uptime_ms=now.uptime_ms,
                clock=now.clock,
                frames=self._counts.frames,
                accepted=self._counts.accepted,
                repeated=self._counts.repeated,
                refused=dict(self._counts.refused),
                not_kept=self._counts.not_kept,
                pending=outbox.pending,
                pending_bytes=outbox.bytes,
                oldest=outbox.oldest_at,
                damaged=outbox.damaged,
                fill=outbox.fill,
                hours_left=outbox.hours_left,
                keep_ms_max=round(max(self._keep_ms, default=0.0), 1),
                unread=self._counts.unread,
                eye=self._eye.verdict,
                brightness=self._eye.brightness,
                sharpness=self._eye.sharpness,
                frame_age_s=self._frame_age_s(),
                frame_rate=self._frame_rate(),
                machine=machine,
                software=self._software,
                setup=self._setup,
                certificate_ends=self._certificate_ends(),
                update=update,
                started_after=self._ladder.started_after,
                repair=self._ladder.reached,
                repair_reason=self._ladder.reason,
                on_board=self._on_board(now),
                decode_ms_p50=_percentile(decode_ms, 50),
                decode_ms_p95=_percentile(decode_ms, 95),
            )

    def _frame_age_s(self) -> float | None:
        if not self._frame_times:
            return None
        return round(self._clock.monotonic() - self._frame_times[-1], 3)

    def _frame_rate(self) -> float | None:
        times = self._frame_times
        if len(times) < 2 or times[-1] <= times[0]:
            return None
        if self._clock.monotonic() - times[-1] > STILL_S:
            return 0.0
        return round((len(times) - 1) / (times[-1] - times[0]), 2)

    def _warn_of_fill(self, outbox: OutboxStatus) -> None:
        fill = outbox.fill or 0.0
        reached = max((alarm for alarm in ALARMS if fill >= alarm), default=0.0)
        if reached > self._alarmed:
            left = (
                "" if outbox.hours_left is None else f"; about {outbox.hours_left:.0f} hours left"
            )
            log.warning(
                "the outbox is %.0f %% full%s: connect the unit, or carry its scans by hand",
                100 * fill,
                left,
            )
        # Only well below an alarm is it armed again, so that it does not come with every scan.
        if reached > self._alarmed or fill < self._alarmed - 0.05:
            self._alarmed = reached


def _condition(health: Health) -> tuple[object, ...]:
    """Of *health* what is worth a message of its own when it changes."""
    machine = health.machine
    return (
        health.repair,
        health.on_board and (health.on_board.gps, health.on_board.trip, health.on_board.stops),
        health.eye,
        health.setup,
        health.update,
        health.not_kept > 0,
        health.damaged > 0,
        max((alarm for alarm in ALARMS if (health.fill or 0.0) >= alarm), default=0.0),
        machine.under_voltage,
        machine.throttled,
        machine.network,
        _is_low(machine.disk_free_bytes, machine.disk_total_bytes),
        _is_low(machine.memory_free_bytes, machine.memory_total_bytes),
    )


def _is_low(free: int | None, total: int | None) -> bool:
    return free is not None and total is not None and free < LOW * total


def _percentile(ordered: list[float], percent: int) -> float:
    if not ordered:
        return 0.0
    return round(ordered[(len(ordered) - 1) * percent // 100], 3)
