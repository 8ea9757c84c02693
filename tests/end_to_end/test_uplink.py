"""Each trouble that an uplink can have, against the real scanner: scanning goes on at its pace, and
once the trouble is over everything is confirmed."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.scanner.outbox import Outbox
from edge.sealing import Sealer, read_key
from edge.storage.storage import Storage
from tests.conftest import MOSQUITTO
from tests.end_to_end.field import BrokerKind, Field
from tests.end_to_end.network import Namespaces
from tests.end_to_end.parts import identity_of, invented_cards
from tests.fakes import LIMIT_S, a_scan, eventually

FRAME_RATE = 20
#: A unit at a gate is silent for no longer: what waits for a network does so for 5 s or more. The
#: machine of the test, with much else to do, may keep it from its turn for a moment.
SILENCE_S = 4.0
#: A look at it, with a write to its disk, takes as long only where the machine is held up.
HELD_UP_S = 0.5
#: Far fewer than come, since the machine of the test may be slow, and far more than a unit would
#: count that waits for the network at each.
LEAST_BEEPS_A_SECOND = 1.0
#: Back-off, the notice of a dead link and the draining together take less.
CONFIRMED_S = 180
UNIT = "cong-1"

needs_namespaces = pytest.mark.skipif(
    bool(Namespaces.why_not()), reason=f"needs namespaces: {Namespaces.why_not()}"
)


class Uplink:
    """One scanner, and the way from it to storage."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        *,
        by_name: bool = False,
        broker: BrokerKind = "nats",
    ) -> None:
        self.field = Field(folder, stack, frame_rate=FRAME_RATE, by_name=by_name, broker=broker)

    def start(self) -> None:
        """Start everything and wait until scans arrive."""
        self.field.start()
        self.await_collector()
        eventually(lambda: len(self.rows()) > FRAME_RATE, "the first scans in storage")

    def await_collector(self) -> None:
        """Wait until the collector works: before, we could meet it making its tables."""
        log = self.field.parts["collector"].program.log
        eventually(lambda: b"connected to" in log.read_bytes(), "the collector's connection")

    def trouble(self, way: str) -> None:
        self.field.relay.set(UNIT, way)

    def heal(self) -> None:
        self.field.relay.set(UNIT, "pass")

    @property
    def network(self) -> Namespaces:
        assert isinstance(self.field.network, Namespaces)
        return self.field.network

    def rows(self) -> set[int]:
        """The numbers that are rows."""
        storage = Storage(self.field.storage)
        numbers = storage.scan_numbers()
        storage.close()
        return {seq for _, _, seq, _ in numbers}

    def scan_for(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> "Pace":
        """Look on for so long; gives how scanning went."""
        began = changed = looked = time.monotonic()
        before = beeps = len(self.field.beeps(UNIT))
        longest = held_up = 0.0

        def is_over() -> bool:
            nonlocal beeps, changed, looked, longest, held_up
            now = time.monotonic()
            # While we wait for processor or disk, so may the unit, and not for the network.
            held_up += now - looked if now - looked > HELD_UP_S else 0.0
            if (count := len(self.field.beeps(UNIT))) > beeps:
                beeps, changed, held_up = count, now, 0.0
            longest = max(longest, now - changed - held_up)
            meanwhile()
            looked = time.monotonic()
            file.write(b".")
            os.fsync(file.fileno())
            return now - began >= seconds

        with (self.field.folder / "looks").open("ab", buffering=0) as file:
            eventually(is_over, "the end", limit_s=seconds + LIMIT_S)
        return Pace((beeps - before) / (time.monotonic() - began), longest)

    def confirm_all(self) -> None:
        """Wait until what has beeped so far is in storage."""
        beeps = set(self.field.beeps(UNIT))
        eventually(
            lambda: beeps <= self.rows(),
            f"{len(beeps)} scans in storage",
            limit_s=CONFIRMED_S,
            turn=lambda: self.scan_for(0.2),
        )
        assert not self.field.parts[UNIT].program.ended()


@dataclass(frozen=True)
class Pace:
    """How scanning went."""

    beeps_a_second: float
    longest_silence_s: float

    def assert_steady(self) -> None:
        """The same as with a network, on a busy machine too."""
        assert self.longest_silence_s < SILENCE_S, self
        assert self.beeps_a_second > LEAST_BEEPS_A_SECOND, self


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def uplink(tmp_path: Path, stack: ExitStack) -> Uplink:
    uplink = Uplink(tmp_path, stack)
    uplink.start()
    return uplink


def test_hours_offline(tmp_path: Path, stack: ExitStack) -> None:
    uplink = Uplink(tmp_path, stack)
    fill(uplink.field.outbox(UNIT), tmp_path / "tracing.pub", scans=2_000)
    uplink.trouble("reset")
    uplink.field.start()
    uplink.await_collector()
    eventually(lambda: uplink.field.beeps(UNIT), "the first beep")

    pace = uplink.scan_for(6)
    assert uplink.rows() == set()
    uplink.heal()

    pace.assert_steady()
    assert uplink.field.beeps(UNIT)[0] == 2_001
    uplink.confirm_all()
    eventually(lambda: set(range(1, 2_001)) <= uplink.rows(), "the backlog", limit_s=CONFIRMED_S)


def fill(folder: Path, key: Path, scans: int) -> None:
    """An outbox as after a day of a bus without a network."""
    sealer = Sealer(read_key(key))
    identity = identity_of(invented_cards(1)[0])
    with Outbox(folder, max_bytes=10**9, keep_free_bytes=0) as outbox:
        for seq in range(1, scans + 1):
            scan_id = uuid.uuid4().hex
            sealed = sealer.seal(identity, scan_id)
            outbox.put(
                a_scan(seq, outbox.epoch, id=scan_id, key=sealer.key_id, sealed=sealed, place="x")
            )


def test_a_flapping_link(uplink: Uplink) -> None:
    ways = ["reset", "pass", "half-open", "pass"]
    turns = [0]

    def flap() -> None:
        # A new way every 0.7 s.
        if time.monotonic() - began > 0.7 * turns[0]:
            uplink.trouble(ways[turns[0] % len(ways)])
            turns[0] += 1

    began = time.monotonic()
    pace = uplink.scan_for(8, meanwhile=flap)
    uplink.heal()

    pace.assert_steady()
    uplink.confirm_all()


@needs_namespaces
def test_a_cable_that_comes_and_goes(uplink: Uplink) -> None:
    is_cut, turns = [False], [0]

    def flap() -> None:
        if time.monotonic() - began > 0.9 * turns[0]:
            turns[0] += 1
            is_cut[0] = not is_cut[0]
            if is_cut[0]:
                uplink.network.cut(UNIT, silently=False)
            else:
                uplink.network.mend(UNIT)

    began = time.monotonic()
    pace = uplink.scan_for(6, meanwhile=flap)
    uplink.network.mend(UNIT)

    pace.assert_steady()
    uplink.confirm_all()


@needs_namespaces
def test_a_black_hole(uplink: Uplink) -> None:
    uplink.network.cut(UNIT, silently=True)
    pace = uplink.scan_for(12)
    uplink.network.mend(UNIT)

    pace.assert_steady()
    uplink.confirm_all()


def test_a_half_open_connection(uplink: Uplink) -> None:
    # Its other end is gone and nothing says so; a new connection would pass.
    uplink.trouble("half-open")
    pace = uplink.scan_for(8)

    pace.assert_steady()
    uplink.confirm_all()


def test_a_broker_that_accepts_and_never_answers(uplink: Uplink) -> None:
    uplink.trouble("reset")
    uplink.trouble("stall")
    pace = uplink.scan_for(12)
    log = uplink.field.parts[UNIT].program.log
    # After the reset connection it gives up the silent one, within ten seconds.
    eventually(lambda: "does not answer as a broker" in log.read_text(), "given up")
    uplink.heal()

    pace.assert_steady()
    uplink.confirm_all()


def test_a_captive_portal(uplink: Uplink) -> None:
    uplink.trouble("portal")
    pace = uplink.scan_for(6)
    uplink.heal()

    pace.assert_steady()
    uplink.confirm_all()


@needs_namespaces
def test_a_name_server_that_hangs(tmp_path: Path, stack: ExitStack) -> None:
    uplink = Uplink(tmp_path, stack, by_name=True)
    uplink.field.start()
    uplink.await_collector()
    eventually(lambda: uplink.field.beeps(UNIT), "the first beep")

    pace = uplink.scan_for(8)
    assert uplink.rows() == set()
    uplink.field.relay.set("names", "answer")

    pace.assert_steady()
    uplink.confirm_all()


@pytest.mark.parametrize("kind", ["nats", "mosquitto"])
def test_a_broker_restarted_with_an_empty_memory(
    kind: BrokerKind, tmp_path: Path, stack: ExitStack
) -> None:
    if kind == "mosquitto" and MOSQUITTO is None:
        pytest.skip("mosquitto is missing: sudo apt install mosquitto")
    uplink = Uplink(tmp_path, stack, broker=kind)
    uplink.start()
    broker = uplink.field.parts["broker"]

    broker.end(signal.SIGKILL)
    uplink.field.empty_broker()
    pace = uplink.scan_for(2)
    broker.start()

    pace.assert_steady()
    uplink.confirm_all()
