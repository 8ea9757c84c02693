"""What the machines of the centre get: the folders `broker/`, `collector/` and `enrolment/`."""

import base64
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from edge.certificates import Authority, CertificateFacts, Issued, facts
from edge.errors import ProvisionError
from edge.files import replace_file
from edge.provision import mosquitto, nats
from edge.provision.inventory import CertificateRecord, UnitRecord
from edge.provision.layout import (
    AUTHORITY,
    AUTHORITY_KEY,
    BROKER,
    COLLECTOR,
    COLLECTOR_CERTIFICATE,
    COLLECTOR_KEY,
    ENROLMENT,
    ENROLMENT_CERTIFICATE,
    ENROLMENT_KEY,
    ENROLMENT_SETTINGS,
    ISSUING,
    ISSUING_KEY,
    RECEIPT_KEY,
    REVOKED,
    SETUP_KEY,
    SETUP_PUBLIC,
    collectors,
)
from edge.provision.settings import ProvisionSettings
from edge.sealing import open_signer

COLLECTOR_DAYS = 3650
#: A list of revocations or a certificate that ends sooner than this is an alarm.
ALARM_DAYS = 180
#: A certificate that ended so long ago is refused by every clock, and on no list of revocations.
OVER = timedelta(days=30)


def write_machines(
    folder: Path, settings: ProvisionSettings, units: Iterable[UnitRecord], now: datetime
) -> None:
    """Write the files of the centre's machines anew into the deployment's *folder*.

    A certificate stays unless it is for another host or about to end. Raises EdgeError, OSError.
    """
    root, units = root_authority(folder), tuple(units)
    gone = sorted(unit.id for unit in units if unit.revoked is not None)
    _write_enrolment(folder, settings, root, gone, now)
    names = collectors(settings.broker.collectors)
    for name in names:
        _write_collector(folder, settings, root, name, now)
    _write_broker(folder, settings, root, units, now)
    here = (unit.id for unit in units if unit.revoked is None)
    write_file(folder / BROKER / nats.USERS_FILE, nats.users(here, names).encode())
    rules = mosquitto.rules(gone, names)
    write_file(folder / BROKER / mosquitto.RULES_FILE, rules.encode())


def root_authority(folder: Path) -> Authority:
    """The deployment's own authority."""
    return Authority(read_file(folder / AUTHORITY), read_file(folder / AUTHORITY_KEY))


def issuing_authority(folder: Path) -> Authority:
    """The one that signs units."""
    return Authority(read_file(folder / ISSUING), read_file(folder / ISSUING_KEY))


def broker_url(settings: ProvisionSettings) -> str:
    """Where units reach the broker."""
    return f"mqtts://{_in_url(settings.broker.host)}:{settings.broker.port}"


def enrolment_url(settings: ProvisionSettings) -> str:
    """Where units enrol."""
    return f"https://{_in_url(_enrolment_host(settings))}:{settings.enrolment.port}"


def _enrolment_host(settings: ProvisionSettings) -> str:
    return settings.enrolment.host or settings.broker.host


def _write_enrolment(
    folder: Path, settings: ProvisionSettings, root: Authority, gone: list[str], now: datetime
) -> None:
    (folder / ENROLMENT).mkdir(mode=0o700, exist_ok=True)
    _renew_issuing(folder, settings, root, now)
    host = _enrolment_host(settings)
    _renew(
        folder / ENROLMENT_CERTIFICATE,
        folder / ENROLMENT_KEY,
        host,
        now,
        lambda: root.issue_server(host, now),
    )
    public = base64.b64encode(open_signer(folder / SETUP_KEY).public_key)
    write_file(folder / SETUP_PUBLIC, public + b"\n")
    write_file(folder / REVOKED, "".join(f"{name}\n" for name in gone).encode())
    text = f"""\
# Made by edge-provision for the deployment "{settings.deployment.name}". Goes to /etc/edge-enrol/
# where units enrol, with the other files of this folder. Manual: config/enrol.toml.
[issuing]
deployment = "{settings.deployment.name}"
certificate_days = {settings.units.certificate_days}

[web]
port = {settings.enrolment.port}
"""
    write_file(folder / ENROLMENT_SETTINGS, text.encode())


