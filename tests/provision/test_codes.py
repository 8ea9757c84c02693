import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from pypdf import PdfReader

from edge.card import FILE, FOLDER, read_card
from edge.provision.__main__ import main
from edge.provision.cards import next_unit
from edge.provision.deployment import Deployment
from edge.provision.layout import SETUP_KEY
from edge.scanner.decoder import Decoder
from edge.sealing import Signer, read_key
from edge.setup_code import SetupCode, read_setup_code
from tests.provision.deployments import a_deployment
from tests.provision.test_boot_partition import a_boot_partition


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b")


def run(deployment: Deployment, *args: str) -> int:
    return main([*args, "--config", str(deployment.folder / "provision.toml")])


def codes(deployment: Deployment, folder: Path, *args: str) -> dict[str, SetupCode]:
    """What a camera reads in each picture that the command makes."""
    assert run(deployment, "code", *args, "--to", str(folder)) == 0
    key = Signer(read_key(deployment.folder / SETUP_KEY)).public_key
    decoder = Decoder(zbar=False)
    read = {}
    for path in sorted(folder.glob("*.png")):
        frame = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert frame is not None
        (code,) = decoder.read(frame.astype(np.uint8))
        read[path.stem] = read_setup_code(code.content, key)
    return read


def test_a_batch_card_is_the_same_for_all_and_codes_make_the_units(
    deployment: Deployment, tmp_path: Path
) -> None:
    boot = a_boot_partition(tmp_path / "bootfs")

    made = codes(deployment, tmp_path / "codes", "cho-1-a", "cho-1-b", "--batch", "lo-1")
    assert run(deployment, "card", str(boot), "--batch", "lo-1", "--no-packages") == 0

    card = read_card((boot / FOLDER / FILE).read_bytes())
    assert (card.batch, card.unit, card.number) == ("lo-1", None, 3)
    # A token is for one unit: it comes with the code.
    assert card.enrolment.token is None
    assert all(code.enrolment is not None for code in made.values())
    assert {(c.unit, c.place, c.direction, c.batch, c.number) for c in made.values()} == {
        ("cho-1-a", "cho-1", "in", "lo-1", 1),
        ("cho-1-b", "cho-1", "in", "lo-1", 2),
    }
    for file in (tmp_path / "codes").iterdir():
        assert file.stat().st_mode & 0o077 == 0
    (page,) = PdfReader(io.BytesIO((tmp_path / "codes/codes.pdf").read_bytes())).pages
    text = page.extract_text()
    assert "cho-1-a" in text
    assert "Thẻ lô lo-1" in text


def test_a_changed_inventory_is_told_by_the_next_code(
    deployment: Deployment, tmp_path: Path
) -> None:
    codes(deployment, tmp_path / "codes", "cho-1-a", "--batch", "lo-1")
    assert run(deployment, "unit", "change", "cho-1-a", "--direction", "out") == 0

    moved = codes(deployment, tmp_path / "moved", "cho-1-a")["cho-1-a"]

    assert (moved.batch, moved.direction, moved.number) == (None, "out", 2)
    assert (moved.wifi, moved.broker, moved.enrolment) == (None, None, None)
    # It has its code, so no card need be written for it.
    assert next_unit(deployment).id == "cho-1-b"


def test_the_network_and_the_broker_are_in_a_code_only_when_asked_for(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(deployment, "code", "cho-1-a", "--batch", "lo-1", "--wifi") == 1
    assert "names no wireless network" in capsys.readouterr().err
    settings = deployment.folder / "provision.toml"
    (deployment.folder / "wifi.txt").write_text("mat khau #1\n")
    text = settings.read_text()
    assert "[wifi]" not in text
    settings.write_text(text + '\n[wifi]\nssid = "Chợ Mẫu"\npassword_file = "wifi.txt"\n')

    made = codes(deployment, tmp_path / "c", "cho-1-a", "--batch", "lo-1", "--wifi", "--broker")[
        "cho-1-a"
    ]

    assert made.wifi == ("Chợ Mẫu", "mat khau #1", "VN")
    assert made.broker == "mqtts://127.0.0.1:8883"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("cho-1-a",), "was never set up; name the batch"),
        (("cho-1-z", "--batch", "lo-1"), "there is no unit 'cho-1-z'"),
        (("cho-1-a", "--batch", "Lô 1"), "its name must be"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is_written(
    deployment: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    why: str,
) -> None:
    assert run(deployment, "code", *args, "--to", str(tmp_path / "codes")) == 1

    assert why in capsys.readouterr().err
    assert not (tmp_path / "codes").exists()


def test_a_revoked_unit_gets_no_code(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(deployment, "revoke", "cho-1-a") == 0

    assert run(deployment, "code", "cho-1-b", "cho-1-a", "--batch", "lo-1") == 1

    assert "cho-1-a was revoked" in capsys.readouterr().err
    assert deployment.inventory.unit("cho-1-b").code == 0
    # Nor is it hung elsewhere, only to be told so by the next command.
    assert run(deployment, "unit", "change", "cho-1-a", "--direction", "out") == 1
    assert "cho-1-a was revoked" in capsys.readouterr().err


def test_a_unit_that_would_count_nobody_there_is_named_before_it_is_hung(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["--number", "1", "--issuer", "UBND", "--start", "2020-01-01", "--end", "2099-12-31"]
    assert run(deployment, "basis", *order, "--places", "cho-1") == 0
    codes(deployment, tmp_path / "codes", "cho-1-a", "--batch", "lo-1")
    assert "‼" not in capsys.readouterr().err
    assert run(deployment, "place", "add", "cho-2", "--name", "Chợ Mẫu 2", "--kind", "market") == 0
    assert run(deployment, "unit", "change", "cho-1-a", "--place", "cho-2") == 0
    assert "edge-provision label cho-1-a" in capsys.readouterr().out

    codes(deployment, tmp_path / "moved", "cho-1-a")

    assert "‼ chưa có căn cứ pháp lý còn hiệu lực cho cho-2" in capsys.readouterr().err
