"""The live table: what is shown of a scan, and what never is."""

import io

from edge.demo.live import LiveTable
from edge.messages import Confirmed, ConfirmedRange, scans_message
from edge.mqtt import Received
from tests.fakes import a_health, a_scan, a_status


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def message(channel: str, payload: bytes) -> Received:
    return Received(f"edge/v1/demo/cong-1/{channel}", payload, False, 1, 1, 1)


def confirmed(first: int, last: int) -> Received:
    ranges = (ConfirmedRange(first, last, "0" * 16),)
    return message("confirmed", Confirmed(epoch="e" * 16, ranges=ranges).encode())


def test_a_scan_turns_from_sent_to_confirmed() -> None:
    out = io.StringIO()
    table = LiveTable(out)

    table.take(message("scan", a_scan(1).encode()))
    assert "08:30:00     cong-1         cho-1      vào / in" in out.getvalue()
    assert "sent" in out.getvalue()
    assert "confirmed" not in out.getvalue()
    table.take(confirmed(1, 1))

    assert "confirmed" in out.getvalue()
    assert table.confirmed() == 1


def test_scans_that_came_together_are_shown_each() -> None:
    out = io.StringIO()
    table = LiveTable(out)

    table.take(message("scan", scans_message([a_scan(seq).encode() for seq in (1, 2, 3)])))

    assert out.getvalue().count("sent") == 3


def test_a_repeat_is_shown_once() -> None:
    out = io.StringIO()
    table = LiveTable(out)
    scan = message("scan", a_scan(1).encode())

    table.take(scan)
    table.take(scan)
    table.take(confirmed(1, 1))
    table.take(confirmed(1, 1))

    assert out.getvalue().count("\n") == 3
    assert table.confirmed() == 1


def test_on_a_screen_the_line_itself_changes() -> None:
    out = Screen()
    table = LiveTable(out)
    table.take(message("scan", a_scan(1).encode()))
    table.take(message("scan", a_scan(2).encode()))
    table.take(confirmed(1, 1))

    assert "\x1b[2A" in out.getvalue()


def test_refusals_appear_by_kind_as_they_happen() -> None:
    out = io.StringIO()
    table = LiveTable(out)

    table.take(message("health", a_health(refused={"payment": 1}).encode()))
    table.take(message("health", a_health(refused={"payment": 1, "foreign": 2}).encode()))

    assert out.getvalue().count("payment (1)") == 1
    assert "foreign code (2)" in out.getvalue()


def test_nonsense_is_passed_over() -> None:
    table = LiveTable(io.StringIO())

    for payload in (b"", b"\xff", b'{"v":3}'):
        for channel in ("scan", "confirmed", "health"):
            table.take(message(channel, payload))
    table.take(Received("else", b"", False, 1, 1, 1))

    assert table.confirmed() == 0


def test_a_goodbye_is_one_that_is_said_now_and_not_one_that_the_broker_has_kept() -> None:
    table = LiveTable(io.StringIO())
    goodbye = message("status", a_status(state="stopped").encode())

    table.take(goodbye._replace(retain=True))
    assert not table.stopped
    table.take(goodbye)
    assert table.stopped
    table.take(message("status", a_status(state="online").encode()))
    assert not table.stopped
