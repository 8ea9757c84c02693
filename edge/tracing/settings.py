"""The desk's settings. `config/trace.toml` is their manual; a test keeps them alike."""

from typing import Annotated

from msgspec import Meta, Struct, field

from edge.legal_basis import BasisSettings
from edge.storage.settings import StorageSettings

File = Annotated[str, Meta(min_length=1)]


class KeySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What alone can open who was scanned."""

    private_key_files: Annotated[tuple[File, ...], Meta(min_length=1)]
    token_secret_file: File = "tracing.secret"


class IndexSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The desk's own database."""

    url: File = "/var/lib/edge-trace/index.db"
    password_file: str = ""
    batch_scans: Annotated[int, Meta(ge=1, le=20_000)] = 1000
    retention_days: Annotated[int, Meta(ge=14, le=30)] = 21


class QuestionSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What counts as a contact."""

    minimum_minutes: Annotated[float, Meta(ge=0, le=240)] = 15.0
    clock_error_s: Annotated[float, Meta(ge=0, le=900)] = 60.0


class DeskSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the desk listens and keeps its record."""

    socket: File = "/run/edge-trace/desk.sock"
    audit_file: File = "/var/lib/edge-trace/audit.jsonl"
    register_file: str = "register.json"


class TraceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in trace.toml."""

    keys: KeySettings
    storage: StorageSettings = field(default_factory=StorageSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    desk: DeskSettings = field(default_factory=DeskSettings)
    basis: BasisSettings = field(default_factory=BasisSettings)
