"""When the certificates of a deployment end, and what to do before."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from edge.certificates import facts, revocations_end
from edge.provision import mosquitto
from edge.provision.deployment import Deployment
from edge.provision.layout import (
    AUTHORITY,
    BROKER,
    COLLECTOR_CERTIFICATE,
    ENROLMENT_CERTIFICATE,
    ISSUING,
    collectors,
)
from edge.provision.machines import ALARM_DAYS, read_file
from edge.provision.releases import valid_until

#: A unit's own certificate is an alarm when less than this part of its life is left: it should have
#: renewed it when a third was left.
UNIT_ALARM_SHARE = 1 / 4

#: The list of updates is an alarm when this part of its days is left.
UPDATES_ALARM_SHARE = 1 / 3
_SIGN = (
    "edge-provision release renew, rồi chép updates/ lên máy chủ web và các USB"
    " / and copy updates/ to the web server and the USB sticks"
)

#: "broker" renews whatever is an alarm there.
_RENEW = (
    "edge-provision broker, chép broker/, collector/ và enrolment/ về máy của chúng rồi khởi động"
    " lại dịch vụ ở đó / copy broker/, collector/ and enrolment/ to their machines, restart what"
    " runs there"
)
_LATE = (
    "danh sách này mà hết hạn thì mọi máy bị khóa ngoài"
    " / a list that has ended locks every unit out"
)
_UNIT = (
    "edge-provision issued để nhập chứng thư đã cấp; nếu đã đủ thì ghi thẻ mới"
    " / take in what was issued (edge-provision issued); if that is all, a new card"
)


@dataclass(frozen=True)
class EndDate:
    """When something ends."""

    what: str
    vi: str
    not_after: datetime
    alarm: bool
    cure: str


def end_dates(deployment: Deployment, now: datetime) -> Iterator[EndDate]:
    """When each thing ends, and whether that is an alarm by *now*."""
    folder, units = deployment.folder, deployment.settings.units

    def by(what: str, vi: str, end: datetime, days: float, cure: str = _RENEW) -> EndDate:
        return EndDate(what, vi, end, (end - now).days < days, cure)

    anew = "lập kế hoạch triển khai mới / plan a new deployment"
    of_broker = f"{BROKER}/{mosquitto.CERTIFICATE_FILE}"
    for what, vi, path, days, cure in (
        ("authority", "khóa gốc", AUTHORITY, ALARM_DAYS, anew),
        # What it signs ends with it.
        (
            *("issuing authority", "khóa cấp chứng thư", ISSUING),
            *(units.certificate_days + ALARM_DAYS, _RENEW),
        ),
        ("broker's certificate", "chứng thư của broker", of_broker, ALARM_DAYS, _RENEW),
        *(
            (
                *(f"certificate of {name}", f"chứng thư của {name}"),
                *(f"{name}/{COLLECTOR_CERTIFICATE}", ALARM_DAYS, _RENEW),
            )
            for name in collectors(deployment.settings.broker.collectors)
            if (folder / name).is_dir()
        ),
        (
            *("endpoint's certificate", "chứng thư của nơi cấp chứng thư"),
            *(ENROLMENT_CERTIFICATE, ALARM_DAYS, _RENEW),
        ),
    ):
        yield by(what, vi, facts(read_file(folder / path)).not_after, days, cure)
    if (until := valid_until(deployment)) is not None:
        # Units take nothing new from it then; they go on with what they have.
        left = deployment.settings.updates.valid_days * UPDATES_ALARM_SHARE
        yield by("signed list of updates", "danh sách phần mềm đã ký", until, left, _SIGN)
    lists = read_file(folder / BROKER / mosquitto.REVOCATIONS_FILE)
    end = revocations_end(lists)
    yield by("lists of revocations", "danh sách thu hồi", end, ALARM_DAYS, f"{_RENEW}; {_LATE}")
    for unit in deployment.inventory.units:
        if unit.revoked is None and unit.certificate is not None:
            end = unit.certificate.not_after
            alarm = units.certificate_days * UNIT_ALARM_SHARE
            yield by(f"unit {unit.id}", f"máy {unit.id}", end, alarm, _UNIT)
