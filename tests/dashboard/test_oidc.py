"""Signing in at another server, over real HTTPS: who gets in, and every lie that is found out."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from httpx2 import Response
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from edge.certificates import Authority
from edge.clock import utc_seconds
from edge.dashboard.oidc import OidcSettings, Provider
from edge.dashboard.scope import Scope
from edge.dashboard.settings import DashboardSettings, WebSettings
from edge.demo.broker import free_port
from edge.errors import ConfigError, SignInError
from tests.dashboard.browser import chromium, served
from tests.dashboard.oidc_server import CLIENT, SECRET, OidcServer, User, serving
from tests.dashboard.parts import HOSTILE, OWN_PLACE, PASSWORD, Deployment, token_in
from tests.fakes import LIMIT_S, FakeClock

OURS = "http://testserver"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OidcServer]:
    """The office's server, with a few people; its authority is in ca.pem."""
    now = datetime.now(UTC)
    authority, own = Authority.make("office", now)
    issued = authority.issue_server("localhost", now)
    (tmp_path / "ca.pem").write_bytes(own.certificate)
    (tmp_path / "server.pem").write_bytes(issued.certificate)
    assert issued.key is not None
    (tmp_path / "server.key").write_bytes(issued.key)
    (tmp_path / "oidc.secret").write_text(SECRET)
    clock = FakeClock()
    made = OidcServer(now=lambda: utc_seconds(clock.now().at))
    for name, groups in (
        ("lan", ["can-bo", "so-y-te"]),
        ("minh", ["cho"]),
        ("operator", ["van-hanh", "so-y-te"]),
        ("khach", ["khac"]),
        ("vet", ["truy-vet"]),
    ):
        claims = {"preferred_username": name, "groups": groups}
        made.users[name] = User(f"s-{name}", claims)
    made.client.redirect_uri = f"{OURS}/oidc/callback"
    with serving(made, tmp_path / "server.pem", tmp_path / "server.key"):
        yield made


def settings(server: OidcServer, ours: str = OURS, **more: object) -> DashboardSettings:
    values = {
        "issuer": server.url,
        "label": "Sở Mẫu",
        "client_id": CLIENT,
        "client_secret_file": "oidc.secret",
        "ca_file": "ca.pem",
        "operators": ("van-hanh",),
        "managers": ("cho",),
        "departments": ("so-y-te",),
        "desks": ("truy-vet",),
    }
    return DashboardSettings(
        web=WebSettings(url=ours),
        oidc=OidcSettings(**(values | more)),  # type: ignore[arg-type]
    )


@pytest.fixture
def office(tmp_path: Path, server: OidcServer) -> Iterator[Deployment]:
    """Our pages, whose people sign in at the office's server."""
    made = Deployment(tmp_path, settings(server))
    made.add_units()
    made.add_register()
    yield made
    made.close()


def go(client: TestClient, to: str = "/") -> str:
    """Begin, as a browser would; gives where that server is to be asked."""
    answer = client.get("/oidc/sign-in", params={"to": to})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def approve(url: str, tmp_path: Path, user: str) -> str:
    """Sign in there as *user*; gives the address that leads back."""
    answer = requests.post(
        url,
        {"user": user},
        verify=str(tmp_path / "ca.pem"),
        allow_redirects=False,
        timeout=LIMIT_S,
    )
    assert answer.status_code == 302, answer.text
    return answer.headers["location"].removeprefix(OURS)


def come_back(
    office: Deployment, tmp_path: Path, user: str, to: str = "/"
) -> tuple[TestClient, Response]:
    """A browser that has been there as *user*, and what it was told when it came back."""
    client = office.client()
    return client, client.get(approve(go(client, to), tmp_path, user))


@pytest.mark.parametrize("in_token", [True, False])
def test_a_person_of_the_office_gets_the_role_of_the_group(
    office: Deployment, server: OidcServer, tmp_path: Path, in_token: bool
) -> None:
    server.groups_in_token = in_token
    client, answer = come_back(office, tmp_path, "lan", "/coverage?by=body")

    assert (answer.status_code, answer.headers["location"]) == (303, "/coverage?by=body")
    assert client.get("/coverage").status_code == 200
    assert client.get("/people").status_code == 403
    (lan,) = [person for person in office.people.all() if person.name == "lan"]
    assert (lan.role, lan.linked) == ("department", True)
    # There is no password here, neither an empty one nor what stands in its place.
    for password in ("", "-", PASSWORD):
        assert office.people.sign_in("lan", password, office.clock.now().at) is None
    assert "Mật khẩu cũ" not in client.get("/account").text


