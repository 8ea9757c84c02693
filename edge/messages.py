"""What travels between units and centre. Version 1. What lies inside the seal is in identity.py.

Each message is a frozen struct that turns itself into JSON and back, checks every field on both
sides, and refuses what it does not know with `BadMessage`, whose text never repeats the content.
Changing a message means a new version number beside the old one; the collector reads every version
that it has ever been sent. The JSON Schemas and the AsyncAPI document in `edge/contract/` are made
from this file by `python -m edge.contract`, and a test keeps them true.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from edge.clock import Source
from edge.errors import BadMessage
from edge.topics import NAME

VERSION = 1

#: Larger than any message of ours by far; what is larger is not even looked at.
MAX_MESSAGE_BYTES = 65_536
#: With its topic and what MQTT 5 may add.
MAX_PACKET_BYTES = MAX_MESSAGE_BYTES + 1024

#: What came of a set-up code is cut to this.
SETUP_CHARACTERS = 200


def whole(pattern: str) -> str:
    """*pattern* for a whole text."""
    # "$" would let a line end through behind the text; this end is the same in Python and in
    # the ECMA expressions of JSON Schema.
    return f"^(?:{pattern}){_END}"


_END = "(?![\\s\\S])"


Name = Annotated[str, Meta(pattern=whole(NAME), description="1 to 32 of a-z, 0-9, inner hyphens")]
Label = Annotated[str, Meta(pattern=whole("[a-z0-9_-]{1,40}"))]
Hex8 = Annotated[str, Meta(pattern=whole("[0-9a-f]{8}"))]
Hex16 = Annotated[str, Meta(pattern=whole("[0-9a-f]{16}"))]
Hex32 = Annotated[str, Meta(pattern=whole("[0-9a-f]{32}"))]
# The calendar's days alone, leap days in leap years: whoever calculates with a time that came in
# need not ask again whether there is one. A second that is 60 no clock of ours says.
_DAY = (
    "(?!0000)[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    "|(?:0[13578]|1[02])-31)"
)
_LEAP_YEAR = "[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00"
_HOUR = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}"
_UTC = f"(?:{_DAY}|(?:{_LEAP_YEAR})-02-29)T{_HOUR}Z"
Utc = Annotated[str, Meta(pattern=whole(_UTC), description="UTC, ISO 8601 with milliseconds")]
#: The pattern of free text. A database's text cannot hold the character NUL.
FREE_TEXT = whole("[^\\u0000]*")
# 2^53: what every JSON reader keeps exact.
Count = Annotated[int, Meta(ge=0, le=9_007_199_254_740_992)]
Sequence = Annotated[int, Meta(ge=1, le=9_007_199_254_740_992)]
Direction = Literal["in", "out", "both"]
Trip = Annotated[str, Meta(pattern=whole("[a-z0-9-]{0,64}"))]
DocumentKind = Literal["qrqg", "cccd", "can_cuoc", "bhyt"]
ClockSource = Source

_M = TypeVar("_M", bound="Message")


class Message(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every message has in common."""

    def encode(self) -> bytes:
        """This message as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls: type[_M], payload: bytes) -> _M:
        """Read *payload*. Raises BadMessage with a reason that holds nothing of the content."""
        if len(payload) > MAX_MESSAGE_BYTES:
            raise BadMessage(f"{len(payload)} bytes are more than {MAX_MESSAGE_BYTES}")
        try:
            return msgspec.json.decode(payload, type=cls)
        except msgspec.ValidationError as err:
            raise BadMessage(_reason(payload, err)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Their texts can quote what was read; hence a reason of our own.
            raise BadMessage("not JSON") from None


def _shown(pattern: str, **more: str) -> Meta:
    """What a text of a scan must be. It stands in the schema, and `_fit` holds all of them to it.

    msgspec looks at one text after the other: that was two thirds of what it cost to read a scan.
    """
    return Meta(extra_json_schema={"pattern": whole(pattern), **more})


_ScanHex8 = Annotated[str, _shown("[0-9a-f]{8}")]
_ScanHex16 = Annotated[str, _shown("[0-9a-f]{16}")]
_ScanHex32 = Annotated[str, _shown("[0-9a-f]{32}")]
_ScanName = Annotated[str, _shown(NAME, description="1 to 32 of a-z, 0-9, inner hyphens")]
_ScanTrip = Annotated[str, _shown("[a-z0-9-]{0,64}")]
_ScanUtc = Annotated[str, _shown(_UTC, description="UTC, ISO 8601 with milliseconds")]


# There are thousands at a time, and no circles among them for the garbage collector to look for.
class Scan(Message, frozen=True, kw_only=True, gc=False):
    """One code, accepted once. `<unit>/scan`, QoS 1, not retained; also an array of several."""

    v: Literal[1] = 1
    #: Made by the unit when the scan is; storage takes each id once.
    id: _ScanHex32
    #: The life of the outbox that numbered it: a re-imaged unit starts a new one.
    epoch: _ScanHex16
    #: The unit's own number: 1, 2, 3, ... within its epoch, without a gap.
    seq: Sequence
    #: The register's name of the gate, door or vehicle.
    place: _ScanName
    direction: Direction
    #: The trip of a vehicle, "" elsewhere.
    trip: _ScanTrip = ""
    #: Which kind of document was shown; whose is sealed.
    document: DocumentKind
    #: When, as far as the unit knew; `boot` and `uptime_ms` let the centre correct it later.
    at: _ScanUtc
    boot: _ScanHex32
    uptime_ms: Count
    clock: ClockSource
    #: For a scan made while `clock` was "none": when it really was, worked out by the unit once it
    #: knew the time in the same boot. Filled in when it is sent.
    corrected: _ScanUtc | None = None
    #: Which public key of the tracing desk `sealed` was sealed to.
    key: _ScanHex8
    #: The identity, readable by the tracing desk alone: see sealing.py.
    sealed: Annotated[bytes, Meta(max_length=4096)]

    @classmethod
    def decode(cls, payload: bytes) -> "Scan":
        """Read *payload*. Raises BadMessage with a reason that holds nothing of the content."""
        scan = super().decode(payload)
        if not _fit((scan,)):
            where = _misfit(scan)
            raise BadMessage(f"text of another form than the contract's - at `$.{where}`") from None
        return scan


_FORMS: dict[str, str] = {
    name: option["pattern"].removeprefix("^").removesuffix(_END)
    for name, kind in msgspec.json.schema(Scan)["$defs"]["Scan"]["properties"].items()
    for option in (kind, *kind.get("anyOf", ()))
    if "pattern" in option
}
#: Nearly always the same in all scans of a message.
_SHARED = ("epoch", "place", "trip", "boot", "key")
_shared_by, _id_of, _at_of = attrgetter("corrected", *_SHARED), attrgetter("id"), attrgetter("at")
# One look at all of them, line by line: no form has a line's end in it.
_SHARED_FORM = re.compile("\n".join(map(_FORMS.__getitem__, _SHARED)))
_TIME_FORM = re.compile(_FORMS["at"])
_ID_CHARACTERS = 32


def _fit(scans: Collection[Scan]) -> bool:
    """Whether the texts of *scans* are as their schema says."""
    ids = list(map(_id_of, scans))
    if set(map(len, ids)) != {_ID_CHARACTERS} or not _is_hex("".join(ids)):
        return False
    # Each is looked at once, however many scans say it.
    for corrected, *shared in set(map(_shared_by, scans)):
        if _SHARED_FORM.fullmatch("\n".join(shared)) is None:
            return False
        if corrected is not None and _TIME_FORM.fullmatch(corrected) is None:
            return False
    return all(map(_TIME_FORM.fullmatch, map(_at_of, scans)))


def _is_hex(text: str) -> bool:
    """Whether *text* is of 0-9 and a-f alone."""
    try:
        # It skips spaces, and takes capitals.
        return bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def _misfit(scan: Scan) -> str:
    """The first field of *scan*, which does not fit, whose text does not."""
    texts = ((name, getattr(scan, name)) for name in _FORMS)
    wrong = (
        name for name, text in texts if text is not None and not re.fullmatch(_FORMS[name], text)
    )
    return next(wrong)


#: What travels on `<unit>/scan`: one scan, or an array of several that a unit sends together.
MOST_SCANS = 100
Scans = Annotated[tuple[Scan, ...], Meta(min_length=1, max_length=MOST_SCANS)]
#: A unit puts no more into one message than this, but for a scan that is larger by itself.
TOGETHER_BYTES = 16_384


def fit_together(scans: list[bytes], most_bytes: float = TOGETHER_BYTES) -> int:
    """How many of *scans*, each encoded, go into one message: the first one at least."""
    size = 1
    for count, scan in enumerate(scans):
        size += len(scan) + 1
        if count and (size > most_bytes or count == MOST_SCANS):
            return count
    return len(scans)


def scans_message(scans: list[bytes]) -> bytes:
    """The message that carries *scans*, each encoded, of which there is at least one."""
    return scans[0] if len(scans) == 1 else b"[%b]" % b",".join(scans)


def read_scans(payload: bytes) -> tuple[tuple[Scan, ...], list[tuple[bytes, str]]]:
    """The scans of a message, and what in it cannot be read, each with the reason.

    One bad scan of several takes none of the others with it. Raises BadMessage as `decode` does,
    for one alone and for an array that is none or too long.
    """
    if payload[:1] != b"[":
        return (Scan.decode(payload),), []
    if len(payload) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"{len(payload)} bytes are more than {MAX_MESSAGE_BYTES}")
    try:
        scans: tuple[Scan, ...] = _SCANS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_each(payload)
    return (scans, []) if _fit(scans) else _read_each(payload)


def _read_each(payload: bytes) -> tuple[tuple[Scan, ...], list[tuple[bytes, str]]]:
    try:
        parts = _PARTS.decode(payload)
    except msgspec.ValidationError:
        raise BadMessage(f"an array of scans that is empty, or of more than {MOST_SCANS}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage("not JSON") from None
    scans: list[Scan] = []
    bad: list[tuple[bytes, str]] = []
    for part in parts:
        try:
            scans.append(Scan.decode(bytes(part)))
        except BadMessage as err:
            bad.append((bytes(part), str(err)))
    return tuple(scans), bad


_SCANS = msgspec.json.Decoder(Scans)
_PARTS = msgspec.json.Decoder(
    Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_SCANS)]
)


class ConfirmedRange(Struct, frozen=True, forbid_unknown_fields=True):
    """Scans *first* to *last*, both included, are rows in storage."""

    first: Sequence
    last: Sequence
    #: `check_of` the ids of exactly these scans, in order: proof that they are the unit's own, and
    #: not those of another unit that runs under the same name.
    check: Hex16


#: 0 or 1, whether the other branch is the first of the two or the second; then its SHA-256.
PathStep = Annotated[bytes, Meta(min_length=33, max_length=33)]


class Confirmed(Message, frozen=True, kw_only=True):
    """What storage has committed of a unit's scans. `<unit>/confirmed`, QoS 0, not retained."""

    # QoS 0, since with one nothing is lost: a unit sends again what is not confirmed, and is
    # answered again; and units subscribe to it with QoS 0 anyway.
    v: Literal[1] = 1
    epoch: Hex16
    ranges: Annotated[tuple[ConfirmedRange, ...], Meta(min_length=1, max_length=500)]
    #: By the centre's key: see edge/signed.py. "" in a receipt, which is signed as a whole.
    signature: Annotated[bytes, Meta(max_length=64)] = b""
    #: Of a signature over several confirmations: how this one leads to what was signed.
    path: Annotated[tuple[PathStep, ...], Meta(max_length=16)] | UnsetType = UNSET


