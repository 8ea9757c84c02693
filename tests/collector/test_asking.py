"""Asking units for what is missing: after a while, ever more rarely, and never too much."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.collector.asking import LONGEST_WAIT_S, RANGES_A_MESSAGE, UNITS_A_TURN, Asker
from edge.messages import Again
from edge.storage.control import Control
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.fakes import FakeClock, FakeConnection, a_scan, a_status, came


class Centre:
    """An asker on a real storage, with the time and the broker in the test's hands."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.connection = FakeConnection()
        self.connection.come_up()
        self.storage = Storage(folder / "storage.db")
        self.again = Control(self.storage.database).again
        self.asker = Asker(
            self.connection,  # type: ignore[arg-type]
            self.storage,
            self.again,
            self.clock,
            gap_ask_s=300,
        )

    def store(self, *seqs: int, unit: str = "cong-1") -> None:
        scans = [came("pleiku", unit, a_scan(seq)) for seq in seqs]
        self.storage.store(scans, self.clock.now().at)

    def wait(self, seconds: float) -> list[tuple[str, Again]]:
        """What is asked while *seconds* pass."""
        for _ in range(int(seconds // 10)):
            self.clock.advance(10)
            self.asker.step()
        asked = [(topic, Again.decode(p)) for topic, p, _ in self.connection.published]
        assert not any(retain for _, _, retain in self.connection.published)
        self.connection.published.clear()
        return asked


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    centre = Centre(tmp_path)
    yield centre
    centre.storage.close()


def test_a_gap_that_stays_is_asked_for(centre: Centre) -> None:
    centre.store(1, 2, 5, 6, 9)
    assert centre.wait(240) == []

    ((topic, message),) = centre.wait(120)

    assert topic == "edge/v1/pleiku/cong-1/again"
    assert message.epoch == "e" * 16
    assert [(r.first, r.last) for r in message.ranges] == [(3, 4), (7, 8)]


def test_a_gap_that_closes_by_itself_is_not_asked_for(centre: Centre) -> None:
    centre.store(1, 3)
    centre.wait(120)
    centre.store(2)

    assert centre.wait(3600) == []


def test_what_never_comes_is_asked_for_ever_more_rarely(centre: Centre) -> None:
    centre.store(2)

    assert len(centre.wait(86_400)) < 10
    assert len(centre.wait(10 * LONGEST_WAIT_S)) in range(9, 12)


def test_a_unit_that_filled_a_gap_is_asked_at_once_about_the_next(centre: Centre) -> None:
    centre.store(2)
    centre.wait(86_400)
    centre.store(1)
    centre.wait(60)

    centre.store(4)

    assert len(centre.wait(420)) == 1


def test_many_units_are_asked_in_turns_and_one_unit_is_asked_for_a_bounded_number(
    centre: Centre,
) -> None:
    for unit in range(UNITS_A_TURN + 20):
        centre.store(2, unit=f"cong-{unit}")
    centre.store(*range(2, 1002, 2), unit="vo")

    first, second = centre.wait(300), centre.wait(60)

    assert len(first) == UNITS_A_TURN
    assert len({topic for topic, _ in first + second}) == UNITS_A_TURN + 21
    (scattered,) = [m for topic, m in first + second if "/vo/" in topic]
    assert len(scattered.ranges) == RANGES_A_MESSAGE


def test_nobody_is_asked_without_a_broker_and_everybody_when_it_is_back(centre: Centre) -> None:
    centre.store(2)
    centre.connection.go_down()
    assert centre.wait(3600) == []

    centre.connection.come_up()

    assert len(centre.wait(60)) == 1


def test_a_unit_that_is_away_is_asked_when_it_is_back(centre: Centre) -> None:
    centre.store(2)
    gone = a_status(state="offline")
    centre.storage.store_reports([Report("pleiku", "cong-1", gone)], "now")
    assert centre.wait(3600) == []

    back = a_status(birth=2)
    centre.storage.store_reports([Report("pleiku", "cong-1", back)], "now")

    assert len(centre.wait(60)) == 1


def test_whoever_wishes_it_has_units_asked_at_once(centre: Centre) -> None:
    centre.store(1, 4)
    centre.wait(86_400)
    first, second = (centre.again.wish("ha", centre.clock.now().at) for _ in range(2))
    assert centre.again.units_asked(first) is None

    assert len(centre.wait(10)) == 1

    assert [centre.again.units_asked(wish) for wish in (first, second)] == [1, 1]
    assert centre.wait(200) == []


def test_a_wish_waits_for_the_broker(centre: Centre) -> None:
    centre.store(1, 4)
    centre.connection.go_down()
    wish = centre.again.wish("ha", centre.clock.now().at)
    assert centre.wait(60) == []
    assert centre.again.units_asked(wish) is None

    centre.connection.come_up()

    assert len(centre.wait(10)) == 1
    assert centre.again.units_asked(wish) == 1
