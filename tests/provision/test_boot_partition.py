import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.card import MOST_DOCUMENTS, read_card
from edge.errors import CardError, EdgeError
from edge.legal_basis import SignedBasis
from edge.provision.__main__ import main
from edge.provision.cards import make_batch_card, make_card, next_unit
from edge.provision.deployment import Deployment, utc_now
from edge.provision.layout import RECEIPT_KEY
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import set_up
from edge.sealing import Verifier, open_signer
from tests.languages import is_in_both
from tests.provision.deployments import a_deployment

BOOKWORM = (
    "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes"
    " rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot"
)
IMAGER = (
    " systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot"
    " systemd.unit=kernel-command-line.target"
)
TRIXIE = (
    "console=serial0,115200 console=tty1 root=PARTUUID=d7a1b0c2-02 rootfstype=ext4 fsck.repair=yes"
    " rootwait ds=nocloud;i=rpi-imager-1764000000000 cfg80211.ieee80211_regdom=GB"
)


def a_boot_partition(folder: Path, command_line: str = BOOKWORM) -> Path:
    folder.mkdir()
    (folder / "cmdline.txt").write_text(command_line + "\n")
    (folder / "config.txt").write_text("dtparam=audio=on\n")
    (folder / "kernel8.img").write_bytes(b"kernel")
    return folder


def some_packages(folder: Path) -> Path:
    folder.mkdir()
    (folder / "edge-scanner_0.1.0_arm64.deb").write_bytes(b"ours" * 1_000_000)
    (folder / "python3-picamera2_1_all.deb").write_bytes(b"theirs")
    return folder


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b")


def run(deployment: Deployment, *args: str) -> int:
    return main(["card", *args, "--config", str(deployment.folder / "provision.toml")])


def test_a_stock_card_becomes_a_units_card(deployment: Deployment, tmp_path: Path) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    packages = some_packages(tmp_path / "packages")

    assert run(deployment, str(boot), "--next", "--packages", str(packages)) == 0

    card = read_card((boot / "edge-scanner/card.toml").read_bytes())
    assert card.receipts_key == open_signer(deployment.folder / RECEIPT_KEY).public_key
    assert card.unit is not None
    assert (card.unit.id, card.unit.place, card.number) == ("cho-1-a", "cho-1", 1)
    words = (boot / "cmdline.txt").read_text().split()
    assert words[: len(BOOKWORM.split())] == BOOKWORM.split()
    assert "systemd.run=/boot/firmware/edge-scanner/first-boot" in words
    assert "cfg80211.ieee80211_regdom=VN" in words
    done = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"],
        cwd=boot / "edge-scanner/packages",
        check=False,
    )
    assert done.returncode == 0
    assert next_unit(deployment).id == "cho-1-b"


def test_what_is_written_is_what_the_unit_takes(deployment: Deployment, tmp_path: Path) -> None:
    (deployment.folder / "scanner.toml").write_text("[camera]\nsource = 'sample'\n")
    (deployment.folder / "wifi.password").write_text("mat khau 1\n")
    text = (deployment.folder / "provision.toml").read_text()
    text = text.replace("[units]", "[units]\nsettings_file = 'scanner.toml'")
    text += "[wifi]\nssid = 'Chợ Mẫu'\npassword_file = 'wifi.password'\n"
    (deployment.folder / "provision.toml").write_text(text)
    boot = a_boot_partition(tmp_path / "bootfs")

    assert run(deployment, str(boot), "--unit", "cho-1-b", "--no-packages") == 0
    done = set_up(boot, tmp_path / "root")

    assert done is not None
    settings = done.settings
    assert isinstance(settings, ScannerSettings)
    assert settings.broker.url == "mqtts://127.0.0.1:8883"
    assert settings.camera.source == "sample"
    assert "systemd.run" not in (boot / "cmdline.txt").read_text()
    saved = tmp_path / "root/etc/NetworkManager/system-connections/edge-wifi.nmconnection"
    assert "psk=mat\\skhau\\s1" in saved.read_text()


