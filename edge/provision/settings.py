"""The settings of a deployment. `config/provision.toml` is their manual; a test compares them."""

from typing import Annotated

from msgspec import Meta, Struct

from edge.errors import ConfigError
from edge.messages import Name
from edge.ring import UpdatesUrl

#: A certificate must outlive the longest time without a network so many times.
OUTLIVES = 3

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?"
_HOST_SAID = "the name of a computer, such as broker.example.vn, or its IP address"
Host = Annotated[str, Meta(pattern=rf"^{_HOST}(?![\s\S])", description=_HOST_SAID)]
HostOrNone = Annotated[str, Meta(pattern=rf"^(?:{_HOST})?(?![\s\S])", description=_HOST_SAID)]


class DeploymentSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is deployed."""

    name: Name


class BrokerPlace(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the broker is, as units and collectors reach it."""

    host: Host
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8883
    #: How many; each has a name and a certificate of its own.
    collectors: Annotated[int, Meta(ge=1, le=50)] = 1
    folder: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._/-]{0,200}(?![\s\S])")] = (
        "/etc/mosquitto/edge"
    )


class EnrolmentPlace(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where units enrol, as they reach it."""

    host: HostOrNone = ""
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8884
    token_days: Annotated[int, Meta(ge=1, le=3650)] = 90


class UnitDefaults(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds for every unit."""

    area: Name
    longest_offline_days: Annotated[int, Meta(ge=1, le=365)] = 90
    certificate_days: Annotated[int, Meta(ge=3, le=3650)] = 730
    settings_file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}(?![\s\S])")] = ""


class WifiSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The wireless network of the units."""

    ssid: Annotated[str, Meta(max_length=32)] = ""
    password_file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}(?![\s\S])")] = ""
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}(?![\s\S])")] = "VN"


class UpdatesPlace(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where units find their updates."""

    url: UpdatesUrl = ""
    valid_days: Annotated[int, Meta(ge=30, le=730)] = 180


class ProvisionSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in provision.toml."""

    deployment: DeploymentSettings
    broker: BrokerPlace
    units: UnitDefaults
    enrolment: EnrolmentPlace = EnrolmentPlace()
    wifi: WifiSettings = WifiSettings()
    updates: UpdatesPlace = UpdatesPlace()

    def check(self) -> None:
        """Raise ConfigError where two settings do not go together."""
        least = OUTLIVES * self.units.longest_offline_days
        if self.units.certificate_days < least:
            raise ConfigError(
                f"units.certificate_days is {self.units.certificate_days}; it must be at least"
                f" {least}, {OUTLIVES} times units.longest_offline_days, so that no unit comes back"
                " from a long time without a network with a certificate that has ended"
            )
