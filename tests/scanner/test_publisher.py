"""The publisher: a bounded window, what goes together, and what it says of the unit."""

import tempfile
from pathlib import Path

import pytest

from edge.messages import (
    TOGETHER_BYTES,
    Again,
    Health,
    MissingRange,
    Scan,
    Status,
    read_scans,
)
from edge.scanner.budget import OVERHEAD_BYTES
from edge.scanner.health_log import EVERY_S
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import FLUSH_AFTER_S, IN_FLIGHT_BYTES
from tests.fakes import a_health, a_scan
from tests.scanner.publishing import CONFIRMED, Unit


def test_scans_are_sent_oldest_first_within_the_window(unit: Unit) -> None:
    unit.put(25)
    assert unit.step() == []

    unit.connection.come_up()

    assert unit.step() == list(range(1, 11))
    assert unit.step() == []
    unit.confirm(1, 4)
    assert unit.step() == [11, 12, 13, 14]
    assert unit.pending() == 21


def test_each_session_announces_itself_and_its_will_with_a_growing_birth(tmp_path: Path) -> None:
    births = []
    for _ in range(2):
        unit = Unit(tmp_path)
        for _ in range(2):
            unit.step()
            assert unit.connection.will is not None
            will = Status.decode(unit.connection.will.payload)
            unit.connection.come_up()
            unit.step()
            ((_, payload, retain),) = [
                p for p in unit.connection.published if p[0].endswith("/status")
            ]
            unit.connection.on("status")
            online = Status.decode(payload)
            assert retain
            assert (online.state, will.state) == ("online", "offline")
            assert online.birth == will.birth
            births.append(online.birth)
            unit.connection.go_down()
        unit.outbox.close()

    assert births == sorted(set(births))


def test_a_goodbye_says_stopped_after_the_last_health(unit: Unit) -> None:
    unit.connection.come_up()
    unit.step()
    unit.connection.published.clear()

    unit.publisher.stop(1.0)

    channels = [topic.rpartition("/")[2] for topic, _, _ in unit.connection.published]
    assert channels == ["health", "status"]
    assert Status.decode(unit.connection.on("status")[0]).state == "stopped"


def test_a_goodbye_takes_the_confirmations_that_are_on_their_way(unit: Unit) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()
    unit.confirm(1, 3)

    unit.publisher.stop(1.0)

    assert unit.pending() == 0


def test_a_goodbye_does_not_wait_long_for_a_centre_that_is_away(unit: Unit) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()
    began = unit.clock.monotonic()
    unit.connection.turn = lambda: unit.clock.advance(0.1)

    unit.publisher.stop(5.0)

    assert unit.pending() == 3
    assert unit.clock.monotonic() - began < 1.5


def test_health_is_sent_at_each_connection_and_then_every_minute(unit: Unit) -> None:
    unit.connection.come_up()
    unit.step()
    assert len(unit.connection.on("health")) == 1

    unit.step(59)
    assert unit.connection.on("health") == []
    unit.step(2)
    (payload,) = unit.connection.on("health")
    assert Health.decode(payload) == a_health(frames=int(unit.clock.seconds))


@pytest.mark.parametrize("days", [-200, 200])
def test_a_clock_that_is_set_has_nothing_sent_sooner_or_later(unit: Unit, days: float) -> None:
    unit.put(2)
    unit.connection.come_up()
    assert unit.step() == [1, 2]
    unit.connection.on("health")

    unit.clock.wrong_by_s = days * 86_400

    assert unit.step(4.9) == []
    assert unit.step(0.2) == [1]
    assert unit.connection.on("health") == []
    unit.step(55)
    assert len(unit.connection.on("health")) == 1


def test_scans_that_wait_are_of_the_place_where_they_were_made(unit: Unit) -> None:
    unit.put(1, place="xe-81b-01234", direction="out", trip="sang-1", clock="ntp")
    unit.put(1)
    unit.connection.come_up()
    unit.publisher.step(0)

    (sent,) = unit.messages()
    assert list(sent) == list(unit.scans.values())


