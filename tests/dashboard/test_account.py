"""Signing in, sessions, forms from elsewhere, limits, headers, the choice of language."""

from datetime import timedelta

import pytest

from edge.dashboard.headers import CONTENT_SECURITY_POLICY
from edge.dashboard.people import People
from edge.dashboard.scope import Scope
from edge.dashboard.web import own_path
from edge.errors import PeopleError
from tests.dashboard.parts import HOSTILE, PASSWORD, Deployment, token_in


def test_name_and_password_open_a_session_that_a_script_cannot_read(deployment: Deployment) -> None:
    client = deployment.client()

    answer = client.post(
        "/sign-in", data={"name": " Operator ", "password": PASSWORD, "to": "/units"}
    )

    assert (answer.status_code, answer.headers["location"]) == (303, "/units")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/units").status_code == 200


def test_a_session_that_somebody_put_into_the_browser_is_not_taken_over(
    deployment: Deployment,
) -> None:
    client, thief = deployment.client(), deployment.client()
    for browser in (client, thief):
        browser.cookies.set("edge-session", "known-beforehand", domain="testserver.local")

    client.post("/sign-in", data={"name": "operator", "password": PASSWORD})

    assert client.cookies["edge-session"] != "known-beforehand"
    assert client.get("/account").status_code == 200
    assert thief.get("/account").status_code == 303


def test_another_role_counts_from_the_next_page_on(deployment: Deployment) -> None:
    client = deployment.client("technician")
    assert client.get("/set-up").status_code == 200

    deployment.people.change("technician", "department", True, Scope())

    assert client.get("/set-up").status_code == 303
    assert client.get("/", headers={"x-part": "live"}).status_code == 401


def test_over_https_cookies_are_secure_and_https_is_remembered(deployment: Deployment) -> None:
    client = deployment.client()
    client.base_url = "https://edge.example"

    answer = client.post("/sign-in", data={"name": "operator", "password": PASSWORD})

    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize("name", ["operator", "nobody", HOSTILE, ""])
def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(
    deployment: Deployment, name: str
) -> None:
    answer = deployment.client().post("/sign-in", data={"name": name, "password": "x" * 600})

    assert answer.status_code == 403
    assert "Tên hoặc mật khẩu không đúng." in answer.text
    assert "<script>" not in answer.text.replace("<script src", "")


def test_passwords_cannot_be_tried_out(deployment: Deployment) -> None:
    client = deployment.client()
    tries = [
        client.post("/sign-in", data={"name": "operator", "password": "x"}).status_code
        for _ in range(6)
    ]
    assert tries == [403] * 5 + [429]
    right = {"name": "operator", "password": PASSWORD}
    assert client.post("/sign-in", data=right).status_code == 429

    deployment.clock.advance(61)

    assert client.post("/sign-in", data=right).status_code == 303


@pytest.mark.parametrize(("path", "status"), [("/sign-in", 200), ("/no-such-page", 404)])
def test_one_address_cannot_ask_without_end(deployment: Deployment, path: str, status: int) -> None:
    client = deployment.client()
    codes = [client.get(path).status_code for _ in range(301)]
    assert codes == [status] * 300 + [429]

    deployment.clock.advance(1)

    assert client.get(path).status_code == status


def test_a_session_ends_when_it_is_not_used_and_after_a_week_in_any_case(
    deployment: Deployment,
) -> None:
    idle, used = deployment.client("operator"), deployment.client("operator")
    for _ in range(15):
        deployment.clock.advance(11 * 3600)
        assert used.get("/account").status_code == 200
    assert idle.get("/account").status_code == 303

    deployment.clock.advance(11 * 3600)

    assert used.get("/account").status_code == 303


def test_a_session_of_a_clock_that_was_years_ahead_does_not_run_until_then(
    deployment: Deployment,
) -> None:
    deployment.clock.synchronized, deployment.clock.wrong_by_s = False, 5 * 365 * 86_400.0
    client = deployment.client("operator")
    assert client.get("/account").status_code == 200

    deployment.clock.synchronized = True

    assert client.get("/account").status_code == 303


