"""The publisher: a bounded window, sent again until confirmed, and forgetting only its own."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge.messages import (
    TOGETHER_BYTES,
    Again,
    Confirmed,
    ConfirmedRange,
    Health,
    MissingRange,
    Scan,
    Status,
    check_of,
    read_scans,
)
from edge.scanner.boots import Boots
from edge.scanner.budget import OVERHEAD_BYTES
from edge.scanner.health_log import EVERY_S, HealthLog
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import FLUSH_AFTER_S, IN_FLIGHT_BYTES, RESEND_MAX_S, Publisher
from edge.sealing import Signer, Verifier
from edge.signed import sign_confirmed
from edge.unit_settings import UnitSettings
from tests.fakes import FakeClock, FakeConnection, a_health, a_scan

UNIT = UnitSettings(
    id="cong-1", area="pleiku", place="cho-1", direction="in", tracing_key_file="tracing.pub"
)
CONFIRMED = "edge/v1/pleiku/cong-1/confirmed"


class Unit:
    """A publisher with a real outbox, a clock moved by hand, and a broker in the test's hands."""

    def __init__(self, folder: Path, centre: Verifier | None = None, **how: float) -> None:
        self.clock = FakeClock()
        self.connection = FakeConnection()
        self.outbox = Outbox(folder / "outbox", max_bytes=10**9, keep_free_bytes=0)
        self.scans: dict[int, Scan] = {}
        self.changes: list[bool] = []
        self.publisher = Publisher(
            self.connection,  # type: ignore[arg-type]
            self.outbox,
            UNIT,
            self.clock,
            software="0.1.0",
            health=lambda: a_health(frames=int(self.clock.seconds)),
            health_changed=lambda: self.changes.pop() if self.changes else False,
            health_log=HealthLog(folder / "health.jsonl"),
            boots=Boots(folder / "boots.json"),
            centre=centre,
            resend_s=5.0,
            health_s=60.0,
            window=int(how.get("window", 10)),
            scans_a_message=int(how.get("scans_a_message", 20)),
            live_share=how.get("live_share", 0.0),
            budget_kb_s=how.get("budget_kb_s", 0.0),
        )

    def put(self, count: int = 1, **changes: object) -> None:
        for _ in range(count):
            scan = a_scan(self.outbox.next_seq, self.outbox.epoch, **changes)
            self.outbox.put(scan)
            self.scans[scan.seq] = scan

    def step(self, seconds: float = 0.0) -> list[int]:
        """Let *seconds* pass, do one turn, and give the numbers of the scans that were sent."""
        self.clock.advance(seconds)
        self.publisher.step(0)
        return [scan.seq for message in self.messages() for scan in message]

    def messages(self) -> list[tuple[Scan, ...]]:
        """The scans of each message since the last look."""
        return [read_scans(payload)[0] for payload in self.connection.on("scan")]

    def confirm(self, first: int, last: int, check: str | None = None) -> None:
        self.connection.deliver(CONFIRMED, self.confirmation(first, last, check).encode())

    def confirmation(self, first: int, last: int, check: str | None = None) -> Confirmed:
        check = check or check_of(self.scans[seq].id for seq in range(first, last + 1))
        return Confirmed(epoch=self.outbox.epoch, ranges=(ConfirmedRange(first, last, check),))

    def pending(self) -> int:
        return self.outbox.status().pending


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    unit = Unit(tmp_path)
    yield unit
    unit.outbox.close()


def test_scans_are_sent_oldest_first_within_the_window(unit: Unit) -> None:
    unit.put(25)
    assert unit.step() == []

    unit.connection.come_up()

    assert unit.step() == list(range(1, 11))
    assert unit.step() == []
    unit.confirm(1, 4)
    assert unit.step() == [11, 12, 13, 14]
    assert unit.pending() == 21


def test_only_what_is_confirmed_is_forgotten(unit: Unit) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.confirm(2, 2)
    unit.step()

    assert [scan.seq for scan in unit.outbox.oldest(10)] == [1, 3]
    assert unit.publisher.confirmed == 1


def test_who_runs_the_broker_cannot_make_a_unit_forget_a_scan(tmp_path: Path) -> None:
    centre, other = Signer(b"c" * 32), Signer(b"o" * 32)
    unit = Unit(tmp_path, Verifier(centre.public_key))
    unit.put(3)
    unit.connection.come_up()
    unit.step()
    right = unit.confirmation(1, 3)
    forged = [
        right,
        sign_confirmed(right, "cong-1", other),
        sign_confirmed(right, "cong-2", centre),
        replace(sign_confirmed(unit.confirmation(1, 1), "cong-1", centre), ranges=right.ranges),
        replace(right, signature=bytes(64)),
    ]
    for message in forged:
        unit.connection.deliver(CONFIRMED, message.encode())
        unit.step()
    assert unit.pending() == 3
    unit.step(60.0)
    (health,) = [Health.decode(payload) for payload in unit.connection.on("health")][-1:]
    assert health.unbelieved == len(forged)

    unit.connection.deliver(CONFIRMED, sign_confirmed(right, "cong-1", centre).encode())
    unit.step()
    assert unit.pending() == 0
    unit.outbox.close()


