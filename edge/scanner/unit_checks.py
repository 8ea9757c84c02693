"""What `edge-scanner check` asks of the unit itself: its identity, board, disk and radio."""

from datetime import datetime
from pathlib import Path

import msgspec

from edge.certificates import check_identity
from edge.clock import Clock
from edge.config import secret_path
from edge.errors import EdgeError
from edge.scanner import running
from edge.scanner.carrier import read_centre
from edge.scanner.credentials import open_identity
from edge.scanner.disk_health import mounted
from edge.scanner.identity import Identity
from edge.scanner.pending_enrolment import read_pending
from edge.scanner.settings import ScannerSettings, UnsetSettings
from edge.scanner.setup import STATE, SetupState, board_serial

#: A certificate should have been renewed when this part of its life is over.
LATE_SHARE = 3 / 4
#: Below this a link comes and goes.
WEAK_DBM = -75
#: What ext4 may keep in memory; a power cut costs as much of what is not synced.
COMMIT_S = 30


class Concern(str):
    """What works, but should be seen to."""

    __slots__ = ()


def certificate(settings: ScannerSettings, beside: Path, clock: Clock) -> str:
    """Whose certificate this unit has, and until when. Raises EdgeError where it is no use."""
    broker = settings.broker
    if not settings.enrolment.url and not broker.certificate_file:
        return Concern("none: whoever reaches the broker is let in; use certificates in the field")
    if settings.enrolment.url:
        identity = open_identity(settings, beside, clock)
        if identity.facts is None:
            return _not_enrolled(identity)
        own_file = key_file = identity.newest
    else:
        own_file = secret_path(broker.certificate_file, beside)
        key_file = secret_path(broker.key_file, beside)
    try:
        own, key = own_file.read_bytes(), key_file.read_bytes()
        authority = secret_path(broker.ca_file, beside).read_bytes()
    except OSError as err:
        raise EdgeError(f"{err.filename}: cannot read it: {err.strerror}; use sudo") from err
    own_facts = check_identity(own, key, authority, settings.unit.id)
    at = datetime.fromisoformat(clock.now().at)
    left = own_facts.days_left(at)
    if left < 0:
        raise EdgeError(
            f"ended on {own_facts.not_after:%Y-%m-%d}; scans are kept, but cannot be sent until the"
            f" unit has a new token: edge-provision code {settings.unit.id} --enrol, or a new card"
        )
    text = f"of {own_facts.name}, {left:.0f} days left"
    if at > own_facts.renew_at(LATE_SHARE):
        why = _trouble() or "see that it reaches where units enrol"
        return Concern(f"{text}; it should have been renewed: {why}")
    return text


def _not_enrolled(identity: Identity) -> str:
    if read_pending(identity.folder) is None:
        raise EdgeError(
            f"none, and no token to ask for one; give unit {identity.unit} a card or a set-up code"
        )
    return Concern(f"asked for, not here yet; scans are kept and sent then. {_trouble()}".rstrip())


def _trouble() -> str:
    told = running.ask()
    return told.certificate_trouble if told is not None else ""


def centre(settings: UnsetSettings, beside: Path) -> str:
    """By which key this unit knows its centre. Raises EdgeError for a file that holds none."""
    path = secret_path(settings.carry.receipt_key_file, beside)
    believed = read_centre(settings.carry, beside)
    if believed is None:
        return Concern(
            "its key is not known: this unit follows no command, and believes whoever confirms;"
            f" put what `edge-collector key` prints into {path}"
        )
    return f"known by its key {' or '.join(reversed(believed.ids))}"


def board(root: Path = Path("/")) -> str:
    """Whether this is the board that was set up. Raises EdgeError for a card that was copied."""
    try:
        state = msgspec.json.decode((root / STATE).read_bytes(), type=SetupState)
    except FileNotFoundError:
        return Concern("not set up by a card")
    except OSError as err:
        return Concern(f"{STATE}: {err.strerror}; run this as the scanner's user, or with sudo")
    except msgspec.DecodeError:
        raise EdgeError(f"{root / STATE} is damaged; write this unit a new card") from None
    serial = board_serial(root)
    if state.hardware and serial != state.hardware:
        raise EdgeError(
            f"this card was set up in the board {state.hardware}, and this one is"
            f" {serial or 'unknown'}; two boards under one name lose nothing but confuse everybody:"
            " write this unit a card of its own"
        )
    last = f"set-up code {state.code}" if state.code else f"card {state.number}"
    return f"{serial or 'no serial number'}, {last} of {state.deployment}"


def mount(settings: UnsetSettings, root: Path = Path("/")) -> str:
    """How the disk with the outbox is mounted. Raises EdgeError where it loses what it was told."""
    _, where, kind, options = mounted(Path(settings.outbox.folder), root)
    given = options.split(",")
    if "ro" in given:
        raise EdgeError(
            f"{where} is read-only, as after an error of the card; look at disk health, then:"
            f" sudo mount -o remount,rw {where}"
        )
    if "data=writeback" in given or "nobarrier" in given or "barrier=0" in given:
        raise EdgeError(
            f"{where} is mounted with {options}, which a power cut spoils; use defaults"
        )
    commits = [int(o.removeprefix("commit=")) for o in given if o[7:].isdigit() and "commit=" in o]
    if commits and commits[0] > COMMIT_S:
        return Concern(f"{where} ({kind}) is mounted with commit={commits[0]}; 5 is the default")
    return f"{where} ({kind}), {options}"


def wifi(wireless: Path = Path("/proc/net/wireless")) -> str:
    """How strong the wireless network is."""
    try:
        lines = wireless.read_text(encoding="ascii", errors="replace").splitlines()[2:]
    except FileNotFoundError:
        lines = []
    links = [line.split() for line in lines if len(line.split()) > 3]
    if not links:
        return "no wireless network in use"
    name, level = links[0][0].rstrip(":"), float(links[0][3].rstrip("."))
    if level < WEAK_DBM:
        return Concern(f"{name}: {level:.0f} dBm is weak; move the antenna or the access point")
    return f"{name}: {level:.0f} dBm"
