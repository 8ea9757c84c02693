"""Who may write and read what at a NATS server, where one takes the place of Mosquitto.

Its MQTT listener takes a client for the user whom its certificate names (`verify_and_map`), and it
knows no patterns for users: so each unit stands here, and one that is revoked does not. Written
anew with the other files of the broker; a reload cuts off whoever is gone from it. Unlike Mosquitto
it does not bind the client's id to the certificate: see provisioning/README.md.
"""

import json
from collections.abc import Iterable

from edge import topics

USERS_FILE = "nats-users.conf"

#: By which the server hands messages of QoS 1 to its MQTT clients.
_DELIVERY = "$MQTT.sub.>"


def users(units: Iterable[str], collectors: Iterable[str]) -> str:
    """The file to be included in the server's configuration: the *units* and *collectors* that may
    come in, by name."""
    lines = ["# Made by edge-provision; it is written anew, so change nothing here.", ""]
    lines += ["authorization { users: ["]
    for name in collectors:
        writes, reads = (_subjects("*", one) for one in (topics.TO_UNIT, topics.TO_CENTRE))
        lines.append(_user(name, writes, reads))
    for name in sorted(units):
        writes, reads = (_subjects(name, one) for one in (topics.TO_CENTRE, topics.TO_UNIT))
        lines.append(_user(name, writes, reads))
    return "\n".join([*lines, "] }", ""])


def _subjects(unit: str, channels: Iterable[str]) -> list[str]:
    # What MQTT writes with "/" and "+", NATS writes with "." and "*"; no name of ours has a dot.
    root = topics.ROOT.replace("/", ".")
    return [f"{root}.*.{unit}.{channel}" for channel in channels]


def _user(name: str, writes: list[str], reads: list[str]) -> str:
    publish, subscribe = json.dumps(writes), json.dumps([*reads, _DELIVERY])
    return (
        f'  {{ user: "CN={name}", permissions: {{\n'
        f"      publish: {{ allow: {publish} }}\n"
        f"      subscribe: {{ allow: {subscribe} }} }} }}"
    )
