import configparser
import os
from pathlib import Path

import msgspec
import pytest

from edge import config
from edge.card import CardWifi
from edge.errors import EdgeError
from edge.scanner.pending_enrolment import read_pending
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup_by_code import ANSWER, APPLYING, REQUEST, Answer, name_of
from edge.sealing import Signer
from edge.setup_code import SetupCode
from tests.cards import a_batch_card, a_card
from tests.languages import is_in_both
from tests.power import PowerCut, power_for
from tests.scanner.machine import Machine
from tests.setup_codes import a_code, a_move, text

WIFI = ("Chợ; mẫu", r"mat khau\ 1", "VN")
#: What is of a request and of its answer, and gone with the power.
RUN = "run/"


def a_unit(folder: Path, card: object = None, **settings: object) -> Machine:
    """A unit with a batch card, or with *card*."""
    machine = Machine(folder)
    machine.insert(card or a_batch_card(number=7, settings=settings))  # type: ignore[arg-type]
    machine.start()
    return machine


def kept(machine: Machine) -> dict[str, tuple[bytes, int]]:
    return {name: file for name, file in machine.files().items() if not name.startswith(RUN)}


def settings_of(machine: Machine) -> ScannerSettings:
    return config.load(machine.root / "etc/edge/scanner.toml", ScannerSettings)


@pytest.fixture
def unset(tmp_path: Path) -> Machine:
    return a_unit(tmp_path, camera={"source": "sample"})


def test_a_code_makes_a_unit_of_one_that_waits(unset: Machine) -> None:
    code = a_code(number=2, trip="sang-1", broker="mqtts://khac.example.vn:8883", wifi=WIFI)

    done = unset.ask(text(code))

    assert done is not None
    assert done.applied
    assert done.text == "unit xe-1, cho-1, in, sang-1; set-up code 2"
    settings = settings_of(unset)
    assert (settings.unit.id, settings.unit.area, settings.unit.trip) == (
        "xe-1",
        "pleiku",
        "sang-1",
    )
    # What the card has said of it goes on to hold.
    assert settings.camera.source == "sample"
    assert settings.broker.url == "mqtts://khac.example.vn:8883"
    assert settings.enrolment.url == "https://mqtt.example.vn:8884"
    pending = read_pending(unset.root / "var/lib/edge/identity")
    assert pending is not None
    assert code.enrolment is not None
    assert (pending.unit, pending.token) == ("xe-1", code.enrolment[1])
    assert unset.files()["var/lib/systemd/rfkill/platform-1:wlan"][0] == b"0"
    assert "ĐÃ CÀI ĐẶT XONG" in unset.on_the_card()["result.txt"].decode()


def test_where_a_code_has_a_unit_enrol_it_renews_too(unset: Machine) -> None:
    url, code = "https://khac.example.vn:8884", a_code()
    assert code.enrolment is not None

    unset.ask(text(a_code(enrolment=(url, code.enrolment[1]))))

    assert settings_of(unset).enrolment.url == url
    assert settings_of(unset).enrolment.folder == "/var/lib/edge/identity"
    pending = read_pending(unset.root / "var/lib/edge/identity")
    assert pending is not None
    assert pending.url == url


def test_the_network_of_a_code_is_for_root_alone(unset: Machine) -> None:
    before = os.umask(0o022)
    try:
        unset.ask(text(a_code(wifi=WIFI)))
    finally:
        os.umask(before)

    name = "etc/NetworkManager/system-connections/edge-wifi.nmconnection"
    content, mode = unset.files()[name]
    parsed = configparser.RawConfigParser(delimiters=("=",))
    parsed.read_string(content.decode())
    assert parsed["wifi-security"]["psk"] == r"mat\skhau\\\s1"
    assert mode == 0o600
    for file, (content, _) in kept(unset).items():
        assert file == name or b"mat khau" not in content


def test_what_came_of_it_is_answered_to_the_scanner(unset: Machine) -> None:
    mine, after = text(a_code()), text(a_code())
    files = []

    # Asked twice, it is done once.
    for content, applied in ((mine, True), (mine, True), (after, False)):
        unset.ask(content)
        files.append(kept(unset))
        data, mode = unset.files()[ANSWER]
        answer = msgspec.json.decode(data, type=Answer)
        assert (answer.code, answer.applied) == (name_of(content), applied)
        # The scanner is another user.
        assert mode == 0o644
    assert files[0] == files[1] == files[2]


def test_a_unit_is_hung_elsewhere_without_a_laptop(tmp_path: Path) -> None:
    for card in (a_card(), None):
        machine = a_unit(tmp_path / str(card is None), card)
        if card is None:
            machine.ask(text(a_code()))
        machine.put("var/lib/edge/outbox/scans", b"kept")
        before = kept(machine)

        done = machine.ask(text(a_move(number=8, direction="out", trip="chieu-2")))

        assert done is not None
        assert done.applied
        unit = settings_of(machine).unit
        assert (unit.id, unit.place, unit.direction, unit.trip) == (
            "xe-1",
            "cho-2",
            "out",
            "chieu-2",
        )
        changed = {name for name, file in kept(machine).items() if before.get(name) != file}
        assert changed == {"etc/edge/scanner.toml", "etc/edge/setup.json"}


def test_nothing_of_the_former_bus_is_left(tmp_path: Path) -> None:
    settings = {"vehicle": {"trips": ["sang-1@05:30"], "off_after_s": 60.0}}
    machine = a_unit(tmp_path, a_card(settings=settings))

    machine.ask(text(a_move(trips=("toi-2@23:30-01:10",), hours="mon-sat 05:00-18:00")))
    vehicle = settings_of(machine).vehicle
    assert (list(vehicle.trips), vehicle.off_after_s) == (["toi-2@23:30-01:10"], 60.0)
    assert settings_of(machine).update.hours == "mon-sat 05:00-18:00"

    machine.ask(text(a_move(number=3)))
    assert list(settings_of(machine).vehicle.trips) == []
    assert settings_of(machine).update.hours == ""


