"""The settings of a unit that its centre may wish for too, and what it may not touch.

They stand here, below the roles, so that the centre can refuse a wrong key before it sends it and
the unit before it tries it, by the same words. `config/scanner.toml` is their manual.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from edge import config
from edge.broker import BrokerSettings
from edge.errors import ConfigError
from edge.messages import MOST_SCANS, Name
from edge.opening_hours import Hours
from edge.ring import UpdatesUrl
from edge.succession import Succession
from edge.trips import TripText

Share = Annotated[float, Meta(ge=0, le=1)]
#: Never silent: a beep means that somebody was counted.
Loudness = Annotated[float, Meta(ge=0.05, le=1)]


class UnitSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who and where this unit is."""

    id: Name
    area: Name
    place: Name
    direction: Literal["in", "out", "both"]
    in_hours: Hours = ""
    out_hours: Hours = ""
    trip: Annotated[str, Meta(pattern="^[a-z0-9-]{0,64}$")] = ""
    tracing_key_file: str


class CameraSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where frames come from, and how they are taken."""

    source: Annotated[str, Meta(min_length=1)] = "pi"
    width: Annotated[int, Meta(ge=64, le=4096)] = 1280
    height: Annotated[int, Meta(ge=64, le=4096)] = 720
    frame_rate: Annotated[float, Meta(gt=0, le=240)] = 15.0
    repeat: bool = False
    buffers: Annotated[int, Meta(ge=2, le=8)] = 4
    wait_s: Annotated[float, Meta(gt=0, le=60)] = 3.0
    exposure_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 4000
    gain: Annotated[float, Meta(ge=1, le=64)] = 8.0
    flicker_hz: Literal[0, 50, 60] = 50
    focus: Annotated[float, Meta(ge=0, le=32)] = 5.3
    region: tuple[Share, Share, Share, Share] = (0.0, 0.0, 1.0, 1.0)
    night: Literal["never", "dark", "always"] = "dark"
    night_exposure_us: Annotated[int, Meta(ge=100, le=1_000_000)] = 10_000
    night_gain: Annotated[float, Meta(ge=1, le=64)] = 16.0
    lamp_pin: Annotated[int, Meta(ge=-1, le=27)] = -1


class ReadingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How codes are read and when a code counts again."""

    zbar: bool = True
    budget_ms: Annotated[float, Meta(gt=0, le=1000)] = 25.0
    which: Literal["all", "nearest"] = "all"
    zone: tuple[Share, Share, Share, Share] = (0.0, 0.0, 1.0, 1.0)
    unread_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    reread_delay_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0


class OutboxSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where unconfirmed scans are kept, and how much of the disk they may take."""

    folder: str = "/var/lib/edge/outbox"
    max_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 1024
    keep_free_mb: Annotated[int, Meta(ge=0, le=1_000_000)] = 64
    own_blocks: bool = False
    in_memory: bool = False
    retention_days: Annotated[int, Meta(ge=14, le=30)] = 21


class IndicatorSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lights and buzzer. Pins are BCM numbers."""

    kind: Literal["gpio", "terminal", "none"] = "gpio"
    green_pin: Annotated[int, Meta(ge=0, le=27)] = 17
    yellow_pin: Annotated[int, Meta(ge=0, le=27)] = 27
    red_pin: Annotated[int, Meta(ge=0, le=27)] = 22
    buzzer_pin: Annotated[int, Meta(ge=0, le=27)] = 18
    loudness: Loudness = 1.0
    night_loudness: Loudness = 0.3
    speech: bool = False
    speech_device: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9:,=_-]{1,64}(?![\s\S])",
            description='a device of ALSA, as in "default" or "plughw:1,0"',
        ),
    ] = "default"
    speech_folder: str = "/usr/share/edge-scanner/prompts"
    night: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] = (
        "21:00-05:00"
    )


class VehicleSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a unit on a vehicle has beside."""

    ignition_pin: Annotated[int, Meta(ge=-1, le=27)] = -1
    off_after_s: Annotated[float, Meta(ge=5, le=86_400)] = 300.0
    trips: Annotated[tuple[TripText, ...], Meta(max_length=100)] = ()


class GpsSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The GPS receiver of a vehicle."""

    source: str = ""
    baud: Literal[4800, 9600, 19200, 38400, 57600, 115200] = 9600
    position_decimals: Annotated[int, Meta(ge=-1, le=3)] = -1


class PublisherSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How scans are sent."""

    window: Annotated[int, Meta(ge=1, le=5000)] = 1000
    scans_a_message: Annotated[int, Meta(ge=1, le=MOST_SCANS)] = 20
    live_share: Annotated[float, Meta(ge=0, le=1)] = 0.25
    budget_kb_s: Annotated[float, Meta(ge=0, le=100_000)] = 0.0
    resend_s: Annotated[float, Meta(ge=1, le=3600)] = 5.0
    health_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0


class CarrySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How scans are carried by hand where there is never a network, and whom the unit believes."""

    sticks: str = "/media/*/*"
    key_file: Annotated[str, Meta(min_length=1)] = "/var/lib/edge/unit.key"
    receipt_key_file: Annotated[str, Meta(min_length=1)] = "receipts.pub"
    successions: Annotated[tuple[Succession, ...], Meta(max_length=50)] = ()
    newest_key_only: bool = False


class UpdateSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where new versions of the software are found, and when they may be put in place."""

    url: UpdatesUrl = ""
    hours: Hours = ""
    window: Hours = ""


#: What may be wished for; () for a whole table. Who a unit is, its keys, its legal basis and where
#: its scans lie are not for the network to change. Who its centre is, only that itself can change.
ALLOWED: dict[str, tuple[str, ...]] = {
    "unit": ("direction", "in_hours", "out_hours", "trip"),
    "broker": ("url", "fallback_url", "protocol", "keepalive_s", "connect_timeout_s"),
    "camera": (),
    "reading": (),
    "outbox": ("max_mb", "keep_free_mb", "own_blocks"),
    "indicator": (),
    "publisher": (),
    "carry": ("successions", "newest_key_only"),
    "vehicle": ("trips",),
    "gps": (),
    "update": ("hours", "window"),
}

#: What each unit gives itself.
_OWN = {
    "unit": {"id": "x", "area": "x", "place": "x", "direction": "both", "tracing_key_file": "x"}
}


class _Wished(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    unit: UnitSettings
    broker: BrokerSettings = BrokerSettings()
    camera: CameraSettings = field(default_factory=CameraSettings)
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    outbox: OutboxSettings = field(default_factory=OutboxSettings)
    indicator: IndicatorSettings = field(default_factory=IndicatorSettings)
    publisher: PublisherSettings = field(default_factory=PublisherSettings)
    carry: CarrySettings = field(default_factory=CarrySettings)
    vehicle: VehicleSettings = field(default_factory=VehicleSettings)
    gps: GpsSettings = field(default_factory=GpsSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)


def check_allowed(tables: dict[str, dict[str, Any]]) -> None:
    """Raise ConfigError for the first key in *tables* that is not for the centre to set."""
    for table, keys in tables.items():
        if table not in ALLOWED:
            raise ConfigError(f"{table}: not for the centre to set; change it on the unit")
        for key in keys:
            if ALLOWED[table] and key not in ALLOWED[table]:
                raise ConfigError(
                    f"{table}.{key}: not for the centre to set; change it on the unit"
                )


def check_wished(tables: dict[str, dict[str, Any]]) -> None:
    """Raise ConfigError where no unit of this version could take *tables*.

    A unit of another version, or with settings of its own that do not go with them, may refuse all
    the same.
    """
    config.check(config.merged([_OWN, tables]), _Wished, "desired")
    check_allowed(tables)
