"""Takes the card file at the start of the machine, and becomes the unit that it tells of.

Everything is checked before anything is written: a card that is refused changes nothing. What is
written is whole files, the same ones however often it is done, and the card goes last; so whenever
the power is cut, the next start does the rest, before the scanner runs. Scans that wait are never
touched: a card for another unit is refused until they are gone.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge import config
from edge.card import (
    FILE,
    FOLDER,
    MAX_BYTES,
    Bytes32,
    Card,
    CardUnit,
    CardWifi,
    card_token,
    read_card,
)
from edge.cli import printable
from edge.errors import CardError, ConfigError, EdgeError
from edge.files import move_file, replace_file, wipe_file
from edge.messages import Name, Sequence
from edge.refusals import in_both
from edge.scanner.in_vietnamese import WORDS
from edge.scanner.outbox import read_outbox
from edge.scanner.pending_enrolment import IDENTITY, PendingEnrolment, pend, wipe_identity
from edge.scanner.settings import ScannerSettings, UnsetSettings

#: Beside the card file, for whoever looks at the card on a laptop or a phone.
RESULT = "result.txt"
#: What the card file is called from when it was applied until it is wiped.
APPLIED = "card.applied"

#: Where the unit remembers its last card; where the scanner can put nothing in its place.
STATE = "etc/edge/setup.json"
SETTINGS = "etc/edge/scanner.toml"
_AUTHORITY = "etc/edge/authority.pem"
_TRACING = "etc/edge/tracing.pub"
BASIS_KEY = "etc/edge/basis.pub"
BASIS = "etc/edge/basis"
#: How the names of the documents begin there that the office's list of updates brings.
OFFICE_BASIS = "office-"
_RECEIPTS = "etc/edge/receipts.pub"
#: By which root believes updates.
UPDATES_KEY = "etc/edge/updates.asc"
WIFI = "etc/NetworkManager/system-connections/edge-wifi.nmconnection"
#: What it believes, and whose secrets it is to seal; files or folders.
SECRETS = (_AUTHORITY, _TRACING, BASIS_KEY, BASIS)
_SERIAL = "proc/device-tree/serial-number"
_RADIOS = "var/lib/systemd/rfkill"
_RADIO_SWITCH = "dev/rfkill"


class SetupState(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the unit remembers of the last card or set-up code that it took."""

    deployment: Name
    number: Sequence
    setup_key: Bytes32
    #: None of a batch card: the unit waits for its set-up code.
    unit: Name | None
    batch: Name | None = None
    #: Of the last set-up code; None where there was none since the last card.
    code: Sequence | None = None
    #: A name for its content that says nothing of it; "" where there was none.
    code_name: str = ""
    #: Of the board at that time; "" where it has none.
    hardware: str


@dataclass(frozen=True)
class Setup:
    """What came of looking for a card, or of a set-up code."""

    applied: bool
    text: str
    #: The settings by which it can be told by light and sound; None if there are none.
    settings: UnsetSettings | None = None


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
            return tell(boot, Setup(False, str(err), present_settings(root)))
        _apply(card, files, root)
        move_file(folder / FILE, folder / APPLIED)
        wipe_file(folder / APPLIED)
        return tell(boot, Setup(True, _what_it_is(card), settings))
    except EdgeError:
        # Some of them are OSErrors, too, and say already what is wrong.
        raise
    except OSError as err:
        raise EdgeError(f"cannot set up: {err.filename or boot}: {err.strerror}") from err