def refused() -> dict[str, bytes]:
    stranger = Signer(bytes(range(32)))
    return {
        "empty": b"",
        "noise": b"\xff\x00" * 100,
        "too long": b"EDGE1:" + b"A" * 5_000,
        "damaged": text(a_move(number=8))[:-3],
        "of another deployment's key": text(a_move(number=8), stranger),
        "of another deployment": text(a_move(number=8, deployment="khac")),
        "of the same number": text(a_move(number=7, place="cho-3")),
        "older": text(a_move(number=3)),
        "for another unit": text(a_move(number=8, unit="xe-2")),
        "for another board": text(a_move(number=8, hardware="10000000ffffffff")),
        "for a unit that is none yet": text(a_code(number=8)),
        "into another area": text(a_move(number=8, area="kon-tum")),
        "a network": b"WIFI:S:mau;T:WPA;P:mat khau 1;;",
    }


@pytest.mark.parametrize("which", refused())
def test_a_code_that_is_refused_changes_nothing_and_says_why(tmp_path: Path, which: str) -> None:
    machine = a_unit(tmp_path, a_card(number=2))
    machine.ask(text(a_move(number=7)))
    before = kept(machine)

    done = machine.ask(refused()[which])

    assert done is not None
    assert not done.applied
    assert done.settings == settings_of(machine)
    assert "\n" not in done.text
    assert "mat khau" not in done.text
    assert kept(machine) == before
    said = machine.on_the_card()["result.txt"].decode().splitlines()[1]
    assert done.text in said
    assert is_in_both(said)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (a_code(batch="lo-2"), "for batch lo-2"),
        (a_move(number=9), "this is none yet"),
        (a_code(direction="in", place="x" * 32, trip="a" * 64, number=1), ""),
    ],
)
def test_a_unit_of_a_batch_takes_the_codes_of_its_batch_alone(
    unset: Machine, code: SetupCode, why: str
) -> None:
    done = unset.ask(text(code))

    assert done is not None
    assert done.applied == (not why)
    assert why in done.text
    assert is_in_both(unset.on_the_card()["result.txt"].decode().splitlines()[1])


def test_a_unit_that_never_had_a_card_takes_nobodys_code(tmp_path: Path) -> None:
    machine = Machine(tmp_path)

    done = machine.ask(text(a_code()))

    assert done is not None
    assert "never had a card" in done.text


def test_a_card_that_cannot_be_written_is_answered_and_tried_again(unset: Machine) -> None:
    content = text(a_code(wifi=WIFI))
    folder = unset.root / "etc/NetworkManager"
    folder.write_bytes(b"in the way")

    with pytest.raises(EdgeError, match="cannot set up"):
        unset.ask(content)

    answer = msgspec.json.decode(unset.files()[ANSWER][0], type=Answer)
    assert (answer.code, answer.applied) == (name_of(content), False)
    assert "the machine's next start tries again" in answer.text
    folder.unlink()
    unset.start()
    assert settings_of(unset).unit.id == "xe-1"


def test_without_a_request_nothing_happens(unset: Machine) -> None:
    before = kept(unset)

    assert unset.start() is None
    assert kept(unset) == before


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_the_scanner_leaves_there_may_be_anything(unset: Machine, kind: str) -> None:
    """It runs without rights, and may have been taken over: root follows it nowhere."""
    request = unset.root / REQUEST
    request.parent.mkdir(parents=True)
    (unset.root / "secret").write_bytes(text(a_code()))
    if kind == "link":
        request.symlink_to(unset.root / "secret")
    elif kind == "pipe":
        os.mkfifo(request)
    else:
        request.mkdir()
    before = kept(unset)

    try:
        done = unset.ask_again()
    except EdgeError:
        done = None

    assert done is None or not done.applied
    assert kept(unset) == before


@pytest.mark.parametrize(
    "content", [text(a_code(number=2, wifi=WIFI)), text(a_move(number=9, wifi=WIFI))]
)
def test_the_power_may_go_at_any_step(tmp_path: Path, content: bytes) -> None:
    """The next start finishes what was begun: it is the old unit or the new one."""
    card = (
        a_card(wifi=CardWifi(ssid="cu")) if content == text(a_move(number=9, wifi=WIFI)) else None
    )
    whole = a_unit(tmp_path / "whole", card)
    old = kept(whole)
    with power_for(10_000) as made:
        whole.ask(content)
    new = kept(whole)
    steps = len(made)
    assert steps > 20
    seen = []

    for calls in range(steps):
        machine = a_unit(tmp_path / str(calls), card)
        with pytest.raises(PowerCut), power_for(calls):
            machine.ask(content)
        # What is under /run goes with the power.
        (machine.root / REQUEST).unlink(missing_ok=True)

        machine.start()

        files = kept(machine)
        assert files in (old, new), f"cut after {calls} of {steps} calls"
        assert APPLYING not in files
        seen.append(files == new)
    # Once begun, it is always finished.
    assert seen == sorted(seen)
    assert {False, True} == set(seen)


def test_a_code_that_was_cut_off_may_be_cut_off_again(tmp_path: Path) -> None:
    content = text(a_code(wifi=WIFI))
    whole = a_unit(tmp_path / "whole")
    whole.ask(content)

    for calls in range(3, 60, 4):
        machine = a_unit(tmp_path / str(calls))
        machine.put(APPLYING, content)
        try:
            with power_for(calls):
                machine.start()
        except PowerCut:
            machine.start()

        assert kept(machine) == kept(whole)
