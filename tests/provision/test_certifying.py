"""Certificates by hand, and what the endpoint has issued."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from edge.certificates import check_identity, facts, make_request
from edge.enrolment_exchange import EnrolmentAnswer, EnrolmentRequest, decode
from edge.enrolment_ledger import IssuedRecord, Ledger, WorkedRecord, fingerprint, read_issued
from edge.enrolment_token import mint_token
from edge.provision.__main__ import main
from edge.provision.certifying import Taken, take_issued
from edge.provision.deployment import Deployment, utc_now
from edge.provision.layout import AUTHORITY, SETUP_KEY
from edge.provision.machines import issuing_authority
from edge.sealing import Signer, read_key
from tests.languages import is_in_both
from tests.provision.deployments import a_deployment


def run(folder: Path, *args: str) -> int:
    return main([*args, "--config", str(folder / "provision.toml")])


def x509_lists(pem: bytes) -> list[x509.RevokedCertificate]:
    """What the lists of revocations in *pem* have."""
    mark = b"-----END X509 CRL-----\n"
    lists = [x509.load_pem_x509_crl(part + mark) for part in pem.split(mark)[:-1]]
    return [one for each in lists for one in each]


def leave_request(deployment: Deployment, stick: Path, unit: str, named: str = "") -> bytes:
    """What *unit* leaves on a stick; gives its key. *named*: for whom its token is."""
    key = Signer(read_key(deployment.folder / SETUP_KEY))
    token = mint_token("gia-lai", named or unit, utc_now().date() - timedelta(days=400), key)
    request, own = make_request(unit)
    asked = EnrolmentRequest(unit=unit, token=token, request=request.decode())
    (stick / f"{unit}.request.json").write_bytes(msgspec.json.encode(asked))
    return own


def test_a_request_on_a_stick_gets_its_certificate_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b")
    stick = tmp_path / "stick"
    stick.mkdir()
    keys = {unit: leave_request(deployment, stick, unit) for unit in ("cho-1-a", "cho-1-b")}

    assert run(deployment.folder, "sign", str(stick)) == 0

    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert all(map(is_in_both, said))
    authority = (deployment.folder / AUTHORITY).read_bytes()
    for unit, key in keys.items():
        data = (stick / f"{unit}.certificate.json").read_bytes()
        answer = decode(data, EnrolmentAnswer)
        given = check_identity(answer.certificate.encode(), key, authority, unit)
        (record,) = deployment.inventory.unit(unit).certificates
        assert int(record.serial, 16) == given.serial


def test_one_request_that_cannot_be_answered_keeps_none_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b", "cho-1-c")
    stick = tmp_path / "stick"
    stick.mkdir()
    for unit in ("cho-1-a", "cho-1-b", "cho-1-c"):
        leave_request(deployment, stick, unit)
    (stick / "cho-1-a.request.json").write_bytes(b"{")
    deployment.revoke("cho-1-b", utc_now())

    assert run(deployment.folder, "sign", str(stick)) == 1

    assert [path.name for path in stick.glob("*.certificate.json")] == ["cho-1-c.certificate.json"]
    errors = capsys.readouterr().err.splitlines()
    assert ["cho-1-a.request.json" in errors[0], "cho-1-b was revoked" in errors[1]] == [True, True]
    assert is_in_both(errors[1])


def test_what_is_no_request_of_a_unit_of_this_deployment_is_not_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    stranger = a_deployment(tmp_path / "kon-tum", "cho-1-a")
    stick = tmp_path / "stick"
    stick.mkdir()
    assert run(deployment.folder, "sign", str(stick)) == 1
    path = stick / "cho-1-a.request.json"
    for spoil in (
        lambda: path.write_bytes(b"{"),
        lambda: path.write_bytes(b"x" * 100_000),
        lambda: leave_request(stranger, stick, "cho-1-a"),
        lambda: leave_request(deployment, stick, "cho-1-a", named="cho-1-b"),
    ):
        spoil()
        assert run(deployment.folder, "sign", str(stick)) == 1
    path.unlink()
    leave_request(deployment, stick, "cho-9")
    assert run(deployment.folder, "sign", str(stick)) == 1
    (stick / "cho-9.request.json").unlink()
    deployment.revoke("cho-1-a", utc_now())
    leave_request(deployment, stick, "cho-1-a")
    assert run(deployment.folder, "sign", str(stick)) == 1

    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 7
    assert all(line.startswith("error: ") for line in errors)
    assert not list(stick.glob("*.certificate.json"))
    assert deployment.inventory.unit("cho-1-a").certificates == ()


def a_ledger(deployment: Deployment, path: Path, *units: str) -> None:
    """What the endpoint has issued to *units*."""
    ledger, authority = Ledger(path), issuing_authority(deployment.folder)
    for unit in units:
        issued = authority.issue_client(unit, utc_now(), 30)
        record = IssuedRecord(
            unit=unit,
            serial=f"{issued.serial:x}",
            not_after=issued.not_after,
            key=fingerprint(issued.certificate),
            certificate=issued.certificate.decode(),
        )
        ledger.add(record, utc_now())
    ledger.close()


def test_what_was_issued_is_known_at_the_office_and_revoked_with_its_unit(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b")
    path = tmp_path / "issued.jsonl"
    a_ledger(deployment, path, "cho-1-a", "cho-1-b", "cho-1-a")

    assert run(deployment.folder, "issued", str(path)) == 0
    assert take_issued(deployment, path, utc_now()) == Taken(0, 0)
    a_ledger(deployment, path, "cho-1-a")
    assert run(deployment.folder, "revoke", "cho-1-a", "--issued", str(path)) == 0

    given = deployment.inventory.unit("cho-1-a").certificates
    assert len(given) == 3
    assert all(one.revoked is not None for one in given)
    assert all(one.revoked is None for one in deployment.inventory.unit("cho-1-b").certificates)


def test_what_another_has_taken_the_place_of_is_on_the_list_of_revocations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    path = tmp_path / "issued.jsonl"
    a_ledger(deployment, path, "cho-1-a", "cho-1-a", "cho-1-a")
    first, second, third = read_issued(path)
    ledger = Ledger(path)
    ledger.add(
        WorkedRecord(unit="cho-1-a", serial=second.serial, not_after=second.not_after), utc_now()
    )
    ledger.close()

    assert run(deployment.folder, "issued", str(path)) == 0

    assert "3 certificates are new, 2 were replaced" in capsys.readouterr().out
    listed = (deployment.folder / "broker/revoked.pem").read_bytes()
    numbers = {f"{one.serial_number:x}" for one in x509_lists(listed)}
    assert numbers == {first.serial, third.serial}
    unit = deployment.inventory.unit("cho-1-a")
    assert unit.revoked is None
    assert unit.certificate is not None
    assert unit.certificate.serial == second.serial
    assert take_issued(deployment, path, utc_now()) == Taken(0, 0)
    # A certificate that is long over makes no list longer.
    deployment.write_broker(utc_now() + timedelta(days=61))
    assert not x509_lists((deployment.folder / "broker/revoked.pem").read_bytes())


def test_whoever_cuts_a_unit_off_is_told_in_both_languages_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    assert run(deployment.folder, "disconnect", "cho-1-a") == 1
    said = capsys.readouterr().err
    assert "trước hết chạy edge-provision revoke cho-1-a / unit cho-1-a was not revoked" in said

    # It is given up before it is tried.
    deployment.revoke("cho-1-a", utc_now())
    monkeypatch.setattr("edge.provision.disconnecting.BROKER_S", 0.0)
    assert run(deployment.folder, "disconnect", "cho-1-a") == 1
    said = capsys.readouterr().err
    assert "không ngắt được kết nối của máy cho-1-a" in said
    assert "restart the broker instead" in said


def test_a_token_is_for_one_key_by_hand_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    stick = tmp_path / "stick"
    stick.mkdir()
    leave_request(deployment, stick, "cho-1-a")
    request = stick / "cho-1-a.request.json"
    first = request.read_bytes()
    assert run(deployment.folder, "sign", str(stick)) == 0
    # The stick was lost on its way back: the unit asks again, with the same key.
    assert run(deployment.folder, "sign", str(stick)) == 0

    asked = decode(first, EnrolmentRequest)
    other = msgspec.structs.replace(asked, request=make_request("cho-1-a")[0].decode())
    request.write_bytes(msgspec.json.encode(other))
    assert run(deployment.folder, "sign", str(stick)) == 1

    said = capsys.readouterr().err
    assert "was used for another key" in said
    assert "edge-provision code cho-1-a --enrol" in said
    assert "đã dùng cho khóa khác" in said
    assert len(deployment.inventory.unit("cho-1-a").certificates) == 2


def test_a_ledger_that_was_changed_or_is_anothers_is_refused_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    path = tmp_path / "issued.jsonl"
    assert run(deployment.folder, "issued", str(path)) == 1
    a_ledger(deployment, path, "cho-1-a", "cho-9")
    assert run(deployment.folder, "issued", str(path)) == 1
    path.write_bytes(path.read_bytes().replace(b"cho-9", b"cho-1"))
    assert run(deployment.folder, "issued", str(path)) == 1

    assert len(capsys.readouterr().err.splitlines()) == 3
    assert deployment.inventory.unit("cho-1-a").certificates == ()


def test_the_issuing_authority_is_renewed_with_its_key_so_that_what_it_signed_goes_on(
    tmp_path: Path,
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    before = issuing_authority(deployment.folder).issue_client("cho-1-a", utc_now(), 730)
    old = (deployment.folder / "enrolment/issuing.pem").read_bytes()

    later = utc_now() + timedelta(days=3000)
    deployment.write_broker(later)

    new = (deployment.folder / "enrolment/issuing.pem").read_bytes()
    assert facts(new).not_after > facts(old).not_after
    # A unit that brings the new one of its authority is believed with its old certificate.
    leaf = before.certificate.replace(old, new)
    assert leaf != before.certificate
    assert before.key is not None
    root = (deployment.folder / AUTHORITY).read_bytes()
    assert check_identity(leaf, before.key, root, "cho-1-a").serial == before.serial
