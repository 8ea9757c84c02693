from pathlib import Path

import msgspec
import pytest

from edge.card import CardBasis, CardWifi, write_card
from edge.errors import EdgeError, OutboxInUse
from edge.scanner.__main__ import main
from edge.scanner.outbox import Outbox
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import set_up
from edge.scanner.wiping import wipe
from edge.sealing import open_signer
from tests.cards import SETUP_KEY, a_batch_card, a_card
from tests.fakes import a_scan
from tests.languages import is_in_both
from tests.power import PowerCut, power_for
from tests.scanner.machine import Machine


class Unit:
    """A unit that was set up by a card and has kept one scan."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.outbox = folder / "outbox"
        (folder / "boot/edge-scanner").mkdir(parents=True)
        self.card = folder / "boot/edge-scanner/card.toml"
        self.boot = folder / "boot"
        self.settings = self.set_up(1)
        open_signer(Path(self.settings.carry.key_file))
        with self.open() as outbox:
            outbox.put(a_scan(epoch=outbox.epoch))

    def set_up(self, number: int) -> ScannerSettings:
        card = a_card(
            number=number,
            wifi=CardWifi(ssid="mau", password="mat khau 1"),
            basis=CardBasis(key=bytes(32), documents=("one",)),
        )
        self.card.write_bytes(write_card(card, SETUP_KEY))
        done = set_up(self.boot, self.root)
        assert done is not None
        assert done.applied
        assert isinstance(done.settings, ScannerSettings)
        outbox = msgspec.structs.replace(done.settings.outbox, folder=str(self.outbox))
        carry = msgspec.structs.replace(done.settings.carry, key_file=str(self.root / "unit.key"))
        return msgspec.structs.replace(done.settings, outbox=outbox, carry=carry)

    def open(self) -> Outbox:
        return Outbox(self.outbox, max_bytes=10_000_000, keep_free_bytes=0)

    def files(self) -> list[Path]:
        found = [path for path in self.root.rglob("*") if path.is_file()]
        return found + [path for path in self.outbox.rglob("*") if path.is_file()]


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def test_scans_that_nobody_has_confirmed_are_not_thrown_away_unasked(unit: Unit) -> None:
    before = unit.files()

    with pytest.raises(EdgeError, match="1 scans are not confirmed"):
        wipe(unit.settings, "xe-1", root=unit.root)

    # Nothing new either: it would be root's, and the scanner could not write to it.
    assert set(unit.files()) == set(before)
    assert unit.open().pending == 1


def test_nothing_of_a_wiped_unit_is_left(unit: Unit) -> None:
    assert wipe(unit.settings, "xe-1", lose_scans=True, root=unit.root) == 1

    assert unit.files() == []


def test_another_unit_or_one_that_runs_is_not_wiped(unit: Unit) -> None:
    with pytest.raises(EdgeError, match="this is unit xe-1, not xe-2"):
        wipe(unit.settings, "xe-2", lose_scans=True, root=unit.root)
    with unit.open(), pytest.raises(OutboxInUse):
        wipe(unit.settings, "xe-1", lose_scans=True, root=unit.root)

    assert (unit.root / "var/lib/edge/identity/enrolment.json").exists()


def test_a_wiped_unit_takes_any_card_again(unit: Unit) -> None:
    unit.set_up(9)
    wipe(unit.settings, "xe-1", lose_scans=True, root=unit.root)

    # A lower number, as another deployment may give.
    assert unit.set_up(1).unit.id == "xe-1"


def test_the_power_may_go_while_a_unit_is_wiped(tmp_path: Path) -> None:
    whole = Unit(tmp_path / "whole")
    with power_for(10_000) as made:
        wipe(whole.settings, "xe-1", lose_scans=True, root=whole.root)
    steps = len(made)
    assert steps > 20

    for calls in range(0, steps, 3):
        unit = Unit(tmp_path / str(calls))
        with pytest.raises(PowerCut), power_for(calls):
            wipe(unit.settings, "xe-1", lose_scans=True, root=unit.root)

        wipe(unit.settings, "xe-1", lose_scans=True, root=unit.root)

        assert unit.files() == [], f"cut after {calls} of {steps} calls"


def test_a_unit_that_is_none_yet_is_emptied_by_the_name_of_its_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path)
    settings = {
        "outbox": {"folder": str(tmp_path / "outbox")},
        "carry": {"key_file": str(tmp_path / "unit.key")},
    }
    wifi = CardWifi(ssid="mau", password="mat khau 1")
    machine.insert(a_batch_card(wifi=wifi, settings=settings))
    machine.start()
    command = ["--config", str(machine.root / "etc/edge/scanner.toml"), "wipe"]
    before = machine.files()

    assert main([*command, "lo-2"]) == 1
    assert is_in_both(said := capsys.readouterr().err)
    assert "has a card of batch lo-1" in said
    assert machine.files() == before

    assert main([*command, "lo-1"]) == 0
    left = machine.files()
    assert "etc/edge/scanner.toml" not in left
    assert "etc/edge/setup.json" not in left
    assert not [name for name in left if "nmconnection" in name]
