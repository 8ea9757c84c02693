"""A unit's end, ordered by the centre or by hand; collector, scanner and Mosquitto are real."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge import topics
from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.mqtt import Connection
from edge.scanner.identity import PRESENT
from edge.scanner.outbox import read_outbox
from edge.storage.storage import Storage
from tests.conftest import MOSQUITTO
from tests.end_to_end.parts import Program
from tests.end_to_end.site import UNIT, Site
from tests.fakes import eventually

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="sudo apt install mosquitto")


class Centre(Site):
    """A site with a real collector, and one that looks at what the broker keeps."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.office = self.deployment.folder / "collector"
        self.storage = folder / "storage.db"
        drop_in = self.office / "collector.d"
        drop_in.mkdir()
        (drop_in / "here.toml").write_text(
            f'[storage]\nurl = "{self.storage}"\n'
            f'[retention]\nerase = false\nreceipts_file = "{folder}/erased.jsonl"\n'
        )
        self.collecting = Program("collector", folder, self.command("collector"))
        self.collecting.start()

    def command(self, role: str, *words: str) -> list[str]:
        path = self.settings if role == "scanner" else self.office / "collector.toml"
        return [sys.executable, "-m", f"edge.{role}", "--config", str(path), *words]

    def commanded(self, action: str) -> dict[str, Any]:
        """What became of a command."""
        words = self.command("collector", "command", action, UNIT, "--json")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        return answer

    def state(self) -> str:
        """How the office sees the unit."""
        storage = Storage(self.storage)
        try:
            return next((row.state for row in storage.units() if row.unit == UNIT), "")
        finally:
            storage.close()

    def kept_by_the_broker(self) -> list[str]:
        """The topics that it keeps, as whoever connects hears."""
        self.collecting.stop()
        settings = BrokerSettings(
            url=f"mqtts://127.0.0.1:{self.port}",
            ca_file="authority.pem",
            certificate_file="collector.pem",
            key_file="collector.key",
        )
        channels = [topics.every_unit("+", channel) for channel in topics.TO_CENTRE]
        looking = Connection(
            settings, self.office, "collector", SystemClock(), subscriptions=channels
        )
        mark = topics.topic("pleiku", "nobody", "confirmed")
        try:
            eventually(lambda: looking.connected, "connected", turn=lambda: looking.step(0.1))
            looking.publish(mark, b"{}")
            eventually(lambda: not looking.in_flight, "answered", turn=lambda: looking.step(0.1))
            return [message.topic for message in looking.take() if message.retain]
        finally:
            looking.close()

    def stop(self) -> None:
        if self.collecting.ended() is None:
            self.collecting.stop(signal.SIGKILL)
        super().stop()


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(tmp_path)
    try:
        made.open_endpoint()
        made.scanner.start()
        eventually(made.beeps, "it scans", limit_s=180)
        yield made
    finally:
        made.stop()


def test_a_unit_is_retired_by_its_centre_when_nothing_waits_and_the_office_sees_it(
    centre: Centre,
) -> None:
    eventually(lambda: centre.storage.exists() and centre.state() == "online", "there", limit_s=180)
    before = (centre.identity / PRESENT).read_bytes()
    assert centre.commanded("rotate_keys")["state"] == "successful"
    eventually(lambda: (centre.identity / PRESENT).read_bytes() != before, "a new key", limit_s=180)

    # While people pass there is always a scan that waits; so it is paused first.
    assert centre.commanded("pause")["state"] == "successful"
    eventually(lambda: not read_outbox(centre.outbox).status().pending, "confirmed", limit_s=180)
    answer = centre.commanded("retire")

    assert answer["state"] == "successful", answer
    assert answer["detail"].startswith("retired")
    # From here on root does it; systemd would stop the scanner first.
    eventually((centre.run / "retire").exists, "it asks root")
    beeps = len(centre.beeps())
    assert centre.scanner.stop() == 0
    assert len(centre.beeps()) == beeps
    subprocess.run(centre.command("scanner", "retire"), check=True, capture_output=True)
    assert not list(centre.identity.iterdir())
    assert not centre.outbox.exists()
    assert not centre.settings.exists()
    assert centre.state() == "retired"
    assert centre.kept_by_the_broker() == []

    config = str(centre.deployment.folder / "provision.toml")
    office = [sys.executable, "-m", "edge.provision", "--config", config]
    assert centre.endpoint is not None
    subprocess.run(
        [*office, "retire", UNIT, "--issued", str(centre.endpoint.ledger)],
        check=True,
        capture_output=True,
    )
    listed = subprocess.check_output([*office, "unit", "list"], text=True)
    assert listed.split()[-1] == "retired"
    assert len(centre.deployment.inventory.unit(UNIT).certificates) == 2


def test_a_unit_that_is_wiped_by_hand_is_forgotten_by_the_broker_too(centre: Centre) -> None:
    eventually(lambda: centre.storage.exists() and centre.state() == "online", "there", limit_s=180)
    assert centre.scanner.stop() == 0
    eventually(lambda: centre.state() == "stopped", "it said goodbye")

    done = subprocess.run(
        centre.command("scanner", "wipe", UNIT, "--lose-scans"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RUNTIME_DIRECTORY": str(centre.run)},
    )

    assert done.returncode == 0, done.stderr
    assert not centre.settings.exists()
    assert centre.kept_by_the_broker() == []
