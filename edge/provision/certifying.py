"""Certificates of units: signed here for requests that come by hand, or issued by the endpoint."""

from datetime import datetime
from pathlib import Path

import msgspec

from edge.certificates import facts
from edge.enrolment_exchange import (
    ANSWER_SUFFIX,
    MAX_BYTES,
    REQUEST_SUFFIX,
    EnrolmentAnswer,
    EnrolmentRequest,
    decode,
)
from edge.enrolment_ledger import read_issued
from edge.enrolment_token import read_token
from edge.errors import EnrolmentError, ProvisionError
from edge.files import replace_file
from edge.provision.deployment import Deployment
from edge.provision.inventory import CertificateRecord, UnitRecord
from edge.provision.layout import SETUP_KEY
from edge.provision.machines import issuing_authority
from edge.sealing import Signer, read_key


def sign_files(deployment: Deployment, path: Path, now: datetime) -> list[Path]:
    """Answer the request in the file *path*, or each in that folder; gives the answers' paths.

    They lie beside the requests. Raises EdgeError at the first that cannot be answered.
    """
    requests = sorted(path.glob(f"*{REQUEST_SUFFIX}")) if path.is_dir() else [path]
    if not requests:
        raise ProvisionError(f"{path}: no unit has left a request (*{REQUEST_SUFFIX}) there")
    answers = []
    for request in requests:
        try:
            with request.open("rb") as file:
                asked = decode(file.read(MAX_BYTES + 1), EnrolmentRequest)
            answer = sign(deployment, asked, now)
            beside = request.with_name(f"{asked.unit}{ANSWER_SUFFIX}")
            replace_file(beside, [msgspec.json.encode(answer)], 0o644)
        except OSError as err:
            if isinstance(err, EnrolmentError):
                raise ProvisionError(f"{request}: {err}") from None
            raise ProvisionError(f"{err.filename or request}: {err.strerror}") from err
        answers.append(beside)
    return answers


def sign(deployment: Deployment, asked: EnrolmentRequest, now: datetime) -> EnrolmentAnswer:
    """A certificate for the unit that *asked*, by a token of this deployment. Raises EdgeError.

    Who signs here sees what he signs; so a token may be shown again, and after its last day.
    """
    key = Signer(read_key(deployment.folder / SETUP_KEY)).public_key
    token = read_token(asked.token, key)
    if (token.deployment, token.unit) != (deployment.settings.deployment.name, asked.unit):
        raise EnrolmentError(f"its token is not for unit {asked.unit}; make its card anew")
    with deployment.changing_inventory() as change:
        unit = change.inventory.unit(asked.unit)
        if unit.revoked is not None:
            raise ProvisionError(f"unit {unit.id} was revoked; give its successor a new name")
        days = deployment.settings.units.certificate_days
        issued = issuing_authority(deployment.folder).sign_request(
            asked.request.encode(), unit.id, now, days
        )
        record = CertificateRecord(serial=f"{issued.serial:x}", not_after=issued.not_after)
        change.put(_with(unit, record))
    return EnrolmentAnswer(unit=unit.id, certificate=issued.certificate.decode("ascii"))


def take_issued(deployment: Deployment, ledger: Path) -> int:
    """Take in what the endpoint's *ledger* has; gives how many certificates were new.

    Those of a unit that was revoked meanwhile are revoked with it: then write the broker's files.
    Raises EdgeError and takes nothing of a ledger that was changed.
    """
    if not ledger.is_file():
        raise ProvisionError(f"{ledger}: no such file; copy issued.jsonl from where units enrol")
    new = 0
    with deployment.changing_inventory() as change:
        for issued in list(read_issued(ledger)):
            unit = change.inventory.unit(issued.unit)
            if facts(issued.certificate.encode()).name != unit.id:
                raise ProvisionError(f"{ledger}: a certificate of {unit.id} is another's")
            if any(known.serial == issued.serial for known in unit.certificates):
                continue
            record = CertificateRecord(
                serial=issued.serial, not_after=issued.not_after, revoked=unit.revoked
            )
            change.put(_with(unit, record))
            new += 1
    return new


def _with(unit: UnitRecord, record: CertificateRecord) -> UnitRecord:
    return msgspec.structs.replace(unit, certificates=(*unit.certificates, record))
