import configparser
import os
import tomllib
from base64 import b64encode
from pathlib import Path

import msgspec
import pytest

from edge import config
from edge.card import CardBasis, CardUnit, CardWifi, write_card
from edge.errors import EdgeError
from edge.scanner.__main__ import main
from edge.scanner.outbox import Outbox
from edge.scanner.settings import ScannerSettings, UnsetSettings
from edge.scanner.setup import APPLIED
from edge.sealing import Signer, read_key
from tests.cards import SETUP_KEY, a_batch_card, a_card, an_enrolment
from tests.fakes import a_scan
from tests.languages import is_in_both
from tests.power import PowerCut, power_for
from tests.scanner.machine import Machine

WIFI = CardWifi(ssid="Chợ; mẫu", password=r"mat khau\ 1")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_card_makes_a_unit_of_a_machine(machine: Machine) -> None:
    centre = Signer(b"c" * 32)
    card = a_card(
        wifi=WIFI, settings={"camera": {"source": "sample"}}, receipts_key=centre.public_key
    )
    machine.insert(card)

    done = machine.start()

    assert done is not None
    assert done.applied
    said = machine.on_the_card()["result.txt"].decode().splitlines()[1]
    assert said.startswith("máy xe-1, điểm cho-1, chiều in; thẻ số 1; ")
    assert "THẺ KHÔNG CÓ CĂN CỨ PHÁP LÝ, máy sẽ không ghi nhận ai / unit xe-1" in said
    settings = config.load(machine.root / "etc/edge/scanner.toml", ScannerSettings)
    assert settings == done.settings
    assert (settings.unit.id, settings.unit.direction) == ("xe-1", "in")
    assert settings.camera.source == "sample"
    key = config.secret_path(settings.unit.tracing_key_file, machine.root / "etc/edge")
    assert read_key(key) == card.tracing_key
    receipts = config.secret_path(settings.carry.receipt_key_file, machine.root / "etc/edge")
    assert read_key(receipts) == centre.public_key


def test_what_is_secret_is_kept_for_its_reader_alone_and_gone_from_the_card(
    machine: Machine,
) -> None:
    card = a_card(wifi=WIFI)
    machine.insert(card)
    assert card.enrolment.token is not None
    secrets = [b64encode(card.enrolment.token), b"mat khau"]

    machine.start()

    for name, (content, mode) in machine.files().items():
        assert not mode & 0o077 or not any(secret in content for secret in secrets), name
    assert (machine.root / "var/lib/edge/identity").stat().st_mode & 0o777 == 0o700
    assert list(machine.on_the_card()) == ["result.txt"]
    assert not any(secret in machine.on_the_card()["result.txt"] for secret in secrets)


def test_the_scanner_can_read_its_settings_however_strict_the_service_is(
    machine: Machine,
) -> None:
    machine.insert(a_card(basis=CardBasis(key=bytes(32), documents=("one",))))
    before = os.umask(0o077)
    try:
        machine.start()
    finally:
        os.umask(before)

    modes = {name: mode for name, (_, mode) in machine.files().items()}
    assert modes["etc/edge/scanner.toml"] == 0o644
    assert modes["etc/edge/basis/card-0.json"] == 0o644
    assert (machine.root / "etc/edge/basis").stat().st_mode & 0o777 == 0o755
    assert modes["var/lib/edge/identity/enrolment.json"] == 0o600


def test_the_wireless_network_is_what_networkmanager_reads(machine: Machine) -> None:
    machine.insert(a_card(wifi=WIFI))

    machine.start()

    text = machine.files()["etc/NetworkManager/system-connections/edge-wifi.nmconnection"][
        0
    ].decode()
    parsed = configparser.RawConfigParser(delimiters=("=",))
    parsed.read_string(text)
    octets = bytes(int(part) for part in parsed["wifi"]["ssid"].split(";") if part)
    assert octets.decode() == "Chợ; mẫu"
    # GLib's escapes of a space and a backslash.
    assert parsed["wifi-security"]["psk"] == r"mat\skhau\\\s1"
    assert machine.files()["var/lib/systemd/rfkill/platform-1:wlan"][0] == b"0"


