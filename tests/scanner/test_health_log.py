"""Health messages of a time without connection."""

from pathlib import Path

from edge.scanner.health_log import HealthLog
from tests.fakes import a_health


def test_they_come_back_oldest_first_marked_late_after_a_restart(tmp_path: Path) -> None:
    log = HealthLog(tmp_path / "health.jsonl")
    for frames in range(5):
        log.put(a_health(frames=frames))

    again = HealthLog(tmp_path / "health.jsonl")

    assert [health.frames for health in again.oldest(3)] == [0, 1, 2]
    assert all(health.late for health in again.oldest(5))
    again.forget(3)
    assert [health.frames for health in HealthLog(tmp_path / "health.jsonl").oldest(9)] == [3, 4]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    log = HealthLog(tmp_path / "health.jsonl", keep=10)
    for frames in range(1000):
        log.put(a_health(frames=frames))

    assert [health.frames for health in log.oldest(100)] == list(range(990, 1000))
    assert len((tmp_path / "health.jsonl").read_bytes().splitlines()) == 10


def test_a_spoilt_line_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "health.jsonl"
    log = HealthLog(path)
    for frames in range(3):
        log.put(a_health(frames=frames))
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], lines[1][:40] + b"\xff", lines[2]]))

    assert [health.frames for health in HealthLog(path).oldest(9)] == [0, 2]


def test_when_all_are_sent_nothing_is_left(tmp_path: Path) -> None:
    log = HealthLog(tmp_path / "health.jsonl")
    log.put(a_health())
    log.forget(1)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    log = HealthLog(tmp_path / "gone" / "health.jsonl")
    log.put(a_health())

    assert len(log.oldest(9)) == 1