@pytest.mark.parametrize("to", ["//evil.example/x", "///evil.example/x", "////evil.example/x"])
def test_whoever_comes_back_is_sent_nowhere_else(
    office: Deployment, tmp_path: Path, to: str
) -> None:
    _, answer = come_back(office, tmp_path, "lan", to)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_what_is_asked_of_the_server_can_be_used_by_nobody_else(
    office: Deployment, server: OidcServer, tmp_path: Path
) -> None:
    url = go(office.client())

    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == f"{OURS}/oidc/callback"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    # Another browser that is led to the answer is not signed in as that person.
    back = approve(url, tmp_path, "lan")
    stranger = office.client()
    assert stranger.get(back).status_code == 403
    assert stranger.get("/account").status_code == 303


def test_an_answer_counts_once_and_not_for_long(
    office: Deployment, server: OidcServer, tmp_path: Path
) -> None:
    client = office.client()
    back = approve(go(client), tmp_path, "lan")
    assert client.get(back).status_code == 303
    assert client.get(back).status_code == 403

    slow = office.client()
    late = approve(go(slow), tmp_path, "lan")
    office.clock.advance(601)
    assert slow.get(late).status_code == 403
    for bad in ("?state=x&code=y", f"?state={HOSTILE}", "", "?error=access_denied"):
        assert slow.get(f"/oidc/callback{bad}").status_code == 403


def test_a_local_account_is_never_taken_over_by_its_name(
    office: Deployment, server: OidcServer, tmp_path: Path
) -> None:
    client, _ = come_back(office, tmp_path, "operator")

    names = {person.name for person in office.people.all() if person.linked}
    assert names != {"operator"}
    assert all(name.startswith("operator.") for name in names)
    assert client.get("/people").status_code == 200
    # The local one still is who it was.
    assert office.people.sign_in("operator", PASSWORD, office.clock.now().at)


def test_the_role_is_what_the_server_says_now(
    office: Deployment, server: OidcServer, tmp_path: Path
) -> None:
    come_back(office, tmp_path, "minh")
    office.people.change("minh", "manager", True, Scope.of([OWN_PLACE]))
    manager, _ = come_back(office, tmp_path, "minh")
    assert "Chợ Mẫu" in manager.get("/").text

    server.users["minh"].claims["groups"] = ["so-y-te"]
    department, _ = come_back(office, tmp_path, "minh")

    assert department.get("/coverage").status_code == 200
    assert manager.get("/").status_code == 303, "the sessions of the other role have ended"
    server.users["minh"].claims["groups"] = []
    assert come_back(office, tmp_path, "minh")[1].status_code == 403


def test_nobody_without_a_group_and_nobody_who_is_locked(
    office: Deployment, server: OidcServer, tmp_path: Path
) -> None:
    _, answer = come_back(office, tmp_path, "khach")
    assert answer.status_code == 403
    assert "chưa được cấp vai trò" in answer.text
    assert "edge-session" not in answer.headers.get("set-cookie", "")

    client, _ = come_back(office, tmp_path, "lan")
    office.people.change("lan", "department", False, Scope())
    assert client.get("/coverage").status_code == 303
    assert "đã bị khóa" in come_back(office, tmp_path, "lan")[1].text


