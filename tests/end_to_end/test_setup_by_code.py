"""From a batch card to a counting gate by codes alone, on the real processes.

See unset_unit.py for what is not real. The whole way, with certificates: test_whole_way.py.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import config
from edge.demo.broker import NatsBroker
from edge.provision.__main__ import main
from edge.provision.deployment import Deployment
from edge.scanner.settings import ScannerSettings
from edge.sealing import Signer
from edge.setup_code import write_setup_code
from tests.end_to_end.parts import Program, collector_settings, invented_cards
from tests.end_to_end.unset_unit import LIMIT_S, UNIT, Unit, picture, rows
from tests.fakes import eventually
from tests.provision.deployments import a_deployment
from tests.setup_codes import a_code


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = a_deployment(tmp_path / "gia-lai", UNIT)
    settings = str(made.folder / "provision.toml")
    place = ["place", "add", "cho-2", "--name", "Chợ Mẫu Hai", "--kind", "market"]
    assert main([*place, "--config", settings]) == 0
    return made


@pytest.fixture
def unit(tmp_path: Path, deployment: Deployment) -> Iterator[Unit]:
    broker = NatsBroker(tmp_path / "broker")
    plain = (
        f'[broker]\nurl = "{broker.url}"\n' + 'ca_file = ""\ncertificate_file = ""\nkey_file = ""\n'
    )
    unit = Unit(tmp_path, deployment, plain)
    try:
        yield unit
    finally:
        if unit.scanner.ended() is None:
            unit.scanner.stop()
        broker.stop()


def test_from_a_batch_card_to_a_counting_gate_and_on_to_another_door(
    unit: Unit, tmp_path: Path, deployment: Deployment
) -> None:
    pictures = tmp_path / "pictures"
    person, other = (
        picture(pictures, f"person-{at}", card.encode())
        for at, card in enumerate(invented_cards(2, first=7000))
    )
    foreign = picture(pictures, "foreign", write_setup_code(a_code(), Signer(b"z" * 32)).encode())
    wifi = picture(pictures, "wifi", b"WIFI:S:mau;T:WPA;P:mat khau 1;;")

    # 1: a card, the same for forty. 2: the code, on a telephone. 3: plugged in, and shown the code.
    unit.provision("card", str(unit.boot), "--batch", "lo-1", "--no-packages")
    mine = unit.code("--batch", "lo-1")
    unit.show(foreign, person, wifi, mine, person)
    assert unit.setup() == 0
    unit.scanner.start()
    unit.until("Đang chờ mã cài đặt", "not of this unit's deployment", "Đã cài đặt xong", "(seq 1)")

    assert unit.who() == (UNIT, "cho-1", "in")
    # Nobody was counted before, and from then on nothing but people is.
    first = unit.out().index("(seq 1)")
    assert unit.out().index("Đã cài đặt xong") < first
    unit.until("refused: setup_code", "refused: foreign")
    assert "ĐÃ CÀI ĐẶT XONG" in (unit.boot / "edge-scanner/result.txt").read_text()

    # Another door, while scans wait: the office changes its inventory, and sends the next code.
    unit.provision("unit", "change", UNIT, "--place", "cho-2", "--direction", "out")
    moved = unit.code()
    assert unit.scanner.stop() == 0
    before = unit.places()
    assert before
    assert set(before) == {"cho-1"}
    unit.pins(True)
    unit.show(moved, mine, foreign, other)
    unit.scanner.start()
    # Without a thumb on the button it is a code like any other.
    unit.until("refused: setup_code")
    eventually(
        lambda: len(unit.places()) > len(before),
        "people are counted",
        limit_s=LIMIT_S,
        turn=unit.systemd,
    )
    assert unit.who() == (UNIT, "cho-1", "in")
    unit.thumb.touch()
    unit.until(f"unit {UNIT}, cho-2, out; set-up code 3")
    unit.thumb.unlink()
    eventually(lambda: "cho-2" in unit.places(), "counts there", limit_s=LIMIT_S, turn=unit.systemd)
    assert unit.who() == (UNIT, "cho-2", "out")

    # The code that made it is not taken again, whoever holds the button.
    unit.thumb.touch()
    unit.until("the set-up code is for a unit that is none yet", "is not newer than 3")
    unit.thumb.unlink()
    assert unit.who() == (UNIT, "cho-2", "out")
    assert unit.scanner.stop() == 0

    # What waited is delivered as what it was, under the one name that the unit has.
    waiting = unit.places()
    storage = tmp_path / "storage.db"
    rows = delivered(unit, tmp_path, storage, len(waiting))
    assert [place for _, place in rows[: len(waiting)]] == waiting
    assert waiting == sorted(waiting)
    assert {name for name, _ in rows} == {UNIT}
    for secret in ("EDGE1:", "mat khau"):
        assert secret not in unit.log() + unit.out()


def delivered(unit: Unit, folder: Path, path: Path, least: int) -> list[tuple[str, str]]:
    """Unit and place of each row, in order, when at least so many have come."""
    settings = folder / "collector.toml"
    # The unit believes its own deployment's collector alone.
    shutil.copy(folder / "gia-lai/collector/receipts.key", folder / "receipts.key")
    url = config.load(unit.settings, ScannerSettings).broker.url
    settings.write_text(collector_settings(url, path))
    collector = Program(
        "collector", folder, [sys.executable, "-m", "edge.collector", "--config", str(settings)]
    )
    collector.start()
    unit.scanner.start()
    try:
        eventually(lambda: len(rows(path)) >= least, "rows", limit_s=LIMIT_S, turn=unit.systemd)
    finally:
        unit.scanner.stop()
        collector.stop()
    return rows(path)
