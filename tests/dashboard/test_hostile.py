"""Whatever is asked of the pages, by whomever, and whatever storage does meanwhile."""

import io
import logging
from contextlib import closing
from itertools import product
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from starlette.testclient import TestClient

from edge.dashboard.alarm_rules import Finding
from edge.dashboard.rights import ROLES
from edge.dashboard.service import Service
from edge.tables import read_table
from tests.dashboard.parts import (
    HOSTILE,
    OTHER_PLACE,
    OWN_PLACE,
    Deployment,
    example_path,
    token_in,
)
from tests.postgresql import PostgresqlServer

#: What no page expects of any of its parameters.
JUNK = (
    "\0",
    HOSTILE,
    "9" * 19,
    "9999-12-31",
    "2021-02-30",
    "~" + "9" * 19,
    "\0~1",
    "\u202e" * 40,
    "x" * 4_000,
    "٣",
    "../../etc/passwd",
)
PARAMETERS = (
    *("first", "last", "day", "since", "until", "after", "page", "sort", "condition", "find"),
    *("order", "place", "unit", "direction", "group", "which", "by", "period", "to", "do", "past"),
    *("language", "theme"),
)
#: What stands for places and things of others.
FOREIGN = (OTHER_PLACE, "Bến xe Mẫu", "cua-1", "moi-khac")


def test_no_parameter_makes_a_page_fail(database_url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, url=database_url)
    deployment.add_units()
    deployment.add_register()
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3)
    client = deployment.client("operator")

    def status(path: str) -> int:
        # The many questions of one address would be too many.
        deployment.clock.advance(1)
        return client.get(path).status_code

    for page, junk in product(deployment.application.pages, JUNK):
        if "GET" not in page.methods or page.right == "trace":
            continue
        every = {name: junk * (len(junk) * len(PARAMETERS) < 60_000) for name in PARAMETERS}
        path = example_path(page.path).partition("?")[0]
        assert status(f"{path}?{urlencode(every)}") < 500, f"{path} {junk[:20]!r}"
        if "{" in page.path:
            before, _, behind = page.path.partition("{")
            path = example_path(before + quote(junk, safe="") + behind.partition("}")[2])
            assert status(path) in (200, 303, 307, 404), path[:80]
    for junk in JUNK:
        # Beside a place that there is.
        row = urlencode({"place": OWN_PLACE, "after": junk, "page": junk, "first": junk})
        assert status(f"/scans?{row}") == 200, junk[:20]
    deployment.close()