class MissingRange(Struct, frozen=True, forbid_unknown_fields=True):
    """Scans *first* to *last*, both included, are missing in storage."""

    first: Sequence
    last: Sequence


class Again(Message, frozen=True, kw_only=True):
    """Asks for missing scans once more. `<unit>/again`, QoS 1, not retained.

    The unit sends those that it still has, confirmed or not, and says nothing of the others. Of an
    epoch that is not its own it has none.
    """

    v: Literal[1] = 1
    epoch: Hex16
    ranges: Annotated[tuple[MissingRange, ...], Meta(min_length=1, max_length=100)]


class Status(Message, frozen=True, kw_only=True):
    """Whether a unit is there. `<unit>/status`, QoS 1, retained; "offline" is its last will."""

    v: Literal[1] = 1
    state: Literal["online", "stopped", "offline"]
    #: Grows with every connection of the unit, so that a late will cannot end a newer session.
    birth: Count
    place: Name
    direction: Direction
    software: Annotated[str, Meta(max_length=40, pattern=FREE_TEXT)]
    #: The revision of the desired settings by which it runs.
    config: Hex16 = "0" * 16
    #: By which keys it knows its centre, the newest last; none believes whoever confirms.
    centre: Annotated[tuple[Hex8, ...], Meta(max_length=2)] = ()
    epoch: Hex16
    #: The moment this was made, from which the centre learns when the boot began; for a last will
    #: that was before it connected.
    at: Utc
    boot: Hex32
    uptime_ms: Count
    clock: ClockSource


