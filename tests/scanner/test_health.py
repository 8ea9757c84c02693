"""What a unit says of itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.messages import Health, Machine
from edge.scanner.eye import EyeState
from edge.scanner.health import TOLD_S, HealthMeter
from edge.scanner.held import OutboxStatus
from tests.fakes import FakeClock, a_ladder, a_meter

STATUS = OutboxStatus(
    epoch="e" * 16, next_seq=1, pending=0, bytes=0, oldest_seq=None, oldest_at=None, damaged=0
)


class FilledOutbox:
    """An outbox that is as full as the test says."""

    fill = 0.0

    def status(self) -> OutboxStatus:
        return replace(STATUS, fill=self.fill, hours_left=12.0)


def test_counts_and_decode_times_are_told() -> None:
    meter = a_meter(FilledOutbox(), FakeClock())  # type: ignore[arg-type]
    for ms in range(1, 101):
        meter.frame(float(ms))
    meter.accepted(0.25)
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
    meter = a_meter(outbox, FakeClock())  # type: ignore[arg-type]
    said = []
    for percent in (10, 69, 71, 72, 69, 71, 89, 91, 95, 89, 91, 50, 75):
        outbox.fill = percent / 100
        caplog.clear()
        meter.health()
        if caplog.records:
            said.append(percent)

    assert said == [71, 91, 75]
    assert "about 12 hours left" in caplog.text


def test_the_age_and_the_rate_of_frames_are_told() -> None:
    clock = FakeClock()
    meter = a_meter(FilledOutbox(), clock)  # type: ignore[arg-type]
    assert (meter.health().frame_age_s, meter.health().frame_rate) == (None, None)

    for _ in range(31):
        meter.frame(1.0)
        clock.advance(1 / 15)
    clock.advance(2)

    health = meter.health()
    assert health.frame_rate == pytest.approx(15, abs=0.01)
    assert health.frame_age_s == pytest.approx(2 + 1 / 15, abs=0.001)


def test_what_changes_is_said_at_once_and_what_stays_is_not() -> None:
    clock = FakeClock()
    machines = [Machine(under_voltage=False)]
    ladder = a_ladder(Path("/nowhere"), clock)
    meter = HealthMeter(
        FilledOutbox(),  # type: ignore[arg-type]
        clock,
        ladder,
        software="0.1.0",
        machine=lambda: machines[-1],
    )

    def told() -> bool:
        clock.advance(5)
        return meter.changed()

    assert [told(), told()] == [False, False]
    machines.append(Machine(under_voltage=True))
    assert [told(), told()] == [True, False]
    machines.append(Machine(under_voltage=True, disk_total_bytes=100, disk_free_bytes=4))
    assert [told(), told()] == [True, False]
    # Numbers that move all the time are for the message of each minute.
    machines.append(Machine(under_voltage=True, disk_total_bytes=100, disk_free_bytes=3, load=2.0))
    assert told() is False
    ladder.fault("no frame")
    assert told() is True


@pytest.mark.parametrize(
    "changed",
    [
        # The sun on a closed box; the bus has left the depot's network, and so on.
        {"throttled": True},
        {"network": "mobile"},
        {"network": "none"},
        {"memory_free_bytes": 4},
    ],
)
def test_what_the_field_does_to_a_machine_is_said_at_once(changed: dict[str, Any]) -> None:
    clock = FakeClock()
    well: dict[str, Any] = {
        "throttled": False,
        "network": "wifi",
        "memory_total_bytes": 100,
        "memory_free_bytes": 50,
    }
    machine = [Machine(**well)]
    meter = HealthMeter(
        FilledOutbox(),  # type: ignore[arg-type]
        clock,
        a_ladder(Path("/nowhere"), clock),
        software="0.1.0",
        machine=lambda: machine[0],
    )
    clock.advance(5)
    assert meter.changed() is False

    machine[0] = Machine(**(well | changed))
    clock.advance(5)

    assert meter.changed() is True


def test_the_machine_the_software_and_the_reason_of_the_start_are_told(tmp_path: Path) -> None:
    clock = FakeClock()
    a_ladder(tmp_path, clock)
    clock.boot_again("c" * 32)
    meter = HealthMeter(
        FilledOutbox(),  # type: ignore[arg-type]
        clock,
        a_ladder(tmp_path, clock),
        software="0.2.0",
        machine=lambda: Machine(temperature_c=61.5),
        certificate_ends=lambda: "2027-01-01T00:00:00.000Z",
    )

    health = Health.decode(meter.health().encode())

    assert health.machine.temperature_c == 61.5
    assert (health.software, health.started_after, health.repair) == ("0.2.0", "power", "none")
    assert health.certificate_ends == "2027-01-01T00:00:00.000Z"


def test_a_camera_that_has_stopped_has_no_rate_of_frames() -> None:
    clock = FakeClock()
    meter = a_meter(FilledOutbox(), clock)  # type: ignore[arg-type]
    for _ in range(31):
        meter.frame(1.0)
        clock.advance(1 / 15)

    clock.advance(60)

    assert meter.health().frame_rate == 0.0
    meter.seen()
    # While nothing may be collected, frames come and nobody looks at them.
    assert (meter.health().frame_age_s, meter.health().frames) == (0.0, 31)


def test_what_comes_and_goes_is_said_at_once_only_now_and_then() -> None:
    clock = FakeClock()
    weak = [False]
    meter = HealthMeter(
        FilledOutbox(),  # type: ignore[arg-type]
        clock,
        a_ladder(Path("/nowhere"), clock),
        software="0.1.0",
        machine=lambda: Machine(under_voltage=weak[0]),
    )
    told = 0
    for _ in range(720):
        clock.advance(5)
        weak[0] = not weak[0]
        told += meter.changed()

    assert 2 <= told <= 2 * 3600 / TOLD_S
