"""The configuration of Mosquitto for a deployment, made from the topics of the contract.

Only who holds a certificate of our authority comes in, and its name is user name and client id. A
unit writes its own topics and reads its own, in whatever area; a collector the other way round.
Tried on 2.0.11 (Debian 12) and made for 2.0.21 (Debian 13) as well.
"""

from collections.abc import Iterable
from importlib import resources

from edge import topics
from edge.messages import MAX_PACKET_BYTES
from edge.provision.settings import ProvisionSettings

#: What the broker's folder holds, by the names under which the configuration finds it.
AUTHORITY_FILE = "authority.pem"
CERTIFICATE_FILE = "broker.pem"
KEY_FILE = "broker.key"
REVOCATIONS_FILE = "revoked.pem"
RULES_FILE = "rules.acl"
CONFIGURATION_FILE = "mosquitto.conf"


def configuration(settings: ProvisionSettings) -> str:
    """The broker's configuration file."""
    broker = settings.broker
    text = resources.files("edge.provision").joinpath("mosquitto.conf").read_text(encoding="utf-8")
    return text.format(
        name=settings.deployment.name,
        folder=broker.folder,
        port=broker.port,
        authority=AUTHORITY_FILE,
        certificate=CERTIFICATE_FILE,
        key=KEY_FILE,
        revocations=REVOCATIONS_FILE,
        rules=RULES_FILE,
        packet=MAX_PACKET_BYTES,
    )


def rules(revoked: Iterable[str], collectors: Iterable[str]) -> str:
    """Who may write and read what. Whoever of *revoked* is connected is cut off with a SIGHUP.

    *collectors*: their names; a unit is never called so.
    """
    lines = ["# Made by edge-provision; it is written anew, so change nothing here.", ""]
    for name in collectors:
        lines += [f"user {name}"]
        lines += [f"topic read {topics.every_unit('+', c)}" for c in topics.TO_CENTRE]
        lines += [f"topic write {topics.every_unit('+', c)}" for c in topics.TO_UNIT]
        lines += [""]
    lines += ["# %u is the name in the certificate of whoever is connected."]
    lines += [f"pattern write {topics.ROOT}/+/%u/{c}" for c in topics.TO_CENTRE]
    lines += [f"pattern read {topics.ROOT}/+/%u/{c}" for c in topics.TO_UNIT]
    for name in sorted(revoked):
        # The list of revocations keeps it from coming back; this silences it where it is.
        lines += ["", f"user {name}", "topic deny #"]
    return "\n".join([*lines, ""])
