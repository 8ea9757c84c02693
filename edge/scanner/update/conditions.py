"""Whether an update may be put in place now: not while people come, nor with a weak supply."""

from datetime import datetime, timedelta

from edge.clock import VIETNAM, Moment
from edge.messages import Machine
from edge.opening_hours import is_open
from edge.unit_settings import UpdateSettings

#: It must be over when the place opens.
BEFORE_OPENING = timedelta(minutes=15)
#: The window of a unit with neither hours nor a window.
NIGHT = "01:00-04:00"


def why_not_now(
    settings: UpdateSettings, moment: Moment, machine: Machine, needed_bytes: int, *, scans: bool
) -> str:
    """Why nothing may be put in place at *moment*; "" if it may.

    A window that somebody set counts instead of the hours: a bus has no power but while it runs.
    One that does not scan (not *scans*) is nobody's to wait for. *needed_bytes* must be free on the
    disk, of which *machine* tells.
    """
    return (_why_in_use(settings, moment) if scans else "") or _why_unfit(machine, needed_bytes)


def _why_in_use(settings: UpdateSettings, moment: Moment) -> str:
    if moment.clock == "none":
        return "the clock is not set, so it cannot be told whether the place is open"
    local = datetime.fromisoformat(moment.at).astimezone(VIETNAM)
    if settings.hours and not settings.window:
        if is_open(settings.hours, local):
            return f"the place is open: {settings.hours}"
        if is_open(settings.hours, local + BEFORE_OPENING):
            return f"the place opens soon: {settings.hours}"
    elif not is_open(settings.window or NIGHT, local):
        return f"it waits for its window: {settings.window or NIGHT}"
    return ""


def _why_unfit(machine: Machine, needed_bytes: int) -> str:
    if machine.under_voltage:
        return "the supply is too weak: another adapter, a shorter cable"
    if machine.throttled:
        return "the machine is slowed down for heat or for want of power"
    free = machine.disk_free_bytes or 0
    if free < needed_bytes:
        return f"{free / 1e6:.0f} MB are free, {needed_bytes / 1e6:.0f} MB are needed"
    return ""
