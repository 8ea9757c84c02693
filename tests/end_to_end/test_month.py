"""A month of a bus in a minute: 30 days of 2,000 scans, the power cut with every trip, a network in
the depot only, and a good one not every evening.

Outbox, publisher, seals, collector and storage are the real ones. The clock is moved by hand, and
the broker between them is a few lines that lose, repeat and forget.
"""

import gc
import os
import random
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.collector.service import Collector
from edge.identity import Identity
from edge.scanner.boots import Boots
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import Publisher
from edge.sealing import Opener, Sealer, make_key_pair, read_key
from edge.storage.storage import Storage
from edge.unit_settings import UnitSettings
from tests.end_to_end.parts import identity_of, invented_cards
from tests.fakes import FakeClock, FakeConnection, a_health, a_scan

DAYS = 30
SCANS_A_DAY = 2_000
TRIPS_A_DAY = 5
#: From here on the driver leaves the unit on, so that what a process gathers can be seen.
LEFT_ON_FROM_DAY = 18
#: What the network in the depot is like, evening by evening.
EVENINGS = ("good", "flapping", "lossy", "none", "power cut", "lossy")
SEED = int(os.environ.get("EDGE_SEED", random.SystemRandom().randrange(10**9)))
UNIT = UnitSettings(
    id="xe-81b", area="gialai", place="xe-81b", direction="in", tracing_key_file="tracing.pub"
)


class Broker:
    """Carries between one unit and the collector, and may do with it what brokers do."""

    def __init__(self, chance: random.Random) -> None:
        self.unit = FakeConnection()
        self.centre = FakeConnection()
        self._chance = chance
        self.centre.come_up()

    def carry(self, share_lost: float) -> None:
        """Hand over what was published, but for *share_lost* of it; as much comes twice."""
        for sender, receiver in ((self.unit, self.centre), (self.centre, self.unit)):
            messages, sender.published = sender.published, []
            for topic, payload, _ in messages:
                fate = self._chance.random()
                for _ in range(0 if fate < share_lost else 2 if fate > 1 - share_lost else 1):
                    receiver.deliver(topic, payload)


class Bus:
    """A unit on a bus."""

    def __init__(self, folder: Path, broker: Broker, sealer: Sealer) -> None:
        self._folder = folder
        self._broker = broker
        self._sealer = sealer
        self._boots = 0
        self.clock = FakeClock()
        #: The id of each scan that beeped, by its number, 16 bytes each.
        self.ids = bytearray(16 * (DAYS * SCANS_A_DAY + 1))
        self.beeps = 0
        self._power_on()

    @property
    def folder(self) -> Path:
        return self._folder / f"boot-{self._boots}"

    def cut_power(self) -> None:
        """The process is gone; its outbox is found as it was at that moment."""
        before, outbox = self.folder, self.outbox
        self._boots += 1
        shutil.copytree(before, self.folder)
        self._broker.unit.go_down()
        outbox.close()
        shutil.rmtree(before)
        self._power_on()

    def scan(self, identity: Identity) -> None:
        scan_id = uuid.uuid4()
        now = self.clock.now()
        scan = a_scan(
            self.outbox.next_seq,
            self.outbox.epoch,
            id=scan_id.hex,
            place=UNIT.place,
            at=now.at,
            boot=now.boot,
            uptime_ms=now.uptime_ms,
            key=self._sealer.key_id,
            sealed=self._sealer.seal(identity, scan_id.hex),
        )
        self.outbox.put(scan)
        self.ids[16 * scan.seq : 16 * scan.seq + 16] = scan_id.bytes
        self.beeps += 1

    def _power_on(self) -> None:
        self.clock = FakeClock(boot=f"{self._boots:032x}")
        self.outbox = Outbox(self.folder, max_bytes=10**9, keep_free_bytes=0)
        self.publisher = Publisher(
            self._broker.unit,  # type: ignore[arg-type]
            self.outbox,
            UNIT,
            self.clock,
            software="0.1.0",
            health=a_health,
            boots=Boots(self.folder / "boots.json"),
        )


@dataclass(frozen=True)
class Evening:
    """What the unit took at the end of a day, when all was sent."""

    files: int
    bytes: int
    memory_bytes: int


