"""How a collector is connected: what it listens to, and in how many sessions at the broker.

One for what units say of themselves, and one for the scans of each area: a NATS server needs them
apart (edge/sessions.py), and others take no harm. One for all, where the broker knows a client by
its certificate alone and so would give each the place of another, or where collectors share.
"""

import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from edge.clock import Clock
from edge.collector.settings import CollectorSettings
from edge.errors import BrokerError, ConfigError
from edge.mqtt import Connection
from edge.sessions import Sessions
from edge.storage.broker_sessions import BrokerSessions
from edge.topics import TO_CENTRE, every_unit, shared

log = logging.getLogger(__name__)

#: What a unit says of itself, beside its scans.
REPORTS = tuple(channel for channel in TO_CENTRE if channel != "scan")
#: What each of several sharing collectors hears for itself: how units are. A broker gives what it
#: retains to no shared subscription.
UNSHARED = ("status",)
#: A session of which nothing came for so long is made anew. At night that is nothing to wonder at,
#: and does no harm.
SILENT_S = 3600.0


def connect(
    settings: CollectorSettings, folder: Path, clock: Clock, kept: BrokerSessions | None = None
) -> Connection | Sessions:
    """The collector's connection, not established yet. Files are looked for beside *folder*.

    *kept* is what it has had the broker keep. Raises ConfigError, StorageError.
    """
    if settings.share:
        return _sharing(settings, folder, clock)
    wanted = sessions(settings)
    before = kept.all() if kept is not None else {}
    if kept is not None:
        kept.note(wanted)
    if settings.id not in before:
        # Of a state that wrote nothing down, and had one for all.
        before[settings.id] = set(subscriptions(_areas(settings)))

    def session(name: str) -> Connection:
        topics = wanted[name]
        return Connection(
            settings.broker,
            folder,
            name,
            clock,
            subscriptions=topics,
            unwanted=sorted(before.get(name, set()).difference(topics)),
            persistent=True,
            silent_s=SILENT_S,
        )

    first, *others = map(session, wanted)
    if not others:
        return first
    return Sessions(first, others, clock, may_become_one=settings.sessions == "auto")


def ending(settings: CollectorSettings, folder: Path, clock: Clock, name: str) -> Connection:
    """A connection by which the session *name* ends at the broker, as soon as it is there."""
    # One that is not to outlive its connection takes the place of the one that is.
    return Connection(settings.broker, folder, name, clock)


def sessions(settings: CollectorSettings) -> dict[str, list[str]]:
    """What the broker knows a collector's sessions by, and what each hears."""
    areas = _areas(settings)
    if settings.sessions == "one" or settings.share:
        return {settings.id: subscriptions(areas)}
    # No collector's own name has an underscore.
    names = {area: f"{settings.id}_scan_{area.replace('+', 'all')}" for area in areas}
    scans = {names[area]: subscriptions([area], ["scan"]) for area in areas}
    return {settings.id: subscriptions(areas, REPORTS), **scans}


def leave(
    settings: CollectorSettings,
    folder: Path,
    clock: Clock,
    limit_s: float,
    kept: BrokerSessions | None = None,
) -> list[str]:
    """End the collector's sessions, so that the broker keeps nothing for them; gives their names.

    *kept* has those of earlier settings. Raises ConfigError, StorageError, and BrokerError if a
    broker does not answer within *limit_s*.
    """
    names = list(dict.fromkeys([*sessions(settings), *(kept.all() if kept is not None else ())]))
    for name in names:
        with closing(ending(settings, folder, clock, name)) as connection:
            deadline = clock.monotonic() + limit_s
            while not connection.connected:
                connection.step(0.2)
                if clock.monotonic() > deadline:
                    raise BrokerError(f"session {name} was not ended: {connection.trouble}")
            connection.disconnect(limit_s)
        if kept is not None:
            kept.forget_beyond(name)
    return names


def subscriptions(areas: Sequence[str], channels: Sequence[str] = TO_CENTRE) -> list[str]:
    """The filters for *channels* of all units of *areas*."""
    return [every_unit(area, channel) for area in areas for channel in channels]


def _areas(settings: CollectorSettings) -> list[str]:
    """Each area once; a broker may deliver twice what two subscriptions hear."""
    return ["+"] if "+" in settings.areas else list(dict.fromkeys(settings.areas))


def _sharing(settings: CollectorSettings, folder: Path, clock: Clock) -> Connection:
    if settings.sessions == "each":
        raise ConfigError(
            "share is set and sessions is 'each'; only Mosquitto delivers to shared subscriptions,"
            " and it needs one session for all"
        )
    log.warning(
        "sharing the scans of %s as %r with the other collectors of that share; a broker other than"
        " Mosquitto would grant this and deliver nothing",
        ", ".join(settings.areas),
        settings.share,
    )
    topics = [
        every_unit(area, channel) if channel in UNSHARED else shared(settings.share, area, channel)
        for area in settings.areas
        for channel in TO_CENTRE
    ]
    # A session that outlives its connection would go on getting its share, and nobody else would
    # have it. So what one that died had in hand comes again from the units, and all else goes to
    # those that live. QoS 1 all the same: it bounds what is in hand.
    return Connection(
        settings.broker, folder, settings.id, clock, subscriptions=topics, persistent=False, qos=1
    )
