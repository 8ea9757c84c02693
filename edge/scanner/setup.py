"""Takes the card file at the start of the machine, and becomes the unit that it tells of.

Everything is checked before anything is written: a card that is refused changes nothing. What is
written is whole files, the same ones however often it is done, and the card goes last; so whenever
the power is cut, the next start does the rest, before the scanner runs. Nothing here touches the
outbox.
"""

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge import config
from edge.card import FILE, FOLDER, MAX_BYTES, Bytes32, Card, CardWifi, identity_facts, read_card
from edge.cli import printable
from edge.errors import CardError, ConfigError, EdgeError
from edge.files import move_file, replace_file, wipe_file
from edge.messages import Name, Sequence
from edge.scanner.pending_enrolment import IDENTITY, scanner_user
from edge.scanner.settings import ScannerSettings

#: Beside the card file, for whoever looks at the card on a laptop or a phone.
RESULT = "result.txt"
#: What the card file is called from when it was applied until it is wiped.
APPLIED = "card.applied"

#: Where the unit remembers its last card.
STATE = "var/lib/edge/setup.json"
SETTINGS = "etc/edge/scanner.toml"
_AUTHORITY = "etc/edge/authority.pem"
_TRACING = "etc/edge/tracing.pub"
_BASIS_KEY = "etc/edge/basis.pub"
_BASIS = "etc/edge/basis"
_RECEIPTS = "etc/edge/receipts.pub"
WIFI = "etc/NetworkManager/system-connections/edge-wifi.nmconnection"
#: What nobody but this unit may have, and what it believes; files or folders.
SECRETS = (IDENTITY, _AUTHORITY, _TRACING, _BASIS_KEY, _BASIS)
_SERIAL = "proc/device-tree/serial-number"
_RADIOS = "var/lib/systemd/rfkill"
_RADIO_SWITCH = "dev/rfkill"