NetworkKind = Literal["ethernet", "wifi", "mobile", "other", "none"]
Bytes = Count


class Machine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the unit's machine is; null where it does not tell."""

    temperature_c: float | None = None
    #: The supply is too weak right now, or was at any time since the boot.
    under_voltage: bool | None = None
    under_voltage_since_boot: bool | None = None
    #: Slowed down for heat or for want of power.
    throttled: bool | None = None
    #: Of the disk that holds the scans.
    disk_total_bytes: Bytes | None = None
    disk_free_bytes: Bytes | None = None
    #: Share of its life that the card says it has used.
    card_wear: Annotated[float, Meta(ge=0, le=1)] | None = None
    memory_total_bytes: Bytes | None = None
    memory_free_bytes: Bytes | None = None
    #: What the scanner itself takes.
    memory_own_bytes: Bytes | None = None
    #: Mean of the last minute: processes that run or want to.
    load: Annotated[float, Meta(ge=0)] | None = None
    #: What leads out, and how strong it is.
    network: NetworkKind = "none"
    signal_dbm: Annotated[int, Meta(ge=-200, le=0)] | None = None


class Update(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How it is with the newest version of the software that the unit heard of."""

    version: Annotated[str, Meta(max_length=40, pattern=FREE_TEXT)]
    #: "waiting" for a time at which nobody comes; "rolled_back": it did not reach scanning, and the
    #: one before is in place again; "failed": it was refused, or cannot be put in place.
    state: Literal["waiting", "installed", "rolled_back", "failed"]
    reason: Annotated[str, Meta(max_length=300, pattern=FREE_TEXT)] = ""
    at: Utc


GpsState = Literal["none", "silent", "searching", "fix"]

#: So many stops of a vehicle are told, the newest; a message of a time without connection has more
#: time between it and the next.
KEPT_STOPS = 12


class Stop(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a vehicle stood, rounded by the unit's settings. Of a vehicle, never of a person."""

    #: By the receiver's own time.
    since: Utc
    #: None while it stands there.
    until: Utc | None
    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]


