"""The scanner's settings. `config/scanner.toml` is their manual; a test keeps them alike."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from edge.broker import BrokerSettings
from edge.card import UpdatesUrl
from edge.legal_basis import BasisSettings
from edge.messages import Name
from edge.opening_hours import Hours

Share = Annotated[float, Meta(ge=0, le=1)]
#: Never silent: a beep means that somebody was counted.
Loudness = Annotated[float, Meta(ge=0.05, le=1)]


class UnitSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who and where this unit is."""

    id: Name
    area: Name
    place: Name
    direction: Literal["in", "out", "both"]
    trip: Annotated[str, Meta(pattern="^[a-z0-9-]{0,64}$")] = ""
    tracing_key_file: str


class CameraSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where frames come from, and how they are taken."""

    source: Annotated[str, Meta(min_length=1)] = "pi"
    width: Annotated[int, Meta(ge=64, le=4096)] = 1280
    height: Annotated[int, Meta(ge=64, le=4096)] = 720
    frame_rate: Annotated[float, Meta(gt=0, le=240)] = 15.0
    repeat: bool = False
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
    night: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] = (
        "21:00-05:00"
    )


class SetupSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a set-up code is taken."""

    button_pin: Annotated[int, Meta(ge=-1, le=27)] = 23
    hold_s: Annotated[float, Meta(ge=1, le=30)] = 3.0
    window_s: Annotated[float, Meta(ge=10, le=3600)] = 120.0


class VehicleSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a unit on a vehicle has beside."""

    ignition_pin: Annotated[int, Meta(ge=-1, le=27)] = -1
    off_after_s: Annotated[float, Meta(ge=5, le=86_400)] = 300.0


class PublisherSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How scans are sent."""

    window: Annotated[int, Meta(ge=1, le=5000)] = 1000
    live_share: Annotated[float, Meta(ge=0, le=1)] = 0.25
    budget_kb_s: Annotated[float, Meta(ge=0, le=100_000)] = 0.0
    resend_s: Annotated[float, Meta(ge=1, le=3600)] = 5.0
    health_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0


class CarrySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How scans are carried by hand where there is never a network."""

    sticks: str = "/media/*/*"
    key_file: Annotated[str, Meta(min_length=1)] = "/var/lib/edge/unit.key"
    receipt_key_file: Annotated[str, Meta(min_length=1)] = "receipts.pub"


class UpdateSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where new versions of the software are found, and when they may be put in place."""

    url: UpdatesUrl = ""
    hours: Hours = ""
    window: Hours = "01:00-04:00"


class UnsetSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in the scanner.toml of a unit that waits for its set-up code."""

    broker: BrokerSettings
    basis: BasisSettings = field(default_factory=BasisSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    outbox: OutboxSettings = field(default_factory=OutboxSettings)
    indicator: IndicatorSettings = field(default_factory=IndicatorSettings)
    setup: SetupSettings = field(default_factory=SetupSettings)
    vehicle: VehicleSettings = field(default_factory=VehicleSettings)
    publisher: PublisherSettings = field(default_factory=PublisherSettings)
    carry: CarrySettings = field(default_factory=CarrySettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)


class ScannerSettings(UnsetSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in scanner.toml."""

    unit: UnitSettings
