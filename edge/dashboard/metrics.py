"""What machines read: the state of the service and of the fleet, in Prometheus' text form.

Written by hand: it is a dozen lines of text, and needs no library in the process.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from edge.clock import utc_seconds
from edge.dashboard.alarm_rules import KINDS
from edge.dashboard.alarms import Alarm
from edge.dashboard.condition import UNIT_ORDER, condition_of
from edge.storage.fleet import FleetUnit


def metrics(
    units: Sequence[FleetUnit],
    alarms: Sequence[Alarm],
    now: str,
    silent_after_s: float,
    registered: int,
    mail_waiting: int,
) -> str:
    """All of them. No name of a unit or place: those are on the pages, behind an account."""
    return "\n".join(_lines(units, alarms, now, silent_after_s, registered, mail_waiting)) + "\n"


def _lines(
    units: Sequence[FleetUnit],
    alarms: Sequence[Alarm],
    now: str,
    silent_after_s: float,
    registered: int,
    mail_waiting: int,
) -> Iterator[str]:
    conditions = Counter(condition_of(unit, now, silent_after_s) for unit in units)
    yield from _family("edge_units", "gauge", "Units by condition.")
    for condition in UNIT_ORDER:
        yield f'edge_units{{condition="{condition}"}} {conditions[condition]}'
    yield from _family("edge_places_registered", "gauge", "Places in the register.")
    yield f"edge_places_registered {registered}"
    yield from _family("edge_scans_stored_total", "counter", "Scans that are rows.")
    yield f"edge_scans_stored_total {sum(unit.scans for unit in units)}"
    yield from _family("edge_scans_waiting", "gauge", "Scans that units said they still hold.")
    yield f"edge_scans_waiting {sum(_waiting(unit) for unit in units)}"
    last = max((utc_seconds(unit.last_scan) for unit in units if unit.last_scan), default=0.0)
    yield from _family("edge_last_scan_timestamp_seconds", "gauge", "When the last scan came in.")
    yield f"edge_last_scan_timestamp_seconds {last:.3f}"
    yield from _family("edge_mail_waiting", "gauge", "Mails that no server has taken yet.")
    yield f"edge_mail_waiting {mail_waiting}"
    kinds = Counter(alarm.kind for alarm in alarms if alarm.cleared is None)
    yield from _family("edge_alarms", "gauge", "Alarms that last, by kind.")
    for kind in KINDS:
        yield f'edge_alarms{{kind="{kind}"}} {kinds[kind]}'


def _family(name: str, kind: str, says: str) -> tuple[str, str]:
    return f"# HELP {name} {says}", f"# TYPE {name} {kind}"


def _waiting(unit: FleetUnit) -> int:
    pending = unit.health.get("pending")
    return pending if isinstance(pending, int) else 0
