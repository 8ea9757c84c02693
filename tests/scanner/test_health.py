"""What a unit says of itself."""

from dataclasses import replace

import pytest

from edge.scanner.eye import EyeState
from edge.scanner.health import HealthMeter
from edge.scanner.held import OutboxStatus
from tests.fakes import FakeClock

STATUS = OutboxStatus(
    epoch="e" * 16, next_seq=1, pending=0, bytes=0, oldest_seq=None, oldest_at=None, damaged=0
)


class FilledOutbox:
    """An outbox that is as full as the test says."""

    fill = 0.0

    def status(self) -> OutboxStatus:
        return replace(STATUS, fill=self.fill, hours_left=12.0)


def test_counts_and_decode_times_are_told() -> None:
    meter = HealthMeter(FilledOutbox(), FakeClock())  # type: ignore[arg-type]
    for ms in range(1, 101):
        meter.frame(float(ms))
    meter.accepted()
    meter.refused("payment")
    meter.refused("payment")
    meter.unread()
    meter.eye(EyeState("blurred", 101.5, 0.41))

    health = meter.health()

    assert (health.frames, health.accepted, health.refused) == (100, 1, {"payment": 2})
    assert (health.decode_ms_p50, health.decode_ms_p95) == (50.0, 95.0)
    assert health.unread == 1
    assert (health.eye, health.brightness, health.sharpness) == ("blurred", 101.5, 0.41)


def test_the_room_that_goes_is_said_at_70_and_90_percent_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox = FilledOutbox()
    meter = HealthMeter(outbox, FakeClock())  # type: ignore[arg-type]
    said = []
    for percent in (10, 69, 71, 72, 69, 71, 89, 91, 95, 89, 91, 50, 75):
        outbox.fill = percent / 100
        caplog.clear()
        meter.health()
        if caplog.records:
            said.append(percent)

    assert said == [71, 91, 75]
    assert "about 12 hours left" in caplog.text