def _what_it_is(card: Card) -> str:
    unit, token = card.unit, card_token(card)
    if unit is None or token is None:
        text = f"batch {card.batch}, waits for its set-up code; card {card.number}"
    else:
        text = (
            f"unit {unit.id}, {unit.place}, {unit.direction}; card {card.number};"
            f" asks for its certificate, at the latest on {token.last_day}"
        )
    return text + ("" if card.basis and card.basis.documents else "; NO LEGAL BASIS on the card")


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
    state = read_state(root)
    card = read_card(data, state.setup_key if state else None)
    if state and state.unit and card.unit is None:
        raise CardError(
            f"this is unit {state.unit} already, and a batch card would make it none; wipe it"
            " first, or give it a set-up code"
        )
    if state and card.number < state.number:
        raise CardError(
            f"card {card.number} is older than card {state.number}, which this unit has;"
            " write it a new one"
        )
    former = _former_outbox(card, root)
    if former is not None and (pending := read_outbox(former).status().pending):
        raise CardError(
            f"{pending} scans wait to be sent under this unit's name and area, and would be"
            " another's: let them be sent, or carry them out (edge-scanner outbox export), then"
            " start with this card again"
        )
    serial = board_serial(root)
    if card.unit and card.unit.hardware and card.unit.hardware != serial:
        raise CardError(
            f"this card is for the board {card.unit.hardware}; this one is {serial or 'unknown'}"
        )
    return card


def _former_outbox(card: Card, root: Path) -> Path | None:
    """The outbox, where *card* gives its unit another name or area; None where it does not.

    The centre counts scans by both: those of the new unit begin anew, in an outbox of their own.
    """
    settings = present_settings(root)
    if card.unit is None or not isinstance(settings, ScannerSettings):
        return None
    if (settings.unit.id, settings.unit.area) == (card.unit.id, card.unit.area):
        return None
    folder = root / settings.outbox.folder.lstrip("/")
    return folder if folder.exists() else None


def read_state(root: Path) -> SetupState | None:
    """What this unit remembers; None if it took no card yet. Raises EdgeError, OSError."""
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


def _files(card: Card, root: Path) -> tuple[list["UnitFile"], UnsetSettings]:
    """What *card* makes of this unit, in the order in which it is written."""
    table = _settings(card)
    kind = UnsetSettings if card.unit is None else ScannerSettings
    try:
        settings = config.check(table, kind, "the card's settings")
    except ConfigError as err:
        raise CardError(str(err)) from None
    files = [
        UnitFile(_AUTHORITY, card.authority.encode(), 0o644),
        UnitFile(_TRACING, f"{msgspec.to_builtins(card.tracing_key)}\n".encode(), 0o644),
    ]
    if card.basis is not None:
        key = f"{msgspec.to_builtins(card.basis.key)}\n"
        files.append(UnitFile(BASIS_KEY, key.encode(), 0o644))
        for number, document in enumerate(card.basis.documents):
            files.append(UnitFile(f"{BASIS}/card-{number}.json", document.encode(), 0o644))
    if card.receipts_key is not None:
        key = msgspec.to_builtins(card.receipts_key)
        files.append(UnitFile(_RECEIPTS, f"{key}\n".encode(), 0o644))
    if card.updates is not None:
        files.append(UnitFile(UPDATES_KEY, card.updates.key.encode(), 0o644))
    if card.wifi is not None:
        files.append(wifi_file(card.wifi))
    head = f"# From card {card.number} of {card.deployment}; the next card replaces it.\n"
    files.append(settings_file(head, table))
    state = SetupState(
        deployment=card.deployment,
        number=card.number,
        setup_key=card.setup_key,
        unit=card.unit.id if card.unit else None,
        batch=card.batch,
        hardware=board_serial(root),
    )
    files.append(state_file(state))
    return files, settings


@dataclass(frozen=True)
class UnitFile:
    """A file of this unit that a card or a set-up code decides, whole."""

    path: str
    content: bytes
    mode: int


def settings_file(head: str, table: dict[str, Any]) -> UnitFile:
    """The settings; *head* is the comment that they begin with."""
    return UnitFile(SETTINGS, (head + config.as_toml(table)).encode(), 0o644)


def state_file(state: SetupState) -> UnitFile:
    """What the unit remembers. Nothing secret: the scanner looks at set-up codes by it."""
    return UnitFile(STATE, msgspec.json.encode(state), 0o644)


def wifi_file(wifi: CardWifi) -> UnitFile:
    """The wireless network, for NetworkManager."""
    return UnitFile(WIFI, _wifi_text(wifi).encode(), 0o600)


