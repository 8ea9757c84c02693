"""What a unit asks of its broker."""

from pathlib import Path

from edge import config
from edge.clock import SystemClock
from edge.demo.broker import QUEUE, NatsBroker, ask_nats
from edge.messages import MAX_PACKET_BYTES
from edge.scanner.credentials import Credentials
from edge.scanner.scanning import connect
from edge.scanner.settings import ScannerSettings
from tests.connections import until_connected
from tests.end_to_end.parts import scanner_settings
from tests.fakes import LIMIT_S


def test_a_server_makes_no_queue_for_a_unit_and_remembers_it_all_the_same(
    nats: NatsBroker, tmp_path: Path
) -> None:
    toml = tmp_path / "scanner.toml"
    toml.write_text(scanner_settings(nats.url, tmp_path / "frames", tmp_path / "outbox"))
    settings, clock = config.load(toml, ScannerSettings), SystemClock()
    unit = connect(settings, tmp_path, Credentials(settings, tmp_path, clock), clock)
    until_connected(unit)

    state = ask_nats(nats._client_port, f"STREAM.INFO.{QUEUE}", {})["state"]

    # At QoS 1 there would be one on disk for each of four subscriptions, of each unit.
    assert state["consumer_count"] == 0
    unit._drop()
    unit._reconnecting.at_once()
    until_connected(unit)
    assert unit.kept
    assert unit._most_received_bytes == MAX_PACKET_BYTES
    unit.disconnect(LIMIT_S)
    unit.close()
