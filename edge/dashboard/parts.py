"""Builds what the pages and the service's own turns share, from the settings."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from edge.clock import Clock
from edge.dashboard.alarm_rules import Limits
from edge.dashboard.alarms import Alarms, Watch
from edge.dashboard.bases import Bases
from edge.dashboard.duty import Duty
from edge.dashboard.forwarding import (
    CountSource,
    Forwarder,
    ForwardSettings,
    ScanSource,
    Source,
)
from edge.dashboard.mail import Mailer
from edge.dashboard.mail_queue import MailQueue
from edge.dashboard.oidc import Provider
from edge.dashboard.people import People
from edge.dashboard.posting import Poster
from edge.dashboard.reporting import Reporting
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.telling import Teller
from edge.dashboard.totals import Totals
from edge.storage.database import Database
from edge.storage.places import Places


@dataclass(frozen=True)
class Parts:
    """Everything that is opened once."""

    settings: DashboardSettings
    database: Database
    clock: Clock
    people: People
    #: Where people sign in instead of here; None for nowhere.
    provider: Provider | None
    places: Places
    alarms: Alarms
    watch: Watch
    teller: Teller
    #: None where nothing is mailed.
    mail_queue: MailQueue | None
    reporting: Reporting
    totals: Totals
    bases: Bases
    #: None where nothing is passed on.
    forwarder: Forwarder | None
    duty: Duty


def accounts(settings: DashboardSettings, database: Database) -> People:
    """Those who may sign in."""
    web = settings.web
    return People(database, timedelta(hours=web.session_idle_h), timedelta(hours=web.session_max_h))


def build(
    settings: DashboardSettings, database: Database, people: People, clock: Clock, beside: Path
) -> Parts:
    """All parts; secrets are *beside* the settings. Raises ConfigError."""
    places, alarms = people.places, Alarms(database)
    limits = Limits(
        silent_unit_s=settings.silent_after_min * 60,
        silent_place_s=settings.quiet_after_min * 60,
        fill=settings.alarms.outbox_fill,
        fill_well=settings.alarms.outbox_fill - 0.1,
        certificate_s=settings.alarms.certificate_days * 86_400,
        unread=settings.alarms.unread,
        scans_in_a_quarter=settings.alarms.scans_in_a_quarter,
    )
    mail, hook = settings.mail, settings.alarms
    duty = Duty(database, clock)
    queue = None
    if mail.host:
        queue = MailQueue(database, clock, Mailer(mail, beside), duty.is_anothers)
    webhook = (
        Poster(hook.webhook_url, hook.webhook_key_file, beside, clock) if hook.webhook_url else None
    )
    return Parts(
        settings,
        database,
        clock,
        people,
        Provider(settings.oidc, settings.web.url, beside, clock) if settings.oidc.issuer else None,
        places,
        alarms,
        Watch(database, places, alarms, clock, settings.alarms, limits),
        Teller(
            alarms,
            database,
            clock,
            settings.alarms,
            settings.title,
            queue,
            mail.alarms_to,
            webhook,
            settings.web.url,
            duty.is_anothers,
        ),
        queue,
        Reporting(
            database,
            places,
            clock,
            settings.title,
            settings.reports,
            queue,
            mail.reports_to,
            settings.web.url,
        ),
        Totals(database, clock),
        Bases(settings.set_up, beside),
        _forwarder(settings.forward, database, clock, beside, duty),
        duty,
    )


def _forwarder(
    settings: ForwardSettings, database: Database, clock: Clock, beside: Path, duty: Duty
) -> Forwarder | None:
    if not settings.url:
        return None
    source: Source = CountSource(database)
    if settings.what == "scans":
        source = ScanSource(database, settings.batch_scans)
    receiver = Poster(settings.url, settings.key_file, beside, clock, settings.ca_file)
    return Forwarder(settings.what, source, receiver, database, clock, duty.is_anothers)
