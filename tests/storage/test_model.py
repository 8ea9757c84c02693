"""Whatever comes in, and made ready when, the rows and counts are those of a plain model."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge.clock import utc_seconds, utc_text
from edge.messages import Scan
from edge.storage.prepared import Prepared
from edge.storage.rows import UnitScans
from edge.storage.storage import Storage
from tests.fakes import a_scan

NOW = "2021-07-12T08:00:00.000Z"
DAY = 86_400
TURNS = 36

Once = tuple[str, str, int, str]  # unit, epoch, seq, id


class Model:
    """What storage should hold, in the plainest words."""

    def __init__(self) -> None:
        #: Of each row its time, and the quality of that.
        self.rows: dict[Once, tuple[str, str]] = {}
        self.held: set[tuple[str, str, int]] = set()
        self.gone: set[str] = set()
        #: By unit: rows of each quality, numbers, and what came again.
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def store(self, came: list[UnitScans]) -> int:
        """Take what *came*; gives how many rows are new."""
        held, new = set(self.held), 0
        for _, unit, scans in came:
            for scan in scans:
                once = (unit, scan.epoch, scan.seq, scan.id)
                self.counts[unit]["numbers"] += once[:3] not in self.held
                self.held.add(once[:3])
                was_one = once[:3] in held and scan.clock != "none" and scan.at[:10] in self.gone
                if once in self.rows or was_one:
                    self.counts[unit]["repeats"] += 1
                    continue
                self.rows[once] = time_of(scan)
                self.counts[unit][time_of(scan)[1]] += 1
                new += 1
        return new

    def expire(self, before: str) -> None:
        """Let the days before *before* go, of which some may come again."""
        dated = {time[:10] for time, quality in self.rows.values() if quality == "synced"}
        self.gone |= {day for day in dated if day < before}
        self.rows = {
            once: (time, quality)
            for once, (time, quality) in self.rows.items()
            if quality != "synced" or time[:10] >= before
        }

    def compare(self, storage: Storage) -> None:
        """See that *storage* holds the same."""
        found = [
            ((row.unit, row.epoch, row.seq, row.id), (row.time, row.time_quality))
            for row in storage.feed(0, 10**6)
        ]
        assert dict(found) == self.rows
        assert len(found) == len(self.rows) == storage.count()
        for unit in storage.units():
            counts = self.counts[unit.unit]
            rows = counts["synced"], counts["corrected"], counts["unsynced"]
            assert (unit.synced, unit.corrected, unit.unsynced) == rows
            assert (unit.repeats, unit.doubles) == (
                counts["repeats"],
                sum(rows) - counts["numbers"],
            )
            numbers = {
                (unit.unit, epoch, seq)
                for epoch, ranges in unit.held.items()
                for first, last in ranges
                for seq in range(first, last + 1)
            }
            assert numbers == {number for number in self.held if number[0] == unit.unit}


def time_of(scan: Scan) -> tuple[str, str]:
    if scan.clock != "none":
        return scan.at, "synced"
    return (scan.corrected, "corrected") if scan.corrected else (scan.at, "unsynced")


class Units:
    """Units that send new scans and old ones; of the last, two run under one name."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._sent: list[tuple[str, Scan]] = []
        self._last: Counter[tuple[str, str, int]] = Counter()

    def some(self) -> list[UnitScans]:
        """What comes in next."""
        chance, came = self._chance, []
        # Often, as nearly always in life, all are new and each has a time that counts.
        again, twice = chance.choice((0, 0, 0, 0.2, 1)), chance.choice((0, 0, 2))
        names = chance.sample(("cong-1", "cong-2", "cong-3"), chance.randrange(1, 4))
        clocks = chance.choice((("ntp", "gps"), ("ntp", "gps", "none")))
        for _ in range(chance.choice((1, 2, 6))):
            scans: defaultdict[str, list[Scan]] = defaultdict(list)
            for _ in range(chance.choice((1, 4, 20))):
                if not self._sent or chance.random() >= again:
                    self._sent.append(self._new(chance.choice(names), chance.choice(clocks)))
                    unit, scan = self._sent[-1]
                else:
                    unit, scan = chance.choice(self._sent)
                scans[unit].append(scan)
            for unit, its in scans.items():
                came.append(UnitScans("pleiku", unit, (*its, *chance.choices(its, k=twice))))
        return came

    def _new(self, unit: str, clock: str) -> tuple[str, Scan]:
        chance = self._chance
        epoch = chance.choice("ef") * 16
        machine = chance.randrange(2) if unit == "cong-3" else 0
        self._last[unit, epoch, machine] += chance.choice((1, 1, 1, 1, 3))
        corrected = self._time() if clock == "none" and chance.random() < 0.3 else None
        return unit, a_scan(
            self._last[unit, epoch, machine],
            epoch,
            id=f"{chance.getrandbits(128):032x}",
            at=self._time(),
            clock=clock,
            corrected=corrected,
            # One of its own: nothing else dates it.
            boot=f"{chance.getrandbits(128):032x}",
        )

    def _time(self) -> str:
        return utc_text(utc_seconds(NOW) - self._chance.randrange(9 * DAY))


@pytest.mark.parametrize("seed", range(3))
def test_two_collectors_store_each_scan_once_whatever_comes_and_when(
    database_url: str, seed: int
) -> None:
    chance, model = random.Random(seed), Model()
    units, thread = Units(chance), ThreadPoolExecutor(1)
    storages = [Storage(database_url), Storage(database_url)]
    ready: list[Prepared | None] = [None, None]

    def fill(number: int) -> Prepared:
        batch = storages[number].prepare(NOW)
        for came in units.some():
            batch.add(came)
        return batch

    def meanwhile(number: int) -> Callable[[Callable[[], None]], None]:
        def await_engine(call: Callable[[], None]) -> None:
            done = thread.submit(call)
            if ready[number] is None:
                ready[number] = fill(number)
            done.result()

        return await_engine

    for turn in range(TURNS):
        number = chance.randrange(2)
        batch, ready[number] = ready[number] or fill(number), None
        if turn % 6 == 5:
            before = utc_text(utc_seconds(NOW) - (8 - turn // 6) * DAY)[:10]
            storages[number].expire(before, NOW)
            model.expire(before)
            # The other has not heard of it: it ends at the first scan of such a day.
            storages[1 - number].close()
            storages[1 - number], ready[1 - number] = Storage(database_url), None
        new = storages[number].store_prepared(batch, await_engine=meanwhile(number))
        assert new == model.store(batch.came)
        model.compare(storages[1 - number])

    assert model.gone
    assert min(model.counts["cong-3"].values()) > 0
    thread.shutdown()
    for storage in storages:
        storage.close()