def test_the_desk_is_led_to_its_own_page(office: Deployment, tmp_path: Path) -> None:
    _, answer = come_back(office, tmp_path, "vet")

    assert answer.headers["location"] == "/tracing"


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "https://localhost:1"},
        {"aud": ["another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1_600_000_000},
        {"iat": 4_000_000_000},
        {"sub": ""},
        {"sub": None},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
def test_a_token_that_is_not_all_true_lets_nobody_in(
    office: Deployment, server: OidcServer, tmp_path: Path, lie: dict[str, object]
) -> None:
    server.lies = lie

    _, answer = come_back(office, tmp_path, "lan")

    assert answer.status_code == 403
    assert "Không thể tin câu trả lời" in answer.text
    assert "edge-session" not in answer.headers.get("set-cookie", "")


def test_another_key_is_refused_and_a_new_one_is_fetched(
    office: Deployment, server: OidcServer, tmp_path: Path
) -> None:
    assert come_back(office, tmp_path, "lan")[0].get("/coverage").status_code == 200
    server.signs_with = RSAKey.generate_key(2048, {"kid": "k1"})
    assert come_back(office, tmp_path, "lan")[1].status_code == 403

    server.key = server.signs_with

    assert come_back(office, tmp_path, "lan")[0].get("/coverage").status_code == 200


@pytest.mark.parametrize(
    "says",
    [
        {"issuer": "https://localhost:2"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "http://localhost/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_server_that_is_another_is_not_gone_to(
    office: Deployment, server: OidcServer, tmp_path: Path, says: dict[str, object]
) -> None:
    server.metadata = says

    answer = office.client().get("/oidc/sign-in")

    assert answer.status_code == 502
    assert "máy chủ đăng nhập" in answer.text


def test_wrong_secrets_and_certificates_are_said_in_one_line(
    tmp_path: Path, server: OidcServer, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "oidc.secret").write_text("khac")
    made = Deployment(tmp_path, settings(server))
    _, answer = come_back(made, tmp_path, "lan")
    assert answer.status_code == 403
    assert "không chấp nhận" in answer.text
    assert "invalid_client" in caplog.text
    made.close()

    with pytest.raises(SignInError, match="does not answer as it must"):
        provider(tmp_path, server, ca_file="").begin("s", "n", "v")
    with pytest.raises(ConfigError, match="client_id"):
        provider(tmp_path, server, client_id="")
    with pytest.raises(ConfigError, match=r"none\.pem"):
        provider(tmp_path, server, ca_file="none.pem")
    with pytest.raises(ConfigError, match=r"web\.url"):
        provider(tmp_path, server, ours="")


def provider(tmp_path: Path, server: OidcServer, ours: str = OURS, **more: str) -> Provider:
    return Provider(settings(server, **more).oidc, ours, tmp_path, FakeClock())


def test_a_client_without_a_secret_is_kept_by_pkce_alone(
    tmp_path: Path, server: OidcServer
) -> None:
    server.client.secret = ""
    made = Deployment(tmp_path, settings(server, client_secret_file=""))

    assert come_back(made, tmp_path, "lan")[0].get("/coverage").status_code == 200
    made.close()


def test_signing_out_ends_both_sessions(
    office: Deployment, server: OidcServer, tmp_path: Path
) -> None:
    client, _ = come_back(office, tmp_path, "lan")
    token = token_in(client.get("/account").text)

    answer = client.post("/sign-out", data={"token": token})

    assert client.get("/coverage").status_code == 303
    there = answer.headers["location"]
    assert there.startswith(f"{server.url}/end?")
    asked = parse_qs(urlsplit(there).query)
    assert asked["post_logout_redirect_uri"] == [f"{OURS}/sign-in"]
    assert asked["id_token_hint"][0].count(".") == 2
    assert f"form-action 'self' {server.url};" in answer.headers["content-security-policy"]
    # Of a local session the other server is told nothing.
    local = office.client("operator")
    token = token_in(local.get("/account").text)
    assert local.post("/sign-out", data={"token": token}).headers["location"] == "/sign-in"


def test_a_browser_goes_there_and_back_and_out_again(tmp_path: Path, server: OidcServer) -> None:
    port = free_port()
    ours = f"http://127.0.0.1:{port}"
    server.client.redirect_uri = f"{ours}/oidc/callback"
    made = Deployment(tmp_path, settings(server, ours))
    made.add_units()
    made.add_register()
    with served(made, port) as url, chromium() as browser:
        # The browser does not know the test's authority; our own service does.
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(1000 * LIMIT_S)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(f"{url}/coverage")
        page.get_by_role("link", name="Đăng nhập bằng Sở Mẫu").click()
        page.wait_for_url(f"{server.url}/**")
        page.get_by_label("Tên").fill("lan")
        page.get_by_role("button", name="Vào").click()
        page.wait_for_url(f"{ours}/coverage")
        assert page.get_by_role("link", name="lan").is_visible()

        page.goto(f"{url}/account")
        page.get_by_role("button", name="Đăng xuất").click()
        page.wait_for_url(f"{ours}/sign-in")

        assert len(server.signed_out) == 1
        assert [text for text in complaints if "Content Security" in text] == []
    made.close()