def test_an_error_of_ours_is_told_in_words_and_with_every_header(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(deployment.parts.places, "all", fail)
    session = deployment.session("operator")
    client = TestClient(deployment.application.asgi(), raise_server_exceptions=False)
    client.cookies.set("edge-session", session)

    answer = client.get("/")

    assert answer.status_code == 500
    assert "Trang này có lỗi" in answer.text
    assert "of ours" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    with pytest.raises(ZeroDivisionError, match="of ours"):
        # The server's log has it.
        deployment.client("operator").get("/")


def test_no_other_method_does_anything(deployment: Deployment) -> None:
    client = deployment.client("operator")
    for page in deployment.application.pages:
        path = example_path(page.path)
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
            answer = client.request(method, path)
            assert answer.status_code < 500, f"{method} {path}"
            assert answer.status_code == 405 or (method, answer.content) == ("HEAD", b""), path


def test_every_form_is_refused_without_its_token_or_from_elsewhere(deployment: Deployment) -> None:
    deployment.add_alarms()
    asked = 0
    for page in deployment.application.pages:
        if "POST" not in page.methods:
            continue
        role = "desk" if page.right == "trace" else "operator"
        client = deployment.client(role)  # type: ignore[arg-type]
        token = token_in(client.get("/account").text)
        other = token_in(deployment.client("technician").get("/account").text)
        for form, headers in (
            ({}, {}),
            ({"token": ""}, {}),
            ({"token": "." + "0" * 64}, {}),
            ({"token": other}, {}),
            ({"token": token}, {"origin": "https://elsewhere.example.invalid"}),
            ({"token": token}, {"sec-fetch-site": "cross-site"}),
            ({"token": token}, {"sec-fetch-site": "same-site"}),
            ({"token": token}, {"origin": "null"}),
        ):
            answer = client.post(example_path(page.path), data=form, headers=headers)
            assert answer.status_code == 403, f"{page.path} {form} {headers}"
            asked += 1
        assert client.get("/account").status_code == 200, page.path
    assert asked >= 80


def seen(client: TestClient, path: str) -> str:
    """What a browser gets of *path*; of a spreadsheet what is in its cells."""
    answer = client.get(path)
    assert answer.status_code < 500, path
    if "spreadsheet" in answer.headers.get("content-type", ""):
        return str(list(read_table(io.BytesIO(answer.content), "x.xlsx")))
    return answer.text


def test_no_address_shows_a_manager_the_places_of_others(deployment: Deployment) -> None:
    alarms, now = deployment.parts.alarms, deployment.clock.now().at
    alarms.begin(Finding("unit-offline", "moi-khac", OTHER_PLACE), now)
    deployment.add_scans(OTHER_PLACE, "cua-1", ins=7)
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1)
    deployment.parts.reporting.step()
    manager, operator = deployment.client("manager"), deployment.client("operator")
    queries = [
        {},
        {"place": OTHER_PLACE},
        {"unit": "cua-1"},
        {"place": OWN_PLACE, "unit": "cua-1"},
        {"condition": "offline"},
        {"condition": "failing"},
        {"which": "active"},
        {"first": "2021-06-01", "last": "2021-07-02"},
        {"past": "yes"},
        {"sort": "place"},
    ]
    found = 0
    for page, query in product(deployment.application.pages, queries):
        if "GET" not in page.methods or page.right in (None, "own account", "trace"):
            continue
        paths = {
            page.path.replace("{place}", place).replace("{unit}", unit).replace("{form}", form)
            for place, unit in ((OWN_PLACE, "cong-1"), (OTHER_PLACE, "cua-1"))
            for form in ("csv", "xlsx")
        }
        for path in paths:
            whole = example_path(path).partition("?")[0] + (f"?{urlencode(query)}" if query else "")
            # What was asked for is said again; that is not known from here.
            foreign = [word for word in FOREIGN if word not in whole]
            deployment.clock.advance(1)
            shown = seen(manager, whole)
            for word in foreign:
                assert word not in shown, f"{whole}: {word}"
            found += not query and any(word in seen(operator, whole) for word in foreign)
    assert found > 6, "the operator sees them, so that they are there to be seen"
    number = alarms.open()[0].number
    form = {"token": token_in(manager.get("/account").text), "do": "close"}
    assert manager.post(f"/alarms/{number}", data=form).status_code == 403
    assert alarms.open()


def test_while_storage_does_not_answer_pages_say_so_and_the_service_goes_on(
    postgresql_server: PostgresqlServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = postgresql_server.new_database()
    name = url.rpartition("/")[2]
    deployment = Deployment(tmp_path, url=url)
    clients = [deployment.client(role) for role in ROLES]
    service = Service(deployment.parts)
    service.step()

    def answer_to_others(answers: bool) -> None:
        with closing(psycopg.connect(postgresql_server.url(), autocommit=True)) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {answers}".encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )

    answer_to_others(False)
    for client in clients:
        page = client.get("/account")
        assert (page.status_code, "Kho dữ liệu tạm thời không trả lời" in page.text) == (503, True)
        assert page.headers["retry-after"]
    health = clients[0].get("/healthz")
    assert (health.status_code, health.headers["content-type"][:10]) == (503, "text/plain")
    assert deployment.client(address="127.0.0.1").get("/metrics").status_code == 503
    for _ in range(20):
        deployment.clock.advance(15)
        service.step()
    assert caplog.text.count("storage does not answer") == 1

    answer_to_others(True)
    # Of each connection that was cut, whoever comes first hears of it.
    for client in clients:
        client.get("/account")
    assert [client.get("/account").status_code for client in clients] == [200] * len(ROLES)
    service.step()
    deployment.clock.advance(60)
    service.step()
    assert "storage answers again" in caplog.text
    assert clients[0].get("/healthz").status_code == 200
    deployment.close()
    postgresql_server.drop_database(url)
