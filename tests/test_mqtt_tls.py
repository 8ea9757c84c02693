"""TLS to a real broker: both sides prove who they are, and a wrong clock is called that."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge.errors import ConfigError
from edge.mqtt import Connection
from tests.conftest import MOSQUITTO, Mosquitto
from tests.connections import Connect, receive, until_connected
from tests.fakes import FakeClock, eventually


def make_authority(folder: Path, name: str) -> None:
    """An authority called *name*, and a certificate for this machine that it signed."""
    folder.mkdir(exist_ok=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    extend = ["-addext", "subjectAltName=IP:127.0.0.1"]
    sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy"]
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", f"/CN={name}"],
        ["req", *key, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=cong-1", *extend],
        ["x509", "-req", "-in", "own.csr", "-out", "own.pem", *sign],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


def sign_for(folder: Path, begins: datetime, ends: datetime) -> None:
    """Have the authority in *folder* sign this machine's certificate anew, valid at those times."""
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    request = x509.load_pem_x509_csr((folder / "own.csr").read_bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension in request.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ec_public(authority))
    builder = builder.add_extension(issuer, critical=False)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signed = builder.sign(key, hashes.SHA256())
    (folder / "own.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def ec_public(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with an authority's files, which a broker may read."""
    if MOSQUITTO is None or shutil.which("openssl") is None:
        pytest.skip("mosquitto or openssl is missing: sudo apt install mosquitto openssl")
    make_authority(tmp_path, "ours")
    for path in (tmp_path, tmp_path / "own.key"):
        path.chmod(0o755)
    return tmp_path


def trouble_with(connection: Connection) -> str:
    """What the first attempt to connect comes to."""
    eventually(
        lambda: connection.trouble != "not connected yet",
        "trouble",
        turn=lambda: connection.step(0.05),
    )
    return connection.trouble


@pytest.mark.parametrize(
    ("begins_days", "ends_days", "reason"),
    [(300, 600, "not yet valid"), (-600, -300, "expired")],
    ids=["a clock that is behind", "a clock that is ahead"],
)
def test_with_a_clock_that_nothing_has_set_it_is_the_clock_and_not_the_certificate(
    authority: Path, connect: Connect, begins_days: int, ends_days: int, reason: str
) -> None:
    # To TLS, a clock that is a year off and a certificate that is look the same.
    now = datetime.now(UTC)
    sign_for(authority, now + timedelta(begins_days), now + timedelta(ends_days))
    guarded = Mosquitto(
        authority,
        f"certfile {authority}/own.pem\nkeyfile {authority}/own.key\n"
        "allow_anonymous true\nuser root\n",
    )
    url = guarded.url.replace("mqtt:", "mqtts:")
    try:
        clock = FakeClock()
        unset = connect(url, "cong-1", settings={"ca_file": "ca.pem"}, clock=clock)
        said = trouble_with(unset)
        assert "the clock of this unit is not set" in said
        assert "certificate is not accepted" not in said

        clock.synchronized = True
        known = connect(url, "cong-1", settings={"ca_file": "ca.pem"}, clock=clock)
        said = trouble_with(known)
        assert "certificate is not accepted" in said
        assert reason in said
        assert "clock" not in said
    finally:
        guarded.stop()


def test_tls_with_certificates_on_both_sides(authority: Path, connect: Connect) -> None:
    make_authority(authority / "theirs", "theirs")
    (authority / "theirs").chmod(0o755)
    guarded = Mosquitto(
        authority,
        f"cafile {authority}/ca.pem\ncertfile {authority}/own.pem\nkeyfile {authority}/own.key\n"
        "require_certificate true\nuse_identity_as_username true\nuser root\n",
    )
    url = guarded.url.replace("mqtt:", "mqtts:")
    ours = {"ca_file": "ca.pem", "certificate_file": "own.pem", "key_file": "own.key"}
    try:
        trusted = connect(url, "cong-1", settings=ours, subscriptions=["t"])
        until_connected(trusted)
        trusted.publish("t", b"x" * 50_000)
        assert len(receive(trusted, 1)[0].payload) == 50_000

        for settings, words in (
            (ours | {"ca_file": "theirs/ca.pem"}, "certificate is not accepted"),
            ({"ca_file": "ca.pem"}, guarded.url.rpartition("/")[2]),
        ):
            refused = connect(url, "cong-2", settings=settings)
            assert words in trouble_with(refused)
            assert not refused.connected
    finally:
        guarded.stop()


def test_certificates_that_cannot_be_used_are_named(connect: Connect) -> None:
    with pytest.raises(ConfigError, match="cannot use the certificates"):
        connect("mqtts://127.0.0.1", "unit", settings={"ca_file": "missing.pem"})
