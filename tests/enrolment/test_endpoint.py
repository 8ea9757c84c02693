"""The endpoint as a process, asked over TLS, and killed."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from edge.certificates import Authority, check_identity, make_request
from edge.enrolment_exchange import ENROL_PATH, MAX_BYTES, RENEW_PATH, WORKED_PATH
from edge.enrolment_ledger import read_issued
from edge.enrolment_token import mint_token
from edge.provision.deployment import utc_now
from edge.provision.layout import AUTHORITY, AUTHORITY_KEY, REVOKED
from tests.enrolment.endpoint import Endpoint, a_request, an_identity, setup_key
from tests.provision.deployments import a_deployment

TOMORROW = date.today() + timedelta(days=1)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("centre")
    running = Endpoint(a_deployment(folder / "gia-lai", "cho-1-a", "cho-1-b"), folder)
    yield running
    assert running.stop() == 0


def token_for(endpoint: Endpoint, unit: str, last_day: date = TOMORROW) -> bytes:
    return mint_token("gia-lai", unit, last_day, setup_key(endpoint.deployment))


def test_a_token_and_a_request_become_a_certificate(endpoint: Endpoint) -> None:
    request, key = make_request("xe-1")

    status, said = endpoint.enrol("xe-1", token_for(endpoint, "xe-1"), request)

    assert status == 200, said
    facts = check_identity(
        said["certificate"].encode(), key, endpoint.authority.read_bytes(), "xe-1"
    )
    assert 729 < facts.days_left(utc_now()) <= 730
    assert "PRIVATE" not in said["certificate"]


def test_whatever_kills_the_endpoint_a_token_works_once_and_the_same_unit_hears_its_answer(
    tmp_path: Path,
) -> None:
    endpoint = Endpoint(a_deployment(tmp_path / "gia-lai", "cho-1-a"), tmp_path)
    token, (request, _) = token_for(endpoint, "xe-1"), make_request("xe-1")
    status, first = endpoint.enrol("xe-1", token, request)
    assert status == 200

    endpoint.kill()
    endpoint.start()

    # It did not hear it, and asks again with the same key.
    assert endpoint.enrol("xe-1", token, request) == (200, first)
    other, _ = make_request("xe-1")
    status, said = endpoint.enrol("xe-1", token, other)
    assert status == 403
    assert "was used for another key" in said["error"]
    assert [record.unit for record in read_issued(endpoint.ledger)] == ["xe-1"]
    assert endpoint.stop() == 0


def test_a_certificate_is_renewed_for_the_unit_that_shows_it_alone(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    request, key = make_request("xe-2")
    _, said = endpoint.enrol("xe-2", token_for(endpoint, "xe-2"), request)
    own = an_identity(tmp_path / "own.pem", key, said["certificate"])
    request, key = make_request("xe-2")

    status, said = endpoint.renew("xe-2", request, own)

    assert status == 200, said
    new = an_identity(tmp_path / "new.pem", key, said["certificate"])
    assert endpoint.renew("xe-2", make_request("xe-2")[0], new)[0] == 200
    # Two have followed the first: its key, or a copy of it, is shut out.
    status, said = endpoint.renew("xe-2", make_request("xe-2")[0], own)
    assert status == 403
    assert "newer certificates" in said["error"]
    # By that which it uses a unit says so, and for nobody else.
    assert endpoint.post(WORKED_PATH, b'{"unit":"xe-2"}', new) == (200, {"v": 1, "unit": "xe-2"})
    assert endpoint.post(WORKED_PATH, b'{"unit":"xe-3"}', new)[0] == 403
    assert endpoint.post(WORKED_PATH, b'{"unit":"xe-2"}')[0] == 403
    assert endpoint.post(WORKED_PATH, b"{", new)[0] == 400
    assert endpoint.post(WORKED_PATH, b'{"unit":"xe-2"}', own)[0] == 403
    own = new
    assert endpoint.renew("xe-3", make_request("xe-3")[0], own)[0] == 403
    assert endpoint.renew("xe-2", make_request("xe-3")[0], own)[0] == 403
    assert endpoint.post(RENEW_PATH, a_request("xe-2", request))[0] == 403


def test_an_ended_or_foreign_certificate_renews_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    folder = endpoint.deployment.folder
    root = Authority((folder / AUTHORITY).read_bytes(), (folder / AUTHORITY_KEY).read_bytes())
    issuing = Authority(
        (folder / "enrolment/issuing.pem").read_bytes(),
        (folder / "enrolment/issuing.key").read_bytes(),
    )
    stranger = Authority.make("edge gia-lai units", utc_now())[0]
    for issued in (
        issuing.issue_client("xe-1", utc_now() - timedelta(days=60), 30),
        stranger.issue_client("xe-1", utc_now(), 30),
        # One of the centre's own machines is no unit.
        root.issue_client("collector", utc_now(), 30),
    ):
        assert issued.key is not None
        own = an_identity(tmp_path / "own.pem", issued.key, issued.certificate.decode())
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            endpoint.renew("xe-1", make_request("xe-1")[0], own)


def test_a_revoked_unit_gets_nothing_from_the_moment_on(endpoint: Endpoint, tmp_path: Path) -> None:
    request, key = make_request("cho-1-b")
    _, said = endpoint.enrol("cho-1-b", token_for(endpoint, "cho-1-b"), request)
    own = an_identity(tmp_path / "own.pem", key, said["certificate"])

    endpoint.deployment.revoke("cho-1-b", utc_now())

    for status, said in (
        endpoint.enrol("cho-1-b", token_for(endpoint, "cho-1-b"), request),
        endpoint.renew("cho-1-b", make_request("cho-1-b")[0], own),
    ):
        assert status == 403
        assert "was revoked" in said["error"]


def test_when_nobody_can_tell_who_is_revoked_nobody_gets_anything(endpoint: Endpoint) -> None:
    path = endpoint.deployment.folder / REVOKED
    kept = path.read_bytes()
    path.unlink()
    try:
        request, _ = make_request("xe-4")
        assert endpoint.enrol("xe-4", token_for(endpoint, "xe-4"), request)[0] == 503
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"[" * 10_000, 400),
        (b'{"unit": "../x", "request": "x"}', 400),
        (b'{"unit": "xe-1", "request": "x", "more": 1}', 400),
        (b'{"unit": "xe-1", "request": "x", "token": "AQ=="}', 403),
        (b"x" * (MAX_BYTES + 1), 413),
    ],
)
def test_noise_is_refused_and_harms_nobody(endpoint: Endpoint, body: bytes, status: int) -> None:
    assert endpoint.post(ENROL_PATH, body)[0] == status


def test_a_body_without_an_end_is_not_waited_for(endpoint: Endpoint) -> None:
    context = ssl.create_default_context(cafile=str(endpoint.authority))
    with (
        socket.create_connection(("127.0.0.1", endpoint.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(b"POST /v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        sock.sendall(b"x" * (2 * MAX_BYTES))

        assert sock.recv(100).startswith(b"HTTP/1.1 413")


def test_a_second_endpoint_does_not_take_the_same_ledger(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    from edge.enrolment.__main__ import main

    settings = endpoint.deployment.folder / "enrolment/here.toml"

    assert main(["--config", str(settings)]) == 1