def write_files(files: Iterable[UnitFile], root: Path) -> None:
    """Write *files* one after the other, each on disk before the next. Raises OSError."""
    # Each file says itself who may read it; the scanner must be able to read its settings.
    before = os.umask(0o022)
    try:
        for file in files:
            path = root / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, [file.content], file.mode)
    finally:
        os.umask(before)


def _apply(card: Card, files: list[UnitFile], root: Path) -> None:
    state = read_state(root)
    if state is not None and card.unit is not None and state.unit != card.unit.id:
        # What another unit was given is not shown in the name of this one.
        wipe_identity(root)
    # Before the settings: whoever reads those finds with what to enrol.
    if card.unit is not None and card.enrolment.token is not None:
        pending = PendingEnrolment(
            deployment=card.deployment,
            unit=card.unit.id,
            url=card.enrolment.url,
            token=card.enrolment.token,
        )
        pend(pending, root)
    if former := _former_outbox(card, root):
        # All of it is confirmed; with it goes what the centre wished for that unit.
        shutil.rmtree(former)
    write_files(files, root)
    kept = {root / file.path for file in files}
    for former in (root / BASIS).glob("*.json"):
        if former not in kept and former.name.startswith(("card-", OFFICE_BASIS)):
            former.unlink()
    if card.wifi is None:
        (root / WIFI).unlink(missing_ok=True)
    else:
        switch_radio_on(root)


def switch_radio_on(root: Path) -> None:
    """Raspberry Pi OS keeps the radio off until somebody has said in which country it is."""
    for saved in (root / _RADIOS).glob("*:wlan"):
        saved.write_text("0")
    switch = root / _RADIO_SWITCH
    if switch.exists():
        # struct rfkill_event: every (op 3) wireless LAN (type 1) unblocked.
        with switch.open("wb", buffering=0) as device:
            device.write(bytes([0, 0, 0, 0, 1, 3, 0, 0]))


def _settings(card: Card) -> dict[str, Any]:
    broker = {
        "url": card.broker.url,
        "ca_file": Path(_AUTHORITY).name,
    }
    unit = {} if card.unit is None else {"unit": unit_settings(card.unit)}
    enrolment = {"url": card.enrolment.url, "folder": f"/{IDENTITY}"}
    given = {**unit, "broker": broker, "enrolment": enrolment, **_update_settings(card)}
    return config.merged([given, card.settings])


def _update_settings(card: Card) -> dict[str, Any]:
    if card.updates is None:
        return {}
    return {"update": {"url": card.updates.url, "hours": card.updates.hours}}


def unit_settings(unit: CardUnit) -> dict[str, Any]:
    """The settings of who and where the unit is."""
    return {
        "id": unit.id,
        "area": unit.area,
        "place": unit.place,
        "direction": unit.direction,
        "trip": unit.trip,
        "tracing_key_file": Path(_TRACING).name,
    }


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


def present_settings(root: Path) -> UnsetSettings | None:
    """The settings that this unit has; None if it has none that can be used."""
    try:
        table = config.read(root / SETTINGS)
        kind = ScannerSettings if "unit" in table else UnsetSettings
        return config.check(table, kind, SETTINGS)
    except ConfigError:
        return None


def tell(boot: Path, setup: Setup) -> Setup:
    """Write what came of it onto *boot*, where the unit's folder is there. Raises OSError."""
    folder = boot / FOLDER
    if folder.is_dir():
        replace_file(folder / RESULT, [line.encode() for line in _result_lines(setup)], 0o644)
    return setup


def _result_lines(setup: Setup) -> Iterator[str]:
    if setup.applied:
        yield "ĐÃ CÀI ĐẶT XONG / SET UP\r\n"
    else:
        yield "KHÔNG CÀI ĐẶT ĐƯỢC, chưa thay đổi gì / NOT SET UP, nothing was changed\r\n"
    yield f"{printable(in_both(setup.text, WORDS))}\r\n"