def test_storage_holds_neither_the_password_nor_the_session(deployment: Deployment) -> None:
    secret = deployment.session("operator")
    with deployment.database.reading() as connection:
        rows = repr(
            [
                connection.exec_driver_sql(f"SELECT * FROM {table}").all()
                for table in ("person", "web_session")
            ]
        )

    assert secret not in rows
    assert PASSWORD not in rows
    assert "$argon2id$" in rows


def test_signing_out_ends_the_session_for_everybody_who_knows_it(deployment: Deployment) -> None:
    client = deployment.client("operator")
    secret = client.cookies["edge-session"]

    answer = client.post("/sign-out", data={"token": token_in(client.get("/account").text)})

    assert answer.status_code == 303
    again = deployment.client()
    again.cookies.set("edge-session", secret)
    assert again.get("/account").status_code == 303


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("", {}),
        ("0123456789abcdef.0", {}),
        ("ả.ẩ", {}),
        (None, {"sec-fetch-site": "cross-site"}),
        (None, {"sec-fetch-site": "same-site"}),
        (None, {"origin": "https://evil.example"}),
        (None, {"origin": "null"}),
    ],
)
def test_a_form_from_elsewhere_changes_nothing(
    deployment: Deployment, token: str | None, headers: dict[str, str]
) -> None:
    client = deployment.client("operator")
    if token is None:
        token = token_in(client.get("/people").text)

    answer = client.post(
        "/people", data={"name": "spy", "role": "operator", "token": token}, headers=headers
    )

    assert answer.status_code == 403
    assert "spy" not in {person.name for person in deployment.people.all()}


def test_a_token_of_another_session_is_worth_nothing(deployment: Deployment) -> None:
    theirs = token_in(deployment.client("operator").get("/people").text)

    answer = deployment.client("operator").post(
        "/people", data={"name": "spy", "role": "operator", "token": theirs}
    )

    assert answer.status_code == 403


def test_nobody_is_signed_in_or_sent_elsewhere_from_elsewhere(deployment: Deployment) -> None:
    client = deployment.client()
    data = {"name": "operator", "password": PASSWORD, "to": "//evil.example/"}

    elsewhere = {"sec-fetch-site": "cross-site"}
    assert client.post("/sign-in", data=data, headers=elsewhere).status_code == 403
    assert client.post("/sign-in", data=data).headers["location"] == "/"
    for path in (
        "https://evil.example",
        "//evil.example",
        "///evil.example/x",
        "////evil.example/x",
        "/\\evil.example",
        "/a\r\nb",
        "/\t/evil.example",
        "evil",
    ):
        assert own_path(path) == "/"
    data["to"] = "///evil.example/x"
    client = deployment.client()
    assert client.post("/sign-in", data=data).headers["location"] == "/"
    assert own_path("/units?sort=unit") == "/units?sort=unit"


def test_every_answer_carries_the_headers(deployment: Deployment) -> None:
    client = deployment.client("operator")
    asset = client.get("/").text.partition('href="/assets/pages.css')[2].partition('"')[0]
    for path, status in (
        ("/", 200),
        ("/none", 404),
        ("/units/none", 404),
        ("/healthz", 200),
        (f"/assets/pages.css{asset}", 200),
        ("/assets/none", 404),
    ):
        answer = client.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        kept = "immutable" if "pages.css" in path else "no-store"
        assert kept in answer.headers["cache-control"], path
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_english_is_one_tap_away_and_is_remembered(deployment: Deployment) -> None:
    client = deployment.client("operator")
    page = client.get("/units?sort=place").text
    assert '<html lang="vi"' in page
    link = page.partition('href="/choose?language=en')[2].partition('"')[0].replace("&amp;", "&")

    answer = client.get(f"/choose?language=en{link}")

    assert answer.headers["location"] == "/units?sort=place"
    assert '<html lang="en"' in client.get("/units").text


