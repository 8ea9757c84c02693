"""Deployments for tests: real ones, of invented places."""

from pathlib import Path

import msgspec

from edge.provision.deployment import Deployment, make_deployment, utc_now
from edge.provision.settings import ProvisionSettings
from edge.register import Place, Register


def a_deployment(
    folder: Path, *units: str, port: int = 8883, broker_folder: str = "/etc/mosquitto/edge"
) -> Deployment:
    """A deployment with one market and *units* at its gate, whose broker is on this machine."""
    table = {
        "deployment": {"name": "gia-lai"},
        "broker": {"host": "127.0.0.1", "port": port, "folder": broker_folder},
        "units": {"area": "pleiku"},
    }
    deployment = make_deployment(folder, msgspec.convert(table, ProvisionSettings), utc_now())
    market = Place(id="cho-1", name="Chợ Mẫu", kind="market")
    deployment.put_places(Register().with_places([market]))
    deployment.add_units({"id": unit, "place": "cho-1", "direction": "in"} for unit in units)
    return deployment
