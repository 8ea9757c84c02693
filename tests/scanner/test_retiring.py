"""A unit that is taken down by its centre: only when nothing waits, and then nothing is left."""

from pathlib import Path

import msgspec
import pytest

from edge.errors import EdgeError
from edge.messages import Command
from edge.scanner.desired import DESIRED
from edge.scanner.outbox import Outbox
from edge.scanner.retiring import BEGUN, ORDER, Retirement, finish_retiring, retire
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import SETTINGS
from edge.sealing import Signer
from edge.signed import sign_order
from edge.succession import succession
from tests.cards import SETUP_KEY, a_card, enrol
from tests.fakes import FakeClock, a_scan
from tests.power import PowerCut, power_for
from tests.scanner.machine import Machine

CENTRE, OTHER = Signer(b"c" * 32), Signer(b"o" * 32)


class Unit(Machine):
    """A unit that a card has set up, with its outbox and its certificate."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.outbox = self.root / "var/lib/edge/outbox"
        settings = {
            "outbox": {"folder": str(self.outbox)},
            "carry": {"key_file": str(self.root / "var/lib/edge/unit.key")},
        }
        self.insert(a_card(receipts_key=CENTRE.public_key, settings=settings), SETUP_KEY)
        done = self.start()
        assert done is not None
        assert isinstance(done.settings, ScannerSettings)
        enrol(self.root, "xe-1", FakeClock())
        with self.open() as outbox:
            outbox.put(a_scan(epoch=outbox.epoch))
            outbox.forget([(1, 1)])
        self.settings = self.root / SETTINGS

    def open(self) -> Outbox:
        return Outbox(self.outbox, max_bytes=10_000_000, keep_free_bytes=0)

    def order(self, key: Signer = CENTRE, **changes: object) -> bytes:
        fields: dict[str, object] = {
            "unit": "xe-1",
            "id": "0" * 32,
            "action": "retire",
            "asked": "2026-11-25T00:00:00.000Z",
            "expires": "2026-11-25T01:00:00.000Z",
        }
        order = msgspec.convert(fields | changes, Command)
        return sign_order(order, key)

    def secrets(self) -> set[str]:
        """What is left of it that is anybody's business; the public key of its centre is not."""
        ours = ("etc/edge", "etc/NetworkManager", "var/lib/edge")
        return {
            name
            for name in self.files()
            if name.startswith(ours) and not name.endswith("receipts.pub")
        }


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    return Unit(tmp_path)


def test_nothing_of_a_retired_unit_is_left(unit: Unit) -> None:
    assert "var/lib/edge/identity/unit.pem" in unit.secrets()
    Retirement(unit.root).order(unit.order())

    assert "xe-1 is empty" in retire(unit.settings, unit.root)

    assert unit.secrets() == set()


def test_it_remembers_over_a_restart_that_it_is_to_be_taken_down_and_asks_root_once(
    unit: Unit, tmp_path: Path
) -> None:
    assert not Retirement(unit.root).ordered
    Retirement(unit.root).order(unit.order())

    again = Retirement(unit.root)
    assert again.ordered
    assert not (tmp_path / "run/retire").exists()
    again.go()
    (tmp_path / "run/retire").unlink()
    again.go()
    assert not (tmp_path / "run/retire").exists()


def test_without_root_to_do_it_nothing_is_promised(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")

    with pytest.raises(EdgeError, match="cannot empty itself"):
        Retirement(unit.root).order(unit.order())
    assert not Retirement(unit.root).ordered


def test_root_believes_the_centre_alone(unit: Unit, tmp_path: Path) -> None:
    before = unit.secrets()
    (tmp_path / "theirs").write_bytes(unit.order())
    orders = {
        "of a stranger": unit.order(OTHER),
        "for another unit": unit.order(unit="xe-2"),
        "to do something else": unit.order(action="restart"),
        "noise": b"\xff" * 100,
        "too long": b"x" * 1_000_000,
        "empty": b"",
    }
    for what, order in orders.items():
        Retirement(unit.root).order(order)
        with pytest.raises(EdgeError, match="nothing was emptied"):
            retire(unit.settings, unit.root)
        assert unit.secrets() == before, what
    (unit.root / ORDER).symlink_to(tmp_path / "theirs")
    with pytest.raises(EdgeError, match="nothing was emptied"):
        retire(unit.settings, unit.root)
    with pytest.raises(EdgeError, match="nothing was emptied"):
        retire(unit.settings, unit.root)
    assert unit.secrets() == before


def test_root_believes_the_key_to_which_the_centre_has_changed(unit: Unit) -> None:
    """What it takes from the scanner's folder for that proves itself."""
    desired = unit.outbox / DESIRED
    for by in (OTHER, CENTRE):
        step = succession(OTHER.public_key, by)
        settings = {"carry": {"successions": [step], "newest_key_only": True}}
        desired.write_bytes(msgspec.json.encode({"settings": settings}))
        Retirement(unit.root).order(unit.order(OTHER))
        if by is OTHER:
            with pytest.raises(EdgeError, match="nothing was emptied"):
                retire(unit.settings, unit.root)
    assert "xe-1 is empty" in retire(unit.settings, unit.root)


def test_scans_that_wait_keep_it_from_being_emptied(unit: Unit) -> None:
    with unit.open() as outbox:
        outbox.put(a_scan(seq=2, epoch=outbox.epoch))
    before = unit.secrets()
    Retirement(unit.root).order(unit.order())

    with pytest.raises(EdgeError, match="1 scans are not confirmed"):
        retire(unit.settings, unit.root)

    assert before <= unit.secrets()
    # ... and it goes on as if nothing had been.
    assert not Retirement(unit.root).ordered
    assert not (unit.root / BEGUN).exists()


def test_the_power_may_go_at_any_moment_and_the_next_start_does_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    calls = 0
    while True:
        unit = Unit(tmp_path / str(calls))
        Retirement(unit.root).order(unit.order())
        try:
            with power_for(calls):
                retire(unit.settings, unit.root)
        except PowerCut:
            pass
        else:
            break

        finish_retiring(unit.root)

        if (unit.root / ORDER).exists():
            # Not begun: the scanner starts, remembers, and asks again.
            assert Retirement(unit.root).ordered
            retire(unit.settings, unit.root)
        assert unit.secrets() == set(), f"cut after {calls} calls"
        calls += 3
    assert calls > 20
