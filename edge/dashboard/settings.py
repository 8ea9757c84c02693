"""The dashboard's settings. `config/dashboard.toml` is their manual; a test keeps them alike."""

from typing import Annotated

from msgspec import Meta, Struct

from edge.dashboard.alarms import AlarmSettings
from edge.dashboard.forwarding import ForwardSettings
from edge.dashboard.mail import MailSettings
from edge.dashboard.oidc import OidcSettings
from edge.dashboard.reporting import ReportSettings
from edge.storage.settings import StorageSettings


class WebSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where and how pages are served."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8443
    #: What people type to reach the pages, for links in reports; "" where it is not known.
    url: Annotated[str, Meta(pattern=r"^(https?://[^\s?#]+)?(?![\s\S])")] = ""
    #: PEM files; without them plain HTTP is served, for a proxy or a look at this machine.
    certificate_file: str = ""
    key_file: str = ""
    #: Addresses of proxies whose X-Forwarded-* headers are believed.
    proxies: tuple[str, ...] = ()
    session_idle_h: Annotated[float, Meta(ge=0.1, le=720)] = 12.0
    session_max_h: Annotated[float, Meta(ge=0.1, le=8760)] = 168.0
    #: Addresses that may read /metrics.
    metrics_from: tuple[str, ...] = ("127.0.0.1", "::1")


class SetUpSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the page Set-up shows of the rest of the deployment."""

    #: Folder with the legal bases, and the public key of their authority; "" for none.
    basis_folder: str = ""
    basis_key_file: str = ""


class TracingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the tracing desk of this machine listens."""

    socket: str = ""


class DashboardSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in dashboard.toml."""

    #: The name of the deployment, shown above every page.
    title: Annotated[str, Meta(min_length=1, max_length=60)] = "Quét mã ra vào"
    #: A unit that has said nothing for so long is silent.
    silent_after_min: Annotated[float, Meta(ge=1, le=1440)] = 10.0
    #: A place whose units work but that had no scan for so long is quiet.
    quiet_after_min: Annotated[float, Meta(ge=1, le=10_080)] = 120.0
    web: WebSettings = WebSettings()
    oidc: OidcSettings = OidcSettings()
    storage: StorageSettings = StorageSettings()
    reports: ReportSettings = ReportSettings()
    alarms: AlarmSettings = AlarmSettings()
    mail: MailSettings = MailSettings()
    forward: ForwardSettings = ForwardSettings()
    tracing: TracingSettings = TracingSettings()
    set_up: SetUpSettings = SetUpSettings()
