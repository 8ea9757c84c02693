"""Certificates of a deployment: its authority, and what it signs. The home of `cryptography`.

X.509 with keys on the curve P-256. The name of a unit or a collector is the common name of its
certificate, which the broker takes for user name and client id; so nothing but a name of the
contract is ever signed. All times begin long ago, because a unit may believe that it is then; since
when a client has its certificate stands beside, as the period for which its key is used.

A deployment's authority signs the machines of the centre, and an issuing authority, which signs
units and can stand where a network reaches it: it makes clients alone. A certificate of its making
comes with its own, so that whoever trusts the deployment's authority needs to know of no other.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import CertificateError
from edge.topics import is_name

#: Names of the centre's machines, which no unit has.
CENTRE = ("collector", "broker", "authority", "desk", "dashboard", "enrolment")
#: Collectors beside the first are called so, with a number behind it.
MORE_COLLECTORS = "collector-"
#: A unit without a clock of its own may begin with the time at which its system was made.
NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
AUTHORITY_YEARS = 30
ISSUING_DAYS = 3650
SERVER_DAYS = 3650
#: A revocation list that has ended locks every unit out, so it lasts, and `edge-provision check`
#: says long before.
REVOCATIONS_DAYS = 1825
_LIST_END = b"-----END X509 CRL-----"


@dataclass(frozen=True)
class Issued:
    """A certificate, behind it those up to the deployment's authority, and, where we made it, its
    key; PEM."""

    certificate: bytes
    key: bytes | None
    serial: int
    not_after: datetime


@dataclass(frozen=True)
class CertificateFacts:
    """What a certificate says."""

    name: str
    serial: int
    not_before: datetime
    not_after: datetime
    #: Since when it is used; as *not_before* where it does not say so.
    issued: datetime

    def renew_at(self, share: float) -> datetime:
        """When the *share* of its life is over, 0 to 1."""
        return self.issued + share * (self.not_after - self.issued)

    def days_left(self, now: datetime) -> float:
        """Days until it ends; negative when it has."""
        return (self.not_after - now) / timedelta(days=1)


class Authority:
    """Signs for one deployment: its own authority, or its issuing one."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """Both PEM. Raises CertificateError if they are not a pair."""
        self._certificate = _certificate(certificate)
        own = self._certificate
        #: What whoever verifies needs beside a certificate of ours.
        self._between = b"" if own.issuer == own.subject else _pem(own)
        self._key = _key(key)
        if self._certificate.public_key() != self._key.public_key():
            raise CertificateError("the authority's key does not belong to its certificate")

    @property
    def not_made_before(self) -> datetime:
        """An issuing authority is no older than this: a clock that says an earlier time is wrong.

        Its own certificate does not say when it was made, only when it ends.
        """
        return self._certificate.not_valid_after_utc - timedelta(days=ISSUING_DAYS)

    @classmethod
    def make(cls, name: str, now: datetime) -> tuple[Self, Issued]:
        """A new authority, called *name*."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name)
        not_after = now + timedelta(days=365 * AUTHORITY_YEARS)
        builder = _authority_builder(subject, subject, key.public_key(), not_after, path_length=1)
        issued = _issued(builder.sign(key, hashes.SHA256()), key)
        assert issued.key is not None
        return cls(issued.certificate, issued.key), issued

    def issue_authority(self, name: str, now: datetime, key: bytes | None = None) -> Issued:
        """A certificate for an issuing authority called *name*, which makes nothing but clients.

        *key* (PEM): its own, so that what it signed under it goes on; a new one without.
        """
        own = ec.generate_private_key(ec.SECP256R1()) if key is None else _key(key)
        not_after = min(now + timedelta(days=ISSUING_DAYS), self._certificate.not_valid_after_utc)
        certificate = (
            _authority_builder(
                _subject(name),
                self._certificate.subject,
                own.public_key(),
                not_after,
                path_length=0,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(self._identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _issued(certificate, own)

    def issue_server(self, host: str, now: datetime) -> Issued:
        """A certificate for the broker that is reached at *host*, a name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        certificate = (
            self._builder(host, key.public_key(), now + timedelta(days=SERVER_DAYS))
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _issued(certificate, key)

    def issue_client(self, name: str, now: datetime, days: int) -> Issued:
        """A certificate and a key for the unit or collector *name*. Raises CertificateError."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._whole(self._sign_client(name, key.public_key(), now, days), key)

    def sign_request(self, request: bytes, name: str, now: datetime, days: int) -> Issued:
        """A certificate for *request* (PEM), whose key stays where it was made.

        Raises CertificateError unless it asks, with a signature of its own key, for exactly *name*.
        """
        try:
            asked = x509.load_pem_x509_csr(request)
        except ValueError as err:
            raise CertificateError(f"not a certificate request: {err}") from None
        if not asked.is_signature_valid:
            raise CertificateError(f"the request for {name} is not signed by its own key")
        key = asked.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise CertificateError(f"the request for {name} has a key that is not on P-256")
        if _common_name(asked.subject) != name:
            raise CertificateError(f"the request asks for another name than {name}")
        return self._whole(self._sign_client(name, key, now, days), None)

    def revocations(self, serials: Iterable[tuple[int, datetime]], now: datetime) -> bytes:
        """The list of revoked certificates, PEM: each by its serial number, and since when."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(NOT_BEFORE)
            .next_update(now + timedelta(days=REVOCATIONS_DAYS))
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
            .add_extension(self._identifier(), critical=False)
        )
        for serial, since in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign_client(
        self, name: str, key: ec.EllipticCurvePublicKey, now: datetime, days: int
    ) -> x509.Certificate:
        if not is_name(name):
            raise CertificateError(
                f"{name!r} is never signed; a name is 1 to 32 of a-z, 0-9 and inner hyphens"
            )
        builder = self._builder(name, key, now + timedelta(days=days))
        return (
            builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
            )
            .add_extension(x509.PrivateKeyUsagePeriod(now, None), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _whole(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None
    ) -> Issued:
        issued = _issued(certificate, key)
        return replace(issued, certificate=issued.certificate + self._between)

    def _builder(
        self, name: str, key: ec.EllipticCurvePublicKey, not_after: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_subject(name))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOT_BEFORE)
            .not_valid_after(min(not_after, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(self._identifier(), critical=False)
        )

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        subject = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject.value)


def is_of_centre(name: str) -> bool:
    """Whether *name* is that of a machine of the centre, or may become one."""
    return name in CENTRE or name.startswith(MORE_COLLECTORS)


def facts(certificate: bytes) -> CertificateFacts:
    """What *certificate* (PEM) says, whoever signed it. Raises CertificateError."""
    read = _certificate(certificate)
    try:
        used = read.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value.not_before
    except (x509.ExtensionNotFound, ValueError):
        used = None
    return CertificateFacts(
        _common_name(read.subject),
        read.serial_number,
        read.not_valid_before_utc,
        read.not_valid_after_utc,
        read.not_valid_before_utc if used is None else used.replace(tzinfo=UTC),
    )


def revocations_end(revocations: bytes) -> datetime:
    """When the first of the lists of revocations (PEM) ends: its clients are locked out then."""
    ends = []
    for one in revocations.split(_LIST_END)[:-1] or [b""]:
        try:
            end = x509.load_pem_x509_crl(one + _LIST_END).next_update_utc
        except ValueError as err:
            raise CertificateError(f"not a list of revoked certificates: {err}") from None
        if end is None:
            raise CertificateError("a list of revoked certificates does not say when it ends")
        ends.append(end)
    return min(ends)


def check_identity(certificate: bytes, key: bytes, authority: bytes, name: str) -> CertificateFacts:
    """What *certificate* says, once it is *name*'s, fits *key*, and *authority* signed it.

    All PEM; behind *certificate* that of the issuing authority between the two, if there is one.
    Dates are the reader's to judge. Raises CertificateError.
    """
    chain = _certificates(certificate)
    read, signer = chain[0], _certificate(authority)
    if read.public_key() != _key(key).public_key():
        raise CertificateError(f"the key does not belong to the certificate of {name}")
    if _common_name(read.subject) != name:
        raise CertificateError(f"the certificate is not that of {name}")
    try:
        for below, above in pairwise([*chain, signer]):
            below.verify_directly_issued_by(above)
        if not all(_is_authority(above) for above in chain[1:]):
            raise ValueError
    except (InvalidSignature, ValueError, TypeError):
        raise CertificateError(
            f"the certificate of {name} was not signed by this authority"
        ) from None
    return facts(certificate)


def make_request(name: str, key: bytes | None = None) -> tuple[bytes, bytes]:
    """A request to have *key*, or a new one, certified for *name*: (request, key), PEM."""
    own = ec.generate_private_key(ec.SECP256R1()) if key is None else _key(key)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(name))
    request = builder.sign(own, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM), _key_pem(own)


def key_of(pem: bytes) -> bytes:
    """The public key of a certificate, a request or a private key (PEM), as one writes it: DER.

    Raises CertificateError.
    """
    try:
        if b"CERTIFICATE REQUEST" in pem:
            public = x509.load_pem_x509_csr(pem).public_key()
        elif b"CERTIFICATE" in pem:
            public = _certificate(pem).public_key()
        else:
            public = _key(pem).public_key()
    except ValueError as err:
        raise CertificateError(f"not a key: {err}") from None
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None) -> Issued:
    return Issued(
        _pem(certificate),
        None if key is None else _key_pem(key),
        certificate.serial_number,
        certificate.not_valid_after_utc,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate(pem: bytes) -> x509.Certificate:
    return _certificates(pem)[0]


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as err:
        raise CertificateError(f"not a certificate: {err}") from None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _authority_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    not_after: datetime,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise CertificateError("not a private key in PEM without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("not a key on an elliptic curve")
    return key


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _common_name(subject: x509.Name) -> str:
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 and len(list(subject)) == 1 else ""


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