def test_a_card_without_a_wireless_network_ends_the_former_one(machine: Machine) -> None:
    machine.insert(a_card(wifi=WIFI))
    machine.start()
    machine.insert(a_card(number=2))

    machine.start()

    assert not [name for name in machine.files() if "nmconnection" in name]


def test_the_legal_basis_is_that_of_the_newest_card(machine: Machine) -> None:
    for number, documents in ((1, ("one", "two")), (2, ("three",))):
        machine.insert(a_card(number=number, basis=CardBasis(key=bytes(32), documents=documents)))
        machine.start()
        # What the office's list had brought before goes as well.
        if number == 1:
            machine.put("etc/edge/basis/office-ab12.json", b"of the list")

    found = {name: content for name, (content, _) in machine.files().items() if "basis/" in name}
    assert found == {"etc/edge/basis/card-0.json": b"three"}


def test_a_batch_card_makes_a_unit_that_waits_for_its_code(machine: Machine) -> None:
    machine.insert(a_batch_card(number=7, settings={"camera": {"source": "sample"}}))

    done = machine.start()

    assert done is not None
    assert done.applied
    assert "batch lo-1, waits for its set-up code; card 7" in done.text
    settings = config.load(machine.root / "etc/edge/scanner.toml", UnsetSettings)
    assert settings == done.settings
    assert settings.camera.source == "sample"
    # There is nobody that it could be taken for.
    assert not [name for name in machine.files() if "identity" in name]


def test_a_batch_card_makes_no_unit_none_again(machine: Machine) -> None:
    machine.insert(a_card())
    machine.start()
    before = machine.files()
    machine.insert(a_batch_card(number=2))

    done = machine.start()

    assert done is not None
    assert not done.applied
    assert "this is unit xe-1 already" in done.text
    assert machine.files() == before


def test_without_a_card_nothing_happens(machine: Machine) -> None:
    before = machine.files()

    assert machine.start() is None
    assert machine.files() == before
    assert machine.on_the_card() == {}


