"""A deployment with real parts, and a unit that its card has set up: for tests of its keys."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from edge import topics
from edge.broker import BrokerSettings
from edge.clock import SystemClock
from edge.demo.broker import free_port
from edge.messages import read_scans
from edge.mqtt import Connection
from edge.provision.cards import make_card
from edge.provision.deployment import Deployment, utc_now
from edge.scanner.pending_enrolment import IDENTITY
from edge.scanner.setup import set_up
from tests.end_to_end.parts import Program, beeps_in, invented_cards, write_frames
from tests.enrolment.endpoint import Endpoint
from tests.fakes import eventually
from tests.provision.broker import DeploymentBroker
from tests.provision.deployments import a_deployment

UNIT = "cho-1-a"


class Site:
    """A deployment, its broker, its endpoint, and a unit that its card has set up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deployment = a_deployment(
            folder / "gia-lai",
            UNIT,
            port=free_port(),
            broker_folder=str(folder / "gia-lai/broker"),
            enrolment_port=free_port(),
        )
        self.broker = DeploymentBroker(self.deployment, folder)
        self.endpoint: Endpoint | None = None
        self.root = folder / "unit"
        self.identity = self.root / IDENTITY
        self.outbox = self.root / "var/lib/edge/outbox"
        self.run = folder / "run"
        self.run.mkdir()
        self.take_card()
        frames = write_frames(folder / "frames", invented_cards(20))
        here = self.root / "etc/edge/scanner.d"
        here.mkdir()
        (here / "here.toml").write_text(
            f'[camera]\nsource = "{frames}"\nrepeat = true\nframe_rate = 10\n'
            f'[indicator]\nkind = "terminal"\n[outbox]\nfolder = "{self.outbox}"\n'
            "keep_free_mb = 1\nin_memory = true\n[basis]\nrequired = false\n"
            "[reading]\nreread_delay_s = 0\n"
            f'[enrolment]\nfolder = "{self.identity}"\n'
            f'[carry]\nsticks = "{folder}/sticks/*"\nkey_file = "{self.root}/carry.key"\n'
        )
        self.settings = self.root / "etc/edge/scanner.toml"
        command = [sys.executable, "-m", "edge.scanner", "--config", str(self.settings)]
        here_runs = {"RUNTIME_DIRECTORY": str(self.run)}
        self.scanner = Program("scanner", folder, command, environment=here_runs)
        self.collector = self._collector(self.deployment)

    @property
    def port(self) -> int:
        """The broker's."""
        return self.deployment.settings.broker.port

    def take_card(self) -> None:
        """What the start of the machine does with a card."""
        boot = self.folder / "boot"
        (boot / "edge-scanner").mkdir(parents=True, exist_ok=True)
        card = make_card(self.deployment, UNIT, utc_now())
        (boot / "edge-scanner/card.toml").write_bytes(card)
        done = set_up(boot, self.root)
        assert done is not None
        assert done.applied, done.text

    def open_endpoint(self) -> None:
        port = self.deployment.settings.enrolment.port
        self.endpoint = Endpoint(self.deployment, self.folder, port=port)

    def _collector(self, deployment: Deployment) -> Connection:
        settings = BrokerSettings(
            url=f"mqtts://127.0.0.1:{deployment.settings.broker.port}",
            ca_file="authority.pem",
            certificate_file="collector.pem",
            key_file="collector.key",
        )
        channels = [topics.every_unit("+", "scan")]
        folder = deployment.folder / "collector"
        return Connection(settings, folder, "collector", SystemClock(), subscriptions=channels)

    def heard(self) -> list[int]:
        """The numbers of the scans that the collector has heard since the last time."""
        return [scan.seq for one in self.collector.take() for scan in read_scans(one.payload)[0]]

    def heard_until_now(self) -> None:
        """Take in what the broker had for the collector when this was called."""
        session = self.collector.session
        self.collector.publish(topics.topic("pleiku", UNIT, "confirmed"), b"{}")
        eventually(
            lambda: not self.collector.in_flight,
            "the broker answers",
            turn=lambda: self.collector.step(0.1),
        )
        assert self.collector.session == session

    def eventually_sent(self, what: str) -> None:
        """Wait until a scan comes in that was kept from now on."""
        self.collector.step(0)
        self.collector.take()
        last = max(self.beeps(), default=0)

        def newest() -> int:
            return max(self.heard(), default=0)

        eventually(
            lambda: newest() > last, what, limit_s=180, turn=lambda: self.collector.step(0.1)
        )

    def eventually_kept(self, number: int, what: str) -> None:
        """Wait until so many more scans are kept."""
        before = len(self.beeps())
        eventually(lambda: len(self.beeps()) >= before + number, what, limit_s=180)

    def beeps(self) -> list[int]:
        return beeps_in(self.scanner.out)

    def log(self) -> str:
        return self.scanner.log.read_text()

    def check(self) -> dict[str, tuple[bool, str]]:
        """What `edge-scanner check` says of certificate and broker, beside the running scanner."""
        command = [sys.executable, "-m", "edge.scanner", "--config", str(self.settings)]
        done = subprocess.run(
            [*command, "check", "--json"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "RUNTIME_DIRECTORY": str(self.run)},
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line["part"]: (line["ok"], line["text"]) for line in lines}

    def stop(self) -> None:
        if self.scanner.ended() is None:
            self.scanner.stop(signal.SIGKILL)
        if self.endpoint is not None:
            self.endpoint.stop()
        self.collector.close()
        self.broker.stop()
