import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.certificates import (
    NOT_BEFORE,
    Authority,
    check_identity,
    facts,
    make_request,
    revocations_end,
)
from edge.errors import CertificateError

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make("edge thu-nghiem", NOW)[0]


@pytest.mark.parametrize(
    "name", ["", "a/b", "+", "#", "a#", "A", "a b", "-a", "a" * 33, "a\n", "a\x00b", "ă", "$sys"]
)
def test_nothing_but_a_name_of_the_contract_is_signed(authority: Authority, name: str) -> None:
    with pytest.raises(CertificateError, match="never signed"):
        authority.issue_client(name, NOW, 30)


def test_a_certificate_is_valid_for_a_unit_whose_clock_has_not_been_set(
    authority: Authority,
) -> None:
    issued = authority.issue_client("xe-1", NOW, 730)

    assert facts(issued.certificate).name == "xe-1"
    assert facts(issued.certificate).not_before == NOT_BEFORE
    assert facts(issued.certificate).days_left(NOW) == 730


def test_a_request_is_signed_for_the_name_that_it_asks_for_alone(authority: Authority) -> None:
    request, key = make_request("xe-1")

    issued = authority.sign_request(request, "xe-1", NOW, 30)

    assert issued.key is None
    assert b"PRIVATE KEY" in key
    with pytest.raises(CertificateError, match="another name"):
        authority.sign_request(request, "xe-2", NOW, 30)


def test_a_request_on_another_curve_or_with_a_second_name_is_not_signed(
    authority: Authority,
) -> None:
    common = x509.NameAttribute(NameOID.COMMON_NAME, "xe-1")
    for curve, names in ((ec.SECP384R1(), [common]), (ec.SECP256R1(), [common, common])):
        key = ec.generate_private_key(curve)
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
        request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        with pytest.raises(CertificateError):
            authority.sign_request(request, "xe-1", NOW, 30)


def test_noise_is_no_request_certificate_or_list(authority: Authority) -> None:
    for noise in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff"):
        with pytest.raises(CertificateError):
            authority.sign_request(noise, "xe-1", NOW, 30)
        with pytest.raises(CertificateError):
            facts(noise)
        with pytest.raises(CertificateError):
            revocations_end(noise)


def test_an_identity_is_checked_for_its_key_its_name_and_its_signer(authority: Authority) -> None:
    certificate, own = authority.issue_client("xe-1", NOW, 30), Authority.make("edge khac", NOW)[1]
    theirs = authority.issue_client("xe-2", NOW, 30)
    mine = Authority.make("edge thu-nghiem", NOW)[1]
    assert certificate.key is not None
    assert theirs.key is not None

    for other in (own.certificate, mine.certificate):
        with pytest.raises(CertificateError, match="not signed by this authority"):
            check_identity(certificate.certificate, certificate.key, other, "xe-1")
    with pytest.raises(CertificateError, match="does not belong"):
        check_identity(certificate.certificate, theirs.key, mine.certificate, "xe-1")
    with pytest.raises(CertificateError, match="not that of xe-1"):
        check_identity(theirs.certificate, theirs.key, mine.certificate, "xe-1")


def test_a_list_of_revocations_lasts_for_years(authority: Authority) -> None:
    listed = authority.revocations([(7, NOW)], NOW)

    assert revocations_end(listed) - NOW > timedelta(days=5 * 365 - 1)


def test_a_units_certificate_does_not_make_it_a_broker(
    authority: Authority, tmp_path: Path
) -> None:
    """The key of a stolen unit must not let anybody play the broker to the others."""
    made, own = Authority.make("edge thu-nghiem", NOW)
    unit = made.issue_client("xe-1", NOW, 30)
    server = made.issue_server("127.0.0.1", NOW)

    for issued, works in ((server, True), (unit, False)):
        assert issued.key is not None
        pem = tmp_path / "both.pem"
        pem.write_bytes(issued.certificate + issued.key)
        there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        there.load_cert_chain(pem)
        here = ssl.create_default_context(cadata=own.certificate.decode())
        assert handshake(there, here) is works


def handshake(there: ssl.SSLContext, here: ssl.SSLContext) -> bool:
    """Whether the two agree, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = there.wrap_bio(to_server, to_client, server_side=True)
    client = here.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for _ in range(10):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True
