"""The collector's numbers for Prometheus: whole, current, and never in its way."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.collector.metrics import EVERY_S, MetricsFile
from tests.fakes import FakeClock, FakeConnection


@dataclass
class Done:
    batches: int = 0
    stored: int = 0
    repeats: int = 0
    set_aside: int = 0
    storing_s: float = 0.0
    longest_s: float = 0.0
    in_hand: int = 0
    youngest_s: float = 0.0
    unconfirmed: int = 0


def values(path: Path) -> dict[str, float]:
    lines = path.read_text().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}


def test_the_file_says_what_was_done_and_when_last(tmp_path: Path) -> None:
    clock, done, connection = FakeClock(), Done(), FakeConnection()
    path = tmp_path / "edge.prom"
    held_back = True
    metrics = MetricsFile(path, done, connection, clock, held_back=lambda: held_back)
    metrics.step()
    assert values(path)["edge_collector_connected"] == 0
    assert values(path)["edge_collector_erasing_held_back"] == 1
    assert values(path)["edge_collector_last_batch_timestamp_seconds"] == 0

    connection.come_up()
    done.batches, done.stored, done.repeats, done.set_aside = 2, 500, 3, 1
    done.storing_s, done.longest_s, done.in_hand, done.youngest_s = 0.5, 0.4, 7, 61.0
    clock.advance(1)
    metrics.step()
    assert values(path)["edge_collector_stored_total"] == 0, "not yet due"
    clock.advance(EVERY_S)
    held_back = False
    metrics.step()

    found = values(path)
    assert found["edge_collector_erasing_held_back"] == 0
    assert found["edge_collector_connected"] == 1
    assert found["edge_collector_stored_total"] == 500
    assert found["edge_collector_repeats_total"] == 3
    assert found["edge_collector_set_aside_total"] == 1
    assert found["edge_collector_storing_seconds_total"] == 0.5
    assert found["edge_collector_longest_batch_seconds"] == 0.4
    assert found["edge_collector_in_hand"] == 7
    assert found["edge_collector_youngest_scan_age_seconds"] == 61
    assert done.longest_s == 0, "the next file tells of the next 15 s"
    assert found["edge_collector_last_batch_timestamp_seconds"] == 1_625_189_400 + 1001
    assert [entry.name for entry in tmp_path.iterdir()] == ["edge.prom"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = MetricsFile(tmp_path / "none" / "edge.prom", Done(), FakeConnection(), FakeClock())

    metrics.step()

    assert "cannot write the metrics" in caplog.text
