"""The collector's settings. `config/collector.toml` is their manual; a test keeps them alike."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from edge.broker import BrokerSettings
from edge.messages import Name
from edge.storage.settings import StorageSettings
from edge.topics import NAME


class RetentionSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When what is stored is erased."""

    erase: bool = True
    days: Annotated[int, Meta(ge=14, le=30)] = 21
    receipts_file: Annotated[str, Meta(min_length=1)] = "/var/lib/edge/erased.jsonl"


class CollectorSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in collector.toml."""

    id: Name = "collector"
    #: Which areas this collector stores; "+" for all. Each has a session, and each session five of
    #: the 1,024 files that a process may have open.
    areas: Annotated[tuple[str, ...], Meta(min_length=1, max_length=150)] = ("+",)
    #: How many it has at the broker: see edge/collector/connecting.py.
    sessions: Literal["auto", "one", "each"] = "auto"
    #: Under this name it shares its areas with other collectors; "" for none. Mosquitto alone.
    share: Annotated[str, Meta(pattern=rf"^({NAME})?$")] = ""
    batch_scans: Annotated[int, Meta(ge=1, le=10_000)] = 5000
    batch_wait_ms: Annotated[int, Meta(ge=1, le=10_000)] = 100
    receipt_key_file: Annotated[str, Meta(min_length=1)] = "/var/lib/edge/receipts.key"
    former_receipt_key_files: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=10)
    ] = ()
    gap_ask_s: Annotated[float, Meta(ge=10, le=86_400)] = 300.0
    #: Numbers for Prometheus, read by node_exporter's textfile collector; "" for none.
    metrics_file: str = ""
    broker: BrokerSettings = BrokerSettings()
    storage: StorageSettings = StorageSettings()
    retention: RetentionSettings = RetentionSettings()
