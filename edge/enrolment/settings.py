"""The endpoint's settings. `config/enrol.toml` is their manual; a test keeps them alike."""

from typing import Annotated

from msgspec import Meta, Struct

from edge.messages import Name

File = Annotated[str, Meta(min_length=1)]


class WebSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where units reach it."""

    host: File = "0.0.0.0"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8884
    certificate_file: File = "enrol.pem"
    key_file: File = "enrol.key"


class IssuingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What it signs with, and for whom."""

    deployment: Name
    certificate_file: File = "issuing.pem"
    key_file: File = "issuing.key"
    setup_key_file: File = "setup.pub"
    revoked_file: File = "revoked.txt"
    ledger_file: File = "/var/lib/edge-enrol/issued.jsonl"
    certificate_days: Annotated[int, Meta(ge=3, le=3650)] = 730


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often somebody may ask."""

    address_per_minute: Annotated[float, Meta(gt=0, le=100_000)] = 60.0
    unit_per_hour: Annotated[float, Meta(gt=0, le=10_000)] = 20.0


class EnrolmentSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in enrol.toml."""

    issuing: IssuingSettings
    web: WebSettings = WebSettings()
    limits: LimitSettings = LimitSettings()