class SetupState(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the unit remembers of the last card that it took."""

    deployment: Name
    number: Sequence
    setup_key: Bytes32
    unit: Name
    #: Of the board at that time; "" where it has none.
    hardware: str


@dataclass(frozen=True)
class Setup:
    """What came of looking for a card."""

    applied: bool
    text: str
    #: The settings by which it can be told by light and sound; None if there are none.
    settings: ScannerSettings | None


def set_up(boot: Path, root: Path = Path("/")) -> Setup | None:
    """Take the card file on *boot*, the boot partition, if there is one; None if there is not.

    Raises EdgeError only where this machine, rather than the card, is at fault.
    """
    folder = boot / FOLDER
    try:
        wipe_file(folder / APPLIED)
        if not (folder / FILE).exists():
            return None
        try:
            card = _read(folder / FILE, root)
            files, settings = _files(card, root)
        except CardError as err:
            return _tell(folder, Setup(False, str(err), _present_settings(root)))
        # Each file says itself who may read it; the scanner must be able to read its settings.
        before = os.umask(0o022)
        try:
            _apply(card, files, root)
        finally:
            os.umask(before)
        move_file(folder / FILE, folder / APPLIED)
        wipe_file(folder / APPLIED)
        facts = identity_facts(card)
        text = (
            f"unit {card.unit.id}, {card.unit.place}, {card.unit.direction}; card {card.number};"
            f" certificate until {facts.not_after:%Y-%m-%d}"
            + ("" if card.basis and card.basis.documents else "; NO LEGAL BASIS on the card")
        )
        return _tell(folder, Setup(True, text, settings))
    except OSError as err:
        raise EdgeError(f"cannot set up: {err.filename or boot}: {err.strerror}") from err


def board_serial(root: Path = Path("/")) -> str:
    """The serial number of this board, as it is printed by the firmware; "" if it has none."""
    try:
        text = (root / _SERIAL).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return text.strip("\0\n ").lower()


def _read(path: Path, root: Path) -> Card:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    state = _state(root)
    card = read_card(data, state.setup_key if state else None)
    if state and card.number < state.number:
        raise CardError(
            f"card {card.number} is older than card {state.number}, which this unit has;"
            " write it a new one"
        )
    serial = board_serial(root)
    if card.unit.hardware and card.unit.hardware != serial:
        raise CardError(
            f"this card is for the board {card.unit.hardware}; this one is {serial or 'unknown'}"
        )
    return card


def _state(root: Path) -> SetupState | None:
    path = root / STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=SetupState)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise EdgeError(
            f"{path} is damaged, so it cannot be told whose unit this is; wipe the unit, or write"
            " its card anew"
        ) from None


def _files(card: Card, root: Path) -> tuple[list["_File"], ScannerSettings]:
    """What *card* makes of this unit, in the order in which it is written."""
    text = _settings_text(card)
    try:
        settings = config.check(tomllib.loads(text), ScannerSettings, "the card's settings")
    except ConfigError as err:
        raise CardError(str(err)) from None
    identity = card.identity
    files = [
        _File(_AUTHORITY, identity.authority.encode(), 0o644),
        _File(_TRACING, f"{msgspec.to_builtins(card.tracing_key)}\n".encode(), 0o644),
        _File(f"{IDENTITY}/unit.pem", identity.certificate.encode(), 0o600, owned=True),
        _File(f"{IDENTITY}/unit.key", identity.key.encode(), 0o600, owned=True),
    ]
    if card.basis is not None:
        key = f"{msgspec.to_builtins(card.basis.key)}\n"
        files.append(_File(_BASIS_KEY, key.encode(), 0o644))
        for number, document in enumerate(card.basis.documents):
            files.append(_File(f"{_BASIS}/card-{number}.json", document.encode(), 0o644))
    if card.receipts_key is not None:
        key = msgspec.to_builtins(card.receipts_key)
        files.append(_File(_RECEIPTS, f"{key}\n".encode(), 0o644))
    if card.wifi is not None:
        files.append(_File(WIFI, _wifi_text(card.wifi).encode(), 0o600))
    files.append(_File(SETTINGS, text.encode(), 0o644))
    state = SetupState(
        deployment=card.deployment,
        number=card.number,
        setup_key=card.setup_key,
        unit=card.unit.id,
        hardware=board_serial(root),
    )
    files.append(_File(STATE, msgspec.json.encode(state), 0o600))
    return files, settings


@dataclass(frozen=True)
class _File:
    path: str
    content: bytes
    mode: int
    #: Whether it belongs to the user of the scanner rather than to root.
    owned: bool = False


def _apply(card: Card, files: list[_File], root: Path) -> None:
    owner = scanner_user()
    for file in files:
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, [file.content], file.mode)
        if file.owned:
            path.parent.chmod(0o700)
            for owned in (path, path.parent):
                os.chown(owned, *owner)
    kept = {root / file.path for file in files}
    for former in (root / _BASIS).glob("card-*.json"):
        if former not in kept:
            former.unlink()
    if card.wifi is None:
        (root / WIFI).unlink(missing_ok=True)
    else:
        _switch_radio_on(root)


def _switch_radio_on(root: Path) -> None:
    """Raspberry Pi OS keeps the radio off until somebody has said in which country it is."""
    for saved in (root / _RADIOS).glob("*:wlan"):
        saved.write_text("0")
    switch = root / _RADIO_SWITCH
    if switch.exists():
        # struct rfkill_event: every (op 3) wireless LAN (type 1) unblocked.
        with switch.open("wb", buffering=0) as device:
            device.write(bytes([0, 0, 0, 0, 1, 3, 0, 0]))


def _settings_text(card: Card) -> str:
    unit = card.unit
    table: dict[str, Any] = {
        "unit": {
            "id": unit.id,
            "area": unit.area,
            "place": unit.place,
            "direction": unit.direction,
            "trip": unit.trip,
            "tracing_key_file": Path(_TRACING).name,
        },
        "broker": {
            "url": card.broker.url,
            "ca_file": Path(_AUTHORITY).name,
            "certificate_file": f"/{IDENTITY}/unit.pem",
            "key_file": f"/{IDENTITY}/unit.key",
        },
        **card.settings,
    }
    head = f"# From card {card.number} of {card.deployment}; the next card replaces it.\n"
    return head + config.as_toml(table)


def _wifi_text(wifi: CardWifi) -> str:
    lines = [
        "[connection]",
        "id=edge-wifi",
        "type=wifi",
        "autoconnect=true",
        "",
        "[wifi]",
        "mode=infrastructure",
        # Its bytes: a name may have any.
        "ssid=" + "".join(f"{byte};" for byte in wifi.ssid.encode()),
    ]
    if wifi.password:
        escaped = wifi.password.replace("\\", "\\\\").replace(" ", "\\s")
        lines += ["", "[wifi-security]", "key-mgmt=wpa-psk", f"psk={escaped}"]
    lines += ["", "[ipv4]", "method=auto", "", "[ipv6]", "method=auto", ""]
    return "\n".join(lines)


def _present_settings(root: Path) -> ScannerSettings | None:
    try:
        return config.load(root / SETTINGS, ScannerSettings)
    except ConfigError:
        return None


def _tell(folder: Path, setup: Setup) -> Setup:
    replace_file(folder / RESULT, [line.encode() for line in _result_lines(setup)], 0o644)
    return setup


def _result_lines(setup: Setup) -> Iterator[str]:
    if setup.applied:
        yield "ĐÃ CÀI ĐẶT XONG / SET UP\r\n"
    else:
        yield "KHÔNG CÀI ĐẶT ĐƯỢC, chưa thay đổi gì / NOT SET UP, nothing was changed\r\n"
    yield f"{printable(setup.text)}\r\n"
