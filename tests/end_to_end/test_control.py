"""Commands and desired settings, from the centre's command line to real units and back."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.demo.broker import NatsBroker
from edge.sealing import make_key_pair
from tests.end_to_end.parts import (
    Service,
    beeps_in,
    collector_settings,
    invented_cards,
    scanner_settings,
    write_frames,
)
from tests.fakes import eventually


class Kept:
    """A service that is started again whenever it ends, as systemd does."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.starts = 0
        self.ends: list[int] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self.service.start()
            self.starts += 1
            while not self._stopping.wait(0.1) and self.service.ended() is None:
                pass
            if (code := self.service.ended()) is not None:
                self.ends.append(code)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        if self.service.ended() is None:
            self.service.stop(signal.SIGKILL)


class Fleet:
    """A broker, a collector, and two units that see one card after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = NatsBroker(folder / "broker")
        frames = write_frames(folder / "frames", invented_cards(20))
        settings = collector_settings(self.broker.url, folder / "storage.db")
        self.collector = Service("collector", folder, settings)
        self.collector.start()
        self.units = {name: self._unit(name, frames) for name in ("cong-1", "cong-2")}

    def _unit(self, name: str, frames: Path) -> Kept:
        folder = self.folder / name
        folder.mkdir()
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        settings = scanner_settings(
            self.broker.url, frames, folder / "outbox", unit=name, frame_rate=15
        )
        return Kept(Service("scanner", folder, settings))

    def centre(self, *words: str) -> list[dict[str, Any]]:
        """`edge-collector` with *words*; the JSON lines that it printed."""
        return [json.loads(line) for line in self.said(*words).splitlines()]

    def said(self, *words: str) -> str:
        """What `edge-collector` with *words* printed."""
        config = ("--config", str(self.folder / "collector.toml"))
        done = subprocess.run(
            [sys.executable, "-m", "edge.collector", *config, *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not done.stderr.startswith("error"), done.stderr
        return done.stdout

    def command(self, action: str, unit: str) -> dict[str, Any]:
        (row,) = self.centre("command", action, unit, "--by", "lan", "--wait", "60", "--json")
        return row

    def config(self, unit: str) -> dict[str, Any]:
        return next(row for row in self.centre("desired", "--json") if row["unit"] == unit)

    def beeps(self, unit: str) -> int:
        return len(beeps_in(self.units[unit].service.out))

    def stop(self) -> None:
        for kept in self.units.values():
            kept.stop()
        self.collector.stop(signal.SIGKILL)
        self.broker.stop()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    try:
        storage = tmp_path / "storage.db"
        eventually(storage.exists, "the collector has its storage", limit_s=90)
        eventually(
            lambda: len(fleet.centre("desired", "--json")) == 2, "both units are known", limit_s=90
        )
        yield fleet
    finally:
        fleet.stop()


def scans_go_on(fleet: Fleet, unit: str) -> None:
    before = fleet.beeps(unit)
    eventually(lambda: fleet.beeps(unit) > before, f"{unit} goes on scanning", limit_s=60)


def test_units_do_what_they_are_told_once_and_it_is_on_record(fleet: Fleet) -> None:
    scans_go_on(fleet, "cong-1")
    assert fleet.command("identify", "cong-1")["state"] == "successful"
    assert "Đây là máy" in fleet.units["cong-1"].service.out.read_text()

    test = fleet.command("self_test", "cong-1")
    parts = {part["part"]: part["ok"] for part in map(json.loads, test["detail"].splitlines())}
    assert parts["camera"] is True
    facts = json.loads(fleet.command("diagnostics", "cong-1")["detail"])
    assert facts["settings"]["camera"]["frame_rate"] == 15.0
    assert "file" not in json.dumps(facts["settings"])

    assert fleet.command("pause", "cong-1")["state"] == "successful"
    eventually(lambda: "tạm dừng" in fleet.units["cong-1"].service.out.read_text(), "it pauses")
    assert fleet.command("restart", "cong-1")["state"] == "successful"
    assert fleet.units["cong-1"].starts == 2
    # Still paused: what is in view is not counted.
    assert "paused" not in fleet.units["cong-2"].service.out.read_text()
    before = fleet.beeps("cong-1")
    scans_go_on(fleet, "cong-2")
    assert fleet.beeps("cong-1") == before
    assert fleet.command("resume", "cong-1")["state"] == "successful"
    scans_go_on(fleet, "cong-1")

    failed = fleet.command("reboot", "cong-1")
    assert (failed["state"], "edge-reboot.path" in failed["reason"]) == ("failed", True)
    record = fleet.said("command")
    assert record.count("  lan  cong-1  ") == 7


def test_settings_that_cost_the_camera_or_the_broker_are_taken_back_within_two_minutes(
    fleet: Fleet,
) -> None:
    fleet.centre("desired", "all", "reading.budget_ms=20")

    def all_have_it() -> bool:
        return all(row["state"] == "successful" for row in fleet.centre("desired", "--json"))

    eventually(all_have_it, "all run by it", limit_s=90, turn=lambda: time.sleep(0.5))
    good = fleet.config("cong-1")["running"]

    began = time.monotonic()
    fleet.centre("desired", "unit:cong-1", "camera.source=webcam:9")
    fleet.centre("desired", "unit:cong-2", "broker.url=mqtt://127.0.0.1:9")

    def all_took_it_back() -> bool:
        return all(row["state"] == "failed" for row in fleet.centre("desired", "--json"))

    # Two minutes and no more on a unit; this machine may be busy with other tests.
    eventually(all_took_it_back, "taken back", limit_s=240, turn=lambda: time.sleep(1.0))

    camera, broker = fleet.config("cong-1"), fleet.config("cong-2")
    assert camera["reason"].startswith("taken back"), camera
    assert broker["reason"].startswith("taken back"), broker
    assert camera["running"] == broker["running"] == good
    for unit in fleet.units:
        scans_go_on(fleet, unit)
    print(f"\ntaken back after {time.monotonic() - began:.0f} s")
