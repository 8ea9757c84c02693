"""From a set-up code before the camera to a confirmed row, over mTLS, all on the real processes.

Mosquitto as edge-provision configures it, edge-enrol, edge-collector with the folder that was made
for it, and a unit that is none yet. See unset_unit.py for what is not real.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge.certificates import facts
from edge.demo.broker import free_port
from edge.scanner.identity import PRESENT
from edge.scanner.outbox import read_outbox
from edge.scanner.pending_enrolment import IDENTITY
from tests.conftest import MOSQUITTO
from tests.end_to_end.parts import Program, beeps_in, invented_cards
from tests.end_to_end.unset_unit import LIMIT_S, UNIT, Unit, picture, rows
from tests.enrolment.endpoint import Endpoint
from tests.fakes import eventually
from tests.provision.broker import DeploymentBroker
from tests.provision.deployments import a_deployment

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="sudo apt install mosquitto")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_set_up_code_makes_a_unit_whose_scans_become_confirmed_rows(
    tmp_path: Path, stack: ExitStack
) -> None:
    deployment = a_deployment(
        tmp_path / "gia-lai",
        UNIT,
        port=free_port(),
        broker_folder=str(tmp_path / "gia-lai/broker"),
        enrolment_port=free_port(),
    )
    broker = DeploymentBroker(deployment, tmp_path)
    stack.callback(broker.stop)
    endpoint = Endpoint(deployment, tmp_path, port=deployment.settings.enrolment.port)
    stack.callback(endpoint.kill)
    identity, storage = tmp_path / "root" / IDENTITY, tmp_path / "storage.db"
    centre = deployment.folder / "collector"
    (centre / "collector.d").mkdir()
    (centre / "collector.d/here.toml").write_text(
        f'[storage]\nurl = "{storage}"\n[retention]\nerase = false\n'
    )
    settings = ["--config", str(centre / "collector.toml")]
    collector = Program("collector", tmp_path, [sys.executable, "-m", "edge.collector", *settings])
    collector.start()
    stack.callback(lambda: collector.stop(signal.SIGKILL))
    unit = Unit(tmp_path, deployment, f'[enrolment]\nfolder = "{identity}"\n')
    stack.callback(lambda: unit.scanner.stop(signal.SIGKILL))

    # The same card for forty, then its own code, then people.
    unit.provision("card", str(unit.boot), "--batch", "lo-1", "--no-packages")
    code = unit.code("--batch", "lo-1")
    people = [
        picture(tmp_path / "pictures", f"person-{at}", card.encode())
        for at, card in enumerate(invented_cards(3, first=8000))
    ]
    unit.show(code, *people)
    assert unit.setup() == 0
    unit.scanner.start()
    unit.until("Đã cài đặt xong", "(seq 3)")
    eventually(lambda: len(rows(storage)) >= 3, "rows", limit_s=LIMIT_S, turn=unit.systemd)

    # It has made its key itself, and the endpoint has certified it.
    assert facts((identity / PRESENT).read_bytes()).name == UNIT
    # All that it beeped for becomes a row, and once it knows that, it forgets.
    unit.show(code)
    assert unit.scanner.stop() == 0
    beeps = beeps_in(unit.scanner.out)
    unit.scanner.start()
    eventually(
        lambda: read_outbox(tmp_path / "outbox").status().pending == 0,
        "confirmed",
        limit_s=LIMIT_S,
        turn=unit.systemd,
    )
    assert sorted(set(beeps)) == list(range(1, max(beeps) + 1))
    assert rows(storage) == [(UNIT, "cho-1")] * max(beeps)
