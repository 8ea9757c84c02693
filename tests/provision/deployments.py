"""Deployments for tests: real ones, of invented places."""

from datetime import datetime
from pathlib import Path

import msgspec

from edge.certificates import Issued, facts, make_request
from edge.enrolment_exchange import EnrolmentRequest
from edge.provision.cards import make_token
from edge.provision.certifying import sign
from edge.provision.deployment import Deployment, make_deployment, utc_now
from edge.provision.settings import ProvisionSettings
from edge.register import Place, Register


def certified(deployment: Deployment, name: str, now: datetime | None = None) -> Issued:
    """The certificate of the unit *name*, signed as for a request by hand, and its key."""
    now = now or utc_now()
    token = make_token(deployment, deployment.inventory.unit(name), now)
    request, key = make_request(name)
    asked = EnrolmentRequest(unit=name, token=token, request=request.decode())
    certificate = sign(deployment, asked, now).certificate.encode()
    known = facts(certificate)
    return Issued(certificate, key, known.serial, known.not_after)


def a_deployment(
    folder: Path,
    *units: str,
    port: int = 8883,
    broker_folder: str = "/etc/mosquitto/edge",
    enrolment_port: int = 8884,
    collectors: int = 1,
    host: str = "127.0.0.1",
) -> Deployment:
    """A deployment with one market and *units* at its gate, whose broker is at *host*."""
    table = {
        "deployment": {"name": "gia-lai"},
        "broker": {
            "host": host,
            "port": port,
            "folder": broker_folder,
            "collectors": collectors,
        },
        "units": {"area": "pleiku"},
        "enrolment": {"port": enrolment_port},
    }
    deployment = make_deployment(folder, msgspec.convert(table, ProvisionSettings), utc_now())
    market = Place(id="cho-1", name="Chợ Mẫu", kind="market")
    deployment.put_places(Register().with_places([market]))
    deployment.add_units({"id": unit, "place": "cho-1", "direction": "in"} for unit in units)
    return deployment
