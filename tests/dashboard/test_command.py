"""The command as an operator types it, and the service as systemd runs it."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, build_opener

import pytest

from edge.demo.broker import free_port
from edge.register import Place, Register, write_register
from tests.dashboard.parts import HOSTILE
from tests.fakes import LIMIT_S, eventually


def command(folder: Path, *args: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge.dashboard", "--config", f"{folder}/dashboard.toml", *args],
        input=given,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def write_settings(folder: Path, web: str = "port = 0") -> None:
    (folder / "dashboard.toml").write_text(
        f'[web]\n{web}\n[storage]\nurl = "{folder}/storage.db"\n'
        f'[reports]\nfolder = "{folder}/reports"\n'
    )


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The service, and where its pages are; it must end well when it is told to."""
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge.dashboard", "--config", f"{folder}/dashboard.toml"],
            stdout=file,
            stderr=file,
        )
    address = re.compile(r"edge-dashboard: (https?://\S+)/")
    try:
        eventually(lambda: address.search(output.read_text()), "the address")
        found = address.search(output.read_text())
        assert found
        yield found.group(1)
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert "Traceback" not in output.read_text()


def test_from_an_empty_folder_to_a_page_over_https(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing: sudo apt install openssl")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", f"{tmp_path}/web.key", "-out", f"{tmp_path}/web.pem"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        capture_output=True,
        check=True,
    )
    write_settings(tmp_path, 'port = 0\ncertificate_file = "web.pem"\nkey_file = "web.key"')
    write_register(
        tmp_path / "register.json",
        Register(places=(Place(id="cho-1", name="Chợ Mẫu", kind="market"),)),
    )
    made = command(tmp_path, "people", "add", "lan", "--make")
    assert made.returncode == 0, made.stderr
    password = made.stdout.strip()
    given = command(
        tmp_path, "people", "add", "minh", "--role", "manager", "--place", "cho-1", given="ngắn\n"
    )
    assert given.returncode == 1
    assert given.stderr.startswith("error: a password has 10")
    imported = command(tmp_path, "places", "import", f"{tmp_path}/register.json", "--json")
    assert json.loads(imported.stdout)["added"] == ["cho-1"]
    listed = command(tmp_path, "people", "list", "--json")
    assert [json.loads(line)["name"] for line in listed.stdout.splitlines()] == ["lan"]

    with running(tmp_path) as url:
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=f"{tmp_path}/web.pem")
        browser = build_opener(HTTPCookieProcessor(), HTTPSHandler(context=context))
        assert browser.open(f"{url}/healthz").read() == b"ok\n"
        form = urlencode({"name": "lan", "password": password}).encode()
        page = browser.open(f"{url}/sign-in", form).read().decode()
        assert "Chợ Mẫu" in page

    new = command(tmp_path, "people", "password", "lan", "--make").stdout.strip()
    assert new != password
    assert os.stat(tmp_path / "storage.db").st_size > 0


def test_what_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    port = free_port()
    for web, says in (
        ('port = 0\nkey_file = "web.key"', "given both or not at all"),
        ('port = 0\ncertificate_file = "no.pem"\nkey_file = "no.key"', "cannot serve"),
        ('host = "192.0.2.1"\nport = 8443', "cannot serve at 192.0.2.1 port 8443"),
        (f"prot = {port}", "did you mean 'port'?"),
    ):
        write_settings(tmp_path, web)
        ended = command(tmp_path)
        assert ended.returncode == 1, web
        assert says in ended.stderr, ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_name_that_acts_on_a_terminal_is_shown_harmless(tmp_path: Path) -> None:
    write_settings(tmp_path)
    refused = command(tmp_path, "people", "add", f"\x1b[31m{HOSTILE}", "--make")

    assert refused.returncode == 1
    assert "\x1b" not in refused.stderr
