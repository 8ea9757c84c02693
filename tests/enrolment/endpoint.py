"""The enrolment endpoint of a deployment, as a process of its own, and somebody who asks it."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from edge.certificates import make_request
from edge.enrolment_exchange import ENROL_PATH, RENEW_PATH
from edge.provision.deployment import Deployment
from edge.provision.layout import AUTHORITY, ENROLMENT
from edge.sealing import Signer, read_key
from tests.fakes import LIMIT_S, eventually


class Endpoint:
    """A running `edge-enrol`; its ledger lies in *folder*."""

    def __init__(
        self, deployment: Deployment, folder: Path, *, days: int = 730, port: int = 0
    ) -> None:
        self.deployment, self.folder, self._days = deployment, folder, days
        self.ledger = folder / "issued.jsonl"
        self.port = port
        self.start()

    def start(self) -> None:
        """Run it, on the port that it had."""
        settings = self.deployment.folder / ENROLMENT / "here.toml"
        settings.write_text(
            f'[issuing]\ndeployment = "{self.deployment.settings.deployment.name}"\n'
            f'ledger_file = "{self.ledger}"\ncertificate_days = {self._days}\n'
            f'[web]\nhost = "127.0.0.1"\nport = {self.port}\n'
            # One unit plays many here; tests/enrolment/test_service.py has who asks too often.
            "[limits]\naddress_per_minute = 100000\nunit_per_hour = 10000\n"
        )
        log = self.folder / "endpoint.log"
        before = log.read_text().count("edge-enrol: https") if log.exists() else 0
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge.enrolment", "--config", str(settings)],
                stderr=file,
                cwd=self.folder,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )
        eventually(
            lambda: log.read_text().count("edge-enrol: https") > before,
            "the endpoint serves",
        )
        url = log.read_text().rpartition("edge-enrol: ")[2].split()[0]
        self.port = urlsplit(url).port or 0

    @property
    def url(self) -> str:
        """Where units find it."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """Whom units believe."""
        return self.deployment.folder / AUTHORITY

    def kill(self) -> None:
        """As a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """As systemd would; gives its exit code."""
        self._process.terminate()
        return self._process.wait(LIMIT_S)

    def post(
        self, path: str, body: bytes, identity: Path | None = None
    ) -> tuple[int, dict[str, str]]:
        """What it answers: the status, and what the JSON says. *identity*: certificate and key."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if identity is not None:
            context.load_cert_chain(identity)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=LIMIT_S, context=context
        )
        try:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        try:
            said: dict[str, str] = json.loads(content)
        except ValueError:
            said = {"error": content.decode(errors="replace")}
        return answer.status, said

    def enrol(self, unit: str, token: bytes, request: bytes) -> tuple[int, dict[str, str]]:
        """Ask for *unit* with a token."""
        return self.post(ENROL_PATH, a_request(unit, request, token))

    def renew(self, unit: str, request: bytes, identity: Path) -> tuple[int, dict[str, str]]:
        """Ask for *unit*, showing *identity*."""
        return self.post(RENEW_PATH, a_request(unit, request), identity)


def a_request(unit: str, request: bytes, token: bytes = b"") -> bytes:
    """What is posted."""
    from base64 import b64encode

    table = {"unit": unit, "request": request.decode(), "token": b64encode(token).decode()}
    return json.dumps(table).encode()


def setup_key(deployment: Deployment) -> Signer:
    """Signs tokens."""
    return Signer(read_key(deployment.folder / "authority/setup.key"))


def an_identity(path: Path, key: bytes, certificate: str) -> Path:
    """Key and certificate in one file."""
    path.write_bytes(key + certificate.encode())
    return path


__all__ = ["Endpoint", "a_request", "an_identity", "make_request", "setup_key"]