def test_an_account_that_cannot_be_is_refused_with_the_reason(deployment: Deployment) -> None:
    now = deployment.clock.now().at
    for name, role, password, scope in (
        ("ÔNG HAI", "operator", PASSWORD, Scope()),
        ("a", "king", PASSWORD, Scope()),
        ("a", "operator", "short", Scope()),
        ("operator", "operator", PASSWORD, Scope()),
        ("a", "operator", PASSWORD, Scope.of(["cho-1"])),
        ("a", "technician", PASSWORD, Scope.of(bodies=["UBND"])),
    ):
        with pytest.raises(PeopleError):
            deployment.people.add(name, role, password, now, scope)  # type: ignore[arg-type]
    with pytest.raises(PeopleError, match="last operator"):
        deployment.people.change("operator", "technician", True, Scope())
    with pytest.raises(PeopleError, match="last operator"):
        deployment.people.change("operator", "operator", False, Scope())


def test_an_operator_makes_an_account_whose_password_is_shown_once(deployment: Deployment) -> None:
    client = deployment.client("operator")
    token = token_in(client.get("/people").text)
    data = {"name": "chi-ba", "role": "manager", "places": "cho-1, cho-2", "token": token}

    made = client.post("/people", data=data).text

    password = made.partition("<code>")[2].partition("</code>")[0]
    assert deployment.people.sign_in("chi-ba", password, deployment.clock.now().at)
    assert password not in client.get("/people").text
    person = {person.name: person for person in deployment.people.all()}["chi-ba"]
    assert (person.role, person.scope) == ("manager", Scope.of(["cho-1", "cho-2"]))
    assert "chi-ba" in client.post("/people", data=data).text  # there already: said, not made


def test_the_own_password_is_changed_with_the_old_one(deployment: Deployment) -> None:
    client = deployment.client("department")
    token = token_in(client.get("/account").text)
    wrong = {"old": "x", "new": "mot-mat-khau-khac", "token": token}
    assert client.post("/account", data=wrong).status_code == 403

    answer = client.post("/account", data=wrong | {"old": PASSWORD})

    now = deployment.clock.now().at
    assert answer.status_code == 303
    assert deployment.people.sign_in("department", PASSWORD, now) is None
    assert deployment.people.sign_in("department", "mot-mat-khau-khac", now)
    assert client.get("/account").status_code == 303


def test_sessions_survive_a_restart_of_the_service(deployment: Deployment) -> None:
    secret = deployment.session("operator")
    again = People(deployment.database, timedelta(hours=1), timedelta(days=1))

    viewer = again.viewer(secret, deployment.clock.now().at)

    assert viewer is not None
    assert viewer.role == "operator"


def test_a_storage_that_does_not_answer_is_said_so_and_no_more(deployment: Deployment) -> None:
    client = deployment.client("operator")
    with deployment.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE unit RENAME TO put_elsewhere")

    answer = client.get("/")

    assert answer.status_code == 503
    assert "Hãy thử lại sau ít phút." in answer.text
    assert "no such table" not in answer.text
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


@pytest.mark.parametrize(
    ("name", "role", "says"),
    [
        ("operator", "operator", "đã có &#39;operator&#39;; hãy chọn tên khác"),
        ("ông hai", "operator", "tên gồm 1 đến 64 ký tự"),
        (HOSTILE.lower(), "operator", "tên gồm 1 đến 64 ký tự"),
    ],
)
def test_why_an_account_is_refused_is_said_in_vietnamese(
    deployment: Deployment, name: str, role: str, says: str
) -> None:
    client = deployment.client("operator")
    form = {"token": token_in(client.get("/people").text), "name": name, "role": role}

    assert says in client.post("/people", data=form).text
    last = client.post("/people/operator", data=form | {"role": "technician"}).text
    assert "là người vận hành cuối cùng" in last
    assert "<script>alert" not in last
