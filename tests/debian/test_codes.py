"""Set-up codes on a real systemd: who may do what, and who starts whom.

What is not real: the board, its lights (lines in the journal), and who holds the code (pictures).
"""

import json
import os
import re
from pathlib import Path

import cv2
import pytest

from edge.provision.__main__ import main
from edge.provision.codes import make_codes
from edge.provision.deployment import Deployment, utc_now
from edge.sealing import Signer
from edge.setup_code import write_setup_code
from tests.debian.machine import START_S, Machine, build, until_active
from tests.drawing import draw
from tests.end_to_end.parts import invented_cards
from tests.fakes import eventually
from tests.provision.deployments import a_deployment

UNIT = "edge-scanner.service"
VIEW = "var/lib/view"
SETTINGS = f"""
[camera]
source = "/{VIEW}"
repeat = true
frame_rate = 5.0
[indicator]
kind = "terminal"
[reading]
reread_delay_s = 1.0
[basis]
required = false
"""

pytestmark = pytest.mark.skipif(
    "EDGE_DEBIAN" not in os.environ, reason="takes some minutes: sudo make debian"
)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    (made.folder / "scanner.toml").write_text(SETTINGS)
    settings = made.folder / "provision.toml"
    text = settings.read_text().replace("[units]", '[units]\nsettings_file = "scanner.toml"')
    settings.write_text(f'{text}\n[wifi]\nssid = "Chợ Mẫu"\npassword_file = "wifi.txt"\n')
    (made.folder / "wifi.txt").write_text("mat khau #1\n")
    return Deployment(made.folder)


def show(machine: Machine, *contents: str) -> None:
    """What stands before the camera from its next opening on."""
    folder = machine.root / VIEW
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for number, content in enumerate(contents):
        cv2.imwrite(str(folder / f"{number}.png"), draw(content.encode(), scale=4))


def journal(machine: Machine, unit: str) -> str:
    return machine.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)


def test_a_batch_card_and_a_code_make_a_unit_that_counts(
    machine: Machine, deployment: Deployment, tmp_path: Path
) -> None:
    boot, config = machine.root / "boot/firmware", str(deployment.folder / "provision.toml")
    packages = build(tmp_path / "packages").parent
    write = ["card", str(boot), "--batch", "lo-1", "--packages", str(packages)]
    assert main([*write, "--config", config]) == 0
    (machine.root / "etc/NetworkManager/system-connections").mkdir(parents=True, exist_ok=True)
    (made,) = make_codes(deployment, ["cho-1-a"], batch="lo-1", now=utc_now(), wifi=True)
    stranger = write_setup_code(made.code, Signer(b"z" * 32))
    show(machine, stranger, invented_cards(1, first=8_000)[0])

    machine.switch_on()
    machine.wait_until_off()
    machine.switch_on()
    machine.wait_until_up()
    pid = until_active(machine, UNIT)
    eventually(
        lambda: "not of this unit's deployment" in journal(machine, UNIT),
        "a stranger's code is refused",
        limit_s=START_S,
    )
    assert "(seq" not in journal(machine, UNIT)
    assert "batch lo-1, waits for its set-up code" in journal(machine, "edge-setup.service")
    show(machine, made.text, invented_cards(1, first=8_000)[0])
    machine.run("systemctl", "restart", UNIT)
    eventually(
        lambda: "(seq 1)" in journal(machine, UNIT), "it is a unit and counts", limit_s=START_S
    )

    assert until_active(machine, UNIT, after=pid)
    state = machine.root / "etc/edge"
    assert json.loads((state / "setup.json").read_text())["unit"] == "cho-1-a"
    assert not list(state.glob("setup-code.applying*"))
    network = machine.root / "etc/NetworkManager/system-connections/edge-wifi.nmconnection"
    assert network.stat().st_mode & 0o777 == 0o600
    assert network.stat().st_uid == 0
    assert (machine.root / "etc/edge/scanner.toml").stat().st_uid == 0
    assert "ĐÃ CÀI ĐẶT XONG" in (boot / "edge-scanner/result.txt").read_text()
    said = journal(machine, UNIT) + journal(machine, "edge-setup.service")
    assert re.search(r"unit cho-1-a, cho-1, in; set-up code 2", said)
    assert "EDGE1:" not in said
    assert "mat khau" not in said
    # The code stays in view, and is one like any other from now on.
    eventually(
        lambda: "refused: setup_code" in journal(machine, UNIT), "it is refused", limit_s=START_S
    )
    assert machine.property("edge-setup-code.path", "ActiveState") == "active"

    # Somebody who has taken the scanner over asks root for what nobody signed.
    machine.run("sh", "-c", "echo EDGE1:ABC > /run/edge-scanner/setup-code")
    eventually(
        lambda: (
            "was changed" in journal(machine, "edge-setup.service")
            or "is damaged" in journal(machine, "edge-setup.service")
        ),
        "root looks for itself",
        limit_s=START_S,
    )
    assert machine.property("edge-setup-code.path", "ActiveState") == "active"