def test_health_that_changed_is_sent_at_once(unit: Unit) -> None:
    unit.connection.come_up()
    unit.step()
    unit.connection.on("health")
    unit.changes.append(True)
    unit.step(5)
    unit.step(5)

    assert len(unit.connection.on("health")) == 1


def test_health_of_a_time_without_connection_comes_before_the_newest(unit: Unit) -> None:
    began = int(unit.clock.seconds)
    for _ in range(31):
        unit.step(EVERY_S / 10)
    unit.changes.append(True)
    unit.step(1)
    unit.connection.come_up()
    for _ in range(3):
        unit.step(1)

    told = [Health.decode(payload) for payload in unit.connection.on("health")]
    assert [health.late for health in told] == [True, True, True, True, False]
    assert told[0].frames == began + EVERY_S
    assert told == sorted(told, key=lambda health: health.frames)


def test_what_was_confirmed_is_written_down_though_no_scan_comes(
    unit: Unit, tmp_path: Path
) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()
    unit.confirm(1, 2)
    unit.step()
    unit.step(FLUSH_AFTER_S + 1)

    assert after_a_power_cut(tmp_path) == [3]


def test_what_is_confirmed_while_a_backlog_drains_is_written_down_now_and_then(
    unit: Unit, tmp_path: Path
) -> None:
    unit.put(60)
    unit.connection.come_up()
    unit.step()
    for seq in range(1, 51):
        unit.confirm(seq, seq)
        unit.step(1.0)

    # At 30 s what was confirmed until then; the rest within the next 30 s.
    assert after_a_power_cut(tmp_path)[0] > 30 - 2
    # A scan takes what was confirmed before it along, and is no reason to write sooner.
    unit.put(1)
    assert after_a_power_cut(tmp_path)[0] == 51


def after_a_power_cut(tmp_path: Path) -> list[int]:
    """What is pending if the power goes now: the folder is opened as it is, without a close."""
    copy = Path(tempfile.mkdtemp(dir=tmp_path))
    for file in (tmp_path / "outbox").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with Outbox(copy, max_bytes=10**9, keep_free_bytes=0) as outbox:
        return [scan.seq for scan in outbox.oldest(100)]


def test_new_scans_do_not_stand_behind_old_ones_but_keep_to_their_share(tmp_path: Path) -> None:
    unit = Unit(tmp_path, live_share=0.2)
    unit.put(30)
    unit.connection.come_up()
    assert unit.step() == list(range(1, 11))
    unit.put(5)
    assert unit.step() == []

    unit.confirm(1, 4)
    assert unit.step() == [31, 32, 11, 12]
    unit.confirm(31, 32)
    assert unit.step() == [33, 34]
    unit.confirm(5, 12)
    assert unit.step() == list(range(13, 21))
    unit.confirm(33, 34)
    unit.confirm(13, 20)
    assert unit.step() == [35, *range(21, 30)]
    unit.confirm(35, 35)
    unit.confirm(21, 29)
    unit.step()
    unit.confirm(30, 30)
    unit.step()
    unit.put(12)
    assert unit.step() == list(range(36, 46))
    unit.outbox.close()


def test_old_scans_keep_to_the_budget_and_new_ones_are_sent_all_the_same(tmp_path: Path) -> None:
    unit = Unit(tmp_path, window=40, live_share=0.5, budget_kb_s=2.0)
    unit.put(9)
    size = len(unit.scans[1].encode()) + OVERHEAD_BYTES
    unit.connection.come_up()
    sent = [len(unit.step(1.0)) for _ in range(4)]

    assert sum(sent) * size <= 2000 * 5 + size
    assert min(sent) >= 1
    before = sum(sent)
    unit.put(3)
    assert [seq for seq in unit.step() if seq >= 10] == [10, 11, 12]
    for _ in range(20):
        before += len([seq for seq in unit.step(1.0) if seq < 10])
    assert before >= 9
    unit.outbox.close()


