"""Small machines that stand in for the world: a clock that is moved by hand, invented scans."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.clock import Moment, utc_text
from edge.messages import Health, Machine, Scan, Status
from edge.mqtt import LastWill, Received
from edge.scanner.health import HealthMeter
from edge.scanner.outbox import Outbox
from edge.scanner.repair import Ladder
from edge.storage.rows import UnitScans


class FakeClock:
    """Time that moves only by `advance`."""

    def __init__(self, boot: str = "b" * 32) -> None:
        self.seconds = 1000.0
        self.boot = boot
        self.booted_at = 0.0
        self.synchronized = False
        #: How far the wall clock is off while nothing has set it.
        self.wrong_by_s = 0.0

    def boot_again(self, boot: str) -> None:
        """Let the machine start anew, with a clock that nothing has set."""
        self.boot, self.booted_at, self.synchronized = boot, self.seconds, False

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> Moment:
        wrong_by_s = 0.0 if self.synchronized else self.wrong_by_s
        return Moment(
            at=utc_text(1_625_189_400 + self.seconds + wrong_by_s),
            boot=self.boot,
            uptime_ms=round((self.seconds - self.booted_at) * 1000),
            clock="ntp" if self.synchronized else "none",
        )


def came(area: str, unit: str, *scans: Scan) -> UnitScans:
    """*scans* of *unit* as they come into storage."""
    return UnitScans(area, unit, scans)


def a_scan(seq: int = 1, epoch: str = "e" * 16, **changes: object) -> Scan:
    """An invented scan; its sealed part is noise, as it is for everybody but the tracing desk."""
    fields: dict[str, object] = {
        "id": uuid.uuid4().hex,
        "epoch": epoch,
        "seq": seq,
        "place": "cho-1",
        "direction": "in",
        "document": "cccd",
        "at": "2021-07-02T01:30:00.000Z",
        "boot": "b" * 32,
        "uptime_ms": 1000,
        "clock": "none",
        "key": "0" * 8,
        "sealed": bytes(368),
    }
    return Scan(**(fields | changes))  # type: ignore[arg-type]


def a_health(**changes: object) -> Health:
    """An invented health message."""
    fields: dict[str, object] = {
        "at": "2021-07-02T01:30:00.000Z",
        "boot": "b" * 32,
        "uptime_ms": 1000,
        "clock": "none",
        "frames": 0,
        "accepted": 0,
        "repeated": 0,
        "refused": {},
        "not_kept": 0,
        "pending": 0,
        "pending_bytes": 0,
        "oldest": None,
        "decode_ms_p50": 0.0,
        "decode_ms_p95": 0.0,
    }
    return Health(**(fields | changes))  # type: ignore[arg-type]


def a_status(**changes: object) -> Status:
    """An invented status message."""
    fields: dict[str, object] = {
        "state": "online",
        "birth": 1,
        "place": "cho-1",
        "direction": "in",
        "software": "0.1.0",
        "epoch": "e" * 16,
        "at": "2021-07-02T01:30:00.000Z",
        "boot": "b" * 32,
        "uptime_ms": 1000,
        "clock": "none",
    }
    return Status(**(fields | changes))  # type: ignore[arg-type]


#: Whatever a test waits for comes sooner, on a machine that has much else to do too.
LIMIT_S = 120.0


def eventually(
    holds: Callable[[], object],
    what: str,
    *,
    limit_s: float = LIMIT_S,
    turn: Callable[[], object] | None = None,
) -> None:
    """Wait until *holds* does, doing *turn* between looks; fails with *what* at the limit."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        if turn is not None:
            turn()
        else:
            time.sleep(0.01)


class FakeConnection:
    """A broker's end of a `Connection`, in the test's hands."""

    def __init__(self) -> None:
        self.connected = False
        self.session = 0
        self.in_flight = self.bytes_in_flight = 0
        self.most_packet_bytes = 2**28
        self.will: LastWill | None = None
        self.published: list[tuple[str, bytes, bool]] = []
        self._inbox: list[Received] = []
        self.woken = 0
        self.redelivered = 0
        #: Whether the broker still knows our session when it comes up.
        self.kept = False
        #: Whether it acknowledges what is published.
        self.acknowledging = True
        self._lost: set[int] = set()
        #: What happens while somebody waits for traffic.
        self.turn: Callable[[], object] = lambda: None

    @property
    def speaks(self) -> bool:
        return self.connected

    def come_up(self) -> None:
        """Let the connection be established, as a new session."""
        self.connected = True
        self.session += 1

    def go_down(self) -> None:
        """Let the connection be lost."""
        self.connected = False
        self._inbox.clear()

    def deliver(self, topic: str, payload: bytes) -> None:
        """Let a message come in."""
        self._inbox.append(Received(topic, payload, False, 1, 1, self.session))

    def on(self, channel: str) -> list[bytes]:
        """What was published on *channel* since the last call."""
        found = [payload for topic, payload, _ in self.published if topic.endswith("/" + channel)]
        self.published = [p for p in self.published if not p[0].endswith("/" + channel)]
        return found

    # What a Connection has

    def step(self, timeout_s: float) -> None:
        self.turn()

    def take(self) -> list[Received]:
        messages, self._inbox = self._inbox, []
        return messages

    def holds(self, message: Received) -> bool:
        return message.session == self.session

    def ack(self, message: Received) -> None:
        pass

    @contextmanager
    def together(self) -> Iterator[None]:
        yield

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        about: Sequence[int] = (),
        qos: int = 1,
    ) -> bool:
        if self.connected:
            self.published.append((topic, payload, retain))
            if not self.acknowledging:
                self._lost.update(about)
        return self.connected

    def take_lost(self) -> set[int]:
        lost, self._lost = self._lost, set()
        return lost

    def wake(self) -> None:
        self.woken += 1

    def disconnect(self, timeout_s: float) -> None:
        self.go_down()


def a_ladder(folder: Path, clock: FakeClock, *, reboots: bool = True) -> Ladder:
    """A ladder whose reboots are asked for and do not come."""
    return Ladder(folder / "repair.json", clock, lambda: reboots)


def a_meter(outbox: Outbox, clock: FakeClock, machine: Machine | None = None) -> HealthMeter:
    """A health meter of an invented machine, with a ladder that keeps nothing."""
    ladder = a_ladder(Path("/nowhere"), clock)
    return HealthMeter(
        outbox, clock, ladder, software="0.1.0", machine=lambda: machine or Machine()
    )