class OnBoard(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a unit on a vehicle tells of it."""

    #: The trip by the clock, or that of the settings.
    trip: Trip
    #: How its GPS receiver is: there is none, it says nothing, it sees no satellites, it works.
    gps: GpsState
    #: The newest, oldest first; empty unless the settings say that they are told.
    stops: Annotated[tuple[Stop, ...], Meta(max_length=KEPT_STOPS)] = ()


class Health(Message, frozen=True, kw_only=True):
    """Counts since the scanner started, and how it is. `<unit>/health`, QoS 1, not retained."""

    v: Literal[1] = 1
    at: Utc
    boot: Hex32
    uptime_ms: Count
    clock: ClockSource
    frames: Count
    #: Codes by what became of them.
    accepted: Count
    repeated: Count
    refused: dict[Label, Count]
    #: Scans that could not be kept, each shown to the person as not counted.
    not_kept: Count
    pending: Count
    pending_bytes: Count
    #: When the oldest unconfirmed scan was made, if there is one.
    oldest: Utc | None
    #: Pending scans that were ever found damaged on the unit's disk.
    damaged: Count = 0
    #: How full the outbox is, 0 to 1, and how many hours of room are left at the present rate if
    #: nothing is confirmed; null where that cannot be told.
    fill: Annotated[float, Meta(ge=0, le=1)] | None = None
    hours_left: Annotated[float, Meta(ge=0)] | None = None
    #: The longest that keeping one of the last scans took: a card that wears out is slow first.
    keep_ms_max: Annotated[float, Meta(ge=0)] = 0.0
    #: Confirmations that the unit's centre had not signed: of somebody at the broker, or of a
    #: collector with another key; the scans wait.
    unbelieved: Count = 0
    #: How often something like a code stayed in view without being read.
    unread: Count = 0
    #: How well the unit sees: "unjudged" at first, "good", or what is wrong (scanner/eye.py).
    eye: Label = "unjudged"
    #: Mean grey of the middle of a frame.
    brightness: Annotated[float, Meta(ge=0, le=255)] | None = None
    #: Of the codes read lately; below 0.6 the lens is dirty or out of focus.
    sharpness: Annotated[float, Meta(ge=0)] | None = None
    #: Since when no frame came, and how many came a second lately.
    frame_age_s: Annotated[float, Meta(ge=0)] | None = None
    frame_rate: Annotated[float, Meta(ge=0)] | None = None
    machine: Machine = Machine()
    software: Annotated[str, Meta(max_length=40, pattern=FREE_TEXT)] = ""
    #: What came of the last set-up code since the machine's start; "" for none.
    setup: Annotated[str, Meta(max_length=SETUP_CHARACTERS, pattern=FREE_TEXT)] = ""
    #: How its last update ended; null if there never was one.
    update: Update | None = None
    #: What ended the run before this one; "power" is anything that left no word.
    started_after: Literal["first", "stopped", "crash", "power", "repair", "reboot", "command"] = (
        "first"
    )
    #: How far the unit had to go to mend its camera and has not been well since: the camera opened
    #: anew, the service started anew, the machine. After "exhausted" somebody must go there.
    repair: Literal["none", "camera", "service", "reboot", "exhausted"] = "none"
    #: Why the service or the machine was last started anew for its camera; "" if it is well again.
    repair_reason: Annotated[str, Meta(max_length=200, pattern=FREE_TEXT)] = ""
    #: Of a unit on a vehicle; null elsewhere.
    on_board: OnBoard | None = None
    #: Made while there was no connection, and sent when there was one.
    late: bool = False
    #: When the unit's certificate ends, after which it keeps scans but cannot send them; null if it
    #: has none.
    certificate_ends: Utc | None = None
    #: Processor time of reading one frame.
    decode_ms_p50: Annotated[float, Meta(ge=0)]
    decode_ms_p95: Annotated[float, Meta(ge=0)]


CommandAction = Literal[
    "identify",
    "self_test",
    "restart",
    "reboot",
    "diagnostics",
    "pause",
    "resume",
    "update",
    "rotate_keys",
    "retire",
]


class Command(Message, frozen=True, kw_only=True):
    """Asks a unit to do something once.

    One that comes again is answered again and not done again; one that has expired is not done.
    """

    v: Literal[1] = 1
    #: Whom it is for: signed for one, it is no use for another.
    unit: Name
    id: Hex32
    action: CommandAction
    #: When somebody asked for it. Older than all that the unit remembers, it is not done: it may
    #: have been done and forgotten.
    asked: Utc
    expires: Utc


class Config(Message, frozen=True, kw_only=True):
    """The settings that a unit should have beside its own file.

    It takes the place of the one before. The unit checks it, tries it, and goes back to what it had
    if it loses its broker or its camera by it.
    """

    v: Literal[1] = 1
    #: Whom it is for.
    unit: Name
    #: Grows with each that the unit is sent; one with a smaller number than the last is not taken.
    number: Count
    #: `revision_of` the settings.
    revision: Hex16
    #: Tables and keys as in scanner.toml.
    settings: dict[str, dict[str, Any]]


Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]


class SignedCommand(Message, frozen=True, kw_only=True):
    """What a unit is to do, signed by its centre. `<unit>/cmd`, QoS 1, never retained.

    See edge/signed.py for what the signature is made of.
    """

    v: Literal[1] = 1
    order: Command
    signature: Signature


class SignedConfig(Message, frozen=True, kw_only=True):
    """What settings a unit should have, signed by its centre. `<unit>/config`, QoS 1, not retained.

    See edge/signed.py for what the signature is made of.
    """

    v: Literal[1] = 1
    order: Config
    signature: Signature


class Answer(Message, frozen=True, kw_only=True):
    """What became of a command or of desired settings. `<unit>/answer`, QoS 1, not retained."""

    v: Literal[1] = 1
    about: Literal["command", "config"]
    #: The command's id, or the settings' revision.
    to: Annotated[str, Meta(pattern=whole("[0-9a-f]{16}|[0-9a-f]{32}"))]
    state: Literal["executing", "successful", "failed"]
    at: Utc
    reason: Annotated[str, Meta(max_length=500, pattern=FREE_TEXT)] = ""
    #: What a self-test or diagnostics found.
    detail: Annotated[str, Meta(max_length=30_000, pattern=FREE_TEXT)] = ""


def revision_of(settings: dict[str, dict[str, Any]]) -> str:
    """The `revision` of desired *settings*; "0" * 16 of none."""
    if not settings:
        return "0" * 16
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


#: Each message that travels, by its channel.
CHANNEL_MESSAGES: dict[str, type[Message]] = {
    "scan": Scan,
    "confirmed": Confirmed,
    "again": Again,
    "status": Status,
    "health": Health,
    "cmd": SignedCommand,
    "config": SignedConfig,
    "answer": Answer,
}


def check_of(ids: Iterable[str]) -> str:
    """The `check` of a confirmed range: one hash over its scan ids in order of their numbers."""
    return hashlib.blake2b(bytes.fromhex("".join(ids)), digest_size=8).hexdigest()


class _Version(Struct):
    v: int


def _reason(payload: bytes, err: msgspec.ValidationError) -> str:
    try:
        version = msgspec.json.decode(payload, type=_Version).v
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not a message: no version number in 'v'"
    if version != VERSION:
        return f"version {version} of this message is not known here (known: {VERSION})"
    # msgspec names the field and what it must be. Only in these two texts does it repeat the
    # sender's own.
    text = str(err)
    if "unknown field" in text:
        return "a field that is not of this version"
    if text.startswith("Invalid enum value"):
        return f"a value that is not of this version - at {text.rpartition(' - at ')[2]}"
    return text