def test_everything_is_sent_again_to_a_broker_that_has_forgotten_us(unit: Unit) -> None:
    unit.put(3)
    unit.connection.come_up()
    assert unit.step() == [1, 2, 3]

    unit.connection.go_down()
    unit.put()
    assert unit.step() == []
    unit.connection.come_up()

    assert unit.step() == [1, 2, 3, 4]
    assert unit.step() == []


def test_what_a_broker_has_is_not_sent_again_after_each_lost_connection(unit: Unit) -> None:
    unit.put(10)
    unit.connection.come_up()
    assert len(unit.step()) == 10
    unit.connection.kept = True

    sent = []
    for _ in range(30):
        unit.connection.go_down()
        unit.step(1.0)
        unit.connection.come_up()
        sent += unit.step()

    # The oldest asks for the others, after 5 and 15 s.
    assert sent == [1, 1]
    unit.put(2)
    unit.confirm(1, 10)
    assert unit.step() == [11, 12]


def test_what_the_broker_had_not_acknowledged_is_sent_again_with_the_next_connection(
    unit: Unit,
) -> None:
    unit.put(4)
    unit.connection.come_up()
    unit.step()
    unit.connection.acknowledging = False
    unit.put(2)
    assert unit.step() == [5, 6]
    unit.connection.acknowledging = unit.connection.kept = True

    unit.connection.go_down()
    unit.step(1.0)
    unit.connection.come_up()

    assert unit.step() == [5, 6]
    assert unit.step() == []


def test_what_a_broker_lost_though_it_knows_us_is_sent_again(unit: Unit) -> None:
    unit.put(5)
    unit.connection.come_up()
    unit.step()
    unit.connection.kept = True
    unit.connection.go_down()
    unit.step(1.0)
    unit.connection.come_up()
    assert unit.step(0.1) == []
    unit.put()
    assert unit.step(0.1) == [6]

    unit.confirm(1, 1)
    unit.confirm(6, 6)
    assert unit.step(0.1) == []
    assert unit.step(4.8) == []
    assert unit.step(0.2) == [2, 3, 4, 5]


def test_a_confirmation_that_waited_for_us_over_a_restart_is_believed(tmp_path: Path) -> None:
    unit = Unit(tmp_path)
    unit.put(5)
    scans = unit.scans
    unit.outbox.close()

    unit = Unit(tmp_path)
    unit.scans = scans
    unit.connection.come_up()
    unit.confirm(1, 4)

    assert unit.step() == [5]
    assert unit.pending() == 1
    unit.outbox.close()


def test_silence_sends_only_the_oldest_again_and_ever_more_rarely(unit: Unit) -> None:
    unit.put(10)
    unit.connection.come_up()
    unit.step()

    sent_at = []
    for second in range(1, 1200):
        again = unit.step(1.0)
        assert again in ([], [1])
        if again:
            sent_at.append(second)

    waits = [b - a for a, b in pairwise(sent_at)]
    assert sent_at[0] == 5
    assert waits[:3] == [10, 20, 40]
    assert max(waits) == RESEND_MAX_S
    assert len(sent_at) < 20


def test_an_answer_makes_the_unit_patient_again(unit: Unit) -> None:
    unit.put(2)
    unit.connection.come_up()
    unit.step()
    for _ in range(60):
        unit.step(1.0)

    unit.confirm(1, 1)
    unit.step()

    assert unit.step(4.9) == []
    assert unit.step(0.2) == [2]


def test_a_scan_that_was_overtaken_is_sent_again_alone(unit: Unit) -> None:
    unit.put(2)
    unit.connection.come_up()
    unit.step()
    unit.clock.advance(1)
    unit.put(2)
    unit.step()
    unit.confirm(2, 4)
    assert unit.step() == []

    again = []
    for second in range(1, 45):
        unit.put()
        again += [(second, seq) for seq in unit.step(1.0) if seq != max(unit.scans)]
        unit.confirm(max(unit.scans), max(unit.scans))
        unit.step()

    # After 5 s, then after 10 and 20 more from when the next is confirmed before it.
    assert again == [(5, 1), (16, 1), (37, 1)]


