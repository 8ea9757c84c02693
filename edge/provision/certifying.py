"""Certificates of units: signed here for requests that come by hand, or issued by the endpoint."""

from dataclasses import dataclass
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
from edge.enrolment_ledger import fingerprint, read_issued, read_lineages
from edge.enrolment_token import read_token
from edge.errors import EdgeError, EnrolmentError, ProvisionError
from edge.files import replace_file
from edge.provision.deployment import Deployment
from edge.provision.inventory import CertificateRecord, UnitRecord
from edge.provision.layout import SETUP_KEY
from edge.provision.machines import issuing_authority
from edge.sealing import Signer, read_key


@dataclass(frozen=True)
class Signed:
    """What came of the requests on a stick."""

    answers: list[Path]
    #: Why each of the others was not answered, with its file.
    refused: list[str]


def sign_files(deployment: Deployment, path: Path, now: datetime) -> Signed:
    """Answer the request in the file *path*, or each in that folder; one does not wait for another.

    The answers lie beside the requests. Raises ProvisionError where there is none.
    """
    requests = sorted(path.glob(f"*{REQUEST_SUFFIX}")) if path.is_dir() else [path]
    if not requests:
        raise ProvisionError(f"{path}: no unit has left a request (*{REQUEST_SUFFIX}) there")
    signed = Signed([], [])
    for request in requests:
        try:
            signed.answers.append(_sign_file(deployment, request, now))
        except EdgeError as err:
            signed.refused.append(f"{request}: {err}")
        except OSError as err:
            signed.refused.append(f"{err.filename or request}: {err.strerror}")
    return signed


def _sign_file(deployment: Deployment, request: Path, now: datetime) -> Path:
    with request.open("rb") as file:
        asked = decode(file.read(MAX_BYTES + 1), EnrolmentRequest)
    answer = sign(deployment, asked, now)
    beside = request.with_name(f"{asked.unit}{ANSWER_SUFFIX}")
    replace_file(beside, [msgspec.json.encode(answer)], 0o644)
    return beside


def sign(deployment: Deployment, asked: EnrolmentRequest, now: datetime) -> EnrolmentAnswer:
    """A certificate for the unit that *asked*, by a token of this deployment. Raises EdgeError.

    Who signs here sees what he signs, so a token may be shown after its last day; but for one key
    alone, here as at the endpoint, as far as its ledger was taken in. The unit whose answer was
    lost asks again with the same one.
    """
    key = Signer(read_key(deployment.folder / SETUP_KEY)).public_key
    token = read_token(asked.token, key)
    if (token.deployment, token.unit) != (deployment.settings.deployment.name, asked.unit):
        raise EnrolmentError(f"its token is not for unit {asked.unit}; make its card anew")
    with deployment.changing_inventory() as change:
        unit = change.inventory.unit(asked.unit)
        if unit.revoked is not None:
            raise ProvisionError(f"unit {unit.id} was revoked; give its successor a new name")
        nonce, asked_for = token.nonce.hex(), fingerprint(asked.request.encode())
        if any(known.nonce == nonce and known.key != asked_for for known in unit.certificates):
            raise EnrolmentError(
                f"the token of unit {unit.id} was used for another key. If it began anew, give it"
                f" another: edge-provision code {unit.id} --enrol, or a card; if two units had one"
                " card, or the token was stolen, revoke it"
            )
        days = deployment.settings.units.certificate_days
        issued = issuing_authority(deployment.folder).sign_request(
            asked.request.encode(), unit.id, now, days
        )
        record = CertificateRecord(
            serial=f"{issued.serial:x}", not_after=issued.not_after, nonce=nonce, key=asked_for
        )
        change.put(_with(unit, record))
    return EnrolmentAnswer(unit=unit.id, certificate=issued.certificate.decode("ascii"))


@dataclass(frozen=True)
class Taken:
    """What came of a ledger."""

    new: int
    #: Certificates that others have taken the place of: they are revoked from now on.
    replaced: int


def take_issued(deployment: Deployment, ledger: Path, now: datetime) -> Taken:
    """Take in what the endpoint's *ledger* has.

    Those of a unit that was revoked meanwhile are revoked with it, and so are those in whose place
    their unit uses another: then the broker's files are written anew. Raises EdgeError and takes
    nothing of a ledger that was changed.
    """
    if not ledger.is_file():
        raise ProvisionError(f"{ledger}: no such file; copy issued.jsonl from where units enrol")
    new = replaced = 0
    with deployment.changing_inventory() as change:
        for issued in list(read_issued(ledger)):
            unit = change.inventory.unit(issued.unit)
            if facts(issued.certificate.encode()).name != unit.id:
                raise ProvisionError(f"{ledger}: a certificate of {unit.id} is another's")
            if any(known.serial == issued.serial for known in unit.certificates):
                continue
            record = CertificateRecord(
                serial=issued.serial,
                not_after=issued.not_after,
                revoked=unit.revoked,
                nonce=issued.nonce,
                key=issued.key,
            )
            change.put(_with(unit, record))
            new += 1
        for name, lineage in read_lineages(ledger).items():
            unit = change.inventory.unit(name)
            records = tuple(
                msgspec.structs.replace(one, revoked=now)
                if one.serial in lineage.replaced and one.revoked is None
                else one
                for one in unit.certificates
            )
            if records != unit.certificates:
                replaced += sum(a != b for a, b in zip(records, unit.certificates, strict=True))
                change.put(msgspec.structs.replace(unit, certificates=records))
    if replaced:
        deployment.write_broker(now)
    return Taken(new, replaced)


def _with(unit: UnitRecord, record: CertificateRecord) -> UnitRecord:
    return msgspec.structs.replace(unit, certificates=(*unit.certificates, record))
