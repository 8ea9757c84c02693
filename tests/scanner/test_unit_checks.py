from pathlib import Path

import msgspec
import pytest

from edge.card import write_card
from edge.errors import EdgeError
from edge.scanner.credentials import Credentials
from edge.scanner.settings import EnrolmentSettings, ScannerSettings
from edge.scanner.setup import set_up
from edge.scanner.unit_checks import Concern, board, certificate, mount, wifi
from tests.cards import SETUP_KEY, a_card, enrol
from tests.fakes import FakeClock

DAY_S = 86_400


@pytest.fixture
def clock() -> FakeClock:
    clock = FakeClock()
    clock.synchronized = True
    return clock


@pytest.fixture
def unit(tmp_path: Path) -> tuple[Path, ScannerSettings]:
    """The root of a unit that was set up by a card, and its settings."""
    root = tmp_path / "root"
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/serial-number").write_bytes(b"10000000abcdef01\0")
    (tmp_path / "boot/edge-scanner").mkdir(parents=True)
    (tmp_path / "boot/edge-scanner/card.toml").write_bytes(write_card(a_card(), SETUP_KEY))
    done = set_up(tmp_path / "boot", root)
    assert done is not None
    assert isinstance(done.settings, ScannerSettings)
    broker = msgspec.structs.replace(
        done.settings.broker, ca_file=str(root / "etc/edge/authority.pem")
    )
    enrolment = msgspec.structs.replace(
        done.settings.enrolment, folder=str(root / "var/lib/edge/identity")
    )
    return root, msgspec.structs.replace(done.settings, broker=broker, enrolment=enrolment)


def test_a_certificate_is_awaited_then_good_then_late_then_of_no_use(
    unit: tuple[Path, ScannerSettings], clock: FakeClock
) -> None:
    root, settings = unit

    awaited = certificate(settings, root, clock)
    assert isinstance(awaited, Concern)
    assert "asked for, not here yet" in awaited
    enrol(root, "xe-1", clock, days=730)
    assert "of xe-1, 730 days left" in certificate(settings, root, clock)
    clock.advance(500 * DAY_S)
    assert not isinstance(certificate(settings, root, clock), Concern)
    clock.advance(60 * DAY_S)
    late = certificate(settings, root, clock)
    assert isinstance(late, Concern)
    assert "should have been renewed" in late
    clock.advance(200 * DAY_S)
    with pytest.raises(EdgeError, match="scans are kept"):
        certificate(settings, root, clock)


def test_a_unit_with_nothing_to_ask_with_is_told_so(
    unit: tuple[Path, ScannerSettings], clock: FakeClock
) -> None:
    root, settings = unit
    (root / "var/lib/edge/identity/enrolment.json").unlink()

    with pytest.raises(EdgeError, match="give unit xe-1 a card"):
        certificate(settings, root, clock)


def test_the_end_of_a_certificate_is_told_where_there_is_one(
    unit: tuple[Path, ScannerSettings], clock: FakeClock
) -> None:
    root, settings = unit
    assert Credentials(settings, root, clock).ends() is None
    identity = enrol(root, "xe-1", clock)
    ends = Credentials(settings, root, clock).ends()
    assert ends is not None
    assert ends.endswith("Z")
    by_hand = msgspec.structs.replace(
        settings,
        enrolment=EnrolmentSettings(),
        broker=msgspec.structs.replace(settings.broker, certificate_file=str(identity.present)),
    )
    assert Credentials(by_hand, root, clock).ends() == ends

    identity.present.write_text("no certificate")

    assert Credentials(settings, root, clock).ends() is None
    assert Credentials(by_hand, root, clock).ends() is None


def test_a_certificate_of_another_unit_is_found_out(
    unit: tuple[Path, ScannerSettings], clock: FakeClock
) -> None:
    root, settings = unit
    enrol(root, "xe-1", clock)
    other = msgspec.structs.replace(settings.unit, id="xe-2")

    with pytest.raises(EdgeError, match="not that of xe-2"):
        certificate(msgspec.structs.replace(settings, unit=other), root, clock)


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
