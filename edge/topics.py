"""The topics of the contract. No other file builds or reads one.

    edge/v1/<area>/<unit>/scan         unit to centre: one scan
    edge/v1/<area>/<unit>/confirmed    centre to unit: ranges that are rows in storage
    edge/v1/<area>/<unit>/again        centre to unit: ranges that are missing there
    edge/v1/<area>/<unit>/status       unit to centre, retained: online, stopped, offline
    edge/v1/<area>/<unit>/health       unit to centre: counts and measurements
    edge/v1/<area>/<unit>/cmd          centre to unit: do something, once; its name and id are in it
    edge/v1/<area>/<unit>/config       centre to unit: the settings that it should have
    edge/v1/<area>/<unit>/answer       unit to centre: what became of a command or of settings

The unit's id is one fixed level, so that a broker rule can bind it to the unit's certificate; the
area is another, so that collectors can share the work by area on any broker. Nothing personal, and
nothing that came out of a code, is ever part of a topic.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from edge.errors import BadTopic

ROOT = "edge/v1"
#: Which way each channel goes; a broker's rules are made from these.
TO_CENTRE = ("scan", "status", "health", "answer")
TO_UNIT = ("confirmed", "again", "cmd", "config")
CHANNELS = (*TO_CENTRE, *TO_UNIT)

#: What an area, a unit or a place may be called: also what a certificate's name is checked against.
NAME = r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
_NAME = re.compile(NAME)
_TOPIC = re.compile(rf"{ROOT}/({NAME})/({NAME})/({'|'.join(CHANNELS)})")


def is_name(text: str) -> bool:
    """Whether an area, a unit or a place may be called *text*."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class Topic:
    """A topic, taken apart."""

    area: str
    unit: str
    channel: str

    def __str__(self) -> str:
        return f"{ROOT}/{self.area}/{self.unit}/{self.channel}"


#: So many topics are remembered, which come again with every message.
_CACHED = 65_536


@lru_cache(_CACHED)
def topic(area: str, unit: str, channel: str) -> str:
    """The topic of *channel* of *unit* in *area*.

    >>> topic("pleiku", "cho-1-cong-2", "scan")
    'edge/v1/pleiku/cho-1-cong-2/scan'

    Raises BadTopic for a name or channel that the contract does not know.
    """
    for what, name in (("area", area), ("unit", unit)):
        if not is_name(name):
            raise BadTopic(f"{what} {name!r} must be 1 to 32 of a-z, 0-9 and inner hyphens")
    if channel not in CHANNELS:
        raise BadTopic(f"channel {channel!r} must be one of {', '.join(CHANNELS)}")
    return str(Topic(area, unit, channel))


def every_unit(area: str, channel: str) -> str:
    """The filter for *channel* of every unit in *area*, or of every area for "+".

    >>> every_unit("+", "scan")
    'edge/v1/+/+/scan'
    """
    if area != "+" and not is_name(area):
        raise BadTopic(f"area {area!r} must be '+' or 1 to 32 of a-z, 0-9 and inner hyphens")
    if channel not in CHANNELS:
        raise BadTopic(f"channel {channel!r} must be one of {', '.join(CHANNELS)}")
    return f"{ROOT}/{area}/+/{channel}"


def shared(share: str, area: str, channel: str) -> str:
    """The same, of which each message goes to one of those who subscribe under the name *share*.

    >>> shared("gia-lai", "+", "scan")
    '$share/gia-lai/edge/v1/+/+/scan'

    For Mosquitto alone: of five brokers that were tried the others grant it and deliver nothing.
    """
    if not is_name(share):
        raise BadTopic(f"share {share!r} must be 1 to 32 of a-z, 0-9 and inner hyphens")
    return f"$share/{share}/{every_unit(area, channel)}"


@lru_cache(_CACHED)
def parse(text: str) -> Topic:
    """Take a topic apart. Raises BadTopic if it is not one of ours."""
    match = _TOPIC.fullmatch(text)
    if not match:
        raise BadTopic("a topic that is not of this contract")
    return Topic(*match.groups())