def _renew_issuing(
    folder: Path, settings: ProvisionSettings, root: Authority, now: datetime
) -> None:
    """An issuing authority that outlives what it signs; its key stays, so that goes on."""
    certificate, key = folder / ISSUING, folder / ISSUING_KEY
    if certificate.is_file():
        left = _facts(certificate).days_left(now)
        if left >= settings.units.certificate_days + ALARM_DAYS:
            return
    name = f"edge {settings.deployment.name} units"
    issued = root.issue_authority(name, now, read_file(key) if key.is_file() else None)
    assert issued.key is not None
    # The key first: without a certificate it is used again, and never the other way round.
    write_file(key, issued.key, secret=True)
    write_file(certificate, issued.certificate)


def _write_collector(
    folder: Path, settings: ProvisionSettings, root: Authority, name: str, now: datetime
) -> None:
    own = folder / name
    own.mkdir(mode=0o700, exist_ok=True)
    _renew(
        own / COLLECTOR_CERTIFICATE,
        own / COLLECTOR_KEY,
        name,
        now,
        lambda: root.issue_client(name, now, COLLECTOR_DAYS),
    )
    write_file(own / mosquitto.AUTHORITY_FILE, read_file(folder / AUTHORITY))
    receipts = own / Path(RECEIPT_KEY).name
    if not receipts.is_file() and name != COLLECTOR:
        # Units believe one key.
        write_file(receipts, read_file(folder / RECEIPT_KEY), secret=True)
    text = f"""\
# Made by edge-provision for the deployment "{settings.deployment.name}". Goes to /etc/edge/ on
# the collector's machine, with the other files of this folder. Manual: config/collector.toml.
id = "{name}"
receipt_key_file = "{Path(RECEIPT_KEY).name}"
# The Mosquitto of this folder takes a certificate for one session. With a NATS server in its place
# take this line out.
sessions = "one"

[broker]
url = "{broker_url(settings)}"
ca_file = "{mosquitto.AUTHORITY_FILE}"
certificate_file = "{COLLECTOR_CERTIFICATE}"
key_file = "{COLLECTOR_KEY}"
"""
    path = own / "collector.toml"
    # Made once: an operator adds to it what is the collector's own.
    if not path.is_file():
        write_file(path, text.encode())


def _write_broker(
    folder: Path,
    settings: ProvisionSettings,
    root: Authority,
    units: Iterable[UnitRecord],
    now: datetime,
) -> None:
    broker, host = folder / BROKER, settings.broker.host
    _renew(
        broker / mosquitto.CERTIFICATE_FILE,
        broker / mosquitto.KEY_FILE,
        host,
        now,
        lambda: root.issue_server(host, now),
    )
    # A list for each authority: once there is one, Mosquitto refuses what comes from another.
    lists = (
        root.revocations((), now),
        issuing_authority(folder).revocations(_serials(units, now), now),
    )
    write_file(broker / mosquitto.AUTHORITY_FILE, read_file(folder / AUTHORITY))
    write_file(broker / mosquitto.REVOCATIONS_FILE, b"".join(lists))
    text = mosquitto.configuration(settings)
    write_file(broker / mosquitto.CONFIGURATION_FILE, text.encode())


def _serials(units: Iterable[UnitRecord], now: datetime) -> list[tuple[int, datetime]]:
    """Of the certificates that were revoked; without those that are over anyway."""
    given: list[CertificateRecord] = [one for unit in units for one in unit.certificates]
    return [
        (int(one.serial, 16), one.revoked)
        for one in given
        if one.revoked is not None and one.not_after > now - OVER
    ]


def _renew(
    certificate: Path, key: Path, name: str, now: datetime, issue: Callable[[], Issued]
) -> None:
    if certificate.is_file():
        known = _facts(certificate)
        if known.name == name and known.days_left(now) >= ALARM_DAYS:
            return
    issued = issue()
    assert issued.key is not None
    # In this order: a key without its certificate is made again, and never the other way round.
    certificate.unlink(missing_ok=True)
    write_file(key, issued.key, secret=True)
    write_file(certificate, issued.certificate)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _facts(path: Path) -> CertificateFacts:
    return facts(read_file(path))


def read_file(path: Path) -> bytes:
    """What is in *path*. Raises ProvisionError."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise ProvisionError(f"{path}: cannot read it: {err.strerror}") from err


def write_file(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Replace *path* by *content*; what is *secret* is its owner's alone. Raises OSError."""
    replace_file(path, [content], mode=0o600 if secret else 0o644)
