"""A unit's certificate, from none to the next: the scanner, the endpoint and Mosquitto as they are.

The unit is set up by a card. Its clock is not synchronised here, so that a certificate has ended is
something that the broker tells it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edge import topics
from edge.broker import BrokerSettings
from edge.certificates import facts, make_request
from edge.clock import SystemClock
from edge.demo.broker import free_port
from edge.messages import read_scans
from edge.mqtt import Connection
from edge.provision.cards import make_card, make_token
from edge.provision.deployment import Deployment, utc_now
from edge.provision.machines import enrolment_url, issuing_authority
from edge.scanner.identity import PRESENT
from edge.scanner.outbox import read_outbox
from edge.scanner.pending_enrolment import IDENTITY, PendingEnrolment, pend
from edge.scanner.setup import set_up
from tests.conftest import MOSQUITTO
from tests.end_to_end.parts import Program, beeps_in, invented_cards, write_frames
from tests.enrolment.endpoint import Endpoint
from tests.fakes import eventually
from tests.provision.broker import DeploymentBroker
from tests.provision.deployments import a_deployment

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="sudo apt install mosquitto")
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
            f"keep_free_mb = 1\n[basis]\nrequired = false\n[reading]\nreread_delay_s = 0\n"
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

        eventually(lambda: newest() > last, what, limit_s=60, turn=lambda: self.collector.step(0.1))

    def eventually_kept(self, number: int, what: str) -> None:
        """Wait until so many more scans are kept."""
        before = len(self.beeps())
        eventually(lambda: len(self.beeps()) >= before + number, what, limit_s=60)

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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()


def test_scans_are_kept_before_a_unit_has_a_certificate_and_sent_once_it_has(site: Site) -> None:
    site.scanner.start()
    site.eventually_kept(3, "it scans, though there is nobody to enrol at")
    assert not (site.identity / PRESENT).exists()
    pending = read_outbox(site.outbox).status().pending
    assert pending >= 3

    site.open_endpoint()
    site.eventually_sent("it has enrolled, and sends")

    assert {path.name for path in site.identity.iterdir()} == {PRESENT}
    # Beside the running scanner: who checks does not take its session.
    connected = site.log().count("connected to")
    found = site.check()
    assert found["certificate"][0]
    assert "730 days left" in found["certificate"][1]
    assert found["broker"] == (True, f"the running scanner is connected to 127.0.0.1:{site.port}")
    assert site.log().count("connected to") == connected

    # Killed while it renews, it has the one or the other, and sends.
    for _ in range(2):
        (site.identity / "rotate").touch()
        site.scanner.stop(signal.SIGKILL)
        site.scanner.start()
        site.eventually_sent("it sends after a kill")
    known = facts((site.identity / PRESENT).read_bytes())
    assert known.name == UNIT


def test_one_that_has_ended_stops_sending_and_never_scanning_until_there_is_a_new_token(
    site: Site,
) -> None:
    site.open_endpoint()
    site.scanner.start()
    site.eventually_sent("it sends")
    site.scanner.stop()
    ended = give_ended_certificate(site)

    site.scanner.start()
    site.eventually_kept(3, "it scans on")
    eventually(lambda: "EXPIRED" in site.log(), "the broker refuses it, and says why", limit_s=60)
    # Its light says so: it rests on another signal than "ready".
    eventually(lambda: b"Counts, but cannot send" in site.scanner.out.read_bytes(), "its light")
    found = site.check()
    assert not found["certificate"][0]
    assert "scans are kept" in found["certificate"][1]
    assert not found["broker"][0]
    assert (site.identity / PRESENT).read_bytes() == ended
    waiting = read_outbox(site.outbox).status().pending
    assert waiting >= 3

    unit = site.deployment.inventory.unit(UNIT)
    token = make_token(site.deployment, unit, utc_now())
    url = enrolment_url(site.deployment.settings)
    pend(PendingEnrolment(deployment="gia-lai", unit=UNIT, url=url, token=token), site.root)
    site.eventually_sent("it sends again, with a new certificate")
    assert (site.identity / PRESENT).read_bytes() != ended


def give_ended_certificate(site: Site) -> bytes:
    """Let the unit have one that ended a month ago, of the right authority."""
    request, key = make_request(UNIT)
    past = utc_now() - timedelta(days=60)
    issued = issuing_authority(site.deployment.folder).sign_request(request, UNIT, past, 30)
    (site.identity / PRESENT).write_bytes(key + issued.certificate)
    return key + issued.certificate


def test_a_unit_that_is_revoked_is_thrown_out_and_gets_no_other_certificate(site: Site) -> None:
    site.open_endpoint()
    site.scanner.start()
    site.eventually_sent("it sends")
    assert site.endpoint is not None

    command = [sys.executable, "-m", "edge.provision", "--config"]
    command += [str(site.deployment.folder / "provision.toml"), "revoke", UNIT]
    command += ["--issued", str(site.endpoint.ledger)]
    subprocess.run(command, check=True, capture_output=True)
    site.broker.reload()
    last = max(site.beeps())
    site.eventually_kept(5, "it scans on")
    # What the broker had taken before that may still come in.
    site.heard_until_now()
    assert max(site.heard(), default=0) <= last

    # Not even with a new key: its certificate is known, and so is its name.
    (site.identity / "rotate").touch()
    eventually(lambda: "was revoked" in site.log(), "the endpoint refuses it", limit_s=60)
    site.scanner.stop()
    site.scanner.start()
    eventually(lambda: "REVOKED" in site.log(), "the broker does not let it in", limit_s=60)
    site.eventually_kept(2, "it scans on")
