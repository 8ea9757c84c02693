"""What was sent is sent again until it is confirmed, and no more often than it must be."""

from itertools import pairwise
from pathlib import Path

from edge.scanner.window import RESEND_MAX_S
from tests.scanner.publishing import Unit


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


def test_a_question_that_the_budget_does_not_allow_yet_is_asked_as_soon_as_it_does(
    tmp_path: Path,
) -> None:
    unit = Unit(tmp_path, window=40, budget_kb_s=0.1)
    unit.put(1)
    unit.connection.come_up()
    assert unit.step() == [1]
    # It has cost some seconds' worth.
    assert unit.step(5.0) == []

    again = [unit.step(1.0) for _ in range(7)]

    assert again.count([1]) == 1
    assert again.count([]) == 6
    unit.outbox.close()


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