class Month:
    """The month, lived."""

    def __init__(self, folder: Path) -> None:
        self._chance = random.Random(SEED)
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        self.opener = Opener(read_key(folder / "tracing.key"))
        sealer = Sealer(read_key(folder / "tracing.pub"))
        self._people = [identity_of(card) for card in invented_cards(200)]
        self._broker = Broker(self._chance)
        self.bus = Bus(folder / "bus", self._broker, sealer)
        self._storage = Storage(folder / "storage.db")
        self._collector = Collector(
            self._broker.centre,  # type: ignore[arg-type]
            self._storage,
            FakeClock(),
        )
        self.evenings = {day: self._live(day) for day in range(1, DAYS + 1)}
        self.pending = self.bus.outbox.status().pending
        self.rows = self._storage.scan_numbers()
        self.unit = self._storage.units()[0]
        self.sealed = self._storage.sealed()
        self._storage.close()
        self.bus.outbox.close()

    def _live(self, day: int) -> Evening:
        for trip in range(TRIPS_A_DAY):
            for _ in range(SCANS_A_DAY // TRIPS_A_DAY):
                self.bus.clock.advance(self._chance.expovariate(1 / 20))
                self.bus.scan(self._chance.choice(self._people))
                self.bus.publisher.step(0)
            if day < LEFT_ON_FROM_DAY and trip < TRIPS_A_DAY - 1:
                self.bus.cut_power()
        self._spend_evening(EVENINGS[(day - 1) % len(EVENINGS)])
        gc.collect()
        sizes = [path.stat().st_size for path in self.bus.folder.iterdir()]
        return Evening(len(sizes), sum(sizes), resident_bytes())

    def _spend_evening(self, network: str) -> None:
        if network == "none":
            return
        share_lost = 0.03 if network == "lossy" else 0.0
        turn = 0
        self._broker.unit.come_up()
        while self.bus.outbox.status().pending:
            turn += 1
            assert turn < 10_000, f"not all is sent on a {network} evening, EDGE_SEED={SEED}"
            self.bus.clock.advance(0.2)
            self.bus.publisher.step(0)
            self._broker.carry(share_lost)
            # One turn takes what came, the next finds it quiet and stores. A full batch is stored
            # beside: the clock of the month waits for it.
            self._collector.step(0)
            self._collector.step(0)
            while self._collector.totals.in_hand:
                self._collector.step(0)
            self._broker.carry(share_lost)
            if network == "flapping" and turn % 3 == 0:
                self._broker.unit.go_down()
                self._broker.unit.come_up()
            if network == "power cut" and turn == 10:
                self.bus.cut_power()
                self._broker.unit.come_up()
        self._broker.unit.go_down()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def month() -> Iterator[Month]:
    print(f"EDGE_SEED={SEED}")
    # In memory, since 60,000 scans would be as many syncs; what a cut does to those is tested with
    # the outbox.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="edge-month-", dir=memory) as name,
        pytest.MonkeyPatch.context() as patch,
    ):
        # The centre lives in this process too, and its cache would grow with the month up to its
        # size.
        patch.setattr("edge.storage.database.CACHE_KIB", 1000)
        yield Month(Path(name))


def test_each_scan_of_a_month_is_a_row_once(month: Month) -> None:
    total = DAYS * SCANS_A_DAY

    assert month.bus.beeps == total
    assert [seq for _, _, seq, _ in month.rows] == list(range(1, total + 1)), f"EDGE_SEED={SEED}"
    assert b"".join(bytes.fromhex(i) for *_, i in month.rows) == bytes(month.bus.ids[16:])
    assert len({epoch for _, epoch, _, _ in month.rows}) == 1
    assert month.unit.gaps == []
    assert month.pending == 0


def test_repeats_came_and_did_no_harm(month: Month) -> None:
    assert month.unit.repeats > 100


def test_the_disk_of_a_unit_is_flat_over_a_month(month: Month) -> None:
    early, late = month.evenings[3], month.evenings[DAYS]

    assert late.files <= early.files + 1
    assert late.bytes <= early.bytes * 1.1


def test_memory_is_flat_over_a_month(month: Month) -> None:
    # A leak of 200 bytes a scan would be 5 MB in the days that the unit is left on, 11 in all.
    assert month.evenings[DAYS].memory_bytes - month.evenings[3].memory_bytes < 6_000_000
    left_on = month.evenings[LEFT_ON_FROM_DAY]
    assert month.evenings[DAYS].memory_bytes - left_on.memory_bytes < 2_000_000


def test_each_seal_of_a_month_opens(month: Month) -> None:
    for scan_id, _, sealed in month.sealed[::997]:
        assert month.opener.open(sealed, scan_id).name.startswith("Phạm Thị Bịa Đặt")
