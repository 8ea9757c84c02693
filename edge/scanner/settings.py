"""The scanner's settings. `config/scanner.toml` is their manual; a test keeps them alike."""

from typing import Annotated

from msgspec import Meta, Struct, field

from edge.broker import BrokerSettings
from edge.enrolment_token import OptionalEnrolmentUrl
from edge.legal_basis import BasisSettings
from edge.unit_settings import (
    CameraSettings,
    CarrySettings,
    GpsSettings,
    IndicatorSettings,
    OutboxSettings,
    PublisherSettings,
    ReadingSettings,
    UnitSettings,
    UpdateSettings,
    VehicleSettings,
)


class SetupSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a set-up code is taken."""

    button_pin: Annotated[int, Meta(ge=-1, le=27)] = 23
    hold_s: Annotated[float, Meta(ge=1, le=30)] = 3.0
    window_s: Annotated[float, Meta(ge=10, le=3600)] = 120.0


class EnrolmentSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the unit gets and renews its certificate, and where it keeps that and its key."""

    url: OptionalEnrolmentUrl = ""
    folder: Annotated[str, Meta(min_length=1)] = "/var/lib/edge/identity"


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
    gps: GpsSettings = field(default_factory=GpsSettings)
    publisher: PublisherSettings = field(default_factory=PublisherSettings)
    carry: CarrySettings = field(default_factory=CarrySettings)
    enrolment: EnrolmentSettings = field(default_factory=EnrolmentSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)


class ScannerSettings(UnsetSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in scanner.toml."""

    unit: UnitSettings
