from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edge.card import identity_facts, write_card
from edge.clock import Moment, utc_text
from edge.errors import EdgeError
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import set_up
from edge.scanner.unit_checks import Concern, board, certificate, certificate_end, mount, wifi
from tests.cards import SETUP_KEY, a_card

CARD = a_card()
FACTS = identity_facts(CARD)
assert FACTS is not None
END = FACTS.not_after


def at(days_before_the_end: float) -> Moment:
    moment = END - timedelta(days=days_before_the_end)
    return Moment(at=utc_text(moment.timestamp()), boot="b" * 32, uptime_ms=1, clock="ntp")


@pytest.fixture
def unit(tmp_path: Path) -> tuple[Path, ScannerSettings]:
    """The root of a unit that was set up by a card, and its settings."""
    root = tmp_path / "root"
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/serial-number").write_bytes(b"10000000abcdef01\0")
    (tmp_path / "boot/edge-scanner").mkdir(parents=True)
    (tmp_path / "boot/edge-scanner/card.toml").write_bytes(write_card(CARD, SETUP_KEY))
    done = set_up(tmp_path / "boot", root)
    assert done is not None
    assert isinstance(done.settings, ScannerSettings)
    broker = msgspec.structs.replace(
        done.settings.broker,
        ca_file=str(root / "etc/edge/authority.pem"),
        certificate_file=str(root / "var/lib/edge/identity/unit.pem"),
        key_file=str(root / "var/lib/edge/identity/unit.key"),
    )
    return root, msgspec.structs.replace(done.settings, broker=broker)


def test_a_certificate_is_good_then_a_concern_then_of_no_use(
    unit: tuple[Path, ScannerSettings],
) -> None:
    root, settings = unit

    assert "of xe-1, 700 days left" in certificate(settings, root, at(700))
    assert not isinstance(certificate(settings, root, at(700)), Concern)
    assert isinstance(certificate(settings, root, at(100)), Concern)
    with pytest.raises(EdgeError, match="scans are kept"):
        certificate(settings, root, at(-1))


def test_the_end_of_a_certificate_is_told_where_there_is_one(
    unit: tuple[Path, ScannerSettings],
) -> None:
    root, settings = unit
    ends = certificate_end(settings, root)
    assert ends is not None
    assert ends.endswith("Z")
    none = msgspec.structs.replace(settings.broker, certificate_file="")
    assert certificate_end(msgspec.structs.replace(settings, broker=none), root) is None

    Path(settings.broker.certificate_file).write_text("no certificate")

    assert certificate_end(settings, root) is None


def test_a_certificate_of_another_unit_is_found_out(unit: tuple[Path, ScannerSettings]) -> None:
    root, settings = unit
    other = msgspec.structs.replace(settings.unit, id="xe-2")

    with pytest.raises(EdgeError, match="not that of xe-2"):
        certificate(msgspec.structs.replace(settings, unit=other), root, at(700))


def test_a_card_that_was_put_into_another_board_is_found_out(
    unit: tuple[Path, ScannerSettings],
) -> None:
    root, _ = unit
    assert "card 1 of thu-nghiem" in board(root)
    (root / "proc/device-tree/serial-number").write_bytes(b"10000000ffffffff\0")

    with pytest.raises(EdgeError, match="card of its own"):
        board(root)


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ("rw,noatime", "fine"),
        ("rw,relatime,commit=5", "fine"),
        ("rw,commit=600", "concern"),
        ("ro,noatime", "read-only"),
        ("rw,data=writeback", "power cut"),
        ("rw,nobarrier", "power cut"),
    ],
)
def test_a_disk_that_would_lose_scans_is_found_out(
    unit: tuple[Path, ScannerSettings], tmp_path: Path, options: str, outcome: str
) -> None:
    mounts = tmp_path / "proc/mounts"
    mounts.parent.mkdir()
    mounts.write_text(f"/dev/mmcblk0p2 / ext4 {options} 0 0\nproc /proc proc rw 0 0\n")

    if outcome in ("fine", "concern"):
        assert isinstance(mount(unit[1], tmp_path), Concern) == (outcome == "concern")
    else:
        with pytest.raises(EdgeError, match=outcome):
            mount(unit[1], tmp_path)


def test_a_weak_wireless_network_is_a_concern(tmp_path: Path) -> None:
    head = "Inter-| sta-|   Quality\n face | tus | link level noise\n"
    for level, weak in ((-50, False), (-82, True)):
        (tmp_path / "wireless").write_text(f"{head} wlan0: 0000   54.  {level}.  -256 0 0\n")
        assert isinstance(wifi(tmp_path / "wireless"), Concern) is weak
    assert wifi(tmp_path / "none") == "no wireless network in use"
