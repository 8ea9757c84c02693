"""Ends the connection that a revoked unit still has open at the broker.

Mosquitto 2.0 silences a revoked client when it reloads, and has no order to end its connection. But
it has one session for each name: whoever comes in under a name ends the connection of the one
before. The office can name a certificate like the unit, for a moment; what the broker's rules
forbid the unit they forbid it too. The unit cannot come back: its own certificates are on the list.
"""

import tempfile
from contextlib import closing
from pathlib import Path

from edge.broker import BrokerSettings
from edge.clock import Clock
from edge.errors import ProvisionError
from edge.mqtt import Connection
from edge.provision.deployment import Deployment, utc_now
from edge.provision.layout import AUTHORITY
from edge.provision.machines import broker_url, issuing_authority

#: How long the broker may take to answer, and how long a unit is watched for that comes back: it
#: tries at once, and then after seconds.
BROKER_S, STAY_S = 15.0, 20.0
_DAYS = 1


def end_connection(deployment: Deployment, name: str, clock: Clock, stay_s: float = STAY_S) -> None:
    """End the connection of the unit *name*, which was revoked, and see that it stays away.

    Raises ProvisionError where the broker cannot be reached, or has let the unit in again within
    *stay_s*.
    """
    unit = deployment.inventory.unit(name)
    if unit.revoked is None:
        raise ProvisionError(f"unit {name} was not revoked; first: edge-provision revoke {name}")
    issued = issuing_authority(deployment.folder).issue_client(name, utc_now(), _DAYS)
    assert issued.key is not None
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "unit.pem").write_bytes(issued.certificate)
        (folder / "unit.key").write_bytes(issued.key)
        (folder / "authority.pem").write_bytes((deployment.folder / AUTHORITY).read_bytes())
        settings = BrokerSettings(
            url=broker_url(deployment.settings),
            ca_file="authority.pem",
            certificate_file="unit.pem",
            key_file="unit.key",
        )
        with closing(Connection(settings, folder, name, clock)) as connection:
            _take_over(connection, name, clock, stay_s)


def _take_over(connection: Connection, name: str, clock: Clock, stay_s: float) -> None:
    deadline = clock.monotonic() + BROKER_S
    while not connection.connected:
        if clock.monotonic() >= deadline:
            raise ProvisionError(
                f"{connection.address}: cannot end the connection of {name}:"
                f" {connection.trouble or 'no answer'}; restart the broker instead"
            )
        connection.step(0.2)
    until = clock.monotonic() + stay_s
    while clock.monotonic() < until:
        connection.step(0.2)
        if not connection.connected:
            raise ProvisionError(
                f"{connection.address} has let {name} in again: copy the files that"
                " edge-provision revoke names, reload the broker, and do this once more"
            )
    connection.disconnect(1.0)