def test_one_answer_to_silence_brings_all_that_was_lost_with_it(unit: Unit) -> None:
    unit.put(8)
    unit.connection.come_up()
    unit.step()
    assert unit.step(5.0) == [1]
    unit.confirm(1, 1)
    unit.step(0.5)

    assert unit.step(4.0) == []
    assert unit.step(1.0) == [2, 3, 4, 5, 6, 7, 8]


def test_a_centre_that_catches_up_is_not_sent_a_second_copy_of_what_waits_there(
    unit: Unit,
) -> None:
    unit.put(8)
    unit.connection.come_up()
    unit.step()
    # The oldest was asked for thrice; the copy that is confirmed now is the first of all.
    asked = [seq for _ in range(60) for seq in unit.step(1.0)]
    assert asked == [1, 1, 1]
    unit.confirm(1, 1)
    unit.step()

    assert unit.step(4.9) == []
    assert unit.step(0.2) == [2], "silence again, which costs one"
    unit.confirm(2, 8)
    unit.step()
    assert unit.pending() == 0


def test_a_lost_scan_is_sent_again_though_others_keep_being_confirmed(unit: Unit) -> None:
    unit.put(1)
    unit.connection.come_up()
    unit.step()
    again = []
    for _ in range(60):
        unit.clock.advance(1)
        unit.put()
        sent = unit.step()
        again += [seq for seq in sent if seq == 1]
        unit.confirm(max(unit.scans), max(unit.scans))
        unit.step()

    assert 2 <= len(again) <= 4


def test_confirmations_of_another_unit_under_our_name_are_not_believed(
    unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.confirm(1, 3, check=check_of(["f" * 32] * 3))
    unit.step()

    assert unit.pending() == 3
    assert "does another unit run as 'cong-1'" in caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"noise \xff",
        b'{"v":9}',
        Confirmed(epoch="f" * 16, ranges=(ConfirmedRange(1, 3, "0" * 16),)).encode(),
        b'{"v":1,"epoch":"EPOCH","ranges":[{"first":1,"last":9007199254740992,"check":"%s"}]}'
        % (b"0" * 16),
        b'{"v":1,"epoch":"EPOCH","ranges":[{"first":3,"last":1,"check":"%s"}]}'
        % check_of([]).encode(),
    ],
)
def test_a_confirmation_that_makes_no_sense_changes_nothing(unit: Unit, payload: bytes) -> None:
    unit.put(3)
    unit.connection.come_up()
    unit.step()

    unit.connection.deliver(CONFIRMED, payload.replace(b"EPOCH", unit.outbox.epoch.encode()))
    unit.step()

    assert unit.pending() == 3


def test_a_repeat_confirmed_together_with_new_ones_is_believed(unit: Unit) -> None:
    unit.put(4)
    unit.connection.come_up()
    unit.step()
    unit.confirm(1, 2)
    unit.step()

    unit.confirm(1, 4)
    unit.step()

    assert unit.pending() == 0


def test_a_scan_that_waits_long_is_still_known_when_it_is_confirmed(unit: Unit) -> None:
    unit.put(1)
    unit.connection.come_up()
    unit.step()
    for seq in range(2, 80):
        unit.put()
        unit.step()
        unit.confirm(seq, seq)
        unit.step()

    unit.confirm(1, 1)
    unit.step()

    assert unit.pending() == 0


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

    # As after a power cut: the folder is opened as it is, without a close.
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (tmp_path / "outbox").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with Outbox(copy, max_bytes=10**9, keep_free_bytes=0) as outbox:
        assert [scan.seq for scan in outbox.oldest(10)] == [3]


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


def test_what_is_sent_again_goes_several_to_a_message_and_one_alone_asks(unit: Unit) -> None:
    unit.put(10)
    unit.connection.come_up()
    unit.step()
    unit.connection.go_down()
    unit.step(1.0)
    unit.connection.come_up()
    unit.publisher.step(0)
    assert [len(message) for message in unit.messages()] == [10]

    unit.clock.advance(5.1)
    unit.publisher.step(0)
    assert [[scan.seq for scan in message] for message in unit.messages()] == [[1]]


def test_the_scans_of_a_message_that_was_lost_are_sent_again_together(tmp_path: Path) -> None:
    unit = Unit(tmp_path, window=100)
    unit.put(30)
    unit.connection.come_up()
    unit.step()
    unit.clock.advance(1)
    unit.put()
    unit.step()
    unit.confirm(20, 31)
    unit.step()

    unit.clock.advance(5.1)
    unit.publisher.step(0)

    assert [[scan.seq for scan in message] for message in unit.messages()] == [list(range(1, 20))]
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
