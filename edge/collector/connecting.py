"""How a collector is connected: what it listens to, and in how many sessions at the broker."""

from collections.abc import Sequence
from pathlib import Path

from edge.clock import Clock
from edge.collector.settings import CollectorSettings
from edge.mqtt import Connection
from edge.sessions import Sessions
from edge.topics import TO_CENTRE, every_unit

#: What a unit says of itself, beside its scans.
REPORTS = tuple(channel for channel in TO_CENTRE if channel != "scan")


def connect(settings: CollectorSettings, folder: Path, clock: Clock) -> Connection | Sessions:
    """The collector's connection, not established yet. Files are looked for beside *folder*.

    Raises ConfigError.
    """

    def session(name: str, topics: Sequence[str]) -> Connection:
        return Connection(
            settings.broker, folder, name, clock, subscriptions=topics, persistent=True
        )

    if settings.sessions == "one":
        return session(settings.id, subscriptions(settings.areas))
    reports = session(settings.id, subscriptions(settings.areas, REPORTS))
    # No collector's own name has an underscore.
    scans = [
        session(f"{settings.id}_scan_{area.replace('+', 'all')}", subscriptions([area], ["scan"]))
        for area in settings.areas
    ]
    return Sessions(reports, scans)


def subscriptions(areas: Sequence[str], channels: Sequence[str] = TO_CENTRE) -> list[str]:
    """The filters for *channels* of all units of *areas*."""
    return [every_unit(area, channel) for area in areas for channel in channels]
