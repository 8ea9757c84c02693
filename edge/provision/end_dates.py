"""When the certificates of a deployment end, and what to do before."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from edge.certificates import facts, revocations_end
from edge.legal_basis import LegalBasis
from edge.provision import mosquitto
from edge.provision.cards import known_bases, wants_basis
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

#: Units whose legal basis has ended count nobody; the next may have to be carried to each of them.
BASIS_ALARM_DAYS = 14

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
_PLAN = "lập kế hoạch triển khai mới / plan a new deployment"
_BASIS = (
    "edge-provision basis cho văn bản mới, rồi chép updates/, hoặc ghi thẻ mới cho máy ở đó"
    " / edge-provision basis for the new order, then copy updates/, or a new card for the units"
    " there"
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

    for what, vi, path, days, cure in _certificates(deployment):
        yield by(what, vi, facts(read_file(folder / path)).not_after, days, cure)
    if (until := valid_until(deployment)) is not None:
        # Units take nothing new from it then; they go on with what they have.
        left = deployment.settings.updates.valid_days * UPDATES_ALARM_SHARE
        yield by("signed list of updates", "danh sách phần mềm đã ký", until, left, _SIGN)
    lists = read_file(folder / BROKER / mosquitto.REVOCATIONS_FILE)
    end = revocations_end(lists)
    yield by("lists of revocations", "danh sách thu hồi", end, ALARM_DAYS, f"{_RENEW}; {_LATE}")
    for number, places, end in _bases(deployment, now):
        where = ", ".join(places)
        en, vi = f"legal basis {number}: {where}", f"căn cứ pháp lý {number}: {where}"
        if not number:
            en, vi = f"legal basis: none for {where}", f"căn cứ pháp lý: chưa có cho {where}"
        yield by(en, vi, end, BASIS_ALARM_DAYS, _BASIS)
    for unit in deployment.inventory.units:
        if unit.revoked is None and unit.certificate is not None:
            end = unit.certificate.not_after
            alarm = units.certificate_days * UNIT_ALARM_SHARE
            yield by(f"unit {unit.id}", f"máy {unit.id}", end, alarm, _UNIT)


def _certificates(deployment: Deployment) -> Iterator[tuple[str, str, str, float, str]]:
    """Of each: what it is, in Vietnamese too, its file, so many days are an alarm, the cure."""
    life = deployment.settings.units.certificate_days
    yield "authority", "khóa gốc", AUTHORITY, ALARM_DAYS, _PLAN
    # What it signs ends with it.
    yield "issuing authority", "khóa cấp chứng thư", ISSUING, life + ALARM_DAYS, _RENEW
    of_broker = f"{BROKER}/{mosquitto.CERTIFICATE_FILE}"
    yield "broker's certificate", "chứng thư của broker", of_broker, ALARM_DAYS, _RENEW
    for name in collectors(deployment.settings.broker.collectors):
        if (deployment.folder / name).is_dir():
            path = f"{name}/{COLLECTOR_CERTIFICATE}"
            yield f"certificate of {name}", f"chứng thư của {name}", path, ALARM_DAYS, _RENEW
    vi = "chứng thư của nơi cấp chứng thư"
    yield "endpoint's certificate", vi, ENROLMENT_CERTIFICATE, ALARM_DAYS, _RENEW


def _bases(deployment: Deployment, now: datetime) -> Iterator[tuple[str, list[str], datetime]]:
    """By which document units may collect last without a gap, at which places, until when.

    For places with units. Without a document "", and until *now*.
    """
    if not wants_basis(deployment):
        return
    known = known_bases(deployment)
    places: dict[tuple[datetime, str], list[str]] = {}
    for place in sorted({u.place for u in deployment.inventory.units if u.revoked is None}):
        covering = [basis for basis in known if basis.covers(place)]
        places.setdefault(_last(covering, now), []).append(place)
    for (end, number), named in sorted(places.items()):
        yield number, named, end


def _last(bases: list[LegalBasis], now: datetime) -> tuple[datetime, str]:
    """Until when one of *bases* follows the other, from *now* or the first of them on; its number.

    *now* and "" where there is none; where all have ended, the last of them.
    """
    times = [
        (datetime.fromisoformat(basis.start), datetime.fromisoformat(basis.end), basis.number)
        for basis in bases
    ]
    coming = sorted(each for each in times if each[1] > now)
    if not coming:
        return max(((end, number) for _, end, number in times), default=(now, ""))
    until, last = max(now, coming[0][0]), ""
    for start, end, number in coming:
        if start <= until < end:
            until, last = end, number
    return until, last