@pytest.mark.parametrize("stock", [BOOKWORM, BOOKWORM + IMAGER, TRIXIE, TRIXIE + IMAGER])
def test_after_the_first_boot_the_card_is_as_its_maker_left_it(
    deployment: Deployment, tmp_path: Path, stock: str
) -> None:
    """Ours goes first, once, and then whatever Raspberry Pi Imager has asked for."""
    boot = a_boot_partition(tmp_path / "bootfs", stock)
    packages = some_packages(tmp_path / "packages")
    for _ in range(2):
        run(deployment, str(boot), "--unit", "cho-1-a", "--packages", str(packages))
    assert (boot / "cmdline.txt").read_text().count("systemd.run=") == 1

    first_boot(boot, tmp_path)

    words = stock.split()
    if "cfg80211" not in stock:
        words.insert(len(stock.removesuffix(IMAGER).split()), "cfg80211.ieee80211_regdom=VN")
    assert (boot / "cmdline.txt").read_text().split() == words
    assert {path.name for path in (boot / "edge-scanner").iterdir()} == {"card.toml", "result.txt"}


def first_boot(boot: Path, folder: Path, installs: str = "exit 0") -> int:
    """Run what systemd would, with a dpkg that only says whether it *installs*."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "dpkg").write_text(f"#!/bin/sh\necho dpkg $* >>{folder}/calls\n{installs}\n")
    (tools / "dpkg-query").write_text("#!/bin/sh\nprintf 'install ok installed'\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(boot / "edge-scanner/first-boot")],
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True,
        check=False,
    ).returncode


def test_a_package_that_cannot_be_installed_is_said_on_the_card_and_tried_again(
    deployment: Deployment, tmp_path: Path
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    packages = some_packages(tmp_path / "packages")
    run(deployment, str(boot), "--unit", "cho-1-a", "--packages", str(packages))
    before = (boot / "cmdline.txt").read_text()

    assert first_boot(boot, tmp_path, "echo no such library; exit 1") == 1

    said = (boot / "edge-scanner/result.txt").read_text()
    assert "KHÔNG CÀI ĐẶT ĐƯỢC / NOT SET UP" in said
    assert "no such library" in said
    assert (boot / "cmdline.txt").read_text() == before
    assert first_boot(boot, tmp_path) == 0


def test_a_damaged_card_installs_nothing(deployment: Deployment, tmp_path: Path) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    packages = some_packages(tmp_path / "packages")
    run(deployment, str(boot), "--unit", "cho-1-a", "--packages", str(packages))
    (boot / "edge-scanner/packages/python3-picamera2_1_all.deb").write_bytes(b"rotten")

    assert first_boot(boot, tmp_path) == 1

    assert "damaged" in (boot / "edge-scanner/result.txt").read_text()
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda boot: (boot / "cmdline.txt").unlink(), "it has no cmdline.txt"),
        (lambda boot: (boot / "config.txt").unlink(), "it has no config.txt"),
        (lambda boot: (boot / "kernel8.img").unlink(), "64-bit"),
    ],
)
def test_another_folder_is_not_taken_for_a_card(
    deployment: Deployment,
    tmp_path: Path,
    spoil: object,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    assert callable(spoil)
    spoil(boot)

    assert run(deployment, str(boot), "--next", "--no-packages") == 1

    assert why in capsys.readouterr().err
    assert not (boot / "edge-scanner").exists()
    assert deployment.inventory.cards == 0


def test_packages_without_ours_are_refused_and_a_progress_is_shown(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    packages = some_packages(tmp_path / "packages")
    assert run(deployment, str(boot), "--next", "--packages", str(packages)) == 0
    assert "4 / 4 MB" in capsys.readouterr().err
    (packages / "edge-scanner_0.1.0_arm64.deb").unlink()

    assert run(deployment, str(boot), "--next", "--packages", str(packages)) == 1

    assert "make deb" in capsys.readouterr().err


def test_the_next_card_is_not_written_over_the_last(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    assert run(deployment, str(boot), "--next", "--no-packages") == 0

    # Somebody has forgotten to change it.
    assert run(deployment, str(boot), "--next", "--no-packages") == 1

    said = capsys.readouterr().err
    assert "là của máy cho-1-a, chưa dùng" in said
    assert "name cho-1-b with --unit" in said
    assert deployment.inventory.unit("cho-1-b").card == 0
    card = boot / "edge-scanner/card.toml"
    assert b"cho-1-a" in card.read_bytes()
    # Named, it is meant; and what the unit has taken, or nobody can read, is in nobody's way.
    assert run(deployment, str(boot), "--unit", "cho-1-b", "--no-packages") == 0
    assert b"cho-1-b" in card.read_bytes()


@pytest.mark.parametrize("left", [None, b"", b"damaged"])
def test_a_card_that_was_taken_or_is_spoilt_is_in_nobodys_way(
    deployment: Deployment, tmp_path: Path, left: bytes | None
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    assert run(deployment, str(boot), "--next", "--no-packages") == 0
    (boot / "edge-scanner/card.toml").unlink()
    if left is not None:
        (boot / "edge-scanner/card.toml").write_bytes(left)

    assert run(deployment, str(boot), "--next", "--no-packages") == 0

    assert deployment.inventory.unit("cho-1-b").card == 2


def no_folder(boot: Path, packages: Path) -> None:
    shutil.rmtree(packages)


def too_large(boot: Path, packages: Path) -> None:
    os.truncate(packages / "edge-scanner_0.1.0_arm64.deb", 1 << 42)


def in_the_way(boot: Path, packages: Path) -> None:
    (boot / "edge-scanner").write_bytes(b"")


def pulled_out(boot: Path, packages: Path) -> None:
    """What comes last cannot be written any more."""
    (boot / "cmdline.txt.new").mkdir()


@pytest.mark.parametrize(
    ("spoil", "why", "number"),
    [
        (no_folder, "there is no such folder", 1),
        (too_large, "MB are needed", 1),
        (in_the_way, "edge-scanner", 2),
        (pulled_out, "cmdline.txt", 2),
    ],
)
def test_a_card_that_failed_is_no_card_and_its_number_comes_never_again(
    deployment: Deployment,
    tmp_path: Path,
    spoil: Callable[[Path, Path], None],
    why: str,
    number: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    packages = some_packages(tmp_path / "packages")
    spoil(boot, packages)
    stock = sorted(boot.iterdir())

    assert run(deployment, str(boot), "--next", "--packages", str(packages)) == 1

    error = capsys.readouterr().err
    assert why in error
    assert "Traceback" not in error
    assert (boot / "cmdline.txt").read_text() == BOOKWORM + "\n"
    if number == 1:
        # It was seen before anything was done.
        assert sorted(boot.iterdir()) == stock
        assert deployment.inventory.unit("cho-1-a").certificates == ()
    assert (next_unit(deployment).id, next_unit(deployment).card) == ("cho-1-a", 0)
    other = a_boot_partition(tmp_path / "other")
    assert run(deployment, str(other), "--next", "--no-packages") == 0
    assert read_card((other / "edge-scanner/card.toml").read_bytes()).number == number
    assert deployment.inventory.unit("cho-1-a").card == number
    assert next_unit(deployment).id == "cho-1-b"


def test_no_card_is_made_for_a_unit_that_there_is_not_or_is_revoked(
    deployment: Deployment,
) -> None:
    deployment.revoke("cho-1-a", utc_now())

    for name, why in (("cho-1-a", "was revoked"), ("cho-9", "no unit")):
        with pytest.raises(EdgeError, match=why):
            make_card(deployment, name, utc_now())
    card = read_card(make_card(deployment, "cho-1-b", utc_now()))
    assert next_unit(deployment).id == "cho-1-b"
    deployment.card_written("cho-1-b", card.number)
    with pytest.raises(EdgeError, match="every unit has its card or code"):
        next_unit(deployment)


def test_a_legal_basis_goes_onto_every_card_once_it_is_signed(deployment: Deployment) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]
    order = ["basis", "--number", "144/CV-BCĐ", "--issuer", "UBND tỉnh", "--places", "cho-*"]

    assert main([*order, "--start", "2098-12-01", "--end", "2098-12-31", *config]) == 0

    basis = read_card(make_card(deployment, "cho-1-a", utc_now())).basis
    assert basis is not None
    (document,) = basis.documents
    said = msgspec.json.decode(document, type=SignedBasis)
    # Days of Vietnam, the last one included.
    assert (said.basis.start, said.basis.end) == (
        "2098-11-30T17:00:00.000Z",
        "2098-12-31T17:00:00.000Z",
    )
    assert Verifier(basis.key).verifies(said.basis.encode(), base64.b64decode(said.signature))


def test_orders_of_years_that_are_over_take_no_room_on_a_card(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]

    def sign(number: int, end: str) -> None:
        words = ["--number", f"{number}/TN", "--issuer", "UBND", "--places", "*"]
        assert main(["basis", *words, "--start", "2020-01-01", "--end", end, *config]) == 0

    for number in range(MOST_DOCUMENTS + 1):
        sign(number, "2020-01-31")
    sign(100, "2099-12-31")
    for card in (make_card(deployment, "cho-1-a", utc_now()), make_batch_card(deployment, "lo-1")):
        basis = read_card(card).basis
        assert basis is not None
        assert ["100/TN" in document for document in basis.documents] == [True]

    for number in range(MOST_DOCUMENTS):
        sign(number, "2099-12-31")
    boot = a_boot_partition(tmp_path / "bootfs")
    capsys.readouterr()
    assert run(deployment, str(boot), "--unit", "cho-1-a", "--no-packages") == 1
    said = capsys.readouterr().err
    assert f"{MOST_DOCUMENTS + 1} legal bases are more than a card carries" in said
    assert is_in_both(said)


def order(deployment: Deployment, number: str, *places: str, end: str = "2026-12-31") -> int:
    return main(
        [
            *("basis", "--number", number, "--issuer", "UBND tỉnh", "--places", *places),
            *("--start", "2026-12-01", "--end", end),
            *("--config", str(deployment.folder / "provision.toml")),
        ]
    )


def documents(deployment: Deployment) -> dict[str, str]:
    """Their numbers by their files."""
    return {
        path.name: msgspec.json.decode(path.read_bytes(), type=SignedBasis).basis.number
        for path in (deployment.folder / "legal-basis").glob("*.json")
    }


@pytest.mark.parametrize("place", ["khong-co", "ben-*", "cho-11*"])
def test_no_document_is_signed_for_a_place_that_there_is_not(
    deployment: Deployment, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert order(deployment, "144/CV-BCĐ", "cho-1", place) == 1

    assert f"no place in the register is {place}" in capsys.readouterr().err
    assert documents(deployment) == {}
    assert order(deployment, "144/CV-BCĐ", "cho-1", "cho-*", "*") == 0


def test_a_document_replaces_that_of_its_number_and_no_other(deployment: Deployment) -> None:
    numbers = ("144/CV-BCĐ", "144/CV-BCD", "144/cv-bcđ", "Số 5/QĐ", "///")
    for number in (*numbers, *numbers):
        assert order(deployment, number, "cho-1") == 0

    assert documents(deployment) == {
        "144-CV-BCD.json": "144/CV-BCĐ",
        "144-CV-BCD-2.json": "144/CV-BCD",
        "144-cv-bcd-3.json": "144/cv-bcđ",
        "So-5-QD.json": "Số 5/QĐ",
        "basis.json": "///",
    }


def test_a_document_that_ends_before_it_begins_is_refused_by_the_days_that_were_typed(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert order(deployment, "1", "cho-1", end="2026-11-30") == 1
    assert "last day 2026-11-30 is before its first day 2026-12-01" in capsys.readouterr().err
    for wrong in ("9999-12-31", "mai"):
        with pytest.raises(SystemExit):
            order(deployment, "1", "cho-1", end=wrong)
        assert "must be a date such as" in capsys.readouterr().err


def test_a_later_card_of_a_deployment_replaces_an_earlier_one_never_the_reverse(
    deployment: Deployment, tmp_path: Path
) -> None:
    first, second = (make_card(deployment, "cho-1-a", utc_now()) for _ in range(2))
    folder = tmp_path / "boot/edge-scanner"
    folder.mkdir(parents=True)

    outcomes = []
    for card in (second, first, second):
        (folder / "card.toml").write_bytes(card)
        done = set_up(tmp_path / "boot", tmp_path / "root")
        assert done is not None
        outcomes.append(done.applied)

    assert outcomes == [True, False, True]
    stranger = a_deployment(tmp_path / "khac", "cho-1-a")
    with pytest.raises(CardError, match="another deployment"):
        read_card(make_card(stranger, "cho-1-a", utc_now()), read_card(first).setup_key)


def test_what_a_unit_would_lack_is_said_when_its_card_is_written(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")
    packages = some_packages(tmp_path / "packages")
    assert run(deployment, str(boot), "--unit", "cho-1-a", "--packages", str(packages)) == 0
    said = capsys.readouterr().err
    assert "no legal basis that is not over covers cho-1: the unit will count nobody" in said
    assert "arm64" not in said

    order = ["basis", "--number", "1/TN", "--issuer", "UBND", "--places", "cho-*"]
    days = ["--start", "2020-01-01", "--end", "2099-12-31"]
    config = ["--config", str(deployment.folder / "provision.toml")]
    assert main([*order, *days, *config]) == 0
    (ours,) = packages.glob("edge-scanner_*")
    ours.rename(packages / "edge-scanner_0.1.0_amd64.deb")
    assert run(deployment, str(boot), "--unit", "cho-1-a", "--packages", str(packages)) == 0

    said = capsys.readouterr().err
    assert "legal basis" not in said
    assert "not for a Raspberry Pi (arm64)" in said