def test_what_waits_is_sent_several_to_a_message_and_a_live_scan_alone(tmp_path: Path) -> None:
    unit = Unit(tmp_path, window=100)
    unit.put(50)
    unit.put(50, sealed=bytes(1000))
    unit.connection.come_up()
    unit.publisher.step(0)
    payloads = unit.connection.on("scan")
    sent = [[scan.seq for scan in read_scans(payload)[0]] for payload in payloads]

    assert [seq for message in sent for seq in message] == list(range(1, 101))
    assert [len(message) for message in sent][:3] == [20, 20, 15]
    assert TOGETHER_BYTES - 2000 < max(map(len, payloads)) <= TOGETHER_BYTES
    unit.confirm(1, 100)
    unit.put()
    unit.publisher.step(0)
    (payload,) = unit.connection.on("scan")
    assert payload == unit.scans[101].encode()
    unit.outbox.close()


def test_scans_of_any_size_are_sent_and_none_together_that_do_not_fit(tmp_path: Path) -> None:
    unit = Unit(tmp_path, window=100)
    unit.put(5, sealed=bytes(4096))
    unit.put(3)
    unit.connection.come_up()
    unit.connection.most_packet_bytes = 2000
    unit.publisher.step(0)

    assert [len(message) for message in unit.messages()] == [1, 1, 1, 1, 1, 2, 1]
    unit.outbox.close()


def test_each_is_sent_alone_if_so_set(tmp_path: Path) -> None:
    unit = Unit(tmp_path, scans_a_message=1)
    unit.put(5)
    unit.connection.come_up()
    unit.publisher.step(0)

    assert [len(message) for message in unit.messages()] == [1] * 5
    unit.outbox.close()


def test_what_the_broker_has_not_acknowledged_is_bounded_in_bytes(tmp_path: Path) -> None:
    unit = Unit(tmp_path, window=1000)
    unit.put(300)
    unit.connection.come_up()
    unit.connection.bytes_in_flight = IN_FLIGHT_BYTES
    assert unit.step() == []

    unit.connection.bytes_in_flight = IN_FLIGHT_BYTES - 1
    assert len(unit.step()) == 300
    unit.outbox.close()


def test_on_a_link_with_a_budget_no_message_is_larger_than_a_second_of_it(tmp_path: Path) -> None:
    unit = Unit(tmp_path, window=100, live_share=0.5, budget_kb_s=2.0)
    unit.put(20)
    unit.connection.come_up()
    unit.publisher.step(0)

    assert {len(message) for message in unit.messages()} == {2}
    unit.outbox.close()


def test_a_scan_of_an_unset_clock_is_dated_when_the_clock_is_known(unit: Unit) -> None:
    moment = unit.clock.now()
    scan = a_scan(1, unit.outbox.epoch, at="1970-01-01T00:00:09.000Z", uptime_ms=moment.uptime_ms)
    unit.outbox.put(scan)
    unit.clock.advance(3600)
    unit.clock.synchronized = True
    unit.connection.come_up()
    unit.publisher.step(0)

    (payload,) = unit.connection.on("scan")
    sent = Scan.decode(payload)
    assert (sent.at, sent.clock) == ("1970-01-01T00:00:09.000Z", "none")
    assert sent.corrected == moment.at


def test_a_question_for_missing_scans_is_answered_though_they_were_confirmed(unit: Unit) -> None:
    unit.put(5)
    unit.connection.come_up()
    unit.step()
    unit.confirm(1, 5)
    unit.step()
    assert unit.pending() == 0

    again = Again(epoch=unit.outbox.epoch, ranges=(MissingRange(2, 3), MissingRange(9, 4)))
    unit.connection.deliver(CONFIRMED.replace("confirmed", "again"), again.encode())

    assert unit.step() == [2, 3]
    unit.confirm(2, 3)
    assert unit.step() == []
    other = Again(epoch="f" * 16, ranges=(MissingRange(1, 5),))
    unit.connection.deliver(CONFIRMED.replace("confirmed", "again"), other.encode())
    unit.connection.deliver(CONFIRMED.replace("confirmed", "again"), b"nonsense")
    assert unit.step() == []


def test_the_centre_hears_at_once_that_the_clock_is_known(unit: Unit) -> None:
    unit.connection.come_up()
    unit.step()
    unit.connection.on("health")
    assert unit.step(5) == []
    assert unit.connection.on("health") == []

    unit.clock.synchronized = True
    unit.step()

    assert len(unit.connection.on("health")) == 1