def hostile_cards() -> dict[str, bytes]:
    good = write_card(a_card(wifi=WIFI), SETUP_KEY)
    stranger = Signer(bytes(range(32)))
    return {
        "empty": b"",
        "noise": b"\xff\x00" * 1000,
        "cut short": good[: len(good) // 2],
        "too large": good * 80,
        "changed": good.replace(b"pleiku", b"kontum"),
        "of another deployment": write_card(
            a_card(setup_key=stranger.public_key, enrolment=an_enrolment("xe-1", stranger)),
            stranger,
        ),
        "older": write_card(a_card(number=1), SETUP_KEY),
        "for another board": write_card(
            a_card(
                number=9,
                unit=CardUnit(
                    id="xe-1", area="a", place="b", direction="in", hardware="10000000ffffffff"
                ),
            ),
            SETUP_KEY,
        ),
        "with a setting that there is not": write_card(
            a_card(number=9, settings={"camera": {"sauce": "pi"}}), SETUP_KEY
        ),
        "with an impossible setting": write_card(
            a_card(number=9, settings={"camera": {"width": -1}}), SETUP_KEY
        ),
    }


@pytest.mark.parametrize("which", hostile_cards())
def test_a_card_that_is_refused_changes_nothing_and_says_why(machine: Machine, which: str) -> None:
    machine.insert(a_card(number=5))
    machine.start()
    before = machine.files()
    machine.insert(hostile_cards()[which])

    done = machine.start()

    assert done is not None
    assert not done.applied
    assert done.settings is not None
    assert "\n" not in done.text
    assert machine.files() == before
    said = machine.on_the_card()["result.txt"].decode()
    assert "KHÔNG CÀI ĐẶT ĐƯỢC" in said
    assert done.text in said
    # Of a setting that cannot be the office made the mistake, and it reads English.
    assert is_in_both(said.splitlines()[1]) or "setting" in which


def test_an_outbox_that_cannot_be_looked_into_is_said_to_be(machine: Machine) -> None:
    machine.insert(a_card())
    machine.start()
    (machine.root / "var/lib/edge/outbox").mkdir()
    another = CardUnit(id="xe-2", area="pleiku", place="cho-1", direction="in")
    machine.insert(a_card("xe-2", number=2, unit=another))

    with pytest.raises(EdgeError, match="no outbox is here"):
        machine.start()


def test_a_card_can_give_the_unit_another_door(machine: Machine) -> None:
    machine.insert(a_card())
    machine.start()
    machine.put("var/lib/edge/outbox/scans", b"kept")
    moved = CardUnit(id="xe-1", area="pleiku", place="cho-2", direction="out")
    machine.insert(a_card(number=2, unit=moved))

    done = machine.start()

    assert done is not None
    assert isinstance(done.settings, ScannerSettings)
    assert (done.settings.unit.place, done.settings.unit.direction) == ("cho-2", "out")
    assert machine.files()["var/lib/edge/outbox/scans"][0] == b"kept"


@pytest.mark.parametrize(
    ("name", "area"), [("xe-2", "pleiku"), ("xe-1", "kon-tum")], ids=["name", "area"]
)
def test_scans_that_wait_never_become_another_units(machine: Machine, name: str, area: str) -> None:
    machine.insert(a_card())
    machine.start()
    folder = machine.root / "var/lib/edge/outbox"
    with Outbox(folder, max_bytes=10_000_000, keep_free_bytes=0) as outbox:
        outbox.put(a_scan(outbox.next_seq, outbox.epoch))
        epoch = outbox.epoch
    (folder / "desired.json").write_text("{}")
    before = machine.files()
    another = CardUnit(id=name, area=area, place="cho-1", direction="in")
    card = a_card(name, number=2, unit=another)
    machine.insert(card)

    done = machine.start()

    assert done is not None
    assert not done.applied
    assert "1 scans wait to be sent under this unit's name and area" in done.text
    assert machine.files() == before
    # They are confirmed, so it may.
    with Outbox(folder, max_bytes=10_000_000, keep_free_bytes=0) as outbox:
        outbox.forget([(1, 1)])
    machine.insert(card)
    done = machine.start()
    assert done is not None
    assert done.applied
    # The new unit counts its own from the beginning, and follows nothing that the old one was told.
    assert not (folder / "desired.json").exists()
    with Outbox(folder, max_bytes=10_000_000, keep_free_bytes=0) as outbox:
        assert (outbox.next_seq, outbox.pending) == (1, 0)
        assert outbox.epoch != epoch


def test_the_power_may_go_at_any_step(tmp_path: Path) -> None:
    """The next start, with power, does the rest, before the scanner looks."""
    card = a_card(wifi=WIFI, basis=CardBasis(key=bytes(32), documents=("one",)))
    whole = Machine(tmp_path / "whole")
    whole.insert(card)
    with power_for(10_000) as made:
        whole.start()
    steps = len(made)
    assert steps > 30

    for calls in range(steps):
        machine = Machine(tmp_path / str(calls))
        machine.insert(card)
        with pytest.raises(PowerCut), power_for(calls):
            machine.start()

        done = machine.start()

        assert done is None or done.applied
        assert machine.files() == whole.files(), f"cut after {calls} of {steps} calls"
        assert "card.toml" not in machine.on_the_card()
        assert APPLIED not in machine.on_the_card()


def test_a_unit_that_has_forgotten_whose_it_is_takes_no_card(machine: Machine) -> None:
    machine.put("etc/edge/setup.json", b"{")
    machine.insert(a_card())

    with pytest.raises(EdgeError, match=r"setup\.json is damaged"):
        machine.start()

    assert "etc/edge/scanner.toml" not in machine.files()


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(tmp_path)
    here = msgspec.structs.replace
    command = ["setup", "--boot", str(machine.boot), "--root", str(machine.root)]
    machine.insert(here(a_card(), settings={"indicator": {"kind": "terminal"}}))

    assert main(command) == 0
    assert "Đã cài đặt xong / Set up" in capsys.readouterr().out
    machine.insert(b"noise")
    assert main(command) == 1
    assert "Không cài đặt được" in capsys.readouterr().out
    assert tomllib.loads((machine.root / "etc/edge/scanner.toml").read_text())
